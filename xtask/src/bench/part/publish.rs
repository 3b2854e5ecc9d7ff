//! The limit of publishing: one loop that encodes into a buffer and writes it
//! when 64 KiB are full, and a thread that reads acknowledgements.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};

use amps_core::frame::MAX_FRAME_LEN;
use amps_core::{AckType, FrameDecoder, Message};
use bytes::BytesMut;
use clap::Args;

use super::clocks::Clocks;
use super::frames::{self, FIRST_SEQUENCE, WRITE_LEN};
use super::{Figures, Load, failed};
use crate::Failure;

/// Options of the loop.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    #[command(flatten)]
    pub(super) load: Load,
    /// With sequences, until the last is acknowledged; without, until a flush is.
    #[arg(long)]
    pub(super) sequenced: bool,
}

impl Publish {
    pub(super) fn run(&self) -> Result<Figures, Failure> {
        let count = self.load.count;
        let mut stream = connect(&self.load)?;
        let last = self.sequenced.then_some(FIRST_SEQUENCE + count - 1);
        let acks = read_acks(&stream, last)?;
        let body = frames::body(self.load.size);
        let mut out = BytesMut::with_capacity(2 * WRITE_LEN);
        let lost = |error| failed("write to the peer", error);

        let clocks = Clocks::start();
        for number in 0..count {
            frames::publish(&mut out, self.sequenced.then_some(FIRST_SEQUENCE + number), &body);
            if out.len() >= WRITE_LEN {
                stream.write_all(&out).map_err(lost)?;
                out.clear();
            }
        }
        if !self.sequenced {
            frames::flush(&mut out);
        }
        stream.write_all(&out).map_err(lost)?;
        join(acks)?;
        Ok(clocks.stop(self.load.count, self.load.size))
    }
}

/// A connection to the peer.
pub(super) fn connect(load: &Load) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(load.to).and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    stream.map_err(|error| failed("connect to the peer", error))
}

/// Reads until `last` is acknowledged as persisted, or without it a flush.
pub(super) fn read_acks(stream: &TcpStream, last: Option<u64>) -> Result<JoinHandle<Result<(), Failure>>, Failure> {
    let mut stream = stream.try_clone().map_err(|error| failed("share the connection", error))?;
    Ok(thread::spawn(move || {
        let mut decoder = FrameDecoder::new(MAX_FRAME_LEN);
        let mut buffer = vec![0; WRITE_LEN];
        loop {
            let read = stream.read(&mut buffer).map_err(|error| failed("read from the peer", error))?;
            if read == 0 {
                return Err(failed("read from the peer", "it ended early"));
            }
            decoder.extend(&buffer[..read]);
            while let Some(frame) = decoder.next_frame().map_err(|error| failed("read a frame", error))? {
                let ack = Message::decode(frame).map_err(|error| failed("read an acknowledgement", error))?;
                let done = match last {
                    Some(last) => ack.sequence() == Some(last),
                    None => ack.ack_type() == Some(AckType::Completed),
                };
                if done {
                    return Ok(());
                }
            }
        }
    }))
}

/// The end of a thread.
pub(super) fn join(thread: JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    thread.join().unwrap_or_else(|_| Err(failed("go on", "a thread panicked")))
}
