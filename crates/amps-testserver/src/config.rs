//! What an instance is told at its start.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use amps_core::{Uri, UriError};
use regex::Regex;

use crate::message_type::MessageType;
use crate::queue_config::QueueConfig;
use crate::readings::Readings;
use crate::sow_config::SowConfig;

/// Whether the source of a replication link waits for its destination before
/// it acknowledges a message as persisted (AMPS User Guide, "Sync and Async
/// Acknowledgement").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Link {
    /// Persisted acks wait for this peer, for as long as it is away.
    Sync,
    /// Messages are sent, nobody waits.
    Async,
}

/// Another instance this one pushes its log to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// The peer's connection string.
    pub uri: String,
    /// Whether persisted acks wait for it.
    pub link: Link,
}

impl FromStr for PeerConfig {
    type Err = UriError;

    /// Reads a connection string; `?sync=false` makes the link asynchronous.
    ///
    /// ```
    /// use amps_testserver::{Link, PeerConfig};
    /// let peer: PeerConfig = "tcp://127.0.0.1:9007/amps/json?sync=false".parse().unwrap();
    /// assert_eq!(peer.link, Link::Async);
    /// assert_eq!(peer.uri, "tcp://127.0.0.1:9007/amps/json");
    /// ```
    fn from_str(text: &str) -> Result<Self, UriError> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let is_sync_option = |option: &&str| option.split('=').next() == Some("sync");
        let link = if query.split('&').any(|option| option == "sync=false") { Link::Async } else { Link::Sync };
        let others: Vec<_> = query.split('&').filter(|o| !o.is_empty() && !is_sync_option(o)).collect();
        let uri = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        uri.parse::<Uri>()?;
        Ok(Self { uri, link })
    }
}

/// The configuration of one instance.
///
/// ```
/// use amps_testserver::{Config, Link};
/// let config = Config::new("A").sow("weather", "/station").peer("tcp://127.0.0.1:9008/amps/json", Link::Sync);
/// assert_eq!(config.name, "A");
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// The instance's name, unique in its group.
    pub name: String,
    /// The version in the logon ack. Default `5.3.5.0.0`.
    pub version: String,
    /// Patterns of the topics that are logged; empty: there is no transaction
    /// log at all. Default: every topic.
    pub topic_log: Vec<Regex>,
    /// SOW topics, in the order queries search them. Default: none.
    pub sow: Vec<SowConfig>,
    /// Topics whose messages are no JSON.
    pub message_types: Vec<(String, MessageType)>,
    /// Message queues. With peers each message has one owner among the instances.
    /// Default: none.
    pub queues: Vec<QueueConfig>,
    /// Instances this one pushes its log to. Default: none.
    pub peers: Vec<PeerConfig>,
    /// How the documents are read where they leave something open.
    pub readings: Readings,
    /// The period of conflated persisted acks when the logon names none.
    /// Default 1 s.
    pub ack_conflation: Duration,
    /// A number that is higher in every life of the instance, such as its
    /// start time in nanoseconds. Peers tell by it a restarted instance from
    /// an old connection of the one before, and server-assigned sequences
    /// start at it. Default 0, right for an instance that never restarts.
    pub incarnation: u64,
    /// The time since the beginning of 1970 when the engine is first told the
    /// time: the ends of leases are sent as dates. Default 0.
    pub wall_clock: Duration,
    /// Bytes of live messages and acks that may wait for one connection before
    /// it is closed as a slow client. Replays and query results do not count:
    /// they are produced as the connection drains. Default 64 MiB.
    pub outbox_limit: usize,
    /// Bytes of bodies the log holds, all in memory; publishes beyond it fail
    /// with `transaction log full`. Default 4 GiB.
    pub log_limit: usize,
    /// The longest frame a connection may send, in bytes. Default 200 MB.
    pub frame_limit: usize,
    /// Received commands kept for inspection. Default 16,384.
    pub history_limit: usize,
    /// The wait before a lost or failed link to a peer is dialed again.
    /// Default 100 ms.
    pub redial_delay: Duration,
    /// Silence after which either end gives a replication link up. Idle links
    /// carry a heartbeat every quarter of it. Default 8 s.
    pub link_timeout: Duration,
}

impl Config {
    /// The defaults: one instance, every topic logged, no SOW, no peers.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: "5.3.5.0.0".to_owned(),
            topic_log: vec![every_topic()],
            sow: Vec::new(),
            message_types: Vec::new(),
            queues: Vec::new(),
            peers: Vec::new(),
            readings: Readings::default(),
            ack_conflation: Duration::from_secs(1),
            incarnation: 0,
            wall_clock: Duration::ZERO,
            outbox_limit: 64 << 20,
            log_limit: 4 << 30,
            frame_limit: amps_core::frame::MAX_FRAME_LEN,
            history_limit: 16_384,
            redial_delay: Duration::from_millis(100),
            link_timeout: Duration::from_secs(8),
        }
    }

    /// Sets the patterns of logged topics; none at all means no transaction log.
    #[must_use]
    pub fn topic_log(mut self, patterns: impl IntoIterator<Item = Regex>) -> Self {
        self.topic_log = patterns.into_iter().collect();
        self
    }

    /// Adds a SOW topic with its key, a path such as `/station`, or several,
    /// separated by commas.
    #[must_use]
    pub fn sow(self, topic: impl Into<String>, key: impl Into<String>) -> Self {
        self.sow_topic(SowConfig::new(topic, key))
    }

    /// Adds a SOW topic.
    #[must_use]
    pub fn sow_topic(mut self, sow: SowConfig) -> Self {
        self.sow.push(sow);
        self
    }

    /// Says what the messages of a topic are written in: where filters, keys, deltas
    /// and select lists find their fields. Default: JSON, of a queue that of the topic
    /// it is made of. Connections of another type do not see the topic (AMPS User
    /// Guide, "Topics"); what is not named here is of the type of every connection.
    #[must_use]
    pub fn message_type(mut self, topic: impl Into<String>, message_type: MessageType) -> Self {
        self.message_types.push((topic.into(), message_type));
        self
    }

    /// What the messages of a topic are written in.
    pub(crate) fn type_of(&self, topic: &str) -> &MessageType {
        // As filters have it: the last that was said.
        let mut types = self.message_types.iter().rev();
        types.find(|(named, _)| named == topic).map_or(&MessageType::Json, |(_, message_type)| message_type)
    }

    /// Adds a message queue.
    #[must_use]
    pub fn queue(mut self, queue: QueueConfig) -> Self {
        self.queues.push(queue);
        self
    }

    /// Adds a peer to push the log to.
    #[must_use]
    pub fn peer(mut self, uri: impl Into<String>, link: Link) -> Self {
        self.peers.push(PeerConfig { uri: uri.into(), link });
        self
    }

    /// Sets the default period of conflated persisted acks.
    #[must_use]
    pub fn ack_conflation(mut self, period: Duration) -> Self {
        self.ack_conflation = period;
        self
    }

    /// Sets the incarnation; see the field.
    #[must_use]
    pub fn incarnation(mut self, incarnation: u64) -> Self {
        self.incarnation = incarnation;
        self
    }
}

impl fmt::Debug for Config {
    /// Peers' connection strings may hold passwords, so only their number is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("topic_log", &self.topic_log)
            .field("sow", &self.sow)
            .field("queues", &self.queues)
            .field("peers", &self.peers.len())
            .field("ack_conflation", &self.ack_conflation)
            .finish_non_exhaustive()
    }
}

fn every_topic() -> Regex {
    Regex::new("").expect("the empty pattern is valid")
}
