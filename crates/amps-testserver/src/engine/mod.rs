//! The server as a state machine: bytes, time and dial outcomes in; bytes,
//! deadlines and dial requests out.

mod ack;
mod client_status;
mod clock;
mod conflation;
mod connection;
mod content;
mod control;
mod deliver;
mod delta;
mod dispatch;
mod expire;
mod flow;
mod heartbeat;
mod history;
mod interest;
mod legacy;
mod logon;
mod options;
mod outbox;
mod pace;
mod publish;
mod query;
mod queue;
mod range;
mod records;
mod replicate;
mod sow_delete;
mod subscribe;
mod topics;
mod view;
mod wants;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use amps_core::{Bookmark, planted};
use bytes::Bytes;

use self::client_status::Event;
use self::connection::{Close, Connection, Role};
use self::queue::Queues;
pub(crate) use self::queue::is_queue_change;
use self::replicate::Peer;
use self::topics::Topics;
use crate::config::Config;
use crate::faults::Faults;
use crate::filter::Surroundings;
use crate::identity::publisher_id;
use crate::journal::{Journal, LoggedMessage, Record};
use crate::log::{Entry, Log};
use crate::sow::SowTopic;
use crate::stats::Stats;

pub use self::queue::QueueDepth;

/// One connection of an engine. Never reused within an engine's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

impl ConnId {
    /// The connection's number: 1 for the first accepted or dialed.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// One configured peer of an engine: its place in [`Config::peers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(usize);

impl PeerId {
    /// The index in [`Config::peers`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// One instance: everything that decides, without sockets, clock or threads.
///
/// The caller carries bytes: [`accept`](Self::accept) and
/// [`receive`](Self::receive) for what arrives, [`poll_transmit`](Self::poll_transmit)
/// for what is to be sent, as fast as each connection drains, and
/// [`should_close`](Self::should_close) for its end. It carries time:
/// [`poll_timeout`](Self::poll_timeout) and [`handle_timeout`](Self::handle_timeout).
/// And it dials peers: [`poll_dial`](Self::poll_dial), answered by
/// [`dialed`](Self::dialed) or [`dial_failed`](Self::dial_failed).
///
/// The crate's first page has a runnable example.
pub struct Engine {
    config: Config,
    /// What filters know about the instance.
    about: Arc<Surroundings>,
    journal: Box<dyn Journal>,
    log: Log,
    topics: Topics,
    sow: Vec<SowTopic>,
    connections: BTreeMap<ConnId, Connection>,
    last_connection: u64,
    names: HashMap<String, ConnId>,
    peers: Vec<Peer>,
    queues: Queues,
    /// Log positions before this were promised as persisted in an earlier life
    /// or before a peer was lost.
    promised: usize,
    faults: Faults,
    stats: Stats,
    dirty: Vec<ConnId>,
    now: Option<Instant>,
    /// The first time that was told.
    began: Option<Instant>,
    timeout: Option<Instant>,
    /// Log length at the end of the last turn.
    announced: usize,
    uncommitted: bool,
    failed: Option<String>,
}

impl Engine {
    /// An instance that goes on from what `journal` holds.
    ///
    /// # Errors
    /// The journal cannot be read, or is damaged before its end. A queue of the
    /// configuration cannot be.
    pub fn new(config: Config, mut journal: Box<dyn Journal>) -> io::Result<Self> {
        let queues = Queues::new(&config)?;
        for sow in &config.sow {
            sow.check(is_logged(&config, &sow.topic), config.type_of(&sow.topic))?;
        }
        let mut records = Vec::new();
        journal.load(&mut |record| records.push(record))?;
        let peers = config.peers.iter().map(Peer::new).collect();
        let sow = config.sow.iter().map(|sow| SowTopic::new(sow, config.type_of(&sow.topic))).collect();
        let stats = Stats::new(config.history_limit);
        let mut engine = Self {
            topics: Topics::default(),
            about: Arc::new(Surroundings::new(&config)),
            config,
            journal,
            log: Log::default(),
            sow,
            connections: BTreeMap::new(),
            last_connection: 0,
            names: HashMap::new(),
            peers,
            queues,
            promised: 0,
            faults: Faults::default(),
            stats,
            dirty: Vec::new(),
            now: None,
            began: None,
            timeout: None,
            announced: 0,
            uncommitted: false,
            failed: None,
        };
        for record in records {
            engine.recover(record);
        }
        engine.announced = engine.log.len();
        engine.stats.logged = engine.log.len();
        Ok(engine)
    }

