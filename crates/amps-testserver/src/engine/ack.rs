//! Acknowledgements: single ones, conflated persisted ones, and those that
//! wait for replication.

use std::time::Instant;

use amps_core::header::FrameWriter;
use amps_core::{AckType, AckTypes, Bookmark, Field, Message, Status};
use bytes::BytesMut;

use super::connection::{Close, Waiting};
use super::sow_delete::Deleted;
use super::{ConnId, Engine};
use crate::journal::Record;

/// What an ack carries beside its type (AMPS Command Reference, "ack").
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct AckFrame<'a> {
    pub(super) command_id: Option<&'a str>,
    pub(super) sequence: Option<u64>,
    pub(super) bookmark: Option<&'a str>,
    pub(super) client_name: Option<&'a str>,
    pub(super) subscription_id: Option<&'a str>,
    pub(super) query_id: Option<&'a str>,
    pub(super) version: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    pub(super) options: Option<&'a str>,
    pub(super) failure: bool,
    /// Asks to log on again, with this user and password.
    pub(super) retry: Option<(&'a str, &'a str)>,
    /// Records compared, matched and returned.
    pub(super) counts: Option<(u64, u64, u64)>,
    /// What a `sow_delete` did.
    pub(super) deleted: Option<Deleted>,
    /// With counts goes one of all kinds.
    pub(super) all_counts: bool,
}

impl<'a> AckFrame<'a> {
    pub(super) fn failure(reason: &'a str) -> Self {
        Self { reason: Some(reason), failure: true, ..Self::default() }
    }

    /// Appends the frame, fields in the order a real server writes them.
    pub(super) fn write(&self, out: &mut BytesMut, kind: AckType) {
        let mut frame = FrameWriter::new(out, "ack").maybe(Field::CommandId, self.command_id);
        if let Some(sequence) = self.sequence {
            frame = frame.number(Field::Sequence, sequence);
        }
        let status = match (self.failure, self.retry) {
            (true, _) => Status::Failure,
            (false, Some(_)) => Status::Retry,
            (false, None) => Status::Success,
        };
        frame = frame
            .maybe(Field::Bookmark, self.bookmark)
            .maybe(Field::ClientName, self.client_name)
            .maybe(Field::SubscriptionId, self.subscription_id)
            .maybe(Field::QueryId, self.query_id)
            .text(Field::AckType, kind.as_str())
            .text(Field::Status, status.as_str())
            .maybe(Field::Reason, self.reason)
            .maybe(Field::Options, self.options)
            .maybe(Field::Version, self.version)
            .maybe(Field::UserId, self.retry.map(|(user, _)| user))
            .maybe(Field::Password, self.retry.map(|(_, password)| password));
        if let Some((compared, matched, returned)) = self.counts {
            frame = frame
                .number(Field::TopicMatches, compared)
                .number(Field::Matches, matched)
                .number(Field::RecordsReturned, returned);
        }
        if let Some(Deleted { compared, deleted }) = self.deleted {
            frame = frame
                .number(Field::TopicMatches, compared)
                .number(Field::Matches, deleted)
                .number(Field::RecordsDeleted, deleted);
        }
        if self.all_counts && (self.counts.is_some() || self.deleted.is_some()) {
            frame = frame.number(Field::RecordsInserted, 0).number(Field::RecordsUpdated, 0);
        }
        frame.finish(&[]);
    }
}

impl Engine {
    /// Sends an ack for a command.
    pub(super) fn ack(&mut self, id: ConnId, kind: AckType, command: &Message, frame: AckFrame<'_>) {
        let command_id = command.text(Field::CommandId);
        self.send_ack(id, kind, AckFrame { command_id: command_id.as_deref(), ..frame });
    }

    pub(super) fn send_ack(&mut self, id: ConnId, kind: AckType, frame: AckFrame<'_>) {
        if let Some(connection) = self.connections.get_mut(&id)
            && connection.close.is_none()
        {
            let all_counts = self.config.readings.all_counts;
            AckFrame { all_counts, ..frame }.write(connection.outbox.tail(), kind);
            self.mark(id);
            self.limit_outbox(id);
        }
    }

    /// Refuses a command: one failure ack, of type processed when that was
    /// asked for, otherwise of the first type asked for.
    pub(super) fn refuse(&mut self, id: ConnId, command: &Message, acks: AckTypes, reason: &str) {
        const ORDER: [AckType; 4] = [AckType::Processed, AckType::Persisted, AckType::Completed, AckType::Stats];
        if let Some(kind) = ORDER.into_iter().find(|kind| acks.contains(*kind)) {
            let frame = AckFrame { sequence: command.sequence(), ..AckFrame::failure(reason) };
            self.ack(id, kind, command, frame);
        }
    }

    /// A command that breaks the protocol ends its connection (AMPS User Guide,
    /// "Troubleshooting Disconnected Clients"); it is told why before, if it asked.
    pub(super) fn malformed(&mut self, id: ConnId, command: &Message, acks: AckTypes, what: String) {
        self.break_off(id, command, acks, "malformed command", what);
    }

    /// The same for another reason.
    pub(super) fn break_off(&mut self, id: ConnId, command: &Message, acks: AckTypes, reason: &str, what: String) {
        self.stats.violation(id, what);
        self.refuse(id, command, acks, reason);
        self.close(id, Close::Flush, reason);
    }

    /// Closes a connection that does not take what waits for it.
    pub(super) fn limit_outbox(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.outbox.buffered() > self.config.outbox_limit {
            self.close(id, Close::Abort, "slow client");
        }
    }

