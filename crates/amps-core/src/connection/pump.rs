use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
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

    /// The transport has nothing more to read: this side is level with what has
    /// arrived.
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
    let mut wants = Wants { read: true, read_first: true, level: false, flush: false };
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
        wants.read = protocol.wants_read();
        wants.read_first = !wants.read_first;
        let step = tokio::select! {
            step = read_or_write(&mut reader, &mut writer, wants, protocol.receive_buffer(), out) => step,
            () = wake.notified() => Step::Woken,
            () = timer.as_mut(), if deadline.is_some() => Step::Woken,
        };
        let now = clock();
        let result = match step {
            Step::Read(Ok(0)) => return Lost::Closed,
            Step::Read(Ok(_)) => {
                wants.level = true;
                protocol.receive(now)
            }
            Step::Level => {
                wants.level = false;
                protocol.drained(now);
                Ok(())
            }
            Step::Wrote(Ok(count)) => {
                out.advance(count);
                // What a transport that encrypts or compresses has taken, it
                // may not have sent.
                wants.flush = out.is_empty();
                protocol.written(now, out);
                Ok(())
            }
            Step::Flushed(Ok(())) => {
                wants.flush = false;
                Ok(())
            }
            Step::Read(Err(error)) | Step::Wrote(Err(error)) | Step::Flushed(Err(error)) => return Lost::Io(error),
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
    /// To know when there is nothing to read.
    level: bool,
    flush: bool,
}

enum Step {
    Read(io::Result<usize>),
    /// There is nothing to read.
    Level,
    Wrote(io::Result<usize>),
    Flushed(io::Result<()>),
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
    std::future::poll_fn(|context| {
        for read in [wants.read_first, !wants.read_first] {
            let step = match read {
                true if wants.read => match reading.as_mut().poll(context) {
                    Poll::Ready(read) => Poll::Ready(Step::Read(read)),
                    Poll::Pending if wants.level => Poll::Ready(Step::Level),
                    Poll::Pending => Poll::Pending,
                },
                false if !out.is_empty() => Pin::new(&mut *writer).poll_write(context, out.unwritten()).map(wrote),
                false if wants.flush => Pin::new(&mut *writer).poll_flush(context).map(Step::Flushed),
                _ => Poll::Pending,
            };
            if step.is_ready() {
                return step;
            }
        }
        Poll::Pending
    })
    .await
}

fn wrote(written: io::Result<usize>) -> Step {
    match written {
        Ok(0) => Step::Wrote(Err(io::ErrorKind::WriteZero.into())),
        other => Step::Wrote(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};
    use std::task::Context;
    use tokio::io::ReadBuf;

    /// What a transport that encrypts looks like: small pieces to read, and
    /// what is written goes out with a flush.
    #[derive(Default)]
    struct Pieces {
        to_read: VecDeque<Vec<u8>>,
        taken: Vec<u8>,
        sent: Arc<Mutex<Vec<u8>>>,
    }

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let Some(piece) = self.to_read.pop_front() else { return Poll::Pending };
            to.put_slice(&piece);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Pieces {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
            self.taken.extend_from_slice(from);
            Poll::Ready(Ok(from.len()))
        }
        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let taken = std::mem::take(&mut self.taken);
            self.sent.lock().unwrap().extend(taken);
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Sends one text, and stops at its deadline.
    #[derive(Default)]
    struct Noting {
        buffer: BytesMut,
        /// Bytes received at each call, or the word that there are no more.
        noted: Vec<String>,
        to_send: Option<&'static [u8]>,
        deadline: Option<Instant>,
    }

    impl Protocol for Noting {
        type Stop = ();
        fn wants_read(&self) -> bool {
            true
        }
        fn receive_buffer(&mut self) -> &mut BytesMut {
            &mut self.buffer
        }
        fn receive(&mut self, _: Instant) -> Result<(), ()> {
            if !self.buffer.is_empty() {
                self.noted.push(self.buffer.len().to_string());
                self.buffer.clear();
            }
            Ok(())
        }
        fn drained(&mut self, _: Instant) {
            self.noted.push("drained".to_owned());
        }
        fn transmit(&mut self, _: Instant, out: &mut Transmit) {
            out.buffer_mut().extend_from_slice(self.to_send.take().unwrap_or_default());
        }
        fn written(&mut self, _: Instant, _: &Transmit) {}
        fn deadline(&self) -> Option<Instant> {
            self.deadline
        }
        fn timeout(&mut self, _: Instant) -> Result<(), ()> {
            Err(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn short_reads_are_no_sign_that_there_is_nothing_more_and_writes_are_flushed() {
        let clock = || tokio::time::Instant::now().into_std();
        let transport = Pieces { to_read: [vec![1; 10], vec![2; 20], vec![3; 30]].into(), ..Pieces::default() };
        let sent = Arc::clone(&transport.sent);
        let deadline = Some(clock() + std::time::Duration::from_secs(1));
        let mut protocol = Noting { to_send: Some(b"hello"), deadline, ..Noting::default() };
        let lost = pump(Box::new(transport), &mut protocol, &mut Transmit::default(), &Notify::new(), clock).await;
        assert!(matches!(lost, Lost::Stopped(())));
        assert_eq!(protocol.noted, ["10", "20", "30", "drained"]);
        assert_eq!(sent.lock().unwrap().as_slice(), b"hello");
    }
}
