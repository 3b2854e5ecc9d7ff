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
