//! Refused messages that only the disk has.

use amps_core::Reason;

use super::store::{LOG_FROM, LOG_TO};
use super::*;

const MESSAGES: u64 = 2_000;

/// A log with so many messages, all sent, hardly any in memory, in several
/// values.
fn evicted(kv: &MemoryKv) -> (SegmentStore, PublishLog) {
    let limits = Limits { resident_bytes: 2_000, ..limits() };
    let (mut store, mut log) = open(kv.clone(), Durability::PowerLoss, limits, CLOCK);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    for id in 0..MESSAGES {
        let body = format!("{id:<400}");
        log.append(464, |sequence, out| encode(sequence, &body, out)).unwrap();
        if id % 100 == 0 {
            work(&mut log, &mut store);
        }
    }
    work(&mut log, &mut store);
    assert_eq!(drain(&mut log, Some(&mut store)).len() as u64, MESSAGES);
    assert!(log.segments.len() > 5, "{} values", log.segments.len());
    assert!(log.segments.iter().take(5).all(|segment| segment.resident() == 0));
    (store, log)
}

fn refuse(log: &mut PublishLog, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        assert!(log.refused(CLOCK + id, Reason::NotEntitled), "{id}");
    }
}

/// Id as of the sequence, and as the message says.
fn told(log: &mut PublishLog) -> Vec<(u64, Option<u64>)> {
    std::iter::from_fn(|| log.next_failed_write())
        .map(|failed| {
            let body = failed.message.map(|message| String::from_utf8(message.data().to_vec()).unwrap());
            (failed.sequence - CLOCK, body.map(|body| body.trim_end().parse().unwrap()))
        })
        .collect()
}

fn with_messages(ids: impl IntoIterator<Item = u64>) -> Vec<(u64, Option<u64>)> {
    ids.into_iter().map(|id| (id, Some(id))).collect()
}

/// Works as the store's thread does, and tells as the connection's task does.
fn work_and_tell(log: &mut PublishLog, store: &mut SegmentStore) -> Vec<(u64, Option<u64>)> {
    let mut all = told(log);
    loop {
        work(log, store);
        let more = told(log);
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

#[test]
fn what_only_the_disk_has_is_read_back_and_told_in_order() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = evicted(&kv);
    append_all(&mut log, MESSAGES..MESSAGES + 1);
    work(&mut log, &mut store);
    drain(&mut log, None);
    // The last is still in memory and waits behind the others all the same.
    let ids = [0, 7, 3, 500, 501, 1_999, 20, MESSAGES];
    refuse(&mut log, ids);
    assert!(!log.has_failed_write() && told(&mut log).is_empty());
    assert_eq!(log.untold_failed_writes(), ids.len());
    assert_eq!(work_and_tell(&mut log, &mut store), with_messages(ids));
    assert_eq!(log.untold_failed_writes(), 0);
}

/// One value at a time: what is read waits in memory to be told.
#[test]
fn little_is_read_before_it_is_told() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = evicted(&kv);
    refuse(&mut log, 0..MESSAGES - 1);
    let mut seen = 0;
    while log.untold_failed_writes() > 0 {
        work(&mut log, &mut store);
        let value = told(&mut log);
        assert!(!value.is_empty() && value.len() < 400, "{}", value.len());
        assert_eq!(value, with_messages(seen..seen + value.len() as u64));
        seen += value.len() as u64;
    }
    assert_eq!(seen, MESSAGES - 1);
}

