use std::ops::Range;
use std::time::Instant;

use amps_core::message::MessageKind;
use amps_core::{AckType, Field, Message, Messages, Status, batch, planted};

use super::recovery::reason_of;
use super::{ClientCore, Waiter};
use crate::bookmarks::LOG_START;
use crate::error::{Cause, CommandError};
use crate::event::Event;
use crate::subscriptions::{EndCause, Item, SubscriptionKind, Waiting};

impl ClientCore {
    /// Delivers what waits, then takes messages until there are no more, or a
    /// queue is full.
    pub(super) fn take_messages(&mut self, now: Instant) -> Result<(), Cause> {
        while self.deliver(now) || !self.held_back() {
            if let Some((messages, next)) = &self.received {
                if *next < messages.len() {
                    self.take_next(now)?;
                    continue;
                }
                if let Some(error) = messages.error() {
                    return Err(error.clone().into());
                }
            }
            // Given back first, so that its memory is used again.
            self.received = None;
            let Some(messages) = self.decoder.next_messages()? else { return Ok(()) };
            self.received = Some((messages, 0));
        }
        Ok(())
    }

    /// One message, or several in a row for the same subscription.
    fn take_next(&mut self, now: Instant) -> Result<(), Cause> {
        let Some((messages, next)) = &mut self.received else { return Ok(()) };
        if planted::is("oof-ignored") && messages.kind(*next) == MessageKind::Oof {
            *next += 1;
            return Ok(());
        }
        if let Some(range) = for_one_subscription(messages, *next) {
            let id = subscription_ids(messages, *next).and_then(|id| std::str::from_utf8(id).ok());
            if let Some(route) = id.and_then(|id| self.subscriptions.by_wire_id(id)) {
                *next = range.end;
                // In order behind what a full queue refused before.
                let taken = match self.undelivered.is_empty() {
                    true => route.queue.push_messages(now, messages, range.clone()),
                    false => range.start,
                };
                self.over |= route.is_overrun();
                self.undelivered.push(route.id, Waiting::Messages(messages.clone(), taken..range.end));
                return Ok(());
            }
        }
        let messages = messages.clone();
        let index = *next;
        *next += 1;
        match messages.kind(index) {
            MessageKind::Publish | MessageKind::Oof | MessageKind::DeltaPublish => self.route(now, &messages, index),
            MessageKind::Sow => self.records(&messages.get(index))?,
            MessageKind::GroupBegin => self.marker(&messages.get(index), Item::SnapshotBegin),
            MessageKind::GroupEnd => self.marker(&messages.get(index), Item::SnapshotEnd),
            MessageKind::Ack => self.acknowledged(now, &messages.get(index))?,
            // Any traffic counts as a sign of life; a beat is no more.
            _ => {}
        }
        Ok(())
    }

    /// One message for each subscription it matched.
    fn route(&mut self, now: Instant, messages: &Messages, index: usize) {
        let mut known = false;
        let message = messages.get(index);
        for id in message.subscription_ids() {
            let Some(route) = self.subscriptions.by_wire_id(id) else { continue };
            known = true;
            let one = index..index + 1;
            if !self.undelivered.is_empty() || route.queue.push_messages(now, messages, one.clone()) == index {
                self.undelivered.push(route.id, Waiting::Messages(messages.clone(), one));
            }
            self.over |= route.is_overrun();
        }
        if !known {
            self.stray(&message, message.subscription_ids().next());
        }
    }

    fn records(&mut self, batch: &Message) -> Result<(), Cause> {
        let Some(id) = self.query_of(batch) else {
            self.stray(batch, query_id(batch));
            return Ok(());
        };
        let records = batch::records(batch);
        let error = records.error().cloned();
        let all = 0..records.len();
        self.undelivered.push(id, Waiting::Messages(records, all));
        error.map_or(Ok(()), |error| Err(error.into()))
    }

    fn marker(&mut self, message: &Message, item: Item) {
        let Some(id) = self.query_of(message) else { return self.stray(message, query_id(message)) };
        let Some(route) = self.subscriptions.get_mut(id) else { return };
        let shown = match item {
            Item::SnapshotBegin => route.markers.begin(),
            _ => route.markers.end(),
        };
        // A query whose answers came before the end of its records is over now.
        if route.spec.kind == SubscriptionKind::Sow && route.owed.is_empty() && !route.markers.are_open() {
            route.is_over = true;
            self.over = true;
        }
        if shown {
            self.undelivered.push_control(id, item);
        }
    }

    fn query_of(&mut self, message: &Message) -> Option<u64> {
        self.subscriptions.by_wire_id(query_id(message)?).map(|route| route.id)
    }

