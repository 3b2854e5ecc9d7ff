//! A look at the bytes of a connection.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::LastHeaders;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the server.
    Out,
    /// From the server.
    In,
}

/// Is shown every byte of a connection, in order, as the server and the client
/// write them: before compression and encryption. That includes the password of
/// a logon.
///
/// It runs on the connection's way: while it takes its time, nothing moves. A
/// panic of it ends the connection.
#[derive(Clone)]
pub struct Tap {
    make: Arc<dyn Fn() -> Box<Look> + Send + Sync>,
    headers: Option<LastHeaders>,
}

pub(super) type Look = dyn FnMut(Direction, &[u8]) + Send;

impl Tap {
    /// Shows the bytes of all connections to `look`.
    pub fn new(look: impl Fn(Direction, &[u8]) + Send + Sync + 'static) -> Self {
        let look = Arc::new(look);
        Self::each(move || {
            let look = Arc::clone(&look);
            move |direction, bytes| look(direction, bytes)
        })
    }

    /// Shows the bytes of each connection to what `make` makes for it.
    pub fn each<L>(make: impl Fn() -> L + Send + Sync + 'static) -> Self
    where
        L: FnMut(Direction, &[u8]) + Send + 'static,
    {
        Self { make: Arc::new(move || Box::new(make())), headers: None }
    }

    /// It keeps the last headers there.
    pub(super) fn keeping(self, headers: LastHeaders) -> Self {
        Self { headers: Some(headers), ..self }
    }

    pub(super) fn headers(&self) -> Option<&LastHeaders> {
        self.headers.as_ref()
    }

    /// The look at one connection.
    pub(super) fn make(&self) -> Box<Look> {
        (self.make)()
    }

    pub(super) fn on<T>(&self, inner: T) -> Tapped<T> {
        Tapped { inner, look: self.make() }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

/// A stream whose bytes are shown to a [`Tap`].
pub(super) struct Tapped<T> {
    inner: T,
    look: Box<Look>,
}

impl<T> Tapped<T> {
    fn show(&mut self, direction: Direction, bytes: &[u8]) -> io::Result<()> {
        let shown = catch_unwind(AssertUnwindSafe(|| (self.look)(direction, bytes)));
        shown.map_err(|_| io::Error::other("the tap on this connection panicked"))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Tapped<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, to))?;
        let read = &to.filled()[before..];
        if !read.is_empty() {
            self.show(Direction::In, read)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tapped<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, from))?;
        if written > 0 {
            self.show(Direction::Out, &from[..written])?;
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
