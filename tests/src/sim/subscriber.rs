//! A subscriber with bookmarks, and the ledger of what it was given.

use std::collections::{BTreeMap, BTreeSet};

use amps_core::{Bookmark, StartAt};
use amps_ha::bookmarks::store::{BookmarkStore, ChangeSource, KvBookmarkStore};
use amps_ha::bookmarks::{Bookmarks, DEFAULT_OVERLAP};
use amps_ha::kv::{MemoryKv, SyncLevel};
use amps_ha::subscriptions::{AckBatching, Item, QueueLimits, SubscriptionKind, SubscriptionSpec};
use rand::RngExt;
use rand::rngs::StdRng;

use super::check::{self, Logs, Violation};
use super::part::{Part, Turn};
use super::publisher::origin_of;
use crate::{Entered, Kill, Pair};

const KEY: &str = "all";

/// A subscription to everything, from the beginning, across its lives.
pub(super) struct Subscriber {
    client: usize,
    name: String,
    queue: usize,
    /// It discards what comes first as a rule, and soon.
    steady: bool,
    kv: MemoryKv,
    life: Option<Life>,
    /// Discarded, and saved before the last life began: never to come again.
    saved: BTreeSet<String>,
    /// Discarded in an earlier life, saved or not.
    discarded: BTreeSet<String>,
    given: u64,
}

struct Life {
    entered: Entered,
    store: KvBookmarkStore<MemoryKv>,
    given: BTreeSet<String>,
    /// The last number of each publisher.
    last: BTreeMap<String, u64>,
    waiting: Vec<(Bookmark, String)>,
    discarded: BTreeSet<String>,
    saved: BTreeSet<String>,
}

impl Subscriber {
    pub(super) fn new(client: usize, queue: usize, steady: bool) -> Self {
        Self {
            client,
            name: format!("subscriber{client}"),
            queue,
            steady,
            kv: MemoryKv::new(),
            life: None,
            saved: BTreeSet::new(),
            discarded: BTreeSet::new(),
            given: 0,
        }
    }
}

impl Part for Subscriber {
    fn client(&self) -> usize {
        self.client
    }

    /// Begins a life on what the disk holds.
    fn start(&mut self, pair: &mut Pair) {
        let store = KvBookmarkStore::open(self.kv.clone(), &self.name, SyncLevel::Power);
        let mut store = store.expect("a disk that can be read");
        let known = store.recover(KEY).expect("a disk that can be read");
        let bookmarks = Bookmarks::recovered(StartAt::Epoch, DEFAULT_OVERLAP, &known);
        let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "^(plain|records)$");
        spec.start = Some(StartAt::Epoch);
        let limits = QueueLimits { messages: self.queue, ..QueueLimits::default() };
        let entered = pair.enter_with(self.client, spec, limits, AckBatching::default(), Some(bookmarks));
        self.life = Some(Life {
            entered,
            store,
            given: BTreeSet::new(),
            last: BTreeMap::new(),
            waiting: Vec::new(),
            discarded: BTreeSet::new(),
            saved: BTreeSet::new(),
        });
    }

    fn dies(&mut self, how: Kill) {
        let Some(life) = self.life.take() else { return };
        self.saved.extend(life.saved);
        self.discarded.extend(life.discarded);
        self.kv = how.disk(&self.kv);
    }

    /// Takes some of what waits, discards some of it, saves now and then.
    fn turn(&mut self, turn: &mut Turn<'_>) {
        let Some(life) = &mut self.life else { return };
        life.entered.take(turn.most);
        for item in life.entered.items.drain(..) {
            let Item::Message(message) = item else { continue };
            let body = String::from_utf8_lossy(message.data()).into_owned();
            self.given += 1;
            let mut broken = |rule, what: &str| turn.broken(rule, format!("{}: {body} {what}", self.name));
            if self.saved.contains(&body) {
                broken("discarded for good", "came again in a new process");
            }
            if !life.given.insert(body.clone()) {
                broken("no duplicate", "came twice in one life");
            }
            let (publisher, number) = origin_of(&body);
            let before = life.last.insert(publisher.to_owned(), number);
            if before.is_some_and(|before| before >= number) {
                broken("order of delivery", "came behind a newer one");
            }
            match message.bookmark() {
                Some(bookmark) => life.waiting.push((bookmark, body)),
                None => broken("a bookmark", "has none"),
            }
        }
        if let Some(error) = life.entered.error.take() {
            turn.broken("streams stay open", format!("{}: {error}", self.name));
        }
        life.discard(turn.random, self.steady);
        let waiting = life.entered.queue.len();
        if waiting > self.queue {
            let what = format!("{}: {waiting} messages wait where {} may", self.name, self.queue);
            turn.broken("bounded queues", what);
        }
    }

    /// Whether this life was given everything.
    fn is_settled(&mut self, _: &mut Pair, logs: &Logs) -> bool {
        let known = |body: &String, life: &Life| life.given.contains(body) || self.discarded.contains(body);
        self.life.as_ref().is_some_and(|life| logs.common.iter().all(|body| known(body, life)))
    }

    /// Everything in the log was given in this life, or discarded before.
    fn check(&self, logs: &Logs) -> Vec<Violation> {
        let Some(life) = &self.life else { return Vec::new() };
        check::delivered(&self.name, logs, &life.given, &self.discarded)
    }

    fn given(&self) -> u64 {
        self.given
    }
}

impl Life {
    fn discard(&mut self, random: &mut StdRng, steady: bool) {
        let (soon, first, reach) = if steady { (0.8, 0.8, 4) } else { (0.6, 0.2, 16) };
        while !self.waiting.is_empty() && random.random_bool(soon) {
            let near = self.waiting.len().min(reach);
            let index = if random.random_bool(first) { 0 } else { random.random_range(0..near) };
            let (bookmark, body) = self.waiting.remove(index);
            self.entered.queue.discard(bookmark, || {});
            self.discarded.insert(body);
        }
        if random.random_bool(0.3) {
            let changes = self.entered.queue.take_changes();
            self.store.save(KEY, &changes).expect("a disk that works");
            if random.random_bool(0.7) {
                self.store.commit().expect("a disk that works");
                self.saved.clone_from(&self.discarded);
            }
        }
    }
}
