//! Acknowledgements of queues' messages on their way to the server (AMPS User
//! Guide, "Message Queues").

use std::sync::Arc;
use std::time::Instant;

use amps_core::connection::command_id;
use amps_core::{AckType, Command, CommandKind, Field, Message};

use super::commands::Reply;
use super::{ClientCore, Waiter};
use crate::error::CommandError;
use crate::subscriptions::SubscriptionQueue;

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
