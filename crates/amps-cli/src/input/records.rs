//! Messages with a delimiter between them.

use std::io::{self, BufRead, Read};

use super::{Delimiter, LONGEST};

/// Splits an input.
#[derive(Debug)]
pub(super) struct Records<R> {
    input: R,
    /// For errors.
    name: String,
    delimiter: Delimiter,
    number: u64,
    over: bool,
}

impl<R: BufRead> Records<R> {
    pub(super) fn new(input: R, name: String, delimiter: Delimiter) -> Self {
        Self { input, name, delimiter, number: 0, over: false }
    }

    fn failed(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}, message {}: {error}", self.name, self.number))
    }
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = io::Result<(Vec<u8>, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut body = Vec::new();
        let mut limited = self.input.by_ref().take(LONGEST + 1);
        let read = match self.delimiter {
            _ if self.over => return None,
            Delimiter::Byte(byte) => limited.read_until(byte, &mut body),
            Delimiter::None => limited.read_to_end(&mut body),
        };
        self.number += 1;
        let read = match read {
            Ok(0) => return None,
            Ok(read) => read as u64,
            Err(error) => return Some(Err(self.failed(&error))),
        };
        match self.delimiter {
            Delimiter::Byte(byte) if body.last() == Some(&byte) => {
                body.pop();
            }
            Delimiter::Byte(_) => {}
            Delimiter::None => self.over = true,
        }
        if body.len() as u64 > LONGEST {
            let text = format!("longer than {LONGEST} bytes");
            return Some(Err(self.failed(&io::Error::new(io::ErrorKind::InvalidData, text))));
        }
        Some(Ok((body, read)))
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn bodies(text: &[u8], delimiter: Delimiter) -> Vec<Vec<u8>> {
        Records::new(text, "it".to_owned(), delimiter).map(|record| record.unwrap().0).collect()
    }

    #[test]
    fn bodies_are_exact_and_a_last_line_needs_no_line_feed() {
        assert_eq!(bodies(b"a \r\n\nb", Delimiter::LINE), [&b"a \r"[..], b"", b"b"]);
        assert!(bodies(b"", Delimiter::LINE).is_empty());
        assert_eq!(bodies(b"\n", Delimiter::LINE), [b""]);
    }

    #[test]
    fn other_bytes_may_delimit_and_nothing_at_all() {
        assert_eq!(bodies(b"a\nb\x1ec", Delimiter::Byte(0x1e)), [&b"a\nb"[..], b"c"]);
        assert_eq!(bodies(b"a\nb\n", Delimiter::None), [b"a\nb\n"]);
        assert!(bodies(b"", Delimiter::None).is_empty());
    }

    #[test]
    fn a_message_without_end_is_an_error_that_says_where() {
        let endless = BufReader::new(io::repeat(b'x'));
        let error = Records::new(endless, "it".to_owned(), Delimiter::LINE).next().unwrap().unwrap_err().to_string();
        assert!(error.contains("it, message 1") && error.contains("200000000"), "{error}");
    }
}
