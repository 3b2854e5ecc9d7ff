//! An engine on a socket.

mod arrived;
mod builder;
mod driver;
mod file;
mod group;
mod listener;
mod preamble;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use self::builder::TestServerBuilder;
use self::driver::Shared;
pub use self::file::ConfigFileError;
use self::listener::Listener;
use crate::config::Config;
use crate::engine::{Engine, QueueDepth};
use crate::faults::Faults;
use crate::journal::LoggedMessage;
use crate::stats::Stats;

/// Where a server listens.
#[derive(Debug)]
struct Places {
    tcp: SocketAddr,
    tls: Option<SocketAddr>,
    unix: Option<PathBuf>,
    #[cfg(feature = "websocket")]
    websocket: Option<SocketAddr>,
    #[cfg(feature = "websocket")]
    secure_websocket: Option<SocketAddr>,
}

/// A server in this process, on a socket of its own.
///
/// Dropping it ends it as [`stop`](Self::stop) does, without waiting.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use amps_testserver::TestServer;
/// let server = TestServer::builder().name("A").sow("weather", "/station").start().await?;
/// assert!(server.uri().starts_with("tcp://127.0.0.1:"));
/// server.stop().await;
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct TestServer {
    shared: Arc<Shared>,
    places: Places,
    /// What starts it again, at the same address.
    described: TestServerBuilder,
    stop: Option<oneshot::Sender<()>>,
    root: JoinHandle<()>,
}

impl TestServer {
    /// Starts describing a server; every part has a default.
    pub fn builder() -> TestServerBuilder {
        TestServerBuilder::default()
    }

    fn start(described: TestServerBuilder, listeners: Vec<Listener>, places: Places, engine: Engine) -> Self {
        let shared = Arc::new(Shared::new(engine));
        let (stop, stopped) = oneshot::channel();
        let root = tokio::spawn(driver::run(Arc::clone(&shared), listeners, stopped));
        Self { shared, places, described, stop: Some(stop), root }
    }

    /// The connection string clients and peers use.
    pub fn uri(&self) -> String {
        self.uri_of("json")
    }

    /// The connection string of clients whose messages are of another type: those see
    /// topics of that type, and those of which none is said.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// use amps_testserver::{MessageType, TestServer};
    /// let server = TestServer::builder().message_type("fills", MessageType::Nvfix).start().await?;
    /// assert!(server.uri_of("nvfix").ends_with("/amps/nvfix"));
    /// # Ok(()) }
    /// ```
    pub fn uri_of(&self, message_type: &str) -> String {
        format!("tcp://{}/amps/{message_type}", self.places.tcp)
    }

    /// The connection string for WebSocket, if the server was told to speak it.
    #[cfg(feature = "websocket")]
    pub fn websocket_uri(&self) -> Option<String> {
        Some(format!("ws://{}/amps/json", self.places.websocket?))
    }

    /// The connection string for WebSocket over TLS, if the server was told to
    /// speak it and given a certificate.
    #[cfg(feature = "websocket")]
    pub fn secure_websocket_uri(&self) -> Option<String> {
        Some(format!("wss://{}/amps/json", self.places.secure_websocket?))
    }

    /// The connection string for TLS, if the server was given a certificate.
    pub fn tls_uri(&self) -> Option<String> {
        self.places.tls.map(|address| format!("tcps://{address}/amps/json"))
    }

    /// The connection string of the socket file, if there is one.
    pub fn unix_uri(&self) -> Option<String> {
        let path = self.places.unix.as_ref()?.to_string_lossy();
        let path: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
        Some(format!("unix://localhost:0/amps/json?path={path}"))
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.places.tcp
    }

