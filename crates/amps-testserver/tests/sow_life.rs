//! How records come to their keys, how long they live, and what they were.

mod common;

use std::time::Duration;

use amps_core::batch::records;
use amps_core::message::MessageKind;
use amps_core::{AckType, AckTypes, Bookmark, Command, CommandKind, Field, Message};
use amps_testserver::{Config, Engine, MemoryJournal, NoJournal, SowConfig, publisher_id};
use common::*;

const SECOND: Duration = Duration::from_secs(1);

/// 2026-01-05, 10:15:30.
fn config() -> Config {
    let mut config = Config::new("A");
    config.wall_clock = Duration::from_secs(1_767_608_130);
    config
}

fn given(topic: &str, sequence: u64, key: &str, body: &str) -> Command {
    record(topic, sequence, body).text(Field::SowKey, key)
}

fn query(topic: &str) -> Command {
    Command::new(CommandKind::Sow).id("q").topic(topic).number(Field::BatchSize, 10)
}

/// Kind, key and body of messages and records, by key.
fn got(messages: &[Message]) -> Vec<String> {
    let mut lines = Vec::new();
    for message in messages {
        let mut add = |message: &Message| {
            let (kind, reason) = (message.kind(), message.text(Field::Reason).unwrap_or_default());
            let (key, body) = (message.sow_key().unwrap_or_default(), String::from_utf8_lossy(message.data()));
            lines.push(format!("{kind:?} {reason}{key} {body}"));
        };
        match message.kind() {
            MessageKind::Publish | MessageKind::Oof => add(message),
            MessageKind::Sow => records(message).into_iter().for_each(|record| add(&record)),
            _ => {}
        }
    }
    lines
}

/// The bodies of the records of a topic, sorted.
fn bodies(bench: &mut Bench, topic: &str, then: Option<&str>) -> Vec<String> {
    let mut wire = bench.connect();
    bench.send(&wire, logon("reader"));
    bench.send(&wire, query(topic).maybe(Field::Bookmark, then));
    let messages = bench.drain(&mut wire);
    let records = messages.iter().flat_map(records);
    let mut bodies: Vec<_> = records.map(|record| String::from_utf8(record.data().to_vec()).unwrap()).collect();
    bodies.sort();
    bodies
}

