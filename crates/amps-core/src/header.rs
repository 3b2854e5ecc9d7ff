//! Header fields: one flat, JSON-like object in front of every body.
//!
//! Keys have a short and a long spelling and both occur on the wire
//! (AMPS Command Reference, "AMPS Protocol"); reading accepts either, writing
//! uses the first column of the table below. Unknown keys are skipped.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use smallvec::SmallVec;

use crate::error::MessageError;
use crate::frame::{MAX_FRAME_LEN, PREFIX_LEN};

macro_rules! fields {
    ($($(#[doc = $doc:literal])+ $name:ident $wire:literal $($alias:literal)*;)+) => {
        /// A header field this crate knows by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Field { $($(#[doc = $doc])+ $name,)+ }

        impl Field {
            /// Every field.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The spelling used when writing.
            pub const fn key(self) -> &'static str {
                match self { $(Self::$name => $wire,)+ }
            }

            /// The field a key names, in either spelling.
            pub fn from_key(key: &[u8]) -> Option<Self> {
                // Most keys of most messages are one letter.
                if let [letter] = key
                    && let Some(field) = ONE_LETTER.get(usize::from(*letter)).copied().flatten()
                {
                    return Some(field);
                }
                $(if key == $wire.as_bytes() $(|| key == $alias.as_bytes())* { return Some(Self::$name); })+
                None
            }
        }
    };
}

fields! {
    /// The command or message type.
    Command "c" "cmd";
    /// The topic.
    Topic "t" "topic";
    /// Subscriptions a message matched.
    SubscriptionIds "sids";
    /// One subscription.
    SubscriptionId "sub_id";
    /// A bookmark, or a list or range of them.
    Bookmark "bm" "bookmark";
    /// The publisher's message number.
    Sequence "s" "seq";
    /// Acknowledgement types.
    AckType "a" "ack_type";
    /// The client's id of a command.
    CommandId "cid" "cmd_id";
    /// The key of one SOW record.
    SowKey "k" "sow_key";
    /// A set of SOW keys.
    SowKeys "sow_keys";
    /// The length in bytes of a body inside a batch.
    MessageLength "l" "msg_len";
    /// When the server processed a message.
    Timestamp "ts" "timestamp";
    /// `success`, `failure` or `retry`.
    Status "status";
    /// Why.
    Reason "reason";
    /// The id of a query.
    QueryId "query_id";
    /// Records in, or at most in, one SOW frame.
    BatchSize "bs" "batch_size";
    /// A content filter.
    Filter "f" "filter";
    /// Command options.
    Options "o" "opts";
    /// Opaque data of the publisher.
    CorrelationId "x" "correlation_id";
    /// Lifetime in seconds.
    Expiration "e" "expiration";
    /// A bound on the number of records.
    TopN "top_n";
    /// The order of a query's records.
    OrderBy "orderby";
    /// The end of a queue lease.
    LeasePeriod "lp" "leaseperiod" "lease_period";
    /// The name a client logs on with.
    ClientName "client_name";
    /// The authenticated user.
    UserId "user_id";
    /// A password or token.
    Password "pw" "password";
    /// The message type of a connection.
    MessageType "mt" "message_type";
    /// A version: the client's inbound, the server's outbound.
    Version "version" "v";
    /// Records that matched topic and filter.
    Matches "matches";
    /// Records compared.
    TopicMatches "topic_matches";
    /// Records sent.
    RecordsReturned "records_returned";
    /// Records removed.
    RecordsDeleted "records_deleted";
    /// The number of a batch within a query's result.
    GroupSequence "gseq" "group_sequence_number";
}

/// Fields with a key of one letter, by that letter.
static ONE_LETTER: [Option<Field>; 128] = {
    let mut table = [None; 128];
    let mut index = 0;
    while index < Field::ALL.len() {
        let field = Field::ALL[index];
        if let [letter] = field.key().as_bytes() {
            table[*letter as usize] = Some(field);
        }
        index += 1;
    }
    table
};

/// Where a field's value stands in its frame, quotes excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) field: Field,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// The fields found in one header. Headers rarely carry more than ten.
pub(crate) type Entries = SmallVec<[Entry; 10]>;

/// Reads one header that starts at `at`. Answers its fields and the index of
/// the first byte behind its closing brace.
pub(crate) fn parse(frame: &[u8], at: usize) -> Result<(Entries, usize), MessageError> {
    let mut entries = Entries::new();
    let mut scan = Scanner { frame, at };
    scan.expect(b'{', "a header starts with '{'")?;
    if scan.peek()? == b'}' {
        return Ok((entries, scan.at + 1));
    }
    loop {
        scan.expect(b'"', "a key is quoted")?;
        let key = scan.quoted()?;
        scan.expect(b':', "a ':' follows a key")?;
        let value = match scan.peek()? {
            b'"' => {
                scan.at += 1;
                scan.quoted()?
            }
            _ => scan.bare()?,
        };
        if let Some(field) = Field::from_key(&frame[key.0..key.1]) {
            entries.push(Entry { field, start: value.0 as u32, end: value.1 as u32 });
        }
        match scan.peek()? {
            b',' => scan.at += 1,
            b'}' => break,
            _ => return Err(scan.error("',' or '}' follows a value")),
        }
    }
    let end = scan.at + 1;
    match std::str::from_utf8(&frame[at..end]) {
        Ok(_) => Ok((entries, end)),
        Err(error) => Err(MessageError::NotUtf8 { at: at + error.valid_up_to() }),
    }
}

struct Scanner<'a> {
    frame: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Result<u8, MessageError> {
        while let Some(byte) = self.frame.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(MessageError::Truncated)
    }

    fn expect(&mut self, byte: u8, rule: &'static str) -> Result<(), MessageError> {
        if self.peek()? != byte {
            return Err(self.error(rule));
        }
        self.at += 1;
        Ok(())
    }

    /// Behind an opening quote: the span up to the closing one.
    fn quoted(&mut self) -> Result<(usize, usize), MessageError> {
        let start = self.at;
        loop {
            let rest = self.frame.get(self.at..).ok_or(MessageError::Truncated)?;
            let step = memchr::memchr2(b'"', b'\\', rest).ok_or(MessageError::Truncated)?;
            if rest[step] == b'"' {
                let end = self.at + step;
                self.at = end + 1;
                return Ok((start, end));
            }
            self.at += step + 2;
        }
    }

    /// A number or word up to the next delimiter.
    fn bare(&mut self) -> Result<(usize, usize), MessageError> {
        let start = self.at;
        while let Some(byte) = self.frame.get(self.at) {
            match byte {
                b',' | b'}' | b' ' | b'\t' | b'\r' | b'\n' if self.at > start => {
                    return Ok((start, self.at));
                }
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'+' | b'.' | b'_' => self.at += 1,
                _ => return Err(self.error("a value is a string, a number or a word")),
            }
        }
        Err(MessageError::Truncated)
    }

    fn error(&self, rule: &'static str) -> MessageError {
        MessageError::Syntax { at: self.at, rule }
    }
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
            Some('u') => {
                let digits = rest.as_str().get(..4).unwrap_or_default();
                match u32::from_str_radix(digits, 16).ok().and_then(char::from_u32) {
                    Some(decoded) => {
                        out.push(decoded);
                        rest = rest.as_str()[4..].chars();
                    }
                    None => out.push('u'),
                }
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Cow::Owned(out)
}

/// Writes one frame: length prefix, header fields in call order, body.
///
/// ```
/// use amps_core::header::{Field, FrameWriter};
/// let mut wire = bytes::BytesMut::new();
/// FrameWriter::new(&mut wire, "p").text(Field::Topic, "px").number(Field::Sequence, 7).finish(b"{}");
/// assert_eq!(&wire[4..], b"{\"c\":\"p\",\"t\":\"px\",\"s\":7}{}");
/// ```
#[derive(Debug)]
#[must_use = "a frame is written by `finish`"]
pub struct FrameWriter<'a> {
    out: &'a mut BytesMut,
    start: usize,
}

