//! A client that queries the records again and again.

use std::collections::BTreeSet;
use std::time::Duration;

use amps_core::message::MessageKind;
use amps_ha::subscriptions::{Item, QueueLimits, SubscriptionKind, SubscriptionSpec};
use rand::RngExt;

use super::check::Logs;
use super::part::{Part, Turn};
use super::publisher::{Publisher, RECORDS, key_of};
use crate::{Entered, Kill, Pair};

/// So long at most between two questions.
const PAUSE: u64 = 1_500;

pub(super) struct Asker {
    client: usize,
    query: Option<Query>,
    /// When the next is asked.
    next: Duration,
    answers: u64,
}

struct Query {
    entered: Entered,
    /// Keys that every server had when it was asked, and none loses.
    due: BTreeSet<String>,
    begun: bool,
    ended: bool,
    keys: BTreeSet<String>,
}

impl Asker {
    pub(super) fn new(client: usize) -> Self {
        Self { client, query: None, next: Duration::ZERO, answers: 0 }
    }
}

impl Part for Asker {
    fn client(&self) -> usize {
        self.client
    }

    fn start(&mut self, _: &mut Pair) {}

    fn dies(&mut self, _: Kill) {
        self.query = None;
    }

    fn turn(&mut self, turn: &mut Turn<'_>) {
        let Some(query) = &mut self.query else {
            if turn.pair.elapsed() >= self.next {
                let mut spec = SubscriptionSpec::new(SubscriptionKind::Sow, RECORDS);
                spec.batch_size = Some(turn.random.random_range(1..=4));
                let due = turn.publishers.iter().flat_map(Publisher::lasting_keys).cloned().collect();
                let entered = turn.pair.enter(self.client, spec, QueueLimits::default());
                self.query = Some(Query { entered, due, begun: false, ended: false, keys: BTreeSet::new() });
            }
            return;
        };
        let more = query.entered.take(turn.most) == turn.most;
        for item in query.entered.items.drain(..) {
            match item {
                Item::SnapshotBegin => query.begun = true,
                Item::SnapshotEnd => query.ended = query.begun,
                Item::Message(message) if message.kind() == MessageKind::Sow => {
                    query.keys.insert(key_of(&String::from_utf8_lossy(message.data())).to_owned());
                }
                _ => {}
            }
        }
        let failed = query.entered.error.is_some();
        if more || !failed && !query.entered.has_ended() {
            return;
        }
        if !failed && !query.ended {
            turn.violations.push(whole(format!("c{}: a query ended well without its end", self.client)));
        }
        let missing = query.due.difference(&query.keys).next().filter(|_| !failed);
        if let Some(key) = missing {
            turn.violations.push(whole(format!("c{}: an answer lacks the record {key}", self.client)));
        }
        self.answers += u64::from(!failed);
        self.next = turn.pair.elapsed() + Duration::from_millis(turn.random.random_range(1..PAUSE));
        self.query = None;
    }

    fn is_settled(&mut self, _: &mut Pair, _: &Logs) -> bool {
        self.answers > 0
    }
}

fn whole(what: String) -> super::Violation {
    super::Violation::new("whole answers", what)
}
