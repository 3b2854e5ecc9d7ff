//! A journal as the first version of the server wrote it, byte by byte: later
//! ones read it, and go on in it.

mod common;

use std::fs;

use amps_testserver::journal::{self, JournalMessage, Record};
use amps_testserver::{Config, FileJournal, Journal, QueueConfig, publisher_id};
use common::*;

/// A record: the length of what follows and its CRC-32, then that.
fn framed(payload: &[u8]) -> Vec<u8> {
    let mut record = (payload.len() as u32).to_le_bytes().to_vec();
    record.extend(crc32fast::hash(payload).to_le_bytes());
    record.extend(payload);
    record
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// A message: which of the parts are there, and the parts; numbers are
/// little-endian, texts behind their lengths, the body to the end.
fn message(flags: u8, sequence: u64, parts: &[u8], body: &str) -> Vec<u8> {
    let numbers = [publisher_id("p").to_le_bytes(), sequence.to_le_bytes()].concat();
    framed(&[&[1, flags][..], &numbers, &text("p"), &text("work"), parts, body.as_bytes()].concat())
}

/// Bits of the flags.
const DIRECT: u8 = 1;
const CORRELATED: u8 = 2;
const DELETES: u8 = 4;

fn first_version() -> Vec<u8> {
    let keys = [&2u32.to_le_bytes()[..], &7u64.to_le_bytes(), &u64::MAX.to_le_bytes()].concat();
    let dequeued = [&[3][..], &publisher_id("p").to_le_bytes(), &1u64.to_le_bytes(), &text("work")].concat();
    [
        b"ampsjnl1".to_vec(),
        message(DIRECT | CORRELATED, 1, &text("abc"), r#"{"n":1}"#),
        message(0, 2, &[], r#"{"n":2}"#),
        message(DIRECT | DELETES, 3, &keys, ""),
        message(DIRECT, 4, &[], r#"{"n":4}"#),
        framed(&[&[2][..], &2u64.to_le_bytes()].concat()),
        framed(&dequeued),
    ]
    .concat()
}

fn expected() -> Vec<Record> {
    let message = |sequence, direct, body: &'static str| JournalMessage {
        publisher: publisher_id("p"),
        sequence,
        client_name: "p".to_owned(),
        topic: "work".to_owned(),
        correlation_id: (sequence == 1).then(|| "abc".to_owned()),
        direct,
        origin: None,
        processed: None,
        sow_key: None,
        expiration: None,
        deletes: (sequence == 3).then(|| vec![7, u64::MAX]),
        body: body.into(),
    };
    vec![
        Record::Message(message(1, true, r#"{"n":1}"#)),
        Record::Message(message(2, false, r#"{"n":2}"#)),
        Record::Message(message(3, true, "")),
        Record::Message(message(4, true, r#"{"n":4}"#)),
        Record::Promised(2),
        Record::Dequeued { queue: "work".to_owned(), publisher: publisher_id("p"), sequence: 1 },
    ]
}

fn records(journal: &mut FileJournal) -> Vec<Record> {
    let mut found = Vec::new();
    journal.load(&mut |record| found.push(record)).unwrap();
    found
}

#[test]
fn the_first_layout_is_read_and_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("journal"), first_version()).unwrap();
    let mut journal = FileJournal::open(dir.path(), false).unwrap();
    assert_eq!(records(&mut journal), expected());
    journal.append(&Record::Promised(4));
    journal.commit().unwrap();
    drop(journal);
    assert!(fs::read(dir.path().join("journal")).unwrap().starts_with(&first_version()), "nothing is written anew");
    let mut after = expected();
    after.push(Record::Promised(4));
    assert_eq!(records(&mut FileJournal::open(dir.path(), false).unwrap()), after);
    assert_eq!(journal::read(dir.path()).unwrap().len(), 4);
}

#[test]
fn a_server_goes_on_from_the_first_layout() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("journal"), first_version()).unwrap();
    let config = Config::new("A").queue(QueueConfig::new("work"));
    let mut bench = bench_on(config, FileJournal::open(dir.path(), false).unwrap());
    assert_eq!(bench.logon_sequence("p"), 4);
    let depth = bench.engine.queue("work").unwrap();
    assert_eq!((depth.available, depth.elsewhere), (1, 1), "1 had left it, and whose 2 is nobody wrote down");
    let wire = bench.logon("p");
    bench.send(&wire, publish("work", 5));
    assert_eq!(bench.sequences("p"), [1, 2, 3, 4, 5]);
}
