//! The verdict: lost, duplicated and out-of-order messages, from evidence only.
//!
//! Evidence is what the publishers were promised (their ledgers), what each
//! server logged (its journal) and what each subscriber process wrote to its
//! standard output. No client is asked what it believes.
//!
//! The rules:
//! * **What must be there**: for each publisher every line up to the last one
//!   that was promised or that any server logged. Lines are stored in order
//!   before they are sent, so a hole below such a line is a loss too, promised
//!   or not.
//! * **A server's log** has each of those lines once, each publisher's in order,
//!   under strictly rising sequences.
//! * **A subscriber** has got each of those lines. Within one life of the process
//!   no line comes twice and each publisher's lines come in order; so do lines
//!   that come for the first time, across lives.
//! * **After discard**: a line that an earlier life wrote may come again only if
//!   it is possible that it was not discarded ([`Life::undiscarded`]).
//! * A body that nobody sent counts as a duplicate: it came more often than it
//!   was sent.

use std::collections::HashSet;
use std::fmt;

use crate::input::Line;
use crate::output::Delivery;

/// A message as someone saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A line of the input.
    Line(Line),
    /// A body that is no line of the input, shortened.
    Unknown(String),
}

/// All that the verdict is computed from.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// For each publisher, how many of its first lines were promised.
    pub(crate) promised: Vec<usize>,
    /// Each server's log, in its order.
    pub(crate) servers: Vec<ServerLog>,
    /// Each subscriber's deliveries.
    pub(crate) subscribers: Vec<Subscriber>,
}

/// One server's log.
#[derive(Debug, Default)]
pub(crate) struct ServerLog {
    /// The server's name.
    pub(crate) name: String,
    /// Each entry: its sequence, and what it is.
    pub(crate) entries: Vec<(u64, Seen)>,
}

/// What one subscriber wrote, over all its lives.
#[derive(Debug, Default)]
pub(crate) struct Subscriber {
    /// The subscriber's name.
    pub(crate) name: String,
    /// One for each process that ran under this name, in time order.
    pub(crate) lives: Vec<Life>,
}

/// What one process of a subscriber wrote.
#[derive(Debug, Default)]
pub(crate) struct Life {
    /// Its deliveries, in order.
    pub(crate) deliveries: Vec<Delivery>,
    /// How many of the last deliveries may not have been discarded when the
    /// process ended.
    pub(crate) undiscarded: usize,
}

/// What kind of promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Lost,
    Duplicated,
    OutOfOrder,
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    /// The server or subscriber where it shows.
    pub(crate) place: String,
    pub(crate) what: Seen,
    pub(crate) why: &'static str,
    /// When it was delivered, in milliseconds of the Unix clock, if it was.
    pub(crate) at_ms: Option<u64>,
}

impl Kind {
    /// Such as `lost`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::OutOfOrder => "out of order",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: ", self.kind.name(), self.place)?;
        match &self.what {
            Seen::Line(line) => write!(f, "line {} of publisher {}", line.number + 1, line.publisher + 1)?,
            Seen::Unknown(body) => write!(f, "body {body:?}")?,
        }
        write!(f, ": {}", self.why)
    }
}

/// The outcome.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Lines that must be everywhere.
    pub(crate) published: usize,
    /// Lines that every server has logged.
    pub(crate) persisted: usize,
    /// Different lines each subscriber got.
    pub(crate) delivered: Vec<usize>,
    /// Every broken promise.
    pub(crate) violations: Vec<Violation>,
}

impl Verdict {
    /// How many broken promises of one kind there are.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.violations.iter().filter(|violation| violation.kind == kind).count()
    }
}

/// Judges the evidence.
pub(crate) fn judge(evidence: &Evidence) -> Verdict {
    let required = required(&evidence.promised, &evidence.servers);
    let mut verdict = Verdict { published: required.iter().sum(), ..Verdict::default() };
    let mut everywhere: Option<HashSet<Line>> = None;
    for server in &evidence.servers {
        let logged = check_server(server, &required, &mut verdict.violations);
        everywhere = Some(match everywhere {
            Some(others) => others.intersection(&logged).copied().collect(),
            None => logged,
        });
    }
    verdict.persisted = everywhere.map_or(0, |lines| lines.len());
    for subscriber in &evidence.subscribers {
        let got = check_subscriber(subscriber, &required, &mut verdict.violations);
        verdict.delivered.push(got.len());
    }
    verdict
}

