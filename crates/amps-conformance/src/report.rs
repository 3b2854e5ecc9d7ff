//! What was found, for people and for programs.

use std::fmt::Write;

use serde_json::json;

use crate::check::{Check, Verdict};

/// A check and what became of it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Finding {
    /// The check.
    pub check: &'static Check,
    /// What became of it.
    pub verdict: Verdict,
}

/// How many checks ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Totals {
    /// As the documents say.
    pub passed: usize,
    /// Not so.
    pub failed: usize,
    /// Not tried: something is not there.
    pub not_configured: usize,
    /// Reported.
    pub observed: usize,
}

impl Totals {
    pub(crate) fn count(&mut self, verdict: &Verdict) {
        *match verdict {
            Verdict::Pass => &mut self.passed,
            Verdict::Fail { .. } => &mut self.failed,
            Verdict::NotConfigured(_) => &mut self.not_configured,
            Verdict::Observed(_) => &mut self.observed,
        } += 1;
    }

    /// All checks.
    pub fn checks(&self) -> usize {
        self.passed + self.failed + self.not_configured + self.observed
    }

    /// In words.
    pub(crate) fn text(&self) -> String {
        let Self { passed, failed, not_configured, observed } = self;
        format!(
            "{} checks: {passed} passed, {failed} failed, {not_configured} not configured, {observed} observed",
            self.checks()
        )
    }

    /// As one line of JSON.
    pub(crate) fn json(&self) -> String {
        let Self { passed, failed, not_configured, observed } = self;
        json!({ "checks": self.checks(), "passed": passed, "failed": failed, "not_configured": not_configured, "observed": observed })
            .to_string()
    }
}

impl Finding {
    /// As one line of JSON.
    pub(crate) fn json(&self) -> String {
        let mut line = json!({
            "check": self.check.name,
            "chapter": self.check.chapter(),
            "source": self.check.source,
            "verdict": self.verdict.word(),
        });
        match &self.verdict {
            Verdict::Pass => {}
            Verdict::Fail { expected, came, exchange } => {
                line["expected"] = json!(expected);
                line["came"] = json!(came);
                line["exchange"] = json!(exchange);
            }
            Verdict::NotConfigured(what) => line["needs"] = json!(what),
            Verdict::Observed(what) => line["observed"] = json!(what),
        }
        line.to_string()
    }

    /// As lines of text.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("  {:<15} {:<46} {}", self.verdict.word(), self.check.name, self.check.source);
        let mut line = |what: &str, value: &str| {
            let _ = write!(text, "\n      {what:<9} {value}");
        };
        match &self.verdict {
            Verdict::Pass => {}
            Verdict::Fail { expected, came, exchange } => {
                line("expected:", expected);
                line("came:", came);
                exchange.iter().for_each(|sent| line("", sent));
            }
            Verdict::NotConfigured(what) => line("needs:", what),
            Verdict::Observed(what) => line("saw:", what),
        }
        text
    }
}
