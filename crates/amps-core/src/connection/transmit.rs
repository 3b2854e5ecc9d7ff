use bytes::{Buf, Bytes, BytesMut};

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
    /// Frames that are written from where they are, before those gathered.
    shared: Bytes,
    buffer: BytesMut,
    /// Of both together.
    written: usize,
}

impl Transmit {
    /// Where to append whole frames. Only while nothing is written.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        debug_assert_eq!(self.written, 0, "a half-written buffer takes no more frames");
        &mut self.buffer
    }

    /// Takes whole frames without a copy. Only while [`is_empty`](Self::is_empty).
    ///
    /// # Panics
    /// When there are frames already, which these would overtake.
    pub fn share(&mut self, frames: Bytes) {
        assert!(self.is_empty(), "shared frames come first");
        self.shared = frames;
    }

    /// Whether everything has been written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes gathered and shared, written or not.
    pub fn len(&self) -> usize {
        self.shared.len() + self.buffer.len()
    }

    /// The next bytes to be written; more may follow them.
    pub fn unwritten(&self) -> &[u8] {
        match self.shared.get(self.written..) {
            Some(rest) if !rest.is_empty() => rest,
            _ => &self.buffer[self.written - self.shared.len()..],
        }
    }

    /// `count` bytes were written.
    pub fn advance(&mut self, count: usize) {
        self.written += count;
        if self.written == self.len() {
            self.written = 0;
            self.shared = Bytes::new();
            if self.buffer.capacity() > KEEP_CAPACITY {
                self.buffer = BytesMut::new();
            } else {
                self.buffer.clear();
            }
        }
    }

    /// The whole frames, prefix included, that were not written to their end.
    pub fn unwritten_frames(&self) -> impl Iterator<Item = &[u8]> {
        let mut end = 0;
        let all = frames(&self.shared).chain(frames(&self.buffer));
        all.filter(move |frame| {
            end += frame.len();
            end > self.written
        })
    }
}

fn frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (frame, rest) = bytes.split_at_checked(frame_len(bytes)?)?;
        bytes = rest;
        Some(frame)
    })
}

impl Buf for Transmit {
    fn remaining(&self) -> usize {
        self.len() - self.written
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
        let frames = b"\0\0\0\x02ab\0\0\0\x01c\0\0\0\x02de";
        for (written, shared) in (0..17).flat_map(|written| [0, 6, 11, 17].map(|shared| (written, shared))) {
            let mut out = Transmit::default();
            out.share(Bytes::from_static(&frames[..shared]));
            out.buffer_mut().extend_from_slice(&frames[shared..]);
            Transmit::advance(&mut out, written);
            let left: Vec<_> = out.unwritten_frames().map(|frame| frame[4]).collect();
            let expected: &[u8] = match written {
                0..6 => b"acd",
                6..11 => b"cd",
                11..17 => b"d",
                _ => b"",
            };
            assert_eq!(left, expected, "after {written}");
            let mut rest = Vec::new();
            while !out.is_empty() {
                let part = &out.unwritten()[..1];
                rest.extend_from_slice(part);
                Transmit::advance(&mut out, 1);
            }
            assert_eq!(rest, frames[written..]);
        }
    }
}
