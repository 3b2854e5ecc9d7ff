//! Bookmarks against a naive model: servers that interleave publishers
//! differently, failovers, restarts and discards in any order.

use std::collections::BTreeSet;

use super::*;

pub const SERVERS: usize = 3;
/// A message is in every log at most this many milliseconds after its publish.
pub const LAG: u64 = 400;
const OVERLAP: Duration = Duration::from_millis(1000);

#[derive(Debug, Clone)]
pub enum Op {
    Publish {
        publisher: u64,
        lags: [u64; SERVERS],
    },
    Advance(u64),
    Read(usize),
    Discard(usize),
    Persisted,
    Commit,
    Connect(usize),
    /// The process dies and a new one connects.
    Restart(usize),
    /// So many of the messages that wait have their effects, in a transaction with
    /// the resume point. Not together with discards and restarts.
    Transact(usize),
    /// The process dies in such a transaction, before or behind its commit, and a
    /// new one connects to `server`.
    DieTransacting {
        most: usize,
        committed: bool,
        server: usize,
    },
}

/// Half of the messages do not match the subscription's filter.
fn matches(bookmark: &Bookmark) -> bool {
    (bookmark.publisher + bookmark.sequence).is_multiple_of(2) || bookmark.publisher == 1
}

#[derive(Default)]
struct Server {
    /// By time of arrival, then order of publish.
    log: BTreeSet<(u64, usize, Bookmark)>,
    newest: BTreeMap<u64, u64>,
}

