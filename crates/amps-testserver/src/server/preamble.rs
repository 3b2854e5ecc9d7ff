//! What may come before the first frame: an HTTP preflight, and a compressed
//! stream, which only their first bytes tell.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use amps_core::{Transport, Zlib};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// The longest request of a preflight.
const REQUEST_MAX: usize = 16 * 1024;

/// The first byte of a zlib stream; of a frame it would be a length of two
/// thousand million.
const ZLIB: u8 = 0x78;

const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: amps\r\n\r\n";

/// Answers a preflight, and decompresses what is compressed.
pub(super) async fn pass(mut transport: Box<dyn Transport>) -> io::Result<Box<dyn Transport>> {
    let mut first = transport.read_u8().await?;
    if first == b'G' {
        let mut request = vec![first];
        while !request.ends_with(b"\r\n\r\n") {
            if request.len() == REQUEST_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            request.push(transport.read_u8().await?);
        }
        transport.write_all(ANSWER).await?;
        transport.flush().await?;
        first = transport.read_u8().await?;
    }
    let transport = Peeked { first: Some(first), inner: transport };
    match first {
        ZLIB => Ok(Box::new(Zlib::new(transport))),
        _ => Ok(Box::new(transport)),
    }
}

/// A stream whose first byte was read.
struct Peeked {
    first: Option<u8>,
    inner: Box<dyn Transport>,
}

impl AsyncRead for Peeked {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if to.remaining() > 0
            && let Some(first) = self.first.take()
        {
            to.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(context, to)
    }
}

impl AsyncWrite for Peeked {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
