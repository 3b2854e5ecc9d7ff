//! A client that asks for all of the log there is, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use amps_core::command::Rate;
use amps_core::{Bookmark, BookmarkRange, CommandOptions, StartAt};
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
    /// A message that every server has: where a range may end.
    end: Option<(Bookmark, String)>,
    /// A range that was asked for behind the last fault has ended.
    settled: bool,
    given: u64,
}

struct Range {
    late: bool,
    /// The message it ends with, unless it ends with the log.
    end: Option<String>,
    entered: Entered,
    /// What every server had when it was asked for.
    due: BTreeSet<String>,
    given: BTreeSet<String>,
    last: BTreeMap<String, u64>,
}

impl Ranger {
    pub(super) fn new(client: usize) -> Self {
        Self { client, range: None, next: Duration::ZERO, end: None, settled: false, given: 0 }
    }

    fn ask(&self, turn: &mut Turn<'_>) -> Range {
        let mut due: BTreeSet<_> = turn.publishers.iter().flat_map(Publisher::settled_plain).cloned().collect();
        let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, PLAIN);
        let end = self.end.clone().filter(|_| !turn.emptied && turn.random.random_bool(0.5));
        let until = end.as_ref().map_or(StartAt::Now, |(bookmark, _)| (*bookmark).into());
        spec.start = Some(BookmarkRange::new(StartAt::Epoch, until).into());
        let end = end.map(|(_, body)| body);
        if let Some(end) = &end {
            due.retain(|body| !is_behind(body, end) && origin_of(body).0 == origin_of(end).0);
        }
        // Slow ones last long enough to be cut.
        if !turn.healed && turn.random.random_bool(0.5) {
            spec.options = CommandOptions::new().rate(Rate::Messages(turn.random.random_range(5..200)));
        }
        let limits = QueueLimits { messages: QUEUE, ..QueueLimits::default() };
        let entered = turn.pair.enter(self.client, spec, limits);
        Range { late: turn.healed, end, entered, due, given: BTreeSet::new(), last: BTreeMap::new() }
    }
}

/// Whether a message was published behind another, by the same publisher.
fn is_behind(body: &str, other: &str) -> bool {
    let ((publisher, number), (origin, end)) = (origin_of(body), origin_of(other));
    publisher == origin && number > end
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
            if let Some(end) = range.end.as_ref().filter(|end| is_behind(&body, end)) {
                turn.broken("whole ranges", format!("c{}: {body} came in a range that ends with {end}", self.client));
            }
            if range.due.contains(&body) {
                self.end = message.bookmark().map(|bookmark| (bookmark, body.clone()));
            }
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
