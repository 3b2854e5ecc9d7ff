//! Acknowledgements of queues' messages on their way to the server (AMPS User
//! Guide, "Message Queues").

use std::sync::Arc;
use std::time::Instant;

use amps_core::connection::{command_id, command_number};
use amps_core::{AckType, Command, CommandKind, Field, Message, Status};

use tokio::sync::oneshot;

use super::commands::Reply;
use super::recovery::reason_of;
use super::{ClientCore, Deleted, Waiter};
use crate::error::CommandError;
use crate::subscriptions::{AckBatch, SubscriptionQueue};

/// Whoever is told what became of an acknowledgement that was put together by
/// hand: what it found, or `None` where the server does not count.
pub type AckReply = oneshot::Sender<Result<Option<Deleted>, CommandError>>;

/// An acknowledgement whose answer somebody waits for.
#[derive(Debug)]
pub(super) struct Acknowledging {
    topic: String,
    reply: AckReply,
    deadline: Instant,
    /// The server took it; its counts are still to come.
    accepted: bool,
}

impl Acknowledging {
    pub(super) fn fail(self, error: CommandError) {
        let timed_out = matches!(error, CommandError::TimedOut { .. });
        let _ = self.reply.send(if self.accepted && timed_out { Ok(None) } else { Err(error) });
    }
}

impl ClientCore {
    /// Sends what a subscription has ready; what waits for a full batch only
    /// when its time has come.
    pub(super) fn send_acks(&mut self, now: Instant, queue: &Arc<SubscriptionQueue>) {
        let mut batches = Vec::new();
        let deadline = queue.with_acks(|acks| {
            acks.look(now);
            batches.extend(std::iter::from_fn(|| acks.take()));
            acks.deadline()
        });
        for batch in &batches {
            self.acknowledged_messages = true;
            self.send(&batch.command());
        }
        if let Some(route) = self.subscriptions.by_queue(queue) {
            route.acks_due = deadline;
        }
    }

    /// Sends everything these subscriptions have.
    pub(super) fn send_all_acks(&mut self, now: Instant, queues: &[Arc<SubscriptionQueue>]) {
        for queue in queues {
            queue.with_acks(|acks| acks.flush());
            self.send_acks(now, queue);
        }
    }

    /// The queues of all subscriptions.
    pub(super) fn all_queues(&mut self) -> Vec<Arc<SubscriptionQueue>> {
        self.subscriptions.iter_mut().map(|route| Arc::clone(&route.queue)).collect()
    }

    /// Sends everything, and answers when the server has processed it.
    pub(super) fn flush_acks(&mut self, now: Instant, queue: Option<Arc<SubscriptionQueue>>, reply: Reply) {
        let queues = queue.map_or_else(|| self.all_queues(), |queue| vec![queue]);
        self.send_all_acks(now, &queues);
        let broken = queues.iter().filter(|queue| !queue.with_acks(|acks| acks.confirm())).count();
        if !self.session.is_live() || broken > 0 {
            // What was not sent is dropped, what was sent may be lost.
            return reply.answer(Err(CommandError::Disconnected));
        }
        if !self.acknowledged_messages {
            return reply.answer(Ok(()));
        }
        let id = self.id();
        let flush = Command::new(CommandKind::Flush).id(command_id(id)).acks(AckType::Completed);
        self.pending.insert(id, Some(now + self.config.command_timeout), Waiter::Flush(reply));
        self.send(&flush);
    }

    /// Sends an acknowledgement that was put together by hand, on this connection
    /// or not at all.
    pub(super) fn acknowledge(&mut self, now: Instant, batch: &AckBatch, reply: AckReply) {
        if !self.session.is_live() {
            return drop(reply.send(Err(CommandError::Disconnected)));
        }
        let (id, deadline) = (self.id(), now + self.config.command_timeout);
        let command = batch.command().id(command_id(id)).acks(AckType::Processed | AckType::Stats);
        let waiter = Acknowledging { topic: batch.topic.clone(), reply, deadline, accepted: false };
        self.pending.insert(id, Some(deadline), Waiter::Acknowledge(waiter));
        self.acknowledged_messages = true;
        self.send(&command);
    }

    /// Its answer: first that it was taken, then its counts.
    pub(super) fn acknowledge_answered(&mut self, mut waiter: Acknowledging, ack: &Message) {
        let result = match (ack.status(), ack.ack_type()) {
            (Status::Success, Some(AckType::Stats)) => Ok(Some(Deleted::counted(ack))),
            (Status::Success, _) => {
                let Some(id) = ack.command_id().and_then(command_number) else { return };
                waiter.accepted = true;
                let deadline = waiter.deadline;
                return self.pending.insert(id, Some(deadline), Waiter::Acknowledge(waiter));
            }
            _ => {
                let topic = std::mem::take(&mut waiter.topic);
                Err(CommandError::Refused { command: "sow_delete", topic, reason: reason_of(ack) })
            }
        };
        let _ = waiter.reply.send(result);
    }

    /// Batches that have waited long enough.
    pub(super) fn acks_due(&mut self, now: Instant) {
        let due = self.subscriptions.iter_mut().filter(|route| route.acks_due.is_some_and(|at| at <= now));
        let due: Vec<_> = due.map(|route| Arc::clone(&route.queue)).collect();
        for queue in due {
            self.send_acks(now, &queue);
        }
    }

    /// The server's word on the backlog of a subscription.
    pub(super) fn backlog_granted(&mut self, now: Instant, id: u64, ack: &Message) {
        let Some(queue) = self.subscriptions.get_mut(id).map(|route| Arc::clone(&route.queue)) else { return };
        queue.with_acks(|acks| acks.granted(granted(ack)));
        self.send_acks(now, &queue);
    }
}

/// The `max_backlog` among the options of an ack.
fn granted(ack: &Message) -> Option<u64> {
    let options = ack.text(Field::Options)?;
    options.split(',').find_map(|option| option.trim().strip_prefix("max_backlog=")?.parse().ok())
}
