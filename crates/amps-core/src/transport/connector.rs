use std::io;
use std::time::Duration;

use tokio::net::UnixStream;

use super::preflight::HeaderError;
use super::{Connecting, Connector, LastHeaders, Tap, Transport, Zlib, limited, preflight, tcp};
use crate::uri::{Compression, Options, Scheme, Uri};

/// Opens what connection strings name: `tcp`, `tcps`, `unix`, and with the
/// feature `websocket` also `ws` and `wss`.
///
/// Tries each address of a name in turn, IPv4 first as the official clients do
/// (AMPS developer guides, "Connection Parameters").
///
/// ```
/// use amps_core::SocketConnector;
/// let connector = SocketConnector::new().http_header("X-Route", "blue").unwrap();
/// # let _ = connector;
/// ```
#[derive(Debug, Clone)]
pub struct SocketConnector {
    limits: tcp::Limits,
    handshake_limit: Duration,
    defaults: Options,
    headers: Vec<(String, String)>,
    taps: Vec<Tap>,
    #[cfg(feature = "tls")]
    tls: Option<super::tls::Tls>,
}

impl Default for SocketConnector {
    fn default() -> Self {
        Self {
            limits: tcp::Limits { resolve: Duration::from_secs(3), address: Duration::from_secs(2) },
            handshake_limit: Duration::from_secs(3),
            defaults: Options::default(),
            headers: Vec::new(),
            taps: Vec::new(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl SocketConnector {
    /// One that trusts the certificates the platform trusts.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long resolving the host name may take; 3 s by default. The whole
    /// attempt has a limit as well, which is the client's.
    #[must_use]
    pub fn resolve_limit(mut self, limit: Duration) -> Self {
        self.limits.resolve = limit;
        self
    }

    /// How long one address may take to answer before the next is tried; 2 s
    /// by default.
    #[must_use]
    pub fn address_limit(mut self, limit: Duration) -> Self {
        self.limits.address = limit;
        self
    }

    /// How long the TLS handshake may take, and the HTTP preflight; 3 s each by
    /// default.
    #[must_use]
    pub fn handshake_limit(mut self, limit: Duration) -> Self {
        self.handshake_limit = limit;
        self
    }

    /// Connection parameters for whatever a connection string does not say.
    /// Compression and the HTTP preflight are for `tcp` and `tcps` only.
    #[must_use]
    pub fn defaults(mut self, defaults: Options) -> Self {
        self.defaults = defaults;
        self
    }

    /// Adds a header to the HTTP preflight of connection strings with
    /// `http_preflight`, and to the upgrade of `ws` and `wss`.
    ///
    /// # Errors
    /// [`HeaderError`]: what is wrong with the header.
    pub fn http_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Result<Self, HeaderError> {
        let (name, value) = (name.into(), value.into());
        preflight::check(&name, &value)?;
        self.headers.push((name, value));
        Ok(self)
    }

    /// Shows the bytes of all connections to `tap`, and to those given before.
    #[must_use]
    pub fn tap(mut self, tap: Tap) -> Self {
        self.taps.push(tap);
        self
    }

    /// How `tcps` is spoken.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: super::tls::Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    async fn open(&self, uri: &Uri) -> io::Result<Box<dyn Transport>> {
        let options = uri.options().or(&self.defaults);
        let mut transport: Box<dyn Transport> = match uri.scheme() {
            Scheme::Unix => Box::new(unix(&options).await?),
            Scheme::Tcp => Box::new(tcp::open(uri, &options, self.limits).await?),
            Scheme::Tcps => self.encrypted(uri, tcp::open(uri, &options, self.limits).await?).await?,
            Scheme::Ws => self.upgraded(uri, Box::new(tcp::open(uri, &options, self.limits).await?)).await?,
            Scheme::Wss => {
                let stream = tcp::open(uri, &options, self.limits).await?;
                self.upgraded(uri, self.encrypted(uri, stream).await?).await?
            }
        };
        // Those that are meant for all connections are for these alone.
        if matches!(uri.scheme(), Scheme::Tcp | Scheme::Tcps) {
            if options.http_preflight == Some(true) {
                let asking = preflight::ask(&mut *transport, uri, &self.headers);
                limited("the HTTP preflight", self.handshake_limit, asking).await?;
            }
            if options.compression == Some(Compression::Zlib) {
                transport = Box::new(Zlib::new(transport));
            }
        }
        for tap in &self.taps {
            transport = Box::new(tap.on(transport));
        }
        Ok(transport)
    }

    #[cfg(feature = "tls")]
    async fn encrypted(&self, uri: &Uri, stream: tokio::net::TcpStream) -> io::Result<Box<dyn Transport>> {
        let tls = match &self.tls {
            Some(tls) => tls.clone(),
            None => super::tls::Tls::platform().map_err(io::Error::other)?,
        };
        let handshake = tls.handshake(uri, stream);
        Ok(Box::new(limited("the TLS handshake", self.handshake_limit, handshake).await?))
    }

    #[cfg(feature = "websocket")]
    async fn upgraded(&self, uri: &Uri, stream: Box<dyn Transport>) -> io::Result<Box<dyn Transport>> {
        let asking = super::WebSocket::connect(uri, &self.headers, stream);
        Ok(Box::new(limited("the WebSocket handshake", self.handshake_limit, asking).await?))
    }

    #[cfg(not(feature = "websocket"))]
    async fn upgraded(&self, _: &Uri, _: Box<dyn Transport>) -> io::Result<Box<dyn Transport>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "built without the feature `websocket`"))
    }

    #[cfg(not(feature = "tls"))]
    async fn encrypted(&self, _: &Uri, _: tokio::net::TcpStream) -> io::Result<Box<dyn Transport>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "built without the feature `tls`"))
    }
}

async fn unix(options: &Options) -> io::Result<UnixStream> {
    let Some(path) = &options.path else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a unix socket needs ?path=FILE"));
    };
    UnixStream::connect(path)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

impl Connector for SocketConnector {
    fn connect<'a>(&'a self, uri: &'a Uri) -> Connecting<'a> {
        Box::pin(self.open(uri))
    }

    fn last_headers(&self) -> Option<LastHeaders> {
        self.taps.iter().find_map(Tap::headers).cloned()
    }
}
