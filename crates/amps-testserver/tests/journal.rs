//! The journal on disk: what survives, what is cut, what is refused.

mod common;

use std::fs;
use std::path::Path;

use amps_testserver::journal::{self, JournalMessage, Record};
use amps_testserver::{Config, Engine, FileJournal, Journal, LoggedMessage};
use common::*;

/// A journal with these sequences of publisher "p", each one commit.
fn write(dir: &Path, sequences: std::ops::RangeInclusive<u64>) {
    let mut bench = bench_on(Config::new("A"), FileJournal::open(dir, false).unwrap());
    let wire = bench.logon("p");
    for sequence in sequences {
        bench.send(&wire, publish("t", sequence));
    }
}

fn sequences(messages: &[LoggedMessage]) -> Vec<u64> {
    messages.iter().map(|message| message.sequence).collect()
}

#[test]
fn a_stopped_journal_is_read_in_log_order_without_being_changed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1..=3);
    let before = fs::read(dir.path().join("journal")).unwrap();
    let messages = journal::read(dir.path()).unwrap();
    assert_eq!(sequences(&messages), [1, 2, 3]);
    assert_eq!(messages[0].client_name, "p");
    assert_eq!(messages[0].publisher, amps_testserver::publisher_id("p"));
    assert_eq!(messages[0].topic, "t");
    assert_eq!(&messages[0].body[..], b"{\"n\":1}");
    assert_eq!(fs::read(dir.path().join("journal")).unwrap(), before);
}

#[test]
fn a_journal_cut_at_any_byte_opens_with_the_whole_records_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1..=4);
    let path = dir.path().join("journal");
    let whole = fs::read(&path).unwrap();
    let mut counts = Vec::new();
    for len in 0..=whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let read = sequences(&journal::read(dir.path()).unwrap());
        counts.push(read.len());
        assert_eq!(read, (1..=read.len() as u64).collect::<Vec<_>>(), "cut at {len}");
        write(dir.path(), 1..=5);
        assert_eq!(sequences(&journal::read(dir.path()).unwrap()), [1, 2, 3, 4, 5], "cut at {len}");
    }
    counts.dedup();
    assert_eq!(counts, [0, 1, 2, 3, 4]);
}

#[test]
fn nothing_of_a_long_torn_end_is_left_behind_what_is_written_next() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1..=2);
    let path = dir.path().join("journal");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(&9_000u32.to_le_bytes());
    bytes.extend_from_slice(&[0x5a; 5_000]);
    fs::write(&path, &bytes).unwrap();
    write(dir.path(), 3..=3);
    assert_eq!(sequences(&journal::read(dir.path()).unwrap()), [1, 2, 3]);
    assert!(!fs::read(&path).unwrap().windows(4).any(|bytes| bytes == [0x5a; 4]));
}

#[test]
fn damage_before_the_end_is_an_error_not_a_shorter_log() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1..=4);
    let path = dir.path().join("journal");
    let whole = fs::read(&path).unwrap();
    let record = (whole.len() - 8) / 4;
    // A byte of the payload of each of the first three records.
    for at in [8 + 8, 8 + record + 30, 8 + 3 * record - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let error = journal::read(dir.path()).unwrap_err();
        assert!(error.to_string().contains("damaged record at byte"), "{error}");
        let opened = Engine::new(Config::new("A"), Box::new(FileJournal::open(dir.path(), false).unwrap()));
        assert!(opened.is_err());
        assert_eq!(fs::read(&path).unwrap(), damaged, "left as it was");
    }
}

#[test]
fn an_end_of_zeros_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1..=2);
    let path = dir.path().join("journal");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(&[0; 5_000]);
    fs::write(&path, &bytes).unwrap();
    write(dir.path(), 3..=3);
    assert_eq!(sequences(&journal::read(dir.path()).unwrap()), [1, 2, 3]);
}

