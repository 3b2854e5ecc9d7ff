//! What changes records beside a publish: `delta_publish` and `sow_delete`.

mod common;

use std::time::Duration;

use amps_core::{AckType, AckTypes, Bookmark, Command, CommandKind, Field, batch};
use amps_testserver::{Config, MemoryJournal};
use common::*;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> Config {
    Config::new("A").sow("w", "/id").sow("w2", "/id")
}

fn write(kind: CommandKind, sequence: u64) -> Command {
    Command::new(kind).topic("w").number(Field::Sequence, sequence).acks(AckType::Persisted)
}

fn deletion(sequence: u64) -> Command {
    write(CommandKind::SowDelete, sequence)
}

/// Bodies and keys of the records of `w`.
fn records(bench: &mut Bench) -> Vec<(String, String)> {
    let mut wire = bench.logon("reader");
    bench.send(&wire, Command::new(CommandKind::Sow).id("q").topic("w").number(Field::BatchSize, 100));
    let mut found = Vec::new();
    for record in bench.drain(&mut wire).iter().flat_map(batch::records) {
        found.push((String::from_utf8(record.data().to_vec()).unwrap(), record.sow_key().unwrap().into_owned()));
    }
    found.sort();
    found
}

fn bodies(bench: &mut Bench) -> Vec<String> {
    records(bench).into_iter().map(|(body, _)| body).collect()
}

