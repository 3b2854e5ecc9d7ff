//! Subscriptions that are entered: replaced, paused, resumed (AMPS User Guide,
//! "Replacing Subscriptions" and "Pausing and Resuming").

use std::sync::Arc;
use std::time::Instant;

use amps_core::connection::command_id;
use amps_core::{AckType, Command, CommandKind, Field, Message, StartAt, Status, planted};
use tokio::sync::oneshot;

use super::recovery::reason_of;
use super::{ClientCore, Request, Waiter};
use crate::error::{Cause, CommandError};
use crate::subscriptions::{Replacement, Replacing, Route, SubscriptionKind, SubscriptionQueue};

type Reply = oneshot::Sender<Result<(), CommandError>>;

/// Whether messages flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They stop.
    Pause,
    /// They go on.
    Resume,
}

impl Flow {
    /// The option on the wire, and the command's name in errors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// A pause or a resumption the server has not answered yet.
#[derive(Debug)]
pub(super) struct Flowing {
    flow: Flow,
    queues: Vec<Arc<SubscriptionQueue>>,
    /// It belongs to the recovery.
    recovers: bool,
    waiter: Option<(Reply, Instant)>,
}

impl Flowing {
    /// Tells whoever waits.
    pub(super) fn fail(&mut self, error: CommandError) {
        if let Some((reply, _)) = self.waiter.take() {
            let _ = reply.send(Err(error));
        }
    }

    pub(super) fn is_awaited(&self) -> bool {
        self.waiter.is_some()
    }

    /// The command, for errors.
    pub(super) fn command(&self) -> &'static str {
        self.flow.as_str()
    }
}

impl ClientCore {
    /// Replaces topic, filter or options of a subscription. What resumes it is
    /// its place in this server's log, so that there is no gap between the two.
    pub(super) fn replace(
        &mut self,
        deadline: Instant,
        queue: Arc<SubscriptionQueue>,
        with: Replacement,
        reply: Reply,
    ) {
        let Some(route) = self.subscriptions.by_queue(&queue) else {
            return drop(reply.send(Err(CommandError::SubscriptionEnded)));
        };
        if route.spec.kind == SubscriptionKind::Sow {
            let error = route.spec.invalid("replace", "a query is over when it is answered");
            return drop(reply.send(Err(error)));
        }
        let spec = with.of(&route.spec);
        if let Some(error) = spec.error() {
            return drop(reply.send(Err(error)));
        }
        if route.replacing.is_some() {
            // One after the other: each starts from what the one before left.
            return self.requests.push_back((deadline, Request::Replace { queue, with, reply }));
        }
        let place = route.queue.with_bookmarks(|bookmarks| bookmarks.place());
        // One that is paused gets neither a message nor `completed`.
        if place == Some(None) && !route.spec.paused {
            return self.requests.push_back((deadline, Request::Replace { queue, with, reply }));
        }
        let start = place.map(|place| place.unwrap_or(StartAt::Now));
        let extra: &[&str] = if spec.paused { &["replace", "pause"] } else { &["replace"] };
        let command = spec.command(route.id, start.as_ref(), extra, route.queue.stats().delivered);
        route.replacing = Some(Replacing { with, start, waiter: Some((reply, deadline)) });
        self.send(&command);
    }

    /// The server's answer to a replacement. Without one that succeeded the
    /// subscription is what it was, here and on later connections.
    pub(super) fn replace_answered(&mut self, now: Instant, id: u64, replacing: Replacing, ack: &Message) {
        let Some(route) = self.subscriptions.get_mut(id) else { return };
        let result = match ack.status() {
            Status::Success => {
                if !planted::is("replacement-forgotten") {
                    route.set_spec(replacing.with.of(&route.spec));
                }
                if route.spec.kind.queries() {
                    route.markers.replaced();
                }
                if let Some(start) = replacing.start {
                    route.queue.with_bookmarks(|bookmarks| bookmarks.replaced(start));
                }
                Ok(())
            }
            _ => {
                let (command, topic) = ("replace", route.spec.topic.clone());
                Err(CommandError::Refused { command, topic, reason: reason_of(ack) })
            }
        };
        if let Some((reply, _)) = replacing.waiter {
            let _ = reply.send(result);
        }
        self.release_requests(now);
    }

