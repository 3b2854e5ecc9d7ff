use std::time::{Duration, Instant};

use amps_core::{Bookmark, StartAt};
use proptest::prelude::*;

mod points;

use super::*;
use crate::bookmarks::{Bookmarks, Receipt};
use crate::kv::{Kv, MemoryKv, SyncLevel};

const SUBSCRIPTION: &str = "orders";
const OVERLAP: Duration = Duration::from_secs(10);

fn bm(publisher: u64, sequence: u64) -> Bookmark {
    Bookmark { publisher, sequence }
}

fn open(kv: &MemoryKv) -> KvBookmarkStore<MemoryKv> {
    KvBookmarkStore::open(kv.clone(), "client", SyncLevel::Power).unwrap()
}

fn state(floor: Option<u64>, ahead: &[(u64, u64)]) -> PublisherState {
    PublisherState { floor, anchor: floor, ahead: ahead.to_vec() }
}

fn changes(publishers: &[(u64, PublisherState)]) -> BookmarkState {
    BookmarkState { base: None, publishers: publishers.to_vec() }
}

#[test]
fn what_was_committed_is_recovered() {
    let kv = MemoryKv::new();
    let stores: [Box<dyn BookmarkStore>; 2] = [Box::new(open(&kv)), Box::new(MemoryBookmarkStore::new())];
    for mut store in stores {
        assert!(store.recover(SUBSCRIPTION).unwrap().is_empty());
        let mut wanted = changes(&[(1, state(None, &[])), (2, state(Some(5), &[(7, 7), (9, 12)]))]);
        store.save(SUBSCRIPTION, &wanted).unwrap();
        wanted.base = Some(bm(7, 7));
        wanted.publishers[0].1 = state(Some(u64::MAX), &[]);
        wanted.publishers[1].1 = state(Some(8), &[(9, 13)]);
        store.save(SUBSCRIPTION, &wanted).unwrap();
        // Keys that begin alike are others.
        store.save("orders2", &changes(&[(1, state(Some(1), &[]))])).unwrap();
        store.commit().unwrap();
        assert_eq!(store.recover(SUBSCRIPTION).unwrap(), wanted);
        store.purge("orders2").unwrap();
        assert!(store.recover("orders2").unwrap().is_empty());
    }
    let mut reopened = open(&kv.crash(SyncLevel::Power));
    let recovered = reopened.recover(SUBSCRIPTION).unwrap();
    assert_eq!(recovered.base, Some(bm(7, 7)));
    assert_eq!(recovered.publishers[1].1.floor, Some(8));
    assert_eq!(Bookmarks::recovered(StartAt::MostRecent, OVERLAP, &recovered).connect("a"), {
        StartAt::Bookmarks([bm(1, u64::MAX), bm(2, 8)].into_iter().collect())
    });
}

/// Covers 11.8.3#4.
#[test]
fn replaced_records_are_removed_only_after_the_sync() {
    let kv = MemoryKv::new();
    let mut store = open(&kv);
    store.save(SUBSCRIPTION, &changes(&[(1, state(Some(1), &[(3, 3), (5, 5)]))])).unwrap();
    store.commit().unwrap();
    let before = kv.len();
    store.save(SUBSCRIPTION, &changes(&[(1, state(Some(1), &[(3, 5)]))])).unwrap();
    assert_eq!(kv.len(), before);
    store.commit().unwrap();
    assert_eq!(kv.len(), before - 1);
    store.save(SUBSCRIPTION, &changes(&[(1, state(Some(5), &[]))])).unwrap();
    store.commit().unwrap();
    assert_eq!(kv.len(), before - 2);
    // A record that is written again before the sync is not removed.
    for ahead in [&[(9, 9)][..], &[], &[(9, 9)]] {
        store.save(SUBSCRIPTION, &changes(&[(1, state(Some(5), ahead))])).unwrap();
    }
    store.commit().unwrap();
    assert_eq!(kv.len(), before - 1);
}

/// Covers 11.8.3#4.
#[test]
fn a_purge_is_whole_or_not_at_all() {
    let all = changes(&[(1, state(Some(5), &[(9, 12)])), (2, state(Some(7), &[]))]);
    for fault in 1..=5 {
        let kv = MemoryKv::new();
        let mut store = open(&kv);
        store.save(SUBSCRIPTION, &all).unwrap();
        store.commit().unwrap();
        kv.fail_write(fault);
        assert!(store.purge(SUBSCRIPTION).is_err());
        let recovered = open(&kv.crash_keeping(SyncLevel::Power, 9)).recover(SUBSCRIPTION).unwrap();
        assert!(recovered == all && fault == 1 || recovered.is_empty(), "{fault}: {recovered:?}");
    }
}

