//! FIX and NVFIX: pairs of tag and value.

use std::fmt::Display;

/// What ends a pair unless something else is agreed on.
pub const SEPARATOR: u8 = 1;

/// So many bytes of a tag are in an error: a body may be one tag of megabytes.
const SHOWN_MAX: usize = 80;

/// What is wrong with a tag, a value or a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// A FIX tag that is no positive number, or an NVFIX tag that is empty or
    /// has `=` or the separator in it.
    #[error("'{tag}' is no tag")]
    Tag {
        /// The tag, as far as it is text, and not more than its beginning.
        tag: String,
    },
    /// The value has the separator in it.
    #[error("the value of '{tag}' has the separator in it")]
    Value {
        /// The value's tag.
        tag: String,
    },
    /// A pair without `=`.
    #[error("no '=' in the pair at byte {at}")]
    NoValue {
        /// Where the pair begins.
        at: usize,
    },
}

/// Makes a FIX body: numbers as tags (AMPS User Guide, "FIX Message Type").
///
/// ```
/// use amps_core::payload::FixBuilder;
/// let body = FixBuilder::new().pair(35, "D")?.pair(49, "me")?.finish();
/// assert_eq!(body, b"35=D\x0149=me\x01");
/// # Ok::<_, amps_core::payload::PairError>(())
/// ```
#[derive(Debug, Clone)]
pub struct FixBuilder(Builder);

/// Makes an NVFIX body: names as tags (AMPS User Guide, "NVFIX Message Type").
///
/// ```
/// use amps_core::payload::NvfixBuilder;
/// let body = NvfixBuilder::new().pair("symbol", "ACME")?.pair("price", 12.5)?.finish();
/// assert_eq!(body, b"symbol=ACME\x01price=12.5\x01");
/// # Ok::<_, amps_core::payload::PairError>(())
/// ```
#[derive(Debug, Clone)]
pub struct NvfixBuilder(Builder);

#[derive(Debug, Clone)]
struct Builder {
    separator: u8,
    body: Vec<u8>,
}

/// A tag as an error shows it.
fn shown(tag: &[u8]) -> String {
    String::from_utf8_lossy(&tag[..tag.len().min(SHOWN_MAX)]).into_owned()
}

impl Builder {
    fn pair(&mut self, tag: &str, value: &[u8]) -> Result<(), PairError> {
        if tag.is_empty() || tag.bytes().any(|byte| byte == b'=' || byte == self.separator) {
            return Err(PairError::Tag { tag: shown(tag.as_bytes()) });
        }
        if value.contains(&self.separator) {
            return Err(PairError::Value { tag: shown(tag.as_bytes()) });
        }
        self.body.extend_from_slice(tag.as_bytes());
        self.body.push(b'=');
        self.body.extend_from_slice(value);
        self.body.push(self.separator);
        Ok(())
    }
}

impl Default for FixBuilder {
    fn default() -> Self {
        Self(Builder { separator: SEPARATOR, body: Vec::new() })
    }
}

impl Default for NvfixBuilder {
    fn default() -> Self {
        Self(Builder { separator: SEPARATOR, body: Vec::new() })
    }
}

impl FixBuilder {
    /// A body without pairs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends each pair with this byte instead of [`SEPARATOR`]. Before the first
    /// pair.
    #[must_use]
    pub fn separator(mut self, separator: u8) -> Self {
        self.0.separator = separator;
        self
    }

    /// Appends a pair.
    ///
    /// # Errors
    /// [`PairError`]: the tag is 0, or the value has the separator in it.
    pub fn pair(mut self, tag: u32, value: impl Display) -> Result<Self, PairError> {
        if tag == 0 {
            return Err(PairError::Tag { tag: "0".to_owned() });
        }
        self.0.pair(&tag.to_string(), value.to_string().as_bytes())?;
        Ok(self)
    }

    /// The body.
    pub fn finish(self) -> Vec<u8> {
        self.0.body
    }
}

impl NvfixBuilder {
    /// A body without pairs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends each pair with this byte instead of [`SEPARATOR`]. Before the first
    /// pair.
    #[must_use]
    pub fn separator(mut self, separator: u8) -> Self {
        self.0.separator = separator;
        self
    }

    /// Appends a pair.
    ///
    /// # Errors
    /// [`PairError`]: the tag is empty or has `=` or the separator in it, or the
    /// value has the separator in it.
    pub fn pair(mut self, tag: &str, value: impl Display) -> Result<Self, PairError> {
        self.0.pair(tag, value.to_string().as_bytes())?;
        Ok(self)
    }

    /// The body.
    pub fn finish(self) -> Vec<u8> {
        self.0.body
    }
}

