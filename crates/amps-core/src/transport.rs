//! Opening a byte stream to a server.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

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

/// Plain TCP.
///
/// Tries each resolved address in turn, IPv4 first as the official clients do
/// (AMPS developer guides, "Connection Parameters").
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpConnector;

impl Connector for TcpConnector {
    fn connect<'a>(&'a self, uri: &'a Uri) -> Connecting<'a> {
        Box::pin(async move {
            let stream = connect_tcp(uri).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}

async fn connect_tcp(uri: &Uri) -> io::Result<TcpStream> {
    if uri.scheme() != Scheme::Tcp {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "this connector speaks plain tcp only"));
    }
    let mut addresses: Vec<_> = lookup_host((uri.host(), uri.port())).await?.collect();
    addresses.sort_by_key(|address| address.is_ipv6());
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name resolves to no address");
    for address in addresses {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(bytes) = uri.options().tcp_sndbuf {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = uri.options().tcp_rcvbuf {
            socket.set_recv_buffer_size(bytes)?;
        }
        match socket.connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(uri.options().tcp_nodelay.unwrap_or(true))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
