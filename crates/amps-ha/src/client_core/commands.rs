use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use amps_core::connection::command_id;
use amps_core::{AckType, Command, CommandKind, Field, Uri};

use super::{AckReply, ClientCore, Flow, Waiter};
use crate::authenticator::Answer;
use crate::error::{Cause, CommandError, MoveError};
use crate::server_chooser::Server;
use crate::subscriptions::{
    AckBatch, EndCause, Entered, Replacement, Route, SubscriptionKind, SubscriptionQueue, SubscriptionSpec,
};

/// Where a command's result goes; the asker may have stopped waiting.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Result<(), CommandError>>);

impl Reply {
    pub(super) fn answer(self, result: Result<(), CommandError>) {
        let _ = self.0.send(result);
    }
}

impl From<oneshot::Sender<Result<(), CommandError>>> for Reply {
    fn from(sender: oneshot::Sender<Result<(), CommandError>>) -> Self {
        Self(sender)
    }
}

/// What an application asks for.
#[derive(Debug)]
pub enum Request {
    /// Enter a subscription or query; messages go to `queue`.
    Enter {
        /// What.
        spec: SubscriptionSpec,
        /// Where to.
        queue: Arc<SubscriptionQueue>,
        /// Told once the server confirmed or refused it.
        reply: oneshot::Sender<Result<(), CommandError>>,
    },
    /// Replace topic, filter or options of the subscription with this queue.
    Replace {
        /// The queue.
        queue: Arc<SubscriptionQueue>,
        /// With what.
        with: Replacement,
        /// Told once the server confirmed or refused it.
        reply: oneshot::Sender<Result<(), CommandError>>,
    },
    /// Pause or resume the bookmark subscriptions with these queues.
    Flow {
        /// Which of the two.
        flow: Flow,
        /// Their queues, at least one.
        queues: Vec<Arc<SubscriptionQueue>>,
        /// Told once the server confirmed or refused it.
        reply: oneshot::Sender<Result<(), CommandError>>,
    },
    /// End the subscription with this queue.
    Leave(Arc<SubscriptionQueue>),
    /// Answer once the server has processed everything published before `after`.
    Flush {
        /// The log's end when this was asked.
        after: u64,
        /// The answer.
        reply: Reply,
    },
    /// Look at the acknowledgements that the subscription with this queue has.
    Acks(Arc<SubscriptionQueue>),
    /// Send all of them, and answer once the server has processed them.
    FlushAcks {
        /// Of the subscription with this queue, or of all.
        queue: Option<Arc<SubscriptionQueue>>,
        /// The answer.
        reply: Reply,
    },
    /// Acknowledge these messages of a queue on the connection there is.
    Acknowledge {
        /// The messages, and what is to become of them.
        batch: AckBatch,
        /// The answer.
        reply: AckReply,
    },
    /// Drain the connection and go on at another server.
    Move {
        /// Where.
        server: Server,
        /// Told when the client is live there, or cannot be.
        reply: oneshot::Sender<Result<(), MoveError>>,
    },
    /// Connect again, if nothing else does.
    Reconnect {
        /// Whether the client connects now; `false` when it is connected.
        reply: oneshot::Sender<bool>,
    },
    /// The disconnect handler failed.
    Blame(Cause),
    /// The authenticator's answer.
    Answer(Answer),
    /// A server that was probed takes connections.
    Probed(Uri),
}

impl Request {
    /// Tells whoever asked that nothing comes of it.
    pub(crate) fn refuse(self, error: CommandError) {
        match self {
            Self::Enter { queue, reply, .. } => {
                queue.end(EndCause::Failed(error.clone()));
                let _ = reply.send(Err(error));
            }
            Self::Flush { reply, .. } | Self::FlushAcks { reply, .. } => reply.answer(Err(error)),
            Self::Replace { reply, .. } | Self::Flow { reply, .. } => drop(reply.send(Err(error))),
            Self::Acknowledge { reply, .. } => drop(reply.send(Err(error))),
            Self::Move { reply, .. } => drop(reply.send(Err(MoveError::Closed))),
            Self::Reconnect { .. }
            | Self::Leave(_)
            | Self::Acks(_)
            | Self::Blame(_)
            | Self::Answer(_)
            | Self::Probed(_) => {}
        }
    }

