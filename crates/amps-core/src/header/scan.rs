use std::borrow::Cow;
use std::ops::Range;

use super::Field;
use super::field::SHORT;
use crate::error::MessageError;

/// Where a field's value stands, quotes excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) field: Field,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Entry {
    /// The same in bytes of which it knew those from `base` on.
    #[inline]
    pub(crate) fn at(self, base: u32) -> Self {
        Self { start: self.start + base, end: self.end + base, ..self }
    }

    /// The same counted from `start`.
    #[inline]
    pub(crate) fn behind(self, start: u32) -> Self {
        Self { start: self.start - start, end: self.end - start, ..self }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The most fields of one header. There are not half as many names.
pub(crate) const FIELDS_MAX: usize = 256;

/// Reads one header that starts at `at`, and shows each known field to
/// `found`. Answers the index of the first byte behind its closing brace.
/// Positions count from the start of `bytes`, of which at most 4 GiB are read.
#[inline]
pub(crate) fn parse(bytes: &[u8], at: usize, mut found: impl FnMut(Entry)) -> Result<usize, MessageError> {
    let mut scan = Scanner { bytes, at, ascii: true };
    scan.expect(b'{', "a header starts with '{'")?;
    if scan.peek()? != b'}' {
        let mut fields = 0;
        loop {
            fields += 1;
            if fields > FIELDS_MAX {
                return Err(scan.error("a header has at most 256 fields"));
            }
            let field = scan.key()?;
            scan.expect(b':', "a ':' follows a key")?;
            let (start, end) = match scan.peek()? {
                b'"' => {
                    scan.at += 1;
                    scan.quoted()?
                }
                _ => scan.bare()?,
            };
            if let Some(field) = field {
                found(Entry { field, start: start as u32, end: end as u32 });
            }
            match scan.peek()? {
                b',' => scan.at += 1,
                b'}' => break,
                _ => return Err(scan.error("',' or '}' follows a value")),
            }
        }
    }
    let end = scan.at + 1;
    if !scan.ascii
        && let Err(error) = std::str::from_utf8(&bytes[at..end])
    {
        return Err(MessageError::NotUtf8 { at: at + error.valid_up_to() });
    }
    Ok(end)
}

/// Where the reading of a header is. Its short ways through are inlined into
/// one loop; headers are most of what a receiver works on.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// No string so far has a byte above 127.
    ascii: bool,
}

impl Scanner<'_> {
    /// The next byte that is not white space.
    #[inline(always)]
    fn peek(&mut self) -> Result<u8, MessageError> {
        match self.bytes.get(self.at) {
            Some(byte) if *byte > b' ' => Ok(*byte),
            _ => self.skip_space(),
        }
    }

    #[cold]
    fn skip_space(&mut self) -> Result<u8, MessageError> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(MessageError::Truncated)
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8, rule: &'static str) -> Result<(), MessageError> {
        if self.peek()? != byte {
            return Err(self.error(rule));
        }
        self.at += 1;
        Ok(())
    }

    /// The next eight bytes; `None` close to the end.
    #[inline(always)]
    fn word(&self) -> Option<u64> {
        self.bytes.get(self.at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
    }

    #[inline(always)]
    fn key(&mut self) -> Result<Option<Field>, MessageError> {
        self.expect(b'"', "a key is quoted")?;
        if let Some(word) = self.word() {
            let stops = ends_of_string(word);
            let before = stops.wrapping_sub(1) & !stops;
            let len = stops.trailing_zeros() as usize / 8;
            if len <= SHORT && word >> (8 * len) & 0xff == u64::from(b'"') && word & before & HIGH_BITS == 0 {
                self.at += len + 1;
                return Ok(Field::from_word(word & before >> 7));
            }
        }
        let (start, end) = self.quoted()?;
        Ok(Field::from_key(&self.bytes[start..end]))
    }

    /// Behind an opening quote: the span up to the closing one.
    #[inline(always)]
    fn quoted(&mut self) -> Result<(usize, usize), MessageError> {
        let start = self.at;
        // Strings are short, so eight bytes at a time beat a search that first
        // has to find out what the processor can do.
        while let Some(word) = self.word() {
            let stops = ends_of_string(word);
            let before = stops.wrapping_sub(1) & !stops;
            self.ascii &= word & before & HIGH_BITS == 0;
            if stops == 0 {
                self.at += 8;
                continue;
            }
            self.at += stops.trailing_zeros() as usize / 8;
            if self.bytes[self.at] == b'"' {
                self.at += 1;
                return Ok((start, self.at - 1));
            }
            break;
        }
        self.quoted_slowly(start)
    }

    /// The same byte by byte: for what is left behind an escape, or close to
    /// the end.
    #[inline(never)]
    fn quoted_slowly(&mut self, start: usize) -> Result<(usize, usize), MessageError> {
        loop {
            match self.bytes.get(self.at).ok_or(MessageError::Truncated)? {
                b'"' => {
                    self.at += 1;
                    return Ok((start, self.at - 1));
                }
                b'\\' => {
                    let escaped = self.bytes.get(self.at + 1).ok_or(MessageError::Truncated)?;
                    self.ascii &= escaped.is_ascii();
                    self.at += 2;
                }
                byte => {
                    self.ascii &= byte.is_ascii();
                    self.at += 1;
                }
            }
        }
    }

    /// A number or word up to the next delimiter.
    #[inline(always)]
    fn bare(&mut self) -> Result<(usize, usize), MessageError> {
        let start = self.at;
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'+' | b'.' | b'_' => self.at += 1,
                b',' | b'}' | b' ' | b'\t' | b'\r' | b'\n' if self.at > start => {
                    return Ok((start, self.at));
                }
                _ => return Err(self.error("a value is a string, a number or a word")),
            }
        }
        Err(MessageError::Truncated)
    }

    #[cold]
    fn error(&self, rule: &'static str) -> MessageError {
        MessageError::Syntax { at: self.at, rule }
    }
}

/// The high bit of each byte of `word` that is a quote or a backslash; those
/// above the lowest may be wrong.
#[inline(always)]
fn ends_of_string(word: u64) -> u64 {
    bytes_equal(word, b'"') | bytes_equal(word, b'\\')
}

const LOW_BITS: u64 = u64::from_ne_bytes([1; 8]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The high bit of each byte of `word` that equals `byte`; those above the
/// lowest may be wrong.
#[inline(always)]
fn bytes_equal(word: u64, byte: u8) -> u64 {
    let difference = word ^ (LOW_BITS * byte as u64);
    difference.wrapping_sub(LOW_BITS) & !difference & HIGH_BITS
}

/// Takes the escapes out of a header string.
pub(crate) fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('b') => out.push('\u{8}'),
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('f') => out.push('\u{c}'),
            Some('r') => out.push('\r'),
            Some('u') => match unicode(rest.as_str()) {
                Some((decoded, len)) => {
                    out.push(decoded);
                    rest = rest.as_str()[len..].chars();
                }
                None => out.push('u'),
            },
            Some(other) => out.push(other),
            None => {}
        }
    }
    Cow::Owned(out)
}

/// The character behind a `\u`, and how many bytes say which: four digits, or two
/// halves of one beyond the first 65,536.
fn unicode(text: &str) -> Option<(char, usize)> {
    let half = |digits: &str| u32::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'));
    let first = half(text.get(..4)?)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first)?, 4));
    }
    let second = half(text.get(4..10)?.strip_prefix("\\u")?)?.checked_sub(0xdc00).filter(|half| *half < 0x400)?;
    Some((char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + second)?, 10))
}
