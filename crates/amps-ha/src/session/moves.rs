//! Planned moves to another server.

use std::time::Instant;

use amps_core::Uri;

use super::{Action, Phase, Session};
use crate::error::Cause;
use crate::measure::RecoveryReason;
use crate::server_chooser::Server;

impl Session {
    /// Goes to a server of the application's choice. A live connection is
    /// drained first; anything else is given up at once. `false` when the
    /// session is closed, or live at that server already.
    pub fn move_to(&mut self, now: Instant, server: Server) -> bool {
        let live = matches!(self.phase, Phase::Live | Phase::Draining { .. });
        if self.is_closed() || (self.is_live() && self.uri() == Some(server.uri())) {
            return false;
        }
        self.target = Some(server);
        if !live {
            self.leave(now);
        } else if self.is_live() {
            self.go(now, Phase::Draining { deadline: now + self.config.drain_timeout });
            self.actions.push_back(Action::Drain);
        }
        true
    }

    /// What was to be drained is.
    pub fn drained(&mut self, now: Instant) {
        if let Phase::Draining { .. } = self.phase {
            self.leave(now);
        }
    }

    /// Leaves for the target, without blaming anybody.
    pub(super) fn leave(&mut self, now: Instant) {
        if let Some(target) = &self.target {
            let cause = Cause::Moved(target.uri().clone());
            if let Some(attempt) = self.end_attempt(now, &cause) {
                self.count_anew_after(&attempt);
            }
            self.timeline.recover(now, RecoveryReason::Move);
            self.choose(now, false);
        }
    }

    /// A preferred server takes connections.
    pub fn probed(&mut self, now: Instant, uri: &Uri) {
        if let Some((server, _, _)) = self.better.take_if(|(server, _, _)| server.uri() == uri)
            && self.is_live()
        {
            self.move_to(now, server);
        }
    }
}
