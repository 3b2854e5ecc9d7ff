use amps_core::Reason;

use super::*;

fn memory() -> PublishLog {
    let mut log = PublishLog::in_memory(limits(), CLOCK);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    log
}

/// The server has some of it, and the rest is sent.
///
/// Covers 11.7.6#6.
#[test]
fn frames_leave_in_order_and_are_freed_by_acknowledgements() {
    let mut log = memory();
    for id in 0..3 {
        append(&mut log, id).unwrap();
    }
    assert_eq!(drain(&mut log, None), [(CLOCK, 0), (CLOCK + 1, 1), (CLOCK + 2, 2)]);
    log.acknowledged(CLOCK + 1);
    assert_eq!(log.cursors().settled, 2);
    log.disconnected(0);
    assert_eq!(log.logged_on(CLOCK + 1, OnPublishGap::Refuse).unwrap().to_replay, 1);
    assert_eq!(drain(&mut log, None), [(CLOCK + 2, 2)], "only what is not settled goes again");
}

/// What a logon's sequence S means for a log that was acknowledged up to P and
/// holds L to H: every case there is, by name.
///
/// Covers 11.7.6#6.
#[test]
fn every_case_of_a_logon_sequence() {
    // Ids 0 to 9 sent, 0 to 3 acknowledged: P is 3, L 4, H 9.
    let (p, h) = (CLOCK + 3, CLOCK + 9);
    let gap = |server| Err(LogonRefused::PublishGap { server, acknowledged: p });
    type Replayed = Result<std::ops::Range<u64>, LogonRefused>;
    let cases: [(&str, u64, Replayed, Option<u64>); 7] = [
        ("the server has all of it", h, Ok(10..10), None),
        ("the server has some of it", CLOCK + 6, Ok(7..10), None),
        ("the server has what was acknowledged and no more", p, Ok(4..10), None),
        ("the server lacks the last that was acknowledged", p - 1, gap(p - 1), None),
        ("the server is far behind", CLOCK - 500, gap(CLOCK - 500), None),
        ("the server does not know the name, others acknowledged", 0, gap(0), None),
        ("the server is ahead of all numbers", h + 50, Ok(10..10), Some(h + 50)),
    ];
    for (name, server, expected, ahead) in cases {
        let mut log = memory();
        append_all(&mut log, 0..10);
        drain(&mut log, None);
        log.acknowledged(p);
        log.disconnected(0);
        let answer = log.logged_on(server, OnPublishGap::Refuse);
        let replayed = match expected {
            Ok(replayed) => {
                assert_eq!(answer.expect(name).sequence_ahead, ahead, "{name}");
                replayed
            }
            Err(refused) => {
                assert_eq!(answer, Err(refused), "{name}");
                // The choice to go on replays what is not acknowledged.
                assert!(log.logged_on(server, OnPublishGap::Continue).is_ok(), "{name}");
                4..10
            }
        };
        let sent = drain(&mut log, None);
        assert_eq!(sent, replayed.map(|id| (CLOCK + id, id)).collect::<Vec<_>>(), "{name}");
        append(&mut log, 10).unwrap();
        let next = ahead.map_or(CLOCK + 10, |server| server + LEAP);
        assert_eq!(drain(&mut log, None), [(next, 10)], "{name}: numbers go on");
    }
}