#[test]
fn a_key_that_is_given_is_the_records_own() {
    let journal = MemoryJournal::new();
    let config = || config().sow_topic(SowConfig::with_given_keys("s"));
    let mut bench = bench_on(config(), journal.clone());
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    bench.send(&reader, subscribe("live", "s", AckTypes::NONE).text(Field::Options, "oof"));
    bench.send(&publisher, given("s", 1, "a+b", "one"));
    bench.send(&publisher, given("s", 2, "c", "two"));
    bench.send(&publisher, given("s", 3, "a+b", "three"));
    assert_eq!(got(&bench.drain(&mut reader)), ["Publish a+b one", "Publish c two", "Publish a+b three"]);
    bench.send(&reader, query("s").text(Field::SowKeys, "a+b,none"));
    assert_eq!(got(&bench.drain(&mut reader)), ["Sow a+b three"]);
    bench.send(&reader, subscribe("replay", "s", AckTypes::NONE).text(Field::Bookmark, "0"));
    assert_eq!(got(&bench.drain(&mut reader)).last().unwrap(), "Publish a+b three");

    let mut bench = bench_on(config(), journal);
    let (mut publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    bench.send(&reader, query("s").text(Field::SowKeys, "a+b"));
    assert_eq!(got(&bench.drain(&mut reader)), ["Sow a+b three"], "from the journal");
    bench.send(&reader, subscribe("live", "s", AckTypes::NONE).text(Field::Options, "oof"));
    let deletion = |sequence| {
        Command::new(CommandKind::SowDelete).topic("s").number(Field::Sequence, sequence).acks(AckType::Stats)
    };
    bench.send(&publisher, deletion(4).text(Field::SowKeys, "a+b"));
    assert_eq!(bench.drain(&mut publisher)[0].number(Field::RecordsDeleted), Some(1));
    assert_eq!(got(&bench.drain(&mut reader)), ["Oof deleteda+b three"]);
    // The key is nowhere in the data.
    bench.send(&publisher, deletion(5).body("two").acks(AckType::Processed));
    for (sequence, command) in [(6, record("s", 6, "no key")), (7, given("s", 7, "two words", "bad key"))] {
        bench.send(&publisher, command.acks(AckType::Processed));
        let lines = bench.lines(&mut publisher);
        assert_eq!(lines.last().unwrap(), &format!("ack processed s={sequence} failure=bad sow key"));
    }
}

#[test]
fn a_record_expires_when_its_message_or_its_topic_says_so() {
    let journal = MemoryJournal::new();
    let expired = |messages: &[Message]| {
        let gone = messages.iter().filter(|message| message.text(Field::Reason).as_deref() == Some("expired"));
        gone.map(|message| String::from_utf8(message.data().to_vec()).unwrap()).collect::<Vec<_>>()
    };
    let config = || config().sow_topic(SowConfig::new("s", "/id").expiration(10 * SECOND)).sow("fixed", "/id");
    let mut bench = bench_on(config(), journal.clone());
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    bench.send(&reader, subscribe("x", "s", AckTypes::NONE).text(Field::Options, "oof"));
    let body = |id: u64| format!(r#"{{"id":{id}}}"#);
    for (id, lifetime) in [(1, None), (2, Some(5)), (3, Some(0)), (4, Some(20))] {
        let command = record("s", 2 * id, &body(id));
        bench.send(&publisher, if let Some(e) = lifetime { command.number(Field::Expiration, e) } else { command });
        bench.send(&publisher, record("fixed", 2 * id + 1, &body(id)).number(Field::Expiration, 1));
    }
    bench.send(&publisher, record("s", 20, &body(2)).number(Field::Expiration, 6));
    bench.drain(&mut reader);
    bench.pass(Duration::from_millis(5_999));
    assert!(expired(&bench.drain(&mut reader)).is_empty(), "an update begins anew");
    bench.pass(Duration::from_millis(1));
    assert_eq!(expired(&bench.drain(&mut reader)), [body(2)]);
    assert_eq!(bodies(&mut bench, "s", None), [body(1), body(3), body(4)]);
    bench.pass(4 * SECOND);
    assert_eq!(expired(&bench.drain(&mut reader)), [body(1)]);
    assert_eq!(bodies(&mut bench, "fixed", None).len(), 4, "a topic without expiration keeps its records");

    // A restart changes nothing about when.
    let mut late = config();
    late.wall_clock += 15 * SECOND;
    let mut bench = Bench { engine: Engine::new(late, Box::new(journal)).unwrap(), now: bench.now };
    assert_eq!(bodies(&mut bench, "s", None), [body(3), body(4)]);
    bench.pass(5 * SECOND);
    assert_eq!(bodies(&mut bench, "s", None), [body(3)]);
}

/// A topic that is looked back on, with a message in every minute from 10:16.
fn with_history(granularity: u64) -> (Bench, Wire) {
    let history = SowConfig::new("s", "/id").history(600 * SECOND, Duration::from_secs(granularity));
    let mut bench = bench(config().sow_topic(history).sow("now", "/id"));
    let publisher = bench.logon("p");
    bench.pass(30 * SECOND);
    for (sequence, body) in [(1, r#"{"id":1,"v":1}"#), (2, r#"{"id":2,"v":2}"#), (3, r#"{"id":1,"v":3}"#)] {
        bench.send(&publisher, record("s", sequence, body));
        bench.pass(60 * SECOND);
    }
    let deletion = Command::new(CommandKind::SowDelete).topic("s").number(Field::Sequence, 4);
    bench.send(&publisher, deletion.body(r#"{"id":2}"#));
    (bench, publisher)
}

#[test]
fn a_query_of_the_past_finds_what_was_there() {
    let (mut bench, publisher) = with_history(0);
    let bookmark = |sequence| Bookmark { publisher: publisher_id("p"), sequence }.to_string();
    let one = |v: u64| format!(r#"{{"id":1,"v":{v}}}"#);
    let two = || r#"{"id":2,"v":2}"#.to_owned();
    for (then, expected) in [
        ("20260105T101559", vec![]),
        ("20260105T101600Z", vec![one(1)]),
        ("20260105T101759", vec![one(1), two()]),
        ("20260105T101800", vec![one(3), two()]),
        ("20260105T101900", vec![one(3)]),
        ("20300101T000000", vec![one(3)]),
        ("0", vec![]),
        ("0|1|", vec![one(3)]),
        (&bookmark(2), vec![one(1), two()]),
        (&bookmark(99), vec![one(3)]),
    ] {
        assert_eq!(bodies(&mut bench, "s", Some(then)), expected, "{then}");
    }
    bench.send(&publisher, record("now", 5, r#"{"id":1}"#));
    assert_eq!(bodies(&mut bench, "now", Some("20260105T101559")).len(), 1, "without a history it is the present");
    bench.pass(600 * SECOND);
    assert_eq!(bodies(&mut bench, "s", Some("20260105T101859")), [""; 0], "outside of the window");
    assert_eq!(bodies(&mut bench, "s", Some("20260105T101930")), [one(3)]);
}

#[test]
fn a_state_of_the_past_is_as_fine_as_it_was_kept() {
    let (mut bench, _publisher) = with_history(120);
    for (then, values) in [("20260105T101759", 1), ("20260105T101800", 2)] {
        assert_eq!(bodies(&mut bench, "s", Some(then)).len(), values, "{then}");
    }
}

#[test]
fn a_subscription_to_the_past_goes_on_from_there_without_a_gap() {
    let (mut bench, publisher) = with_history(0);
    let mut reader = bench.logon("r");
    let both = |id: &str| Command::new(CommandKind::SowAndSubscribe).id(id).text(Field::Options, "no_sowkey");
    bench.send(&reader, both("h").topic("s").text(Field::Bookmark, "20260105T101730"));
    bench.send(&publisher, record("s", 5, r#"{"id":5}"#));
    let mut lines = got(&bench.drain(&mut reader));
    lines[..2].sort();
    let expected =
        [r#"Sow  {"id":1,"v":1}"#, r#"Sow  {"id":2,"v":2}"#, r#"Publish  {"id":1,"v":3}"#, r#"Publish  {"id":5}"#];
    assert_eq!(lines, expected);
    bench.send(&reader, both("n").topic("now").text(Field::Bookmark, "20260105T101730").acks(AckType::Processed));
    assert_eq!(bench.lines(&mut reader), ["ack processed cid=n failure=invalid bookmark"]);
}

/// Nothing would come behind the records.
#[test]
fn a_query_with_a_replay_behind_it_needs_a_logged_topic() {
    let mut bench = bench(config().sow("w", "/id").topic_log([regex::Regex::new("^logged").unwrap()]));
    let mut reader = bench.logon("r");
    let both = Command::new(CommandKind::SowAndSubscribe).id("1").topic("w").acks(AckType::Processed);
    bench.send(&reader, both.text(Field::Bookmark, "0|1|"));
    assert_eq!(bench.lines(&mut reader), ["ack processed cid=1 failure=invalid topic"]);
}

/// An empty bookmark is none.
#[test]
fn a_query_completes_when_it_starts_no_replay() {
    let mut bench = bench(config().sow("w", "/id"));
    let mut reader = bench.logon("r");
    bench.send_raw(&reader, r#"{"c":"sow_and_subscribe","cid":"1","t":"w","bm":"","a":"completed"}"#);
    assert_eq!(bench.lines(&mut reader).last().unwrap(), "ack completed cid=1 query=1");
}

#[test]
fn a_replay_starts_at_a_time() {
    let (mut bench, _publisher) = with_history(0);
    for (then, from) in
        [("20260105T101500", 1), ("20260105T101700Z", 2), ("20260105T101701", 3), ("20270101T000000", 9)]
    {
        let mut reader = bench.logon(then);
        bench.send(&reader, subscribe("t", "s", AckTypes::NONE).text(Field::Bookmark, then));
        let sequences =
            bench.drain(&mut reader).iter().filter_map(|m| Some(m.bookmark()?.sequence)).collect::<Vec<_>>();
        assert_eq!(sequences, (from..=3).collect::<Vec<_>>(), "{then}");
    }
}

#[test]
fn a_sow_topic_that_cannot_be_is_refused() {
    let history = |sow: SowConfig| sow.history(SECOND, SECOND);
    for (config, rule) in [
        (config().sow("s", "id"), "does not start with '/'"),
        (config().sow("s", "/a,b"), "does not start with '/'"),
        (config().sow_topic(history(SowConfig::new("s", "/id").expiration(SECOND))), "cannot expire"),
        (config().topic_log([]).sow_topic(history(SowConfig::new("s", "/id"))), "has to be logged"),
    ] {
        let error = Engine::new(config, Box::new(NoJournal)).unwrap_err().to_string();
        assert!(error.starts_with("the SOW topic 's'") && error.contains(rule), "{error}");
    }
}

#[test]
fn a_given_key_and_a_lifetime_are_replicated() {
    let peers = |name: &str, peer: &str| {
        let sow = SowConfig::with_given_keys("s").expiration(Duration::ZERO);
        config_named(name).sow_topic(sow).peer(peer, amps_testserver::Link::Sync)
    };
    let (mut a, mut b) = (bench(peers("A", "B")), bench(peers("B", "A")));
    b.now = a.now;
    let (peer, _) = a.engine.poll_dial(a.now).unwrap();
    let (out, into) = (a.engine.dialed(a.now, peer), b.engine.accept(b.now));
    let publisher = a.logon("p");
    a.send(&publisher, given("s", 1, "k", "one").number(Field::Expiration, 3));
    for _ in 0..4 {
        while let Some(bytes) = a.engine.poll_transmit(out) {
            b.engine.receive(b.now, into, &bytes);
        }
        while let Some(bytes) = b.engine.poll_transmit(into) {
            a.engine.receive(a.now, out, &bytes);
        }
    }
    let mut reader = b.logon("r");
    b.send(&reader, query("s").text(Field::SowKeys, "k"));
    assert_eq!(got(&b.drain(&mut reader)), ["Sow k one"]);
    b.pass(3 * SECOND);
    b.send(&reader, query("s"));
    assert!(got(&b.drain(&mut reader)).is_empty());
}

fn config_named(name: &str) -> Config {
    let mut config = config();
    config.name = name.to_owned();
    config
}
