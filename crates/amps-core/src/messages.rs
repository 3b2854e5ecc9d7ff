//! Messages that arrived together.
//!
//! One read of a busy connection brings hundreds of messages. They are decoded
//! into one table and share it and the bytes, so that a single [`Message`] is
//! no more than a place in it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::bookmark::Bookmark;
use crate::error::MessageError;
use crate::frame::{FrameDecoder, FrameError, PREFIX_LEN, frame_len};
use crate::header::{self, Entry, Field};
use crate::message::{Message, MessageKind};

/// How many tables and buffers of earlier reads are kept for use again: as many
/// as a consumer that keeps up has in its hands.
const SPARE: usize = 8;

/// Bytes of a buffer that is read into; a longer frame makes a longer one.
const BUFFER_LEN: usize = 128 * 1024;

/// Longer buffers are not kept.
const KEPT_LEN: usize = 2 * BUFFER_LEN;

/// A table larger than this is not kept: that many fields, a multiple of what
/// a read brings.
const SPARE_ENTRIES: usize = 16 * 1024;

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

/// The table behind [`Messages`]. A single message needs no more than one
/// allocation.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) bytes: Bytes,
    heads: SmallVec<[Head; 1]>,
    entries: SmallVec<[Entry; 10]>,
    error: Option<MessageError>,
}

/// Where one message stands. The frame runs from `start` to the end of the
/// body.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) start: u32,
    pub(crate) body: Range<u32>,
    entries: Range<u32>,
    pub(crate) kind: MessageKind,
    /// The header is the same as the one before, byte by byte.
    repeated: bool,
}

impl Messages {
    /// Decodes whole frames, length prefixes included, of together at most
    /// 4 GiB. What follows a frame that is no message, or a frame that is not
    /// whole, is not looked at; see [`error`](Self::error).
    pub fn decode(frames: Bytes) -> Self {
        let mut run = Run::default();
        run.decode(frames);
        Self { run: Arc::new(run) }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.run.heads.len()
    }

    /// Whether there are none.
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
    pub fn get(&self, index: usize) -> Message {
        assert!(index < self.len(), "message {index} of {}", self.len());
        Message::new(Arc::clone(&self.run), index as u32)
    }

    /// What one of them is.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    pub fn kind(&self, index: usize) -> MessageKind {
        self.run.heads[index].kind
    }

    /// A field's bytes as they stand on the wire, without a copy of the
    /// message.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    pub fn raw_bytes(&self, index: usize, field: Field) -> Option<&[u8]> {
        self.run.raw_bytes(index, field)
    }

    /// Whether the header of one of them is, byte by byte, that of the one
    /// before. `false` says nothing.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    pub fn repeats(&self, index: usize) -> bool {
        self.run.heads[index].repeated
    }

    /// The bookmark of one of them, when it carries exactly one.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    pub fn bookmark(&self, index: usize) -> Option<Bookmark> {
        Bookmark::from_bytes(self.raw_bytes(index, Field::Bookmark)?)
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
            [first, .., last] => first.start as usize..last.body.end as usize,
            [one] => one.start as usize..one.body.end as usize,
            [] => 0..0,
        }
    }

    /// A copy of some of them that does not keep the bytes of the others
    /// alive.
    ///
    /// # Panics
    /// When `range` does not lie within [`len`](Self::len).
    pub fn copy(&self, range: Range<usize>) -> Self {
        let span = self.span(range.clone());
        let heads = &self.run.heads[range];
        let (Some(first), Some(last)) = (heads.first(), heads.last()) else { return Self::default() };
        let first_entry = first.entries.start;
        let mut bytes = BytesMut::from(&self.run.bytes[span.clone()]);
        let mut copy = |entry: &Entry| {
            let value = entry.range();
            let at = match value.start >= span.start {
                true => value.start - span.start,
                // What a record of a batch has from the batch stands before it.
                false => {
                    bytes.extend_from_slice(&self.run.bytes[value.clone()]);
                    bytes.len() - value.len()
                }
            };
            Entry { start: at as u32, end: (at + value.len()) as u32, ..*entry }
        };
        let entries = self.run.entries[first_entry as usize..last.entries.end as usize].iter().map(&mut copy).collect();
        let heads = heads.iter().map(|head| head.moved(span.start as u32, first_entry)).collect();
        Run { bytes: bytes.freeze(), heads, entries, error: None }.into()
    }
}

impl Head {
    fn moved(&self, start: u32, entries: u32) -> Self {
        Self {
            start: self.start - start,
            body: self.body.start - start..self.body.end - start,
            entries: self.entries.start - entries..self.entries.end - entries,
            ..*self
        }
    }

