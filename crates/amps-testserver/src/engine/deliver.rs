//! Messages to subscribers: live ones as they are published, logged ones as
//! each connection drains.

use std::sync::Arc;

use amps_core::header::FrameWriter;
use amps_core::{AckType, Bookmark, Field};
use bytes::BytesMut;

use super::ack::AckFrame;
use super::connection::Role;
use super::outbox::CHUNK_BYTES;
use super::topics::Route;
use super::{ConnId, Engine};
use crate::log::Entry;

impl Engine {
    /// Sends a message to the plain subscriptions that match it: one frame a
    /// connection, with the ids of all that match.
    pub(super) fn deliver_live(&mut self, entry: &Entry, bookmark: Option<Bookmark>) {
        let routes = self.topics.routes(entry.topic).unwrap_or_else(|| self.find_routes(entry.topic));
        if routes.is_empty() {
            return;
        }
        let topic = Arc::clone(&self.topics.get(entry.topic).name);
        for route in routes.iter() {
            let Some(connection) = self.connections.get_mut(&route.connection) else { continue };
            if connection.close.is_some() {
                continue;
            }
            let bookmark = bookmark.filter(|_| route.send_bookmark);
            write_message(connection.outbox.tail(), &topic, &route.sids, entry, bookmark, route.send_key);
            self.mark(route.connection);
            self.limit_outbox(route.connection);
        }
    }

    fn find_routes(&mut self, topic: u32) -> Arc<[Route]> {
        let name = Arc::clone(&self.topics.get(topic).name);
        let mut routes = Vec::new();
        for (id, connection) in &mut self.connections {
            let mut route = Route { connection: *id, sids: String::new(), send_bookmark: false, send_key: false };
            for subscription in &mut connection.subscriptions {
                if subscription.replay.is_none() && subscription.matches(topic, &name) {
                    push_id(&mut route.sids, &subscription.id);
                    route.send_bookmark |= subscription.send_bookmark;
                    route.send_key |= subscription.send_key;
                }
            }
            if !route.sids.is_empty() {
                routes.push(route);
            }
        }
        self.topics.set_routes(topic, routes)
    }

    /// Produces the next chunk of what follows the log on a connection.
    pub(super) fn pump(&mut self, id: ConnId) {
        match self.connections.get(&id).map(|connection| &connection.role) {
            Some(Role::Destination(_)) => self.pump_replication(id),
            Some(Role::Client(_)) => self.pump_replays(id),
            _ => {}
        }
        self.end_turn();
    }

    /// Bookmark subscriptions at the same position move together, the ones
    /// furthest behind first; a message that several of them match is sent
    /// once.
    fn pump_replays(&mut self, id: ConnId) {
        let (end, replicated) = (self.log.len(), self.replicated());
        let mut moved = false;
        let mut sids = String::new();
        loop {
            self.complete_replays(id);
            let Some(connection) = self.connections.get_mut(&id) else { return };
            let limit = |fully_durable: bool| if fully_durable { replicated.min(end) } else { end };
            let replays = connection.subscriptions.iter().filter_map(|s| s.replay.as_ref()).filter(|r| !r.paused);
            let next = replays.filter(|r| r.cursor < limit(r.fully_durable)).map(|r| r.cursor).min();
            let Some(position) = next.filter(|_| connection.outbox.buffered() < CHUNK_BYTES) else { break };
            let entry = self.log.entry(position);
            let topic = &self.topics.get(entry.topic).name;
            let mut send_key = false;
            sids.clear();
            for subscription in &mut connection.subscriptions {
                // A deletion is logged, not replayed.
                let published = entry.deletes.is_none() && subscription.replay.is_some();
                let matches = published && subscription.matches(entry.topic, topic);
                let Some(replay) = &mut subscription.replay else { continue };
                if replay.paused || replay.cursor != position || position >= limit(replay.fully_durable) {
                    continue;
                }
                replay.cursor += 1;
                if matches {
                    push_id(&mut sids, &subscription.id);
                    send_key |= subscription.send_key;
                    replay.remaining = replay.remaining.map(|remaining| remaining.saturating_sub(1));
                }
            }
            if !sids.is_empty() {
                let bookmark = Some(self.log.bookmark(position));
                write_message(connection.outbox.tail(), topic, &sids, entry, bookmark, send_key);
            }
            moved = true;
        }
        if moved {
            self.watch_positions(id);
        }
    }