    /// Notes that a sequence counts as received and wants a persisted ack.
    pub(super) fn want_persisted(&mut self, id: ConnId, sequence: u64) {
        let now = self.now();
        let delay = self.faults.ack_delay;
        let Some(client) = self.connections.get_mut(&id).and_then(|c| c.client_mut()) else { return };
        client.wanted = client.wanted.max(sequence);
        if client.acks_due.is_none() {
            let due = now + client.conflation + delay;
            client.acks_due = Some(due);
            self.arm(due);
        }
    }

    /// A single persisted ack, now or when sync peers hold the log before
    /// `position`.
    pub(super) fn want_single(&mut self, id: ConnId, waiting: Waiting) {
        if let Some(client) = self.connections.get_mut(&id).and_then(|c| c.client_mut()) {
            client.waiting.push_back(waiting);
            self.send_waiting(id);
        }
    }

    /// A publish failed: success for what is persisted before it, then the
    /// failure, both at once (AMPS User Guide, "Publish Acknowledgements").
    pub(super) fn fail_persisted(&mut self, id: ConnId, sequence: u64, reason: &str) {
        if !self.faults.withhold_acks {
            self.send_conflated(id);
            self.send_ack(id, AckType::Persisted, AckFrame { sequence: Some(sequence), ..AckFrame::failure(reason) });
        }
    }

    /// Says of one message that was taken before that it is persisted, if it is.
    pub(super) fn repeat_persisted(&mut self, id: ConnId, command: &Message, sequence: u64) {
        let replicated = self.replicated();
        let Some(client) = self.connections.get(&id).and_then(|c| c.client()) else { return };
        if sequence <= self.log.persisted(client.publisher, replicated) && !self.faults.withhold_acks {
            self.promise(replicated);
            self.ack(id, AckType::Persisted, command, AckFrame { sequence: Some(sequence), ..AckFrame::default() });
        }
    }

    /// Sends the conflated success ack if it would say anything new.
    fn send_conflated(&mut self, id: ConnId) {
        let replicated = self.replicated();
        let Some(client) = self.connections.get(&id).and_then(|c| c.client()) else { return };
        let mut through = client.wanted;
        if let Some((before, blocking)) = self.log.first_unpersisted(client.publisher, replicated)
            && through >= blocking
        {
            through = before;
        }
        if through <= client.acknowledged || self.faults.withhold_acks {
            return;
        }
        let (publisher, sequence) =
            (self.log.publisher(client.publisher).id, self.log.persisted(client.publisher, replicated));
        let last = Bookmark { publisher, sequence: sequence.min(through) };
        let told = sequence > 0 && self.config.readings.bookmark_in_publish_acks;
        let bookmark = told.then(|| last.to_string());
        self.promise(replicated);
        if let Some(client) = self.connections.get_mut(&id).and_then(|c| c.client_mut()) {
            client.acknowledged = through;
        }
        let frame = AckFrame { sequence: Some(through), bookmark: bookmark.as_deref(), ..AckFrame::default() };
        self.send_ack(id, AckType::Persisted, frame);
    }

    /// Sends the single acks at the front that are due.
    fn send_waiting(&mut self, id: ConnId) {
        let replicated = self.replicated();
        loop {
            if self.faults.withhold_acks {
                return;
            }
            let Some(client) = self.connections.get_mut(&id).and_then(|c| c.client_mut()) else { return };
            if client.waiting.front().is_none_or(|waiting| waiting.position > replicated) {
                return;
            }
            let Some(waiting) = client.waiting.pop_front() else { return };
            if waiting.flush {
                self.send_conflated(id);
            }
            self.promise(replicated);
            let command_id = Some(waiting.command_id.as_str()).filter(|id| !id.is_empty());
            let frame = AckFrame { command_id, sequence: waiting.sequence, ..AckFrame::default() };
            self.send_ack(id, AckType::Persisted, frame);
        }
    }

    /// Called when time passed: conflated acks and positions that are due.
    pub(super) fn acks_due(&mut self, id: ConnId, now: Instant) {
        let Some(client) = self.connections.get_mut(&id).and_then(|c| c.client_mut()) else { return };
        let conflated = client.acks_due.take_if(|due| *due <= now).is_some();
        let positions = client.positions_due.take_if(|due| *due <= now).is_some();
        if conflated {
            self.send_conflated(id);
        }
        if positions {
            self.send_positions(id);
        }
    }

    /// Called at the end of every turn: what the turn made possible. Acks that
    /// waited for replication, or for a fault to end, are armed.
    pub(super) fn settle(&mut self) {
        let replicated = self.replicated();
        if self.stats.replicated != replicated {
            self.stats.replicated = replicated;
        } else if !self.faults.take_changed() {
            return;
        }
        let now = self.now;
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            self.send_waiting(id);
            let delay = self.faults.ack_delay;
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let fully_durable =
                connection.subscriptions.iter().any(|s| s.replay.as_ref().is_some_and(|r| r.fully_durable));
            let watches = connection.subscriptions.iter().any(|s| s.watches_persisted());
            if let (Some(client), Some(now)) = (connection.client_mut(), now) {
                let due = now + client.conflation + delay;
                let acks_due = (client.wanted > client.acknowledged).then(|| *client.acks_due.get_or_insert(due));
                let positions_due = watches.then(|| *client.positions_due.get_or_insert(due));
                if let Some(due) = acks_due.into_iter().chain(positions_due).min() {
                    self.arm(due);
                }
            }
            if fully_durable {
                self.mark(id);
            }
        }
    }

    /// Writes down that everything before `position` is promised, so that a
    /// restart that has not heard of its peers yet promises no less.
    pub(super) fn promise(&mut self, position: usize) {
        if position > self.promised && !self.config.peers.is_empty() {
            self.promised = position;
            self.journal.append(&Record::Promised(position as u64));
            self.uncommitted = true;
        }
    }
}
