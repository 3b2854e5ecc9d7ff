use std::time::Duration;

use amps_core::Uri;

use super::{LogonInfo, Report, Server, ServerChooser};
use crate::error::Cause;

/// Refuses servers that lack messages another one acknowledged, whatever the
/// other chooser inside would take: publishing there would make them drop these
/// messages for good when they are replicated late.
///
/// A client refuses such servers anyway, unless it was told to continue at a
/// publish gap. With this chooser it may be told so and still continue only
/// where every server has such a gap: after as many refusals in a row as
/// [`give_in_after`](Self::give_in_after) says, the next one is accepted.
#[derive(Debug)]
pub struct RefuseGaps<C> {
    inner: C,
    give_in_after: Option<u32>,
    refused: u32,
}

impl<C: ServerChooser> RefuseGaps<C> {
    /// Refuses gaps at the servers of `inner`, always.
    pub fn new(inner: C) -> Self {
        Self { inner, give_in_after: None, refused: 0 }
    }

    /// Accepts a gap after so many refusals without a connection in between:
    /// the number of servers, if each is to be asked once. It takes effect
    /// only in a client that continues at publish gaps.
    #[must_use]
    pub fn give_in_after(mut self, refusals: u32) -> Self {
        self.give_in_after = Some(refusals);
        self
    }
}

impl<C: ServerChooser> ServerChooser for RefuseGaps<C> {
    fn current(&mut self) -> Option<Server> {
        self.inner.current()
    }

    fn report_failure(&mut self, report: &Report, cause: &Cause) {
        self.inner.report_failure(report, cause);
    }

    fn report_success(&mut self, report: &Report) {
        self.refused = 0;
        self.inner.report_success(report);
    }

    fn error(&self) -> String {
        self.inner.error()
    }

    fn accepts(&mut self, logon: &LogonInfo) -> bool {
        if logon.is_publish_gap() && self.give_in_after.is_none_or(|most| self.refused < most) {
            self.refused += 1;
            return false;
        }
        self.inner.accepts(logon)
    }

    fn better(&mut self, connected: &Uri) -> Option<(Server, Duration)> {
        self.inner.better(connected)
    }
}
