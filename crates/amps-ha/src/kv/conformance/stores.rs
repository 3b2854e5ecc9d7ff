//! The stores that stand on the seam.

use std::path::Path;

use amps_core::Field;
use amps_core::header::FrameWriter;
use bytes::BytesMut;

use super::{Checked, Subject};
use crate::bookmarks::store::{BookmarkStore, KvBookmarkStore};
use crate::bookmarks::{BookmarkState, PublisherState};
use crate::kv::{Kv, SyncLevel};
use crate::publish_log::{Durability, Identity, Limits, OnPublishGap, PublishLog, SegmentStore};

const NAME: &str = "conformance";

/// A publish log that is killed, or cut off its power, again and again: what
/// was durable is there, in order, and numbers go on above what was given out.
///
/// # Panics
/// When the log loses something, or does not open.
pub fn publish_store(subject: &mut dyn Subject) -> Checked {
    for level in [SyncLevel::Process, SyncLevel::Power] {
        let mut kv = subject.create();
        let (mut published, mut highest) = (0, 0);
        for life in 0..4 {
            let (mut store, mut log) = open(kv, level);
            for id in published..published + 30 {
                // Some are longer than one value.
                let body = format!("{id}:{}", "x".repeat(if id % 10 == 3 { 100_000 } else { 100 }));
                let append = log.append(80 + body.len(), |sequence, out| {
                    let frame = FrameWriter::new(out, "p").number(Field::Sequence, sequence.unwrap_or_default());
                    frame.text(Field::Topic, "t").finish(body.as_bytes());
                });
                append.expect("room in the log");
                work(&mut log, &mut store);
            }
            published += 30;
            assert_eq!(log.cursors().durable, log.end(), "life {life}: the log is not durable");
            kv = subject.crash(store.into_kv(), level);
            let (store, log) = open(kv, level);
            let held = log.end();
            assert_eq!(
                held, published,
                "life {life}: {held} of {published} durable messages survived a {level:?} crash"
            );
            let first_new = log.next_sequence();
            assert!(first_new > highest, "life {life}: number {first_new} was given out before");
            highest = first_new;
            kv = store.into_kv();
        }
        let (mut store, mut log) = open(kv, level);
        log.logged_on(0, OnPublishGap::Refuse).expect("a logon");
        let mut wire = BytesMut::new();
        loop {
            work(&mut log, &mut store);
            if log.fill(&mut wire, usize::MAX, u64::MAX) == 0 && !log.has_more(u64::MAX) {
                break;
            }
        }
        let sent = String::from_utf8_lossy(&wire);
        let mut from = 0;
        for id in 0..published {
            let at = sent[from..].find(&format!("}}{id}:x"));
            from += at.unwrap_or_else(|| panic!("message {id} is missing or out of order"));
        }
    }
    Checked::Kept
}

fn open(kv: Box<dyn Kv>, level: SyncLevel) -> (SegmentStore, PublishLog) {
    let identity = Identity { client_name: NAME.into(), message_type: "json".into(), protocol: "amps".into() };
    let opened = SegmentStore::open(kv, Path::new(NAME), &identity, 1_000_000);
    let (store, recovered) = opened.unwrap_or_else(|error| panic!("a publish log does not open: {error}"));
    let durability = match level {
        SyncLevel::Process => Durability::ProcessCrash,
        SyncLevel::Power => Durability::PowerLoss,
    };
    (store, PublishLog::on_disk(Limits::default(), durability, recovered))
}

fn work(log: &mut PublishLog, store: &mut SegmentStore) {
    while let Some(job) = log.next_job() {
        log.job_done(Ok(store.run(&job).unwrap_or_else(|error| panic!("a publish log's job fails: {error}"))));
    }
}

/// What a bookmark store has committed is there after a crash.
///
/// # Panics
/// When it is not.
pub fn bookmark_store(subject: &mut dyn Subject) -> Checked {
    for level in [SyncLevel::Process, SyncLevel::Power] {
        let mut kv = subject.create();
        for life in 1..4u64 {
            let mut store = KvBookmarkStore::open(kv, NAME, level).expect("a bookmark store");
            let before = store.recover("subscription").expect("what is known");
            let floor = before.publishers.first().and_then(|(_, state)| state.floor);
            assert_eq!(floor, (life > 1).then_some((life - 1) * 10), "life {life}: a discard is gone");
            let ahead = (life * 10 + 5, life * 10 + 7);
            let state = PublisherState { floor: Some(life * 10), anchor: None, ahead: vec![ahead] };
            let changes = BookmarkState { base: None, publishers: vec![(7, state)] };
            store.save("subscription", &changes).expect("a save");
            store.commit().expect("a commit");
            kv = subject.crash(Box::new(store.into_kv()), level);
            let mut store = KvBookmarkStore::open(kv, NAME, level).expect("a bookmark store");
            let after = store.recover("subscription").expect("what is known");
            // An older range below the floor says nothing more, and may stay.
            let kept = matches!(&*after.publishers, [(7, state)]
                if state.floor == Some(life * 10) && state.ahead.last() == Some(&ahead));
            assert!(kept, "life {life}: a committed discard is gone: {after:?}");
            kv = store.into_kv();
        }
    }
    Checked::Kept
}
