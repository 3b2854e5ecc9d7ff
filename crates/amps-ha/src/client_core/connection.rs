//! The current connection: bytes in and out, and what ends with it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use amps_core::connection::{Heartbeat, HeartbeatDue, Protocol, READ_LEN, TARGET_LEN, Transmit};
use amps_core::frame::PREFIX_LEN;
use amps_core::{Command, CommandKind, Field, Message, MessageDecoder, planted};

use super::{ClientCore, measures};
use crate::error::Cause;
use crate::event::Event;
use crate::subscriptions::Entered;

/// How often bookmark subscriptions are told that the socket was empty.
const DRAINED_EVERY: Duration = Duration::from_millis(500);

/// Commands on their way out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Logon and heartbeats: before anything else.
    pub(super) urgent: VecDeque<Bytes>,
    /// Everything else, each after the publishes that were there when it was
    /// issued.
    pub(super) ordered: VecDeque<(u64, Bytes)>,
}

impl Protocol for ClientCore {
    type Stop = Cause;

    fn wants_read(&self) -> bool {
        !self.held_back() && !self.session.is_closed()
    }

    fn receive_buffer(&mut self) -> &mut BytesMut {
        self.decoder.buffer_mut(READ_LEN)
    }

    fn receive(&mut self, now: Instant) -> Result<(), Cause> {
        if self.decoder.buffered() > self.buffered
            && let Some(heartbeat) = &mut self.heartbeat
        {
            heartbeat.received(now);
        }
        let result = self.take_messages(now);
        self.buffered = self.decoder.buffered();
        self.act(now);
        self.check_drained(now);
        result
    }

    /// Bookmark subscriptions are told that they are level with this server,
    /// unless something waits for a full queue.
    fn drained(&mut self, now: Instant) {
        let told = self.drained_at.is_some_and(|last| now < last + DRAINED_EVERY);
        let left = self.received.as_ref().is_some_and(|(messages, next)| *next < messages.len());
        let behind = left || !self.undelivered.is_empty();
        if told || behind {
            return;
        }
        self.drained_at = Some(now);
        // Those not entered on this connection yet know nothing of its server,
        // and this says nothing of the one before.
        for route in self.subscriptions.iter_mut().filter(|route| route.entered == Entered::Yes) {
            route.queue.with_bookmarks(|bookmarks| bookmarks.drained(now));
        }
    }