#[test]
fn a_store_of_another_client_or_format_is_refused_with_both_names() {
    let mut kv = MemoryKv::new();
    drop(open(&kv));
    let error = KvBookmarkStore::open(kv.clone(), "other", SyncLevel::Power).unwrap_err();
    assert!(error.to_string().contains("'client'") && error.to_string().contains("'other'"), "{error}");
    kv.insert(record::FORMAT, &record::seal(record::FORMAT, b"9")).unwrap();
    let error = KvBookmarkStore::open(kv, "client", SyncLevel::Power).unwrap_err();
    assert!(matches!(&error, BookmarkStoreError::OtherFormat { stored, .. } if stored == "9"), "{error}");
}

#[test]
fn a_changed_byte_is_damage() {
    let mut kv = MemoryKv::new();
    let mut store = open(&kv);
    store.save(SUBSCRIPTION, &changes(&[(1, state(Some(5), &[(9, 12)]))])).unwrap();
    store.commit().unwrap();
    let mut all = Vec::new();
    kv.scan(b"p", b"s", &mut |key, value| {
        all.push((key.to_vec(), value.to_vec()));
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(all.len(), 2);
    for (key, value) in all {
        for at in 0..value.len() {
            let mut changed = value.clone();
            changed[at] ^= 1;
            kv.insert(&key, &changed).unwrap();
            assert!(matches!(open(&kv).recover(SUBSCRIPTION), Err(BookmarkStoreError::Damaged { .. })), "{at}");
        }
        kv.insert(&key, &value).unwrap();
    }
    let long = "x".repeat(300);
    assert!(matches!(store.recover(&long), Err(BookmarkStoreError::KeyTooLong { len: 300, .. })));
    let longest = "x".repeat(record::MAX_SUBSCRIPTION);
    store.save(&longest, &changes(&[(1, state(Some(5), &[(9, 12)]))])).unwrap();
}

proptest! {
    /// The disk fails at some write or sync, or the process dies: whatever was
    /// reported durable does not come again, everything else does.
    ///
    /// Covers 11.8.3#2.
    #[test]
    fn after_any_crash_what_was_committed_never_comes_again(
        steps in prop::collection::vec((1u64..4, 0usize..6, prop::bool::weighted(0.3)), 1..60),
        fault in 1u64..80,
        extra in 0usize..10,
        sync_fails: bool,
    ) {
        let kv = MemoryKv::new();
        let mut store = open(&kv);
        if sync_fails { kv.fail_sync(fault / 4 + 1) } else { kv.fail_write(fault) }
        let now = Instant::now();
        let mut bookmarks = Bookmarks::new(StartAt::Epoch, OVERLAP);
        bookmarks.connect("a");
        let (mut log, mut pending, mut discarded, mut durable) = (vec![], vec![], vec![], vec![]);
        for (publisher, discard, commit) in steps {
            let sequence = log.iter().filter(|known: &&Bookmark| known.publisher == publisher).count() as u64 + 1;
            log.push(bm(publisher, sequence));
            prop_assert_eq!(bookmarks.receive(now, bm(publisher, sequence)), Receipt::New);
            pending.push(bm(publisher, sequence));
            if discard < pending.len() {
                let bookmark = pending.remove(discard);
                bookmarks.discard(bookmark);
                discarded.push(bookmark);
            }
            if commit {
                let changes = bookmarks.take_changes();
                if store.save(SUBSCRIPTION, &changes).and_then(|()| store.commit()).is_err() {
                    break;
                }
                durable = discarded.clone();
            }
        }
        let survived = kv.crash_keeping(SyncLevel::Power, extra);
        let recovered = open(&survived).recover(SUBSCRIPTION).unwrap();
        let mut next = Bookmarks::recovered(StartAt::Epoch, OVERLAP, &recovered);
        let from = match next.connect("a") {
            StartAt::Epoch => 0,
            StartAt::Bookmarks(list) => {
                log.iter().position(|known| list.as_slice().contains(known)).unwrap() + 1
            }
            other => panic!("{other:?}"),
        };
        for (at, bookmark) in log.iter().enumerate() {
            let came = at >= from && next.receive(now, *bookmark) == Receipt::New;
            prop_assert!(!(came && durable.contains(bookmark)), "{} came again", bookmark);
            prop_assert!(came || discarded.contains(bookmark), "{} is lost", bookmark);
        }
    }
}

#[test]
fn a_sled_store_survives_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = changes(&[(1, state(Some(5), &[(9, 12)]))]);
    let open = |client| KvBookmarkStore::open_dir(dir.path(), client, SyncLevel::Process);
    let mut store = open("client").unwrap();
    store.save(SUBSCRIPTION, &wanted).unwrap();
    store.commit().unwrap();
    drop(store);
    assert_eq!(open("client").unwrap().recover(SUBSCRIPTION).unwrap(), wanted);
    assert!(matches!(open("other").unwrap_err(), BookmarkStoreError::OtherClient { .. }));
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The bookmarks of a subscription, as far as a store is concerned.
#[derive(Default)]
struct Source(std::sync::Mutex<BookmarkState>);

impl ChangeSource for Source {
    fn take_changes(&self) -> BookmarkState {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl BookmarkWriter {
    fn save(&self, changes: BookmarkState) -> Saved {
        self.changes().announce(&SUBSCRIPTION.into(), std::sync::Arc::new(Source(changes.into())));
        self.changes().so_far()
    }
}

#[test]
fn the_writer_reports_a_save_durable_when_it_is() {
    let kv = MemoryKv::new();
    let writer = BookmarkWriter::start(open(&kv)).unwrap();
    block_on(async {
        assert!(writer.recover(SUBSCRIPTION).await.unwrap().is_empty());
        writer.save(changes(&[(1, state(Some(5), &[]))])).durable().await.unwrap();
        let survived = kv.crash(SyncLevel::Power);
        let recovered = open(&survived).recover(SUBSCRIPTION).unwrap();
        assert_eq!(recovered.publishers, [(1, state(Some(5), &[]))]);
        // The store is dead since the crash.
        let saved = writer.save(changes(&[(1, state(Some(6), &[]))]));
        assert!(matches!(saved.durable().await, Err(BookmarkStoreError::Kv(_))));
        assert!(writer.recover(SUBSCRIPTION).await.is_err());
        assert!(writer.purge(SUBSCRIPTION).await.is_err());
    });
    assert!(matches!(writer.close(), Err(BookmarkStoreError::Kv(_))));
}

#[test]
fn closing_the_writer_commits_what_was_saved() {
    let kv = MemoryKv::new();
    let writer = BookmarkWriter::start(open(&kv)).unwrap();
    let saved = writer.save(changes(&[(1, state(Some(5), &[]))]));
    writer.close().unwrap();
    block_on(saved.durable()).unwrap();
    let writer = BookmarkWriter::start(open(&kv.crash(SyncLevel::Power))).unwrap();
    block_on(async {
        assert_eq!(writer.recover(SUBSCRIPTION).await.unwrap().publishers.len(), 1);
        writer.purge(SUBSCRIPTION).await.unwrap();
        assert!(writer.recover(SUBSCRIPTION).await.unwrap().is_empty());
    });
}

/// Holds every commit until it is let go.
struct Gate {
    store: MemoryBookmarkStore,
    entered: std::sync::mpsc::Sender<()>,
    go: std::sync::mpsc::Receiver<()>,
    saves: std::sync::Arc<std::sync::Mutex<Vec<BookmarkState>>>,
}

impl BookmarkStore for Gate {
    fn recover(&mut self, subscription: &str) -> Result<BookmarkState, BookmarkStoreError> {
        self.store.recover(subscription)
    }

    fn save(&mut self, subscription: &str, changes: &BookmarkState) -> Result<(), BookmarkStoreError> {
        self.saves.lock().unwrap().push(changes.clone());
        self.store.save(subscription, changes)
    }

    fn commit(&mut self) -> Result<(), BookmarkStoreError> {
        self.entered.send(()).unwrap();
        self.go.recv().unwrap();
        Ok(())
    }

    fn purge(&mut self, subscription: &str) -> Result<(), BookmarkStoreError> {
        self.store.purge(subscription)
    }
}

#[test]
fn what_changes_during_a_commit_is_one_group_and_taken_when_it_is_written() {
    let (entered, entries) = std::sync::mpsc::channel();
    let (gate, go) = std::sync::mpsc::channel();
    let saves = std::sync::Arc::default();
    let store = Gate { store: MemoryBookmarkStore::new(), entered, go, saves: std::sync::Arc::clone(&saves) };
    let writer = BookmarkWriter::start(store).unwrap();
    block_on(writer.changes().so_far().durable()).unwrap();
    let first = writer.save(changes(&[(1, state(Some(1), &[]))]));
    entries.recv().unwrap();
    let running = writer.changes().so_far();
    let source = std::sync::Arc::new(Source::default());
    let announced: std::sync::Arc<Source> = std::sync::Arc::clone(&source);
    writer.changes().announce(&SUBSCRIPTION.into(), announced);
    for floor in 2..=100 {
        *source.0.lock().unwrap() = changes(&[(1, state(Some(floor), &[]))]);
    }
    let rest = writer.changes().so_far();
    gate.send(()).unwrap();
    block_on(first.durable()).unwrap();
    block_on(running.durable()).unwrap();
    gate.send(()).unwrap();
    block_on(rest.durable()).unwrap();
    let saves = saves.lock().unwrap();
    assert_eq!(saves.len(), 2, "100 changes, two commits");
    assert_eq!(saves[1].publishers, [(1, state(Some(100), &[]))]);
}

#[test]
fn what_changes_after_the_close_is_reported_as_not_written() {
    let writer = BookmarkWriter::start(open(&MemoryKv::new())).unwrap();
    let late = writer.changes();
    let before = writer.save(changes(&[(1, state(Some(1), &[]))]));
    writer.close().unwrap();
    block_on(before.durable()).unwrap();
    block_on(late.so_far().durable()).unwrap();
    late.announce(&SUBSCRIPTION.into(), std::sync::Arc::new(Source::default()));
    assert!(matches!(block_on(late.so_far().durable()), Err(BookmarkStoreError::Closed)));
}
