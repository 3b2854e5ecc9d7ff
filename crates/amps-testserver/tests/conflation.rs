//! Conflated subscriptions: of the updates of an interval the last is sent.

mod common;

use std::time::Duration;

use amps_core::{AckType, AckTypes, Command, CommandKind, Field};
use amps_testserver::{Config, MemoryJournal};
use common::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn config() -> Config {
    let mut config = Config::new("A").sow("w", "/id");
    config.wall_clock = Duration::from_secs(1_767_608_130);
    config
}

fn with(options: &str) -> Command {
    subscribe("s", "w", AckTypes::NONE).text(Field::Options, options)
}

#[test]
fn of_the_updates_of_an_interval_the_last_is_sent_at_its_end() {
    let mut bench = bench(config());
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    bench.send(&reader, with("conflation=100ms,timestamp,bookmark"));
    for (sequence, body) in [(1, r#"{"id":1,"v":1}"#), (2, r#"{"id":2,"v":1}"#), (3, r#"{"id":1,"v":2}"#)] {
        bench.send(&publisher, record("w", sequence, body));
        bench.pass(10 * MS);
    }
    assert!(told(&bench.drain(&mut reader)).is_empty());
    bench.pass(69 * MS);
    assert!(told(&bench.drain(&mut reader)).is_empty(), "one millisecond to go");
    bench.pass(MS);
    let first = bench.drain(&mut reader);
    assert_eq!(told(&first), [r#"{"id":1,"v":2}"#]);
    assert_eq!(first[0].text(Field::Timestamp).unwrap(), "20260105T101530.000000Z", "of the first");
    assert_eq!(first[0].bookmark().unwrap().sequence, 1, "of the first");
    bench.pass(10 * MS);
    assert_eq!(told(&bench.drain(&mut reader)), [r#"{"id":2,"v":1}"#]);
    bench.send(&publisher, record("w", 4, r#"{"id":1,"v":3}"#));
    bench.send(&reader, Command::new(CommandKind::Unsubscribe).text(Field::SubscriptionId, "s"));
    bench.pass(Duration::from_secs(1));
    assert!(told(&bench.drain(&mut reader)).is_empty(), "what waited went with its subscription");
}

/// Messages are never logged with an earlier time than the last one, and so far
/// ahead of a clock that was set back. An interval is not longer for that.
#[test]
fn an_interval_ends_also_where_the_wall_clock_went_back() {
    let journal = MemoryJournal::new();
    let mut before = bench_on(config(), journal.clone());
    let publisher = before.logon("p");
    before.send(&publisher, record("w", 1, r#"{"id":1,"v":1}"#));
    let mut config = config();
    config.wall_clock -= 1_000_000 * SECOND;
    let mut bench = bench_on(config, journal);
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    bench.send(&reader, with("conflation=100ms"));
    bench.send(&publisher, record("w", 2, r#"{"id":1,"v":2}"#));
    bench.pass(99 * MS);
    assert!(told(&bench.drain(&mut reader)).is_empty());
    bench.pass(MS);
    assert_eq!(told(&bench.drain(&mut reader)), [r#"{"id":1,"v":2}"#]);

    // So in a replay, whose messages are from before.
    bench.send(&reader, with("conflation=100ms").text(Field::SubscriptionId, "again").text(Field::Bookmark, "0"));
    bench.pass(SECOND);
    assert_eq!(told(&bench.drain(&mut reader)).last().unwrap(), r#"{"id":1,"v":2}"#);
}

#[test]
fn who_does_not_conflate_gets_every_update_on_the_same_connection() {
    let mut bench = bench(config());
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    bench.send(&reader, with("conflation=auto"));
    bench.send(&reader, subscribe("all", "w", AckTypes::NONE).text(Field::Options, "conflation=none"));
    bench.send(&publisher, record("w", 1, r#"{"id":1,"v":1}"#));
    bench.send(&publisher, record("w", 2, r#"{"id":1,"v":2}"#));
    let now = bench.drain(&mut reader);
    assert_eq!(told(&now), [r#"{"id":1,"v":1}"#, r#"{"id":1,"v":2}"#]);
    assert!(now.iter().all(|message| message.text(Field::SubscriptionIds).as_deref() == Some("all")));
    bench.pass(Duration::from_secs(1));
    assert_eq!(told(&bench.drain(&mut reader)), [r#"{"id":1,"v":2}"#]);
}

#[test]
fn a_topic_without_records_is_conflated_by_fields() {
    let mut bench = bench(config());
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    let command = subscribe("s", "plain", AckTypes::NONE);
    bench.send(&reader, command.text(Field::Options, "conflation=50ms,conflation_key=[/a,/b/c]"));
    for (sequence, body) in
        [(1, r#"{"a":1,"b":{"c":"x"}}"#), (2, r#"{"a":1,"b":{"c":"y"}}"#), (3, r#"{"v":3,"a":1,"b":{"c":"x"}}"#)]
    {
        bench.send(&publisher, record("plain", sequence, body));
    }
    bench.pass(50 * MS);
    assert_eq!(told(&bench.drain(&mut reader)), [r#"{"v":3,"a":1,"b":{"c":"x"}}"#, r#"{"a":1,"b":{"c":"y"}}"#]);
}

#[test]
fn what_comes_and_goes_within_an_interval_nobody_sees() {
    let mut bench = bench(config());
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    bench.send(&publisher, record("w", 1, r#"{"id":1,"v":5}"#));
    bench.send(&publisher, record("w", 2, r#"{"id":2,"v":5}"#));
    let command = Command::new(CommandKind::SowAndSubscribe).id("s").topic("w").number(Field::BatchSize, 10);
    bench.send(&reader, command.text(Field::Filter, "/v > 3").text(Field::Options, "oof,conflation=1s"));
    assert_eq!(told(&bench.drain(&mut reader)).len(), 2, "records are not conflated");
    for (sequence, body) in [
        (3, r#"{"id":1,"v":6}"#),
        (4, r#"{"id":1,"v":1}"#),
        (5, r#"{"id":3,"v":9}"#),
        (6, r#"{"id":3,"v":0}"#),
        (7, r#"{"id":2,"v":0}"#),
        (8, r#"{"id":2,"v":7}"#),
    ] {
        bench.send(&publisher, record("w", sequence, body));
    }
    bench.pass(Duration::from_secs(1));
    // What the subscriber had, not what it never saw.
    assert_eq!(told(&bench.drain(&mut reader)), [r#"-match {"id":1,"v":5}"#, r#"{"id":2,"v":7}"#]);
    bench.send(&publisher, deletion("w", 9, r#"{"id":2}"#));
    bench.pass(Duration::from_secs(1));
    assert_eq!(told(&bench.drain(&mut reader)), [r#"-deleted {"id":2,"v":7}"#]);
}

#[test]
fn the_deltas_of_an_interval_are_one() {
    let mut bench = bench(config());
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    bench.send(&publisher, record("w", 1, r#"{"id":1,"a":1,"b":1,"c":1}"#));
    let command = Command::new(CommandKind::DeltaSubscribe).id("s").topic("w");
    bench.send(&reader, command.text(Field::Options, "conflation=1s"));
    bench.send(&publisher, record("w", 2, r#"{"id":1,"a":2,"b":1,"c":1}"#));
    bench.send(&publisher, record("w", 3, r#"{"id":1,"a":2,"b":3,"c":1}"#));
    bench.pass(Duration::from_secs(1));
    assert_eq!(told(&bench.drain(&mut reader)), [r#"{"a":2,"b":3,"id":1}"#]);
}

#[test]
fn a_replay_is_conflated_in_its_own_time() {
    let mut bench = bench(config());
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    for (sequence, body) in (1..).zip([r#"{"id":1,"v":1}"#, r#"{"id":1,"v":2}"#, r#"{"id":2}"#, r#"{"id":1,"v":3}"#]) {
        bench.send(&publisher, record("w", sequence, body));
        bench.pass(60 * MS);
    }
    let command = subscribe("s", "w", AckType::Completed).text(Field::Bookmark, "0");
    bench.send(&reader, command.text(Field::Options, "conflation=100ms"));
    let messages = bench.drain(&mut reader);
    assert_eq!(told(&messages), [r#"{"id":1,"v":2}"#, r#"{"id":2}"#, r#"{"id":1,"v":3}"#]);
    let sequences: Vec<_> = messages.iter().filter_map(|m| Some(m.bookmark()?.sequence)).collect();
    assert_eq!(sequences, [1, 3, 4, 4], "of the first of each, and the end of the replay");
    bench.send(&publisher, record("w", 5, r#"{"id":1,"v":4}"#));
    assert!(told(&bench.drain(&mut reader)).is_empty());
    bench.pass(100 * MS);
    assert_eq!(told(&bench.drain(&mut reader)), [r#"{"id":1,"v":4}"#]);
}

/// The new one goes on behind what the old one held back.
#[test]
fn what_waits_comes_before_a_replacement() {
    for bookmark in [None, Some("0|1|")] {
        let mut bench = bench(config());
        let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
        bench.send(&reader, with("conflation=1s").maybe(Field::Bookmark, bookmark));
        bench.send(&publisher, record("w", 1, r#"{"id":1,"v":1}"#));
        bench.send(&publisher, record("w", 2, r#"{"id":1,"v":2}"#));
        assert!(told(&bench.drain(&mut reader)).is_empty());
        let replace = with("conflation=1s,replace").text(Field::SubscriptionId, "s").text(Field::Filter, "/v > 2");
        bench.send(&reader, replace);
        assert_eq!(told(&bench.drain(&mut reader)), [r#"{"id":1,"v":2}"#], "{bookmark:?}");
        bench.send(&publisher, record("w", 3, r#"{"id":1,"v":3}"#));
        assert!(told(&bench.drain(&mut reader)).is_empty());
        bench.pass(SECOND);
        assert_eq!(told(&bench.drain(&mut reader)), [r#"{"id":1,"v":3}"#], "{bookmark:?}");
    }
}

#[test]
fn so_many_records_wait_and_then_the_oldest_comes_early() {
    let mut bench = bench(config());
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    bench.send(&reader, with("conflation=1d"));
    for id in 0..=10_000 {
        bench.send(&publisher, record("w", id + 1, &format!(r#"{{"id":{id}}}"#)));
    }
    assert_eq!(told(&bench.drain(&mut reader)), [r#"{"id":0}"#]);
    bench.pass(86_400 * SECOND);
    assert_eq!(told(&bench.drain(&mut reader)).len(), 10_000);
}

/// Nothing says that they are of one record.
#[test]
fn messages_without_fields_are_not_conflated() {
    let mut bench = bench(config());
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    let command = subscribe("s", "plain", AckTypes::NONE);
    bench.send(&reader, command.text(Field::Options, "conflation=1s,conflation_key=[/a]"));
    for (sequence, body) in [(1, "a=1\u{1}"), (2, "a=2\u{1}")] {
        bench.send(&publisher, record("plain", sequence, body));
    }
    assert_eq!(told(&bench.drain(&mut reader)), ["a=1\u{1}", "a=2\u{1}"]);
}
