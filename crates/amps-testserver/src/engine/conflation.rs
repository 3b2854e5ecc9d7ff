//! Conflated subscriptions: of the updates of a record within an interval the
//! last is sent, at its end (AMPS User Guide, "Conflated Subscriptions").

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use amps_core::{Bookmark, planted};

use super::content::{Content, Stored, write_message, write_out_of_focus};
use super::delta::{Deltas, Update};
use super::interest::Interest;
use super::subscribe::{Replay, Subscription};
use super::topics::Recipients;
use super::{ConnId, Engine};
use crate::fields::Values;
use crate::message_type::MessageType;
use crate::sow::SowRecord;

/// The interval where the server may choose it.
pub(super) const AUTO: Duration = Duration::from_millis(100);

/// Records one subscription has waiting at most: the oldest is sent early.
const HELD_MAX: usize = 10_000;

/// What a subscription conflates, and what waits for the end of its interval.
#[derive(Debug, Clone)]
pub(super) struct Conflation {
    /// In microseconds.
    interval: u64,
    /// The fields that say which messages are of one record; without them it
    /// is the SOW key.
    key: Option<Vec<String>>,
    held: BTreeMap<String, Held>,
    /// Their keys, by when they are due and by their order.
    ends: BTreeMap<(u64, u64), String>,
    /// Records that waited so far: their order.
    count: u64,
}

/// The updates of a record in an interval.
#[derive(Debug, Clone)]
struct Held {
    /// When it is sent, in microseconds since the beginning of 1970.
    due: u64,
    number: u64,
    topic: u32,
    /// Of the first message.
    first: First,
    /// What the subscriber has of the record.
    had: Option<Stored>,
    now: State,
}

/// What is told of the first message of an interval.
#[derive(Debug, Clone, Copy)]
pub(super) struct First {
    pub(super) bookmark: Option<Bookmark>,
    /// In microseconds since the beginning of 1970.
    pub(super) processed: u64,
    /// Its position in the log, when it is replayed.
    pub(super) position: Option<usize>,
}

#[derive(Debug, Clone)]
enum State {
    Is(Stored),
    /// Out of focus, for this reason.
    Gone(&'static str),
}

/// An update whose interval is over.
#[derive(Debug)]
pub(super) struct Released(Held);

/// What becomes of a record for a subscription that conflates.
pub(super) enum Change {
    /// It has this now.
    Is(Stored),
    /// It is out of focus.
    Gone(&'static str),
}

impl Conflation {
    pub(super) fn new(interval: Duration, key: Option<Vec<String>>) -> Self {
        let interval = (interval.as_micros() as u64).max(1);
        Self { interval, key, held: BTreeMap::new(), ends: BTreeMap::new(), count: 0 }
    }

    /// Whether it is by the fields of a key, its paths separated by commas.
    pub(super) fn is_by(&self, key: &str) -> bool {
        let own: BTreeSet<_> = self.key.iter().flatten().map(String::as_str).collect();
        own == key.split(',').collect()
    }

    /// Which record a message is of; `None` where that cannot be told, and
    /// nothing is conflated.
    pub(super) fn key(
        &self,
        topic: &str,
        message_type: &MessageType,
        sow_key: Option<u64>,
        body: &[u8],
    ) -> Option<String> {
        let Some(paths) = &self.key else { return sow_key.map(|key| format!("{topic}\0{key}")) };
        let values = Values::read(message_type, body)?;
        let mut key = topic.to_owned();
        for path in paths {
            key.push('\0');
            // What is missing is the same as null.
            key.push_str(&values.text(path).unwrap_or_default());
        }
        Some(key)
    }

    /// Takes a change in, at `now`. `had` is what the subscriber has of the record.
    /// Answers whether an interval begins.
    pub(super) fn hold(
        &mut self,
        key: String,
        topic: u32,
        (first, now): (First, u64),
        had: Option<Stored>,
        change: Change,
    ) -> bool {
        let held = self.held.get_mut(&key);
        match (change, held) {
            (Change::Is(_), Some(_)) if planted::is("server-conflates-to-first") => {}
            (Change::Is(content), Some(held)) => held.now = State::Is(content),
            (Change::Gone(reason), Some(held)) if held.had.is_some() => held.now = State::Gone(reason),
            // Came and went: nobody saw it.
            (Change::Gone(_), Some(held)) => {
                self.ends.remove(&(held.due, held.number));
                self.held.remove(&key);
            }
            (Change::Gone(_), None) if had.is_none() => {}
            (change, None) => {
                let state = match change {
                    Change::Is(content) => State::Is(content),
                    Change::Gone(reason) => State::Gone(reason),
                };
                // The times of a log go on where the wall clock went back, and
                // may be far ahead of it.
                let (due, number) = (first.processed.min(now) + self.interval, self.count);
                self.count += 1;
                self.ends.insert((due, number), key.clone());
                self.held.insert(key, Held { due, number, topic, first, had, now: state });
                return true;
            }
        }
        false
    }

    /// Takes out what is due by then, in order, and what is too much.
    pub(super) fn release(&mut self, by: u64) -> Vec<Released> {
        let mut released = Vec::new();
        while self.held.len() > HELD_MAX || self.next_due().is_some_and(|due| due <= by) {
            let Some((_, key)) = self.ends.pop_first() else { break };
            released.extend(self.held.remove(&key).map(Released));
        }
        released
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.ends.keys().next().map(|(due, _)| *due)
    }

