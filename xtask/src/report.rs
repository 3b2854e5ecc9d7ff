//! What a run prints at its end: violations, the table, and one JSON object.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::reliability;
use crate::verdict::{Kind, Verdict};
use crate::work::Work;

/// Violations printed in full.
const SHOWN: usize = 10;

/// The last line of standard output.
#[derive(Debug, Serialize)]
struct Summary {
    #[serde(flatten)]
    work: Work,
    seed: u64,
    view_updates: usize,
    queue_given: usize,
    queue_done: usize,
    longest_recovery_ms: u64,
    settled_ms: Option<u64>,
    seconds: f64,
}

/// Something that did not go as it should, beside the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// When, since the beginning.
    pub(crate) at: Duration,
    pub(crate) what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:.1} s: {}", self.at.as_secs_f64(), self.what)
    }
}

/// What is told beside the verdict, for information.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The command line that does it again.
    pub(crate) again: String,
    /// The publishers' names.
    pub(crate) publishers: Vec<String>,
    /// The names of views and workers.
    pub(crate) consumers: Vec<String>,
    /// How long it took until nothing was missing, once nothing was broken any more,
    /// in milliseconds, if it did.
    pub(crate) settled_ms: Option<u64>,
    /// The subscribers' names, in the order of the verdict.
    pub(crate) subscribers: Vec<String>,
    /// Deliveries of what an earlier process had written and not discarded.
    pub(crate) redelivered: usize,
    /// What did not go as it should.
    pub(crate) problems: Vec<Problem>,
    /// Updates that the views saw.
    pub(crate) view_updates: usize,
    /// Messages of the queue that workers were given, those that came again too.
    pub(crate) queue_given: usize,
    /// Messages of the queue that were done.
    pub(crate) queue_done: usize,
    /// What the schedule of faults was drawn from.
    pub(crate) seed: u64,
    /// Faults by their kind.
    pub(crate) faults: BTreeMap<&'static str, usize>,
    /// Processes killed with `kill -9`.
    pub(crate) kills: usize,
    /// Times a client connected again after it had lost a connection.
    pub(crate) failovers: usize,
    /// The longest standstill of deliveries around a fault, in milliseconds.
    pub(crate) longest_recovery_ms: u64,
    /// The whole run, in seconds.
    pub(crate) seconds: f64,
}

impl Facts {
    /// Faults of every kind.
    pub(crate) fn fault_count(&self) -> usize {
        self.faults.values().sum()
    }
}

