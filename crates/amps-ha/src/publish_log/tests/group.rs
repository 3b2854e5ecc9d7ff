//! Many publishers and one disk, with the store's thread.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::*;
use crate::kv::{KvError, SyncCount, Visit};

/// A disk on which a sync takes two milliseconds.
struct SlowKv(MemoryKv);

impl Kv for SlowKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.0.get(key)
    }
    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.0.insert(key, value)
    }
    fn remove(&mut self, key: &[u8]) -> Result<(), KvError> {
        self.0.remove(key)
    }
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), KvError> {
        self.0.scan(from, to, visit)
    }
    fn sync(&mut self, level: SyncLevel) -> Result<(), KvError> {
        std::thread::sleep(Duration::from_millis(2));
        self.0.sync(level)
    }
    fn max_value(&self) -> usize {
        self.0.max_value()
    }
}

fn on_slow_disk(limits: Limits) -> (Arc<SharedLog>, StoreThread, SyncCount) {
    let kv = MemoryKv::new();
    let syncs = kv.sync_count();
    let (store, recovered) = SegmentStore::open(Box::new(SlowKv(kv)), Path::new("dir"), &identity(), CLOCK).unwrap();
    let log = PublishLog::on_disk(limits, Durability::PowerLoss, recovered);
    let log = Arc::new(SharedLog::new(log, Arc::new(Notify::new())));
    let thread = StoreThread::start(Arc::clone(&log), store).unwrap();
    (log, thread, syncs)
}

/// Publishes one message after the other, each on the disk before the next.
async fn publish_each(log: Arc<SharedLog>, messages: u64) {
    for id in 0..messages {
        let ordinal = log.append(64, |sequence, out| encode(sequence, &id.to_string(), out)).unwrap();
        let mut cursors = log.watch();
        while log.peek(PublishLog::cursors).durable <= ordinal {
            cursors.changed().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_publishers_share_a_sync() {
    const TASKS: u64 = 64;
    const EACH: u64 = 100;
    let (log, thread, syncs) = on_slow_disk(limits());
    let before = syncs.get(SyncLevel::Power);
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(publish_each(Arc::clone(&log), EACH))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let syncs = syncs.get(SyncLevel::Power) - before;
    assert!(TASKS * EACH / syncs >= 30, "{} messages in {syncs} syncs", TASKS * EACH);
    drop(thread);
}

/// Only the disk makes room: no server is there, or one that takes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_that_wait_are_held_back_by_the_disk_and_by_nothing_else() {
    const MESSAGES: u64 = 2_000;
    for online in [false, true] {
        let limits = Limits { resident_bytes: 100_000, ..limits() };
        let (log, thread, _) = on_slow_disk(limits);
        if online {
            log.with(|log| log.logged_on(0, OnPublishGap::Refuse)).unwrap();
        }
        let (body, mut most) = ("7".repeat(1000), 0);
        for _ in 0..MESSAGES {
            if let Some(bound) = log.waits_for_disk() {
                let mut cursors = log.watch();
                while log.peek(PublishLog::cursors).unstored > bound {
                    cursors.changed().await.unwrap();
                }
            }
            log.append(1100, |sequence, out| encode(sequence, &body, out)).unwrap();
            most = most.max(log.peek(PublishLog::cursors).unstored);
        }
        assert!((50_000..=52_000).contains(&most), "{most}");
        thread.close();
        let resident = log.peek(PublishLog::resident_bytes);
        assert!(resident <= 100_000, "{resident}");
        assert_eq!(log.peek(PublishLog::cursors).durable, MESSAGES);
    }
}

/// Who cannot wait goes on, up to the bound of the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_that_cannot_wait_are_held_back_by_the_bound() {
    let (log, thread, _) = on_slow_disk(Limits { bytes: 400_000, resident_bytes: 20_000, ..limits() });
    let body = "7".repeat(1000);
    let full = loop {
        if let Err(error) = log.append(1100, |sequence, out| encode(sequence, &body, out)) {
            break error;
        }
    };
    assert!(matches!(full, AppendError::StoreFull(_)), "{full}");
    drop(thread);
    assert_eq!(log.peek(PublishLog::cursors).unstored, 0);
}
