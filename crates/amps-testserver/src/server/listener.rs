//! Where connections come in: TCP, TLS over TCP, Unix-domain sockets.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amps_core::Transport;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream, lookup_host};
use tokio_rustls::TlsAcceptor;

/// One place to listen at.
pub(super) enum Listener {
    Tcp(TcpListener),
    Tls(TcpListener, TlsAcceptor),
    Unix(UnixListener, PathBuf),
    #[cfg(feature = "websocket")]
    WebSocket(TcpListener, Option<TlsAcceptor>),
}

/// A connection that came in.
pub(super) enum Incoming {
    Tcp(TcpStream),
    Tls(TcpStream, TlsAcceptor),
    Unix(UnixStream),
    #[cfg(feature = "websocket")]
    WebSocket(TcpStream, Option<TlsAcceptor>),
}

/// The server's side of TLS: PEM texts.
#[derive(Clone)]
pub(super) struct TlsConfig {
    pub(super) chain: Vec<u8>,
    pub(super) key: Vec<u8>,
    /// Clients have to show a certificate that these sign.
    pub(super) client_roots: Option<Vec<u8>>,
}

impl std::fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConfig").field("client_roots", &self.client_roots.is_some()).finish_non_exhaustive()
    }
}

impl Listener {
    /// Listens where a server that was just stopped may have listened before.
    pub(super) async fn tcp(address: &str) -> io::Result<(Self, SocketAddr)> {
        let listener = listen(address).await?;
        let address = listener.local_addr()?;
        Ok((Self::Tcp(listener), address))
    }

    /// The same, with TLS.
    pub(super) async fn tls(address: &str, tls: &TlsConfig) -> io::Result<(Self, SocketAddr)> {
        let acceptor = tls.acceptor()?;
        let listener = listen(address).await?;
        let address = listener.local_addr()?;
        Ok((Self::Tls(listener, acceptor), address))
    }

    /// The same, for WebSocket, over TLS where there is a certificate.
    #[cfg(feature = "websocket")]
    pub(super) async fn websocket(address: &str, tls: Option<&TlsConfig>) -> io::Result<(Self, SocketAddr)> {
        let acceptor = tls.map(TlsConfig::acceptor).transpose()?;
        let listener = listen(address).await?;
        let address = listener.local_addr()?;
        Ok((Self::WebSocket(listener, acceptor), address))
    }

    /// Listens on a socket file. One that a server left behind is replaced.
    pub(super) fn unix(path: &Path) -> io::Result<Self> {
        let context =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {}: {error}", path.display()));
        if std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            std::fs::remove_file(path).map_err(context)?;
        }
        Ok(Self::Unix(UnixListener::bind(path).map_err(context)?, path.to_owned()))
    }

    pub(super) async fn accept(&self) -> io::Result<Incoming> {
        Ok(match self {
            Self::Tcp(listener) => Incoming::Tcp(accept(listener).await?),
            Self::Tls(listener, acceptor) => Incoming::Tls(accept(listener).await?, acceptor.clone()),
            Self::Unix(listener, _) => Incoming::Unix(listener.accept().await?.0),
            #[cfg(feature = "websocket")]
            Self::WebSocket(listener, acceptor) => Incoming::WebSocket(accept(listener).await?, acceptor.clone()),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Incoming {
    /// Does the handshake, where there is one.
    pub(super) async fn open(self) -> io::Result<Box<dyn Transport>> {
        Ok(match self {
            Self::Tcp(stream) => Box::new(stream),
            Self::Tls(stream, acceptor) => Box::new(acceptor.accept(stream).await?),
            Self::Unix(stream) => Box::new(stream),
            #[cfg(feature = "websocket")]
            Self::WebSocket(stream, None) => Box::new(amps_core::transport::WebSocket::accept(stream).await?),
            #[cfg(feature = "websocket")]
            Self::WebSocket(stream, Some(acceptor)) => {
                Box::new(amps_core::transport::WebSocket::accept(acceptor.accept(stream).await?).await?)
            }
        })
    }
}

async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn listen(address: &str) -> io::Result<TcpListener> {
    let context = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
    let missing = || io::Error::new(io::ErrorKind::NotFound, "the name resolves to no address");
    let resolved: SocketAddr =
        lookup_host(address).await.map_err(context)?.next().ok_or_else(missing).map_err(context)?;
    let socket = if resolved.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(resolved).map_err(context)?;
    socket.listen(1024).map_err(context)
}

impl TlsConfig {
    fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(invalid)?;
        let builder = match &self.client_roots {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem)? {
                    roots.add(certificate).map_err(invalid)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(invalid)?)
            }
        };
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(invalid)?;
        let config = builder.with_single_cert(certificates(&self.chain)?, key).map_err(invalid)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certificates(pem: &[u8]) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(invalid)
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("TLS: {error}"))
}
