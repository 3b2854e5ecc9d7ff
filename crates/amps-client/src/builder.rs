mod logon;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amps_core::frame::MAX_FRAME_LEN;
use amps_core::uri::mask;
use amps_core::{Connector, SocketConnector};
use amps_ha::authenticator::Authenticator;
use amps_ha::bookmarks::store::{BookmarkStoreError, WriterOptions};
use amps_ha::client_core::{ClientCore, CoreConfig, Deletions, Outlets, Strays};
use amps_ha::driver::{self, Inbox};
use amps_ha::event::{ConnectionSummary, Event};
use amps_ha::measure::client_span;
use amps_ha::publish_log::{Durability, Identity, Limits, OnPublishGap, OnStoreFull, SharedLog, StoreThread};
use amps_ha::reconnect::{ExponentialReconnect, ReconnectStrategy};
use amps_ha::server_chooser::{ListChooser, Server, ServerChooser};
use amps_ha::session::{Session, SessionConfig};
use amps_ha::subscriptions::{FailedResubscribeHandler, QueueLimits};
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, watch};

use crate::client::Client;
use crate::disconnect::{self, DisconnectHandler};
use crate::error::{ConnectError, OpenError};
use crate::inner::{Ending, Inner, KeptIn};
#[cfg(feature = "metrics")]
use crate::metrics::{Recording, Sampled, sample};
use crate::stores::{BookmarkStore, PublishStore, open_bookmarks, open_log};
use crate::waits::Waits;

/// How many events a slow listener may be behind.
const EVENTS: usize = 1024;

