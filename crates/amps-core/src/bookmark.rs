//! Bookmarks: positions in a transaction log.

mod range;

use std::fmt;
use std::str::FromStr;

pub use self::range::BookmarkRange;

/// The position of one message: its publisher and its number there.
///
/// On the wire `publisher|sequence|` (AMPS User Guide, "Replaying Messages").
///
/// ```
/// use amps_core::Bookmark;
/// let bookmark: Bookmark = "12345678901234567890|42|".parse().unwrap();
/// assert_eq!(bookmark, Bookmark { publisher: 12345678901234567890, sequence: 42 });
/// assert_eq!(bookmark.to_string(), "12345678901234567890|42|");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bookmark {
    /// The hash of the publisher's client name.
    pub publisher: u64,
    /// The publisher's message number.
    pub sequence: u64,
}

/// The most bookmarks that are read in one list: one for each of as many
/// publishers.
pub const LIST_MAX: usize = 1_000_000;

/// A text that is not a bookmark, a list of them or a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not a bookmark: expected publisher|sequence|, a comma-separated list of up to {LIST_MAX}, epoch, now, recent, YYYYmmddTHHMMSS or a range [begin:end]"
)]
pub struct BookmarkError {
    text: String,
}

impl BookmarkError {
    fn new(text: &str) -> Self {
        Self { text: text.chars().take(80).collect() }
    }
}

impl Bookmark {
    /// Reads the text of a bookmark; `None` for anything else.
    pub fn from_bytes(text: &[u8]) -> Option<Self> {
        let (publisher, rest) = number(text)?;
        let (sequence, rest) = number(rest.strip_prefix(b"|")?)?;
        matches!(rest, b"" | b"|").then_some(Self { publisher, sequence })
    }

    fn with_last_digits(self, own: &[u8], text: &[u8]) -> Option<Self> {
        let (own_head, [own_digits @ .., b'|']) = own.split_last_chunk::<9>()? else { return None };
        let (head, [digits @ .., b'|']) = text.split_last_chunk::<9>()? else { return None };
        let (own_word, word) = (first_word(own_digits), first_word(digits));
        if head != own_head || leading_digits(own_word) < 8 || leading_digits(word) < 8 {
            return None;
        }
        let sequence = (self.sequence - value(own_word)).checked_add(value(word))?;
        Some(Self { sequence, ..self })
    }
}

/// Reads many bookmarks. The next one of a publisher differs from the one before
/// in the last eight digits, mostly; then the others are not read again.
#[derive(Debug, Default)]
pub(crate) struct BookmarkReader<'a> {
    /// The last of some publishers, as they stood in the text.
    last: [Option<(&'a [u8], Bookmark)>; 8],
}

impl<'a> BookmarkReader<'a> {
    pub(crate) fn read(&mut self, text: &'a [u8]) -> Option<Bookmark> {
        let hash = first_word(text).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61;
        let last = &mut self.last[hash as usize];
        let like = last.and_then(|(before, bookmark)| bookmark.with_last_digits(before, text));
        let bookmark = like.or_else(|| Bookmark::from_bytes(text))?;
        *last = Some((text, bookmark));
        Some(bookmark)
    }
}

/// The number in front, and what follows it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut number, mut rest) = (0u64, text);
    // Every message of a bookmark subscription has forty digits to read, so
    // eight are read at a time.
    while leading_digits(first_word(rest)) == 8 {
        number = number.checked_mul(POWERS[8])?.checked_add(value(first_word(rest)))?;
        rest = &rest[8..];
    }
    let word = first_word(rest);
    let digits = leading_digits(word);
    if digits > 0 {
        number = number.checked_mul(POWERS[digits])?.checked_add(value(word << (64 - 8 * digits)))?;
        rest = &rest[digits..];
    }
    (rest.len() < text.len()).then_some((number, rest))
}

