use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;

use super::run::RUN_LEN;
use super::{Messages, SPARE_ENTRIES};
use crate::frame::{FrameError, PREFIX_LEN, frame_len};

/// How many tables and buffers of earlier reads are kept for use again: as many
/// as a consumer that keeps up has in its hands.
const SPARE: usize = 8;

/// Bytes of a buffer that is read into; a longer frame makes a longer one.
const BUFFER_LEN: usize = 512 * 1024;

/// From a stream of bytes to messages, a read at a time.
///
/// Buffers and tables of messages that nobody holds any more are used again,
/// so that a steady flow allocates nothing and stays in the processor's cache.
#[derive(Debug)]
pub struct MessageDecoder {
    buffer: BytesMut,
    /// That was made for a long frame; it is not kept.
    long: bool,
    limit: usize,
    connection: u64,
    buffers: VecDeque<BytesMut>,
    given: VecDeque<Messages>,
}

impl MessageDecoder {
    /// A decoder that refuses frames longer than `limit` bytes, or than 2 GiB.
    pub fn new(limit: usize) -> Self {
        let limit = limit.min(RUN_LEN);
        let (buffers, given) = (VecDeque::new(), VecDeque::new());
        Self { buffer: BytesMut::new(), long: false, limit, connection: 0, buffers, given }
    }

    /// Gives this number to all messages, for
    /// [`Message::connection`](crate::Message::connection).
    #[must_use]
    pub fn connection(mut self, number: u64) -> Self {
        self.connection = number;
        self
    }

    /// The buffer to read into; append only. It has room for `len` bytes.
    pub fn buffer_mut(&mut self, len: usize) -> &mut BytesMut {
        let buffer = &mut self.buffer;
        let held = buffer.len();
        if held + len > BUFFER_LEN {
            // A long frame: as long a buffer, until it is through.
            buffer.reserve(len);
            self.long = true;
            return buffer;
        }
        let room = buffer.capacity() - held >= len || buffer.try_reclaim(len);
        if !room || self.long {
            let mut next = spare_buffer(&mut self.buffers);
            next.extend_from_slice(buffer);
            let mut full = std::mem::replace(buffer, next);
            full.clear();
            if self.buffers.len() == SPARE {
                self.buffers.pop_front();
            }
            if !std::mem::take(&mut self.long) {
                self.buffers.push_back(full);
            }
        }
        buffer
    }

    /// Bytes received and not yet given out.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The messages of all whole frames received so far; `None` while more
    /// bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`]; every later call answers the same. What came before the
    /// refused frame was given out.
    pub fn next_messages(&mut self) -> Result<Option<Messages>, FrameError> {
        if frame_len(&self.buffer).is_none_or(|len| len > self.buffer.len() && len - PREFIX_LEN <= self.limit) {
            return Ok(None);
        }
        let mut messages = self.spare();
        let Some(run) = Arc::get_mut(&mut messages.run) else { unreachable!("a table nobody holds") };
        let whole = run.decode(&self.buffer, self.limit)?;
        run.bytes = self.buffer.split_to(whole).freeze();
        run.connection = self.connection;
        let len = messages.run.heads.len().max(messages.run.entries.len());
        // One that is kept does not keep a long frame alive.
        if len <= SPARE_ENTRIES && whole <= BUFFER_LEN {
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
fn spare_buffer(buffers: &mut VecDeque<BytesMut>) -> BytesMut {
    let free = (0..buffers.len()).rev().find(|index| buffers[*index].try_reclaim(BUFFER_LEN));
    free.and_then(|index| buffers.remove(index)).unwrap_or_else(|| BytesMut::with_capacity(BUFFER_LEN))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bodies, wire};
    use super::*;

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
            assert!(decoder.buffer_mut(64 * 1024).capacity() <= BUFFER_LEN);
            decoder.buffer_mut(64 * 1024).extend_from_slice(&wire(&[&"y".repeat(60_000)]));
            assert_eq!(decoder.next_messages().unwrap().unwrap().len(), 1);
        }
        assert!(decoder.buffers.iter_mut().all(|buffer| !buffer.try_reclaim(BUFFER_LEN + 1)));
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