    /// Sends the completed acks that are due: a replay has reached where the
    /// log ended when it was entered, or its bound.
    fn complete_replays(&mut self, id: ConnId) {
        let mut acks = Vec::new();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.subscriptions.retain_mut(|subscription| {
            let Some(replay) = &mut subscription.replay else { return true };
            let bounded = replay.remaining == Some(0);
            if !replay.completed && !replay.paused && (replay.cursor >= replay.target || bounded) {
                replay.completed = true;
                if replay.wants_completed {
                    acks.push((subscription.command_id.clone(), subscription.id.clone(), replay.cursor));
                }
            }
            !bounded
        });
        for (command_id, sub_id, cursor) in acks {
            let bookmark = if cursor == 0 { "0".to_owned() } else { self.log.bookmark(cursor - 1).to_string() };
            let frame = AckFrame {
                command_id: Some(&command_id),
                subscription_id: Some(&sub_id),
                bookmark: Some(&bookmark),
                ..AckFrame::default()
            };
            self.send_ack(id, AckType::Completed, frame);
            self.watch_positions(id);
        }
    }

    /// Sees to it that subscriptions that asked are told about new persisted
    /// positions, once per conflation period.
    fn watch_positions(&mut self, id: ConnId) {
        let (now, delay) = (self.now(), self.faults.ack_delay);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.subscriptions.iter().any(|s| s.watches_persisted()) {
            return;
        }
        let Some(client) = connection.client_mut() else { return };
        let due = *client.positions_due.get_or_insert(now + client.conflation + delay);
        self.arm(due);
    }

    /// Sends the persisted acks of bookmark subscriptions: the last position
    /// all sync peers hold, and never one the subscription has not been sent.
    pub(super) fn send_positions(&mut self, id: ConnId) {
        if self.faults.withhold_acks {
            return;
        }
        let replicated = self.replicated();
        let mut acks = Vec::new();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for subscription in &mut connection.subscriptions {
            if !subscription.watches_persisted() {
                continue;
            }
            let Some(replay) = &mut subscription.replay else { continue };
            let through = replay.cursor.min(replicated);
            if through > replay.acknowledged {
                replay.acknowledged = through;
                acks.push((subscription.command_id.clone(), subscription.id.clone(), through));
            }
        }
        for (command_id, sub_id, through) in acks {
            self.promise(replicated);
            let bookmark = self.log.bookmark(through - 1).to_string();
            let frame = AckFrame {
                command_id: Some(&command_id),
                subscription_id: Some(&sub_id),
                bookmark: Some(&bookmark),
                ..AckFrame::default()
            };
            self.send_ack(id, AckType::Persisted, frame);
        }
    }
}

fn push_id(sids: &mut String, id: &str) {
    if !sids.is_empty() {
        sids.push(',');
    }
    sids.push_str(id);
}

/// One publish message to a client.
fn write_message(
    out: &mut BytesMut,
    topic: &str,
    sids: &str,
    entry: &Entry,
    bookmark: Option<Bookmark>,
    send_key: bool,
) {
    let bookmark = bookmark.map(|bookmark| bookmark.to_string());
    let key = entry.sow_key.filter(|_| send_key).map(|key| key.to_string());
    FrameWriter::new(out, "p")
        .text(Field::Topic, topic)
        .text(Field::SubscriptionIds, sids)
        .maybe(Field::Bookmark, bookmark.as_deref())
        .maybe(Field::SowKey, key.as_deref())
        .maybe(Field::CorrelationId, entry.correlation_id.as_deref())
        .finish(&entry.body);
}
