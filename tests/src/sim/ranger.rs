//! A client that asks for all of the log there is, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use amps_core::command::Rate;
use amps_core::{BookmarkRange, CommandOptions, StartAt};
use amps_ha::subscriptions::{Item, QueueLimits, SubscriptionKind, SubscriptionSpec};
use rand::RngExt;

use super::check::Logs;
use super::part::{Part, Turn};
use super::publisher::{PLAIN, Publisher, origin_of};
use crate::{Entered, Kill, Pair};

/// So long at most between two ranges, in milliseconds.
const PAUSE: u64 = 4_000;

/// It reads so little at a time at most: ranges last long enough to be cut.
const QUEUE: usize = 5;

pub(super) struct Ranger {
    client: usize,
    range: Option<Range>,
    /// When the next is asked for.
    next: Duration,
    /// A range that was asked for behind the last fault has ended.
    settled: bool,
    given: u64,
}

struct Range {
    late: bool,
    entered: Entered,
    /// What every server had when it was asked for.
    due: BTreeSet<String>,
    given: BTreeSet<String>,
    last: BTreeMap<String, u64>,
}

impl Ranger {
    pub(super) fn new(client: usize) -> Self {
        Self { client, range: None, next: Duration::ZERO, settled: false, given: 0 }
    }

    fn ask(&self, turn: &mut Turn<'_>) -> Range {
        let due = turn.publishers.iter().flat_map(Publisher::settled_plain).cloned().collect();
        let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, PLAIN);
        spec.start = Some(BookmarkRange::new(StartAt::Epoch, StartAt::Now).into());
        // Slow ones last long enough to be cut.
        if !turn.healed && turn.random.random_bool(0.5) {
            spec.options = CommandOptions::new().rate(Rate::Messages(turn.random.random_range(5..200)));
        }
        let limits = QueueLimits { messages: QUEUE, ..QueueLimits::default() };
        let entered = turn.pair.enter(self.client, spec, limits);
        Range { late: turn.healed, entered, due, given: BTreeSet::new(), last: BTreeMap::new() }
    }
}

impl Part for Ranger {
    fn client(&self) -> usize {
        self.client
    }

    fn start(&mut self, _: &mut Pair) {}

    fn dies(&mut self, _: Kill) {
        self.range = None;
    }

    fn turn(&mut self, turn: &mut Turn<'_>) {
        let Some(range) = &mut self.range else {
            if turn.pair.elapsed() >= self.next && !self.settled {
                self.range = Some(self.ask(turn));
            }
            return;
        };
        let most = if turn.healed { turn.most } else { turn.random.random_range(1..=QUEUE) };
        let more = range.entered.take(most) == most;
        for item in range.entered.items.drain(..) {
            let Item::Message(message) = item else { continue };
            self.given += 1;
            let body = String::from_utf8_lossy(message.data()).into_owned();
            let (publisher, number) = origin_of(&body);
            if range.last.insert(publisher.to_owned(), number).is_some_and(|before| before > number) {
                turn.broken("order of delivery", format!("c{}: {body} came behind a newer one", self.client));
            }
            if !range.given.insert(body.clone()) {
                turn.broken("no duplicate", format!("c{}: {body} came twice in one range", self.client));
            }
        }
        if let Some(error) = range.entered.error.take() {
            turn.broken("streams stay open", format!("c{}: {error}", self.client));
        }
        if more || !range.entered.has_ended() {
            return;
        }
        if let Some(body) = range.due.difference(&range.given).next() {
            turn.broken("whole ranges", format!("c{}: a range lacks {body}", self.client));
        }
        self.settled = range.late;
        self.next = turn.pair.elapsed() + Duration::from_millis(turn.random.random_range(1..PAUSE));
        self.range = None;
    }

    fn is_settled(&mut self, _: &mut Pair, _: &Logs) -> bool {
        self.settled
    }

    fn given(&self) -> u64 {
        self.given
    }
}
