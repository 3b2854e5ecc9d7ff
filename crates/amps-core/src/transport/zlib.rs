//! A compressed stream: one zlib stream in each direction (AMPS User Guide,
//! "Transports": compression).

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes compressed, or read, at a time.
const CHUNK: usize = 64 * 1024;

/// Compresses what is written to a stream, and reads back what the other end
/// compressed.
///
/// Each write ends with a sync flush, so that the other end can read all of it.
/// Compressed bytes may still wait here when a write is done: flush.
pub struct Zlib<T> {
    inner: T,
    deflate: Compress,
    inflate: Decompress,
    /// Compressed, and from where on not written yet.
    out: Vec<u8>,
    written: usize,
    /// Read, and from where on not decompressed yet.
    received: Vec<u8>,
    taken: usize,
    /// The last decompression filled its buffer: there may be more.
    more: bool,
    ended: bool,
}

impl<T: fmt::Debug> fmt::Debug for Zlib<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zlib").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<T> Zlib<T> {
    /// Compresses a stream from its first byte on.
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            deflate: Compress::new(flate2::Compression::fast(), true),
            inflate: Decompress::new(true),
            out: Vec::with_capacity(CHUNK),
            written: 0,
            received: Vec::with_capacity(CHUNK),
            taken: 0,
            more: false,
            ended: false,
        }
    }

    /// Compresses all of `from` behind what waits.
    fn compress(&mut self, from: &[u8]) -> io::Result<()> {
        let start = self.deflate.total_in();
        loop {
            let done = (self.deflate.total_in() - start) as usize;
            self.out.reserve(CHUNK);
            let spare = self.out.capacity() - self.out.len();
            let before = self.out.len();
            self.deflate.compress_vec(&from[done..], &mut self.out, FlushCompress::Sync).map_err(io::Error::other)?;
            let done = (self.deflate.total_in() - start) as usize;
            // Room left over: everything is out.
            if done == from.len() && self.out.len() - before < spare {
                return Ok(());
            }
        }
    }

    /// Decompresses what was read, into `to`.
    fn decompress(&mut self, to: &mut ReadBuf<'_>) -> io::Result<()> {
        let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
        let status =
            self.inflate.decompress(&self.received[self.taken..], to.initialize_unfilled(), FlushDecompress::Sync);
        let status = status.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.taken += (self.inflate.total_in() - before_in) as usize;
        to.advance((self.inflate.total_out() - before_out) as usize);
        self.more = to.remaining() == 0;
        self.ended = status == Status::StreamEnd;
        Ok(())
    }
}

impl<T: AsyncWrite + Unpin> Zlib<T> {
    /// Writes what waits.
    fn poll_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.out.len() {
            let count = ready!(Pin::new(&mut self.inner).poll_write(context, &self.out[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Zlib<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = to.filled().len();
        while !self.ended && to.remaining() > 0 {
            if self.taken < self.received.len() || self.more {
                self.decompress(to)?;
                if to.filled().len() > before {
                    return Poll::Ready(Ok(()));
                }
            }
            if self.ended {
                break;
            }
            // Only now, with everything before it decompressed.
            let this = &mut *self;
            this.received.resize(CHUNK, 0);
            let mut chunk = ReadBuf::new(&mut this.received);
            let read = Pin::new(&mut this.inner).poll_read(context, &mut chunk);
            let count = chunk.filled().len();
            this.received.truncate(if read.is_ready() { count } else { 0 });
            this.taken = 0;
            ready!(read)?;
            if count == 0 {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Zlib<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_out(context))?;
        let from = &from[..from.len().min(CHUNK)];
        self.compress(from)?;
        // As far as it goes; the rest is for the next write, or a flush.
        if let Poll::Ready(Err(error)) = self.poll_out(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(context))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            writes in prop::collection::vec(prop::collection::vec(0u8..4, 0..40_000), 0..6),
            pipe in 1usize..5_000,
            reads in 1usize..100_000,
        ) {
            let expected = writes.concat();
            let got = run(async move {
                let (one, other) = duplex(pipe);
                let (mut one, mut other) = (Zlib::new(one), Zlib::new(other));
                let write = async move {
                    for bytes in &writes {
                        one.write_all(bytes).await.unwrap();
                    }
                    one.shutdown().await.unwrap();
                };
                let read = async move {
                    let (mut got, mut buffer) = (Vec::new(), vec![0; reads]);
                    loop {
                        let count = other.read(&mut buffer).await.unwrap();
                        if count == 0 {
                            return got;
                        }
                        got.extend_from_slice(&buffer[..count]);
                    }
                };
                tokio::join!(write, read).1
            });
            prop_assert!(got == expected);
        }

        #[test]
        fn rubbish_is_an_error_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            run(async move {
                let (mut one, other) = duplex(1_000);
                one.write_all(&bytes).await.unwrap();
                drop(one);
                let mut read = Vec::new();
                let _ = Zlib::new(other).take(1 << 20).read_to_end(&mut read).await;
            });
        }
    }

    /// What was flushed can be read, though the stream goes on.
    #[test]
    fn a_flush_makes_all_of_it_readable() {
        run(async {
            let (one, other) = duplex(1 << 20);
            let (mut one, mut other) = (Zlib::new(one), Zlib::new(other));
            for len in [1, 100, 70_000] {
                let bytes = vec![7; len];
                one.write_all(&bytes).await.unwrap();
                one.flush().await.unwrap();
                let mut read = vec![0; len];
                other.read_exact(&mut read).await.unwrap();
                assert_eq!(read, bytes);
            }
        });
    }
}
