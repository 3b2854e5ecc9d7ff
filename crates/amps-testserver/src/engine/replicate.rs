//! Replication between instances: a private protocol on the same port.
//!
//! The source dials and sends `replicate`; the destination answers
//! `replica_state`, its highest sequence per publisher; the source then sends
//! `replica` frames in its own log order, everything the destination lacks,
//! and the destination answers `replica_ack` with the source's log position
//! once the messages are in its journal.
//!
//! Why nothing is lost: each instance's log holds, per publisher, every
//! message up to its highest. A link starts at or below the destination's
//! highest and leaves nothing out, so what arrives on any link extends what
//! is there without a hole, whichever links, clients and restarts interleave.
//! For that to hold an instance must pass on what it got from others as well:
//! a publisher that moves from one instance to another would otherwise be
//! seen with a hole by a third, which then drops the late messages for good.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Instant;

use amps_core::header::FrameWriter;
use amps_core::message::MessageKind;
use amps_core::{Field, Message};

use super::connection::{Close, Connection, Role};
use super::outbox::CHUNK_BYTES;
use super::{ConnId, Engine, PeerId};
use crate::config::{Link, PeerConfig};
use crate::log::Entry;

/// The first command of a link.
pub(super) const REPLICATE: &str = "replicate";
const STATE: &str = "replica_state";
const REPLICA: &str = "replica";
const ACK: &str = "replica_ack";

/// A configured peer.
#[derive(Debug)]
pub(super) struct Peer {
    uri: String,
    link: Link,
    state: PeerState,
    /// Its instance's name, once it answered.
    name: Option<String>,
    /// It holds this instance's log before this position.
    acknowledged: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PeerState {
    /// To be dialed, from that moment on if there is one.
    Idle(Option<Instant>),
    Dialing,
    Linked(ConnId),
}

impl Peer {
    pub(super) fn new(config: &PeerConfig) -> Self {
        let state = PeerState::Idle(None);
        Self { uri: config.uri.clone(), link: config.link, state, name: None, acknowledged: 0 }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        if let PeerState::Idle(at) = self.state { at } else { None }
    }
}

/// The outgoing end of a link.
#[derive(Debug)]
pub(super) struct Destination {
    peer: usize,
    name: String,
    incarnation: String,
    /// The next log position; `None` until the peer told what it has.
    cursor: Option<usize>,
    /// What the peer has, per publisher id.
    known: HashMap<u64, u64>,
    /// The last position sent and not acknowledged.
    outstanding: Option<usize>,
}

/// The incoming end of a link.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    incarnation: String,
    /// The sender's log position of the last message taken, and the last
    /// acknowledged.
    taken: Option<u64>,
    acknowledged: Option<u64>,
}

impl Destination {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Source {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Engine {
    /// A peer to dial now, with its connection string. Answer with
    /// [`dialed`](Self::dialed) or [`dial_failed`](Self::dial_failed); until
    /// then the peer is not given out again. Ask after every call that takes
    /// the time.
    #[must_use]
    pub fn poll_dial(&mut self, now: Instant) -> Option<(PeerId, String)> {
        self.advance(now);
        let due = |peer: &Peer| matches!(peer.state, PeerState::Idle(at) if at.is_none_or(|at| at <= now));
        let blocked = &self.faults.blocked;
        let ix = self.peers.iter().position(|peer| due(peer) && !blocks(blocked, peer))?;
        self.peers[ix].state = PeerState::Dialing;
        Some((PeerId(ix), self.peers[ix].uri.clone()))
    }

    /// A dialed peer is connected. From here the connection is like an
    /// accepted one.
    pub fn dialed(&mut self, now: Instant, peer: PeerId) -> ConnId {
        let destination = Destination {
            peer: peer.0,
            name: String::new(),
            incarnation: String::new(),
            cursor: None,
            known: HashMap::new(),
            outstanding: None,
        };
        let id = self.connect(now, Role::Destination(destination));
        self.peers[peer.0].state = PeerState::Linked(id);
        if let Some(connection) = self.connections.get_mut(&id) {
            FrameWriter::new(connection.outbox.tail(), REPLICATE)
                .text(Field::ClientName, &self.config.name)
                .text(Field::CorrelationId, &self.config.incarnation.to_string())
                .finish(&[]);
        }
        self.mark(id);
        self.arm(now + self.config.link_timeout / 4);
        id
    }

