use bytes::{Bytes, BytesMut};

use amps_core::frame::frame_len;
use amps_core::{Field, Message};

use amps_core::frame::PREFIX_LEN;

use super::spare::Spare;

/// A segment in memory is sealed when it would grow beyond this.
pub(super) const SEGMENT_LEN: usize = 60 * 1024;

/// A run of frames with consecutive sequences: the unit of storing, loading
/// and freeing.
#[derive(Debug)]
pub(super) struct Segment {
    /// Ordinal of the first frame.
    pub(super) first: u64,
    /// How many frames.
    pub(super) count: u64,
    /// Sequence of the first frame.
    pub(super) first_sequence: u64,
    /// A job has taken it to the store, under `first_sequence` as its key.
    pub(super) taken: bool,
    /// Bytes of all frames.
    pub(super) len: usize,
    /// Frames cut off the front of what the store has; only while new numbers
    /// are given.
    pub(super) cut: u64,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    /// Takes more frames.
    Open(BytesMut),
    /// Takes no more.
    Sealed(Bytes),
    /// Only in the store.
    Stored,
}

impl Segment {
    pub(super) fn open(first: u64, first_sequence: u64, buffer: BytesMut) -> Self {
        Self { first, count: 0, first_sequence, taken: false, len: 0, cut: 0, body: Body::Open(buffer) }
    }

    /// Whether `len` bytes more fit into its buffer.
    pub(super) fn has_room(&self, len: usize) -> bool {
        matches!(&self.body, Body::Open(buffer) if self.len + len <= buffer.capacity())
    }

    /// The ordinal behind the last frame.
    pub(super) fn end(&self) -> u64 {
        self.first + self.count
    }

    pub(super) fn last_sequence(&self) -> u64 {
        self.first_sequence + self.count - 1
    }

    pub(super) fn sequence_of(&self, ordinal: u64) -> u64 {
        self.first_sequence + (ordinal - self.first)
    }

    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Open(bytes) => Some(bytes),
            Body::Sealed(bytes) => Some(bytes),
            Body::Stored => None,
        }
    }

    /// Bytes in memory.
    pub(super) fn resident(&self) -> usize {
        self.bytes().map_or(0, <[u8]>::len)
    }

    /// Forgets the frames below the ordinal `from`.
    pub(super) fn cut_front(&mut self, from: u64, spare: &mut Spare) {
        let Some(cut) = from.checked_sub(self.first).filter(|cut| *cut > 0) else { return };
        if let Some(bytes) = self.seal(spare) {
            let skip = offset_of(&bytes, cut);
            self.body = Body::Sealed(bytes.slice(skip..));
            self.len -= skip;
        }
        self.first += cut;
        self.count -= cut;
        self.first_sequence += cut;
        self.cut = cut;
    }

    /// Splits off the frames below the ordinal `at`, sealed. `None` when only
    /// the store has them.
    pub(super) fn split_front(&mut self, at: u64) -> Option<Self> {
        let count = at - self.first;
        let skip = offset_of(self.bytes()?, count);
        let bytes = match &mut self.body {
            Body::Open(bytes) => bytes.split_to(skip).freeze(),
            Body::Sealed(bytes) => bytes.split_to(skip),
            Body::Stored => return None,
        };
        let front = Self { count, len: skip, body: Body::Sealed(bytes), ..*self };
        self.first = at;
        self.count -= count;
        self.first_sequence += count;
        self.len -= skip;
        Some(front)
    }

    /// Stops taking frames. Answers the bytes, `None` when only the store has
    /// them.
    pub(super) fn seal(&mut self, spare: &mut Spare) -> Option<Bytes> {
        if let Body::Open(buffer) = &mut self.body {
            // Without what an encoder left half done.
            self.body = Body::Sealed(spare.seal(std::mem::take(buffer), self.len));
        }
        match &self.body {
            Body::Sealed(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }
}

/// The frames in `bytes`, prefix included.
pub(super) fn frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let frame = bytes.get(..frame_len(bytes)?)?;
        bytes = &bytes[frame.len()..];
        Some(frame)
    })
}

/// The byte offset of the `index`th frame.
pub(super) fn offset_of(bytes: &[u8], index: u64) -> usize {
    frames(bytes).take(index as usize).map(<[u8]>::len).sum()
}

/// Appends `frame` with another sequence in its header. `None` when the frame
/// carries none, which frames of this log always do.
pub(super) fn renumber(frame: &[u8], sequence: u64, out: &mut BytesMut) -> Option<()> {
    let content = frame.get(PREFIX_LEN..)?;
    let span = Message::decode(Bytes::copy_from_slice(content)).ok()?.span(Field::Sequence)?;
    let digits = sequence.to_string();
    let len = content.len() - span.len() + digits.len();
    out.extend_from_slice(&(len as u32).to_be_bytes());
    out.extend_from_slice(&content[..span.start]);
    out.extend_from_slice(digits.as_bytes());
    out.extend_from_slice(&content[span.end..]);
    Some(())
}
