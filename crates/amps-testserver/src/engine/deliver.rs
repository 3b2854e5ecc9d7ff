//! Messages to subscribers: live ones as they are published, logged ones as
//! each connection drains.

use std::borrow::Cow;
use std::sync::Arc;

use amps_core::header::FrameWriter;
use amps_core::{AckType, Bookmark, Field};
use bytes::{Bytes, BytesMut};

use super::ack::AckFrame;
use super::connection::Role;
use super::delta::Update;
use super::interest::{Before, Interest};
use super::outbox::CHUNK_BYTES;
use super::topics::{Recipients, Route};
use super::{ConnId, Engine};
use crate::faults::Access;
use crate::filter::Subject;
use crate::log::Entry;
use crate::sow::{SowRecord, key_text};

impl Engine {
    /// Sends a message to the plain subscriptions that match it: one frame a
    /// connection, with the ids of all that match. Those that matched the
    /// record before it and do not match it are told, if they asked.
    pub(super) fn deliver_live(&mut self, entry: &Entry, bookmark: Option<Bookmark>, before: Option<&SowRecord>) {
        let routes = self.topics.routes(entry.topic).unwrap_or_else(|| self.find_routes(entry.topic));
        if routes.is_empty() {
            return;
        }
        let (topic, instance) = (Arc::clone(&self.topics.get(entry.topic).name), Arc::clone(&self.name));
        let message = Subject::new(&instance, &topic, &entry.body);
        let old = before.map(|record| Subject::new(&instance, &topic, &record.body));
        let key = self.topics.get(entry.topic).sow.map(|sow| Arc::clone(&self.sow[sow].key));
        let update = before.zip(key).map(|(record, key)| Update::new(key, &record.body, &entry.body));
        let old = old.as_ref().zip(update.as_ref()).map(|(record, update)| Before { record, update });
        for route in routes.iter() {
            let Some(connection) = self.connections.get_mut(&route.connection) else { continue };
            if connection.close.is_some() {
                continue;
            }
            let out = connection.outbox.tail();
            let length = out.len();
            if route.some.is_empty() {
                write_message(out, &topic, &route.all, entry, bookmark, &entry.body);
            } else {
                let reach = route.reach(&message, old);
                if !reach.delivered.sids.is_empty() {
                    let delta = old.filter(|_| !reach.whole).map(|old| old.update.body(reach.send_keys));
                    let body = delta.as_ref().unwrap_or(&entry.body);
                    write_message(out, &topic, &reach.delivered, entry, bookmark, body);
                }
                if !reach.unmatched.sids.is_empty() {
                    write_out_of_focus(out, &topic, &reach.unmatched, "match", entry.into(), entry.processed);
                }
                if let Some(record) = before.filter(|_| !reach.hidden.sids.is_empty()) {
                    // Its user may not see the new one.
                    write_out_of_focus(out, &topic, &reach.hidden, "entitlement", record.into(), entry.processed);
                }
            }
            if out.len() > length {
                self.mark(route.connection);
                self.limit_outbox(route.connection);
            }
        }
    }

    /// Tells the plain subscriptions that asked that a record is gone, and why.
    pub(super) fn deliver_deleted(&mut self, topic: u32, record: &SowRecord, reason: &str) {
        let routes = self.topics.routes(topic).unwrap_or_else(|| self.find_routes(topic));
        let (topic, instance) = (Arc::clone(&self.topics.get(topic).name), Arc::clone(&self.name));
        let subject = Subject::new(&instance, &topic, &record.body);
        let now = self.processed_now();
        for route in routes.iter() {
            let to = route.lose(&subject);
            let Some(connection) = self.connections.get_mut(&route.connection) else { continue };
            if connection.close.is_some() || to.sids.is_empty() {
                continue;
            }
            write_out_of_focus(connection.outbox.tail(), &topic, &to, reason, record.into(), now);
            self.mark(route.connection);
            self.limit_outbox(route.connection);
        }
    }

