//! The life of a client's connections: which server, when, and in what order
//! recovery goes.
//!
//! `Idle -> Waiting -> Dialing -> LoggingOn -> StartingHeartbeat -> Replaying
//! -> Resubscribing -> Live`, and from any of them, on any failure, to
//! `Waiting` for the next server. A pure function of events and time to
//! [`Action`]s: no clock, no randomness, no socket.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use amps_core::Uri;

use crate::error::Cause;
use crate::event::{ConnectionState, Event, StateChange};
use crate::reconnect::{AttemptContext, Delay, ReconnectStrategy};
use crate::server_chooser::ServerChooser;

/// Time limits of a session.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// For opening the transport: 5 s.
    pub connect_timeout: Duration,
    /// For the logon's answer, and again for the heartbeat's: 5 s.
    pub logon_timeout: Duration,
    /// For all subscriptions together to be confirmed: 10 s.
    pub resubscribe_timeout: Duration,
    /// Live for so long, a connection proved healthy: 5 s.
    pub healthy_after: Duration,
    /// Whether heartbeats are started.
    pub heartbeats: bool,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            logon_timeout: Duration::from_secs(5),
            resubscribe_timeout: Duration::from_secs(10),
            healthy_after: Duration::from_secs(5),
            heartbeats: true,
        }
    }
}

/// What the session wants done.
#[derive(Debug)]
pub enum Action {
    /// Open a transport; answer with [`Session::dialed`] or
    /// [`Session::failed`].
    Dial(Uri),
    /// Send the logon; answer with [`Session::logged_on`].
    LogOn(Uri),
    /// Start heartbeats; answer with [`Session::heartbeat_started`].
    StartHeartbeat,
    /// Let the publish log flow; answer with [`Session::replayed`] when
    /// everything that was in it as of the logon is sent.
    Replay,
    /// Enter all subscriptions; answer with [`Session::resubscribed`].
    Resubscribe,
    /// Drop the transport, or the attempt to open it.
    HangUp,
    /// Tell whoever listens.
    Notify(Event),
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Idle,
    Waiting { until: Instant, uri: Uri },
    Dialing { deadline: Instant },
    LoggingOn { deadline: Instant },
    StartingHeartbeat { deadline: Instant },
    Replaying,
    Resubscribing { deadline: Instant },
    Live { since: Instant },
    Closed,
}

/// The state machine. See the [module](self).
pub struct Session {
    config: SessionConfig,
    chooser: Box<dyn ServerChooser>,
    reconnect: Box<dyn ReconnectStrategy>,
    phase: Phase,
    uri: Option<Uri>,
    attempt: u64,
    /// This connection proved healthy.
    healthy: bool,
    actions: VecDeque<Action>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("phase", &self.phase).field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that does nothing yet.
    pub fn new(config: SessionConfig, chooser: Box<dyn ServerChooser>, reconnect: Box<dyn ReconnectStrategy>) -> Self {
        let actions = VecDeque::new();
        Self { config, chooser, reconnect, phase: Phase::Idle, uri: None, attempt: 0, healthy: false, actions }
    }

    /// The next thing to do. Ask after every other call until there is none.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Begins to connect.
    pub fn start(&mut self, now: Instant) {
        if self.phase == Phase::Idle {
            self.choose(now, false);
        }
    }

    /// The transport is up.
    pub fn dialed(&mut self, now: Instant) {
        if let (Phase::Dialing { .. }, Some(uri)) = (&self.phase, self.uri.clone()) {
            self.phase = Phase::LoggingOn { deadline: now + self.config.logon_timeout };
            self.notify(ConnectionState::Connected, None);
            self.actions.push_back(Action::LogOn(uri));
        }
    }

    /// The server accepted the logon, and the publish log goes on there.
    pub fn logged_on(&mut self, now: Instant) {
        if let Phase::LoggingOn { .. } = self.phase {
            self.notify(ConnectionState::LoggedOn, None);
            if self.config.heartbeats {
                self.phase = Phase::StartingHeartbeat { deadline: now + self.config.logon_timeout };
                self.actions.push_back(Action::StartHeartbeat);
            } else {
                self.replay();
            }
        }
    }

    /// The server confirmed heartbeats.
    pub fn heartbeat_started(&mut self) {
        if let Phase::StartingHeartbeat { .. } = self.phase {
            self.notify(ConnectionState::HeartbeatInitiated, None);
            self.replay();
        }
    }

    fn replay(&mut self) {
        self.phase = Phase::Replaying;
        self.actions.push_back(Action::Replay);
    }

    /// Everything that was in the publish log as of the logon is sent.
    pub fn replayed(&mut self, now: Instant) {
        if self.phase == Phase::Replaying {
            self.notify(ConnectionState::PublishReplayed, None);
            self.phase = Phase::Resubscribing { deadline: now + self.config.resubscribe_timeout };
            self.actions.push_back(Action::Resubscribe);
        }
    }

    /// Every subscription is confirmed.
    pub fn resubscribed(&mut self, now: Instant) {
        if let Phase::Resubscribing { .. } = self.phase {
            self.phase = Phase::Live { since: now };
            if let Some(uri) = self.uri.clone() {
                self.chooser.report_success(&uri);
            }
            self.notify(ConnectionState::Resubscribed, None);
        }
    }

    /// A server acknowledged something new as persisted, on this connection or
    /// by its logon: the connection is healthy.
    pub fn progressed(&mut self) {
        if !matches!(self.phase, Phase::Idle | Phase::Waiting { .. } | Phase::Dialing { .. } | Phase::Closed) {
            self.prove_healthy();
        }
    }