/// Whatever carries a sequence is kept and sent again as it was, in its order:
/// publish, delta_publish, sow_delete.
#[test]
fn every_kind_of_write_is_kept_and_replayed_as_it_was() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open(kv.clone(), Durability::PowerLoss, limits(), CLOCK);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    let kinds = ["p", "sow_delete", "delta_publish", "p", "sow_delete", "delta_publish"];
    for (id, kind) in kinds.into_iter().enumerate() {
        let write = |sequence: Option<u64>, out: &mut BytesMut| {
            let mut frame = FrameWriter::new(out, kind).number(Field::Sequence, sequence.unwrap());
            frame = frame.text(Field::Topic, "t").text(Field::Filter, &format!("/id = {id}"));
            frame.finish(id.to_string().as_bytes());
        };
        log.append(200, write).unwrap();
    }
    work(&mut log, &mut store);
    let frames = |log: &mut PublishLog| {
        let mut wire = BytesMut::new();
        log.fill(&mut wire, usize::MAX, u64::MAX);
        wire.freeze()
    };
    let first = frames(&mut log);
    let commands: Vec<_> = segment::frames(&first)
        .map(|frame| Message::decode(Bytes::copy_from_slice(&frame[PREFIX_LEN..])).unwrap())
        .map(|message| message.raw(Field::Command).unwrap().to_owned())
        .collect();
    assert_eq!(commands, kinds);
    log.disconnected(0);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    assert_eq!(frames(&mut log), first, "after a reconnect");
    let (mut store, mut log) = open(kv.crash(SyncLevel::Power), Durability::PowerLoss, limits(), CLOCK);
    log.logged_on(CLOCK + 1, OnPublishGap::Refuse).unwrap();
    work(&mut log, &mut store);
    let rest = frames(&mut log);
    assert!(first.ends_with(&rest) && bodies(&rest) == ["2", "3", "4", "5"], "after a crash");
}

/// Covers 20#21.
#[test]
fn a_refused_message_is_settled_reported_and_not_replayed() {
    let mut log = memory();
    for id in 0..5 {
        append(&mut log, id).unwrap();
    }
    drain(&mut log, None);
    assert!(log.refused(CLOCK + 2, Reason::NotEntitled));
    let failed = log.next_failed_write().unwrap();
    assert_eq!((failed.sequence, &failed.reason), (CLOCK + 2, &Reason::NotEntitled));
    let message = failed.message.unwrap();
    assert_eq!((message.topic().as_deref(), message.data()), (Some("t"), b"2".as_slice()));
    assert!(!log.refused(CLOCK + 2, Reason::NotEntitled), "reported once");
    assert!(log.next_failed_write().is_none());
    assert_eq!(log.refusal(2), Some(&Reason::NotEntitled));
    log.disconnected(0);
    log.logged_on(CLOCK + 1, OnPublishGap::Refuse).unwrap();
    assert_eq!(log.cursors().settled, 3, "absorbed once everything before it is settled");
    assert_eq!(drain(&mut log, None), [(CLOCK + 3, 3), (CLOCK + 4, 4)]);
}

#[test]
fn a_message_settled_out_of_order_is_skipped_on_replay_even_after_a_crash() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open(kv.clone(), Durability::PowerLoss, limits(), CLOCK);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    append_all(&mut log, 0..5);
    work(&mut log, &mut store);
    assert_eq!(drain(&mut log, Some(&mut store)).len(), 5);
    assert!(log.refused(CLOCK + 2, Reason::NotEntitled));
    append(&mut log, 5).unwrap();
    work(&mut log, &mut store);
    let (mut store, mut log) = open(kv.crash(SyncLevel::Process), Durability::PowerLoss, limits(), CLOCK);
    log.logged_on(CLOCK, OnPublishGap::Refuse).unwrap();
    let ids: Vec<_> = drain(&mut log, Some(&mut store)).into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, [1, 3, 4, 5]);
}

/// Covers 5.8#3.
#[test]
fn a_duplicate_is_a_success_and_says_so() {
    let mut log = memory();
    append(&mut log, 0).unwrap();
    drain(&mut log, None);
    assert!(log.refused(CLOCK, Reason::Duplicate));
    assert_eq!(log.next_failed_write().unwrap().reason, Reason::Duplicate);
    assert_eq!(log.cursors().settled, 1);
    assert_eq!(log.refusal(0), None);
}

/// Covers 11.7.6#10.
#[test]
fn a_late_or_wild_acknowledgement_settles_nothing_unsent() {
    let mut log = memory();
    append(&mut log, 0).unwrap();
    drain(&mut log, None);
    append(&mut log, 1).unwrap();
    log.acknowledged(u64::MAX);
    assert_eq!(log.cursors().settled, 1);
    log.acknowledged(1);
    assert_eq!(log.cursors().settled, 1);
}

