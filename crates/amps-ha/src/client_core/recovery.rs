use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use amps_core::connection::{Heartbeat, command_id};
use amps_core::{
    AckType, AckTypes, Command, CommandKind, Field, Message, Reason, StartAt, Status, Uri, Version, planted,
};

use super::connection::encode;
use super::reentry::Reentry;
use super::{ClientCore, Waiter};
use crate::error::{Cause, CommandError};
use crate::event::Event;
use crate::publish_log::LogonReport;
use crate::subscriptions::{
    EndCause, Entered, FailedResubscribe, FailedResubscribeHandler, Item, Markers, OnFailedResubscribe,
    OnUnknownBookmark, SubscriptionKind, Waiting,
};
use crate::user_code::contain;

/// The first server version that can refuse an unknown bookmark.
const BOOKMARK_NOT_FOUND_SINCE: Version = Version::new([5, 3, 5, 0]);

/// The application's word on refused subscriptions, if it has one.
#[derive(Default)]
pub(super) struct Decider(Option<Arc<dyn FailedResubscribeHandler>>);

impl fmt::Debug for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FailedResubscribeHandler").field(&self.0.is_some()).finish()
    }
}

impl ClientCore {
    /// Asks `handler` about subscriptions that are refused when they are
    /// entered again.
    #[must_use]
    pub fn failed_resubscribe(mut self, handler: Arc<dyn FailedResubscribeHandler>) -> Self {
        self.failed_resubscribe = Decider(Some(handler));
        self
    }

    pub(super) fn report_logon(&mut self, uri: Uri, report: LogonReport) {
        tracing::debug!(server = %uri, ?report, "logged on");
        if let Some(sequence) = report.sequence_ahead {
            tracing::warn!(server = %uri, sequence, "the server's sequence for this name is ahead of the publish store");
            self.notify(Event::SequenceAhead { uri, sequence });
        }
    }

    pub(super) fn start_heartbeat(&mut self, now: Instant) {
        let Some((interval, timeout)) = self.config.heartbeat else { return self.session.heartbeat_started(now) };
        let id = self.id();
        let start = Command::new(CommandKind::Heartbeat)
            .id(command_id(id))
            .text(Field::Options, format!("start,{}", interval.as_secs_f64().ceil().max(1.0)))
            .acks(AckType::Processed);
        self.pending.insert(id, None, Waiter::Heartbeat);
        self.outbox.urgent.push_back(encode(&start));
        self.heartbeat = Some(Heartbeat::new(interval, timeout, now));
        self.probes.heartbeat = Some(now);
    }

    pub(super) fn heartbeat_answered(&mut self, now: Instant, ack: &Message) -> Result<(), Cause> {
        match ack.status() {
            Status::Success => {
                self.measure_round_trip(now);
                self.session.heartbeat_started(now);
                Ok(())
            }
            _ => Err(Cause::HeartbeatRefused(reason_of(ack))),
        }
    }

    /// The log flows from here on; with nothing to replay it is done at once.
    pub(super) fn session_replayed(&mut self, now: Instant) {
        if self.log.peek(|log| log.sent()) >= self.replay_end {
            self.session.replayed(now);
        }
    }

    /// Sends the command that enters a subscription or query. `instead` is
    /// where to start when the server does not know the bookmarks. `false` when
    /// it has ended.
    pub(super) fn enter(&mut self, id: u64, instead: Option<StartAt>) -> bool {
        let Some(uri) = self.session.uri().cloned() else { return false };
        let new_enough = self.server_version.as_deref().is_some_and(can_refuse_bookmarks);
        let moved = self.last_server.as_ref().is_some_and(|last| *last != uri);
        let Some(route) = self.subscriptions.get_mut(id) else { return false };
        // An option of `subscribe` alone (AMPS Command Reference).
        let can_refuse = new_enough && route.spec.kind == SubscriptionKind::Subscribe;
        let group = route.together.filter(|group| self.reentry.is_paused(*group));
        let start = match instead {
            Some(start) => {
                route.queue.with_bookmarks(|bookmarks| bookmarks.started_instead(start.clone()));
                Some(start)
            }
            None => {
                if route.was_active {
                    let reconnected = |waiting: &Waiting| matches!(waiting, Waiting::Control(Item::Reconnected { .. }));
                    self.undelivered.retain(|to, waiting| to != id || !reconnected(waiting));
                    self.undelivered.push_control(id, Item::Reconnected { uri: uri.clone() });
                }
                let known = route.queue.with_bookmarks(|bookmarks| bookmarks.connect(&uri.to_string()));
                let known = known.or_else(|| route.spec.start.clone());
                let common =
                    group.and_then(|group| self.reentry.start(group)).filter(|start| known.as_ref() != Some(start));
                if let Some(start) = &common {
                    route.queue.with_bookmarks(|bookmarks| bookmarks.started_instead(start.clone()));
                }
                common.or(known)
            }
        };
        if planted::is("range-ends-with-connection") && route.was_active && route.spec.range().is_some() {
            return false;
        }
        let resumes = matches!(start, Some(StartAt::Bookmarks(_)));
        if resumes && moved && !can_refuse {
            self.undelivered.push_control(id, Item::GapPossible { uri });
        }
        if let Some(top_n) = route.spec.top_n.filter(|_| resumes)
            && top_n <= route.queue.stats().delivered
        {
            // All of them were delivered; the server has ended it.
            return false;
        }
        route.set_entered(Entered::Asked);
        route.markers = Markers::default();
        route.owed = AckTypes::from(AckType::Completed) | route.spec.acks;
        route.owed = route.owed.without(AckType::Processed).without(AckType::Persisted).without(AckType::Received);
        route.queue.with_acks(|acks| acks.entered(self.connection));
        let mut extra = Vec::new();
        if resumes && can_refuse {
            extra.push("bookmark_not_found=fail");
        }
        if route.spec.paused && !planted::is("pause-forgotten") || group.is_some() {
            extra.push("pause");
        }
        let command = route.spec.command(id, start.as_ref(), &extra, route.queue.stats().delivered);
        // Entered again, it need not wait for what was published since the
        // logon; live load cannot postpone it for ever.
        let after = if route.was_active { self.replay_end } else { self.log.peek(|log| log.end()) };
        self.send_after(after, &command);
        self.deliver_controls();
        true
    }

