use std::fmt;

use bytes::{BufMut, BytesMut};

/// Bytes in front of each part: its length, the highest byte first.
const PREFIX: usize = 4;

/// The most parts that are read at once. A message type declares a few; a body of
/// empty parts would take four times its own memory.
pub const PARTS_MAX: usize = 65_536;

/// Makes a body of several parts (AMPS User Guide, "Composite Message Type").
///
/// Each part is its length as four bytes, the highest first, and its bytes. An
/// empty part is a part, and counts.
///
/// ```
/// use amps_core::payload::{Composite, CompositeBuilder};
/// let body = CompositeBuilder::new().part(r#"{"id":1}"#)?.part([0, 1, 2])?.finish();
/// let parts = Composite::parse(&body)?;
/// assert_eq!(parts.get(0), Some(&br#"{"id":1}"#[..]));
/// assert_eq!(parts.iter().count(), 2);
/// # Ok::<_, amps_core::payload::CompositeError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct CompositeBuilder(BytesMut);

/// What is wrong with a composite body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompositeError {
    /// It ends within a part, or within the length of one.
    #[error("part {part} at byte {at} goes beyond the end")]
    Truncated {
        /// The part's number, from 0.
        part: usize,
        /// Where its length begins.
        at: usize,
    },
    /// It has more parts than are read at once.
    #[error("more than {PARTS_MAX} parts: read them one by one")]
    TooMany,
    /// A part does not fit the four bytes of its length.
    #[error("a part of {len} bytes is longer than {}", u32::MAX)]
    TooLong {
        /// The part's length.
        len: usize,
    },
}

impl CompositeBuilder {
    /// A body without parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a part.
    ///
    /// # Errors
    /// [`CompositeError::TooLong`].
    pub fn part(mut self, part: impl AsRef<[u8]>) -> Result<Self, CompositeError> {
        let part = part.as_ref();
        let len = u32::try_from(part.len()).map_err(|_| CompositeError::TooLong { len: part.len() })?;
        self.0.put_u32(len);
        self.0.put_slice(part);
        Ok(self)
    }

    /// The body.
    pub fn finish(self) -> bytes::Bytes {
        self.0.freeze()
    }

    /// The body, and behind its parts what AMPS carries along without looking at it
    /// (AMPS User Guide, "Composite Message Type": unparsed payload). As many parts
    /// as the message type declares have to be there.
    pub fn finish_with(mut self, unparsed: impl AsRef<[u8]>) -> bytes::Bytes {
        self.0.put_slice(unparsed.as_ref());
        self.finish()
    }
}

/// A composite body, read.
#[derive(Clone, PartialEq, Eq)]
pub struct Composite<'a> {
    parts: Vec<&'a [u8]>,
}

/// The parts of a body, one after the other.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    rest: &'a [u8],
    part: usize,
    at: usize,
}

impl<'a> Composite<'a> {
    /// Reads all parts, at most [`PARTS_MAX`]. A body with something unparsed behind
    /// its parts is read with [`declared`](Self::declared).
    ///
    /// # Errors
    /// [`CompositeError::Truncated`], [`CompositeError::TooMany`].
    pub fn parse(body: &'a (impl AsRef<[u8]> + ?Sized)) -> Result<Self, CompositeError> {
        let parts = Self::parts(body.as_ref()).take(PARTS_MAX + 1).collect::<Result<Vec<_>, _>>()?;
        if parts.len() > PARTS_MAX { Err(CompositeError::TooMany) } else { Ok(Self { parts }) }
    }

    /// Reads as many parts as the message type declares, and answers what stands
    /// behind them: what AMPS carries along without looking at it (AMPS User Guide,
    /// "Composite Message Type": unparsed payload). The documents do not say whether
    /// that has a length in front; it is answered as it stands there.
    ///
    /// ```
    /// use amps_core::payload::{Composite, CompositeBuilder};
    /// let body = CompositeBuilder::new().part("{}")?.part("")?.finish_with("as it is");
    /// let (parts, unparsed) = Composite::declared(&body, 2)?;
    /// assert_eq!((parts.len(), parts.get(1), unparsed), (2, Some(&b""[..]), &b"as it is"[..]));
    /// # Ok::<_, amps_core::payload::CompositeError>(())
    /// ```
    ///
    /// # Errors
    /// [`CompositeError::Truncated`] also when there are fewer parts,
    /// [`CompositeError::TooMany`] for more than [`PARTS_MAX`].
    pub fn declared(body: &'a (impl AsRef<[u8]> + ?Sized), count: usize) -> Result<(Self, &'a [u8]), CompositeError> {
        if count > PARTS_MAX {
            return Err(CompositeError::TooMany);
        }
        let mut rest = Self::parts(body.as_ref());
        let parts = rest.by_ref().take(count).collect::<Result<Vec<_>, _>>()?;
        match parts.len() < count {
            true => Err(CompositeError::Truncated { part: rest.part, at: rest.at }),
            false => Ok((Self { parts }, rest.rest)),
        }
    }

