use bytes::{Bytes, BytesMut};

/// Bytes kept in spare buffers at most.
const KEPT: usize = 4 << 20;

/// The buffers frames are encoded into, used again and again: fresh memory
/// costs more than the frames themselves.
#[derive(Debug)]
pub(super) struct Spare {
    /// How large a buffer is at least.
    pub(super) len: usize,
    free: Vec<BytesMut>,
    /// What the last segment left of its buffer.
    rest: BytesMut,
}

impl Spare {
    pub(super) fn new(len: usize) -> Self {
        Self { len, free: Vec::new(), rest: BytesMut::new() }
    }

    /// An empty buffer for a segment that begins with a frame of `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> BytesMut {
        let rest = std::mem::take(&mut self.rest);
        if rest.capacity() >= len.max(self.len / 4) {
            return rest;
        }
        match self.free.pop() {
            Some(buffer) if len <= self.len => buffer,
            _ => BytesMut::with_capacity(len.max(self.len)),
        }
    }

    /// Ends a segment of `len` bytes. The next one may go on in its buffer.
    pub(super) fn seal(&mut self, mut open: BytesMut, len: usize) -> Bytes {
        let bytes = open.split_to(len).freeze();
        open.clear();
        self.rest = open;
        bytes
    }

    /// Takes back what a segment held, if nobody else holds its buffer.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        if self.free.len() * self.len >= KEPT {
            return;
        }
        if let Ok(mut buffer) = bytes.try_into_mut() {
            buffer.clear();
            // Large buffers are made for large messages; they are not kept.
            if buffer.try_reclaim(self.len) && buffer.capacity() < self.len * 2 {
                self.free.push(buffer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_the_last_segment_in_it_is_freed() {
        let mut spare = Spare::new(1000);
        let mut open = spare.take(10);
        let memory = open.as_ptr();
        open.extend_from_slice(&[1; 300]);
        let first = spare.seal(open, 300);
        let mut open = spare.take(10);
        assert_eq!(open.as_ptr(), memory.wrapping_add(300), "goes on in the rest");
        open.extend_from_slice(&[2; 600]);
        let second = spare.seal(open, 600);
        let third = spare.take(200);
        assert!(third.capacity() >= 1000 && third.as_ptr() != memory, "the rest is too small");

        spare.put_back(first);
        assert!(spare.free.is_empty(), "the second is in it too");
        assert_eq!(second[..], [2; 600]);
        spare.put_back(second);
        let again = spare.take(10);
        assert_eq!((again.as_ptr(), again.len()), (memory, 0));
        assert!(again.capacity() >= 1000);
    }

    #[test]
    fn what_is_kept_is_bounded_and_large_buffers_are_not() {
        let mut spare = Spare::new(1 << 20);
        let sealed: Vec<_> = (0..10)
            .map(|_| {
                let mut open = spare.take(1 << 20);
                open.resize(1 << 20, 0);
                spare.seal(open, 1 << 20)
            })
            .collect();
        sealed.into_iter().for_each(|bytes| spare.put_back(bytes));
        assert_eq!(spare.free.len(), 4);
        let mut spare = Spare::new(1000);
        let mut large = spare.take(100_000);
        large.resize(100_000, 0);
        let large = spare.seal(large, 100_000);
        spare.take(10);
        spare.put_back(large);
        assert!(spare.free.is_empty());
    }
}
