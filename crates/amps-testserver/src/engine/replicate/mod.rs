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

mod incoming;
mod outgoing;

use std::time::Instant;

use amps_core::message::MessageKind;
use amps_core::{Field, Message, planted};

pub(super) use self::incoming::Source;
pub(super) use self::outgoing::Destination;
use super::connection::{Close, Connection, Role};
use super::{ConnId, Engine};
use crate::config::{Link, PeerConfig};

/// The first command of a link.
pub(super) const REPLICATE: &str = "replicate";
const STATE: &str = "replica_state";
const REPLICA: &str = "replica";
const ACK: &str = "replica_ack";
/// What an instance would take over of a queue; see [`queue`](super::queue).
pub(super) const WANTS: &str = "queue_wants";
/// The instance a client published a message to, in `replica`.
const ORIGIN: Field = Field::UserId;

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

impl Engine {
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

    /// Waits for a peer again, named by its connection string or instance name:
    /// messages are acknowledged as persisted once it has them, too. What was
    /// promised without it stays promised. Answers whether there is such a peer.
    ///
    /// The end of a [`downgrade`](Self::downgrade), for when the peer has caught
    /// up: until it has, nothing new is acknowledged.
    pub fn upgrade(&mut self, now: Instant, peer: &str) -> bool {
        self.advance(now);
        let found = self.peers.iter_mut().filter(|p| p.uri == peer || p.name.as_deref() == Some(peer));
        let count = found.map(|p| p.link = Link::Sync).count();
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
        if planted::is("server-acks-before-it-replicates") {
            return self.log.len();
        }
        let sync = self.peers.iter().filter(|peer| peer.link == Link::Sync);
        let acknowledged = sync.map(|peer| peer.acknowledged).min().unwrap_or(self.log.len());
        acknowledged.max(self.promised).min(self.log.len())
    }

    /// A frame on an established link.
    pub(super) fn replication_frame(&mut self, id: ConnId, message: &Message) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let done = match (&mut connection.role, message.raw(Field::Command)) {
            _ if message.kind() == MessageKind::Heartbeat => Some(()),
            (Role::Destination(_), Some(STATE)) => self.peer_state(id, message),
            (Role::Destination(_), Some(ACK)) => self.peer_ack(id, message),
            (Role::Destination(_), Some(WANTS)) => self.take_wants(id, message),
            (Role::Source(_), Some(REPLICA)) => self.take_replica(id, message),
            _ => None,
        };
        if done.is_none() {
            self.stats.violation(id, format!("malformed replication frame {message:?}"));
            self.close(id, Close::Abort, "malformed replication frame");
        }
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

    /// A connection ended; if it was a link, its peer is dialed again.
    pub(super) fn link_lost(&mut self, id: ConnId, connection: &Connection) {
        if let Role::Source(_) = &connection.role {
            self.queues.stir();
        }
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
            Role::Source(source) => source.name() == name,
            Role::Destination(destination) => destination.name == name || peers[destination.peer].uri == name,
            _ => false,
        };
        let links: Vec<_> = self.connections.iter().filter(|(_, c)| linked(c)).map(|(id, _)| *id).collect();
        for id in links {
            self.close(id, Close::Abort, "cut by a fault");
        }
    }
}
