use bytes::{BufMut, BytesMut};

use super::Field;
use crate::frame::{MAX_FRAME_LEN, PREFIX_LEN};
use crate::planted;

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

    /// Starts a publish: command and topic, and with a sequence that and the
    /// wish to have it acknowledged as persisted. The same as field by field,
    /// in fewer pieces.
    pub fn publish(out: &'a mut BytesMut, topic: &str, sequence: Option<u64>) -> Self {
        let acks: &[u8] = match planted::is("processed-taken-as-persisted") {
            true => b",\"a\":\"processed,persisted\"",
            false => b",\"a\":\"persisted\"",
        };
        Self::sequenced(out, b"\0\0\0\0{\"c\":\"p\"", topic, sequence, acks)
    }

    /// Starts a delta publish, as [`publish`](Self::publish) does a publish.
    pub fn delta_publish(out: &'a mut BytesMut, topic: &str, sequence: Option<u64>) -> Self {
        Self::sequenced(out, b"\0\0\0\0{\"c\":\"delta_publish\"", topic, sequence, b",\"a\":\"persisted\"")
    }

    /// Starts a `sow_delete`, as [`publish`](Self::publish) does a publish.
    pub fn sow_delete(out: &'a mut BytesMut, topic: &str, sequence: Option<u64>) -> Self {
        Self::sequenced(out, b"\0\0\0\0{\"c\":\"sow_delete\"", topic, sequence, b",\"a\":\"persisted\"")
    }

    /// Starts a `sow_delete` that also asks how many records it deleted, in an
    /// answer with this command id.
    pub fn counted_sow_delete(out: &'a mut BytesMut, topic: &str, sequence: Option<u64>, id: &str) -> Self {
        let lead = b"\0\0\0\0{\"c\":\"sow_delete\"";
        match sequence {
            Some(_) => Self::sequenced(out, lead, topic, sequence, b",\"a\":\"persisted,stats\""),
            None => Self::sequenced(out, lead, topic, None, b"").text(Field::AckType, "stats"),
        }
        .text(Field::CommandId, id)
    }

    #[inline]
    fn sequenced(out: &'a mut BytesMut, lead: &[u8], topic: &str, sequence: Option<u64>, acks: &[u8]) -> Self {
        let start = out.len();
        out.put_slice(lead);
        if let Some(sequence) = sequence {
            out.put_slice(b",\"s\":");
            out.put_slice(itoa::Buffer::new().format(sequence).as_bytes());
            out.put_slice(acks);
        }
        out.put_slice(b",\"t\":\"");
        escape(out, topic);
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
        self.out.put_slice(field.lead());
    }
}

#[inline]
fn escape(out: &mut BytesMut, value: &str) {
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    match value.as_bytes().iter().any(special) {
        true => escape_special(out, value),
        false => out.put_slice(value.as_bytes()),
    }
}

#[cold]
fn escape_special(out: &mut BytesMut, value: &str) {
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