impl<'a> FrameWriter<'a> {
    /// Starts a frame at the end of `out` with its command.
    pub fn new(out: &'a mut BytesMut, command: &str) -> Self {
        let start = out.len();
        out.put_u32(0);
        out.put_slice(b"{\"c\":\"");
        escape(out, command);
        out.put_u8(b'"');
        Self { out, start }
    }

    /// A string field.
    pub fn text(mut self, field: Field, value: &str) -> Self {
        self.key(field);
        self.out.put_u8(b'"');
        escape(self.out, value);
        self.out.put_u8(b'"');
        self
    }

    /// A string field, left out when there is no value.
    pub fn maybe(self, field: Field, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(field, value),
            None => self,
        }
    }

    /// A number field.
    pub fn number(mut self, field: Field, value: u64) -> Self {
        self.key(field);
        self.out.put_slice(itoa::Buffer::new().format(value).as_bytes());
        self
    }

    /// Closes the header, appends the body and fills in the length.
    ///
    /// # Panics
    /// When header and body together exceed [`MAX_FRAME_LEN`]; callers bound
    /// their input first.
    pub fn finish(self, body: &[u8]) {
        self.out.put_u8(b'}');
        self.out.put_slice(body);
        let len = self.out.len() - self.start - PREFIX_LEN;
        assert!(len <= MAX_FRAME_LEN, "a frame of {len} bytes is over the protocol's limit");
        self.out[self.start..self.start + PREFIX_LEN].copy_from_slice(&(len as u32).to_be_bytes());
    }

    fn key(&mut self, field: Field) {
        self.out.put_slice(b",\"");
        self.out.put_slice(field.key().as_bytes());
        self.out.put_slice(b"\":");
    }
}

fn escape(out: &mut BytesMut, value: &str) {
    let mut clean = 0;
    let bytes = value.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let short: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x08 => b"\\b",
            0x0c => b"\\f",
            0..=0x1f => b"",
            _ => continue,
        };
        out.put_slice(&bytes[clean..at]);
        if short.is_empty() {
            out.put_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.put_slice(short);
        }
        clean = at + 1;
    }
    out.put_slice(&bytes[clean..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_every_key_is_read() {
        for field in Field::ALL {
            assert_eq!(Field::from_key(field.key().as_bytes()), Some(*field));
        }
        for (key, field) in [
            ("cmd", Field::Command),
            ("v", Field::Version),
            ("lease_period", Field::LeasePeriod),
            ("password", Field::Password),
            ("seq", Field::Sequence),
        ] {
            assert_eq!(Field::from_key(key.as_bytes()), Some(field), "{key}");
        }
        for key in ["", "z", "C", "sid", "\u{fc}"] {
            assert_eq!(Field::from_key(key.as_bytes()), None, "{key}");
        }
    }
}
