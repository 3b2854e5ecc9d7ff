use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use super::Transmit;
use crate::transport::Transport;

/// How many bytes are asked of the transport in one read: 64 KiB.
pub const READ_LEN: usize = 64 * 1024;

/// A state machine that a [`pump`] moves bytes for.
///
/// None of these calls may block; each gets the time as an argument.
pub trait Protocol {
    /// Why the connection is to be given up.
    type Stop;

    /// Whether to read. While `false` the transport's own flow control holds
    /// the peer back.
    fn wants_read(&self) -> bool;

    /// Where received bytes are appended, usually the buffer of a
    /// [`FrameDecoder`](crate::FrameDecoder) or
    /// [`MessageDecoder`](crate::MessageDecoder). [`READ_LEN`] more are asked of
    /// it if it has no room for so many.
    fn receive_buffer(&mut self) -> &mut BytesMut;

    /// Bytes were received, or what held earlier ones back may be gone.
    ///
    /// # Errors
    /// When the connection is to be given up.
    fn receive(&mut self, now: Instant) -> Result<(), Self::Stop>;

    /// The last read took everything the transport had: this side is level
    /// with what has arrived.
    fn drained(&mut self, now: Instant);

    /// Appends whole frames to an empty buffer. Called whenever everything so
    /// far is written.
    fn transmit(&mut self, now: Instant, out: &mut Transmit);

    /// Some of `out` was written; perhaps all, then it is empty.
    fn written(&mut self, now: Instant, out: &Transmit);

    /// When [`timeout`](Self::timeout) wants to be called next.
    fn deadline(&self) -> Option<Instant>;

    /// Time has passed, or the pump was woken. Spurious calls are harmless.
    ///
    /// # Errors
    /// When the connection is to be given up.
    fn timeout(&mut self, now: Instant) -> Result<(), Self::Stop>;
}

/// Why a pump ended.
#[derive(Debug)]
pub enum Lost<S> {
    /// The state machine gave the connection up.
    Stopped(S),
    /// The peer closed it.
    Closed,
    /// Reading or writing failed.
    Io(io::Error),
}

/// Moves bytes until the connection ends. `out` holds what was not written
/// then; `wake` makes the state machine be asked again.
///
/// Reading and writing go on independently: a peer that does not read keeps
/// nobody from reading what it sends.
///
/// # Cancel safety
/// Not safe: dropped, it abandons the connection in whatever state it is, and
/// the state machine has to be told that it is lost.
pub async fn pump<P: Protocol>(
    transport: Box<dyn Transport>,
    protocol: &mut P,
    out: &mut Transmit,
    wake: &Notify,
    clock: impl Fn() -> Instant,
) -> Lost<P::Stop> {
    let (mut reader, mut writer) = tokio::io::split(transport);
    let mut timer = pin!(tokio::time::sleep_until(clock().into()));
    let mut timer_at = None;
    let mut wants = Wants { read: true, read_first: true };
    loop {
        if out.is_empty() {
            protocol.transmit(clock(), out);
        }
        let deadline = protocol.deadline();
        if deadline != timer_at {
            timer_at = deadline;
            if let Some(at) = deadline {
                timer.as_mut().reset(at.into());
            }
        }
        // Turn about, so that a flood in one direction cannot starve the other.
        wants = Wants { read: protocol.wants_read(), read_first: !wants.read_first };
        let step = tokio::select! {
            step = read_or_write(&mut reader, &mut writer, wants, protocol.receive_buffer(), out) => step,
            () = wake.notified() => Step::Woken,
            () = timer.as_mut(), if deadline.is_some() => Step::Woken,
        };
        let now = clock();
        let result = match step {
            Step::Read(Ok(0)) => return Lost::Closed,
            Step::Read(Ok(count)) => {
                let received = protocol.receive(now);
                // At least READ_LEN were asked for.
                if count < READ_LEN {
                    protocol.drained(now);
                }
                received
            }
            Step::Wrote(Ok(count)) => {
                out.advance(count);
                protocol.written(now, out);
                Ok(())
            }
            Step::Read(Err(error)) | Step::Wrote(Err(error)) => return Lost::Io(error),
            Step::Woken => protocol.timeout(now).and_then(|()| protocol.receive(now)),
        };
        if let Err(stop) = result {
            return Lost::Stopped(stop);
        }
        if deadline.is_some_and(|at| at <= now)
            && let Err(stop) = protocol.timeout(now)
        {
            return Lost::Stopped(stop);
        }
    }
}

#[derive(Clone, Copy)]
struct Wants {
    read: bool,
    read_first: bool,
}

enum Step {
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Woken,
}

/// Whichever of a read and a write is possible first. Either is done whole or
/// not at all, so dropping the future loses nothing.
async fn read_or_write(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    wants: Wants,
    received: &mut BytesMut,
    out: &Transmit,
) -> Step {
    received.reserve(READ_LEN);
    let mut reading = pin!(reader.read_buf(received));
    let mut writing = pin!(writer.write(out.unwritten()));
    std::future::poll_fn(|context| {
        for read in [wants.read_first, !wants.read_first] {
            let step = if read && wants.read {
                reading.as_mut().poll(context).map(Step::Read)
            } else if !read && !out.is_empty() {
                writing.as_mut().poll(context).map(|written| match written {
                    Ok(0) => Step::Wrote(Err(io::ErrorKind::WriteZero.into())),
                    other => Step::Wrote(other),
                })
            } else {
                Poll::Pending
            };
            if step.is_ready() {
                return step;
            }
        }
        Poll::Pending
    })
    .await
}
