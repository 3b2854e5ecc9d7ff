//! The limit of receiving, from a subscription or a query: reads of 64 KiB, and
//! nothing but the lengths of the frames in them.

use std::io::{Read, Write};

use amps_core::frame::frame_len;
use bytes::BytesMut;
use clap::Args;

use super::clocks::Clocks;
use super::frames::{self, WRITE_LEN};
use super::publish::connect;
use super::{Figures, Load, failed};
use crate::Failure;

/// Options of the loop.
#[derive(Debug, Args)]
pub(crate) struct Receive {
    #[command(flatten)]
    pub(super) load: Load,
    /// Records of a query, so many in a frame; 0 for a subscription.
    #[arg(long, default_value_t = 0)]
    pub(super) batch: u64,
}

impl Receive {
    pub(super) fn run(&self) -> Result<Figures, Failure> {
        let mut stream = connect(&self.load)?;
        let mut command = BytesMut::new();
        // Beside messages: the answer; for a query also its end, and a frame
        // around the records on each side.
        let mut left = match self.batch {
            0 => {
                frames::subscribe(&mut command);
                self.load.count + 1
            }
            batch => {
                frames::query(&mut command, batch);
                self.load.count.div_ceil(batch) + 4
            }
        };
        let mut buffer = vec![0; 2 * WRITE_LEN];
        let mut held = 0;

        let clocks = Clocks::start();
        stream.write_all(&command).map_err(|error| failed("write to the peer", error))?;
        while left > 0 {
            let room = &mut buffer[held..held + WRITE_LEN];
            let read = stream.read(room).map_err(|error| failed("read from the peer", error))?;
            if read == 0 {
                return Err(failed("read from the peer", "it ended early"));
            }
            held += read;
            let (frames, walked) = walk(&buffer[..held]);
            left = left.saturating_sub(frames);
            buffer.copy_within(walked..held, 0);
            held -= walked;
            if held > WRITE_LEN {
                return Err(failed("read a frame", "it is too long for this measurement"));
            }
        }
        Ok(clocks.stop(self.load.count, self.load.size))
    }
}

/// The whole frames in these bytes, and their length together.
pub(super) fn walk(bytes: &[u8]) -> (u64, usize) {
    let (mut frames, mut at) = (0, 0);
    while let Some(len) = frame_len(&bytes[at..])
        && at + len <= bytes.len()
    {
        frames += 1;
        at += len;
    }
    (frames, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_frames_count() {
        let wire = b"\0\0\0\x01a\0\0\0\x02bc\0\0\0\x03de";
        assert_eq!(walk(wire), (2, 11));
        assert_eq!(walk(&wire[..3]), (0, 0));
        assert_eq!(walk(b""), (0, 0));
    }
}
