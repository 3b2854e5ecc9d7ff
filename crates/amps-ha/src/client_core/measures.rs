//! What a core measures, and the spans it is within.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Span;

use super::ClientCore;
use crate::error::Cause;
use crate::event::ConnectionSummary;
use crate::measure::{Measure, Measures, Observer};

/// What is being timed on a connection: one thing of each kind.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// How far the log had been handed out when that was last looked at.
    sent: Option<u64>,
    /// Behind which message, and when it was handed out.
    acknowledgement: Option<(u64, Instant)>,
    /// When heartbeats were asked for.
    pub(super) heartbeat: Option<Instant>,
}

impl Probes {
    /// The log is handed out up to `sent`. The newest message is timed, unless
    /// one is already.
    pub(super) fn sent(&mut self, now: Instant, sent: u64) {
        let before = self.sent.replace(sent);
        if self.acknowledgement.is_none() && before.is_some_and(|before| before < sent) {
            self.acknowledgement = Some((sent, now));
        }
    }

    /// Everything before `settled` is acknowledged: how long that took for the
    /// message that is timed.
    pub(super) fn settled(&mut self, now: Instant, settled: u64) -> Option<Duration> {
        let (_, at) = self.acknowledgement.take_if(|(end, _)| *end <= settled)?;
        Some(now.saturating_duration_since(at))
    }
}

impl ClientCore {
    /// Tells `observer` what is measured.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.measures = Measures(Some(observer));
        self.session.observed(self.span.clone(), self.measures.clone());
        self
    }

    /// Spans of connections and recoveries are within this one, see
    /// [`client_span`](crate::measure::client_span).
    #[must_use]
    pub fn within(mut self, span: Span) -> Self {
        self.span = span;
        self.session.observed(self.span.clone(), self.measures.clone());
        self
    }

    /// What everything of this client is within.
    pub fn span(&self) -> Span {
        self.span.clone()
    }

    /// The span of the present attempt and the connection it leads to,
    /// `amps.connection`.
    pub fn connection_span(&self) -> Span {
        self.session.connection_span()
    }

    /// Tells what recovery is at. Nobody is woken for it.
    pub(super) fn tell_phase(&mut self) {
        if let Some(recovering) = self.session.recovering_changed() {
            self.note(|summary| summary.recovering = recovering);
        }
    }

    pub(super) fn measure_loss(&mut self, now: Instant, cause: &Cause) {
        if let Some(server) = self.session.uri()
            && (self.session.is_live() || self.session.is_draining())
        {
            let silence = self.heartbeat.as_ref().map(|heartbeat| heartbeat.silence(now));
            self.measures.tell(&Measure::Lost { server, cause, silence });
        }
    }

    pub(super) fn measure_round_trip(&mut self, now: Instant) {
        let Some(asked) = self.probes.heartbeat.take() else { return };
        let took = now.saturating_duration_since(asked);
        if let Some(server) = self.session.uri() {
            self.measures.tell(&Measure::RoundTrip { server, took });
        }
        self.note(|summary| summary.round_trip = Some(took));
    }

    pub(super) fn measure_acknowledgement(&mut self, now: Instant, settled: u64) {
        let Some(took) = self.probes.settled(now, settled) else { return };
        self.measures.tell(&Measure::Acknowledged { took });
        self.note(|summary| summary.ack_latency = Some(took));
    }

    /// Changes the summary in a way that nobody waits for.
    pub(super) fn note(&self, change: impl FnOnce(&mut ConnectionSummary)) {
        self.summary.send_if_modified(|summary| {
            change(summary);
            false
        });
    }
}