/// Everything around it is acknowledged, and enough for values to be removed:
/// those to be read stay, and go afterwards.
#[test]
fn a_value_is_not_removed_before_the_refused_message_was_read() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = evicted(&kv);
    refuse(&mut log, [5, 1_000]);
    log.acknowledged(CLOCK + MESSAGES);
    assert_eq!(log.cursors().settled, MESSAGES);
    let before = kv.len();
    // What comes meanwhile is stored.
    append_all(&mut log, MESSAGES..MESSAGES + 10);
    while let Some(job) = log.next_job() {
        if matches!(job.0, work::Work::ReadRefused { .. }) {
            assert!(kv.len() >= before, "nothing was removed before the read");
        }
        log.job_done(store.run(&job));
    }
    assert!(log.next_job().is_none(), "nothing to do until the first is told");
    assert!(kv.len() >= before, "the second is still to be read");
    assert_eq!(told(&mut log), [(5, Some(5))]);
    assert_eq!(work_and_tell(&mut log, &mut store), with_messages([1_000]));
    append_all(&mut log, MESSAGES + 10..MESSAGES + 11);
    work(&mut log, &mut store);
    assert!(kv.len() < before, "now they went");
}

/// A server that is ahead makes everything unsent be copied to new numbers,
/// and the old values go: not before the refused messages in them were read.
#[test]
fn new_numbers_wait_for_what_is_to_be_read() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = evicted(&kv);
    log.disconnected(0);
    append_all(&mut log, MESSAGES..MESSAGES + 5);
    work(&mut log, &mut store);
    refuse(&mut log, [3, 1_000]);
    assert_eq!(log.logged_on(CLOCK + 10_000, OnPublishGap::Refuse).unwrap().renumbered, 5);
    assert_eq!(work_and_tell(&mut log, &mut store), with_messages([3, 1_000]));
    let sent = drain(&mut log, Some(&mut store));
    assert_eq!(sent, (0..5).map(|at| (CLOCK + 10_000 + LEAP + at, MESSAGES + at)).collect::<Vec<_>>());
}

#[test]
fn a_message_that_is_damaged_on_the_disk_is_told_without_itself() {
    let mut kv = MemoryKv::new();
    let (mut store, mut log) = evicted(&kv);
    let mut damaged = Vec::new();
    kv.scan(LOG_FROM, LOG_TO, &mut |key, value| {
        damaged = vec![(key.to_vec(), value.to_vec())];
        std::ops::ControlFlow::Break(())
    })
    .unwrap();
    let (key, mut value) = damaged.remove(0);
    let middle = value.len() / 2;
    value[middle] ^= 1;
    kv.insert(&key, &value).unwrap();
    refuse(&mut log, [0, 1_500]);
    assert_eq!(work_and_tell(&mut log, &mut store), [(0, None), (1_500, Some(1_500))]);
    append(&mut log, MESSAGES).unwrap();
    work(&mut log, &mut store);
    assert!(log.cursors().failed.is_none(), "the store goes on");
}

#[test]
fn after_the_store_failed_they_are_told_without_their_messages() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = evicted(&kv);
    refuse(&mut log, [1]);
    assert!(matches!(log.next_job(), Some(Job(work::Work::ReadRefused { .. }))));
    let failed = StoreError::Damaged { dir: "dir".into(), what: "a test".into() };
    log.job_done(Err(failed));
    refuse(&mut log, [2]);
    assert_eq!(told(&mut log), [(1, None), (2, None)]);
    work(&mut log, &mut store);
}

#[test]
fn how_many_wait_is_bounded_and_the_oldest_go_without_their_messages() {
    let kv = MemoryKv::new();
    let limits = Limits { resident_bytes: 2_000, ..limits() };
    let (mut store, mut log) = open(kv.clone(), Durability::ProcessCrash, limits, CLOCK);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    const MANY: u64 = 16_450;
    append_all(&mut log, 0..MANY);
    work(&mut log, &mut store);
    drain(&mut log, Some(&mut store));
    let mut without = Vec::new();
    for id in 0..MANY - 20 {
        refuse(&mut log, [id]);
        without.extend(told(&mut log));
        assert!(log.untold_failed_writes() <= 16_384);
    }
    assert_eq!(without, (0..MANY - 20 - 16_384).map(|id| (id, None)).collect::<Vec<_>>());
    let rest = MANY - 20 - 16_384..MANY - 20;
    assert_eq!(work_and_tell(&mut log, &mut store), with_messages(rest));
}