/// Powers of ten.
const POWERS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The first eight bytes, the first one lowest; zeros where there are fewer.
#[inline(always)]
fn first_word(text: &[u8]) -> u64 {
    match text.first_chunk() {
        Some(word) => u64::from_le_bytes(*word),
        None => text.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// How many of the bytes in front are digits.
#[inline(always)]
fn leading_digits(word: u64) -> usize {
    let high = each(0xf0);
    // The carry of a byte that is no digit spoils only those behind it.
    let others = (word & high ^ each(b'0')) | (word.wrapping_add(each(6)) & high ^ each(b'0'));
    others.trailing_zeros() as usize / 8
}

/// The value of eight digits; leading ones may be zero bytes.
#[inline(always)]
fn value(word: u64) -> u64 {
    // Neighbours are joined: digits to pairs, pairs to fours, fours to eight.
    let pairs = (word & each(0x0f)).wrapping_mul(10 << 8 | 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000 << 32 | 1) >> 32
}

const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

impl FromStr for Bookmark {
    type Err = BookmarkError;

    fn from_str(text: &str) -> Result<Self, BookmarkError> {
        Self::from_bytes(text.as_bytes()).ok_or_else(|| BookmarkError::new(text))
    }
}

impl fmt::Display for Bookmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}|", self.publisher, self.sequence)
    }
}

/// One or more bookmarks; a replay starts behind the one that is earliest in
/// the server's own log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BookmarkList(Vec<Bookmark>);

impl BookmarkList {
    /// The bookmarks.
    pub fn as_slice(&self) -> &[Bookmark] {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Bookmark> for BookmarkList {
    fn from_iter<I: IntoIterator<Item = Bookmark>>(bookmarks: I) -> Self {
        Self(bookmarks.into_iter().collect())
    }
}

impl FromStr for BookmarkList {
    type Err = BookmarkError;

    fn from_str(text: &str) -> Result<Self, BookmarkError> {
        let parts = text.split(',').take(LIST_MAX + 1);
        let list: Option<Vec<_>> = parts.map(|part| Bookmark::from_bytes(part.trim().as_bytes())).collect();
        list.filter(|list| list.len() <= LIST_MAX).map(Self).ok_or_else(|| BookmarkError::new(text))
    }
}

impl fmt::Display for BookmarkList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, bookmark) in self.0.iter().enumerate() {
            write!(f, "{}{bookmark}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// Where a bookmark subscription starts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartAt {
    /// The start of the log; `0` on the wire.
    Epoch,
    /// No replay; `0|1|` on the wire.
    Now,
    /// Where this subscription's bookmark store left off, the start of the
    /// log when it knows nothing. Never on the wire.
    MostRecent,
    /// Behind the earliest of these.
    Bookmarks(BookmarkList),
    /// The nearest point to a UTC time, `YYYYmmddTHHMMSS` with an optional `Z`.
    Timestamp(String),
    /// At the beginning of a range, behind whose end the subscription is over.
    Range(Box<BookmarkRange>),
}

impl StartAt {
    /// The text on the wire. `MostRecent` without a store is the start of the
    /// log.
    pub fn to_wire(&self) -> String {
        match self {
            Self::Epoch | Self::MostRecent => "0".to_owned(),
            Self::Now => "0|1|".to_owned(),
            Self::Bookmarks(list) => list.to_string(),
            Self::Timestamp(time) => time.clone(),
            Self::Range(range) => range.to_string(),
        }
    }

    /// The point itself: of a range, its beginning.
    pub fn begin(&self) -> &Self {
        if let Self::Range(range) = self { range.begin() } else { self }
    }

    /// Whether a server can make sense of it.
    ///
    /// # Errors
    /// A [`Timestamp`](Self::Timestamp) that is none, an empty list, or a range
    /// that [cannot be](BookmarkRange::check).
    pub fn check(&self) -> Result<(), BookmarkError> {
        match self {
            Self::Timestamp(time) if !is_timestamp(time) => Err(BookmarkError::new(time)),
            Self::Bookmarks(list) if list.is_empty() => Err(BookmarkError::new("")),
            Self::Range(range) => range.check(),
            _ => Ok(()),
        }
    }
}

impl From<Bookmark> for StartAt {
    fn from(bookmark: Bookmark) -> Self {
        Self::Bookmarks(BookmarkList(vec![bookmark]))
    }
}

impl From<BookmarkRange> for StartAt {
    fn from(range: BookmarkRange) -> Self {
        Self::Range(Box::new(range))
    }
}

impl FromStr for StartAt {
    type Err = BookmarkError;