    /// Pauses or resumes bookmark subscriptions with one command.
    pub(super) fn flow(&mut self, deadline: Instant, flow: Flow, queues: Vec<Arc<SubscriptionQueue>>, reply: Reply) {
        for queue in &queues {
            let error = match self.subscriptions.by_queue(queue) {
                None => CommandError::SubscriptionEnded,
                Some(route) if !route.spec.can_pause() => {
                    route.spec.invalid(flow.as_str(), "only a bookmark subscription has a place to go on from")
                }
                Some(_) => continue,
            };
            return drop(reply.send(Err(error)));
        }
        let waiter = Some((reply, deadline));
        self.send_flow(Some(deadline), Flowing { flow, queues, recovers: false, waiter });
    }

    /// Resumes what was resumed together before the connection was lost.
    pub(super) fn resume_together(&mut self, queues: Vec<Arc<SubscriptionQueue>>) {
        self.send_flow(None, Flowing { flow: Flow::Resume, queues, recovers: true, waiter: None });
    }

    fn send_flow(&mut self, deadline: Option<Instant>, flowing: Flowing) {
        let mut ids = String::new();
        let mut topic = String::new();
        for queue in &flowing.queues {
            let Some(route) = self.subscriptions.by_queue(queue) else { continue };
            if ids.is_empty() {
                topic.clone_from(&route.spec.topic);
            } else {
                ids.push(',');
            }
            ids.push_str(&route.id.to_string());
        }
        let id = self.id();
        let command = Command::new(CommandKind::Subscribe)
            .id(command_id(id))
            .topic(topic)
            .text(Field::SubscriptionId, ids)
            .text(Field::Options, flowing.flow.as_str())
            .acks(AckType::Processed);
        self.pending.insert(id, deadline, Waiter::Flow(flowing));
        self.send(&command);
    }

    /// The server's answer to a pause or a resumption.
    ///
    /// # Errors
    /// When it belongs to the recovery, which then has failed.
    pub(super) fn flow_answered(&mut self, now: Instant, flowing: Flowing, ack: &Message) -> Result<(), Cause> {
        let Flowing { flow, queues, recovers, waiter } = flowing;
        let mut topic = String::new();
        let group = (queues.len() > 1 && flow == Flow::Resume).then(|| self.id());
        for queue in &queues {
            let Some(route) = self.subscriptions.by_queue(queue) else { continue };
            topic.clone_from(&route.spec.topic);
            if ack.status() == Status::Success {
                route.set_paused(flow == Flow::Pause);
                route.together = group;
            }
        }
        let refused = (ack.status() != Status::Success).then(|| reason_of(ack));
        match refused {
            Some(reason) if recovers => return Err(Cause::ResubscribeRefused { topic, reason }),
            None if recovers => {
                self.reentry.resuming -= 1;
                self.settle_resubscribe(now);
            }
            refused => {
                let command = flow.as_str();
                let error = |reason| CommandError::Refused { command, topic, reason };
                if let Some((reply, _)) = waiter {
                    let _ = reply.send(refused.map_or(Ok(()), |reason| Err(error(reason))));
                }
            }
        }
        Ok(())
    }

    /// What was not answered before the connection was lost is asked again on
    /// the next, or refused.
    pub(super) fn leave_changes(&mut self) {
        for waiter in self.pending.drain() {
            match waiter {
                Waiter::Flush(reply) => reply.answer(Err(CommandError::Disconnected)),
                Waiter::Acknowledge(waiter) => waiter.fail(CommandError::Disconnected),
                Waiter::Flow(Flowing { flow, queues, waiter: Some((reply, deadline)), .. }) => {
                    self.unanswered(deadline, Request::Flow { flow, queues, reply });
                }
                _ => {}
            }
        }
        let replacing = |route: &mut Route| Some((Arc::clone(&route.queue), route.replacing.take()?));
        let replaced: Vec<_> = self.subscriptions.iter_mut().filter_map(replacing).collect();
        for (queue, Replacing { with, waiter, .. }) in replaced {
            if let Some((reply, deadline)) = waiter {
                self.unanswered(deadline, Request::Replace { queue, with, reply });
            }
        }
    }

    fn unanswered(&mut self, deadline: Instant, request: Request) {
        match self.config.retry && self.config.resubscribe {
            true => self.requests.push_back((deadline, request)),
            false => request.refuse(CommandError::Disconnected),
        }
    }
}
