//! The least that a client takes for a server, in a thread of this process.
//!
//! Reading and acknowledging published messages, and sending those of a
//! subscription, it allocates nothing: every allocation counted is the client's.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use amps_core::frame::frame_len;
use amps_core::header::{Field, FrameWriter};
use amps_core::message::MessageKind;
use amps_core::{AckType, Message};
use bytes::{Bytes, BytesMut};

const BUFFER: usize = 128 * 1024;
/// How long published messages wait to be acknowledged together.
const CONFLATION: Duration = Duration::from_millis(5);
/// The digits of a sequence, and of the last part of a bookmark.
const DIGITS: usize = 19;
const FIRST: u64 = 1_800_000_000_000_000_000;
const BODY: [u8; 128] = [b' '; 128];

/// Starts a peer for one connection. A subscription gets `send` messages with
/// bookmark, timestamp and key. Answers its URI.
///
/// # Panics
/// When it cannot listen.
pub fn start(send: u64) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        // The client hangs up when it is done.
        let _ = serve(&mut stream, send);
    });
    format!("tcp://127.0.0.1:{port}/amps/json")
}

fn serve(stream: &mut TcpStream, send: u64) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut held = 0;
    let mut out = BytesMut::with_capacity(BUFFER);
    let (mut sequence, mut acknowledged) = (None, Instant::now());
    stream.set_read_timeout(Some(CONFLATION))?;
    loop {
        match stream.read(&mut buffer[held..]) {
            Ok(0) => return Ok(()),
            Ok(read) => held += read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        let (mut at, mut subscription) = (0, None);
        while let Some(len) = frame_len(&buffer[at..held]).filter(|len| at + len <= held) {
            let frame = &buffer[at + 4..at + len];
            at += len;
            match frame.starts_with(b"{\"c\":\"p\"") {
                true => sequence = sequence_of(frame).or(sequence),
                false => subscription = answer(&mut out, frame).or(subscription),
            }
        }
        buffer.copy_within(at..held, 0);
        held -= at;
        if acknowledged.elapsed() >= CONFLATION
            && let Some(sequence) = sequence.take()
        {
            ack(&mut out, sequence);
            acknowledged = Instant::now();
        }
        stream.write_all(&out)?;
        out.clear();
        if let Some(id) = subscription {
            feed(stream, &id, send)?;
        }
    }
}

/// The number behind `"s":`, which is the second field.
fn sequence_of(frame: &[u8]) -> Option<u64> {
    let rest = frame.strip_prefix(b"{\"c\":\"p\",\"s\":")?;
    std::str::from_utf8(rest.get(..DIGITS)?).ok()?.parse().ok()
}

/// Everything up to `sequence` is persisted.
fn ack(out: &mut BytesMut, sequence: u64) {
    FrameWriter::new(out, "ack")
        .text(Field::AckType, "persisted")
        .number(Field::Sequence, sequence)
        .text(Field::Status, "success")
        .finish(b"");
}

/// Answers a command. A subscription's id, if it is one.
fn answer(out: &mut BytesMut, frame: &[u8]) -> Option<String> {
    let command = Message::decode(Bytes::copy_from_slice(frame)).unwrap();
    let kind = command.kind();
    let acks = if kind == MessageKind::Flush { AckType::Completed } else { AckType::Processed };
    FrameWriter::new(out, "ack")
        .maybe(Field::CommandId, command.command_id())
        .maybe(Field::SubscriptionId, command.raw(Field::SubscriptionId))
        .text(Field::AckType, acks.as_str())
        .text(Field::Status, "success")
        .finish(b"");
    (kind == MessageKind::Subscribe).then(|| command.raw(Field::SubscriptionId).unwrap().to_owned())
}

/// Sends messages of one publisher, rising.
fn feed(stream: &mut TcpStream, subscription: &str, send: u64) -> std::io::Result<()> {
    let mut block = BytesMut::new();
    FrameWriter::new(&mut block, "p")
        .text(Field::Topic, "t")
        .text(Field::SubscriptionIds, subscription)
        .text(Field::Bookmark, &format!("1394823848312345671|{FIRST}|"))
        .text(Field::Timestamp, "20261123T060000.123456Z")
        .text(Field::SowKey, "11281137042168291047")
        .finish(&BODY);
    let number = FIRST.to_string();
    let digits = block.windows(DIGITS).position(|text| text == number.as_bytes()).unwrap();
    let len = block.len();
    let frames = BUFFER / 2 / len;
    block = block.repeat(frames)[..].into();
    let mut next = 0;
    while next < send {
        let now = frames.min((send - next) as usize);
        for frame in block.chunks_mut(len).take(now) {
            let mut left = FIRST + next;
            for digit in frame[digits..digits + DIGITS].iter_mut().rev() {
                *digit = b'0' + (left % 10) as u8;
                left /= 10;
            }
            next += 1;
        }
        stream.write_all(&block[..now * len])?;
    }
    Ok(())
}
