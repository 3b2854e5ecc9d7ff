//! Bodies of an exact size.

/// The least size: room for ten digits.
pub(crate) const MIN: u32 = 16;

const OPEN: &[u8] = b"{\"n\":";
/// Digits of the largest number.
const DIGITS: usize = 10;

/// A JSON object, `{"n":...}`, padded with spaces to an exact size.
#[derive(Debug)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    /// A body of `size` bytes, at least [`MIN`], with the number 0.
    pub(crate) fn new(size: u32) -> Self {
        let mut bytes = vec![b' '; size.max(MIN) as usize];
        let last = bytes.len() - 1;
        bytes[..OPEN.len()].copy_from_slice(OPEN);
        bytes[last] = b'}';
        let mut body = Self(bytes);
        body.number(0);
        body
    }

    /// The same with this number.
    pub(crate) fn number(&mut self, mut number: u32) -> &[u8] {
        let end = self.0.len() - 1;
        for digit in self.0[end - DIGITS..end].iter_mut().rev() {
            *digit = match number {
                0 => b' ',
                _ => b'0' + (number % 10) as u8,
            };
            number /= 10;
        }
        if self.0[end - 1] == b' ' {
            self.0[end - 1] = b'0';
        }
        &self.0
    }

    /// The number of a body made here.
    pub(crate) fn read(bytes: &[u8]) -> Option<u32> {
        let text = bytes.strip_prefix(OPEN)?.strip_suffix(b"}")?.trim_ascii();
        std::str::from_utf8(text).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_of_its_size_with_its_number() {
        for size in [MIN, 17, 128, 4_096] {
            let mut body = Body::new(size);
            for number in [u32::MAX, 0, 7, 1_234_567, 10] {
                let bytes = body.number(number);
                assert_eq!(bytes.len(), size as usize);
                let json: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                assert_eq!(json["n"], number);
                assert_eq!(Body::read(bytes), Some(number));
            }
        }
    }

    #[test]
    fn other_bodies_have_no_number() {
        for other in [&b""[..], b"{}", b"{\"n\":}", b"{\"n\":1,\"m\":2}", b"{\"n\":-1}"] {
            assert_eq!(Body::read(other), None);
        }
    }
}
