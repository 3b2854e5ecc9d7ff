//! Leaving a connection on purpose, and being without one on purpose.

use std::time::Instant;

use amps_core::connection::command_id;
use amps_core::{AckType, Command, CommandKind, Uri, planted};
use tokio::sync::oneshot;

use super::{ClientCore, Waiter};
use crate::error::{Cause, CommandError, MoveError};
use crate::event::{ConnectionState, Event};
use crate::server_chooser::Server;
use crate::subscriptions::{EndCause, Entered, SubscriptionKind};

/// Where a move's outcome goes; the asker may have stopped waiting.
pub(super) type MoveReply = oneshot::Sender<Result<(), MoveError>>;

/// A planned move.
#[derive(Debug)]
pub(super) struct Moving {
    to: Uri,
    reply: MoveReply,
}

impl ClientCore {
    pub(super) fn move_to(&mut self, now: Instant, server: Server, reply: MoveReply) {
        if let Some(before) = self.moving.take() {
            let _ = before.reply.send(Err(MoveError::Superseded));
        }
        let to = server.uri().clone();
        self.summary.send_modify(|summary| summary.down = None);
        if self.session.move_to(now, server) {
            self.moving = Some(Moving { to, reply });
        } else {
            let _ = reply.send(if self.session.is_closed() { Err(MoveError::Closed) } else { Ok(()) });
        }
    }

    /// Tells whoever asked for a move how it ended.
    pub(super) fn note_move(&mut self, event: &Event) {
        let Some(moving) = &self.moving else { return };
        let result = match event {
            Event::State(change) if change.state == ConnectionState::Shutdown => Err(MoveError::Closed),
            Event::State(change) if change.state == ConnectionState::Resubscribed => match &change.uri {
                Some(uri) if *uri == moving.to => Ok(()),
                _ => return,
            },
            Event::AttemptFailed { uri, cause, .. } if *uri == moving.to && !planted::is("failed-move-not-told") => {
                Err(MoveError::Failed { uri: uri.clone(), cause: cause.clone() })
            }
            _ => return,
        };
        if let Some(moving) = self.moving.take() {
            let _ = moving.reply.send(result);
        }
    }

    /// Sends what there is and nothing newer. Without a store, and of
    /// acknowledgements of queues' messages, only a flush tells that the server
    /// has it.
    pub(super) fn drain(&mut self, now: Instant) {
        let queues = self.all_queues();
        self.send_all_acks(now, &queues);
        self.drain_end = self.log.with(|log| {
            log.leaving();
            log.end()
        });
        if self.acknowledged_messages || !self.log.peek(|log| log.is_sequenced()) {
            let id = self.id();
            let flush = Command::new(CommandKind::Flush).id(command_id(id)).acks(AckType::Completed);
            self.pending.insert(id, None, Waiter::Drain);
            self.send_after(self.drain_end, &flush);
        }
        self.check_drained(now);
    }

    /// The connection is left when nothing on it is open any more.
    pub(super) fn check_drained(&mut self, now: Instant) {
        if self.session.is_draining() && self.is_drained() {
            self.session.drained(now);
            self.act(now);
        }
    }

    fn is_drained(&mut self) -> bool {
        let end = self.drain_end;
        let settled = self.log.peek(|log| !log.is_sequenced() || log.cursors().settled >= end);
        let open = self.subscriptions.iter_mut().any(|route| {
            let runs = route.spec.kind == SubscriptionKind::Sow && route.entered != Entered::No;
            runs || route.is_open()
        });
        settled && !open && self.pending.is_empty() && self.outbox.ordered.is_empty()
    }

    /// There is no connection, and none will be sought: whoever waits for one
    /// is told.
    pub(super) fn stay_down(&mut self, cause: Cause) {
        let error = CommandError::NotConnected { cause: cause.clone() };
        for (_, request) in std::mem::take(&mut self.requests) {
            request.refuse(error.clone());
        }
        let waiting: Vec<_> =
            self.subscriptions.iter_mut().filter(|route| route.waiter.is_some()).map(|route| route.id).collect();
        for mut route in waiting.into_iter().filter_map(|id| self.subscriptions.remove(id)) {
            route.queue.end(EndCause::Failed(error.clone()));
            route.answer(Err(error.clone()));
        }
        self.summary.send_modify(|summary| {
            summary.down = Some(cause);
            summary.downs += 1;
        });
    }

    /// Why there is no connection and none will be sought.
    pub(super) fn down(&self) -> Option<Cause> {
        self.summary.borrow().down.clone()
    }

    /// The application wants a connection again. `false` when there is one.
    pub(super) fn reconnect(&mut self, now: Instant) -> bool {
        if self.session.is_live() || self.session.is_draining() {
            return false;
        }
        self.summary.send_modify(|summary| summary.down = None);
        self.session.start(now);
        true
    }

    /// The disconnect handler failed, which explains why there is no
    /// connection.
    pub(super) fn blame(&mut self, cause: Cause) {
        if let Cause::Panicked(panicked) = &cause {
            self.notify(Event::Panicked(panicked.clone()));
        }
        self.summary.send_if_modified(|summary| {
            let down = summary.down.is_some();
            if down {
                summary.down = Some(cause);
            }
            down
        });
    }
}