    /// Whether it waits until the client is live.
    fn needs_connection(&self) -> bool {
        matches!(self, Self::Flush { .. } | Self::Replace { .. } | Self::Flow { .. })
    }

    fn command(&self) -> &'static str {
        match self {
            Self::Replace { .. } => "replace",
            Self::Flow { flow, .. } => flow.as_str(),
            _ => "flush",
        }
    }
}

impl ClientCore {
    /// Takes a request of the application.
    pub fn request(&mut self, now: Instant, request: Request) {
        self.take_request(now, request);
        self.act(now);
        self.check_drained(now);
    }

    fn take_request(&mut self, now: Instant, request: Request) {
        let deadline = now + self.config.command_timeout;
        match request {
            _ if self.session.is_closed() => request.refuse(CommandError::Closed),
            Request::Move { server, reply } => self.move_to(now, server, reply),
            Request::Reconnect { reply } => drop(reply.send(self.reconnect(now))),
            Request::Blame(cause) => self.blame(cause),
            Request::Answer(answer) => self.authenticator_answered(now, answer),
            Request::Probed(uri) => self.session.probed(now, &uri),
            Request::Acks(queue) => self.send_acks(now, &queue),
            Request::FlushAcks { queue, reply } => self.flush_acks(now, queue, reply),
            Request::Acknowledge { batch, reply } => self.acknowledge(now, &batch, reply),
            _ if (request.needs_connection() || matches!(request, Request::Enter { .. }))
                && self.session.is_idle()
                && self.down().is_some() =>
            {
                let cause = self.down().unwrap_or(Cause::Closed);
                request.refuse(CommandError::NotConnected { cause });
            }
            Request::Enter { spec, queue, reply } => {
                if let Some(error) = spec.error() {
                    return Request::Enter { spec, queue, reply }.refuse(error);
                }
                let kind = spec.kind;
                let id = self.subscriptions.insert(spec, queue, Some((reply, deadline)));
                if self.session.is_live() {
                    self.enter(id, None);
                } else if kind != SubscriptionKind::Sow {
                    self.enter_last(now, id);
                }
            }
            Request::Leave(queue) => {
                if let Some(id) = self.subscriptions.by_queue(&queue).map(|route| route.id) {
                    self.leave(now, id);
                }
            }
            _ if request.needs_connection() && !self.session.is_live() => self.requests.push_back((deadline, request)),
            Request::Replace { queue, with, reply } => self.replace(deadline, queue, with, reply),
            Request::Flow { flow, queues, reply } => self.flow(deadline, flow, queues, reply),
            Request::Flush { after, reply } => {
                let id = self.id();
                let flush = Command::new(CommandKind::Flush).id(command_id(id)).acks(AckType::Completed);
                self.pending.insert(id, Some(deadline), Waiter::Flush(reply));
                self.send_after(after, &flush);
            }
        }
    }

    /// Ends a subscription or query, here and on the server.
    pub(super) fn leave(&mut self, now: Instant, id: u64) {
        if let Some(queue) = self.subscriptions.get_mut(id).map(|route| Arc::clone(&route.queue)) {
            // Before its leases end.
            self.send_all_acks(now, std::slice::from_ref(&queue));
            queue.with_acks(|acks| acks.lost());
        }
        let Some(mut route) = self.subscriptions.remove(id) else { return };
        route.queue.end(EndCause::Complete);
        route.answer_replacement(CommandError::SubscriptionEnded);
        self.settle_resubscribe(now);
        if route.entered != Entered::No {
            self.unsubscribe(now, &route);
        }
    }

    fn unsubscribe(&mut self, now: Instant, route: &Route) {
        let field = match route.spec.kind {
            SubscriptionKind::Sow => Field::QueryId,
            _ => Field::SubscriptionId,
        };
        let id = self.id();
        let command = Command::new(CommandKind::Unsubscribe)
            .id(command_id(id))
            .text(field, route.id.to_string())
            .acks(AckType::Processed);
        // Nobody waits for it, but an answer that never comes is not kept for ever.
        self.pending.insert(id, Some(now + self.config.command_timeout), Waiter::Unsubscribe);
        self.send(&command);
    }