struct World {
    epoch: Instant,
    now: u64,
    servers: [Server; SERVERS],
    published: Vec<Bookmark>,
    bookmarks: Bookmarks,
    server: usize,
    /// Index of the next message in that server's log.
    position: usize,
    complete_at: usize,
    completed: bool,
    /// Servers this subscription ever was on.
    visited: BTreeSet<usize>,
    delivered: BTreeSet<Bookmark>,
    queue: Vec<Bookmark>,
    discarded: BTreeSet<Bookmark>,
    durable: BTreeMap<u64, PublisherState>,
    durable_discards: BTreeSet<Bookmark>,
    /// What was durably discarded when this life began.
    before: BTreeSet<Bookmark>,
    /// The resume point in the application's database, as text, and the effects.
    database: (String, BTreeSet<Bookmark>),
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            epoch: Instant::now(),
            now: 0,
            servers: Default::default(),
            published: Vec::new(),
            bookmarks: Bookmarks::new(StartAt::Epoch, OVERLAP),
            server: 0,
            position: 0,
            complete_at: 0,
            completed: false,
            visited: BTreeSet::new(),
            delivered: BTreeSet::new(),
            queue: Vec::new(),
            discarded: BTreeSet::new(),
            durable: BTreeMap::new(),
            durable_discards: BTreeSet::new(),
            before: BTreeSet::new(),
            database: Default::default(),
        };
        world.connect(0);
        world
    }

    fn at(&self) -> Instant {
        self.epoch + Duration::from_millis(self.now)
    }

    fn log(&self, server: usize) -> Vec<Bookmark> {
        self.servers[server].log.iter().take_while(|entry| entry.0 <= self.now).map(|entry| entry.2).collect()
    }

    fn publish(&mut self, publisher: u64, lags: [u64; SERVERS]) {
        let sequence = self.published.iter().filter(|bookmark| bookmark.publisher == publisher).count() as u64 + 1;
        let bookmark = Bookmark { publisher, sequence };
        for (server, lag) in self.servers.iter_mut().zip(lags) {
            let arrival = server.newest.entry(publisher).or_default();
            // After what is visible now, and after the publisher's last.
            *arrival = (*arrival).max(self.now + 1 + lag);
            server.log.insert((*arrival, self.published.len(), bookmark));
        }
        self.published.push(bookmark);
    }

    fn connect(&mut self, server: usize) {
        let start = self.bookmarks.connect(&format!("server {server}"));
        let log = self.log(server);
        self.position = match &start {
            StartAt::Epoch => 0,
            StartAt::Bookmarks(list) => {
                let known = log.iter().position(|bookmark| list.as_slice().contains(bookmark));
                known.map_or_else(
                    || {
                        self.bookmarks.started_instead(StartAt::Epoch);
                        0
                    },
                    |at| at + 1,
                )
            }
            other => panic!("{other:?}"),
        };
        self.server = server;
        self.visited.insert(server);
        self.completed = false;
        self.complete_at = log.len();
        self.complete();
    }

    fn complete(&mut self) {
        if !self.completed && self.position >= self.complete_at {
            self.completed = true;
            let at = self.complete_at.checked_sub(1).map(|last| self.log(self.server)[last]);
            self.bookmarks.completed(self.at(), at);
        }
    }

    fn read(&mut self, count: usize) {
        let log = self.log(self.server);
        for _ in 0..count.min(log.len().saturating_sub(self.position)) {
            let bookmark = log[self.position];
            self.position += 1;
            if matches(&bookmark) && self.bookmarks.receive(self.at(), bookmark) == Receipt::New {
                assert!(self.delivered.insert(bookmark), "{bookmark} twice in one life");
                assert!(!self.before.contains(&bookmark), "{bookmark} came again after a durable discard");
                self.queue.push(bookmark);
            }
            self.complete();
        }
        if self.position >= log.len() {
            self.bookmarks.drained(self.at());
        }
    }

    /// The newest position that every server has reached.
    fn persisted(&mut self) {
        let logs: Vec<BTreeSet<Bookmark>> = (0..SERVERS).map(|server| self.log(server).into_iter().collect()).collect();
        let log = self.log(self.server);
        let everywhere =
            log[..self.position].iter().take_while(|bookmark| logs.iter().all(|log| log.contains(bookmark)));
        if let Some(bookmark) = everywhere.last()
            && self.completed
        {
            self.bookmarks.persisted(self.at(), *bookmark);
        }
    }

    fn discard(&mut self, index: usize) {
        if index < self.queue.len() {
            let bookmark = self.queue.remove(index);
            assert!(self.bookmarks.discard(bookmark));
            self.discarded.insert(bookmark);
        }
    }

    fn commit(&mut self) {
        self.durable.extend(self.bookmarks.take_changes().publishers);
        self.durable_discards.extend(self.discarded.iter());
    }

    fn restart(&mut self, server: usize) {
        let publishers = self.durable.clone().into_iter().collect();
        self.begin_anew(server, &BookmarkState { base: None, publishers }, self.durable_discards.clone());
    }

    fn begin_anew(&mut self, server: usize, state: &BookmarkState, done: BTreeSet<Bookmark>) {
        // The documented limit: no anchor yet and another server.
        let anchored = state.publishers.iter().any(|(_, publisher)| publisher.anchor.is_some());
        if !anchored && (self.visited.len() > 1 || !self.visited.contains(&server)) {
            return;
        }
        self.bookmarks = Bookmarks::recovered(StartAt::Epoch, OVERLAP, state);
        self.delivered.clear();
        self.queue.clear();
        self.discarded = done.clone();
        self.before = done;
        self.connect(server);
    }

    /// Commits the effects of the first messages with the resume point.
    fn transact(&mut self, most: usize) -> usize {
        let batch = &self.queue[..most.min(self.queue.len())];
        let (point, effects) = &mut self.database;
        *point = self.bookmarks.resume_point(batch.iter().copied()).to_string();
        for bookmark in batch {
            assert!(effects.insert(*bookmark), "{bookmark} has its effect twice");
        }
        batch.len()
    }

    fn die_transacting(&mut self, most: usize, committed: bool, server: usize) {
        if committed {
            let count = self.transact(most);
            // Should it not die: the documented limit.
            (0..count).for_each(|_| self.discard(0));
        } else {
            // Rolled back: nothing of it is left, here either.
            self.bookmarks.resume_point(self.queue.iter().copied());
        }
        let (point, effects) = self.database.clone();
        let point: ResumePoint = point.parse().expect("what was written can be read");
        self.begin_anew(server, &point.state(), effects);
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Publish { publisher, lags } => self.publish(publisher, lags),
            Op::Advance(milliseconds) => self.now += milliseconds,
            Op::Read(count) => self.read(count),
            Op::Discard(index) => self.discard(index),
            Op::Persisted => self.persisted(),
            Op::Commit => self.commit(),
            Op::Connect(server) => self.connect(server),
            Op::Restart(server) => self.restart(server),
            Op::Transact(most) => {
                let count = self.transact(most);
                (0..count).for_each(|_| self.discard(0));
            }
            Op::DieTransacting { most, committed, server } => self.die_transacting(most, committed, server),
        }
    }

    fn finish(mut self) {
        self.now += 10 * LAG;
        self.read(usize::MAX);
        let wanted = self.published.iter().filter(|bookmark| matches(bookmark));
        let lost: Vec<_> =
            wanted.filter(|bookmark| !self.delivered.contains(bookmark) && !self.before.contains(bookmark)).collect();
        assert!(lost.is_empty(), "lost {lost:?}");
        while !self.queue.is_empty() {
            self.discard(0);
        }
        assert_eq!(self.bookmarks.undiscarded(), 0);
    }

    fn finish_transacting(mut self) {
        self.now += 10 * LAG;
        self.read(usize::MAX);
        self.transact(usize::MAX);
        let wanted: BTreeSet<Bookmark> = self.published.iter().copied().filter(matches).collect();
        assert_eq!(self.database.1, wanted, "the effects, and what was published");
    }
}