/// Three records on `w` and one on `w2`, from sequence 1 on.
fn filled(journal: MemoryJournal) -> (Bench, Wire) {
    let mut bench = bench_on(config(), journal);
    let wire = bench.logon("p");
    for id in 1..=3 {
        bench.send(&wire, write(CommandKind::Publish, id).body(format!(r#"{{"id":{id},"v":0}}"#)));
    }
    bench.send(&wire, write(CommandKind::Publish, 4).topic("w2").body(r#"{"id":1}"#));
    (bench, wire)
}

#[test]
fn a_delta_is_merged_before_it_is_logged_and_delivered() {
    let journal = MemoryJournal::new();
    let (mut bench, wire) = filled(journal.clone());
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, subscribe("1", "w", AckTypes::NONE).text(Field::Options, "no_sowkey"));
    bench.send(
        &wire,
        write(CommandKind::DeltaPublish, 5).text(Field::CorrelationId, "x").body(r#"{"id":2,"w":{"a":1}}"#),
    );
    bench.send(&wire, write(CommandKind::DeltaPublish, 6).body(r#"{"id":2,"w":{"b":[1]}}"#));
    let merged = [r#"{"id":2,"v":0,"w":{"a":1}}"#, r#"{"id":2,"v":0,"w":{"a":1,"b":[1]}}"#];
    let messages = bench.drain(&mut subscriber);
    let got: Vec<_> = messages.iter().map(|message| std::str::from_utf8(message.data()).unwrap()).collect();
    assert_eq!(got, merged);
    assert_eq!(messages[1].text(Field::CorrelationId).as_deref(), Some("x"), "the record keeps its own");
    let log = bench.engine.log();
    assert_eq!(log[4..].iter().map(|message| message.body.clone()).collect::<Vec<_>>(), merged);
    for mut bench in [bench, bench_on(config(), journal)] {
        assert_eq!(bodies(&mut bench), [r#"{"id":1,"v":0}"#, merged[1], r#"{"id":3,"v":0}"#]);
    }
}

#[test]
fn without_a_record_or_a_sow_a_delta_is_a_publish_and_needs_its_key() {
    let mut bench = bench(config());
    let mut wire = bench.logon("p");
    bench.send(&wire, write(CommandKind::DeltaPublish, 1).body(r#"{"id":1,"v":null}"#));
    bench.send(&wire, write(CommandKind::DeltaPublish, 2).topic("plain").body("anything"));
    bench.send(&wire, write(CommandKind::DeltaPublish, 3).body(r#"{"v":1}"#));
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=2", "ack persisted s=3 failure=bad sow key"]);
    assert_eq!(bodies(&mut bench), [r#"{"id":1,"v":null}"#]);
    assert_eq!(bench.engine.log()[1].body, "anything");
}

#[test]
fn records_are_deleted_by_key_and_by_data_with_the_counts() {
    let journal = MemoryJournal::new();
    let (mut bench, mut wire) = filled(journal.clone());
    bench.pass(SECOND);
    bench.drain(&mut wire);
    let key = records(&mut bench)[2].1.clone();
    let acks = AckType::Processed | AckType::Completed | AckType::Stats | AckType::Persisted;
    bench.send(&wire, deletion(5).id("d").acks(acks).text(Field::SowKeys, format!("{key},77")));
    let answers = bench.drain(&mut wire);
    let kinds: Vec<_> = answers.iter().filter_map(|ack| ack.ack_type()).collect();
    assert_eq!(kinds, [AckType::Processed, AckType::Completed, AckType::Stats]);
    let count = |field| answers[2].number(field);
    assert_eq!(
        (count(Field::TopicMatches), count(Field::Matches), count(Field::RecordsDeleted)),
        (Some(3), Some(1), Some(1))
    );
    assert_eq!(answers[2].command_id(), Some("d"));
    bench.send(&wire, deletion(6).body(r#"{"id":1,"ignored":true}"#));
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=6"], "conflated like those of publishes");
    assert_eq!(bodies(&mut bench), [r#"{"id":2,"v":0}"#]);
    let log = bench.engine.log();
    let deletes: Vec<_> = log.iter().map(|message| message.deletes.clone()).collect();
    assert_eq!(deletes[4], Some(vec![key.parse().unwrap()]), "of the keys those that there are");
    assert!(deletes[..4].iter().all(Option::is_none) && deletes[5].as_ref().unwrap().len() == 1);
    let mut restarted = bench_on(config(), journal);
    assert_eq!(restarted.engine.log(), log);
    assert_eq!(bodies(&mut restarted), [r#"{"id":2,"v":0}"#]);
    assert_eq!(restarted.logon_sequence("p"), 6);
}

/// A key is that of a record of one topic; and one that is named twice is one.
#[test]
fn a_key_of_another_topic_deletes_nothing_there() {
    let (mut bench, mut wire) = filled(MemoryJournal::new());
    let key = records(&mut bench)[0].1.clone();
    bench.engine.with_faults(bench.now, |faults| faults.entitle(|_, _, topic| topic != "w"));
    bench.drain(&mut wire);
    let by_key = |sequence| deletion(sequence).acks(AckType::Stats).text(Field::SowKeys, format!("{key},{key}"));
    bench.send(&wire, by_key(5).topic("w2"));
    assert_eq!(bench.drain(&mut wire)[0].number(Field::RecordsDeleted), Some(0));
    bench.engine.with_faults(bench.now, |faults| faults.entitle(|_, _, _| true));
    assert_eq!(bodies(&mut bench).len(), 3, "the user may not even write there");
    bench.send(&wire, by_key(6));
    assert_eq!(bench.drain(&mut wire)[0].number(Field::RecordsDeleted), Some(1));
    assert_eq!(bodies(&mut bench).len(), 2);
}

/// A deletion is numbered like a publish: what comes again is dropped.
#[test]
fn a_deletion_at_or_below_the_highest_sequence_is_dropped() {
    let (mut bench, mut wire) = filled(MemoryJournal::new());
    bench.send(&wire, deletion(5).body(r#"{"id":1}"#));
    bench.send(&wire, write(CommandKind::Publish, 6).body(r#"{"id":1,"v":6}"#));
    bench.send(&wire, deletion(5).body(r#"{"id":1}"#));
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=6"]);
    assert_eq!(bodies(&mut bench)[0], r#"{"id":1,"v":6}"#);
    assert_eq!(bench.engine.stats().duplicates["p"], 1);
}

#[test]
fn a_deletion_is_logged_and_delivered_to_nobody() {
    let (mut bench, wire) = filled(MemoryJournal::new());
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, subscribe("live", "w", AckTypes::NONE));
    bench.send(&subscriber, subscribe("replay", "w", AckType::Completed).text(Field::Bookmark, "0"));
    bench.send(&wire, deletion(5).body(r#"{"id":1}"#));
    let lines = bench.lines(&mut subscriber);
    assert_eq!(lines.iter().filter(|line| line.starts_with("p w")).count(), 3, "{lines:?}");
    // Its bookmark is one of the log all the same.
    let at = Bookmark { publisher: amps_testserver::publisher_id("p"), sequence: 5 };
    bench.send(&subscriber, subscribe("behind", "w", AckType::Completed).text(Field::Bookmark, at.to_string()));
    assert_eq!(bench.lines(&mut subscriber), [format!("ack completed cid=behind bm={at}")]);
}

#[test]
fn a_deletion_names_records_in_one_way() {
    let (mut bench, mut wire) = filled(MemoryJournal::new());
    let by_keys = || deletion(9).text(Field::SowKeys, "1");
    let one = "a sow_delete needs one of filter, sow_keys and data";
    for (command, reason) in [
        (deletion(9), one),
        (by_keys().body("{}"), one),
        (by_keys().text(Field::Filter, "/id = 1"), one),
        (deletion(9).text(Field::SowKeys, "a key"), "bad sow key"),
        (deletion(9).body("{}"), "bad sow key"),
        (deletion(9).text(Field::Bookmark, "1|1|"), "only messages of queues have bookmarks to delete by"),
        (by_keys().topic("plain"), "invalid topic"),
        (by_keys().topic("w("), "bad regex topic"),
        (by_keys().text(Field::Options, "cancel"), "invalid options"),
    ] {
        bench.send(&wire, command.acks(AckType::Processed));
        assert_eq!(bench.lines(&mut wire), [format!("ack processed s=9 failure={reason}")]);
    }
    assert_eq!(bodies(&mut bench).len(), 3);
    // What failed was not seen: its number is free.
    bench.send(&wire, deletion(9).topic("^w").body(r#"{"id":1}"#).acks(AckType::Stats));
    assert_eq!(bench.drain(&mut wire)[0].number(Field::RecordsDeleted), Some(2), "one on each topic");
    assert_eq!(bodies(&mut bench).len(), 2);
}

#[test]
fn on_a_topic_that_is_not_logged_records_are_deleted_all_the_same() {
    let mut bench = bench(config().topic_log([regex::Regex::new("^logged").unwrap()]));
    let mut wire = bench.logon("p");
    bench.send(&wire, write(CommandKind::Publish, 1).body(r#"{"id":1}"#));
    bench.send(&wire, deletion(2).body(r#"{"id":1}"#));
    bench.send(&wire, deletion(2).body(r#"{"id":1}"#));
    assert_eq!(bench.engine.stats().duplicates["p"], 1);
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=2"]);
    assert!(bodies(&mut bench).is_empty() && bench.engine.log().is_empty());
}