    /// Reads part after part, however many. Behind an error there is nothing more.
    pub fn parts(body: &'a [u8]) -> Parts<'a> {
        Parts { rest: body, part: 0, at: 0 }
    }

    /// One part, from 0.
    pub fn get(&self, part: usize) -> Option<&'a [u8]> {
        self.parts.get(part).copied()
    }

    /// How many parts there are.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// All parts, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.parts.iter().copied()
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<&'a [u8], CompositeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let whole = self
            .rest
            .split_first_chunk::<PREFIX>()
            .and_then(|(len, behind)| behind.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?));
        let Some((part, rest)) = whole else {
            self.rest = &[];
            return Some(Err(CompositeError::Truncated { part: self.part, at: self.at }));
        };
        self.rest = rest;
        self.part += 1;
        self.at += PREFIX + part.len();
        Some(Ok(part))
    }
}

impl fmt::Debug for Composite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.parts.iter().map(|part| part.len())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Covers 13#1.
    #[test]
    fn parts_come_back_and_an_empty_one_is_one() {
        let large = vec![7; 1 << 20];
        let body = CompositeBuilder::new().part("{}").unwrap().part("").unwrap().part(&large).unwrap().finish();
        assert_eq!(body[..10], [0, 0, 0, 2, b'{', b'}', 0, 0, 0, 0]);
        let parts = Composite::parse(&body).unwrap();
        assert_eq!(parts.iter().collect::<Vec<_>>(), [&b"{}"[..], b"", &large]);
        assert_eq!((parts.len(), parts.get(3)), (3, None));
        assert!(Composite::parse("").unwrap().is_empty());
    }

    /// Covers 13#2.
    #[test]
    fn what_ends_too_early_is_an_error_that_says_where() {
        for (body, part, at) in
            [(&b"\0\0\0\x05a"[..], 0, 0), (b"\0\0\0\x01a\0\0", 1, 5), (b"\xff\xff\xff\xffa", 0, 0), (b"\0", 0, 0)]
        {
            assert_eq!(Composite::parse(body), Err(CompositeError::Truncated { part, at }), "{body:?}");
        }
        // What comes before is there all the same.
        let mut parts = Composite::parts(b"\0\0\0\x01a\0\0");
        assert_eq!(parts.next(), Some(Ok(&b"a"[..])));
        assert!(parts.next().is_some_and(|part| part.is_err()));
        assert_eq!(parts.next(), None);
    }

    #[test]
    fn what_stands_behind_the_declared_parts_is_left_as_it_is() {
        let two = || CompositeBuilder::new().part("{}").unwrap().part("").unwrap();
        for unparsed in [&b""[..], b"x", b"no length", b"\0\0\0\x03abc", b"\xff\xff\xff\xff"] {
            let body = two().finish_with(unparsed);
            let (parts, behind) = Composite::declared(&body, 2).unwrap();
            assert_eq!((parts.iter().collect::<Vec<_>>(), behind), (vec![&b"{}"[..], b""], unparsed));
        }
        let body = two().finish();
        assert_eq!(Composite::declared(&body, 3), Err(CompositeError::Truncated { part: 2, at: 10 }));
        assert_eq!(Composite::declared(&body[..9], 2), Err(CompositeError::Truncated { part: 1, at: 6 }));
        assert_eq!(Composite::declared(&body, 0).unwrap().1, &body[..]);
    }

    #[test]
    fn there_are_not_too_many_parts() {
        let body = |parts: usize| vec![0; PREFIX * parts];
        assert_eq!(Composite::parse(&body(PARTS_MAX)).unwrap().len(), PARTS_MAX);
        assert_eq!(Composite::parse(&body(PARTS_MAX + 1)), Err(CompositeError::TooMany));
        assert_eq!(Composite::declared(&body(PARTS_MAX + 2), PARTS_MAX).unwrap().1.len(), 2 * PREFIX);
        assert_eq!(Composite::declared(&body(PARTS_MAX + 2), PARTS_MAX + 1), Err(CompositeError::TooMany));
        assert_eq!(Composite::parts(&body(PARTS_MAX + 1)).count(), PARTS_MAX + 1);
    }

    proptest! {
        #[test]
        fn any_parts_come_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let body = parts.iter().try_fold(CompositeBuilder::new(), |body, part| body.part(part)).unwrap().finish();
            let read = Composite::parse(&body).unwrap();
            prop_assert!(read.iter().eq(parts.iter().map(Vec::as_slice)));
        }

        #[test]
        fn any_bytes_are_parts_or_an_error(body in prop::collection::vec(0u8..4, 0..60)) {
            if let Ok(parts) = Composite::parse(&body) {
                let again = parts.iter().try_fold(CompositeBuilder::new(), |body, part| body.part(part)).unwrap();
                prop_assert_eq!(again.finish(), body);
            }
        }
    }
}
