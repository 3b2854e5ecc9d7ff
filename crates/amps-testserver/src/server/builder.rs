//! Describing a server before it starts.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use regex::Regex;

use super::listener::{Listener, TlsConfig};
use super::{Places, TestServer};
use crate::config::{Config, Link, PeerConfig};
use crate::engine::Engine;
use crate::journal::{FileJournal, Journal, NoJournal, SlowJournal};
use crate::message_type::MessageType;
use crate::queue_config::QueueConfig;
use crate::sow_config::SowConfig;

/// Describes a [`TestServer`].
///
/// What is wrong with a value is reported by [`start`](Self::start).
///
/// ```no_run
/// # async fn start() -> std::io::Result<()> {
/// use std::time::Duration;
/// use amps_testserver::{Link, TestServer};
/// let server = TestServer::builder()
///     .name("A")
///     .listen("127.0.0.1:9007")
///     .data_dir("/var/tmp/a")
///     .topic_log("^orders/")
///     .sow("weather", "/station")
///     .peer("tcp://127.0.0.1:9008/amps/json", Link::Sync)
///     .ack_conflation(Duration::from_millis(50))
///     .start()
///     .await?;
/// # drop(server); Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a server runs only after `start`"]
pub struct TestServerBuilder {
    config: Config,
    listen: String,
    data_dir: Option<PathBuf>,
    sync: bool,
    slowness: Option<Slowness>,
    topic_log: Option<Vec<String>>,
    tls: Option<TlsConfig>,
    unix: Option<PathBuf>,
    #[cfg(feature = "websocket")]
    websocket: bool,
}

/// How long each write to a slow disk takes.
type Slowness = Arc<dyn Fn() -> Duration + Send + Sync>;

impl fmt::Debug for TestServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestServerBuilder")
            .field("config", &self.config)
            .field("listen", &self.listen)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

impl Default for TestServerBuilder {
    fn default() -> Self {
        let config = Config::new("test");
        let listen = "127.0.0.1:0".to_owned();
        Self {
            config,
            listen,
            data_dir: None,
            sync: false,
            slowness: None,
            topic_log: None,
            tls: None,
            unix: None,
            #[cfg(feature = "websocket")]
            websocket: false,
        }
    }
}