/// Sets up a [`Client`].
#[must_use = "a client is made by `connect` or `start`"]
pub struct ClientBuilder {
    pub(crate) name: String,
    pub(crate) servers: Vec<(String, Option<Arc<dyn Authenticator>>)>,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) chooser: Option<Box<dyn ServerChooser>>,
    reconnect: Option<Box<dyn ReconnectStrategy>>,
    connector: Arc<dyn Connector>,
    pub(crate) store: PublishStore,
    /// The level asked for; the store's own if none was.
    pub(crate) durability: Option<Durability>,
    pub(crate) limits: Limits,
    on_full: OnStoreFull,
    pub(crate) bookmark_store: BookmarkStore,
    pub(crate) heartbeat: Option<(Duration, Duration)>,
    pub(crate) session: SessionConfig,
    pub(crate) command_timeout: Duration,
    pub(crate) connect_within: Option<Duration>,
    ack_conflation: Option<Duration>,
    pub(crate) logon_correlation: Option<String>,
    queue: QueueLimits,
    pub(crate) on_publish_gap: OnPublishGap,
    frame_limit: usize,
    resubscribe: bool,
    retry: bool,
    failed_resubscribe: Option<Arc<dyn FailedResubscribeHandler>>,
    on_disconnect: Option<Arc<dyn DisconnectHandler>>,
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.servers.iter().map(|(uri, _)| mask(uri)).collect();
        f.debug_struct("ClientBuilder")
            .field("name", &self.name)
            .field("servers", &servers)
            .field("store", &self.store)
            .field("durability", &self.durability)
            .field("bookmark_store", &self.bookmark_store)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            servers: Vec::new(),
            authenticator: None,
            chooser: None,
            reconnect: None,
            connector: Arc::new(SocketConnector::default()),
            store: PublishStore::Memory,
            durability: None,
            limits: Limits::default(),
            on_full: OnStoreFull::default(),
            bookmark_store: BookmarkStore::Memory,
            heartbeat: Some((Duration::from_secs(5), Duration::from_secs(10))),
            session: SessionConfig::default(),
            command_timeout: Duration::from_secs(10),
            connect_within: None,
            ack_conflation: None,
            logon_correlation: None,
            queue: QueueLimits::default(),
            on_publish_gap: OnPublishGap::Refuse,
            frame_limit: MAX_FRAME_LEN,
            resubscribe: true,
            retry: true,
            failed_resubscribe: None,
            on_disconnect: None,
        }
    }

    /// Adds a server, such as `tcp://localhost:9007/amps/json`. Several are
    /// tried in turn. All must replicate to each other synchronously.
    pub fn server(mut self, uri: impl Into<String>) -> Self {
        self.servers.push((uri.into(), None));
        self
    }

    /// Adds a server with an authenticator of its own.
    pub fn server_with(mut self, uri: impl Into<String>, authenticator: impl Authenticator) -> Self {
        self.servers.push((uri.into(), Some(Arc::new(authenticator))));
        self
    }

    /// Calls this when a connection is lost, instead of recovering: nothing
    /// reconnects, replays or subscribes again unless the handler calls
    /// [`Client::reconnect`].
    pub fn on_disconnect(self, handler: impl DisconnectHandler) -> Self {
        Self { on_disconnect: Some(Arc::new(handler)), ..self.no_recovery() }
    }

    /// Does nothing when a connection is lost, until somebody calls
    /// [`Client::reconnect`]. Commands and, without a publish store, publishes
    /// fail meanwhile.
    pub fn no_recovery(mut self) -> Self {
        self.session.recovers = false;
        self
    }

    /// Ends the streams of subscriptions with their connection, instead of
    /// entering them again on the next.
    pub fn no_resubscribe(mut self) -> Self {
        self.resubscribe = false;
        self
    }

    /// Answers a subscription or query that waits for its confirmation when the
    /// connection is lost with [`CommandError::Disconnected`](crate::CommandError::Disconnected),
    /// instead of asking again on the next connection within the same time
    /// limit.
    pub fn no_retry(mut self) -> Self {
        self.retry = false;
        self
    }

    /// Decides what becomes of a subscription that a server refuses when it is
    /// entered again. Without one, reasons that do not pass end the
    /// subscription, with an error on its stream, and others fail the attempt.
    ///
    /// ```
    /// # use amps_client::{Client, OnFailedResubscribe, Reason};
    /// // Whoever may not read here may read at another server.
    /// let builder = Client::builder("reader").on_failed_resubscribe(|failed: &amps_client::FailedResubscribe| {
    ///     match failed.reason {
    ///         Reason::NotEntitled => OnFailedResubscribe::Fail,
    ///         _ => OnFailedResubscribe::Drop,
    ///     }
    /// });
    /// ```
    pub fn on_failed_resubscribe(mut self, handler: impl FailedResubscribeHandler) -> Self {
        self.failed_resubscribe = Some(Arc::new(handler));
        self
    }

    /// Adds servers.
    pub fn servers<S: Into<String>>(mut self, uris: impl IntoIterator<Item = S>) -> Self {
        self.servers.extend(uris.into_iter().map(|uri| (uri.into(), None)));
        self
    }

    /// Chooses servers in another way than by turns through the list.
    pub fn server_chooser(mut self, chooser: impl ServerChooser) -> Self {
        self.chooser = Some(Box::new(chooser));
        self
    }

    /// Waits between attempts in another way than by exponential backoff from
    /// 200 ms to 20 s with jitter.
    pub fn reconnect(mut self, strategy: impl ReconnectStrategy) -> Self {
        self.reconnect = Some(Box::new(strategy));
        self
    }

    /// Opens connections in another way than by a default
    /// [`SocketConnector`](crate::SocketConnector): with certificates of your
    /// own, limits for each stage, default connection parameters, or through
    /// something else entirely.
    pub fn connector(mut self, connector: impl Connector + 'static) -> Self {
        self.connector = Arc::new(connector);
        self
    }

    /// Where published messages are kept; in memory by default.
    pub fn publish_store(mut self, store: PublishStore) -> Self {
        self.store = store;
        self
    }

    /// What a publish survives with a sled store once it returned; a power loss
    /// by default. A hybrid store knows only [`Durability::Memory`].
    pub fn durability(mut self, level: Durability) -> Self {
        self.durability = Some(level);
        self
    }

    /// Bytes of unacknowledged messages; 256 MiB by default. What happens at the
    /// bound says [`on_store_full`](Self::on_store_full).
    pub fn store_bound(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Unacknowledged messages; any number by default. Holds beside
    /// [`store_bound`](Self::store_bound).
    pub fn store_bound_messages(mut self, messages: u64) -> Self {
        self.limits.messages = messages;
        self
    }

    /// What publishing does when the publish store is full. By default
    /// [`Client::publish`] and [`Client::enqueue_wait`] wait for room;
    /// [`Client::enqueue`] never waits.
    ///
    /// ```
    /// # use amps_client::{Client, OnStoreFull};
    /// // Grows by 64 MiB at a time, up to 1 GiB; then publishing fails.
    /// let builder = Client::builder("gateway")
    ///     .store_bound(64 << 20)
    ///     .on_store_full(OnStoreFull::resize(|proposed| proposed.bytes <= 1 << 30));
    /// ```
    pub fn on_store_full(mut self, policy: OnStoreFull) -> Self {
        self.on_full = policy;
        self
    }

    /// With a sled publish store: bytes of messages kept in memory; 8 MiB by
    /// default. Half as many may wait for the disk before
    /// [`publish`](crate::Client::publish) and
    /// [`enqueue_wait`](crate::Client::enqueue_wait) do. For a hybrid store
    /// [`MemoryPart`](amps_ha::publish_log::MemoryPart) says it.
    pub fn resident_bytes(mut self, bytes: usize) -> Self {
        self.limits.resident_bytes = bytes;
        self
    }

    /// Where subscriptions keep what they have discarded; in memory by default.
    pub fn bookmark_store(mut self, store: BookmarkStore) -> Self {
        self.bookmark_store = store;
        self
    }

    /// How often the server is to send something, rounded up to seconds, and
    /// how long silence is tolerated; 5 s and 10 s by default.
    pub fn heartbeat(mut self, interval: Duration, timeout: Duration) -> Self {
        self.heartbeat = Some((interval, timeout));
        self
    }

    /// Turns heartbeats off: a frozen server or a cut cable then goes unnoticed
    /// until the operating system gives up, which takes minutes.
    pub fn no_heartbeat(mut self) -> Self {
        self.heartbeat = None;
        self
    }

    /// Limits the time until all subscriptions are confirmed on a new
    /// connection; 10 s by default.
    pub fn resubscribe_timeout(mut self, limit: Duration) -> Self {
        self.session.resubscribe_timeout = limit;
        self
    }

    /// Limits one attempt to open a connection, and its logon (each answer of
    /// the authenticator as well); 5 s each.
    pub fn attempt_timeouts(mut self, connect: Duration, logon: Duration) -> Self {
        self.session.connect_timeout = connect;
        self.session.logon_timeout = logon;
        self
    }

    /// Limits the wait for a command's answer; 10 s by default.
    pub fn command_timeout(mut self, limit: Duration) -> Self {
        self.command_timeout = limit;
        self
    }

    /// Limits [`connect`](Self::connect) as a whole; for ever by default.
    pub fn connect_within(mut self, limit: Duration) -> Self {
        self.connect_within = Some(limit);
        self
    }

    /// Bounds the queues of queries, and of subscriptions without
    /// [bounds of their own](crate::Subscribe::queue): messages and bytes; 10,000
    /// messages or 16 MiB by default.
    pub fn default_queue(mut self, messages: usize, bytes: usize) -> Self {
        self.queue = QueueLimits { messages: messages.max(1), bytes };
        self
    }

    /// What to do at a server that lacks messages another had acknowledged; by
    /// default it is not used.
    pub fn on_publish_gap(mut self, policy: OnPublishGap) -> Self {
        self.on_publish_gap = policy;
        self
    }

    /// The longest frame accepted from a server, in bytes; 200 MB by default.
    pub fn frame_limit(mut self, bytes: usize) -> Self {
        self.frame_limit = bytes;
        self
    }

    /// Starts the client and waits until it is connected, logged on and fully
    /// recovered.
    ///
    /// # Errors
    /// [`ConnectError`]. Wrong settings fail at once; without
    /// [`connect_within`](Self::connect_within) unreachable servers do not.
    ///
    /// # Cancel safety
    /// A dropped call ends the client again.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let limit = self.connect_within;
        let client = self.start()?;
        match limit {
            Some(limit) => client.connected_within(limit).await?,
            None => client.connected().await?,
        }
        Ok(client)
    }

    /// Starts the client without waiting: it connects in the background, and
    /// what is published meanwhile goes to the store.
    ///
    /// Opening a sled store reads it once; for a large backlog that takes up to
    /// a second and blocks.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn start(self) -> Result<Client, OpenError> {
        let runtime = Handle::try_current().map_err(|_| OpenError::NoRuntime)?;
        let warnings = self.check()?;
        let mut servers = Vec::new();
        for (uri, authenticator) in &self.servers {
            let server = Server::new(uri.parse()?);
            servers.push(authenticator.iter().fold(server, |server, own| server.authenticator(Arc::clone(own))));
        }
        let message_type =
            servers.first().and_then(|server| server.uri().message_type()).unwrap_or_default().to_owned();
        let chooser = match self.chooser {
            Some(chooser) => chooser,
            None if servers.is_empty() => return Err(OpenError::NoServer),
            None => Box::new(ListChooser::new(servers)),
        };
        let reconnect = match self.reconnect {
            Some(strategy) => strategy,
            None => Box::new(ExponentialReconnect::new(rand::random())),
        };
        let session = SessionConfig { heartbeats: self.heartbeat.is_some(), ..self.session.clone() };
        let session = Session::new(session, chooser, reconnect);

        let wake = Arc::new(Notify::new());
        let identity = Identity { client_name: self.name.clone(), message_type, protocol: "amps".to_owned() };
        let span = client_span(&self.name);
        let kept_in = KeptIn { published: self.store.to_string(), bookmarks: self.bookmark_store.to_string() };
        let (log, segments) = open_log(self.store, self.durability, self.limits, &identity)?;
        let events = broadcast::Sender::new(EVENTS);
        let (teller, name) = (events.clone(), self.name.clone());
        let tell = move |error: &BookmarkStoreError| {
            tracing::error!(client = name, %error, "what is discarded may come again in a new process");
            let _ = teller.send(Event::BookmarkStoreFailed(error.clone()));
        };
        let options = WriterOptions { on_error: Box::new(tell), within: span.clone(), ..WriterOptions::default() };
        let bookmarks = open_bookmarks(self.bookmark_store, &self.name, options)?.map(Arc::new);
        let log = SharedLog::new(log, Arc::clone(&wake)).on_full(self.on_full).events(events.clone());
        let log = log.within(span.clone());
        #[cfg(feature = "metrics")]
        let (recording, log) = {
            let recording = Arc::new(Recording::new(&self.name));
            (Arc::clone(&recording), log.observer(recording))
        };
        let log = Arc::new(log);
        let store = segments.map(|segments| StoreThread::start(Arc::clone(&log), segments)).transpose();
        let store = store.map_err(OpenError::Thread)?;

        let config = CoreConfig {
            name: self.name.clone(),
            heartbeat: self.heartbeat,
            command_timeout: self.command_timeout,
            ack_conflation: self.ack_conflation,
            logon_correlation: self.logon_correlation,
            on_publish_gap: self.on_publish_gap,
            frame_limit: self.frame_limit,
            connect_timeout: self.session.connect_timeout,
            deadlock_after: Duration::from_secs(1),
            resubscribe: self.resubscribe,
            retry: self.retry,
        };
        let (stalled, stalled_seen) = watch::channel(None);
        let (summary, state) = watch::channel(ConnectionSummary::default());
        let outlets = Outlets { events: events.clone(), summary, stalled };
        let inbox = Arc::new(Inbox::new(Arc::clone(&wake)));
        let strays = Strays::default();
        let deletions = Deletions::default();
        let core = ClientCore::new(config, session, Arc::clone(&log), outlets);
        let mut core = core.strays(strays.clone()).deletions(deletions.clone()).within(span);
        #[cfg(feature = "metrics")]
        {
            core = core.observer(recording);
        }
        if let Some(handler) = self.failed_resubscribe {
            core = core.failed_resubscribe(handler);
        }
        if let Some(authenticator) = self.authenticator {
            core = core.authenticator(authenticator);
        }
        let headers = self.connector.last_headers();
        let driver = runtime.spawn(driver::run(core, self.connector, Arc::clone(&inbox)));
        let bookmarks = Mutex::new(bookmarks);
        let ids = Mutex::default();
        let ending = Mutex::new(Some(Ending { driver, store }));
        let inner = Inner {
            waits: Waits::new(&self.name),
            listing: Arc::default(),
            kept_in,
            headers,
            #[cfg(feature = "metrics")]
            sampled: Arc::new(Sampled::new(&self.name, log.peek(|log| log.end()))),
            name: self.name,
            runtime: runtime.clone(),
            log,
            inbox,
            wake,
            events,
            strays,
            deletions,
            counted: AtomicU64::new(0),
            command_timeout: self.command_timeout,
            queue: self.queue,
            stalled: stalled_seen,
            state,
            bookmarks,
            ids,
            ending,
            stores_closed: watch::Sender::new(false),
            warnings,
        };
        for warning in &inner.warnings {
            inner.warn(warning.clone());
        }
        let inner = Arc::new(inner);
        #[cfg(feature = "metrics")]
        runtime.spawn(sample(Arc::downgrade(&inner), Arc::clone(&inner.sampled), inner.state.clone()));
        if let Some(handler) = self.on_disconnect {
            runtime.spawn(disconnect::handle(Arc::downgrade(&inner), inner.state.clone(), handler));
        }
        Ok(Client { inner })
    }
}

#[cfg(test)]
mod tests;