    /// A dialed peer could not be connected; it is dialed again later.
    pub fn dial_failed(&mut self, now: Instant, peer: PeerId) {
        self.advance(now);
        self.redial(peer.0);
    }

    /// No longer waits for a peer, named by its connection string or instance
    /// name: the link becomes asynchronous and waiting persisted acks are
    /// released. Answers whether there is such a peer.
    ///
    /// Clients must not fail over to a downgraded peer
    /// (AMPS User Guide, "Automatically Downgrading a Destination").
    pub fn downgrade(&mut self, now: Instant, peer: &str) -> bool {
        self.advance(now);
        let found = self.peers.iter_mut().filter(|p| p.uri == peer || p.name.as_deref() == Some(peer));
        let count = found.map(|p| p.link = Link::Async).count();
        self.end_turn();
        count > 0
    }

    fn redial(&mut self, peer: usize) {
        let at = self.now() + self.config.redial_delay;
        self.peers[peer].state = PeerState::Idle(Some(at));
        self.arm(at);
    }

    /// Every synchronous peer holds the log before this position.
    pub(super) fn replicated(&self) -> usize {
        let sync = self.peers.iter().filter(|peer| peer.link == Link::Sync);
        let acknowledged = sync.map(|peer| peer.acknowledged).min().unwrap_or(self.log.len());
        acknowledged.max(self.promised).min(self.log.len())
    }

    /// `replicate`: another instance wants to send its log.
    pub(super) fn replicate(&mut self, id: ConnId, message: &Message) {
        let name = message.text(Field::ClientName).unwrap_or_default().into_owned();
        let incarnation = message.text(Field::CorrelationId).unwrap_or_default().into_owned();
        if name == self.config.name {
            self.stats.violation(id, format!("a peer has this instance's own name '{name}'"));
            return self.close(id, Close::Abort, "a peer has this instance's own name");
        }
        if self.faults.blocked.contains(&name) {
            return self.close(id, Close::Abort, "blocked by a fault");
        }
        let same = |c: &Connection| matches!(&c.role, Role::Source(source) if source.name == name);
        let old: Vec<_> = self.connections.iter().filter(|(_, c)| same(c)).map(|(id, _)| *id).collect();
        for id in old {
            self.close(id, Close::Abort, "the peer has a newer link");
        }
        let mut state = String::new();
        for publisher in self.log.publishers().iter().filter(|publisher| publisher.highest() > 0) {
            let _ = writeln!(state, "{} {}", publisher.id, publisher.highest());
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.role = Role::Source(Source { name, incarnation, taken: None, acknowledged: None });
        FrameWriter::new(connection.outbox.tail(), STATE)
            .text(Field::ClientName, &self.config.name)
            .text(Field::CorrelationId, &self.config.incarnation.to_string())
            .finish(state.as_bytes());
        self.mark(id);
        self.arm(self.now() + self.config.link_timeout / 4);
    }

    /// A frame on an established link.
    pub(super) fn replication_frame(&mut self, id: ConnId, message: &Message) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let done = match (&mut connection.role, message.raw(Field::Command)) {
            _ if message.kind() == MessageKind::Heartbeat => Some(()),
            (Role::Destination(_), Some(STATE)) => self.peer_state(id, message),
            (Role::Destination(_), Some(ACK)) => self.peer_ack(id, message),
            (Role::Source(_), Some(REPLICA)) => self.take_replica(id, message),
            _ => None,
        };
        if done.is_none() {
            self.stats.violation(id, format!("malformed replication frame {message:?}"));
            self.close(id, Close::Abort, "malformed replication frame");
        }
    }