    /// Tells whoever waited too long, and, while a full queue holds the reader
    /// back, whoever waits for an answer behind it.
    pub(super) fn expire(&mut self, now: Instant) {
        let after = self.config.command_timeout;
        while let Some((id, waiter)) = self.pending.expired(now) {
            let command = waiter.command();
            self.fail_waiter(id, waiter, CommandError::TimedOut { command, after });
        }
        let (late, rest): (VecDeque<_>, _) =
            std::mem::take(&mut self.requests).into_iter().partition(|(deadline, _)| *deadline <= now);
        self.requests = rest;
        for (_, request) in late {
            let command = request.command();
            request.refuse(CommandError::TimedOut { command, after });
        }
        for route in self.subscriptions.iter_mut().filter(|route| route.replacement_is_late(now)) {
            route.answer_replacement(CommandError::TimedOut { command: "replace", after });
        }
        let expired: Vec<u64> = self
            .subscriptions
            .iter_mut()
            .filter(|route| matches!(route.waiter, Some((_, deadline)) if deadline <= now))
            .map(|route| route.id)
            .collect();
        for id in expired {
            let Some(command) = self.subscriptions.get_mut(id).map(|route| route.spec.command_name()) else { continue };
            self.fail_subscription(now, id, &CommandError::TimedOut { command, after });
        }
        self.report_stall(now);
    }

    fn report_stall(&mut self, now: Instant) {
        if self.stalled_since.is_none_or(|since| since + self.config.deadlock_after > now) {
            return;
        }
        let Self { undelivered, subscriptions, .. } = self;
        let stalled = undelivered.front().and_then(|(id, _)| subscriptions.get_mut(*id));
        let Some(topic) = stalled.map(|route| route.spec.topic.clone()) else {
            // What waited went with its connection or its subscription.
            self.stalled_since = None;
            return;
        };
        self.stalled.send_if_modified(|stalled| {
            let changed = stalled.as_deref() != Some(&topic);
            *stalled = Some(topic.as_str().into());
            changed
        });
        let error = CommandError::WouldDeadlock { topic };
        for (id, waiter) in self.pending.extract(Waiter::is_awaited) {
            self.fail_waiter(id, waiter, error.clone());
        }
        for route in self.subscriptions.iter_mut() {
            route.answer_replacement(error.clone());
        }
        let waiting: Vec<u64> = self
            .subscriptions
            .iter_mut()
            .filter(|route| route.waiter.is_some() && route.entered == Entered::Asked)
            .map(|route| route.id)
            .collect();
        for id in waiting {
            self.fail_subscription(now, id, &error);
        }
    }

    /// Tells whoever waits for an answer. One that changes something here still
    /// counts when it comes.
    fn fail_waiter(&mut self, id: u64, waiter: Waiter, error: CommandError) {
        match waiter {
            Waiter::Flush(reply) => reply.answer(Err(error)),
            Waiter::Acknowledge(waiter) => waiter.fail(error),
            Waiter::Flow(mut flowing) => {
                flowing.fail(error);
                self.pending.insert(id, None, Waiter::Flow(flowing));
            }
            _ => {}
        }
    }

    /// Ends a subscription that whoever asked for it is still waiting for.
    fn fail_subscription(&mut self, now: Instant, id: u64, error: &CommandError) {
        if let Some(route) = self.subscriptions.get_mut(id) {
            route.queue.end(EndCause::Failed(error.clone()));
            route.answer(Err(error.clone()));
        }
        self.leave(now, id);
    }

    /// Sends what waited for the connection to be live.
    pub(super) fn release_requests(&mut self, now: Instant) {
        for (_, request) in std::mem::take(&mut self.requests) {
            self.take_request(now, request);
        }
        let queries: Vec<u64> = self
            .subscriptions
            .iter_mut()
            .filter(|route| route.spec.kind == SubscriptionKind::Sow && route.entered == Entered::No)
            .map(|route| route.id)
            .collect();
        for id in queries {
            self.enter(id, None);
        }
    }

    /// The client is over: everybody who waits is told.
    pub(super) fn fail_everything(&mut self) {
        for (_, request) in std::mem::take(&mut self.requests) {
            request.refuse(CommandError::Closed);
        }
        let ids: Vec<u64> = self.subscriptions.iter_mut().map(|route| route.id).collect();
        for id in ids {
            if let Some(mut route) = self.subscriptions.remove(id) {
                route.queue.end(EndCause::Failed(CommandError::Closed));
                route.answer(Err(CommandError::Closed));
                route.answer_replacement(CommandError::Closed);
            }
        }
        self.undelivered.clear();
        self.log.with(|log| log.close());
    }
}
