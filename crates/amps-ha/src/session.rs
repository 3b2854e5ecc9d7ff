//! The life of a client's connections: which server, when, and in what order
//! recovery goes.
//!
//! `Idle -> Waiting -> Dialing -> LoggingOn -> StartingHeartbeat -> Replaying
//! -> Resubscribing -> Live`, and from any of them, on any failure, to
//! `Waiting` for the next server. A pure function of events and time to
//! [`Action`]s: no clock, no randomness, no socket.

mod action;
mod attempt;
mod config;
mod deciders;
mod moves;
mod name_guard;
mod timeline;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use amps_core::{Uri, planted};

use crate::error::Cause;
use crate::event::{ConnectionState, Event, Recovering, StateChange};
use crate::measure::{Measure, Measures, RecoveryReason};
use crate::reconnect::{AttemptContext, Delay, ReconnectStrategy};
use crate::server_chooser::{LogonInfo, Server, ServerChooser};
pub use action::Action;
use attempt::Attempt;
pub use config::SessionConfig;
use deciders::Deciders;
use name_guard::{KICKS, NameGuard, WINDOW};
use timeline::Timeline;
use tracing::Span;

#[derive(Debug, Clone)]
enum Phase {
    /// Not started, or disconnected for as long as the application wants.
    Idle,
    Waiting {
        since: Instant,
        until: Instant,
        server: Server,
    },
    Dialing {
        deadline: Instant,
    },
    Authenticating {
        deadline: Instant,
    },
    LoggingOn {
        deadline: Instant,
    },
    StartingHeartbeat {
        deadline: Instant,
    },
    Replaying,
    Resubscribing {
        deadline: Instant,
    },
    Live,
    Draining {
        deadline: Instant,
    },
    Closed,
}

/// The state machine. See the [module](self).
pub struct Session {
    config: SessionConfig,
    deciders: Deciders,
    phase: Phase,
    /// The attempt or connection there is.
    attempt: Option<Attempt>,
    /// The server of the newest attempt.
    last: Option<Uri>,
    /// How many attempts there were since the last healthy connection.
    attempts: u64,
    /// Where to go next, whatever the chooser says.
    target: Option<Server>,
    /// A server to be preferred, how often to try it, and when next.
    better: Option<(Server, Duration, Instant)>,
    names: NameGuard,
    timeline: Timeline,
    actions: VecDeque<Action>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("phase", &self.phase).field("uri", &self.uri()).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that does nothing yet.
    pub fn new(config: SessionConfig, chooser: Box<dyn ServerChooser>, reconnect: Box<dyn ReconnectStrategy>) -> Self {
        Self {
            config,
            deciders: Deciders::new(chooser, reconnect),
            phase: Phase::Idle,
            attempt: None,
            last: None,
            attempts: 0,
            target: None,
            better: None,
            names: NameGuard::default(),
            timeline: Timeline::default(),
            actions: VecDeque::new(),
        }
    }

    /// Spans are within `client`, and measures are told there.
    pub(crate) fn observed(&mut self, client: Span, measures: Measures) {
        self.timeline.client = client;
        self.timeline.measures = measures;
    }

    /// The span of the present attempt and the connection it leads to.
    pub(crate) fn connection_span(&self) -> Span {
        self.timeline.connection()
    }

    /// What recovery is at, if that changed since the last call.
    pub(crate) fn recovering_changed(&mut self) -> Option<Option<Recovering>> {
        self.timeline.changed()
    }

    fn go(&mut self, now: Instant, to: Phase) {
        let (server, attempt) = match &to {
            // The attempt it is for is not counted yet.
            Phase::Waiting { server, .. } => (Some(server.uri()), self.attempts + 1),
            _ => (self.last.as_ref(), self.attempts),
        };
        self.timeline.go(now, &to, server, attempt);
        self.phase = to;
    }