    /// Ends the server as a crash would: every connection is cut at once,
    /// whatever waits to be sent is dropped, and the journal is closed. The
    /// address and the directory are free for a restart when this returns.
    ///
    /// # Cancel safety
    /// A dropped call ends the server all the same, a moment later.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = (&mut self.root).await;
        self.shared.end();
    }

    /// Looks at or changes the engine itself, between two turns.
    ///
    /// # Panics
    /// After [`stop`](Self::stop); it cannot be called then.
    pub fn with_engine<R>(&self, f: impl FnOnce(&mut Engine, Instant) -> R) -> R {
        self.shared.turn(f).expect("a server that is not stopped has its engine")
    }

    /// Changes the faults; see [`Faults`] for what there is.
    pub fn faults<R>(&self, change: impl FnOnce(&mut Faults) -> R) -> R {
        self.with_engine(|engine, now| engine.with_faults(now, change))
    }

    /// Cuts the connection of a client; whether there was one.
    pub fn kick(&self, client_name: &str) -> bool {
        self.with_engine(|engine, now| engine.kick(now, client_name))
    }

    /// Sends raw bytes to a client; whether it is connected.
    pub fn inject(&self, client_name: &str, bytes: &[u8]) -> bool {
        self.with_engine(|engine, now| engine.inject(now, client_name, bytes))
    }

    /// Cuts the links with another instance, by name, and keeps them down
    /// until called with `false`.
    pub fn partition(&self, peer: &str, on: bool) {
        self.with_engine(|engine, now| engine.partition(now, peer, on));
    }

    /// Stops waiting for a peer, by connection string or instance name;
    /// whether there is one.
    pub fn downgrade(&self, peer: &str) -> bool {
        self.with_engine(|engine, now| engine.downgrade(now, peer))
    }

    /// Waits for a peer again, by connection string or instance name; whether
    /// there is one. See [`Engine::upgrade`].
    pub fn upgrade(&self, peer: &str) -> bool {
        self.with_engine(|engine, now| engine.upgrade(now, peer))
    }

    /// Makes the server take over messages of a queue whose owner has no link to
    /// it; see [`Engine::proxied_transfer`]. Answers whether there is such a queue.
    pub fn proxied_transfer(&self, queue: &str, on: bool) -> bool {
        self.with_engine(|engine, now| engine.proxied_transfer(now, queue, on))
    }

    /// The transaction log in order.
    pub fn log(&self) -> Vec<LoggedMessage> {
        self.with_engine(|engine, _| engine.log())
    }

    /// A copy of the counters and recorded commands.
    pub fn stats(&self) -> Stats {
        self.with_engine(|engine, _| engine.stats().clone())
    }

    /// Waits until `condition` holds, looking after every turn of the engine.
    ///
    /// No time limit of its own: wrap it in one.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn wait_for(&self, mut condition: impl FnMut(&Stats) -> bool) {
        self.shared.wait_for(|engine| condition(engine.stats()).then_some(())).await;
    }

    /// Waits until the log satisfies `condition`, and answers it.
    ///
    /// No time limit of its own: wrap it in one.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn wait_for_log(&self, mut condition: impl FnMut(&[LoggedMessage]) -> bool) -> Vec<LoggedMessage> {
        self.shared.wait_for(|engine| Some(engine.log()).filter(|log| condition(log))).await
    }

    /// Waits until a queue is as `condition` says, and answers how it is.
    ///
    /// No time limit of its own: wrap it in one.
    ///
    /// # Panics
    /// When the server has no such queue.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn wait_for_queue(&self, topic: &str, mut condition: impl FnMut(QueueDepth) -> bool) -> QueueDepth {
        let depth = |engine: &Engine| engine.queue(topic).expect("a queue of the configuration");
        self.shared.wait_for(|engine| Some(depth(engine)).filter(|depth| condition(*depth))).await
    }

    /// Why the server stopped serving for good, if it did: its journal could
    /// not be written.
    pub fn failure(&self) -> Option<String> {
        self.with_engine(|engine, _| engine.failure().map(str::to_owned))
    }

    /// The configuration.
    pub fn config(&self) -> Config {
        self.with_engine(|engine, _| engine.config().clone())
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.root.abort();
    }
}