#[test]
fn another_file_is_not_taken_for_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("journal"), "something else entirely").unwrap();
    let error = journal::read(dir.path()).unwrap_err();
    assert!(error.to_string().contains("not a journal"), "{error}");
    let missing = journal::read(&dir.path().join("missing")).unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn records_larger_than_the_read_buffer_and_with_sync() {
    let dir = tempfile::tempdir().unwrap();
    let body = |n: u8| bytes::Bytes::from(vec![n; 3_000_000]);
    let message = |n: u8| {
        Record::Message(JournalMessage {
            publisher: 1,
            sequence: n.into(),
            client_name: "p".into(),
            topic: "t".into(),
            correlation_id: Some("abc".into()),
            direct: n.is_multiple_of(2),
            origin: (n == 3).then(|| "B".into()),
            processed: (n > 1).then_some(u64::from(n)),
            sow_key: (n > 2).then(|| "key".into()),
            expiration: (n == 2).then_some(5),
            deletes: n.is_multiple_of(3).then(|| vec![1, u64::MAX]),
            body: body(n),
        })
    };
    let mut journal = FileJournal::open(dir.path(), true).unwrap();
    journal.load(&mut |_| panic!("a new journal is empty")).unwrap();
    for n in 1..=3 {
        journal.append(&message(n));
    }
    journal.append(&Record::Promised(3));
    journal.commit().unwrap();
    drop(journal);
    let mut found = Vec::new();
    FileJournal::open(dir.path(), false).unwrap().load(&mut |record| found.push(record)).unwrap();
    assert_eq!(found, [message(1), message(2), message(3), Record::Promised(3)]);
}

#[test]
fn what_was_not_committed_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = FileJournal::open(dir.path(), false).unwrap();
    journal.load(&mut |_| {}).unwrap();
    journal.append(&Record::Promised(1));
    drop(journal);
    FileJournal::open(dir.path(), false).unwrap().load(&mut |_| panic!("nothing was committed")).unwrap();
}

/// A journal that cannot be written from the n-th commit on.
struct Full {
    commits: u32,
}

impl Journal for Full {
    fn load(&mut self, _: &mut dyn FnMut(Record)) -> std::io::Result<()> {
        Ok(())
    }
    fn append(&mut self, _: &Record) {}
    fn commit(&mut self) -> std::io::Result<()> {
        self.commits = self.commits.checked_sub(1).ok_or_else(|| std::io::Error::other("no space left"))?;
        Ok(())
    }
}

#[test]
fn a_journal_that_fails_stops_the_instance_before_it_promises_anything() {
    let mut bench = bench_on(Config::new("A"), Full { commits: 1 });
    let mut wire = bench.logon("p");
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, subscribe("1", "t", amps_core::AckTypes::NONE));
    bench.send(&wire, publish("t", 1));
    assert_eq!(bench.lines(&mut subscriber).len(), 1);
    bench.send(&wire, publish("t", 2));
    bench.pass(std::time::Duration::from_secs(2));
    assert_eq!(bench.lines(&mut wire), [""; 0], "the ack of 1 went down with the connection, 2 was never promised");
    assert_eq!(bench.lines(&mut subscriber), [""; 0]);
    assert!(bench.engine.should_close(wire.id) && bench.engine.should_close(subscriber.id));
    assert_eq!(bench.engine.failure(), Some("no space left"));
    let late = bench.connect();
    assert!(bench.engine.should_close(late.id), "new connections are refused");
}

#[test]
fn a_journal_that_grows_byte_by_byte_is_followed_and_each_message_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 1..=4);
    let path = dir.path().join("journal");
    let whole = fs::read(&path).unwrap();
    let mut reader = journal::JournalReader::new(dir.path());
    let mut messages = Vec::new();
    for len in 0..=whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        reader.read_on(&mut |message| messages.push(message)).unwrap();
    }
    assert_eq!(sequences(&messages), [1, 2, 3, 4]);
}
