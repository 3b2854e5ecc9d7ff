//! Stores that keep only where subscriptions resume: in a file of constant
//! size, or with an adapter that may fail.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::super::adapter::Point;
use super::super::point::{read_point, write_point};
use super::*;

const SOON: Duration = Duration::from_secs(20);

/// How many bytes the store takes.
fn size(kv: &MemoryKv) -> usize {
    let mut size = 0;
    kv.scan(b"", &[0xff; 16], &mut |key, value| {
        size += key.len() + value.len();
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    size
}

/// Whatever is discarded in whatever order, the store does not grow; after a
/// crash everything behind the most recent bookmark comes again, nothing
/// before it.
///
/// Covers 11.8.3#5.
#[test]
fn a_store_of_the_most_recent_only_is_of_constant_size_and_the_rest_comes_again() {
    let kv = MemoryKv::new();
    let mut store = MostRecentOnly::new(open(&kv));
    let now = Instant::now();
    let mut bookmarks = Bookmarks::new(StartAt::Epoch, OVERLAP);
    bookmarks.connect("a");
    (1..=1_000).for_each(|sequence| assert_eq!(bookmarks.receive(now, bm(1, sequence)), Receipt::New));
    let mut commit = |bookmarks: &mut Bookmarks| {
        store.save(SUBSCRIPTION, &bookmarks.take_changes()).unwrap();
        store.commit().unwrap();
    };
    bookmarks.discard(bm(1, 1));
    commit(&mut bookmarks);
    let before = size(&kv);
    for sequence in (2..=400).chain((601..=1_000).step_by(2)) {
        bookmarks.discard(bm(1, sequence));
        commit(&mut bookmarks);
        assert_eq!(size(&kv), before);
    }
    let recovered = open(&kv.crash(SyncLevel::Power)).recover(SUBSCRIPTION).unwrap();
    let mut next = Bookmarks::recovered(StartAt::Epoch, OVERLAP, &recovered);
    assert_eq!(next.connect("a"), bm(1, 400).into());
    for sequence in 399..=1_000 {
        let expected = if sequence <= 400 { Receipt::Duplicate } else { Receipt::New };
        assert_eq!(next.receive(now, bm(1, sequence)), expected, "{sequence}");
    }
}

#[test]
fn a_recovery_point_is_text_and_reads_back() {
    let whole = Point {
        base: Some(bm(7, 77)),
        publishers: BTreeMap::from([(1, [Some(u64::MAX), Some(0)]), (2, [None, None]), (3, [Some(5), None])]),
    };
    for point in [Point::default(), whole] {
        assert_eq!(read_point(&write_point(&point)).unwrap(), point);
    }
    for text in ["1 x", "1 1:2", "1 1:2:3:4", "1 a:1:1", "1 =7", "1  ", "1 1:-1:-"] {
        assert!(matches!(read_point(text), Err(BookmarkStoreError::Damaged { .. })), "{text}");
    }
    for text in ["", "2", "1|5|"] {
        assert!(matches!(read_point(text), Err(BookmarkStoreError::OtherFormat { .. })), "{text}");
    }
}

/// A table of recovery points that can be made to fail, and tells what it is
/// asked.
#[derive(Clone)]
struct Shelf {
    points: Arc<Mutex<BTreeMap<String, String>>>,
    trouble: Arc<Mutex<Trouble>>,
    calls: Sender<()>,
}

#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    None,
    Error,
    Panic,
}

impl Shelf {
    fn new() -> (Self, Receiver<()>) {
        let (calls, called) = channel();
        let trouble = Arc::new(Mutex::new(Trouble::None));
        (Self { points: Arc::default(), trouble, calls }, called)
    }

    fn trouble(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap() = trouble;
    }

    fn point(&self) -> Option<Point> {
        self.points.lock().unwrap().get(SUBSCRIPTION).map(|text| read_point(text).unwrap())
    }
}

impl RecoveryPointAdapter for Shelf {
    fn recover(&mut self, subscription: &str) -> Result<Option<String>, AdapterError> {
        Ok(self.points.lock().unwrap().get(subscription).cloned())
    }

    fn update(&mut self, subscription: &str, point: &str) -> Result<(), AdapterError> {
        let trouble = *self.trouble.lock().unwrap();
        if trouble == Trouble::None {
            self.points.lock().unwrap().insert(subscription.to_owned(), point.to_owned());
        }
        let _ = self.calls.send(());
        match trouble {
            Trouble::Error => Err("the shelf is full".into()),
            Trouble::Panic => panic!("the shelf fell over"),
            Trouble::None => Ok(()),
        }
    }

    fn purge(&mut self, subscription: &str) -> Result<(), AdapterError> {
        self.points.lock().unwrap().remove(subscription);
        Ok(())
    }
}

fn floor(shelf: &Shelf, publisher: u64) -> Option<u64> {
    shelf.point()?.publishers.get(&publisher)?[0]
}

#[test]
fn recovery_points_survive_the_store_and_a_purge_forgets_them() {
    let (shelf, _called) = Shelf::new();
    let mut store = RecoveryPoints::new(shelf.clone());
    let mut wanted = changes(&[(1, state(None, &[])), (2, state(Some(5), &[]))]);
    store.save(SUBSCRIPTION, &changes(&[(1, state(None, &[])), (2, state(Some(4), &[(6, 9)]))])).unwrap();
    store.save(SUBSCRIPTION, &BookmarkState { base: Some(bm(7, 77)), ..changes(&[(2, state(Some(5), &[]))]) }).unwrap();
    store.commit().unwrap();
    wanted.base = Some(bm(7, 77));
    let mut next = RecoveryPoints::new(shelf.clone());
    assert_eq!(next.recover(SUBSCRIPTION).unwrap(), wanted);
    next.purge(SUBSCRIPTION).unwrap();
    assert!(next.recover(SUBSCRIPTION).unwrap().is_empty() && shelf.point().is_none());
}

/// A failing update is told of and fails nobody else; the latest point is
/// there with the next update, or by itself a little later, and nobody is told
/// that what was discarded is durable before.
///
/// Covers 11.8.3#6.
#[test]
fn an_adapter_that_fails_is_told_of_and_asked_again() {
    for trouble in [Trouble::Error, Trouble::Panic] {
        let (shelf, called) = Shelf::new();
        let (tell, told) = channel();
        let on_error = move |error: &BookmarkStoreError| tell.send(error.to_string()).unwrap();
        let options = WriterOptions { on_error: Box::new(on_error), ..WriterOptions::default() };
        let writer = BookmarkWriter::start_with(RecoveryPoints::new(shelf.clone()), options).unwrap();
        shelf.trouble(trouble);
        let first = writer.save(changes(&[(1, state(Some(5), &[]))]));
        called.recv_timeout(SOON).unwrap();
        let text = told.recv_timeout(SOON).unwrap();
        assert!(text.contains("the shelf"), "{text}");
        assert!(shelf.point().is_none());
        let known = block_on(writer.recover(SUBSCRIPTION)).unwrap();
        assert_eq!(known.publishers[0].1.floor, Some(5), "who asks is answered");
        // With the next update.
        shelf.trouble(Trouble::None);
        let second = writer.save(changes(&[(2, state(Some(7), &[]))]));
        block_on(async { (first.durable().await.unwrap(), second.durable().await.unwrap()) });
        assert_eq!((floor(&shelf, 1), floor(&shelf, 2)), (Some(5), Some(7)));
        // And without one.
        shelf.trouble(trouble);
        let third = writer.save(changes(&[(1, state(Some(6), &[]))]));
        told.recv_timeout(SOON).unwrap();
        shelf.trouble(Trouble::None);
        block_on(third.durable()).unwrap();
        assert_eq!(floor(&shelf, 1), Some(6));
        // At the end what could not be written is an error.
        shelf.trouble(trouble);
        let last = writer.save(changes(&[(1, state(Some(8), &[]))]));
        assert!(matches!(writer.close(), Err(BookmarkStoreError::Adapter(_))));
        assert!(matches!(block_on(last.durable()), Err(BookmarkStoreError::Adapter(_))));
        assert_eq!(floor(&shelf, 1), Some(6));
    }
}

/// The first change is handed over at once, and a burst of a thousand in a few
/// updates, of which the last has everything.
///
/// Covers 11.8.3#7.
#[test]
fn updates_of_a_burst_are_conflated() {
    let (shelf, called) = Shelf::new();
    let options = WriterOptions { pause: Duration::from_millis(200), ..WriterOptions::default() };
    let writer = BookmarkWriter::start_with(RecoveryPoints::new(shelf.clone()), options).unwrap();
    writer.changes().announce(&SUBSCRIPTION.into(), Arc::new(Source(changes(&[(1, state(Some(1), &[]))]).into())));
    called.recv_timeout(SOON).unwrap();
    assert_eq!(called.try_recv().ok(), None, "one change, one update");
    let began = Instant::now();
    for sequence in 2..=1_000 {
        let source = Source(changes(&[(1, state(Some(sequence), &[]))]).into());
        writer.changes().announce(&SUBSCRIPTION.into(), Arc::new(source));
    }
    let most = began.elapsed().as_millis() / 200 + 2;
    let mut updates = 0;
    while floor(&shelf, 1) != Some(1_000) {
        called.recv_timeout(SOON).unwrap();
        updates += 1;
    }
    writer.close().unwrap();
    updates += called.try_iter().count() as u128;
    assert!(updates <= most, "{updates} updates");
}
