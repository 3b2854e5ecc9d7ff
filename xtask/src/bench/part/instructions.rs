//! Small pieces of work, done so many times, for a counter of instructions.

use std::hint::black_box;

use amps_core::frame::MAX_FRAME_LEN;
use amps_core::{Message, MessageDecoder};
use amps_ha::publish_log::{Limits, PublishLog};
use bytes::{Bytes, BytesMut};
use clap::{Args, ValueEnum};

use super::failed;
use super::feed::Feed;
use super::frames::{self, FIRST_SEQUENCE, Header, WRITE_LEN};
use super::headers::TYPICAL;
use crate::Failure;

/// The bytes of a body.
const SIZE: usize = 128;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Work {
    ParsePublish,
    ParseMessage,
    ParseAck,
    ParseLogon,
    Encode,
    ReceiveShort,
    ReceiveLong,
    Append,
    Send,
}

impl Work {
    /// The key of its figure, and what a reader sees.
    pub(in crate::bench) fn name(self) -> &'static str {
        match self {
            Self::ParsePublish => "header of a published message",
            Self::ParseMessage => "header with bookmark, timestamp and key",
            Self::ParseAck => "header of an acknowledgement",
            Self::ParseLogon => "header of the answer to a logon",
            Self::Encode => "frame encoded",
            Self::ReceiveShort => "message of a read, short header",
            Self::ReceiveLong => "message of a read, long header",
            Self::Append => "log: append",
            Self::Send => "log: append, send and settle",
        }
    }
}

/// Options of the process.
#[derive(Debug, Args)]
pub(crate) struct Instructions {
    #[arg(long, value_enum)]
    pub(super) work: Work,
    #[arg(long)]
    pub(super) count: u64,
}

impl Instructions {
    /// Does the work so many times.
    pub(super) fn run(&self) -> Result<(), Failure> {
        match self.work {
            Work::ParsePublish => parse(TYPICAL[0], self.count),
            Work::ParseMessage => parse(TYPICAL[1], self.count),
            Work::ParseAck => parse(TYPICAL[2], self.count),
            Work::ParseLogon => parse(TYPICAL[3], self.count),
            Work::Encode => {
                encode(self.count);
                Ok(())
            }
            Work::ReceiveShort => receive(Header::Short, self.count),
            Work::ReceiveLong => receive(Header::Long, self.count),
            Work::Append => log(self.count, false),
            Work::Send => log(self.count, true),
        }
    }
}

fn parse(header: &'static str, count: u64) -> Result<(), Failure> {
    let frame = Bytes::from_static(header.as_bytes());
    for _ in 0..count {
        let message = Message::decode(black_box(&frame).clone());
        black_box(message.map_err(|error| failed("parse a header", error))?);
    }
    Ok(())
}

fn encode(count: u64) {
    let body = frames::body(SIZE);
    let mut out = BytesMut::with_capacity(2 * WRITE_LEN);
    for number in 0..count {
        if out.len() >= WRITE_LEN {
            out.clear();
        }
        frames::publish(&mut out, Some(FIRST_SEQUENCE + number), black_box(&body));
    }
    black_box(&out);
}

/// From reads to messages, as the client does.
fn receive(header: Header, count: u64) -> Result<(), Failure> {
    let mut wire = Vec::new();
    Feed::stream(header, "1", &frames::body(SIZE))
        .send(&mut wire, 4_000)
        .map_err(|error| failed("make messages", error))?;
    let mut decoder = MessageDecoder::new(MAX_FRAME_LEN);
    let mut got = 0;
    // Reads end in the middle of a frame, as they do.
    for read in wire.chunks(WRITE_LEN).cycle() {
        decoder.buffer_mut(WRITE_LEN).extend_from_slice(black_box(read));
        while let Some(messages) = decoder.next_messages().map_err(|error| failed("read a frame", error))? {
            got += black_box(messages).len() as u64;
        }
        if got >= count {
            break;
        }
    }
    Ok(())
}

/// Appends; and, if asked to, behaves as a connection that is acknowledged at
/// once.
fn log(count: u64, send: bool) -> Result<(), Failure> {
    let body = frames::body(SIZE);
    let len = frames::publish_len(SIZE);
    let mut log = PublishLog::in_memory(Limits::default(), FIRST_SEQUENCE);
    let mut out = BytesMut::with_capacity(2 * WRITE_LEN);
    let mut last = 0;
    for _ in 0..count {
        let appended = log.append(len, |sequence, out| {
            last = sequence.unwrap_or_default();
            frames::publish(out, sequence, black_box(&body));
        });
        appended.map_err(|error| failed("append to the log", error))?;
        if send && log.end() - log.sent() >= (WRITE_LEN / len) as u64 {
            log.fill(&mut out, WRITE_LEN, u64::MAX);
            black_box(&out);
            out.clear();
            log.written();
            log.acknowledged(last);
        }
    }
    Ok(())
}
