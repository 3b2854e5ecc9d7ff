//! Keys and values of bookmarks in a key-value store.
//!
//! | key | value |
//! | --- | --- |
//! | `m` `client` | the client name |
//! | `m` `format` | the format version |
//! | `b` key | where a subscription from NOW started |
//! | `p` key, publisher | its floor and its anchor |
//! | `r` key, publisher, first | last: what is discarded above the floor |
//! | `x` key | all of the above is being forgotten |
//!
//! A subscription's key is written with its length before it, numbers with the
//! highest byte first. Every value ends with a CRC-32 over key and value.

use amps_core::Bookmark;

use super::BookmarkStoreError;
use crate::kv::MAX_KEY;

/// What is left of a key for the subscription's.
pub(super) const MAX_SUBSCRIPTION: usize = MAX_KEY - 19;

pub(super) const CLIENT: &[u8] = b"mclient";
pub(super) const FORMAT: &[u8] = b"mformat";
pub(super) const FORMAT_VERSION: &str = "1";

/// The keys of one subscription.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys<'a>(&'a str);

impl<'a> Keys<'a> {
    pub(super) fn new(subscription: &'a str) -> Result<Self, BookmarkStoreError> {
        let len = subscription.len();
        if len > MAX_SUBSCRIPTION {
            return Err(BookmarkStoreError::KeyTooLong { len, max: MAX_SUBSCRIPTION });
        }
        Ok(Self(subscription))
    }

    pub(super) fn base(self) -> Vec<u8> {
        self.prefix(b'b')
    }

    pub(super) fn purging(self) -> Vec<u8> {
        self.prefix(b'x')
    }

    pub(super) fn publisher(self, publisher: u64) -> Vec<u8> {
        let mut key = self.prefix(b'p');
        key.extend(publisher.to_be_bytes());
        key
    }

    pub(super) fn range(self, publisher: u64, first: u64) -> Vec<u8> {
        let mut key = self.prefix(b'r');
        key.extend(publisher.to_be_bytes());
        key.extend(first.to_be_bytes());
        key
    }

    /// The bounds that hold all keys of a kind.
    pub(super) fn all(self, kind: u8) -> (Vec<u8>, Vec<u8>) {
        let from = self.prefix(kind);
        // Longer than any key of this subscription, and not after any other's.
        let to = [from.as_slice(), &[0xff; 17]].concat();
        (from, to)
    }

    /// The numbers behind the prefix.
    pub(super) fn numbers<const N: usize>(self, key: &[u8]) -> Result<[u64; N], BookmarkStoreError> {
        numbers(&key[self.prefix(0).len()..]).ok_or_else(|| damaged(key))
    }

    fn prefix(self, kind: u8) -> Vec<u8> {
        let length = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        // With room for two numbers.
        let mut key = Vec::with_capacity(self.0.len() + 19);
        key.push(kind);
        key.extend(length.to_be_bytes());
        key.extend(self.0.as_bytes());
        key
    }
}

/// The subscription in a key, and the numbers behind it.
pub(super) fn split(key: &[u8]) -> Option<(&str, Vec<u64>)> {
    let (len, rest) = key.get(1..)?.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    let (numbers, []) = rest.as_chunks::<8>() else { return None };
    let numbers = numbers.iter().map(|number| u64::from_be_bytes(*number)).collect();
    Some((std::str::from_utf8(name).ok()?, numbers))
}

pub(super) fn seal(key: &[u8], content: &[u8]) -> Vec<u8> {
    [content, &checksum(key, content).to_be_bytes()].concat()
}

/// The content of a value, if it is what was written.
pub(super) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], BookmarkStoreError> {
    let (content, crc) = value.split_last_chunk().ok_or_else(|| damaged(key))?;
    if checksum(key, content).to_be_bytes() == *crc { Ok(content) } else { Err(damaged(key)) }
}

pub(super) fn checksum(key: &[u8], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(content);
    hasher.finalize()
}

fn damaged(key: &[u8]) -> BookmarkStoreError {
    BookmarkStoreError::Damaged { what: format!("the record '{}' fails its check", key.escape_ascii()) }
}

pub(super) fn write_bookmark(bookmark: Bookmark) -> Vec<u8> {
    [bookmark.publisher.to_be_bytes(), bookmark.sequence.to_be_bytes()].concat()
}

pub(super) fn read_bookmark(key: &[u8], content: &[u8]) -> Result<Bookmark, BookmarkStoreError> {
    let [publisher, sequence] = numbers(content).ok_or_else(|| damaged(key))?;
    Ok(Bookmark { publisher, sequence })
}

/// Floor and anchor, each with a byte that says whether it is there.
pub(super) fn write_positions(positions: [Option<u64>; 2]) -> [u8; 18] {
    let mut content = [0; 18];
    for (bytes, position) in content.chunks_exact_mut(9).zip(positions) {
        bytes[0] = u8::from(position.is_some());
        bytes[1..].copy_from_slice(&position.unwrap_or(0).to_be_bytes());
    }
    content
}

pub(super) fn read_positions(key: &[u8], content: &[u8]) -> Result<[Option<u64>; 2], BookmarkStoreError> {
    let position = |bytes: &[u8]| match bytes.split_first()? {
        (0, _) => Some(None),
        (1, number) => numbers(number).map(|[number]| Some(number)),
        _ => None,
    };
    let read = || {
        let (floor, anchor) = content.split_at_checked(9)?;
        Some([position(floor)?, position(anchor)?])
    };
    read().ok_or_else(|| damaged(key))
}

pub(super) fn read_number(key: &[u8], content: &[u8]) -> Result<u64, BookmarkStoreError> {
    numbers(content).map(|[number]| number).ok_or_else(|| damaged(key))
}

fn numbers<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    if bytes.len() != N * 8 {
        return None;
    }
    let mut numbers = [0; N];
    for (number, chunk) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
        *number = u64::from_be_bytes(chunk.try_into().ok()?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_split_into_what_it_was_made_of() {
        let keys = Keys::new("orders").unwrap();
        for (key, numbers) in
            [(keys.base(), vec![]), (keys.publisher(7), vec![7]), (keys.range(7, u64::MAX), vec![7, u64::MAX])]
        {
            assert_eq!(split(&key), Some(("orders", numbers)));
            for len in 0..key.len() {
                assert_ne!(split(&key[..len]), split(&key), "{len} of {key:?}");
            }
        }
        assert_eq!(split(b"b\0\x09orders"), None);
    }
}