    /// What the peer has: the resync starts behind it.
    fn peer_state(&mut self, id: ConnId, message: &Message) -> Option<()> {
        let name = message.text(Field::ClientName)?.into_owned();
        let incarnation = message.text(Field::CorrelationId)?.into_owned();
        let lines = std::str::from_utf8(message.data()).ok()?.lines();
        let known: HashMap<u64, u64> = lines
            .map(|line| line.split_once(' ').and_then(|(id, s)| Some((id.parse().ok()?, s.parse().ok()?))))
            .collect::<Option<_>>()?;
        if self.faults.blocked.contains(&name) {
            self.close(id, Close::Abort, "blocked by a fault");
            return Some(());
        }
        let start = self.log.first_unknown(&known);
        let Role::Destination(destination) = &mut self.connections.get_mut(&id)?.role else { return None };
        destination.name.clone_from(&name);
        destination.incarnation = incarnation;
        destination.known = known;
        destination.cursor = Some(start);
        let peer = &mut self.peers[destination.peer];
        peer.name = Some(name);
        peer.acknowledged = peer.acknowledged.max(start);
        self.stats.linked_peers += 1;
        self.mark(id);
        Some(())
    }

    /// The peer holds everything sent to it up to this position.
    fn peer_ack(&mut self, id: ConnId, message: &Message) -> Option<()> {
        let position = usize::try_from(message.number(Field::GroupSequence)?).ok()?;
        let Role::Destination(destination) = &mut self.connections.get_mut(&id)?.role else { return None };
        let cursor = destination.cursor.filter(|cursor| position < *cursor)?;
        let through = if destination.outstanding.is_none_or(|last| last <= position) {
            destination.outstanding = None;
            cursor
        } else {
            position + 1
        };
        let peer = &mut self.peers[destination.peer];
        peer.acknowledged = peer.acknowledged.max(through);
        Some(())
    }

    /// A message of the peer's log, kept unless it is already here.
    fn take_replica(&mut self, id: ConnId, message: &Message) -> Option<()> {
        let bookmark = message.bookmark()?;
        let client_name = message.text(Field::ClientName)?;
        let topic_name = message.topic()?;
        let position = message.number(Field::GroupSequence)?;
        let body = message.data_bytes();
        let publisher = self.log.intern(bookmark.publisher, &client_name);
        if bookmark.sequence > self.log.publisher(publisher).highest() {
            if self.log.bytes() + body.len() > self.config.log_limit {
                self.close(id, Close::Abort, "transaction log full");
                return Some(());
            }
            let topic = self.topic(&topic_name);
            let deletes = match message.text(Field::SowKeys) {
                Some(keys) => Some(read_keys(&keys)?),
                None => None,
            };
            let given_key = self.given_key(topic, message);
            let sow_key = self.sow_key(topic, given_key.as_deref(), &body).filter(|_| deletes.is_none());
            let expiration = message.number(Field::Expiration);
            let correlation_id = message.text(Field::CorrelationId).map(|id| id.as_ref().into());
            let sequence = bookmark.sequence;
            let direct = false;
            let processed = self.processed_now();
            self.append(Entry {
                publisher,
                topic,
                sequence,
                direct,
                sow_key,
                given_key,
                expiration,
                deletes,
                correlation_id,
                processed,
                body,
            });
        } else {
            self.stats.replica_duplicates += 1;
        }
        let Role::Source(source) = &mut self.connections.get_mut(&id)?.role else { return None };
        source.taken = Some(position);
        let (name, incarnation) = (source.name.clone(), source.incarnation.clone());
        self.peer_has(&name, &incarnation, bookmark.publisher, bookmark.sequence);
        Some(())
    }

    /// What came from a peer does not go back to it. Only while it is the same
    /// life of the peer: one that lost its log must get everything.
    fn peer_has(&mut self, name: &str, incarnation: &str, publisher: u64, sequence: u64) {
        for peer in &self.peers {
            let PeerState::Linked(link) = peer.state else { continue };
            if let Some(Role::Destination(destination)) = self.connections.get_mut(&link).map(|c| &mut c.role)
                && destination.name == name
                && destination.incarnation == incarnation
            {
                let known = destination.known.entry(publisher).or_default();
                *known = (*known).max(sequence);
            }
        }
    }

