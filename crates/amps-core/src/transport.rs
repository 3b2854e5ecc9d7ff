//! Opening a byte stream to a server.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use crate::uri::{Scheme, Uri};

/// A connected byte stream.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// The future a [`Connector`] answers with.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Transport>>> + Send + 'a>>;

/// Opens byte streams. The seam for other transports, and for simulations.
pub trait Connector: Send + Sync + fmt::Debug {
    /// Connects to `uri`. Dropping the future gives the attempt up. Time limits
    /// are the caller's.
    fn connect<'a>(&'a self, uri: &'a Uri) -> Connecting<'a>;
}

/// A stage of opening a byte stream took too long. The source of an
/// [`io::Error`] of kind `TimedOut`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{stage} took longer than {limit:?}")]
#[non_exhaustive]
pub struct StageTimeout {
    /// What took long, such as `resolving the host name`.
    pub stage: &'static str,
    /// Its limit.
    pub limit: Duration,
}

/// Plain TCP.
///
/// Tries each resolved address in turn, IPv4 first as the official clients do
/// (AMPS developer guides, "Connection Parameters").
#[derive(Debug, Clone, Copy)]
pub struct TcpConnector {
    resolve_limit: Duration,
    address_limit: Duration,
}

impl Default for TcpConnector {
    fn default() -> Self {
        Self { resolve_limit: Duration::from_secs(3), address_limit: Duration::from_secs(2) }
    }
}

impl TcpConnector {
    /// How long resolving the host name may take; 3 s by default. The whole
    /// attempt has a limit as well, which is the client's.
    #[must_use]
    pub fn resolve_limit(mut self, limit: Duration) -> Self {
        self.resolve_limit = limit;
        self
    }

    /// How long one address may take to answer before the next is tried; 2 s
    /// by default.
    #[must_use]
    pub fn address_limit(mut self, limit: Duration) -> Self {
        self.address_limit = limit;
        self
    }

    async fn open(&self, uri: &Uri) -> io::Result<TcpStream> {
        if uri.scheme() != Scheme::Tcp {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this connector speaks plain tcp only"));
        }
        let resolving = lookup_host((uri.host(), uri.port()));
        let mut addresses: Vec<_> = limited("resolving the host name", self.resolve_limit, resolving).await?.collect();
        addresses.sort_by_key(|address| address.is_ipv6());
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name resolves to no address");
        for address in addresses {
            match limited("connecting to an address", self.address_limit, connect(uri, address)).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl Connector for TcpConnector {
    fn connect<'a>(&'a self, uri: &'a Uri) -> Connecting<'a> {
        Box::pin(async move {
            let stream = self.open(uri).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}

async fn limited<T>(stage: &'static str, limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, StageTimeout { stage, limit })),
    }
}

async fn connect(uri: &Uri, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(bytes) = uri.options().tcp_sndbuf {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = uri.options().tcp_rcvbuf {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(uri.options().tcp_nodelay.unwrap_or(true))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stage_that_takes_too_long_is_named() {
        let limit = Duration::from_secs(3);
        let began = tokio::time::Instant::now();
        let error =
            limited("resolving the host name", limit, std::future::pending::<io::Result<()>>()).await.unwrap_err();
        assert_eq!(began.elapsed(), limit);
        assert_eq!(error.to_string(), "resolving the host name took longer than 3s");
        let source = error.get_ref().and_then(|source| source.downcast_ref::<StageTimeout>());
        assert_eq!(source.map(|stage| stage.limit), Some(limit));
    }
}