impl TestServerBuilder {
    /// The instance's name, unique in its group. Default `test`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// The address to listen on. Default `127.0.0.1:0`, any free port.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = address.into();
        self
    }

    /// Speaks TLS as well, on another free port of the same address:
    /// [`TestServer::tls_uri`]. A certificate chain, leaf first, and the leaf's
    /// private key, both PEM texts.
    pub fn tls(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let client_roots = self.tls.and_then(|tls| tls.client_roots);
        self.tls = Some(TlsConfig { chain: chain.into(), key: key.into(), client_roots });
        self
    }

    /// Clients that speak TLS have to show a certificate that one of these
    /// signed, a PEM text. Behind [`tls`](Self::tls).
    pub fn tls_client_roots(mut self, roots: impl Into<Vec<u8>>) -> Self {
        if let Some(tls) = &mut self.tls {
            tls.client_roots = Some(roots.into());
        }
        self
    }

    /// Listens on a Unix-domain socket as well: [`TestServer::unix_uri`]. The
    /// file is removed at the end.
    pub fn unix(mut self, path: impl AsRef<Path>) -> Self {
        self.unix = Some(path.as_ref().to_owned());
        self
    }

    /// Speaks WebSocket as well, on another free port of the same address:
    /// [`TestServer::websocket_uri`]. With [`tls`](Self::tls) also over TLS, on one
    /// more: [`TestServer::secure_websocket_uri`].
    #[cfg(feature = "websocket")]
    pub fn websocket(mut self) -> Self {
        self.websocket = true;
        self
    }

    /// Keeps the transaction log in a directory, which is created when
    /// missing. An acknowledged message survives `kill -9` of the process.
    /// Default: the log dies with the server.
    pub fn data_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.data_dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Ends every write to the journal with `fdatasync`, so that the log
    /// survives the machine as well. Default off.
    pub fn sync(mut self, on: bool) -> Self {
        self.sync = on;
        self
    }

    /// A slow disk, as a fault: before each write to the journal the server waits
    /// for as long as `delay` says then. Everything else waits with it, as behind
    /// a synchronous write. Nothing without a [`data_dir`](Self::data_dir).
    pub fn slow_disk(mut self, delay: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.slowness = Some(Arc::new(delay));
        self
    }

    /// Logs topics a regular expression finds; further calls add more.
    /// Default: every topic.
    pub fn topic_log(mut self, pattern: impl Into<String>) -> Self {
        self.topic_log.get_or_insert_default().push(pattern.into());
        self
    }

    /// Runs without a transaction log: every publish is acknowledged singly,
    /// and there are no bookmark subscriptions.
    pub fn no_transaction_log(mut self) -> Self {
        self.topic_log = Some(Vec::new());
        self
    }

    /// Keeps the last message per key of a topic; the key is a path into the
    /// body such as `/station`.
    pub fn sow(mut self, topic: impl Into<String>, key: impl Into<String>) -> Self {
        self.config = self.config.sow(topic, key);
        self
    }

    /// Adds a SOW topic: with keys given by its publishers, an expiration or a
    /// history.
    pub fn sow_topic(mut self, sow: SowConfig) -> Self {
        self.config = self.config.sow_topic(sow);
        self
    }

    /// Says what the messages of a topic are written in; see
    /// [`Config::message_type`]. Default: JSON.
    pub fn message_type(mut self, topic: impl Into<String>, message_type: MessageType) -> Self {
        self.config = self.config.message_type(topic, message_type);
        self
    }

    /// Adds a message queue.
    pub fn queue(mut self, queue: QueueConfig) -> Self {
        self.config = self.config.queue(queue);
        self
    }

    /// Pushes the log to another instance.
    pub fn peer(mut self, uri: impl Into<String>, link: Link) -> Self {
        self.config = self.config.peer(uri, link);
        self
    }

    /// The default period of conflated persisted acks. Default 1 s.
    pub fn ack_conflation(mut self, period: Duration) -> Self {
        self.config.ack_conflation = period;
        self
    }

    /// The version in the logon ack. Default `5.3.5.0.0`.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.config.version = version.into();
        self
    }

    /// Changes any other part of the configuration.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Opens the journal, listens and serves. To be called inside a tokio
    /// runtime with I/O and time enabled.
    ///
    /// # Errors
    /// A pattern, SOW key, queue or peer that is not valid; a journal that is damaged,
    /// unusable or open in another server; an address that cannot be used.
    ///
    /// # Cancel safety
    /// A dropped call leaves nothing running.
    pub async fn start(self) -> io::Result<TestServer> {
        let place = self.bind().await?;
        self.start_at(place).await
    }

    /// Takes the address to listen on.
    pub(super) async fn bind(&self) -> io::Result<(Listener, SocketAddr)> {
        Listener::tcp(&self.listen).await
    }

    pub(super) async fn start_at(mut self, (listener, tcp): (Listener, SocketAddr)) -> io::Result<TestServer> {
        self.listen = tcp.to_string();
        let described = self.clone();
        if let Some(patterns) = &self.topic_log {
            self.config.topic_log = patterns
                .iter()
                .map(|pattern| Regex::new(pattern).map_err(|error| invalid(format!("topic log: {error}"))))
                .collect::<io::Result<_>>()?;
        }
        for peer in &mut self.config.peers {
            let link = peer.link;
            *peer = peer.uri.parse::<PeerConfig>().map_err(|error| invalid(error.to_string()))?;
            if link == Link::Async {
                peer.link = Link::Async;
            }
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.config.wall_clock.is_zero() {
            self.config.wall_clock = since;
        }
        if self.config.incarnation == 0 {
            self.config.incarnation = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2);
        }
        let journal: Box<dyn Journal> = match (&self.data_dir, self.slowness) {
            (Some(dir), None) => Box::new(FileJournal::open(dir, self.sync)?),
            (Some(dir), Some(delay)) => Box::new(SlowJournal::new(FileJournal::open(dir, self.sync)?, move || delay())),
            (None, _) => Box::new(NoJournal),
        };
        let engine = Engine::new(self.config, journal)?;
        let mut listeners = vec![listener];
        let mut places = Places {
            tcp,
            tls: None,
            unix: None,
            #[cfg(feature = "websocket")]
            websocket: None,
            #[cfg(feature = "websocket")]
            secure_websocket: None,
        };
        if let Some(tls) = &self.tls {
            let (listener, address) = Listener::tls(&SocketAddr::new(tcp.ip(), 0).to_string(), tls).await?;
            listeners.push(listener);
            places.tls = Some(address);
        }
        if let Some(path) = self.unix {
            listeners.push(Listener::unix(&path)?);
            places.unix = Some(path);
        }
        #[cfg(feature = "websocket")]
        if self.websocket {
            let free = SocketAddr::new(tcp.ip(), 0).to_string();
            let (listener, address) = Listener::websocket(&free, None).await?;
            listeners.push(listener);
            places.websocket = Some(address);
            if let Some(tls) = &self.tls {
                let (listener, address) = Listener::websocket(&free, Some(tls)).await?;
                listeners.push(listener);
                places.secure_websocket = Some(address);
            }
        }
        Ok(TestServer::start(described, listeners, places, engine))
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