    fn find_routes(&mut self, topic: u32) -> Arc<[Route]> {
        let name = Arc::clone(&self.topics.get(topic).name);
        let has_records = self.topics.get(topic).sow.is_some();
        let mut routes = Vec::new();
        if self.queues.is_queue(&name) {
            // The queue has its messages.
            return self.topics.set_routes(topic, routes);
        }
        for (id, connection) in &mut self.connections {
            let mut route =
                Route { connection: *id, all: Recipients::default(), told: Recipients::default(), some: Vec::new() };
            let (user, subscriptions) = connection.readers();
            for subscription in subscriptions {
                let content = |name: &str| self.faults.content(|| user, Access::Read, name);
                if subscription.replay.is_some() || !subscription.matches(topic, &name, content) {
                    continue;
                }
                let terms = subscription.terms(topic);
                // Without records there are no deltas.
                let deltas = subscription.deltas.filter(|_| has_records);
                if terms.is_empty() && deltas.is_none() {
                    route.all.add(&subscription.id, &subscription.wants);
                    if subscription.oof {
                        route.told.add(&subscription.id, &subscription.wants);
                    }
                    continue;
                }
                route.some.push(Interest {
                    id: subscription.id.clone(),
                    own: terms.own.cloned(),
                    entitled: terms.entitled.cloned(),
                    oof: subscription.oof,
                    deltas,
                    wants: subscription.wants.clone(),
                });
            }
            if !route.all.sids.is_empty() || !route.some.is_empty() {
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
        let mut recipients = Recipients::default();
        loop {
            self.complete_replays(id);
            let Some(connection) = self.connections.get_mut(&id) else { return };
            let limit = |fully_durable: bool| if fully_durable { replicated.min(end) } else { end };
            let replays = connection.subscriptions.iter().filter_map(|s| s.replay.as_ref()).filter(|r| !r.paused);
            let next = replays.filter(|r| r.cursor < limit(r.fully_durable)).map(|r| r.cursor).min();
            let Some(position) = next.filter(|_| connection.outbox.buffered() < CHUNK_BYTES) else { break };
            let entry = self.log.entry(position);
            let topic = &self.topics.get(entry.topic).name;
            let message = Subject::new(&self.name, topic, &entry.body);
            recipients.sids.clear();
            let (user, subscriptions) = connection.readers();
            for subscription in subscriptions {
                let Some(replay) = &mut subscription.replay else { continue };
                if replay.paused || replay.cursor != position || position >= limit(replay.fully_durable) {
                    continue;
                }
                replay.cursor += 1;
                let content = |name: &str| self.faults.content(|| user, Access::Read, name);
                let matches = subscription.matches(entry.topic, topic, content);
                // A deletion is logged, not replayed.
                if entry.deletes.is_some() || !matches || !subscription.terms(entry.topic).accept(&message) {
                    continue;
                }
                recipients.add(&subscription.id, &subscription.wants);
                if let Some(remaining) = subscription.replay.as_mut().and_then(|replay| replay.remaining.as_mut()) {
                    *remaining = remaining.saturating_sub(1);
                }
            }
            if !recipients.sids.is_empty() {
                let bookmark = Some(self.log.bookmark(position));
                write_message(connection.outbox.tail(), topic, &recipients, entry, bookmark, &entry.body);
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

/// One publish message to a client.
fn write_message(
    out: &mut BytesMut,
    topic: &str,
    to: &Recipients,
    entry: &Entry,
    bookmark: Option<Bookmark>,
    body: &Bytes,
) {
    let wants = &to.wants;
    let bookmark = bookmark.filter(|_| wants.bookmark).map(|bookmark| bookmark.to_string());
    let key = entry.sow_key.filter(|_| wants.key).map(|key| key_text(key, entry.given_key.as_deref()));
    FrameWriter::new(out, "p")
        .text(Field::Topic, topic)
        .text(Field::SubscriptionIds, &to.sids)
        .maybe(Field::Bookmark, bookmark.as_deref())
        .maybe(Field::SowKey, key.as_deref())
        .maybe(Field::CorrelationId, entry.correlation_id.as_deref())
        .maybe(Field::Timestamp, wants.timestamp(entry.processed).as_deref())
        .finish(&wants.part(body));
}

/// A record that is no longer what somebody asked for, as it is told.
pub(super) struct Lost<'r> {
    key: Option<Cow<'r, str>>,
    correlation_id: Option<&'r str>,
    body: &'r Bytes,
}

impl<'r> From<&'r Entry> for Lost<'r> {
    fn from(entry: &'r Entry) -> Self {
        let key = entry.sow_key.map(|key| key_text(key, entry.given_key.as_deref()));
        Self { key, correlation_id: entry.correlation_id.as_deref(), body: &entry.body }
    }
}

impl<'r> From<&'r SowRecord> for Lost<'r> {
    fn from(record: &'r SowRecord) -> Self {
        Self { key: Some(record.key_text()), correlation_id: record.correlation_id.as_deref(), body: &record.body }
    }
}

/// Tells subscriptions that a record is no longer what they asked for: its key,
/// correlation id and body (AMPS Command Reference, "oof").
pub(super) fn write_out_of_focus(
    out: &mut BytesMut,
    topic: &str,
    to: &Recipients,
    reason: &str,
    record: Lost<'_>,
    processed: u64,
) {
    let Lost { key, correlation_id, body } = record;
    let body = to.wants.part(body);
    FrameWriter::new(out, "oof")
        .text(Field::Topic, topic)
        .maybe(Field::SowKey, key.as_deref())
        .text(Field::SubscriptionIds, &to.sids)
        .text(Field::Reason, reason)
        .maybe(Field::CorrelationId, correlation_id)
        .maybe(Field::Timestamp, to.wants.timestamp(processed).as_deref())
        .number(Field::MessageLength, body.len() as u64)
        .finish(&body);
}
