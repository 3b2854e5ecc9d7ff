//! The records of sled's log (version 0.34.7).

use std::ops::Range;

/// Bytes of checksums in the search for one record.
const CHECKED_MOST: usize = 256 << 20;

/// One record: what it changes, and where its body stands in its segment.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) page: u64,
    pub(super) body: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing more in this segment.
    End,
    /// The page is gone.
    Free,
    /// The whole page.
    Image,
    /// A change to the page.
    Change,
    /// Nothing that holds entries.
    Other,
}

impl Record {
    /// Where the first record of a segment stands.
    pub(super) const FIRST: usize = 20;
    /// No record begins nearer to a segment's end.
    pub(super) const LAST: usize = 32;

    /// The record at `at` in a segment, if it is whole and of this segment.
    pub(super) fn read(segment: &[u8], at: usize, number: u64) -> Option<Self> {
        let head = segment.get(at..)?;
        let mut cursor = Cursor::new(head);
        let crc = u32::from_le_bytes(cursor.take(4)?.try_into().ok()?);
        let kind = match cursor.byte()? {
            2 => Kind::End,
            4 => Kind::Free,
            8 => Kind::Image,
            10 => Kind::Change,
            1 | 3 | 5 | 6 | 7 | 9 | 11 => Kind::Other,
            _ => return None,
        };
        let len = usize::try_from(cursor.number()?).ok()?;
        let (of, page) = (cursor.number()?, cursor.number()?);
        if of != number {
            return None;
        }
        let head = &head[..cursor.at];
        let body = at + head.len()..(at + head.len()).checked_add(len)?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(segment.get(body.clone())?);
        hasher.update(&head[4..]);
        (hasher.finalize() ^ u32::MAX == crc).then_some(Self { kind, page, body })
    }
}

/// The number of a segment in the log; `None` if it was never used. When its
/// head is damaged, an error with the number its records name.
pub(super) fn segment_number(segment: &[u8], size: usize) -> Result<Option<u64>, Option<u64>> {
    let Some(head) = segment.get(..Record::FIRST) else { return Ok(None) };
    let word = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    let crc = u32::from_le_bytes(head[..4].try_into().expect("four bytes")) ^ u32::MAX;
    let position = word(4) ^ (u64::MAX >> 1);
    if crc32fast::hash(&head[4..]) == crc && position.is_multiple_of(size as u64) {
        return Ok(Some(position / size as u64));
    }
    if segment.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    // The first record that is whole. What only looks like one costs a
    // checksum, of which there may be so many.
    let mut checked = 0;
    for at in Record::FIRST..segment.len() {
        let mut cursor = Cursor::new(&segment[at..]);
        let (Some(_), Some(len), Some(number)) = (cursor.take(5), cursor.number(), cursor.number()) else { continue };
        if Record::read(segment, at, number).is_some() {
            return Err(Some(number));
        }
        let hashed = (1..=11).contains(&segment[at + 4]) && len <= (segment.len() - at) as u64;
        checked += if hashed { len as usize } else { 0 };
        if checked > CHECKED_MOST {
            break;
        }
    }
    Err(None)
}

/// Reads numbers and strings of bytes, as sled writes them.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    /// One to nine bytes, by the first.
    pub(super) fn number(&mut self) -> Option<u64> {
        Some(match self.byte()? {
            first @ 0..=240 => u64::from(first),
            first @ 241..=248 => 240 + 256 * (u64::from(first) - 241) + u64::from(self.byte()?),
            249 => 2288 + 256 * u64::from(self.byte()?) + u64::from(self.byte()?),
            first => {
                let mut word = [0; 8];
                let len = usize::from(first) - 247;
                word[..len].copy_from_slice(self.take(len)?);
                u64::from_le_bytes(word)
            }
        })
    }

    /// Where the string of bytes here stands.
    pub(super) fn bytes(&mut self) -> Option<Range<usize>> {
        let len = usize::try_from(self.number()?).ok()?;
        self.take(len)?;
        Some(self.at - len..self.at)
    }
}