/// The pairs of a FIX body, in order. Nothing is copied, so that there is no
/// bound on them but the body's length; whoever makes a map of them may take
/// [`take`](Iterator::take).
///
/// ```
/// use std::collections::HashMap;
/// let body = b"35=D\x0149=me\x01";
/// let map = amps_core::payload::fix(body, 1).collect::<Result<HashMap<_, _>, _>>()?;
/// assert_eq!(map[&49], b"me");
/// # Ok::<_, amps_core::payload::PairError>(())
/// ```
pub fn fix(body: &[u8], separator: u8) -> impl Iterator<Item = Result<(u32, &[u8]), PairError>> {
    nvfix(body, separator).map(|pair| {
        let (tag, value) = pair?;
        let number = std::str::from_utf8(tag).ok().filter(|tag| tag.bytes().all(|byte| byte.is_ascii_digit()));
        match number.and_then(|tag| tag.parse().ok()).filter(|tag| *tag > 0) {
            Some(number) => Ok((number, value)),
            None => Err(PairError::Tag { tag: shown(tag) }),
        }
    })
}

/// The pairs of an NVFIX body, in order, read as by [`fix`]. Of a tag that comes
/// twice a map keeps the last.
pub fn nvfix(body: &[u8], separator: u8) -> Pairs<'_> {
    Pairs { rest: body, at: 0, separator }
}

/// Pairs of tag and value; see [`nvfix`].
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    rest: &'a [u8],
    at: usize,
    separator: u8,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), PairError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let at = self.at;
        let end = self.rest.iter().position(|byte| *byte == self.separator).unwrap_or(self.rest.len());
        let pair = &self.rest[..end];
        // The last pair may have no separator behind it.
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        self.at += end + 1;
        Some(match pair.iter().position(|byte| *byte == b'=') {
            Some(0) => Err(PairError::Tag { tag: String::new() }),
            Some(equals) => Ok((&pair[..equals], &pair[equals + 1..])),
            None => Err(PairError::NoValue { at }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Covers 13#3.
    #[test]
    fn fix_goes_to_a_map_and_back() {
        let body = FixBuilder::new().pair(35, "D").unwrap().pair(49, "me").unwrap().finish();
        assert_eq!(body, b"35=D\x0149=me\x01");
        let map: BTreeMap<_, _> = fix(&body, SEPARATOR).collect::<Result<_, _>>().unwrap();
        assert_eq!(map, [(35, &b"D"[..]), (49, b"me")].into());
        let other = FixBuilder::new().separator(b'|').pair(1, "a=b\x01").unwrap().finish();
        assert_eq!(fix(&other, b'|').next(), Some(Ok((1, &b"a=b\x01"[..]))), "the first '=' splits");
        assert_eq!(fix(b"8=FIX", SEPARATOR).next(), Some(Ok((8, &b"FIX"[..]))), "the last separator may be missing");
    }

    /// Covers 13#3.
    #[test]
    fn what_is_no_tag_or_no_value_is_refused() {
        assert!(matches!(FixBuilder::new().pair(0, "x"), Err(PairError::Tag { .. })));
        assert!(matches!(FixBuilder::new().pair(1, "a\x01b"), Err(PairError::Value { .. })));
        for tag in ["", "a=b", "a\x01"] {
            assert!(matches!(NvfixBuilder::new().pair(tag, "x"), Err(PairError::Tag { .. })), "{tag:?}");
        }
        for body in ["0=x", "-1=x", "a=x", "+1=x", "99999999999=x", "=x"] {
            assert!(matches!(fix(body.as_bytes(), SEPARATOR).next(), Some(Err(PairError::Tag { .. }))), "{body}");
        }
        // Where somebody else may read it, a megabyte is no error's text.
        let long = [&vec![b'9'; 1 << 20][..], b"=x"].concat();
        let Some(Err(error)) = fix(&long, SEPARATOR).next() else { panic!("no tag is so long") };
        assert_eq!(error.to_string().len(), SHOWN_MAX + "'' is no tag".len());
        let mut pairs = nvfix(b"a=1\x01b\x01c=3", SEPARATOR);
        assert!(pairs.next().is_some_and(|pair| pair.is_ok()));
        assert_eq!(pairs.next(), Some(Err(PairError::NoValue { at: 4 })));
        assert_eq!(pairs.next(), Some(Ok((&b"c"[..], &b"3"[..]))), "the pairs behind it are there");
    }

    proptest! {
        #[test]
        fn pairs_come_back(pairs in prop::collection::vec(("[a-z ]{1,5}", "[^\\x01]{0,6}"), 0..6)) {
            let mut body = NvfixBuilder::new();
            for (tag, value) in &pairs {
                body = body.pair(tag, value).unwrap();
            }
            let body = body.finish();
            let read: Vec<_> = nvfix(&body, SEPARATOR).collect::<Result<_, _>>().unwrap();
            let expected: Vec<_> = pairs.iter().map(|(tag, value)| (tag.as_bytes(), value.as_bytes())).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn any_bytes_are_pairs_or_errors(body in prop::collection::vec(prop::sample::select(vec![1u8, b'=', b'a', b'7']), 0..40)) {
            prop_assert!(nvfix(&body, SEPARATOR).count() <= body.len());
            prop_assert!(fix(&body, SEPARATOR).count() <= body.len());
        }
    }
}
