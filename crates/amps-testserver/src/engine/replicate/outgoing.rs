//! The end of a link that sends this instance's log.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use amps_core::header::FrameWriter;
use amps_core::{Field, Message, planted};

use super::{ORIGIN, Peer, PeerState, REPLICA, REPLICATE};
use crate::engine::connection::{Close, Role};
use crate::engine::outbox::CHUNK_BYTES;
use crate::engine::queue::Wants;
use crate::engine::{ConnId, Engine, PeerId};

/// The outgoing end of a link.
#[derive(Debug)]
pub(in crate::engine) struct Destination {
    pub(super) peer: usize,
    pub(super) name: String,
    pub(super) incarnation: String,
    /// The next log position; `None` until the peer told what it has.
    pub(super) cursor: Option<usize>,
    /// What the peer has, per publisher id.
    pub(super) known: HashMap<u64, u64>,
    /// The last position sent and not acknowledged.
    outstanding: Option<usize>,
    /// Messages of queues it would take over.
    pub(in crate::engine) wants: Wants,
}

impl Destination {
    pub(in crate::engine) fn name(&self) -> &str {
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
            wants: Wants::default(),
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

    /// What the peer has: the resync starts behind it.
    pub(super) fn peer_state(&mut self, id: ConnId, message: &Message) -> Option<()> {
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
    pub(super) fn peer_ack(&mut self, id: ConnId, message: &Message) -> Option<()> {
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

    /// Produces the next chunk of the log for a peer.
    pub(in crate::engine) fn pump_replication(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Role::Destination(destination) = &mut connection.role else { return };
        let Some(mut cursor) = destination.cursor else { return };
        let out = connection.outbox.tail();
        while cursor < self.log.len() && out.len() < CHUNK_BYTES {
            let entry = self.log.entry(cursor);
            let publisher = self.log.publisher(entry.publisher);
            let withheld = planted::is("server-does-not-pass-on") && !entry.direct;
            if !withheld && destination.known.get(&publisher.id).is_none_or(|known| *known < entry.sequence) {
                destination.outstanding = Some(cursor);
                let deletes = entry.deletes.as_deref().map(write_keys);
                let origin = if entry.direct { Some(self.config.name.as_str()) } else { entry.origin.as_deref() };
                let mut frame = FrameWriter::new(out, REPLICA);
                if let Some(seconds) = entry.expiration {
                    frame = frame.number(Field::Expiration, seconds);
                }
                frame
                    .text(Field::Topic, &self.topics.get(entry.topic).name)
                    .text(Field::Bookmark, &self.log.bookmark(cursor).to_string())
                    .text(Field::ClientName, &publisher.name)
                    .maybe(ORIGIN, origin)
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
}

/// The keys of a deletion, comma separated.
fn write_keys(keys: &[u64]) -> String {
    keys.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

fn blocks(blocked: &BTreeSet<String>, peer: &Peer) -> bool {
    blocked.contains(&peer.uri) || peer.name.as_ref().is_some_and(|name| blocked.contains(name))
}
