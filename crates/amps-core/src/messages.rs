//! Messages that arrived together.
//!
//! One read of a busy connection brings hundreds of messages. They are decoded
//! into one table and share it and the bytes, so that a single [`Message`] is
//! no more than a place in it.

mod decoder;
mod run;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::bookmark::Bookmark;
use crate::error::MessageError;
use crate::header::Field;
use crate::message::{Message, MessageKind};

pub use decoder::MessageDecoder;
use run::RUN_LEN;
pub(crate) use run::{Head, RECORDS_MAX, Run};

/// A table larger than this is not kept: that many messages or fields, a
/// multiple of what a read brings.
const SPARE_ENTRIES: usize = 64 * 1024;

/// Messages decoded from one run of bytes. Cheap to clone.
///
/// ```
/// use amps_core::messages::Messages;
/// use amps_core::{Field, header::FrameWriter};
/// let mut wire = bytes::BytesMut::new();
/// FrameWriter::new(&mut wire, "p").text(Field::Topic, "px").finish(b"one");
/// FrameWriter::new(&mut wire, "p").text(Field::Topic, "px").finish(b"two");
/// let messages = Messages::decode(wire.freeze());
/// assert_eq!(messages.len(), 2);
/// assert_eq!(messages.get(1).data(), b"two");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Messages {
    run: Arc<Run>,
}

impl Messages {
    /// Decodes whole frames, length prefixes included, of together at most
    /// 2 GiB. What follows a frame that is no message, or a frame that is not
    /// whole, is not looked at; see [`error`](Self::error).
    pub fn decode(frames: Bytes) -> Self {
        let mut run = Run::default();
        let _ = run.decode(&frames, RUN_LEN);
        run.bytes = frames;
        run.into()
    }

    /// How many messages there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.run.heads.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.run.heads.is_empty()
    }

    /// Why the frame behind the last message is none.
    pub fn error(&self) -> Option<&MessageError> {
        self.run.error.as_ref()
    }

    /// One of them.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    #[inline]
    pub fn get(&self, index: usize) -> Message {
        assert!(index < self.len(), "message {index} of {}", self.len());
        Message::new(Arc::clone(&self.run), index as u32)
    }

    /// What one of them is.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    #[inline]
    pub fn kind(&self, index: usize) -> MessageKind {
        self.run.kind(index)
    }

    /// A field's bytes as they stand on the wire, without a copy of the
    /// message.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    #[inline]
    pub fn raw_bytes(&self, index: usize, field: Field) -> Option<&[u8]> {
        self.run.raw_bytes(index, field)
    }

    /// The first behind one of them that is perhaps not of the same kind or for
    /// other subscriptions; behind the last, [`len`](Self::len).
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    pub fn alike_until(&self, index: usize) -> usize {
        self.run.alike_until(index)
    }

    /// The bookmarks of all of them, where they carry exactly one. They are read
    /// once, for [`Message::bookmark`] too.
    pub fn bookmarks(&self) -> &[Option<Bookmark>] {
        self.run.bookmarks()
    }

    /// Bytes of one frame, without its prefix.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    pub fn size(&self, index: usize) -> usize {
        self.run.heads[index].len()
    }

    /// Where the frames of some of them stand in the bytes.
    ///
    /// # Panics
    /// When `range` does not lie within [`len`](Self::len).
    pub fn span(&self, range: Range<usize>) -> Range<usize> {
        match &self.run.heads[range] {
            [first, .., last] => first.frame().start..last.frame().end,
            [one] => one.frame(),
            [] => 0..0,
        }
    }

    /// A copy of some of them that does not keep the bytes of the others
    /// alive.
    ///
    /// # Panics
    /// When `range` does not lie within [`len`](Self::len).
    pub fn copy(&self, range: Range<usize>) -> Self {
        self.run.copy(range).into()
    }
}

impl From<Run> for Messages {
    fn from(run: Run) -> Self {
        Self { run: Arc::new(run) }
    }
}

impl From<Arc<Run>> for Messages {
    fn from(run: Arc<Run>) -> Self {
        Self { run }
    }
}

impl IntoIterator for Messages {
    type Item = Message;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter { indexes: 0..self.len(), messages: self }
    }
}

/// One message after the other.
#[derive(Debug, Clone)]
pub struct IntoIter {
    messages: Messages,
    indexes: Range<usize>,
}

impl Iterator for IntoIter {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        self.indexes.next().map(|index| self.messages.get(index))
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::frame::FrameDecoder;
    use crate::header;

    pub(super) fn wire(bodies: &[&str]) -> BytesMut {
        let mut wire = BytesMut::new();
        for body in bodies {
            header::FrameWriter::new(&mut wire, "p").text(Field::Topic, "t").finish(body.as_bytes());
        }
        wire
    }