/// A gap is refused, and nothing is sent.
///
/// Covers 11.7.6#6.
#[test]
fn a_server_behind_what_was_acknowledged_is_a_publish_gap() {
    let mut log = memory();
    append_all(&mut log, 0..4);
    drain(&mut log, None);
    log.acknowledged(CLOCK + 2);
    log.disconnected(0);
    for server in [0, CLOCK + 1] {
        assert_eq!(
            log.logged_on(server, OnPublishGap::Refuse),
            Err(LogonRefused::PublishGap { server, acknowledged: CLOCK + 2 })
        );
        assert_eq!(log.cursors().settled, 3, "nothing changed");
    }
    assert_eq!(log.logged_on(CLOCK + 1, OnPublishGap::Continue).unwrap().to_replay, 1);
}

#[test]
fn a_refusal_at_the_end_makes_no_publish_gap() {
    let mut log = memory();
    append_all(&mut log, 0..2);
    drain(&mut log, None);
    log.acknowledged(CLOCK);
    assert!(log.refused(CLOCK + 1, Reason::NotEntitled));
    log.disconnected(0);
    assert!(log.logged_on(CLOCK, OnPublishGap::Refuse).is_ok(), "no server ever had the refused one");
}

/// S = 0 and nothing acknowledged.
///
/// Covers 11.7.6#6.
#[test]
fn an_unknown_name_is_no_gap() {
    let mut log = PublishLog::in_memory(limits(), CLOCK);
    append(&mut log, 0).unwrap();
    assert_eq!(log.logged_on(0, OnPublishGap::Refuse).unwrap().to_replay, 1);
}

#[test]
fn a_log_that_never_logged_on_is_renumbered_above_the_server_and_loses_nothing() {
    for on_disk in [false, true] {
        let kv = MemoryKv::new();
        let (mut store, disk) = open(kv.clone(), Durability::PowerLoss, limits(), CLOCK);
        let mut log = if on_disk { disk } else { PublishLog::in_memory(limits(), CLOCK) };
        append_all(&mut log, 0..3);
        work(&mut log, &mut store);
        append(&mut log, 3).unwrap();
        let report = log.logged_on(CLOCK + 5_000_000, OnPublishGap::Refuse).unwrap();
        assert_eq!((report.renumbered, report.already_there, report.sequence_ahead), (4, 0, None));
        work(&mut log, &mut store);
        append(&mut log, 4).unwrap();
        work(&mut log, &mut store);
        let sent = drain(&mut log, Some(&mut store));
        let base = CLOCK + 5_000_000 + LEAP;
        assert_eq!(sent, [(base, 0), (base + 1, 1), (base + 2, 2), (base + 3, 3), (base + 4, 4)], "disk {on_disk}");
    }
}

#[test]
fn a_crash_at_any_write_of_a_renumbering_leaves_one_whole_set() {
    for write in 0.. {
        let kv = MemoryKv::new();
        let (mut store, mut log) = open(kv.clone(), Durability::PowerLoss, limits(), CLOCK);
        for id in 0..6 {
            append(&mut log, id).unwrap();
            work(&mut log, &mut store);
        }
        log.logged_on(CLOCK + 5_000_000, OnPublishGap::Refuse).unwrap();
        let before = kv.writes();
        kv.fail_write(write);
        work(&mut log, &mut store);
        let failed = log.cursors().failed.is_some();
        let (mut store, mut log) = open(kv.crash_keeping(SyncLevel::Power, 3), Durability::PowerLoss, limits(), CLOCK);
        log.logged_on(CLOCK + 5_000_000, OnPublishGap::Refuse).unwrap();
        work(&mut log, &mut store);
        let ids: Vec<_> = drain(&mut log, Some(&mut store)).into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids, [0, 1, 2, 3, 4, 5], "after failing write {write}");
        if !failed {
            assert!(kv.writes() > before);
            return;
        }
    }
}

#[test]
fn a_sequence_ahead_is_reported_and_unsent_messages_are_renumbered() {
    let mut log = memory();
    append(&mut log, 0).unwrap();
    drain(&mut log, None);
    log.disconnected(0);
    append(&mut log, 1).unwrap();
    let report = log.logged_on(CLOCK + 100, OnPublishGap::Refuse).unwrap();
    assert_eq!(report.sequence_ahead, Some(CLOCK + 100));
    assert_eq!((report.already_there, report.renumbered), (1, 1));
    assert_eq!(drain(&mut log, None), [(CLOCK + 100 + LEAP, 1)]);
}