    /// Delivers what waits. `false` when a queue is full.
    fn deliver(&mut self, now: Instant) -> bool {
        while let Some((id, waiting)) = self.undelivered.front() {
            let (taken, overrun) = match (self.subscriptions.get_mut(*id), waiting) {
                (Some(route), Waiting::Messages(messages, range)) => {
                    let taken = route.queue.push_messages(now, messages, range.clone()) - range.start;
                    (taken, route.is_overrun())
                }
                (Some(route), Waiting::Control(item)) => {
                    route.queue.push_control(item.clone());
                    (1, false)
                }
                (None, gone) => (gone.len(), false),
            };
            // One that has ended takes the rest as well.
            let full = taken < waiting.len() && !overrun;
            self.over |= overrun;
            self.undelivered.take_front(taken);
            if full {
                self.reading(now, !self.held_back());
                self.stalled_since.get_or_insert(now);
                return false;
            }
        }
        self.end_what_is_over(now);
        self.reading(now, true);
        if self.stalled_since.take().is_some() {
            self.stalled.send_if_modified(|stalled| stalled.take().is_some());
        }
        true
    }

    /// Ends what is over, behind its last messages: ranges, queries, subscriptions
    /// whose full queues end them.
    fn end_what_is_over(&mut self, now: Instant) {
        if !std::mem::take(&mut self.over) {
            return;
        }
        let over: Vec<u64> =
            self.subscriptions.iter_mut().filter(|route| route.is_over || route.is_overrun()).map(|r| r.id).collect();
        for id in over {
            match self.subscriptions.get_mut(id) {
                Some(route) if route.spec.kind == SubscriptionKind::Sow => {
                    route.queue.end(EndCause::Complete);
                    self.subscriptions.remove(id);
                }
                _ => self.leave(now, id),
            }
        }
    }

    /// Delivers controls as far as nothing else is in front of them.
    pub(super) fn deliver_controls(&mut self) {
        while let Some((id, Waiting::Control(item))) = self.undelivered.front() {
            if let Some(route) = self.subscriptions.get_mut(*id) {
                route.queue.push_control(item.clone());
            }
            self.undelivered.take_front(1);
        }
    }

