//! The hybrid log's rules, by name (acceptance ids 11.7.6).

use super::*;

fn part() -> MemoryPart {
    MemoryPart::default()
}

/// Sequence and id of every message the store has, in order.
fn on_disk(kv: &MemoryKv) -> Vec<u64> {
    let (mut store, mut log) = open(copy(kv), Durability::Memory, limits(), CLOCK);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    work(&mut log, &mut store);
    drain(&mut log, Some(&mut store)).into_iter().map(|(_, id)| id).collect()
}

/// Cap 1000, low watermark half: at 1001 messages the oldest 501
/// move to the disk; replay order over the border intact.
///
/// Covers 11.7.6#4.
#[test]
fn the_oldest_move_to_the_disk_at_the_cap_down_to_the_low_watermark() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open_hybrid(kv.clone(), part().messages(1000), limits(), CLOCK);
    append_all(&mut log, 0..1000);
    work(&mut log, &mut store);
    assert!(on_disk(&kv).is_empty(), "at the cap all are in memory");
    append(&mut log, 1000).unwrap();
    assert!(log.append_concerns_store());
    work(&mut log, &mut store);
    assert!(on_disk(&kv).into_iter().eq(0..501));
    assert!(log.resident_bytes() > 0 && log.resident_bytes() < log.cursors().bytes * 6 / 10, "they left memory");

    append_all(&mut log, 1001..1501);
    work(&mut log, &mut store);
    assert!(on_disk(&kv).into_iter().eq(0..501), "at the cap again: nothing moves");
    append(&mut log, 1501).unwrap();
    work(&mut log, &mut store);
    assert!(on_disk(&kv).into_iter().eq(0..1002));

    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    work(&mut log, &mut store);
    let sent = drain(&mut log, Some(&mut store));
    assert!(sent.into_iter().eq((0..1502).map(|id| (CLOCK + id, id))), "in order, over the border");
}

#[test]
fn bytes_count_too_and_a_low_watermark_of_nought_moves_everything() {
    for (low, left) in [(0, 0), (50, 10_000), (100, 20_000)] {
        let kv = MemoryKv::new();
        let (mut store, mut log) = open_hybrid(kv.clone(), part().bytes(20_000).low_watermark(low), limits(), CLOCK);
        let mut id = 0;
        while !log.append_concerns_store() {
            append(&mut log, id).unwrap();
            id += 1;
        }
        work(&mut log, &mut store);
        let resident = log.resident_bytes();
        assert!(resident <= left && resident + 60 > left, "{resident} of {left}");
        assert!(!on_disk(&kv).is_empty());
    }
}

/// What is acknowledged in time never touches the disk.
#[test]
fn a_log_that_is_acknowledged_in_time_writes_nothing() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open_hybrid(kv.clone(), part().messages(100), limits(), CLOCK);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    work(&mut log, &mut store);
    let writes = kv.writes();
    for id in 0..10_000 {
        append(&mut log, id).unwrap();
        assert!(!log.append_concerns_store());
        log.fill(&mut BytesMut::new(), usize::MAX, u64::MAX);
        log.acknowledged(CLOCK + id.saturating_sub(50));
        work(&mut log, &mut store);
    }
    assert_eq!(kv.writes(), writes);
}

/// No number that could have been sent is ever used again, though the newest
/// messages were only in memory.
#[test]
fn after_a_kill_numbers_go_on_above_what_memory_held() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open_hybrid(kv.clone(), part().messages(10), limits(), CLOCK);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    work(&mut log, &mut store);
    let mut server = Server::default();
    append_all(&mut log, 0..25);
    work(&mut log, &mut store);
    append_all(&mut log, 25..27);
    let mut wire = BytesMut::new();
    while log.fill(&mut wire, usize::MAX, u64::MAX) > 0 || log.has_more(u64::MAX) {
        work(&mut log, &mut store);
    }
    // All 27 were sent, and the first five got there.
    let arrived: usize = segment::frames(&wire).take(5).map(<[u8]>::len).sum();
    server.receive(&wire[..arrived]);
    server.disconnect();

    let (mut store, mut log) = open_hybrid(kv.crash(SyncLevel::Process), part().messages(10), limits(), CLOCK);
    append(&mut log, 100).unwrap();
    log.logged_on(server.highest, OnPublishGap::Refuse).unwrap();
    work(&mut log, &mut store);
    let sent = drain(&mut log, Some(&mut store));
    let (last, stored) = sent.split_last().unwrap();
    assert!(stored.iter().copied().eq((5..20).map(|id| (CLOCK + id, id))), "what the disk had, once: {stored:?}");
    assert_eq!(last.1, 100);
    assert!(last.0 > CLOCK + 27, "{last:?}");
}