    pub(crate) fn len(&self) -> usize {
        (self.body.end - self.start) as usize
    }
}

impl Run {
    fn decode(&mut self, frames: Bytes) {
        self.bytes = frames;
        let mut at = 0;
        while let Some(len) = frame_len(&self.bytes[at..]) {
            let (start, end) = (at + PREFIX_LEN, at + len);
            if end > self.bytes.len() {
                break;
            }
            // Empty frames are no-ops on this protocol.
            if end > start
                && let Err(error) = self.message(start, end)
            {
                self.error = Some(error);
                break;
            }
            at = end;
        }
    }

    /// The message of one frame, its prefix already taken off.
    pub(crate) fn one(frame: Bytes) -> Result<Self, MessageError> {
        let mut run = Self { bytes: frame, ..Self::default() };
        run.message(0, run.bytes.len())?;
        Ok(run)
    }

    /// Adds the message whose frame, without prefix, stands there.
    fn message(&mut self, start: usize, end: usize) -> Result<(), MessageError> {
        if self.repeats(start, end) {
            return Ok(());
        }
        let Self { bytes, heads, entries, .. } = self;
        let frame = &bytes[start..end];
        let first = entries.len() as u32;
        let mut kind = None;
        let base = start as u32;
        let body = header::parse(frame, 0, |entry| {
            if entry.field == Field::Command && kind.is_none() {
                kind = Some(MessageKind::from_wire(&frame[entry.start as usize..entry.end as usize]));
            }
            entries.push(entry.at(base));
        })?;
        let kind = kind.ok_or(MessageError::NoCommand)?;
        let entries = first..entries.len() as u32;
        let body = base + body as u32..end as u32;
        heads.push(Head { start: base, body, entries, kind, repeated: false });
        Ok(())
    }

    /// Adds the message if its header is that of the one before. Most messages
    /// of a subscription without bookmarks differ in nothing but the body, and
    /// comparing is several times quicker than reading.
    fn repeats(&mut self, start: usize, end: usize) -> bool {
        let Some(before) = self.heads.last() else { return false };
        let header = before.start as usize..before.body.start as usize;
        let body = start + header.len();
        if body > end || self.bytes[start..body] != self.bytes[header] {
            return false;
        }
        let step = start as u32 - before.start;
        let (first, kind) = (self.entries.len() as u32, before.kind);
        for index in span(&before.entries) {
            let entry = self.entries[index].at(step);
            self.entries.push(entry);
        }
        let entries = first..self.entries.len() as u32;
        self.heads.push(Head { start: start as u32, body: body as u32..end as u32, entries, kind, repeated: true });
        true
    }

    /// The records of the batch at `batch`, as messages of their own.
    pub(crate) fn records(batch: &Self, index: usize) -> Self {
        let head = &batch.heads[index];
        let of_batch: SmallVec<[Entry; 10]> =
            batch.entries(index).iter().filter(|entry| !PER_RECORD.contains(&entry.field)).copied().collect();
        let mut run = Self { bytes: batch.bytes.clone(), ..Self::default() };
        // A first guess at how many there are; records are rarely shorter.
        let records = (head.len() / 128).min(SPARE_ENTRIES);
        run.heads.reserve(records);
        run.entries.reserve(records * (of_batch.len() + 2));
        let mut at = head.body.start as usize;
        while at < head.body.end as usize {
            match run.record(head, &of_batch, at) {
                Ok(end) => at = end,
                Err(error) => {
                    run.error = Some(error);
                    break;
                }
            }
        }
        run
    }

    /// Adds one record: what the batch has for all of them, overlaid by the
    /// record's own fields.
    fn record(&mut self, batch: &Head, of_batch: &[Entry], at: usize) -> Result<usize, MessageError> {
        let Self { bytes, heads, entries, .. } = self;
        let frame = &bytes[batch.start as usize..batch.body.end as usize];
        let (base, at) = (batch.start, at - batch.start as usize);
        let first = entries.len();
        let mut len = None;
        let body = header::parse(frame, at, |entry| {
            if entry.field == Field::MessageLength && len.is_none() {
                len = Some(entry);
            }
            entries.push(entry.at(base));
        })?;
        let own = entries.len();
        let len = len
            .and_then(|entry| std::str::from_utf8(&frame[entry.range()]).ok()?.parse::<usize>().ok())
            .filter(|len| *len <= frame.len() - body)
            .ok_or(MessageError::RecordLength { at })?;
        for entry in of_batch {
            if entries[first..own].iter().all(|own| own.field != entry.field) {
                entries.push(*entry);
            }
        }
        let body = base + body as u32..base + (body + len) as u32;
        let end = body.end as usize;
        let entries = first as u32..entries.len() as u32;
        heads.push(Head { start: base + at as u32, body, entries, kind: batch.kind, repeated: false });
        Ok(end)
    }

