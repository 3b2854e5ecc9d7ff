//! What a query or subscription may ask for beside what matches: an order, a
//! page, timestamps, parts of bodies.

mod common;

use std::time::Duration;

use amps_core::batch::records;
use amps_core::message::MessageKind;
use amps_core::{AckType, AckTypes, Command, CommandKind, Field, Message};
use amps_testserver::{Config, QueueConfig};
use common::*;

fn query(order: &str, options: &str) -> Command {
    let command = Command::new(CommandKind::Sow).id("q").topic("w").number(Field::BatchSize, 3);
    let order = Some(order).filter(|order| !order.is_empty());
    command.maybe(Field::OrderBy, order).text(Field::Options, options).acks(AckType::Stats)
}

/// Messages and records in order: kind, timestamp, body.
fn got(messages: &[Message]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |message: &Message| {
        let time = message.text(Field::Timestamp).map(|time| format!("{time} ")).unwrap_or_default();
        lines.push(format!("{:?} {time}{}", message.kind(), String::from_utf8_lossy(message.data())));
    };
    for message in messages {
        match message.kind() {
            MessageKind::Publish | MessageKind::Oof => add(message),
            MessageKind::Sow => records(message).into_iter().for_each(|record| add(&record)),
            _ => {}
        }
    }
    lines
}