    pub(super) fn bodies(messages: &Messages) -> Vec<String> {
        messages.clone().into_iter().map(|m| String::from_utf8(m.data().to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_copy_is_the_same_and_keeps_nothing_else_alive() {
        let messages = Messages::decode(wire(&["one", "two", "three", "four"]).freeze());
        let copy = messages.copy(1..3);
        assert_eq!(bodies(&copy), ["two", "three"]);
        assert_eq!(copy.get(1).topic().as_deref(), Some("t"));
        assert_eq!((messages.alike_until(1), copy.alike_until(0)), (4, 2));
        assert!(copy.run.bytes.len() < messages.run.bytes.len());
        assert_eq!(messages.copy(2..2).len(), 0);
    }

    #[test]
    fn a_copy_of_a_record_has_what_it_has_from_its_batch() {
        let frame = concat!(r#"{"c":"sow","t":"px","ts":"20260101T000000"}"#, r#"{"k":"1","l":1}a{"k":"2","l":1}b"#);
        let records = Message::decode(Bytes::from_static(frame.as_bytes())).unwrap().records();
        let copy = records.copy(1..2).get(0);
        assert_eq!((copy.data(), copy.raw(Field::SowKey)), (&b"b"[..], Some("2")));
        assert_eq!((copy.raw(Field::Topic), copy.raw(Field::Timestamp)), (Some("px"), Some("20260101T000000")));
        assert_eq!(copy.raw(Field::Command), Some("sow"));
        assert_eq!(format!("{copy:?}"), format!("{:?}", records.get(1)));
    }

    #[test]
    fn what_stands_before_a_frame_that_is_none_is_given_out() {
        let mut bytes = wire(&["one"]);
        bytes.extend_from_slice(b"\0\0\0\x02no\0\0\0\x0b{\"c\":\"p\"}ok");
        let messages = Messages::decode(bytes.freeze());
        assert_eq!(bodies(&messages), ["one"]);
        assert!(matches!(messages.error(), Some(MessageError::Syntax { at: 0, .. })));
    }

    #[test]
    fn a_header_like_the_one_before_is_read_as_if_it_were_the_first() {
        let mut bytes = wire(&["one", "two", "", "four"]);
        let headers = [
            // Begins like those before.
            r#"{"c":"p","t":"t" ,"sids":"9"}"#,
            r#"{"c":"p","t":"t","sids":"9","bm":"1|1|","ts":"20260101T000000Z","k":"17","z":"1"}"#,
            r#"{"c":"p","t":"u","sids":"9","bm":"2|3|","ts":"20260101T000001Z","k":"18","z":"1"}"#,
            r#"{"c":"p","t":"\"","sids":"9","bm":"2|3|","ts":"20260101T000001Z","k":"8","z":"1"}"#,
            r#"{"c":"p","t":"t","sids":"9","bm":"1|1|","ts":"20260101T000000Z","k":"17","z":"2"}"#,
            r#"{"c":"p","t":"t","sids":"9","bm":"1|1|","ts":"20260101T000000Z","k":"\n","z":"2"}"#,
            r#"{"c":"p","t":"t","sids":"8","bm":"1|1|","ts":"20260101T000000Z","k":"17","z":"2"}"#,
            r#"{"c":"o","t":"t","sids":"8","bm":"1|1|","ts":"20260101T000000Z","k":"19","z":"2"}"#,
            "{\"c\":\"o\",\"t\":\"t\",\"sids\":\"8\",\"bm\":\"1|\u{e4}|\",\"k\":\"19\"}",
            r#"{"c":"o","t":"t","sids":"8","bm":"1|xx|","k":"19"}"#,
            r#"{"c":"o","t":"t","sids":"8","s":1,"k":"19"}"#,
            r#"{"c":"o","t":"t","sids":"8","s":2,"k":"19"}"#,
        ];
        for header in headers {
            bytes.extend_from_slice(&(header.len() as u32 + 1).to_be_bytes());
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(b"x");
        }
        let messages = Messages::decode(bytes.clone().freeze());
        assert_eq!((messages.error(), messages.len()), (None, 4 + headers.len()));
        let alone = {
            let mut decoder = FrameDecoder::new(100);
            decoder.extend(&bytes);
            std::iter::from_fn(move || decoder.next_frame().unwrap()).map(|frame| Message::decode(frame).unwrap())
        };
        for (index, alone) in alone.enumerate() {
            assert_eq!(format!("{:?}", messages.get(index)), format!("{alone:?}"));
            assert_eq!(messages.get(index).data(), alone.data());
            let begins = index == 0 || messages.alike_until(index - 1) == index;
            assert_eq!(begins, ![1, 2, 3, 6, 13].contains(&index), "{index}");
        }
    }

    #[test]
    fn a_frame_shorter_than_the_header_before_is_not_read_beyond_its_end() {
        let mut bytes = wire(&["one"]);
        bytes.extend_from_slice(b"\0\0\0\x09{\"c\":\"p\"}");
        bytes.extend_from_slice(b"\0\0\0\x0a{\"c\":\"p\"");
        let messages = Messages::decode(bytes.freeze());
        assert_eq!(bodies(&messages), ["one", ""]);
        assert_eq!(messages.error(), None, "the last frame is not whole");
    }
}