#[test]
fn a_clean_close_stores_what_is_left() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open_hybrid(kv.clone(), part().messages(100), limits(), CLOCK);
    append_all(&mut log, 0..150);
    work(&mut log, &mut store);
    assert_eq!(on_disk(&kv).len(), 100, "from 150 down to the low watermark");
    let job = log.closing_job().unwrap();
    log.job_done(store.run(&job));
    let (mut store, mut log) = open_hybrid(kv.crash(SyncLevel::Power), part().messages(100), limits(), CLOCK);
    append(&mut log, 150).unwrap();
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    work(&mut log, &mut store);
    let sent = drain(&mut log, Some(&mut store));
    assert!(sent.into_iter().eq((0..151).map(|id| (CLOCK + id, id))), "numbers go on without a hole");
}

#[test]
fn new_numbers_for_a_log_that_is_half_on_the_disk() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open_hybrid(kv, part().messages(10), limits(), CLOCK);
    append_all(&mut log, 0..25);
    work(&mut log, &mut store);
    let server = CLOCK + 1_000_000;
    assert_eq!(log.logged_on(server, OnPublishGap::Refuse).unwrap().renumbered, 25);
    append(&mut log, 25).unwrap();
    work(&mut log, &mut store);
    let sent = drain(&mut log, Some(&mut store));
    assert!(sent.into_iter().eq((0..26).map(|id| (server + LEAP + id, id))));
}

/// The promise of level `Memory` does not hang on the disk: what memory has is
/// sent, up to what is reserved; only new messages are refused.
#[test]
fn a_failed_disk_takes_nothing_back_that_memory_has() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open_hybrid(kv.clone(), part().messages(10), limits(), CLOCK);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    work(&mut log, &mut store);
    kv.fail_write(2);
    append_all(&mut log, 0..11);
    work(&mut log, &mut store);
    assert!(log.cursors().failed.is_some());
    assert!(matches!(append(&mut log, 11), Err(AppendError::StoreFailed(_))));
    assert_eq!(log.cursors().durable, 11);
    assert!(drain(&mut log, None).into_iter().eq((0..11).map(|id| (CLOCK + id, id))));
    log.acknowledged(CLOCK + 10);
    assert_eq!(log.cursors().settled, 11);
}

/// A disk that cannot keep up holds publishers back instead of filling memory.
#[test]
fn a_slow_disk_bounds_memory() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open_hybrid(kv, part().bytes(10_000), limits(), CLOCK);
    let mut id = 0;
    let full = loop {
        match append(&mut log, id) {
            Ok(_) => id += 1,
            Err(AppendError::StoreFull(full)) => break full,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(full.waits_for_disk() && full.bytes < full.bytes_bound, "{full}");
    assert!(full.to_string().contains("wait for the disk"), "{full}");
    assert!(log.resident_bytes() < 21_000 && !full.is_over(&log.cursors()));
    work(&mut log, &mut store);
    assert!(full.is_over(&log.cursors()));
    append(&mut log, id).unwrap();
    let ids: Vec<_> = {
        log.logged_on(0, OnPublishGap::Refuse).unwrap();
        work(&mut log, &mut store);
        drain(&mut log, Some(&mut store)).into_iter().map(|(_, id)| id).collect()
    };
    assert!(ids.into_iter().eq(0..=id));
}

#[test]
fn a_stored_backlog_larger_than_memory_is_sent_within_the_bound() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open_hybrid(kv, part().bytes(200_000), limits(), CLOCK);
    let body = "x".repeat(1000);
    for id in 0..3000 {
        log.append(1100, |sequence, out| encode(sequence, &format!("{id} {body}"), out)).unwrap();
        work(&mut log, &mut store);
        assert!(log.resident_bytes() <= 201_100, "{}", log.resident_bytes());
    }
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    let mut sent = Vec::new();
    while sent.len() < 3000 {
        let mut wire = BytesMut::new();
        log.fill(&mut wire, 64 * 1024, u64::MAX);
        sent.extend(bodies(&wire));
        work(&mut log, &mut store);
        assert!(log.resident_bytes() <= 400_000, "{}", log.resident_bytes());
    }
    for (id, body) in sent.iter().enumerate() {
        assert!(body.starts_with(format!("{id} ").as_bytes()));
    }
}