#[test]
fn nothing_is_sent_past_what_is_durable() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open(kv.clone(), Durability::PowerLoss, limits(), CLOCK);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    work(&mut log, &mut store);
    append(&mut log, 0).unwrap();
    assert_eq!(drain(&mut log, None), []);
    work(&mut log, &mut store);
    assert_eq!(drain(&mut log, None).len(), 1);
    kv.fail_sync(0);
    append(&mut log, 1).unwrap();
    work(&mut log, &mut store);
    assert_eq!(drain(&mut log, Some(&mut store)), [], "after a failed sync nothing more is sent");
    assert_eq!(log.cursors().durable, 1);
    assert!(matches!(append(&mut log, 2), Err(AppendError::StoreFailed(_))));
}

/// No timer, no linger: a group is what gathered while it was written, and what
/// comes during its sync is the next.
#[test]
fn what_comes_while_a_group_is_written_joins_it() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open(kv.clone(), Durability::PowerLoss, limits(), CLOCK);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    work(&mut log, &mut store);
    let syncs = || kv.sync_count().get(SyncLevel::Power);
    let before = syncs();
    append(&mut log, 0).unwrap();
    let write = log.next_job().unwrap();
    append_all(&mut log, 1..50);
    assert!(log.next_job().is_none(), "one job at a time");
    log.job_done(store.run(&write));
    let write = log.next_job().unwrap();
    log.job_done(store.run(&write));
    assert_eq!((log.cursors().durable, syncs() - before), (0, 0));
    let sync = log.next_job().unwrap();
    append_all(&mut log, 50..60);
    log.job_done(store.run(&sync));
    assert_eq!((log.cursors().durable, syncs() - before), (50, 1));
    work(&mut log, &mut store);
    assert_eq!((log.cursors().durable, syncs() - before), (60, 2));
}

#[test]
fn messages_that_never_end_hold_up_no_sync() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open(kv.clone(), Durability::PowerLoss, limits(), CLOCK);
    append(&mut log, 0).unwrap();
    for id in 1..100 {
        let job = log.next_job().unwrap();
        append(&mut log, id).unwrap();
        log.job_done(store.run(&job));
    }
    let durable = log.cursors().durable;
    assert!(durable > 80, "{durable} of 100 while there was always one more");
}

#[test]
fn a_backlog_larger_than_memory_is_read_back_in_order() {
    let limits = Limits { resident_bytes: 300_000, ..limits() };
    let kv = MemoryKv::new();
    let (mut store, mut log) = open(kv, Durability::ProcessCrash, limits, CLOCK);
    let body = "x".repeat(1000);
    for id in 0..3000 {
        log.append(1100, |sequence, out| encode(sequence, &format!("{id} {body}"), out)).unwrap();
        if id % 50 == 0 {
            work(&mut log, &mut store);
        }
    }
    work(&mut log, &mut store);
    assert!(log.resident_bytes() <= 300_000, "{}", log.resident_bytes());
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    let mut sent = Vec::new();
    while sent.len() < 3000 {
        let mut wire = BytesMut::new();
        log.fill(&mut wire, 64 * 1024, u64::MAX);
        sent.extend(bodies(&wire));
        work(&mut log, &mut store);
        assert!(log.resident_bytes() <= 450_000, "{}", log.resident_bytes());
    }
    for (id, body) in sent.iter().enumerate() {
        assert!(body.starts_with(format!("{id} ").as_bytes()));
    }
}