    fn recover(&mut self, record: Record) {
        match record {
            Record::Message(message) => {
                let publisher = self.log.intern(message.publisher, &message.client_name);
                if message.sequence <= self.log.publisher(publisher).highest() {
                    return;
                }
                let topic = self.topic(&message.topic);
                let given_key: Option<Arc<str>> = message.sow_key.map(Into::into);
                let sow_key = self.sow_key(topic, given_key.as_deref(), &message.body);
                let entry = Entry {
                    publisher,
                    topic,
                    sequence: message.sequence,
                    direct: message.direct,
                    origin: message.origin.map(|name| self.log.instance(&name)),
                    sow_key: sow_key.filter(|_| message.deletes.is_none()),
                    given_key,
                    expiration: message.expiration,
                    deletes: message.deletes.map(Into::into),
                    correlation_id: message.correlation_id.map(Into::into),
                    processed: message.processed.unwrap_or_default().max(self.log.last_processed()),
                    body: message.body,
                };
                match &entry.deletes {
                    Some(keys) => drop(self.delete(keys)),
                    None => drop(self.keep(&entry)),
                }
                let position = self.log.push(entry);
                self.enqueue(position);
                self.apply_queue_change(position);
            }
            Record::Dequeued { queue, publisher, sequence } => {
                self.recover_dequeued(&queue, Bookmark { publisher, sequence });
            }
            Record::Promised(position) => self.promised = self.promised.max(position as usize),
        }
    }

    /// A new connection was accepted.
    pub fn accept(&mut self, now: Instant) -> ConnId {
        self.stats.accepted += 1;
        let id = self.connect(now, Role::New);
        let name = self.connection_name(id);
        self.tell_status_of(id, &name, "connect", Event::default());
        if self.failed.is_some() {
            self.close(id, Close::Abort, "the journal failed");
        } else if self.faults.accept_close {
            self.close(id, Close::Abort, "closed at once by a fault");
        } else if self.faults.accept_silence {
            self.connections.entry(id).and_modify(|connection| connection.silent = true);
        }
        id
    }

    fn connect(&mut self, now: Instant, role: Role) -> ConnId {
        self.advance(now);
        self.last_connection += 1;
        let id = ConnId(self.last_connection);
        self.connections.insert(id, Connection::new(role, now, self.config.frame_limit));
        self.stats.connections = self.connections.len();
        id
    }

    /// The next bytes to send on a connection; `None` when there is nothing
    /// now. Replays and query results are produced here, a chunk at a time, so
    /// call it again only when the connection can take more.
    ///
    /// The answer may change after any other call; [`take_dirty`](Self::take_dirty)
    /// says for which connections it did.
    #[must_use]
    pub fn poll_transmit(&mut self, id: ConnId) -> Option<Bytes> {
        let connection = self.connections.get(&id)?;
        if connection.close == Some(Close::Abort) || connection.half_open(&self.faults, id) {
            return None;
        }
        if connection.outbox.takes_more() && connection.close.is_none() {
            self.pump(id);
        }
        let now = self.now();
        let connection = self.connections.get_mut(&id)?;
        let mut bytes = connection.outbox.take()?;
        connection.sent_at = now;
        let cut = self.faults.sent_before_cut(connection.who(id), connection.bytes_sent, bytes.len());
        if let Some(allowed) = cut {
            bytes.truncate(allowed);
        }
        connection.bytes_sent += bytes.len() as u64;
        if cut.is_some() {
            connection.close_after_cut();
            self.forget_name(id);
        }
        Some(bytes).filter(|bytes| !bytes.is_empty())
    }

    /// Whether the caller should close this connection now, after sending
    /// what [`poll_transmit`](Self::poll_transmit) still gives. True for an
    /// unknown connection.
    #[must_use]
    pub fn should_close(&self, id: ConnId) -> bool {
        let Some(connection) = self.connections.get(&id) else { return true };
        match connection.close {
            Some(Close::Abort) => true,
            Some(Close::Flush) => connection.outbox.is_empty(),
            None => false,
        }
    }

    /// Whether a connection is to be cut without sending what waits, even in
    /// the middle of a write.
    #[must_use]
    pub fn is_aborted(&self, id: ConnId) -> bool {
        self.connections.get(&id).is_none_or(|connection| connection.close == Some(Close::Abort))
    }

    /// Whether the caller should read from this connection. A caller that
    /// reads on anyway loses nothing: the bytes wait.
    #[must_use]
    pub fn wants_read(&self, id: ConnId) -> bool {
        self.connections.get(&id).is_some_and(|connection| !connection.stops_reading(&self.faults, id))
    }

    /// A connection is gone, closed by either side. Its subscriptions end.
    pub fn closed(&mut self, now: Instant, id: ConnId) {
        self.advance(now);
        self.forget_name(id);
        if let Some(connection) = self.connections.remove(&id) {
            self.stats.connections = self.connections.len();
            self.topics.subscriptions_changed();
            self.link_lost(id, &connection);
            if matches!(connection.role, Role::New | Role::Client(_)) {
                self.tell_disconnect(id, &connection);
            }
        }
        self.end_turn();
    }

