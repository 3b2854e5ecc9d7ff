//! How a client of a [`Pair`](super::Pair) is set up, as a user would do it
//! through the builder of `amps-client`.

use std::path::Path;
use std::time::{Duration, Instant};

use amps_core::Uri;
use amps_ha::client_core::CoreConfig;
use amps_ha::kv::{MemoryKv, SyncLevel};
use amps_ha::publish_log::{Durability, Identity, Limits, MemoryPart, OnPublishGap, PublishLog, SegmentStore};
use amps_ha::reconnect::ExponentialReconnect;
use amps_ha::server_chooser::ListChooser;
use amps_ha::session::{Session, SessionConfig};

/// Where a client keeps what it publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Nowhere.
    None,
    /// In memory.
    Memory,
    /// On a disk of our own, at this level.
    Disk(Durability),
    /// The newest in memory, the oldest on a disk of our own.
    Hybrid(MemoryPart),
}

/// How a client dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// Its process is killed.
    Process,
    /// The machine loses power; so many unsynced writes survive all the same.
    Power(usize),
}

impl Kill {
    pub(crate) fn disk(self, kv: &MemoryKv) -> MemoryKv {
        match self {
            Self::Process => kv.crash(SyncLevel::Process),
            Self::Power(extra) => kv.crash_keeping(SyncLevel::Power, extra),
        }
    }
}

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct ClientSetup {
    /// Where it keeps what it publishes.
    pub store: Store,
    /// Bounds of that.
    pub limits: Limits,
    /// Servers, by index, in the order they are tried.
    pub servers: Vec<usize>,
    /// The core's settings.
    pub core: CoreConfig,
    /// The session's settings.
    pub session: SessionConfig,
    /// The wall clock at the client's start: where a fresh log's numbers begin.
    pub unix_nanos: u64,
}

impl ClientSetup {
    /// The defaults of the builder in `amps-client`, with acknowledgements at
    /// least every 20 ms.
    pub fn new(name: &str, servers: impl IntoIterator<Item = usize>) -> Self {
        let core = CoreConfig {
            name: name.to_owned(),
            heartbeat: Some((Duration::from_secs(5), Duration::from_secs(10))),
            command_timeout: Duration::from_secs(10),
            logon_correlation: None,
            ack_conflation: Some(Duration::from_millis(20)),
            on_publish_gap: OnPublishGap::Refuse,
            frame_limit: amps_core::frame::MAX_FRAME_LEN,
            connect_timeout: Duration::from_secs(5),
            deadlock_after: Duration::from_secs(1),
            resubscribe: true,
            retry: true,
        };
        Self {
            store: Store::Memory,
            limits: Limits::default(),
            servers: servers.into_iter().collect(),
            core,
            session: SessionConfig::default(),
            unix_nanos: 1_700_000_000_000_000_000,
        }
    }

    /// Keeps what is published here.
    #[must_use]
    pub fn store(mut self, store: Store) -> Self {
        self.store = store;
        self
    }

    /// Holds at most so many bytes and messages.
    #[must_use]
    pub fn bound(mut self, bytes: usize, messages: u64) -> Self {
        (self.limits.bytes, self.limits.messages) = (bytes, messages);
        self
    }

    /// Keeps at most so many bytes of a disk store in memory.
    #[must_use]
    pub fn resident(mut self, bytes: usize) -> Self {
        self.limits.resident_bytes = bytes;
        self
    }

    /// Turns heartbeats off.
    #[must_use]
    pub fn no_heartbeat(mut self) -> Self {
        self.core.heartbeat = None;
        self.session.heartbeats = false;
        self
    }

    pub(crate) fn session(&self, seed: u64) -> Session {
        let uris: Vec<_> = self.servers.iter().map(|server| uri(*server)).collect();
        let reconnect = ExponentialReconnect::new(seed);
        Session::new(self.session.clone(), Box::new(ListChooser::new(uris)), Box::new(reconnect))
    }

    /// The log, on what `kv` holds if the store is a disk.
    pub(crate) fn log(&self, kv: &MemoryKv, lives: u64) -> (PublishLog, Option<SegmentStore>) {
        let clock = self.unix_nanos + lives * 1_000_000_000;
        match self.store {
            Store::None => (PublishLog::without_store(self.limits), None),
            Store::Memory => (PublishLog::in_memory(self.limits, clock), None),
            Store::Disk(_) | Store::Hybrid(_) => {
                let identity = Identity {
                    client_name: self.core.name.clone(),
                    message_type: "json".to_owned(),
                    protocol: "amps".to_owned(),
                };
                let (store, recovered) = SegmentStore::open(Box::new(kv.clone()), Path::new("disk"), &identity, clock)
                    .expect("a store that can be opened");
                let log = match self.store {
                    Store::Hybrid(part) => PublishLog::hybrid(self.limits, part, recovered),
                    Store::Disk(level) => PublishLog::on_disk(self.limits, level, recovered),
                    _ => unreachable!("the others have no disk"),
                };
                (log, Some(store))
            }
        }
    }
}

/// The connection string of a server.
pub fn uri(server: usize) -> Uri {
    format!("tcp://s{server}:9007/amps/json").parse().expect("a connection string")
}

/// The index of the server that a connection string names.
pub(crate) fn server_of(uri: &Uri) -> usize {
    uri.host()[1..].parse().expect("a server of the pair")
}

/// An attempt to open a transport.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) server: usize,
    /// When its outcome is known; `None`: never.
    pub(crate) ends: Option<Instant>,
}