/// A history from its beginning to its end.
pub fn run(ops: impl IntoIterator<Item = Op>) {
    let mut world = World::new();
    for op in ops {
        world.step(op);
    }
    world.finish();
}

/// The same with transactions, at whose end every message has had its effect.
pub fn run_transacting(ops: impl IntoIterator<Item = Op>) {
    let mut world = World::new();
    for op in ops {
        world.step(op);
    }
    world.finish_transacting();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

    use super::*;
    use crate::cases::cases;

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (1u64..6, [0..=LAG, 0..=LAG, 0..=LAG]).prop_map(|(publisher, lags)| Op::Publish { publisher, lags }),
            4 => (0u64..500).prop_map(Op::Advance),
            3 => (0usize..6).prop_map(Op::Read),
            3 => Just(Op::Read(usize::MAX)),
            5 => (0usize..8).prop_map(Op::Discard),
            1 => Just(Op::Persisted),
            2 => Just(Op::Commit),
            2 => (0..SERVERS).prop_map(Op::Connect),
            1 => (0..SERVERS).prop_map(Op::Restart),
        ]
    }

    /// Ten thousand histories, or `PROPTEST_CASES`, from a seed that a failure
    /// prints: `BOOKMARK_SEED` runs them again.
    ///
    /// Covers 11.8.3#1, 11.8.3#2.
    #[test]
    fn nothing_is_lost_and_nothing_comes_twice() {
        histories(op(), run);
    }

    fn transacting() -> impl Strategy<Value = Op> {
        let dying = (0usize..8, any::<bool>(), 0..SERVERS);
        prop_oneof![
            6 => (1u64..6, [0..=LAG, 0..=LAG, 0..=LAG]).prop_map(|(publisher, lags)| Op::Publish { publisher, lags }),
            4 => (0u64..500).prop_map(Op::Advance),
            3 => (0usize..6).prop_map(Op::Read),
            3 => Just(Op::Read(usize::MAX)),
            5 => (0usize..8).prop_map(Op::Transact),
            1 => Just(Op::Persisted),
            2 => (0..SERVERS).prop_map(Op::Connect),
            2 => dying.prop_map(|(most, committed, server)| Op::DieTransacting { most, committed, server }),
        ]
    }

    /// The resume point in the transaction of the effects is all that a new process
    /// needs, wherever the old one died.
    #[test]
    fn every_message_has_its_effect_exactly_once() {
        histories(transacting(), run_transacting);
    }

    fn histories(op: impl Strategy<Value = Op>, run: impl Fn(Vec<Op>)) {
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let seed = number("BOOKMARK_SEED").unwrap_or_else(rand::random);
        println!("BOOKMARK_SEED={seed}");
        let config = ProptestConfig { cases: cases(10_000), failure_persistence: None, ..ProptestConfig::default() };
        let seed: Vec<u8> = seed.to_be_bytes().repeat(4);
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let histories = prop::collection::vec(op, 1..120);
        let outcome = TestRunner::new_with_rng(config, random).run(&histories, |ops| {
            run(ops);
            Ok(())
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
    }
}
