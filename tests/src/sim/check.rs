//! What must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use amps_core::Reason;
use amps_ha::event::{ConnectionState, Event};

use super::deltas::{self, Delta, Records};
use super::publisher::{DELTAS, Publisher, RECORDS, key_of, origin_of};
use super::worker::WORK;
use crate::Pair;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which rule; the same for the same kind of fault in the code.
    pub rule: &'static str,
    /// What was seen.
    pub what: String,
}

impl Violation {
    pub(super) fn new(rule: &'static str, what: impl Into<String>) -> Self {
        Self { rule, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.what)
    }
}

/// What the servers have in the end.
pub(super) struct Logs {
    /// Bodies of each server, by client name.
    servers: Vec<BTreeMap<String, Vec<String>>>,
    /// What each server has as the last record under each key.
    views: Vec<BTreeMap<String, String>>,
    /// Each one's parts of records.
    deltas: Vec<Vec<Delta>>,
    /// Some messages may be on one server and not on the other, since their
    /// publisher died before they were promised.
    uneven: bool,
    /// Messages that all of them have, but for those of the queue, deletions and
    /// parts of records.
    pub(super) common: BTreeSet<String>,
    /// What any of them has, or had when its disk was lost.
    pub(super) any: BTreeSet<String>,
    /// The messages of the queue, but for those that some server lacks.
    pub(super) work: BTreeSet<String>,
    /// How many messages of the queue some server lacks, since their publisher
    /// died before they were promised. A consumer there is never given them.
    pub(super) stray_work: usize,
    /// Whether they have the same, but for what may be on some only.
    pub(super) level: bool,
}

impl Logs {
    /// `gone`: what was on disks that were lost.
    pub(super) fn read(pair: &mut Pair, servers: usize, publishers: &[Publisher], gone: &BTreeSet<String>) -> Self {
        let open: BTreeSet<&String> = publishers.iter().flat_map(Publisher::open).collect();
        let (mut logs, mut views, mut sets, mut deltas) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut work, mut deletions) = (BTreeSet::new(), BTreeSet::new());
        for server in 0..servers {
            let (mut log, mut view, mut set) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
            let mut parts = Vec::new();
            for message in pair.log(server) {
                let mut body = String::from_utf8_lossy(&message.body).into_owned();
                if message.topic == DELTAS {
                    let part = published(publishers, &body).cloned().unwrap_or_default();
                    parts.push(Delta { whole: std::mem::replace(&mut body, part.clone()), part });
                }
                if message.deletes.is_some() {
                    view.remove(key_of(&body));
                    deletions.insert(body.clone());
                } else if message.topic == RECORDS {
                    view.insert(key_of(&body).to_owned(), body.clone());
                } else if message.topic == WORK {
                    work.insert(body.clone());
                }
                set.insert(body.clone());
                log.entry(message.client_name.clone()).or_insert_with(Vec::new).push(body);
            }
            logs.push(log);
            views.push(view);
            sets.push(set);
            deltas.push(parts);
        }
        let due = |set: &BTreeSet<String>| set.iter().filter(|body| !open.contains(*body)).cloned().collect();
        let due: Vec<BTreeSet<String>> = sets.iter().map(due).collect();
        let stray = |body: &String| open.contains(body) && !sets.iter().all(|set| set.contains(body));
        let all_work = work.len();
        work.retain(|body| !stray(body));
        let stray_work = all_work - work.len();
        let level = due.windows(2).all(|pair| pair[0] == pair[1]);
        let any = sets.iter().flatten().chain(gone).cloned().collect();
        let common = sets.into_iter().reduce(|common, set| common.intersection(&set).cloned().collect());
        let mut common = common.unwrap_or_default();
        for part in deltas.first().into_iter().flatten().map(|delta| &delta.part) {
            common.remove(part);
        }
        common.retain(|body| !work.contains(body) && !deletions.contains(body));
        let uneven = !open.is_empty();
        Self { servers: logs, views, deltas, uneven, common, any, work, stray_work, level }
    }

    /// Whether these are the records of some server.
    pub(super) fn has_view(&self, records: &BTreeMap<String, String>) -> bool {
        self.views.contains(records)
    }

    /// Whether these are the records that some server made of parts.
    pub(super) fn has_records(&self, wanted: &Records) -> bool {
        self.deltas.iter().any(|parts| deltas::are_those_of(wanted, parts, self.uneven))
    }

    /// What every server has of every publisher: all that was promised, nothing
    /// twice, in order, and nothing that was never accepted.
    pub(super) fn check(&self, publishers: &[Publisher]) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (server, logged) in self.servers.iter().enumerate() {
            for publisher in publishers {
                let bodies = logged.get(&publisher.name).map(Vec::as_slice).unwrap_or_default();
                violations.extend(publisher.check(server, bodies));
            }
        }
        // What may be on one server and not on the other would make them differ.
        if !self.uneven {
            violations
                .extend(self.deltas.iter().enumerate().filter_map(|(server, parts)| deltas::whole(server, parts)));
        }
        if !self.level {
            violations.push(Violation::new("replicas are the same", "they differ"));
        }
        violations
    }
}

