//! The end of a link that takes another instance's log.

use std::fmt::Write as _;

use amps_core::header::FrameWriter;
use amps_core::{Field, Message};

use super::{ACK, ORIGIN, STATE};
use crate::engine::connection::{Close, Connection, Role};
use crate::engine::queue::Wants;
use crate::engine::{ConnId, Engine};
use crate::log::Entry;

/// The incoming end of a link.
#[derive(Debug)]
pub(in crate::engine) struct Source {
    name: String,
    incarnation: String,
    /// The sender's log position of the last message taken, and the last
    /// acknowledged.
    taken: Option<u64>,
    acknowledged: Option<u64>,
    /// What it was last told that this instance would take over.
    pub(in crate::engine) asked: Wants,
}

impl Source {
    pub(in crate::engine) fn name(&self) -> &str {
        &self.name
    }
}

impl Engine {
    /// `replicate`: another instance wants to send its log.
    pub(in crate::engine) fn replicate(&mut self, id: ConnId, message: &Message) {
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
        connection.role =
            Role::Source(Source { name, incarnation, taken: None, acknowledged: None, asked: Wants::default() });
        self.queues.stir();
        FrameWriter::new(connection.outbox.tail(), STATE)
            .text(Field::ClientName, &self.config.name)
            .text(Field::CorrelationId, &self.config.incarnation.to_string())
            .finish(state.as_bytes());
        self.mark(id);
        self.arm(self.now() + self.config.link_timeout / 4);
    }

    /// A message of the peer's log, kept unless it is already here.
    pub(super) fn take_replica(&mut self, id: ConnId, message: &Message) -> Option<()> {
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
            let origin = message.text(ORIGIN).map(|name| self.log.instance(&name));
            let processed = self.processed_now();
            self.append(Entry {
                publisher,
                topic,
                sequence,
                direct,
                origin,
                sow_key,
                given_key,
                expiration,
                deletes,
                correlation_id,
                processed,
                body,
            });
            self.apply_queue_change(self.log.len() - 1);
        } else {
            self.stats.replica_duplicates += 1;
        }
        let Role::Source(source) = &mut self.connections.get_mut(&id)?.role else { return None };
        source.taken = Some(position);
        let (name, incarnation) = (source.name.clone(), source.incarnation.clone());
        self.peer_has(&name, &incarnation, bookmark.publisher, bookmark.sequence);
        Some(())
    }

    /// Acknowledges what the turn took from a peer. The turn commits before
    /// the bytes can be sent.
    pub(in crate::engine) fn acknowledge_replica(&mut self, id: ConnId) {
        let withheld = self.faults.withhold_replica_acks;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Role::Source(source) = &mut connection.role else { return };
        if let Some(position) = source.taken.filter(|taken| source.acknowledged != Some(*taken) && !withheld) {
            source.acknowledged = source.taken;
            FrameWriter::new(connection.outbox.tail(), ACK).number(Field::GroupSequence, position).finish(&[]);
            self.mark(id);
        }
    }
}

fn read_keys(text: &str) -> Option<Box<[u64]>> {
    text.split(',').filter(|key| !key.is_empty()).map(|key| key.parse().ok()).collect()
}