/// A replay from the disk and new messages share it: neither waits for the end
/// of the other, and the replay gets ahead.
#[test]
fn what_is_read_back_and_what_is_stored_take_turns() {
    let limits = Limits { resident_bytes: 200_000, ..limits() };
    let (mut store, mut log) = open(MemoryKv::new(), Durability::PowerLoss, limits, CLOCK);
    let body = "7".repeat(1000);
    let publish = |log: &mut PublishLog, count| {
        for _ in 0..count {
            log.append(1100, |sequence, out| encode(sequence, &body, out)).unwrap();
        }
    };
    publish(&mut log, 5_000);
    work(&mut log, &mut store);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    let mut behind = vec![];
    while log.sent() < 5_000 {
        publish(&mut log, 50);
        // As many jobs as it takes to store that, and what is read between.
        let mut jobs = 0;
        while log.cursors().durable < log.end() {
            let job = log.next_job().expect("something is to be stored");
            log.job_done(store.run(&job));
            jobs += 1;
            log.fill(&mut BytesMut::new(), 60_000, u64::MAX);
        }
        assert!(jobs < 10, "new messages wait for the replay");
        behind.push(log.end() - log.sent());
        assert!(behind.len() < 100, "the replay does not get on: {behind:?}");
    }
    assert!(behind.last() < behind.first(), "{behind:?}");
}

#[test]
fn a_message_larger_than_a_value_survives_in_pieces() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open(kv.clone(), Durability::PowerLoss, limits(), CLOCK);
    let body = format!("7{}", " ".repeat(300_000));
    log.append(300_100, |sequence, out| encode(sequence, &body, out)).unwrap();
    append(&mut log, 8).unwrap();
    work(&mut log, &mut store);
    let (mut store, mut log) = open(kv.crash(SyncLevel::Power), Durability::PowerLoss, limits(), CLOCK);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    work(&mut log, &mut store);
    assert_eq!(drain(&mut log, Some(&mut store)), [(CLOCK, 7), (CLOCK + 1, 8)]);
}

#[test]
fn the_bound_refuses_and_room_comes_back() {
    let mut log = PublishLog::in_memory(Limits { bytes: 200, ..limits() }, CLOCK);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    assert!(matches!(log.append(201, |_, _| unreachable!()), Err(AppendError::TooLarge { len: 201, bound: 200 })));
    while append(&mut log, 0).is_ok() {}
    assert!(matches!(append(&mut log, 0), Err(AppendError::StoreFull(Full { bytes_bound: 200, .. }))));
    drain(&mut log, None);
    log.acknowledged(CLOCK + 100);
    append(&mut log, 1).unwrap();
}

#[test]
fn without_a_store_messages_need_a_connection_and_the_dropped_are_counted() {
    let mut log = PublishLog::without_store(limits());
    assert!(matches!(append(&mut log, 0), Err(AppendError::Disconnected)));
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    append(&mut log, 0).unwrap();
    append(&mut log, 1).unwrap();
    let mut wire = BytesMut::new();
    assert_eq!(log.fill(&mut wire, 1, 1), 1, "not past the entry asked for");
    assert!(!String::from_utf8_lossy(&wire).contains("\"s\":"), "no sequence");
    assert_eq!(log.disconnected(1), 2, "one half written, one never");
    assert_eq!(log.cursors().settled, 2);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    append(&mut log, 2).unwrap();
    wire.clear();
    log.fill(&mut wire, 1, u64::MAX);
    assert_eq!(bodies(&wire), [&b"2"[..]]);
    log.written();
    assert_eq!((log.cursors().settled, log.cursors().bytes), (3, 0));
}

#[test]
fn a_store_made_for_something_else_is_refused_with_both_values() {
    let kv = MemoryKv::new();
    drop(open(kv.clone(), Durability::PowerLoss, limits(), CLOCK));
    for (identity, field) in [
        (Identity { client_name: "you".into(), ..identity() }, "client name 'me' and is opened for 'you'"),
        (Identity { message_type: "fix".into(), ..identity() }, "message type 'json' and is opened for 'fix'"),
    ] {
        let kv = copy(&kv);
        let error = SegmentStore::open(Box::new(kv), Path::new("some/dir"), &identity, CLOCK).unwrap_err().to_string();
        assert!(error.contains(field) && error.contains("some/dir"), "{error}");
    }
}