    /// Reads the wire forms and the words `epoch`, `now` and `recent`.
    fn from_str(text: &str) -> Result<Self, BookmarkError> {
        match text.trim() {
            "0" => Ok(Self::Epoch),
            "0|1|" | "0|1" => Ok(Self::Now),
            word if word.eq_ignore_ascii_case("epoch") => Ok(Self::Epoch),
            word if word.eq_ignore_ascii_case("now") => Ok(Self::Now),
            word if word.eq_ignore_ascii_case("recent") || word.eq_ignore_ascii_case("most_recent") => {
                Ok(Self::MostRecent)
            }
            range if range.starts_with(['[', '(']) => range.parse().map(BookmarkRange::into),
            time if is_timestamp(time) => Ok(Self::Timestamp(time.to_owned())),
            list => list.parse().map(Self::Bookmarks),
        }
    }
}

fn is_timestamp(text: &str) -> bool {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let shaped =
        text.len() == 15 && text.bytes().enumerate().all(|(i, b)| if i == 8 { b == b'T' } else { b.is_ascii_digit() });
    let number = |at: usize| text[at..at + 2].parse::<u8>().unwrap_or(u8::MAX);
    // A second more for a leap second.
    shaped
        && (1..=12).contains(&number(4))
        && (1..=31).contains(&number(6))
        && number(9) < 24
        && number(11) < 60
        && number(13) <= 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_and_writes() {
        for (text, wire) in [
            ("epoch", "0"),
            ("0", "0"),
            ("NOW", "0|1|"),
            ("0|1|", "0|1|"),
            ("recent", "0"),
            ("11|5|", "11|5|"),
            ("11|5|,22|9|", "11|5|,22|9|"),
            ("20250102T123500Z", "20250102T123500Z"),
        ] {
            assert_eq!(text.parse::<StartAt>().unwrap().to_wire(), wire, "{text}");
        }
    }

    #[test]
    fn numbers_of_every_length_read() {
        let mut number = 0u64;
        for digit in [1, 9, 0, 2, 8, 4, 0, 0, 7, 5, 3, 9, 9, 9, 1, 6, 0, 8, 2, 3] {
            number = number.wrapping_mul(10).wrapping_add(digit);
            let bookmark = Bookmark { publisher: number, sequence: u64::MAX - number };
            assert_eq!(bookmark.to_string().parse(), Ok(bookmark));
            assert_eq!(format!("{number}|7").parse(), Ok(Bookmark { publisher: number, sequence: 7 }));
        }
        for text in
            ["18446744073709551616|1|", "184467440737095516150|1|", "1234567/|1|", "12345678:|1|", "1|1234567a|"]
        {
            assert!(text.parse::<Bookmark>().is_err(), "{text}");
        }
        let leading = "000000000000000000000000000000018446744073709551615|00|";
        assert_eq!(leading.parse(), Ok(Bookmark { publisher: u64::MAX, sequence: 0 }));
    }

    #[test]
    fn one_is_read_as_well_behind_another_as_alone() {
        let texts = [
            "7|1700000012345678|",
            "7|1700000012345679|",
            "7|1700000099999999|",
            "7|1700000100000000|",
            "8|1700000100000000|",
            "8|17000001|",
            "8|17000002|",
            "81|7000002|",
            "81|7000003|",
            "8|17000003|",
            "8|1x000004|",
            "8|18446744073709551615|",
            "8|18446744073709551616|",
            "8|18446744073700000000|",
            "8|170000x1|",
            "8|17000001",
            "8|17000002",
            "",
            "|12345678|",
            "|12345679|",
            "8|17000001||",
            "8|17000002||",
        ];
        for before in texts {
            for text in texts {
                let mut reader = BookmarkReader::default();
                reader.read(before.as_bytes());
                let read = reader.read(text.as_bytes());
                assert_eq!(read, Bookmark::from_bytes(text.as_bytes()), "{text:?} behind {before:?}");
            }
        }
    }

    #[test]
    fn a_list_is_not_too_long() {
        let mut text = "7|1|,".repeat(LIST_MAX - 1) + "7|1|";
        assert_eq!(text.parse::<BookmarkList>().unwrap().as_slice().len(), LIST_MAX);
        text.push_str(",7|1|");
        let error = text.parse::<BookmarkList>().unwrap_err().to_string();
        assert!(error.contains("up to 1000000") && error.len() < 400, "{error}");
        assert!(text.parse::<StartAt>().is_err());
    }

    /// Covers 10#2.
    #[test]
    fn anything_else_is_refused_with_the_text() {
        let wrong = ["", "x", "1|", "|1|", "1|2|3|", "+1|2|", "1|2|,", "99999999999999999999|1|", "2025-01-02"];
        let times = ["20251301T000000Z", "20250100T000000", "20250132T000000", "20250102T240000Z", "20250102T006000Z"];
        for text in wrong.into_iter().chain(times) {
            let error = text.parse::<StartAt>().unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
            assert!(StartAt::Timestamp(text.to_owned()).check().is_err(), "{text}");
        }
    }
}
