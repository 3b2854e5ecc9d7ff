//! Messages to subscribers: live ones as they are published, logged ones as
//! each connection drains.

use std::sync::Arc;

use amps_core::{AckType, Bookmark};

use super::ack::AckFrame;
use super::conflation::{Change, Conflation, First};
use super::connection::Role;
use super::content::{Content, Stored, write_message, write_out_of_focus};
use super::delta::Update;
use super::interest::{Before, Interest};
use super::outbox::CHUNK_BYTES;
use super::subscribe::Replay;
use super::topics::{Recipients, Route};
use super::view::Changed;
use super::{ConnId, Engine};
use crate::faults::Access;
use crate::filter::Subject;
use crate::log::Entry;
use crate::sow::SowRecord;

impl Engine {
    /// Sends a message to the plain subscriptions that match it: one frame a
    /// connection, with the ids of all that match. Those that matched the
    /// record before it and do not match it are told, if they asked.
    pub(super) fn deliver_live(&mut self, entry: &Entry, bookmark: Option<Bookmark>, before: Option<&SowRecord>) {
        let routes = self.routes(entry.topic);
        if routes.is_empty() {
            return;
        }
        let (topic, instance) = (Arc::clone(&self.topics.get(entry.topic).name), Arc::clone(&self.about));
        let client = Arc::clone(&self.log.publisher(entry.publisher).name);
        let message = Subject::new(&instance, &topic, &entry.body).by(&client);
        let old = before.map(|record| Subject::record(&instance, &topic, record));
        let key = self.topics.get(entry.topic).sow.map(|sow| Arc::clone(&self.sow[sow].key));
        let message_type = instance.message_type(&topic);
        let update = before.zip(key).map(|(record, key)| Update::new(key, message_type, &record.body, &entry.body));
        let record = old.as_ref().zip(before);
        let old = old.as_ref().zip(update.as_ref()).map(|(record, update)| Before { record, update });
        for route in routes.iter() {
            let Some(connection) = self.connections.get_mut(&route.connection) else { continue };
            if connection.close.is_some() {
                continue;
            }
            let out = connection.outbox.tail();
            let length = out.len();
            if route.some.is_empty() {
                if !route.all.sids.is_empty() {
                    write_message(out, &topic, &route.all, entry.into(), bookmark, entry.processed);
                }
            } else {
                let reach = route.reach(&message, old);
                if !reach.delivered.sids.is_empty() {
                    let delta = old.filter(|_| !reach.whole).map(|old| old.update.body(reach.send_keys));
                    let body = delta.as_ref().unwrap_or(&entry.body);
                    let content = Content { body, ..entry.into() };
                    write_message(out, &topic, &reach.delivered, content, bookmark, entry.processed);
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
            let first = First { bookmark, processed: entry.processed, position: None };
            for interest in &route.conflated {
                let Some((had, change)) = interest.change(&message, record, || entry.into()) else { continue };
                let now = if let Change::Is(content) = &change { Some(content.clone()) } else { None };
                if !self.hold(route.connection, interest, (entry.topic, entry.sow_key), first, had, change)
                    && let Some(content) = now
                {
                    self.write_now(route.connection, &topic, interest, &content, first);
                }
            }
            let changed = Changed { key: entry.sow_key, gone: None, bookmark, processed: entry.processed };
            for sub_id in &route.views {
                self.update_view(route.connection, sub_id, changed);
            }
        }
    }

    /// Sends a message that cannot be conflated to a subscription that would.
    fn write_now(&mut self, id: ConnId, topic: &str, interest: &Interest, content: &Stored, first: First) {
        let mut to = Recipients::default();
        to.add(&interest.id, &interest.wants);
        if let Some(connection) = self.connections.get_mut(&id) {
            write_message(connection.outbox.tail(), topic, &to, content.into(), first.bookmark, first.processed);
            self.mark(id);
            self.limit_outbox(id);
        }
    }

    /// Tells the plain subscriptions that asked that a record is gone, and why.
    pub(super) fn deliver_deleted(&mut self, topic: u32, record: &SowRecord, reason: &'static str) {
        let number = topic;
        let routes = self.routes(topic);
        let (topic, instance) = (Arc::clone(&self.topics.get(topic).name), Arc::clone(&self.about));
        let subject = Subject::record(&instance, &topic, record);
        let now = self.processed_now();
        for route in routes.iter() {
            let to = route.lose(&subject);
            let Some(connection) = self.connections.get_mut(&route.connection) else { continue };
            if connection.close.is_some() {
                continue;
            }
            if !to.sids.is_empty() {
                write_out_of_focus(connection.outbox.tail(), &topic, &to, reason, record.into(), now);
                self.mark(route.connection);
                self.limit_outbox(route.connection);
            }
            let first = First { bookmark: None, processed: now, position: None };
            for interest in route.conflated.iter().filter(|interest| interest.had(&subject)) {
                let at = (number, Some(record.key));
                self.hold(route.connection, interest, at, first, Some(record), Change::Gone(reason));
            }
            let changed = Changed { key: Some(record.key), gone: Some(reason), bookmark: None, processed: now };
            for sub_id in &route.views {
                self.update_view(route.connection, sub_id, changed);
            }
        }
    }

    /// Who gets a topic's messages.
    pub(super) fn routes(&mut self, topic: u32) -> Arc<[Route]> {
        self.topics.routes(topic).unwrap_or_else(|| self.find_routes(topic))
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
            let mut route = Route::new(*id);
            let (whose, subscriptions) = connection.readers();
            for subscription in subscriptions {
                let right =
                    |name: &str, pattern: &_| self.faults.right(whose, Access::Read, name, pattern, &self.about);
                if subscription.replay.is_some() || !subscription.matches(topic, &name, right) {
                    continue;
                }
                if subscription.view.is_some() {
                    route.views.push(subscription.id.clone());
                    continue;
                }
                let terms = subscription.terms(topic);
                // Without records there are no deltas.
                let deltas = subscription.deltas.filter(|_| has_records);
                let conflates = subscription.conflation.is_some();
                if terms.is_empty() && deltas.is_none() && !conflates {
                    route.all.add(&subscription.id, &subscription.wants);
                    if subscription.oof {
                        route.told.add(&subscription.id, &subscription.wants);
                    }
                    continue;
                }
                let list = if conflates { &mut route.conflated } else { &mut route.some };
                list.push(Interest {
                    id: subscription.id.clone(),
                    own: terms.own.cloned(),
                    entitled: terms.entitled.cloned(),
                    oof: subscription.oof,
                    deltas,
                    wants: subscription.wants.clone(),
                });
            }
            if !route.is_empty() {
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
        let (end, replicated, now) = (self.log.len(), self.replicated(), self.micros_now());
        let mut moved = false;
        let mut released = Vec::new();
        let mut recipients = Recipients::default();
        loop {
            self.complete_replays(id);
            let Some(connection) = self.connections.get_mut(&id) else { return };
            let log = &self.log;
            let limit = |replay: &Replay| replay.limit(log, end, replicated, now);
            let replays = connection.subscriptions.iter().filter_map(|s| s.replay.as_ref()).filter(|r| !r.paused);
            let replays = replays.filter(|r| r.waits_until().is_none_or(|until| until <= now));
            let next = replays.filter(|r| r.cursor < limit(r)).map(|r| r.cursor).min();
            let Some(position) = next.filter(|_| connection.outbox.buffered() < CHUNK_BYTES) else { break };
            let entry = self.log.entry(position);
            let topic = &self.topics.get(entry.topic).name;
            let message = Subject::entry(&self.about, topic, entry, log);
            recipients.sids.clear();
            let (whose, subscriptions) = connection.readers();
            for subscription in subscriptions {
                let Some(replay) = &subscription.replay else { continue };
                if replay.paused || replay.cursor != position || position >= limit(replay) {
                    continue;
                }
                let right =
                    |name: &str, pattern: &_| self.faults.right(whose, Access::Read, name, pattern, &self.about);
                // A deletion is logged, not replayed.
                let matches = subscription.matches(entry.topic, topic, right) && entry.deletes.is_none();
                let matches = matches && subscription.terms(entry.topic).accept(&message);
                let Some(replay) = &mut subscription.replay else { continue };
                let matches = matches && entry.processed >= replay.from;
                if matches && replay.is_too_early(entry, now) {
                    continue;
                }
                replay.cursor += 1;
                released.extend(subscription.released(entry.processed, true));
                if !matches {
                    continue;
                }
                let bookmark = Some(self.log.bookmark(position));
                let first = First { bookmark, processed: entry.processed, position: Some(position) };
                let message_type = self.about.message_type(topic);
                let key = |conflation: &mut Conflation| conflation.key(topic, message_type, entry.sow_key, &entry.body);
                let conflated = subscription.conflation.as_mut();
                let fresh = match conflated.and_then(|conflation| Some((key(conflation)?, conflation))) {
                    Some((key, conflation)) => {
                        conflation.hold(key, entry.topic, (first, now), None, Change::Is(entry.into()))
                    }
                    None => {
                        recipients.add(&subscription.id, &subscription.wants);
                        true
                    }
                };
                let remaining = subscription.replay.as_mut().and_then(|replay| replay.remaining.as_mut());
                if let Some(remaining) = remaining.filter(|_| fresh) {
                    *remaining = remaining.saturating_sub(1);
                }
            }
            if !recipients.sids.is_empty() {
                let bookmark = Some(self.log.bookmark(position));
                let out = connection.outbox.tail();
                write_message(out, topic, &recipients, entry.into(), bookmark, entry.processed);
            }
            moved = true;
            if !released.is_empty() {
                self.send_released(id, std::mem::take(&mut released));
            }
        }
        if let Some(at) = self.next_release() {
            self.arm(at);
        }
        if moved {
            self.watch_positions(id);
        }
    }

    /// Sends the completed acks that are due: a replay has reached where the
    /// log ended when it was entered, or its bound.
    fn complete_replays(&mut self, id: ConnId) {
        let now = self.micros_now();
        let mut acks = Vec::new();
        let mut released = Vec::new();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.subscriptions.retain_mut(|subscription| {
            let Some(replay) = &mut subscription.replay else { return true };
            let over = replay.is_over(&self.log, now);
            let caught_up = replay.until.is_none() && replay.cursor >= replay.target;
            if !replay.completed && !replay.paused && (caught_up || over) {
                replay.completed = true;
                if replay.wants_completed {
                    acks.push((subscription.command_id.clone(), subscription.id.clone(), replay.cursor));
                }
                // What is replayed comes before that is said.
                released.extend(subscription.released(u64::MAX, true));
            }
            !over
        });
        self.send_released(id, released);
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
            let held = subscription.conflation.as_ref().and_then(Conflation::first_position);
            let through = replay.cursor.min(replicated).min(held.unwrap_or(usize::MAX));
            if through > replay.acknowledged {
                replay.acknowledged = through;
                acks.push((subscription.command_id.clone(), subscription.id.clone(), through));
            }
        }
        for (command_id, sub_id, through) in acks {
            self.promise(replicated);
            let bookmark = self.log.bookmark(through - 1).to_string();
            let frame = AckFrame {
                command_id: Some(command_id.as_str()).filter(|_| !self.config.readings.no_command_id_in_positions),
                subscription_id: Some(&sub_id),
                bookmark: Some(&bookmark),
                ..AckFrame::default()
            };
            self.send_ack(id, AckType::Persisted, frame);
        }
    }
}
