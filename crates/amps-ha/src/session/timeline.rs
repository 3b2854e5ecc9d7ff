//! The way of the connections as spans and measures: `amps.recovery` with its
//! phases, and `amps.connection`. Changes nothing about where it goes.

use std::time::Instant;

use amps_core::Uri;
use tracing::{Span, debug_span, field, info_span};

use super::Phase;
use crate::error::Cause;
use crate::event::Recovering;
use crate::measure::{Measure, Measures, RecoveryPhase, RecoveryReason};

/// What is open now.
#[derive(Debug)]
pub(super) struct Timeline {
    /// What everything is within.
    pub(super) client: Span,
    pub(super) measures: Measures,
    recovery: Option<Recovery>,
    running: Option<Running>,
    connection: Span,
    changed: bool,
}

#[derive(Debug)]
struct Recovery {
    reason: RecoveryReason,
    began: Instant,
    attempts: u64,
    span: Span,
}

#[derive(Debug)]
struct Running {
    now: Recovering,
    /// Open while the phase lasts.
    _span: Span,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            client: Span::none(),
            measures: Measures::default(),
            recovery: None,
            running: None,
            connection: Span::none(),
            changed: false,
        }
    }
}

impl Timeline {
    /// A recovery begins, unless one goes on.
    pub(super) fn recover(&mut self, now: Instant, reason: RecoveryReason) {
        if self.recovery.is_none() {
            let span = info_span!(
                parent: &self.client,
                "amps.recovery",
                reason = reason.as_str(),
                attempts = field::Empty,
                outcome = field::Empty
            );
            self.recovery = Some(Recovery { reason, began: now, attempts: 0, span });
        }
    }

    /// The session goes from one phase to another, for an attempt at `server`.
    pub(super) fn go(&mut self, now: Instant, to: &Phase, server: Option<&Uri>, attempt: u64) {
        let phase = phase_of(to);
        let goes_on = phase == self.running.as_ref().map(|running| running.now.phase);
        if !goes_on || phase == Some(RecoveryPhase::Wait) {
            self.end_phase(now);
            self.begin_phase(now, phase, server, attempt);
        }
        match to {
            Phase::Live => self.recovered(now),
            Phase::Closed => self.recovery_over("closed"),
            _ => {}
        }
    }

    fn end_phase(&mut self, now: Instant) {
        if let Some(Running { now: done, .. }) = self.running.take() {
            let took = now.saturating_duration_since(done.since);
            self.measures.tell(&Measure::Phase { phase: done.phase, took });
            self.changed = true;
        }
    }

    fn begin_phase(&mut self, now: Instant, phase: Option<RecoveryPhase>, server: Option<&Uri>, attempt: u64) {
        if let (Some(phase), Some(server), Some(recovery)) = (phase, server, &self.recovery) {
            let _span = span_of(phase, &recovery.span, server, attempt);
            let now = Recovering { phase, server: server.clone(), attempt, since: now };
            self.running = Some(Running { now, _span });
            self.changed = true;
        }
    }

    /// An attempt begins.
    pub(super) fn attempt(&mut self, server: &Uri, attempt: u64) {
        if let Some(recovery) = &mut self.recovery {
            recovery.attempts += 1;
        }
        self.connection = info_span!(
            parent: &self.client,
            "amps.connection",
            server = %server,
            attempt,
            cause = field::Empty
        );
    }

    /// The attempt, or the connection it led to, is over.
    pub(super) fn connection_over(&mut self, cause: &Cause) {
        self.connection.record("cause", cause.name());
        self.connection = Span::none();
    }

    /// No recovery goes on any more; without a success.
    pub(super) fn recovery_over(&mut self, outcome: &'static str) {
        if let Some(recovery) = self.recovery.take() {
            recovery.span.record("attempts", recovery.attempts);
            recovery.span.record("outcome", outcome);
        }
    }

    fn recovered(&mut self, now: Instant) {
        if let Some(Recovery { reason, began, .. }) = &self.recovery {
            let took = now.saturating_duration_since(*began);
            self.measures.tell(&Measure::Recovered { reason: *reason, took });
        }
        self.recovery_over("live");
    }

    /// What the session is within now.
    pub(super) fn connection(&self) -> Span {
        self.connection.clone()
    }

    /// The phase that goes on, if that changed since the last call.
    pub(super) fn changed(&mut self) -> Option<Option<Recovering>> {
        let changed = std::mem::take(&mut self.changed);
        changed.then(|| self.running.as_ref().map(|running| running.now.clone()))
    }
}

fn phase_of(phase: &Phase) -> Option<RecoveryPhase> {
    match phase {
        Phase::Waiting { .. } => Some(RecoveryPhase::Wait),
        Phase::Dialing { .. } => Some(RecoveryPhase::Connect),
        Phase::Authenticating { .. } | Phase::LoggingOn { .. } => Some(RecoveryPhase::Logon),
        Phase::StartingHeartbeat { .. } => Some(RecoveryPhase::Heartbeat),
        Phase::Replaying => Some(RecoveryPhase::Replay),
        Phase::Resubscribing { .. } => Some(RecoveryPhase::Resubscribe),
        Phase::Idle | Phase::Live | Phase::Draining { .. } | Phase::Closed => None,
    }
}

/// The names have to be there before the program runs, so each has its place.
fn span_of(phase: RecoveryPhase, recovery: &Span, server: &Uri, attempt: u64) -> Span {
    macro_rules! span {
        ($name:literal) => {
            debug_span!(parent: recovery, $name, server = %server, attempt)
        };
    }
    match phase {
        RecoveryPhase::Wait => span!("amps.recovery.wait"),
        RecoveryPhase::Connect => span!("amps.recovery.connect"),
        RecoveryPhase::Logon => span!("amps.recovery.logon"),
        RecoveryPhase::Heartbeat => span!("amps.recovery.heartbeat"),
        RecoveryPhase::Replay => span!("amps.recovery.replay"),
        RecoveryPhase::Resubscribe => span!("amps.recovery.resubscribe"),
    }
}