/// A server with ten records, `b` from 0 to 3 and missing once.
fn filled() -> (Bench, Wire, Wire) {
    let mut bench = bench(Config::new("A").sow("w", "/id").queue(QueueConfig::new("q")));
    let (publisher, reader) = (bench.logon("p"), bench.logon("r"));
    for id in 0..9 {
        bench.send(&publisher, record("w", id + 1, &format!(r#"{{"id":{id},"b":{}}}"#, id % 4)));
    }
    bench.send(&publisher, record("w", 10, r#"{"id":9}"#));
    (bench, publisher, reader)
}

/// The ids of records in their order.
fn ids(messages: &[Message]) -> Vec<u64> {
    got(messages)
        .iter()
        .map(|line| {
            let rest = line.split("\"id\":").nth(1).unwrap();
            rest.split([',', '}']).next().unwrap().parse().unwrap()
        })
        .collect()
}

#[test]
fn records_come_in_the_order_that_is_asked_for() {
    let (mut bench, publisher, mut reader) = filled();
    for (order, expected) in [
        ("/id", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("/id DESC", [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ("/b, /id DESC", [9, 8, 4, 0, 5, 1, 6, 2, 7, 3]),
        ("/b DESC, /id ASC", [3, 7, 2, 6, 1, 5, 0, 4, 8, 9]),
    ] {
        bench.send(&reader, query(order, ""));
        assert_eq!(ids(&bench.drain(&mut reader)), expected, "{order}");
    }
    let command = Command::new(CommandKind::SowAndSubscribe).id("s").topic("w").text(Field::OrderBy, "/b DESC, /id");
    bench.send(&reader, command.number(Field::TopN, 2));
    bench.send(&publisher, record("w", 11, r#"{"id":5,"b":9}"#));
    assert_eq!(ids(&bench.drain(&mut reader)), [3, 7, 5], "bounded records, and then what is published");
    bench.send(&reader, query("/b DOWN", "").acks(AckType::Processed));
    assert_eq!(bench.lines(&mut reader), ["ack processed cid=q failure=invalid orderby"]);
}

#[test]
fn a_page_is_a_part_of_the_ordered_records() {
    let (mut bench, _publisher, mut reader) = filled();
    for (options, expected, matches) in [
        ("skip_n=0,top_n=4", &[0, 1, 2, 3][..], 10),
        ("skip_n=4,top_n=4", &[4, 5, 6, 7], 10),
        ("skip_n=8,top_n=4", &[8, 9], 10),
        ("skip_n=99,top_n=4", &[], 10),
        ("skip_n=3,top_n=0", &[], 10),
    ] {
        bench.send(&reader, query("/id", options));
        let messages = bench.drain(&mut reader);
        assert_eq!(ids(&messages), expected, "{options}");
        let stats = messages.last().unwrap();
        let count = |field| stats.number(field);
        assert_eq!(
            (count(Field::Matches), count(Field::RecordsReturned)),
            (Some(matches), Some(expected.len() as u64))
        );
    }
    let page = || query("/id", "skip_n=1,top_n=1").acks(AckType::Processed);
    let subscription = Command::new(CommandKind::SowAndSubscribe).id("q").topic("w").acks(AckType::Processed);
    for command in [
        query("/id", "skip_n=1").acks(AckType::Processed),
        query("", "skip_n=1,top_n=1").acks(AckType::Processed),
        page().topic("^w"),
        subscription.topic("^w").text(Field::Options, "skip_n=1,top_n=1"),
        subscribe("q", "w", AckType::Processed).text(Field::Options, "skip_n=1"),
    ] {
        bench.send(&reader, command);
        assert_eq!(bench.lines(&mut reader), ["ack processed cid=q failure=invalid options"]);
    }
}

#[test]
fn messages_and_records_say_when_they_were_processed() {
    let mut config = Config::new("A").sow("w", "/id").queue(QueueConfig::new("q"));
    config.wall_clock = Duration::from_secs(1_767_608_130);
    let mut bench = bench(config);
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    bench.send(&publisher, record("w", 1, r#"{"id":1}"#));
    bench.pass(Duration::from_micros(1_500_000));
    let mut both = |kind, options: &str| {
        let id = format!("{kind:?}{options}");
        let command = Command::new(kind).id(&id).topic("w").text(Field::Options, options);
        let start = (kind == CommandKind::Subscribe).then_some("0");
        bench.send(&reader, command.maybe(Field::Bookmark, start));
        let got = got(&bench.drain(&mut reader));
        bench.send(&reader, Command::new(CommandKind::Unsubscribe).text(Field::SubscriptionId, &id));
        got
    };
    let first = "20260105T101530.000000Z";
    assert_eq!(both(CommandKind::Sow, "timestamp"), [format!(r#"Sow {first} {{"id":1}}"#)]);
    assert_eq!(both(CommandKind::Sow, ""), [r#"Sow {"id":1}"#]);
    assert_eq!(both(CommandKind::Subscribe, "timestamp"), [format!(r#"Publish {first} {{"id":1}}"#)]);
    let mut other = bench.logon("o");
    bench.send(&reader, subscribe("s", "w", AckTypes::NONE).text(Field::Options, "oof,timestamp"));
    bench.send(&other, subscribe("s", "w", AckTypes::NONE).text(Field::Options, "oof").text(Field::Filter, "/v = 1"));
    bench.send(&publisher, record("w", 2, r#"{"id":1,"v":1}"#));
    bench.pass(Duration::from_micros(1));
    let deletion = Command::new(CommandKind::SowDelete).topic("w").number(Field::Sequence, 3);
    bench.send(&publisher, deletion.body(r#"{"id":1}"#));
    let body = r#"{"id":1,"v":1}"#;
    assert_eq!(
        got(&bench.drain(&mut reader)),
        [format!("Publish 20260105T101531.500000Z {body}"), format!("Oof 20260105T101531.500001Z {body}")]
    );
    assert_eq!(got(&bench.drain(&mut other)), [format!("Publish {body}"), format!("Oof {body}")]);
}

#[test]
fn a_select_list_leaves_out_fields_after_the_filter_has_seen_them() {
    let (mut bench, publisher, mut reader) = filled();
    let cut = "select=[-/,+/id,+/leg/px]";
    bench.send(&reader, query("/b DESC, /id", cut).text(Field::Filter, "/b > 1"));
    let expected: Vec<_> = [3, 7, 2, 6].map(|id| format!(r#"Sow {{"id":{id}}}"#)).into();
    assert_eq!(got(&bench.drain(&mut reader)), expected);

    let select = |id: &str, options: &str| {
        subscribe(id, "w", AckTypes::NONE).text(Field::Options, options).text(Field::Filter, "/b = 1")
    };
    bench.send(&reader, select("s", &format!("{cut},oof")));
    let whole = r#"{"b":1,"id":1,"leg":[{"px":1,"qty":2}]}"#;
    bench.send(&publisher, record("w", 11, whole));
    bench.send(&publisher, record("w", 12, r#"{"b":2,"id":1}"#));
    let part = r#"{"id":1,"leg":[{"px":1}]}"#;
    assert_eq!(got(&bench.drain(&mut reader)), [format!("Publish {part}"), r#"Oof {"id":1}"#.to_owned()]);

    // One message for all of a connection: with all that any of them wants.
    bench.send(&reader, select("same", cut));
    bench.send(&publisher, record("w", 13, whole));
    assert_eq!(got(&bench.drain(&mut reader)), [format!("Publish {part}")]);
    bench.send(&reader, select("other", "select=[-/b]"));
    bench.send(&publisher, record("w", 14, whole));
    assert_eq!(got(&bench.drain(&mut reader)), [format!("Publish {whole}")]);

    let mut replay = bench.logon("replay");
    bench.send(&replay, select("s", cut).text(Field::Bookmark, "0"));
    let replayed = got(&bench.drain(&mut replay));
    assert_eq!((replayed.len(), replayed.last().unwrap().as_str()), (5, &*format!("Publish {part}")));
}

#[test]
fn a_delta_is_cut_too_and_then_may_be_empty() {
    let (mut bench, publisher, mut reader) = filled();
    let command = |id: &str, options: &str| {
        Command::new(CommandKind::DeltaSubscribe).id(id).topic("w").text(Field::Options, options)
    };
    bench.send(&reader, command("d", "select=[-/,+/b,+/id],no_empties"));
    let mut update = |sequence, body: &str| {
        bench.send(&publisher, record("w", sequence, body));
        got(&bench.drain(&mut reader))
    };
    assert!(update(11, r#"{"id":1,"b":1,"c":1}"#).is_empty());
    assert_eq!(update(12, r#"{"id":1,"b":2,"c":2}"#), [r#"Publish {"b":2}"#]);
}

#[test]
fn what_cannot_be_selected_or_stamped_is_refused() {
    let (mut bench, _publisher, mut reader) = filled();
    for (topic, options) in [
        ("w", "select=/id"),
        ("w", "select=[/id]"),
        ("w", "select=[+/id"),
        ("w", "select"),
        ("w", "timestamp=1"),
        ("w", "projection=[/id],grouping=[/id]"),
        ("q", "timestamp=1"),
        ("q", "select=[/b]"),
    ] {
        bench.send(&reader, subscribe("x", topic, AckType::Processed).text(Field::Options, options));
        assert_eq!(bench.lines(&mut reader), ["ack processed cid=x failure=invalid options"], "{topic} {options}");
    }
}