    fn reading(&mut self, now: Instant, reading: bool) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.reading(reading, now);
        }
    }

    fn acknowledged(&mut self, now: Instant, ack: &Message) -> Result<(), Cause> {
        if ack.ack_type() == Some(AckType::Stats) && self.deletion_counted(ack) {
            return Ok(());
        }
        if let Some(waiter) = ack.command_id().and_then(|id| self.pending.take(id)) {
            return self.answered(now, ack, waiter);
        }
        // Which of them an answer carries the documents say in several ways.
        let mut ids = [ack.subscription_id(), ack.command_id(), ack.query_id()].into_iter().flatten();
        let id = ids.clone().find(|id| self.was_ours(id));
        if let Some(id) = ids.find_map(|id| self.subscriptions.by_wire_id(id).map(|route| route.id)) {
            return self.subscription_ack(now, id, ack);
        }
        match (ack.ack_type(), ack.sequence()) {
            (Some(AckType::Persisted), Some(sequence)) => self.persisted(now, ack, sequence),
            (_, Some(sequence)) if planted::is("processed-taken-as-persisted") => self.persisted(now, ack, sequence),
            _ => self.stray(ack, id),
        }
        Ok(())
    }

    fn answered(&mut self, now: Instant, ack: &Message, waiter: Waiter) -> Result<(), Cause> {
        match waiter {
            Waiter::LogOn(logon) => self.logon_answered(now, ack, logon),
            Waiter::Heartbeat => self.heartbeat_answered(now, ack),
            Waiter::Unsubscribe | Waiter::Drain => Ok(()),
            Waiter::Flow(flowing) => self.flow_answered(now, flowing, ack),
            Waiter::Acknowledge(waiter) => {
                self.acknowledge_answered(waiter, ack);
                Ok(())
            }
            Waiter::Flush(reply) => {
                reply.answer(match ack.status() {
                    Status::Success => Ok(()),
                    _ => Err(CommandError::Refused { command: "flush", topic: String::new(), reason: reason_of(ack) }),
                });
                Ok(())
            }
        }
    }

    fn subscription_ack(&mut self, now: Instant, id: u64, ack: &Message) -> Result<(), Cause> {
        let bookmark = ack.bookmark();
        self.give_ack(id, ack);
        match ack.ack_type() {
            Some(AckType::Processed) => return self.enter_answered(now, id, ack),
            Some(kind @ (AckType::Completed | AckType::Stats)) => {
                let Some(route) = self.subscriptions.get_mut(id) else { return Ok(()) };
                if kind == AckType::Completed {
                    let empty = ack.raw(Field::Bookmark) == Some("0");
                    let place = if empty { Some(LOG_START) } else { bookmark };
                    route.queue.with_bookmarks(|bookmarks| bookmarks.completed(now, place));
                }
                if kind == AckType::Completed && ack.status() == Status::Success && route.spec.range().is_some() {
                    route.is_over = true;
                    self.over = true;
                }
                route.owed = route.owed.without(kind);
                if route.spec.kind == SubscriptionKind::Sow {
                    self.end_query(id, ack);
                }
                // A replacement waits until its subscription's place is known.
                if kind == AckType::Completed && self.session.is_live() && !self.requests.is_empty() {
                    self.release_requests(now);
                }
            }
            Some(AckType::Persisted) => {
                if let (Some(bookmark), Some(route)) = (bookmark, self.subscriptions.get_mut(id)) {
                    route.queue.with_bookmarks(|bookmarks| bookmarks.persisted(now, bookmark));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// An acknowledgement the application asked for, behind what came before it. A
    /// failure that ends the call or the stream is told as the error there; any
    /// other that nobody asked for is unexpected.
    fn give_ack(&mut self, id: u64, ack: &Message) {
        let Some(route) = self.subscriptions.get_mut(id) else { return };
        let wanted = ack.ack_type().is_some_and(|kind| route.spec.acks.contains(kind));
        let ends = ack.ack_type() == Some(AckType::Processed) || route.spec.kind == SubscriptionKind::Sow;
        match ack.status() {
            Status::Success if !wanted => {}
            Status::Success => self.push_ack(id, ack),
            _ if ends => {}
            _ if wanted => self.push_ack(id, ack),
            _ => self.stray(ack, None),
        }
    }

    fn push_ack(&mut self, id: u64, ack: &Message) {
        self.undelivered.push_control(id, Item::Ack(ack.detached()));
        self.deliver_controls();
    }

    /// A query ends with the last acknowledgement it asked for, but not within its
    /// records, or with the first that says it failed.
    fn end_query(&mut self, id: u64, ack: &Message) {
        let Some(route) = self.subscriptions.get_mut(id) else { return };
        let cause = match ack.status() {
            Status::Success if !route.owed.is_empty() || route.markers.are_open() => return,
            Status::Success => EndCause::Complete,
            _ => {
                let (command, topic) = ("sow", route.spec.topic.clone());
                EndCause::Failed(CommandError::Refused { command, topic, reason: reason_of(ack) })
            }
        };
        route.queue.end(cause);
        self.subscriptions.remove(id);
    }

    /// A persisted acknowledgement for publishes.
    fn persisted(&mut self, now: Instant, ack: &Message, sequence: u64) {
        if ack.status() == Status::Success {
            if !self.log.peek(|log| log.is_sequenced()) {
                // Nothing of ours asked for it.
                return self.stray(ack, None);
            }
            let (before, settled) = self.log.with(|log| {
                let before = log.cursors().settled;
                log.acknowledged(sequence);
                (before, log.cursors().settled)
            });
            if settled > before {
                self.measure_acknowledgement(now, settled);
                self.session.progressed();
            }
            return;
        }
        let reason = reason_of(ack);
        if !self.log.with(|log| log.refused(sequence, reason.clone())) {
            return self.stray_failure(ack, sequence);
        }
        tracing::warn!(sequence, %reason, "a published message was refused");
        self.untold = true;
        self.tell_failed_writes();
    }

    /// Tells of refused messages, as far as their messages are in memory again.
    pub(super) fn tell_failed_writes(&mut self) {
        while self.untold {
            let (failed, left) = self.log.with(|log| (log.next_failed_write(), log.untold_failed_writes()));
            self.untold = left > 0;
            let Some(failed) = failed else { return };
            self.notify(Event::FailedWrite(failed.into()));
        }
    }
}

/// Group messages carry the query id, or the command id without one.
fn query_id(message: &Message) -> Option<&str> {
    message.raw(Field::QueryId).or_else(|| message.command_id())
}

/// The messages from `next` on that are for the same single subscription.
fn for_one_subscription(messages: &Messages, next: usize) -> Option<Range<usize>> {
    let id = subscription_ids(messages, next).filter(|id| !id.contains(&b','))?;
    let mut end = messages.alike_until(next);
    while end < messages.len() && subscription_ids(messages, end) == Some(id) {
        end = messages.alike_until(end);
    }
    Some(next..end)
}

/// The subscriptions a message that is not a record of a query is for, as they
/// stand on the wire.
fn subscription_ids(messages: &Messages, index: usize) -> Option<&[u8]> {
    match messages.kind(index) {
        MessageKind::Publish | MessageKind::Oof | MessageKind::DeltaPublish => messages
            .raw_bytes(index, Field::SubscriptionIds)
            .or_else(|| messages.raw_bytes(index, Field::SubscriptionId)),
        _ => None,
    }
}