    /// The position in the log of the first message that waits.
    pub(super) fn first_position(&self) -> Option<usize> {
        self.held.values().filter_map(|held| held.first.position).min()
    }
}

impl Engine {
    /// Takes a message to a subscription that conflates. `false`: it cannot be
    /// conflated.
    pub(super) fn hold(
        &mut self,
        id: ConnId,
        interest: &Interest,
        (topic, sow_key): (u32, Option<u64>),
        first: First,
        had: Option<&SowRecord>,
        change: Change,
    ) -> bool {
        let (name, now) = (self.topics.get(topic).name.clone(), self.micros_now());
        let Some(connection) = self.connections.get_mut(&id) else { return true };
        let subscription = connection.subscriptions.iter_mut().find(|subscription| subscription.id == interest.id);
        let Some(subscription) = subscription else { return true };
        let Some(conflation) = &mut subscription.conflation else { return true };
        let body = match (&change, had) {
            (Change::Is(content), _) => content.body.clone(),
            (Change::Gone(_), Some(record)) => record.body.clone(),
            (Change::Gone(_), None) => return true,
        };
        let message_type = self.about.message_type(&name);
        let Some(key) = conflation.key(&name, message_type, sow_key, &body) else { return false };
        conflation.hold(key, topic, (first, now), had.map(Stored::from), change);
        // What is too much: nothing is due as early as that.
        let excess = subscription.released(0, true);
        let due = subscription.conflation.as_ref().and_then(Conflation::next_due);
        self.send_released(id, excess);
        if let Some(at) = due.map(|due| self.instant_of(due)) {
            self.arm(at);
        }
        true
    }

    /// Replays that waited for their time may go on.
    pub(super) fn replays_due(&mut self) {
        let now = self.micros_now();
        let waited = |subscription: &Subscription| {
            let due =
                |replay: &Replay| replay.waits_until().is_some_and(|at| at <= now) || replay.is_over(&self.log, now);
            subscription.replay.as_ref().is_some_and(due)
        };
        let connections = self.connections.iter().filter(|(_, connection)| connection.subscriptions.iter().any(waited));
        let ids: Vec<_> = connections.map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.mark(id));
    }

    /// Sends what waits of a subscription that is replaced: the new one does not
    /// begin before it.
    pub(super) fn release_all(&mut self, id: ConnId, sub_id: &str) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let subscription = connection.subscriptions.iter_mut().find(|subscription| subscription.id == sub_id);
        let released = subscription.map(|subscription| subscription.released(u64::MAX, true));
        self.send_released(id, released.unwrap_or_default());
    }

    /// Sends what the intervals that are over have left, on all connections.
    pub(super) fn release_conflated(&mut self) {
        let (now, end) = (self.micros_now(), self.log.len());
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            let Some(connection) = self.connections.get_mut(&id).filter(|c| c.close.is_none()) else { continue };
            let mut released = Vec::new();
            for subscription in &mut connection.subscriptions {
                // A replay has its own time until it has caught up.
                let caught_up =
                    subscription.replay.as_ref().is_none_or(|replay| replay.cursor >= end && !replay.paused);
                released.extend(subscription.released(now, caught_up));
            }
            self.send_released(id, released);
        }
    }

    pub(super) fn send_released(&mut self, id: ConnId, released: Vec<(Recipients, Option<Deltas>, Released)>) {
        if released.is_empty() {
            return;
        }
        let about = Arc::clone(&self.about);
        for (to, deltas, Released(held)) in released {
            let topic = self.topics.get(held.topic);
            let (name, sow) = (topic.name.clone(), topic.sow);
            let Some(connection) = self.connections.get_mut(&id) else { return };
            let out = connection.outbox.tail();
            match (held.now, held.had) {
                (State::Gone(reason), Some(had)) => {
                    write_out_of_focus(out, &name, &to, reason, Content::from(&had), held.first.processed);
                }
                (State::Gone(_), None) => {}
                (State::Is(content), had) => {
                    let mut content = content;
                    let key = sow.map(|sow| self.sow[sow].key.clone());
                    if let (Some(deltas), Some(had), Some(key)) = (deltas, had, key) {
                        let whole = content.body.clone();
                        let update = Update::new(key, about.message_type(&name), &had.body, &whole);
                        if deltas.no_empties && update.is_empty(to.wants.select.as_deref()) {
                            continue;
                        }
                        content.body = update.body(deltas.send_keys);
                    }
                    let First { bookmark, processed, .. } = held.first;
                    write_message(out, &name, &to, Content::from(&content), bookmark, processed);
                }
            }
        }
        self.mark(id);
        self.limit_outbox(id);
    }

    /// When the next interval is over, the next message of a replay with a rate
    /// is due, or a range ends.
    pub(super) fn next_release(&self) -> Option<Instant> {
        let (now, end) = (self.micros_now(), self.log.len());
        let subscriptions = self.connections.values().flat_map(|connection| &connection.subscriptions);
        let due = |subscription: &Subscription| match &subscription.replay {
            Some(replay) if replay.paused => None,
            Some(replay) if replay.cursor < end => replay.waits_until().filter(|until| *until > now),
            _ => subscription.conflation.as_ref().and_then(Conflation::next_due),
        };
        let ends = |subscription: &Subscription| subscription.replay.as_ref()?.until.as_ref()?.due(now);
        let ends = subscriptions.clone().filter_map(ends);
        subscriptions.filter_map(due).chain(ends).min().map(|at| self.instant_of(at))
    }
}

impl Subscription {
    /// What of its conflated messages is due.
    pub(super) fn released(&mut self, by: u64, caught_up: bool) -> Vec<(Recipients, Option<Deltas>, Released)> {
        let Some(conflation) = self.conflation.as_mut().filter(|_| caught_up) else { return Vec::new() };
        let released = conflation.release(by);
        let mut to = Recipients::default();
        to.add(&self.id, &self.wants);
        released.into_iter().map(|released| (to.clone(), self.deltas, released)).collect()
    }
}