/// What was published, of what a server made of it.
fn published<'p>(publishers: &'p [Publisher], body: &str) -> Option<&'p String> {
    let (publisher, number) = origin_of(body);
    publishers.get(publisher.parse::<usize>().ok()?)?.body(number)
}

/// Nobody sent a server anything it cannot read, or acknowledged what somebody
/// else had leased. What it says is of its present life.
pub(super) fn server(pair: &mut Pair, server: usize) -> Vec<Violation> {
    let stats = pair.server(server).stats();
    let unreadable = stats.violations.front().map(|violation| {
        let what = format!("s{server} was sent something it cannot read: {violation:?}");
        Violation::new("whole frames", what)
    });
    let unleased = (stats.unleased > 0).then(|| {
        let what = format!("s{server}: {} messages were acknowledged without a lease", stats.unleased);
        Violation::new("leased acknowledgements", what)
    });
    unreadable.into_iter().chain(unleased).collect()
}

/// The order of states on a connection.
pub(super) const ORDER: [ConnectionState; 5] = [
    ConnectionState::Connected,
    ConnectionState::LoggedOn,
    ConnectionState::HeartbeatInitiated,
    ConnectionState::PublishReplayed,
    ConnectionState::Resubscribed,
];

/// The states of one life of a client come in their order, and nothing was
/// dropped, or refused unless some messages are.
pub(super) fn events(name: &str, events: &[Event], refused: bool) -> Vec<Violation> {
    use ConnectionState::{Disconnected, Shutdown};
    let mut violations = Vec::new();
    let mut next = 0;
    for event in events {
        match event {
            Event::State(change) if matches!(change.state, Disconnected | Shutdown) => next = 0,
            Event::State(change) => match ORDER.get(next) {
                Some(due) if *due == change.state => next += 1,
                _ => {
                    let what = format!("{name}: {:?} where {:?} was due", change.state, ORDER.get(next));
                    violations.push(Violation::new("order of states", what));
                    next = 0;
                }
            },
            Event::FailedWrite(failed) if refused && failed.reason == Reason::InvalidTopic => {}
            Event::FailedWrite(_) | Event::Dropped { .. } | Event::Panicked(_) | Event::HandlerFailed(_) => {
                violations.push(Violation::new("nothing is refused or dropped", format!("{name}: {event:?}")));
            }
            _ => {}
        }
    }
    violations
}

/// Without faults there is one connection, and it stays.
pub(super) fn calm(name: &str, events: &[Event]) -> Option<Violation> {
    let states: Vec<_> = events
        .iter()
        .filter_map(|event| if let Event::State(change) = event { Some(change.state) } else { None })
        .collect();
    (states != ORDER).then(|| Violation::new("a calm connection stays", format!("{name}: {states:?}")))
}

/// Attempts within this time are counted together.
const WINDOW: Duration = Duration::from_secs(2);

/// So many attempts to connect are plenty: four within the window at each of
/// three servers, and as many again for each fault that lets the waits start over.
const ATTEMPTS_MAX: usize = 60;

/// A client does not knock in a busy loop.
pub(super) fn paced(name: &str, attempts: &[(Instant, usize)]) -> Option<Violation> {
    let (last, first) = (attempts.last()?, attempts.len().checked_sub(ATTEMPTS_MAX + 1)?);
    let busy = last.0 - attempts[first].0 < WINDOW;
    busy.then(|| Violation::new("paced attempts", format!("{name}: {ATTEMPTS_MAX} within {WINDOW:?}")))
}

/// What a subscription was given, over all its lives, against the log.
pub(super) fn delivered(
    name: &str,
    logs: &Logs,
    given: &BTreeSet<String>,
    discarded: &BTreeSet<String>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let missing: Vec<_> =
        logs.common.iter().filter(|body| !given.contains(*body) && !discarded.contains(*body)).collect();
    if let Some(body) = missing.first() {
        let what = format!("{name}: {} messages never came, such as {body}", missing.len());
        violations.push(Violation::new("no gap", what));
    }
    if let Some(body) = given.iter().find(|body| !logs.any.contains(*body)) {
        violations.push(Violation::new("nothing invented", format!("{name}: {body} is in no log")));
    }
    violations
}