/// A client with a server chooser does not know the message type when it opens
/// its store, the same client with a list of servers does.
#[test]
fn a_store_of_an_unknown_message_type_belongs_to_the_first_that_is_known() {
    let kv = MemoryKv::new();
    let open = |message_type: &str| {
        let identity = Identity { message_type: message_type.into(), ..identity() };
        SegmentStore::open(Box::new(kv.clone()), Path::new("dir"), &identity, CLOCK).map(drop)
    };
    for message_type in ["", "json", "", "json"] {
        open(message_type).unwrap();
    }
    assert!(matches!(open("fix"), Err(StoreError::WrongIdentity { field: "message type", .. })));
}

/// Never a corrupt message.
///
/// Covers 11.7.6#2.
#[test]
fn any_changed_byte_is_an_error_or_changes_nothing() {
    use std::ops::ControlFlow;
    let kv = MemoryKv::new();
    let (mut store, mut log) = open(kv.clone(), Durability::PowerLoss, limits(), CLOCK);
    for id in 0..4 {
        append(&mut log, id).unwrap();
        work(&mut log, &mut store);
    }
    let mut entries = Vec::new();
    kv.scan(b"p", b"q", &mut |key, value| {
        entries.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(entries.len(), 4);
    for (key, value) in entries {
        for at in 0..value.len() {
            let mut kv = copy(&kv);
            let mut value = value.clone();
            value[at] ^= 0x10;
            kv.insert(&key, &value).unwrap();
            match SegmentStore::open(Box::new(kv), Path::new("dir"), &identity(), CLOCK) {
                Err(StoreError::Damaged { .. }) => {}
                other => panic!("byte {at} of {key:?}: {other:?}"),
            }
        }
        let mut without = copy(&kv);
        without.remove(&key).unwrap();
        let opened = SegmentStore::open(Box::new(without), Path::new("dir"), &identity(), CLOCK);
        let last = key[8] as u64 == (CLOCK + 3) & 0xff;
        assert_eq!(opened.is_err(), !last, "a missing value in the middle is noticed");
    }
}

/// Numbers would run out above it.
#[test]
fn a_server_that_names_an_impossible_sequence_is_refused() {
    let mut log = PublishLog::in_memory(limits(), CLOCK);
    append(&mut log, 1).unwrap();
    let most = meta::SEQUENCE_MAX / 2;
    for server in [most + 1, u64::MAX] {
        let refused = log.logged_on(server, OnPublishGap::Continue).unwrap_err();
        assert!(matches!(refused, LogonRefused::ImpossibleSequence { .. }), "{refused}");
    }
    log.logged_on(most, OnPublishGap::Refuse).unwrap();
    append(&mut log, 2).unwrap();
    assert_eq!(drain(&mut log, None), [(most + LEAP, 1), (most + LEAP + 1, 2)]);
}

/// Numbers with right checksums that no log writes, as a fuzzer made them up:
/// they are damage, and nothing is counted from them.
#[test]
fn made_up_numbers_are_damage() {
    let kv = MemoryKv::new();
    let (mut store, mut log) = open(kv.clone(), Durability::PowerLoss, limits(), CLOCK);
    append(&mut log, 0).unwrap();
    work(&mut log, &mut store);
    let opened = |kv: MemoryKv| SegmentStore::open(Box::new(kv), Path::new("dir"), &identity(), CLOCK);
    assert!(opened(copy(&kv)).is_ok());
    for last in [CLOCK + 1_000_000, u64::MAX] {
        let kv = copy(&kv);
        let bytes = Bytes::from_static(b"\0\0\0\x01x");
        let made_up = work::StoredSegment { first: CLOCK, last, previous_last: 0, bytes };
        SegmentStore::new(Path::new("dir"), Box::new(kv.clone())).put(&made_up).unwrap();
        assert!(matches!(opened(kv), Err(StoreError::Damaged { .. })), "{last}");
    }
    let text = String::from_utf8(kv.get(store::META_KEY).unwrap().unwrap()).unwrap();
    let field = r#""reserved_through":"#;
    let (before, behind) = text.split_once(field).unwrap();
    let rest = behind.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let mut kv = copy(&kv);
    kv.insert(store::META_KEY, format!("{before}{field}{}{rest}", u64::MAX).as_bytes()).unwrap();
    assert!(opened(kv).unwrap_err().to_string().contains("no message has"));
}
