//! Length-prefixed frames.
//!
//! A frame is a big-endian `u32` length followed by that many bytes: a header
//! and, behind its closing brace, the body.

use bytes::{Buf, Bytes, BytesMut};

/// The largest frame accepted unless configured otherwise: 200 MB, the
/// server's own limit (AMPS User Guide, "Messages").
pub const MAX_FRAME_LEN: usize = 200_000_000;

/// The length prefix's own size in bytes.
pub const PREFIX_LEN: usize = 4;

/// Why a stream of bytes cannot be split into frames any further.
///
/// The stream has no recovery point, so the connection has to be given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A length prefix above the limit: a corrupt stream, or a peer that
    /// speaks another protocol.
    #[error("frame of {len} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// The announced length in bytes.
        len: usize,
        /// The configured limit in bytes.
        limit: usize,
    },
}

/// Splits a byte stream into frames.
///
/// Memory grows with the bytes received, never with the length a peer
/// announces. Frames come out as slices of the receive buffer, without a copy.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    limit: usize,
}

impl FrameDecoder {
    /// A decoder that refuses frames longer than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit }
    }

    /// The buffer to read into; append only.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Appends received bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes received and not yet given out.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole frame without its length prefix, `None` while more bytes
    /// are needed. Empty frames are no-ops on this protocol and are skipped.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`]; every later call answers the same.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            let Some(prefix) = self.buffer.first_chunk::<PREFIX_LEN>() else {
                return Ok(None);
            };
            let len = u32::from_be_bytes(*prefix) as usize;
            if len > self.limit {
                return Err(FrameError::TooLarge { len, limit: self.limit });
            }
            if self.buffer.len() < PREFIX_LEN + len {
                return Ok(None);
            }
            self.buffer.advance(PREFIX_LEN);
            if len > 0 {
                return Ok(Some(self.buffer.split_to(len).freeze()));
            }
        }
    }
}

/// The length of the whole frame, prefix included, that starts at `bytes`,
/// or `None` when fewer than four bytes are there.
pub fn frame_len(bytes: &[u8]) -> Option<usize> {
    let prefix = bytes.first_chunk::<PREFIX_LEN>()?;
    Some(PREFIX_LEN + u32::from_be_bytes(*prefix) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_split() {
        let wire = b"\0\0\0\x03abc\0\0\0\0\0\0\0\x02de";
        for cut in 0..=wire.len() {
            let mut decoder = FrameDecoder::new(10);
            let mut frames = Vec::new();
            for part in [&wire[..cut], &wire[cut..]] {
                decoder.extend(part);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, [&b"abc"[..], b"de"], "cut at {cut}");
            assert_eq!(decoder.buffered(), 0);
        }
    }

    #[test]
    fn what_is_read_into_the_buffer_counts() {
        let mut decoder = FrameDecoder::new(10);
        decoder.buffer_mut().extend_from_slice(b"\0\0\0\x01a\0");
        assert_eq!(decoder.next_frame(), Ok(Some(Bytes::from_static(b"a"))));
        assert_eq!(decoder.buffered(), 1);
    }

    #[test]
    fn an_announced_length_allocates_nothing() {
        let mut decoder = FrameDecoder::new(MAX_FRAME_LEN);
        decoder.extend(&(150_000_000u32).to_be_bytes());
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(decoder.buffer_mut().capacity() < 1024);
    }

    #[test]
    fn a_length_over_the_limit_is_refused_for_good() {
        let mut decoder = FrameDecoder::new(8);
        decoder.extend(b"\0\0\0\x09123456789");
        let error = FrameError::TooLarge { len: 9, limit: 8 };
        assert_eq!(decoder.next_frame(), Err(error.clone()));
        assert_eq!(decoder.next_frame(), Err(error));
        let mut decoder = FrameDecoder::new(8);
        decoder.extend(b"\0\0\0\x0812345678");
        assert_eq!(
            decoder.next_frame(),
            Ok(Some(Bytes::from_static(b"12345678"))),
            "the limit itself is none too much"
        );
    }
}