    /// Does what is due. Calls before [`poll_timeout`](Self::poll_timeout) are
    /// harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.timeout = None;
        self.dials_due(now);
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            // Acks first: a connection with something to say needs no beat.
            self.acks_due(id, now);
            self.heartbeat_due(id, now);
        }
        self.queues_due(now);
        self.expire_records();
        self.release_conflated();
        self.replays_due();
        self.end_turn();
        self.arm_all();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next due. May change
    /// after every call that takes the time.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    /// Connections for which [`poll_transmit`](Self::poll_transmit),
    /// [`should_close`](Self::should_close) or [`wants_read`](Self::wants_read)
    /// may answer differently since the last call. For callers that do not
    /// simply ask all.
    pub fn take_dirty(&mut self) -> Vec<ConnId> {
        for id in &self.dirty {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.dirty = false;
            }
        }
        std::mem::take(&mut self.dirty)
    }

    /// What was counted and recorded so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The transaction log in order, without what instances tell each other of
    /// queues.
    pub fn log(&self) -> Vec<LoggedMessage> {
        let entries = self.log.entries().iter();
        let messages = entries.filter(|entry| !is_queue_change(&self.topics.get(entry.topic).name));
        messages.map(|entry| self.logged_message(entry)).collect()
    }

    /// The bodies of what was published to a topic, in the order of the log.
    pub fn logged(&self, topic: &str) -> Vec<Bytes> {
        let entries = self.log.entries().iter().filter(|entry| entry.deletes.is_none());
        let published = entries.filter(|entry| *self.topics.get(entry.topic).name == *topic);
        published.map(|entry| entry.body.clone()).collect()
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Why the instance stopped for good: its journal could not be written.
    /// Every connection is closed then, and what was not committed was never
    /// promised.
    pub fn failure(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    fn mark(&mut self, id: ConnId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Commits what the turn appended and tells those who follow the log.
    fn end_turn(&mut self) {
        if self.failed.is_none() {
            self.serve_queues();
        }
        // In the bad build only every fourth turn is written down.
        let put_off = planted::is("server-acks-before-it-persists") && !self.stats.received.is_multiple_of(4);
        if !put_off
            && std::mem::take(&mut self.uncommitted)
            && let Err(error) = self.journal.commit()
            && !planted::is("server-goes-on-after-failed-write")
        {
            tracing::error!(%error, "the journal cannot be written, the instance stops");
            self.failed = Some(error.to_string());
        }
        if self.failed.is_some() {
            let ids: Vec<_> = self.connections.keys().copied().collect();
            for id in ids {
                self.close(id, Close::Abort, "the journal failed");
            }
            return;
        }
        if self.announced != self.log.len() {
            self.announced = self.log.len();
            self.stats.logged = self.announced;
            let followers: Vec<_> =
                self.connections.iter().filter(|(_, c)| c.follows_log()).map(|(id, _)| *id).collect();
            for id in followers {
                self.mark(id);
            }
        }
        self.settle();
    }

    fn close(&mut self, id: ConnId, how: Close, reason: &str) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.close.is_none() || how == Close::Abort {
            tracing::debug!(connection = id.0, reason, "closing");
            connection.close = Some(how);
            connection.reason.get_or_insert_with(|| reason.to_owned());
            let ended = std::mem::take(&mut connection.subscriptions);
            self.stats.disconnect(id, reason);
            self.topics.subscriptions_changed();
            self.forget_name(id);
            self.mark(id);
            ended.iter().for_each(|subscription| self.tell_status(id, "unsubscribe", subscription));
        }
    }

    fn forget_name(&mut self, id: ConnId) {
        self.names.retain(|_, holder| *holder != id);
    }

    fn logged_message(&self, entry: &Entry) -> LoggedMessage {
        let publisher = self.log.publisher(entry.publisher);
        LoggedMessage {
            publisher: publisher.id,
            sequence: entry.sequence,
            client_name: publisher.name.to_string(),
            topic: self.topics.get(entry.topic).name.to_string(),
            deletes: entry.deletes.as_deref().map(<[u64]>::to_vec),
            body: entry.body.clone(),
        }
    }

    /// The number of a topic, with all that is fixed about it found out once.
    fn topic(&mut self, name: &str) -> u32 {
        let (config, sow) = (&self.config, &self.sow);
        self.topics.intern(name, |name| topics::Kind {
            logged: is_logged(config, name),
            sow: sow.iter().position(|sow| sow.topic == name),
        })
    }

    fn is_logged(&self, topic: &str) -> bool {
        is_logged(&self.config, topic)
    }

    fn publisher_for(&mut self, client_name: &str) -> u32 {
        self.log.intern(publisher_id(client_name), client_name)
    }
}

/// Whether a topic is in the transaction log. The server's own messages are not.
fn is_logged(config: &Config, topic: &str) -> bool {
    !topic.starts_with("/AMPS/") && config.topic_log.iter().any(|pattern| pattern.is_match(topic))
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("name", &self.config.name)
            .field("logged", &self.log.len())
            .field("connections", &self.connections.len())
            .finish_non_exhaustive()
    }
}