    /// The next thing to do. Ask after every other call until there is none.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        let panicked = self.deciders.panics.pop().map(|panicked| Action::Notify(Event::Panicked(panicked)));
        panicked.or_else(|| self.actions.pop_front())
    }

    /// Begins to connect, at first and after [`Action::StayDown`].
    pub fn start(&mut self, now: Instant) {
        if let Phase::Idle = self.phase {
            self.timeline.recover(now, RecoveryReason::Start);
            self.choose(now, false);
        }
    }

    /// The transport is up.
    pub fn dialed(&mut self, now: Instant) {
        if let (Phase::Dialing { .. }, Some(attempt)) = (&self.phase, &mut self.attempt) {
            attempt.connected = Some(now);
            if planted::is("backoff-reset-on-connect") {
                self.deciders.healthy(attempt.uri());
            }
            let server = attempt.server.clone();
            self.notify(now, ConnectionState::Connected, None);
            self.go(now, Phase::LoggingOn { deadline: now + self.config.logon_timeout });
            self.actions.push_back(Action::LogOn(server));
        }
    }

    /// The authenticator is asked for credentials.
    pub fn authenticating(&mut self, now: Instant) {
        if let Phase::LoggingOn { .. } = self.phase {
            self.go(now, Phase::Authenticating { deadline: now + self.config.logon_timeout });
        }
    }

    /// The logon is sent, or sent again.
    pub fn logging_on(&mut self, now: Instant) {
        if let Phase::Authenticating { .. } | Phase::LoggingOn { .. } = self.phase {
            self.go(now, Phase::LoggingOn { deadline: now + self.config.logon_timeout });
        }
    }

    /// Whether to go on at a server that accepted the logon.
    pub fn accepts(&mut self, logon: &LogonInfo) -> bool {
        self.deciders.accepts(logon)
    }

    /// The server accepted the logon, and the publish log goes on there.
    pub fn logged_on(&mut self, now: Instant) {
        if let (Phase::LoggingOn { .. }, Some(attempt)) = (&self.phase, &mut self.attempt) {
            attempt.logged_on = Some(now);
            self.notify(now, ConnectionState::LoggedOn, None);
            if self.config.heartbeats {
                self.go(now, Phase::StartingHeartbeat { deadline: now + self.config.logon_timeout });
                self.actions.push_back(Action::StartHeartbeat);
                if planted::is("replay-before-heartbeat") {
                    self.replay(now);
                }
            } else {
                self.replay(now);
            }
        }
    }

    /// The server confirmed heartbeats.
    pub fn heartbeat_started(&mut self, now: Instant) {
        if let Phase::StartingHeartbeat { .. } = self.phase {
            self.notify(now, ConnectionState::HeartbeatInitiated, None);
            self.replay(now);
        }
    }

    fn replay(&mut self, now: Instant) {
        self.go(now, Phase::Replaying);
        self.actions.push_back(Action::Replay);
    }

    /// Everything that was in the publish log as of the logon is sent.
    pub fn replayed(&mut self, now: Instant) {
        if let Phase::Replaying = self.phase {
            self.notify(now, ConnectionState::PublishReplayed, None);
            self.go(now, Phase::Resubscribing { deadline: now + self.config.resubscribe_timeout });
            self.actions.push_back(Action::Resubscribe);
        }
    }

    /// Every subscription is confirmed.
    pub fn resubscribed(&mut self, now: Instant) {
        if let (Phase::Resubscribing { .. }, Some(attempt)) = (&self.phase, &mut self.attempt) {
            attempt.live = Some(now);
            let report = attempt.report(now);
            self.go(now, Phase::Live);
            self.timeline.measures.tell(&Measure::Attempt { server: &report.uri, failed: None });
            self.deciders.succeeded(&report);
            let better = self.deciders.better(&report.uri);
            self.better = better.map(|(server, every)| (server, every, now + every));
            self.notify(now, ConnectionState::Resubscribed, None);
        }
    }

    /// A server acknowledged something new as persisted, on this connection or
    /// by its logon: the connection is healthy.
    pub fn progressed(&mut self) {
        if let Some(attempt) = &mut self.attempt
            && attempt.connected.is_some()
            && !std::mem::replace(&mut attempt.healthy, true)
        {
            self.deciders.healthy(attempt.uri());
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
        let Some(attempt) = self.end_attempt(now, &cause) else { return };
        tracing::info!(
            server = %attempt.uri(), attempt = attempt.number, %cause, "connection attempt failed or connection lost"
        );
        if attempt.live.is_none() {
            self.timeline.measures.tell(&Measure::Attempt { server: attempt.uri(), failed: Some(&cause) });
        } else if self.config.recovers {
            self.timeline.recover(now, RecoveryReason::Loss);
        } else {
            self.target = None;
            self.count_anew_after(&attempt);
            return self.actions.push_back(Action::StayDown(cause));
        }
        let report = attempt.report(now);
        self.deciders.failed(&report, &cause);
        self.names.lasted(report.times.live);
        if attempt.logged_on.is_some() && cause.is_cut() && self.names.kicked(now, attempt.uri()) {
            let uri = attempt.uri().clone();
            tracing::warn!(server = %uri, "another client probably uses the same name");
            self.tell(Event::NameContested { uri, kicks: KICKS, within: WINDOW });
        }
        let after_loss = attempt.healthy || attempt.live.is_some();
        let refused = cause.is_auth_failure();
        let uri = attempt.uri().clone();
        self.tell(Event::AttemptFailed { uri, attempt: attempt.number, cause: cause.clone() });
        self.count_anew_after(&attempt);
        match refused && self.config.stop_on_auth_failure {
            true => self.shut_down(now, cause),
            false => self.choose(now, after_loss),
        }
    }

    fn count_anew_after(&mut self, attempt: &Attempt) {
        if attempt.healthy {
            self.attempts = 0;
        }
    }

    /// Drops what there is of a connection, and says so.
    fn end_attempt(&mut self, now: Instant, cause: &Cause) -> Option<Attempt> {
        self.attempt.as_ref()?;
        self.actions.push_back(Action::HangUp);
        self.go(now, Phase::Idle);
        self.timeline.connection_over(cause);
        self.better = None;
        if self.is_connected() {
            self.notify(now, ConnectionState::Disconnected, Some(cause.clone()));
        }
        self.attempt.take()
    }

    fn choose(&mut self, now: Instant, after_loss: bool) {
        let (server, delay) = match self.target.take() {
            Some(server) => (server, Delay::Wait(Duration::ZERO)),
            None => match self.deciders.server() {
                Ok(server) => {
                    let name = server.uri().to_string();
                    let delay = self.deciders.delay(&AttemptContext::new(&name, now).after_loss(after_loss));
                    (server, delay)
                }
                Err(reason) => return self.shut_down(now, Cause::GaveUp(reason)),
            },
        };
        match delay {
            Delay::Wait(delay) => self.go(now, Phase::Waiting { since: now, until: now + delay, server }),
            Delay::GiveUp { reason } => return self.shut_down(now, Cause::GaveUp(reason)),
        }
        self.timeout(now);
    }

    /// Ends everything; nothing follows but `Shutdown`.
    pub fn close(&mut self, now: Instant) {
        if !self.is_closed() {
            self.end_attempt(now, &Cause::ByUser);
            self.shut_down(now, Cause::ByUser);
        }
    }

    fn shut_down(&mut self, now: Instant, cause: Cause) {
        self.go(now, Phase::Closed);
        self.notify(now, ConnectionState::Shutdown, Some(cause));
    }

    /// When [`timeout`](Self::timeout) has something to do. Changes after
    /// every other call.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until: at, .. }
            | Phase::Dialing { deadline: at }
            | Phase::Authenticating { deadline: at }
            | Phase::LoggingOn { deadline: at }
            | Phase::StartingHeartbeat { deadline: at }
            | Phase::Resubscribing { deadline: at }
            | Phase::Draining { deadline: at } => Some(at),
            Phase::Live => self.calm_at().into_iter().chain(self.better.as_ref().map(|(_, _, at)| *at)).min(),
            Phase::Idle | Phase::Replaying | Phase::Closed => None,
        }
    }

    /// When the connection has been live for long enough.
    fn calm_at(&self) -> Option<Instant> {
        let attempt = self.attempt.as_ref().filter(|attempt| !attempt.healthy)?;
        Some(attempt.live? + self.names.healthy_after(self.config.healthy_after))
    }

    /// Time has passed. Spurious calls are harmless.
    pub fn timeout(&mut self, now: Instant) {
        if self.deadline().is_none_or(|at| now < at) {
            return;
        }
        match self.phase.clone() {
            Phase::Waiting { since, server, .. } => {
                let uri = server.uri().clone();
                self.attempts += 1;
                let waited = now.saturating_duration_since(since);
                self.attempt = Some(Attempt::new(server, self.attempts, now, waited));
                self.last = Some(uri.clone());
                self.timeline.attempt(&uri, self.attempts);
                self.go(now, Phase::Dialing { deadline: now + self.config.connect_timeout });
                self.actions.push_back(Action::Dial(uri));
            }
            Phase::Dialing { .. } => self.failed(now, Cause::ConnectTimeout(self.config.connect_timeout)),
            Phase::Authenticating { .. } => self.failed(now, Cause::AuthenticatorTimeout(self.config.logon_timeout)),
            Phase::LoggingOn { .. } | Phase::StartingHeartbeat { .. } => {
                self.failed(now, Cause::LogonTimeout(self.config.logon_timeout));
            }
            Phase::Resubscribing { .. } => {
                self.failed(now, Cause::ResubscribeTimeout(self.config.resubscribe_timeout));
            }
            Phase::Live => self.live_timeout(now),
            Phase::Draining { .. } => self.leave(now),
            Phase::Idle | Phase::Replaying | Phase::Closed => {}
        }
    }

    fn live_timeout(&mut self, now: Instant) {
        if self.calm_at().is_some_and(|at| at <= now) {
            self.progressed();
        }
        if let Some((server, every, at)) = &mut self.better
            && *at <= now
        {
            *at = now + *every;
            self.actions.push_back(Action::Probe(server.uri().clone()));
        }
    }

    fn is_connected(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.connected.is_some())
    }

    /// Whether the publish log may flow.
    pub fn may_publish(&self) -> bool {
        matches!(self.phase, Phase::Replaying | Phase::Resubscribing { .. } | Phase::Live | Phase::Draining { .. })
    }

    /// Whether recovery is complete, and no move has begun.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// Whether the connection is drained, to be left.
    pub fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    /// Whether subscriptions are being entered again.
    pub fn is_resubscribing(&self) -> bool {
        matches!(self.phase, Phase::Resubscribing { .. })
    }

    /// Whether there is no connection, and none is sought.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Whether the session is over for good.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The server of the current attempt or connection.
    pub fn uri(&self) -> Option<&Uri> {
        self.attempt.as_ref().map(Attempt::uri)
    }

    fn notify(&mut self, now: Instant, state: ConnectionState, cause: Option<Cause>) {
        let change = StateChange { state, uri: self.last.clone(), attempt: self.attempts, cause, at: now };
        tracing::debug!(?state, server = change.uri.as_ref().map(tracing::field::display), "connection state");
        self.tell(Event::State(change));
    }

    fn tell(&mut self, event: Event) {
        self.actions.push_back(Action::Notify(event));
    }
}

#[cfg(test)]
mod tests;