    fn prove_healthy(&mut self) {
        if !self.healthy
            && let Some(uri) = &self.uri
        {
            self.healthy = true;
            self.reconnect.healthy(&uri.to_string());
        }
    }

    /// The connection is lost. Nothing when the session itself had given it up
    /// and may already be at the next one.
    pub fn lost(&mut self, now: Instant, cause: Cause) {
        if !matches!(self.phase, Phase::Dialing { .. }) {
            self.failed(now, cause);
        }
    }

    /// The attempt failed, or the connection is lost.
    pub fn failed(&mut self, now: Instant, cause: Cause) {
        if let Phase::Idle | Phase::Waiting { .. } | Phase::Closed = self.phase {
            return;
        }
        let was_live = self.healthy || self.is_live();
        let was_connected = !matches!(self.phase, Phase::Dialing { .. });
        self.phase = Phase::Idle;
        self.actions.push_back(Action::HangUp);
        if was_connected {
            self.notify(ConnectionState::Disconnected, Some(cause.clone()));
        }
        if let Some(uri) = self.uri.take() {
            tracing::info!(server = %uri, attempt = self.attempt, %cause, "connection attempt failed or connection lost");
            self.chooser.report_failure(&uri, &cause);
            let failed = Event::AttemptFailed { uri, attempt: self.attempt, cause };
            self.actions.push_back(Action::Notify(failed));
        }
        self.choose(now, was_live);
    }

    fn choose(&mut self, now: Instant, after_loss: bool) {
        let Some(uri) = self.chooser.current() else {
            return self.shut_down(Cause::GaveUp(self.chooser.error()));
        };
        let name = uri.to_string();
        let context = AttemptContext::new(&name, now).after_loss(after_loss);
        match self.reconnect.next_delay(&context) {
            Delay::Wait(delay) => self.phase = Phase::Waiting { until: now + delay, uri },
            Delay::GiveUp { reason } => self.shut_down(Cause::GaveUp(reason)),
        }
        self.timeout(now);
    }

    /// Ends everything; nothing follows but `Shutdown`.
    pub fn close(&mut self) {
        let connected =
            !matches!(self.phase, Phase::Idle | Phase::Waiting { .. } | Phase::Dialing { .. } | Phase::Closed);
        if self.phase == Phase::Closed {
            return;
        }
        self.actions.push_back(Action::HangUp);
        if connected {
            self.notify(ConnectionState::Disconnected, Some(Cause::ByUser));
        }
        self.shut_down(Cause::ByUser);
    }

    fn shut_down(&mut self, cause: Cause) {
        self.phase = Phase::Closed;
        self.notify(ConnectionState::Shutdown, Some(cause));
    }

    /// When [`timeout`](Self::timeout) has something to do. Changes after
    /// every other call.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until: at, .. }
            | Phase::Dialing { deadline: at }
            | Phase::LoggingOn { deadline: at }
            | Phase::StartingHeartbeat { deadline: at }
            | Phase::Resubscribing { deadline: at } => Some(at),
            Phase::Live { since } if !self.healthy => Some(since + self.config.healthy_after),
            Phase::Idle | Phase::Replaying | Phase::Live { .. } | Phase::Closed => None,
        }
    }

    /// Time has passed. Spurious calls are harmless.
    pub fn timeout(&mut self, now: Instant) {
        if self.deadline().is_none_or(|at| now < at) {
            return;
        }
        match self.phase.clone() {
            Phase::Waiting { uri, .. } => {
                self.attempt = if self.healthy { 1 } else { self.attempt + 1 };
                self.healthy = false;
                self.phase = Phase::Dialing { deadline: now + self.config.connect_timeout };
                self.uri = Some(uri.clone());
                self.actions.push_back(Action::Dial(uri));
            }
            Phase::Dialing { .. } => self.failed(now, Cause::ConnectTimeout(self.config.connect_timeout)),
            Phase::LoggingOn { .. } | Phase::StartingHeartbeat { .. } => {
                self.failed(now, Cause::LogonTimeout(self.config.logon_timeout));
            }
            Phase::Resubscribing { .. } => {
                self.failed(now, Cause::ResubscribeTimeout(self.config.resubscribe_timeout));
            }
            Phase::Live { .. } => self.prove_healthy(),
            Phase::Idle | Phase::Replaying | Phase::Closed => {}
        }
    }

    /// Whether the publish log may flow.
    pub fn may_publish(&self) -> bool {
        matches!(self.phase, Phase::Replaying | Phase::Resubscribing { .. } | Phase::Live { .. })
    }

    /// Whether recovery is complete.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live { .. })
    }

    /// Whether subscriptions are being entered again.
    pub fn is_resubscribing(&self) -> bool {
        matches!(self.phase, Phase::Resubscribing { .. })
    }

    /// Whether the session is over for good.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// The server of the current attempt or connection.
    pub fn uri(&self) -> Option<&Uri> {
        self.uri.as_ref()
    }

    fn notify(&mut self, state: ConnectionState, cause: Option<Cause>) {
        let change = StateChange { state, uri: self.uri.clone(), attempt: self.attempt, cause };
        tracing::debug!(?state, server = change.uri.as_ref().map(tracing::field::display), "connection state");
        self.actions.push_back(Action::Notify(Event::State(change)));
    }
}

#[cfg(test)]
mod tests;