/// For each publisher, how many of its first lines must be everywhere.
pub(crate) fn required(promised: &[usize], servers: &[ServerLog]) -> Vec<usize> {
    let mut required = promised.to_vec();
    for (_, seen) in servers.iter().flat_map(|server| &server.entries) {
        if let Seen::Line(line) = seen {
            required[line.publisher] = required[line.publisher].max(line.number + 1);
        }
    }
    required
}

fn check_server(server: &ServerLog, required: &[usize], violations: &mut Vec<Violation>) -> HashSet<Line> {
    let mut report = Report { place: &server.name, at_ms: None, violations };
    let mut order = Order::new(required.len());
    let mut last_sequence = vec![0; required.len()];
    for (sequence, seen) in &server.entries {
        let Seen::Line(line) = seen else {
            report.add(Kind::Duplicated, seen.clone(), "nobody sent this");
            continue;
        };
        match order.next(*line) {
            Step::Forward if *sequence <= last_sequence[line.publisher] => {
                report.line(Kind::OutOfOrder, *line, "its sequence is not above the one before");
            }
            Step::Forward => {}
            Step::Back => report.line(Kind::OutOfOrder, *line, "a later line of its publisher was logged before"),
            Step::Again => report.line(Kind::Duplicated, *line, "logged more than once"),
        }
        last_sequence[line.publisher] = last_sequence[line.publisher].max(*sequence);
    }
    report.missing(required, &order.seen, "not in this server's log");
    order.seen
}

fn check_subscriber(subscriber: &Subscriber, required: &[usize], violations: &mut Vec<Violation>) -> HashSet<Line> {
    let mut report = Report { place: &subscriber.name, at_ms: None, violations };
    let mut ever = Order::new(required.len());
    let mut may_return: HashSet<Line> = HashSet::new();
    for life in &subscriber.lives {
        let mut here = Order::new(required.len());
        for Delivery { seen, at_ms } in &life.deliveries {
            report.at_ms = Some(*at_ms);
            let Seen::Line(line) = seen else {
                report.add(Kind::Duplicated, seen.clone(), "nobody sent this");
                continue;
            };
            let first_ever = ever.next(*line);
            match (here.next(*line), first_ever) {
                (Step::Again, _) => report.line(Kind::Duplicated, *line, "delivered twice in one life"),
                (Step::Back, _) => {
                    report.line(Kind::OutOfOrder, *line, "a later line of its publisher was delivered before");
                }
                (Step::Forward, Step::Again) if !may_return.contains(line) => {
                    report.line(Kind::Duplicated, *line, "delivered again after it was discarded");
                }
                (Step::Forward, Step::Back) => {
                    report.line(Kind::OutOfOrder, *line, "an earlier life got a later line of its publisher");
                }
                (Step::Forward, _) => {}
            }
        }
        may_return.retain(|line| !here.seen.contains(line));
        let tail = life.deliveries.len().saturating_sub(life.undiscarded);
        may_return.extend(life.deliveries[tail..].iter().filter_map(|delivery| match delivery.seen {
            Seen::Line(line) => Some(line),
            Seen::Unknown(_) => None,
        }));
    }
    report.at_ms = None;
    report.missing(required, &ever.seen, "never delivered");
    ever.seen
}

/// Where a line stands among those seen before it.
enum Step {
    /// Above every earlier line of its publisher.
    Forward,
    /// New, but a later line of its publisher was there first.
    Back,
    /// Seen before.
    Again,
}

/// The lines seen so far, in one place.
struct Order {
    seen: HashSet<Line>,
    next: Vec<usize>,
}

impl Order {
    fn new(publishers: usize) -> Self {
        Self { seen: HashSet::new(), next: vec![0; publishers] }
    }

    fn next(&mut self, line: Line) -> Step {
        if !self.seen.insert(line) {
            return Step::Again;
        }
        let next = &mut self.next[line.publisher];
        if line.number < *next {
            return Step::Back;
        }
        *next = line.number + 1;
        Step::Forward
    }
}

/// Collects the violations of one place.
struct Report<'a> {
    place: &'a str,
    at_ms: Option<u64>,
    violations: &'a mut Vec<Violation>,
}

impl Report<'_> {
    fn add(&mut self, kind: Kind, what: Seen, why: &'static str) {
        self.violations.push(Violation { kind, place: self.place.to_owned(), what, why, at_ms: self.at_ms });
    }

    fn line(&mut self, kind: Kind, line: Line, why: &'static str) {
        self.add(kind, Seen::Line(line), why);
    }

    fn missing(&mut self, required: &[usize], seen: &HashSet<Line>, why: &'static str) {
        for (publisher, &lines) in required.iter().enumerate() {
            for number in 0..lines {
                let line = Line { publisher, number };
                if !seen.contains(&line) {
                    self.line(Kind::Lost, line, why);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
