use bytes::{Buf, BytesMut};

use crate::frame::frame_len;

/// How many bytes the writer gathers before it writes, if there are that many:
/// 64 KiB. One write call a message is twenty times slower.
pub const TARGET_LEN: usize = 64 * 1024;

/// Above this the buffer is given back after use instead of kept.
const KEEP_CAPACITY: usize = 4 * TARGET_LEN;

/// The outgoing bytes of one connection: filled with whole frames when empty,
/// then written to the end.
///
/// A connection that dies in between takes its buffer along; nothing of it
/// ever reaches another connection.
#[derive(Debug, Default)]
pub struct Transmit {
    buffer: BytesMut,
    written: usize,
}

impl Transmit {
    /// Where to append whole frames. Only while [`is_empty`](Self::is_empty).
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        debug_assert_eq!(self.written, 0, "a half-written buffer takes no more frames");
        &mut self.buffer
    }

    /// Whether everything has been written.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes gathered, written or not.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// What is still to be written.
    pub fn unwritten(&self) -> &[u8] {
        &self.buffer[self.written..]
    }

    /// `count` bytes were written.
    pub fn advance(&mut self, count: usize) {
        self.written += count;
        if self.written == self.buffer.len() {
            self.written = 0;
            if self.buffer.capacity() > KEEP_CAPACITY {
                self.buffer = BytesMut::new();
            } else {
                self.buffer.clear();
            }
        }
    }

    /// The whole frames, prefix included, that were not written to their end.
    pub fn unwritten_frames(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = &self.buffer[at..];
            let frame = rest.get(..frame_len(rest)?)?;
            at += frame.len();
            Some((at, frame))
        })
        .filter(|(end, _)| *end > self.written)
        .map(|(_, frame)| frame)
    }
}

impl Buf for Transmit {
    fn remaining(&self) -> usize {
        self.buffer.len() - self.written
    }
    fn chunk(&self) -> &[u8] {
        self.unwritten()
    }
    fn advance(&mut self, count: usize) {
        Self::advance(self, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_counts_as_written_only_with_its_last_byte() {
        for written in 0..17 {
            let mut out = Transmit::default();
            out.buffer_mut().extend_from_slice(b"\0\0\0\x02ab\0\0\0\x01c\0\0\0\x02de");
            Transmit::advance(&mut out, written);
            let left: Vec<_> = out.unwritten_frames().map(|frame| frame[4]).collect();
            let expected: &[u8] = match written {
                0..6 => b"acd",
                6..11 => b"cd",
                11..17 => b"d",
                _ => b"",
            };
            assert_eq!(left, expected, "after {written}");
        }
    }
}