/// The text of the report, ending in the JSON line.
pub(crate) fn render(verdict: &Verdict, facts: &Facts) -> String {
    let mut text = String::new();
    for problem in &facts.problems {
        line(&mut text, format_args!("{problem}"));
    }
    for violation in verdict.violations.iter().take(SHOWN) {
        line(&mut text, format_args!("{violation}"));
    }
    if verdict.violations.len() > SHOWN {
        line(&mut text, format_args!("... and {} more", verdict.violations.len() - SHOWN));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let mut row = |name: &str, value: String| line(&mut text, format_args!("{name:<26} {value:>10}"));
    row("published", verdict.published.to_string());
    row("persisted on every server", verdict.persisted.to_string());
    for (name, delivered) in facts.subscribers.iter().zip(&verdict.delivered) {
        row(&format!("delivered to {name}"), delivered.to_string());
    }
    row("lost", verdict.count(Kind::Lost).to_string());
    row("duplicated", verdict.count(Kind::Duplicated).to_string());
    row("out of order", verdict.count(Kind::OutOfOrder).to_string());
    if facts.view_updates > 0 {
        row("updates of views", facts.view_updates.to_string());
    }
    if facts.queue_given > 0 {
        row("done from the queue", facts.queue_done.to_string());
        row("given again by the queue", facts.queue_given.saturating_sub(facts.queue_done).to_string());
    }
    row("redelivered, undiscarded", facts.redelivered.to_string());
    row("faults", facts.fault_count().to_string());
    row("kills", facts.kills.to_string());
    row("failovers", facts.failovers.to_string());
    row("longest recovery", format!("{} ms", facts.longest_recovery_ms));
    row("settled after", facts.settled_ms.map_or_else(|| "never".to_owned(), |ms| format!("{ms} ms")));
    row("seconds", format!("{:.1}", facts.seconds));
    text.push_str(&summary(verdict, facts));
    text.push('\n');
    text
}

/// What is recorded of a run.
pub(crate) fn figures(verdict: &Verdict, facts: &Facts) -> Vec<(String, u64)> {
    let figures = [
        ("runs", 1),
        ("seconds", facts.seconds.round() as u64),
        ("faults", facts.fault_count() as u64),
        ("kills survived", facts.kills as u64),
        ("messages published", verdict.published as u64),
        ("messages delivered", verdict.delivered.iter().sum::<usize>() as u64),
        ("updates of views", facts.view_updates as u64),
        ("messages done from a queue", facts.queue_done as u64),
        ("messages lost", verdict.count(Kind::Lost) as u64),
        ("messages duplicated", verdict.count(Kind::Duplicated) as u64),
        ("messages out of order", verdict.count(Kind::OutOfOrder) as u64),
        ("longest standstill around a fault in milliseconds", facts.longest_recovery_ms),
        ("longest settling after the last fault in milliseconds", facts.settled_ms.unwrap_or(0)),
    ];
    let kinds = facts.faults.iter().map(|(kind, count)| (format!("{}{kind}", reliability::FAULT), *count as u64));
    figures.map(|(name, count)| (name.to_owned(), count)).into_iter().chain(kinds).collect()
}

fn summary(verdict: &Verdict, facts: &Facts) -> String {
    let summary = Summary {
        work: Work {
            seeds: 1,
            faults: facts.fault_count() as u64,
            kills: facts.kills as u64,
            published: verdict.published as u64,
            delivered: verdict.delivered.iter().sum::<usize>() as u64,
            lost: verdict.count(Kind::Lost) as u64,
            duplicated: verdict.count(Kind::Duplicated) as u64,
            out_of_order: verdict.count(Kind::OutOfOrder) as u64,
            violations: (verdict.violations.len() + facts.problems.len()) as u64,
        },
        seed: facts.seed,
        view_updates: facts.view_updates,
        queue_given: facts.queue_given,
        queue_done: facts.queue_done,
        longest_recovery_ms: facts.longest_recovery_ms,
        settled_ms: facts.settled_ms,
        seconds: (facts.seconds * 10.0).round() / 10.0,
    };
    serde_json::to_string(&summary).unwrap_or_default()
}

fn line(text: &mut String, what: fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{Seen, Violation};
    use crate::work;

    fn facts() -> Facts {
        Facts {
            subscribers: vec!["one".into(), "two".into()],
            seed: 7,
            faults: BTreeMap::from([("server killed", 3), ("slow disk", 1)]),
            kills: 3,
            seconds: 21.27,
            ..Facts::default()
        }
    }

    #[test]
    fn the_last_line_is_the_summary_and_delivered_is_the_sum() {
        let verdict = Verdict { published: 5, persisted: 5, delivered: vec![5, 4], violations: Vec::new() };
        let text = render(&verdict, &facts());
        let expected = concat!(
            r#"{"seeds":1,"faults":4,"kills":3,"published":5,"delivered":9,"lost":0,"duplicated":0,"#,
            r#""out_of_order":0,"violations":0,"seed":7,"view_updates":0,"queue_given":0,"queue_done":0,"longest_recovery_ms":0,"settled_ms":null,"seconds":21.3}"#
        );
        assert_eq!(text.lines().last(), Some(expected));
        work::assert_ends_an_output(&text);
        assert!(text.lines().any(|line| line.starts_with("delivered to two") && line.ends_with(" 4")), "{text}");
    }

    #[test]
    fn ten_violations_are_shown_and_all_are_counted() {
        let what = Seen::Unknown("x".into());
        let violation = Violation { kind: Kind::Lost, place: "A".into(), what, why: "gone", at_ms: None };
        let verdict = Verdict { violations: vec![violation; 12], ..Verdict::default() };
        let text = render(&verdict, &facts());
        assert_eq!(text.lines().filter(|line| line.starts_with("lost: A")).count(), 10);
        assert!(text.contains("... and 2 more"));
        assert!(text.contains(r#""lost":12"#));
    }

    #[test]
    fn a_problem_is_told_first_and_counts_as_a_violation() {
        let problem = Problem { at: Duration::from_millis(1_250), what: "a publisher is dead".to_owned() };
        let text = render(&Verdict::default(), &Facts { problems: vec![problem], ..facts() });
        assert!(text.starts_with("at 1.2 s: a publisher is dead\n"), "{text}");
        assert!(text.contains(r#""violations":1"#));
    }
}