    pub(crate) fn head(&self, index: usize) -> &Head {
        &self.heads[index]
    }

    /// The known fields of a message, in their order on the wire.
    pub(crate) fn entries(&self, index: usize) -> &[Entry] {
        &self.entries[span(&self.heads[index].entries)]
    }

    pub(crate) fn raw_bytes(&self, index: usize, field: Field) -> Option<&[u8]> {
        let entry = self.entries(index).iter().find(|entry| entry.field == field)?;
        Some(&self.bytes[entry.range()])
    }

    /// Makes it empty, keeping its memory.
    fn clear(&mut self) {
        self.bytes = Bytes::new();
        self.heads.clear();
        self.entries.clear();
        self.error = None;
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

/// Fields that a batch's header has for itself, not for its records.
const PER_RECORD: [Field; 5] =
    [Field::SowKey, Field::MessageLength, Field::CorrelationId, Field::Bookmark, Field::BatchSize];

fn span(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// From a stream of bytes to messages, a read at a time.
///
/// Buffers and tables of messages that nobody holds any more are used again,
/// so that a steady flow allocates nothing and stays in the processor's cache.
#[derive(Debug)]
pub struct MessageDecoder {
    frames: FrameDecoder,
    buffers: VecDeque<BytesMut>,
    given: VecDeque<Messages>,
}

impl MessageDecoder {
    /// A decoder that refuses frames longer than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { frames: FrameDecoder::new(limit), buffers: VecDeque::new(), given: VecDeque::new() }
    }

    /// The buffer to read into; append only. It has room for `len` bytes.
    pub fn buffer_mut(&mut self, len: usize) -> &mut BytesMut {
        let buffer = self.frames.buffer_mut();
        let held = buffer.len();
        if held + len > BUFFER_LEN {
            // A long frame: as long a buffer, until it is through.
            buffer.reserve(len);
            return buffer;
        }
        let room = buffer.capacity() - held >= len || buffer.try_reclaim(len);
        if !room || buffer.capacity() > KEPT_LEN {
            let mut next = spare_buffer(&mut self.buffers);
            next.extend_from_slice(buffer);
            let mut full = std::mem::replace(buffer, next);
            full.clear();
            if self.buffers.len() == SPARE {
                self.buffers.pop_front();
            }
            self.buffers.push_back(full);
        }
        buffer
    }

    /// Bytes received and not yet given out.
    pub fn buffered(&self) -> usize {
        self.frames.buffered()
    }

    /// The messages of all whole frames received so far; `None` while more
    /// bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`]; every later call answers the same. What came before the
    /// refused frame was given out.
    pub fn next_messages(&mut self) -> Result<Option<Messages>, FrameError> {
        let Some(frames) = self.frames.next_frames()? else { return Ok(None) };
        let mut messages = self.spare();
        match Arc::get_mut(&mut messages.run) {
            Some(run) => run.decode(frames),
            None => messages = Messages::decode(frames),
        }
        if messages.run.entries.len() <= SPARE_ENTRIES && messages.run.bytes.len() <= KEPT_LEN {
            if self.given.len() == SPARE {
                self.given.pop_front();
            }
            self.given.push_back(messages.clone());
        }
        Ok(Some(messages))
    }

    /// A table nobody holds, emptied; a new one when there is none. The one
    /// given out last is the most likely to be in the cache.
    fn spare(&mut self) -> Messages {
        for index in (0..self.given.len()).rev() {
            if let Some(run) = Arc::get_mut(&mut self.given[index].run) {
                run.clear();
                return self.given.remove(index).unwrap_or_default();
            }
        }
        Messages::default()
    }
}

/// A whole buffer of which nobody holds a slice; a new one when there is none.
/// Those of long frames are let go.
fn spare_buffer(buffers: &mut VecDeque<BytesMut>) -> BytesMut {
    for index in (0..buffers.len()).rev() {
        if buffers[index].try_reclaim(BUFFER_LEN)
            && let Some(buffer) = buffers.remove(index)
            && buffer.capacity() <= KEPT_LEN
        {
            return buffer;
        }
    }
    BytesMut::with_capacity(BUFFER_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(bodies: &[&str]) -> BytesMut {
        let mut wire = BytesMut::new();
        for body in bodies {
            header::FrameWriter::new(&mut wire, "p").text(Field::Topic, "t").finish(body.as_bytes());
        }
        wire
    }

    fn bodies(messages: &Messages) -> Vec<String> {
        messages.clone().into_iter().map(|m| String::from_utf8(m.data().to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_copy_is_the_same_and_keeps_nothing_else_alive() {
        let messages = Messages::decode(wire(&["one", "two", "three", "four"]).freeze());
        let copy = messages.copy(1..3);
        assert_eq!(bodies(&copy), ["two", "three"]);
        assert_eq!(copy.get(1).topic().as_deref(), Some("t"));
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
    fn a_repeated_header_is_read_as_if_it_were_the_first() {
        let mut bytes = wire(&["one", "two", "", "four"]);
        // One byte short of the header before, and one that only begins like it.
        bytes.extend_from_slice(&wire(&["five"])[..]);
        bytes.extend_from_slice(b"\0\0\0\x1e{\"c\":\"p\",\"t\":\"t\" ,\"sids\":\"9\"}x");
        let messages = Messages::decode(bytes.clone().freeze());
        assert_eq!(messages.error(), None);
        assert_eq!(bodies(&messages), ["one", "two", "", "four", "five", "x"]);
        let alone = {
            let mut decoder = FrameDecoder::new(100);
            decoder.extend(&bytes);
            std::iter::from_fn(move || decoder.next_frame().unwrap()).map(|frame| Message::decode(frame).unwrap())
        };
        for (index, alone) in alone.enumerate() {
            assert_eq!(format!("{:?}", messages.get(index)), format!("{alone:?}"));
            assert_eq!(messages.repeats(index), (1..5).contains(&index), "{index}");
        }
    }

    #[test]
    fn a_buffer_is_used_again_once_nobody_holds_a_slice_of_it() {
        let mut decoder = MessageDecoder::new(1 << 20);
        let body = "x".repeat(50_000);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let buffer = decoder.buffer_mut(64 * 1024);
            buffer.extend_from_slice(&wire(&[&body]));
            buffer.extend_from_slice(b"\0\0");
            let messages = decoder.next_messages().unwrap().unwrap();
            assert_eq!(messages.len(), 1);
            seen.insert(messages.run.bytes.as_ptr() as usize / BUFFER_LEN);
            decoder.buffer_mut(64 * 1024).extend_from_slice(b"\0\0");
            assert_eq!(decoder.next_messages().unwrap().map_or(0, |messages| messages.len()), 0);
        }
        assert!(seen.len() <= 4, "{} buffers", seen.len());
    }

    #[test]
    fn the_memory_of_a_long_frame_is_given_back() {
        let mut decoder = MessageDecoder::new(1 << 30);
        let long = wire(&[&"x".repeat(3 << 20)]);
        for part in long.chunks(60_000) {
            assert!(decoder.next_messages().unwrap().is_none());
            let buffer = decoder.buffer_mut(64 * 1024);
            assert!(buffer.capacity() - buffer.len() >= 64 * 1024);
            buffer.extend_from_slice(part);
        }
        let message = decoder.next_messages().unwrap().unwrap().get(0);
        assert_eq!(message.data().len(), 3 << 20);
        assert!(decoder.given.is_empty());
        drop(message);
        for _ in 0..20 {
            assert!(decoder.buffer_mut(64 * 1024).capacity() <= KEPT_LEN);
            decoder.buffer_mut(64 * 1024).extend_from_slice(&wire(&[&"y".repeat(60_000)]));
            assert_eq!(decoder.next_messages().unwrap().unwrap().len(), 1);
        }
        assert!(decoder.buffers.iter_mut().all(|buffer| !buffer.try_reclaim(1 << 20)));
    }

    #[test]
    fn a_table_is_used_again_once_nobody_holds_it() {
        let mut decoder = MessageDecoder::new(1000);
        let mut next = |body: &str| {
            decoder.buffer_mut(100).extend_from_slice(&wire(&[body]));
            decoder.next_messages().unwrap().unwrap()
        };
        let held = next("held").get(0);
        let first = Arc::as_ptr(&next("one").run);
        let second = next("two");
        assert_eq!(Arc::as_ptr(&second.run), first);
        assert_eq!(bodies(&second), ["two"]);
        assert_eq!(held.data(), b"held");
    }

    #[test]
    fn many_messages_held_are_all_kept_apart() {
        let mut decoder = MessageDecoder::new(1000);
        let mut held = Vec::new();
        for number in 0..100 {
            decoder.buffer_mut(100).extend_from_slice(&wire(&[&number.to_string()]));
            held.push(decoder.next_messages().unwrap().unwrap().get(0));
        }
        for (number, message) in held.iter().enumerate() {
            assert_eq!(message.data(), number.to_string().as_bytes());
        }
    }
}