    /// A server confirmed or refused a subscription.
    pub(super) fn enter_answered(&mut self, now: Instant, id: u64, ack: &Message) -> Result<(), Cause> {
        let uri = self.session.uri().cloned();
        if ack.status() == Status::Success {
            self.backlog_granted(now, id, ack);
        }
        let Some(route) = self.subscriptions.get_mut(id) else { return Ok(()) };
        if let Some(replacing) = route.replacing.take() {
            self.replace_answered(now, id, replacing, ack);
            return Ok(());
        }
        if ack.status() == Status::Success {
            route.set_entered(Entered::Yes);
            route.was_active = route.spec.kind != SubscriptionKind::Sow;
            if !self.summary.borrow().refused.is_empty() {
                let (topic, filter) = (route.spec.topic.clone(), route.spec.filter.clone());
                self.note(|summary| summary.note_entered(&topic, filter.as_deref()));
            }
            let Some(route) = self.subscriptions.get_mut(id) else { return Ok(()) };
            let wanted = route.waiter.is_none() || route.answer(Ok(()));
            if !wanted {
                // Whoever asked stopped waiting, and dropped the stream.
                self.leave(now, id);
            }
            self.settle_resubscribe(now);
            return Ok(());
        }
        let reason = reason_of(ack);
        let topic = route.spec.topic.clone();
        let failed = uri.clone().filter(|_| route.was_active).map(|uri| FailedResubscribe {
            uri,
            topic: topic.clone(),
            filter: route.spec.filter.clone(),
            reason: reason.clone(),
        });
        if let (Reason::BookmarkNotFound, Some(uri)) = (&reason, uri) {
            let instead = match route.spec.on_unknown_bookmark {
                OnUnknownBookmark::Epoch => Some(route.spec.when_unknown()),
                OnUnknownBookmark::Now => Some(StartAt::Now),
                OnUnknownBookmark::End => None,
            };
            route.queue.push_control(Item::Gap { uri });
            if let Some(start) = instead {
                self.enter(id, Some(start));
                return Ok(());
            }
        } else if let Some(failed) = &failed
            && !self.drops(failed)
        {
            return Err(Cause::ResubscribeRefused { topic, reason });
        }
        tracing::warn!(%topic, %reason, "subscription refused");
        if let Some(failed) = failed {
            self.note(|summary| summary.note_refused(failed));
        }
        let Some(route) = self.subscriptions.get_mut(id) else { return Ok(()) };
        let error = CommandError::Refused { command: route.spec.command_name(), topic, reason };
        route.queue.end(EndCause::Failed(error.clone()));
        route.answer(Err(error));
        self.subscriptions.remove(id);
        if planted::is("resubscribe-stops-at-failure") {
            self.reentry.waiting.clear();
        }
        self.settle_resubscribe(now);
        Ok(())
    }

    /// Whether a subscription that was active ends; otherwise the attempt does.
    fn drops(&mut self, failed: &FailedResubscribe) -> bool {
        let Some(handler) = self.failed_resubscribe.0.clone() else { return failed.reason.is_permanent() };
        match contain("failed-resubscribe handler", || handler.decide(failed)) {
            Ok(decision) => decision == OnFailedResubscribe::Drop,
            Err(panicked) => {
                self.notify(Event::Panicked(panicked));
                false
            }
        }
    }

    /// No subscription is entered any more; queries are cut short. What was not
    /// answered yet had no effect here and is asked again.
    pub(super) fn leave_subscriptions(&mut self) {
        self.reentry = Reentry::default();
        let mut cut = Vec::new();
        for route in self.subscriptions.iter_mut() {
            let again = match route.waiter.is_some() {
                true => self.config.retry,
                false => route.spec.kind != SubscriptionKind::Sow,
            };
            if !(again && self.config.resubscribe) && route.entered != Entered::No {
                route.queue.end(match planted::is("snapshot-cut-silently") {
                    true => EndCause::Complete,
                    false => EndCause::Failed(CommandError::Disconnected),
                });
                route.answer(Err(CommandError::Disconnected));
                cut.push(route.id);
            }
            route.set_entered(Entered::No);
            route.is_over = false;
            route.acks_due = None;
            let dropped = route.queue.with_acks(|acks| acks.lost());
            if dropped > 0 {
                let topic = &route.spec.topic;
                tracing::debug!(%topic, dropped, "acknowledgements were dropped with the leases of their connection");
            }
        }
        for id in cut {
            self.subscriptions.remove(id);
        }
        // What a bookmark subscription has not been given yet comes again.
        let Self { undelivered, subscriptions, .. } = self;
        undelivered.retain(|id, _| {
            subscriptions.get_mut(id).is_some_and(|route| route.queue.with_bookmarks(|_| ()).is_none())
        });
    }
}

/// The reason of a failure, which every server should give.
pub(super) fn reason_of(ack: &Message) -> Reason {
    ack.reason().unwrap_or_else(|| Reason::Unknown("no reason given".to_owned()))
}

/// Whether a server of this version knows `bookmark_not_found`.
fn can_refuse_bookmarks(version: &str) -> bool {
    version.parse::<Version>().is_ok_and(|version| version >= BOOKMARK_NOT_FOUND_SINCE)
}