    /// Acknowledges what the turn took from a peer. The turn commits before
    /// the bytes can be sent.
    pub(super) fn acknowledge_replica(&mut self, id: ConnId) {
        let withheld = self.faults.withhold_replica_acks;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Role::Source(source) = &mut connection.role else { return };
        if let Some(position) = source.taken.filter(|taken| source.acknowledged != Some(*taken) && !withheld) {
            source.acknowledged = source.taken;
            FrameWriter::new(connection.outbox.tail(), ACK).number(Field::GroupSequence, position).finish(&[]);
            self.mark(id);
        }
    }

    /// Produces the next chunk of the log for a peer.
    pub(super) fn pump_replication(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Role::Destination(destination) = &mut connection.role else { return };
        let Some(mut cursor) = destination.cursor else { return };
        let out = connection.outbox.tail();
        while cursor < self.log.len() && out.len() < CHUNK_BYTES {
            let entry = self.log.entry(cursor);
            let publisher = self.log.publisher(entry.publisher);
            if destination.known.get(&publisher.id).is_none_or(|known| *known < entry.sequence) {
                destination.outstanding = Some(cursor);
                let deletes = entry.deletes.as_deref().map(write_keys);
                let mut frame = FrameWriter::new(out, REPLICA);
                if let Some(seconds) = entry.expiration {
                    frame = frame.number(Field::Expiration, seconds);
                }
                frame
                    .text(Field::Topic, &self.topics.get(entry.topic).name)
                    .text(Field::Bookmark, &self.log.bookmark(cursor).to_string())
                    .text(Field::ClientName, &publisher.name)
                    .maybe(Field::CorrelationId, entry.correlation_id.as_deref())
                    .maybe(Field::SowKeys, deletes.as_deref())
                    .maybe(Field::SowKey, entry.given_key.as_deref())
                    .number(Field::GroupSequence, cursor as u64)
                    .finish(&entry.body);
            }
            cursor += 1;
        }
        destination.cursor = Some(cursor);
        if destination.outstanding.is_none() {
            let peer = &mut self.peers[destination.peer];
            peer.acknowledged = peer.acknowledged.max(cursor);
        }
    }

    /// A connection ended; if it was a link, its peer is dialed again.
    pub(super) fn link_lost(&mut self, id: ConnId, connection: &Connection) {
        if let Role::Destination(destination) = &connection.role {
            if destination.cursor.is_some() {
                self.stats.linked_peers -= 1;
            }
            if self.peers[destination.peer].state == PeerState::Linked(id) {
                self.redial(destination.peer);
            }
        }
    }

    /// Dial times that have come need no further deadline.
    pub(super) fn dials_due(&mut self, now: Instant) {
        for peer in &mut self.peers {
            if let PeerState::Idle(at) = &mut peer.state {
                at.take_if(|at| *at <= now);
            }
        }
    }

    /// Cuts the links with a peer.
    pub(super) fn cut_links(&mut self, name: &str) {
        let peers = &self.peers;
        let linked = |c: &Connection| match &c.role {
            Role::Source(source) => source.name == name,
            Role::Destination(destination) => destination.name == name || peers[destination.peer].uri == name,
            _ => false,
        };
        let links: Vec<_> = self.connections.iter().filter(|(_, c)| linked(c)).map(|(id, _)| *id).collect();
        for id in links {
            self.close(id, Close::Abort, "cut by a fault");
        }
    }
}

/// The keys of a deletion, comma separated.
fn write_keys(keys: &[u64]) -> String {
    keys.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

fn read_keys(text: &str) -> Option<Box<[u64]>> {
    text.split(',').filter(|key| !key.is_empty()).map(|key| key.parse().ok()).collect()
}

fn blocks(blocked: &std::collections::BTreeSet<String>, peer: &Peer) -> bool {
    blocked.contains(&peer.uri) || peer.name.as_ref().is_some_and(|name| blocked.contains(name))
}