    fn transmit(&mut self, now: Instant, out: &mut Transmit) {
        while let Some(frame) = self.outbox.urgent.pop_front() {
            out.buffer_mut().extend_from_slice(&frame);
        }
        if self.session.may_publish() && self.fill(now, out) {
            self.session.replayed(now);
            self.act(now);
            // What that enqueued waits for nothing else.
            self.fill(now, out);
        }
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.writing(now, !out.is_empty());
        }
    }

    fn written(&mut self, now: Instant, out: &Transmit) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.sent(now);
            heartbeat.writing(now, !out.is_empty());
            if planted::is("black-hole-taken-as-alive") {
                heartbeat.received(now);
            }
        }
        if out.is_empty() {
            self.log.with(|log| log.written());
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let requests = self.requests.iter().map(|(deadline, _)| *deadline).min();
        let stalled = self.stalled_since.map(|since| since + self.config.deadlock_after);
        let told = self.stalled.borrow().is_some();
        [
            self.session.deadline(),
            self.heartbeat.as_ref().map(Heartbeat::deadline),
            self.pending.deadline(),
            self.subscriptions.deadline(),
            requests,
            stalled.filter(|_| !told),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn timeout(&mut self, now: Instant) -> Result<(), Cause> {
        self.tell_failed_writes();
        self.session.timeout(now);
        self.act(now);
        self.acks_due(now);
        self.expire(now);
        self.act(now);
        self.check_drained(now);
        match self.heartbeat.as_ref().map(|heartbeat| heartbeat.due(now)) {
            Some(HeartbeatDue::Silent) if planted::is("heartbeat-not-acted-on") => {
                self.heartbeat.iter_mut().for_each(|heartbeat| heartbeat.received(now));
            }
            Some(HeartbeatDue::Silent) => return Err(Cause::HeartbeatTimeout(self.heartbeat_timeout())),
            Some(HeartbeatDue::Stuck) => return Err(Cause::WriteTimeout(self.heartbeat_timeout())),
            Some(HeartbeatDue::Beat) => {
                let beat = Command::new(CommandKind::Heartbeat).text(Field::Options, "beat");
                if self.outbox.urgent.is_empty() {
                    self.outbox.urgent.push_back(encode(&beat));
                }
                if let Some(heartbeat) = &mut self.heartbeat {
                    heartbeat.sent(now);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl ClientCore {
    /// Appends a command behind the publishes so far.
    pub(super) fn send_after(&mut self, after: u64, command: &Command) {
        self.outbox.ordered.push_back((after, encode(command)));
    }

    pub(super) fn send(&mut self, command: &Command) {
        let after = self.log.peek(|log| log.end());
        self.send_after(after, command);
    }

    fn heartbeat_timeout(&self) -> Duration {
        self.config.heartbeat.map_or(Duration::ZERO, |(_, timeout)| timeout)
    }

    /// Moves publishes and commands into `out`, in their order. Answers whether
    /// everything that was to be replayed is there.
    fn fill(&mut self, now: Instant, out: &mut Transmit) -> bool {
        let Outbox { ordered, .. } = &mut self.outbox;
        let (replay_end, drain_end) = (self.replay_end, self.drain_end);
        let (replayed, sent) = self.log.take(|log| {
            loop {
                let until = ordered.front().map_or(u64::MAX, |(after, _)| *after).min(drain_end);
                if out.is_empty()
                    && let Some(segment) = log.share(until)
                {
                    out.share(segment);
                } else {
                    log.fill(out.buffer_mut(), TARGET_LEN, until);
                }
                // A store that failed will never make the rest durable, nor
                // read it back; everything else goes on.
                let stuck = out.len() < TARGET_LEN && log.cursors().failed.is_some();
                match ordered.front() {
                    Some((after, frame)) if out.len() < TARGET_LEN && (stuck || log.sent() >= *after) => {
                        out.buffer_mut().extend_from_slice(frame);
                        ordered.pop_front();
                    }
                    _ => return ((stuck || log.sent() >= replay_end, log.sent()), out.is_empty()),
                }
            }
        });
        self.probes.sent(now, sent);
        replayed
    }

    /// Everything that belonged to the connection.
    pub(super) fn forget_connection(&mut self, out: &Transmit) {
        let unwritten = out.unwritten_frames().filter(|frame| is_of_the_log(frame)).count() as u64;
        let dropped = self.log.with(|log| log.disconnected(unwritten));
        if dropped > 0 {
            tracing::warn!(messages = dropped, "messages published without a store were lost with the connection");
            self.notify(Event::Dropped { messages: dropped });
        }
        self.outbox = Outbox::default();
        if planted::is("partial-frame-continued") {
            self.outbox.urgent.push_back(Bytes::copy_from_slice(out.unwritten()));
        }
        self.connection += 1;
        self.acknowledged_messages = false;
        if !planted::is("partial-read-continued") {
            self.decoder = MessageDecoder::new(self.config.frame_limit).connection(self.connection);
        }
        self.received = None;
        self.buffered = 0;
        self.heartbeat = None;
        self.probes = measures::Probes::default();
        self.side_tasks.clear();
        self.unanswered = None;
        self.drain_end = u64::MAX;
        self.leave_changes();
        self.leave_subscriptions();
        self.deletions.lost();
    }
}

/// Whether a frame came from the publish log; all others are commands, the
/// acknowledgement of a queue's messages too.
fn is_of_the_log(frame: &[u8]) -> bool {
    use amps_core::message::MessageKind::{DeltaPublish, Publish, SowDelete};
    Message::decode(Bytes::copy_from_slice(&frame[PREFIX_LEN..])).is_ok_and(|message| match message.kind() {
        Publish | DeltaPublish => true,
        SowDelete => message.raw(Field::Bookmark).is_none(),
        _ => false,
    })
}

pub(super) fn encode(command: &Command) -> Bytes {
    let mut out = BytesMut::new();
    command.encode(&mut out);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use amps_core::Bookmark;
    use amps_core::header::FrameWriter;

    use super::*;

    /// What was not written with a lost connection is counted as lost, but for
    /// acknowledgements of queues: their messages come again.
    #[test]
    fn acknowledging_a_queues_message_is_no_write() {
        let done = Command::sow_delete("work").bookmarks([Bookmark { publisher: 1, sequence: 2 }]);
        assert!(!is_of_the_log(&encode(&done)));
        assert!(!is_of_the_log(&encode(&Command::new(CommandKind::Subscribe).topic("t"))));
        let mut wire = BytesMut::new();
        FrameWriter::sow_delete(&mut wire, "t", None).text(Field::Filter, "1=1").finish(&[]);
        assert!(is_of_the_log(&wire));
    }
}
