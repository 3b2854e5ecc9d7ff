//! Subscriptions, plain and from a bookmark, and queries.

mod common;

use std::time::Duration;

use amps_core::batch::records;
use amps_core::{AckType, AckTypes, Command, CommandKind, Field};
use amps_testserver::{Config, MemoryJournal, publisher_id};
use common::*;

const SECOND: Duration = Duration::from_secs(1);

fn bookmark(name: &str, sequence: u64) -> String {
    format!("{}|{sequence}|", publisher_id(name))
}

fn unsubscribe(id: &str) -> Command {
    Command::new(CommandKind::Unsubscribe).id("u").text(Field::SubscriptionId, id).acks(AckType::Processed)
}

#[test]
fn a_plain_subscription_gets_what_is_published_after_it_once_per_connection() {
    let mut bench = bench(Config::new("A"));
    let publisher = bench.logon("p");
    let mut subscriber = bench.logon("s");
    bench.send(&publisher, publish("fx/eur", 1));
    bench.send(&subscriber, subscribe("1", "fx/eur", AckType::Processed));
    bench.send(&subscriber, subscribe("2", "^fx/", AckType::Processed).text(Field::SubscriptionId, "two"));
    bench.send(&subscriber, subscribe("3", "other", AckTypes::NONE));
    bench.send(&publisher, publish("fx/eur", 2));
    bench.send(&publisher, publish("fx/usd", 3));
    assert_eq!(
        bench.lines(&mut subscriber),
        [
            "ack processed cid=1".to_owned(),
            "ack processed cid=2".to_owned(),
            "p fx/eur sids=1,two {\"n\":2}".to_owned(),
            "p fx/usd sids=two {\"n\":3}".to_owned(),
        ]
    );
    bench.send(&subscriber, unsubscribe("two"));
    bench.send(&publisher, publish("fx/eur", 4));
    assert_eq!(bench.lines(&mut subscriber), ["ack processed cid=u", "p fx/eur sids=1 {\"n\":4}"]);
    bench.send(&subscriber, unsubscribe("all"));
    bench.send(&publisher, publish("fx/eur", 5));
    assert_eq!(bench.lines(&mut subscriber), ["ack processed cid=u"]);
}

#[test]
fn duplicates_are_not_delivered() {
    let mut bench = bench(Config::new("A"));
    let publisher = bench.logon("p");
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, subscribe("1", "t", AckTypes::NONE));
    for sequence in [1, 2, 1, 2, 3] {
        bench.send(&publisher, publish("t", sequence));
    }
    assert_eq!(bench.lines(&mut subscriber).len(), 3);
}

#[test]
fn a_replay_completes_where_the_log_ended_and_goes_on_live_without_a_gap() {
    let mut bench = bench(Config::new("A"));
    let publisher = bench.logon("p");
    for sequence in [1, 2] {
        bench.send(&publisher, publish("t", sequence));
    }
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, subscribe("1", "t", AckType::Processed | AckType::Completed).text(Field::Bookmark, "0"));
    // Logged after the subscribe and before its replay: live, behind the ack.
    bench.send(&publisher, publish("t", 3));
    let p = |n| format!("p t bm={} sids=1 {{\"n\":{n}}}", bookmark("p", n));
    assert_eq!(
        bench.lines(&mut subscriber),
        ["ack processed cid=1".to_owned(), p(1), p(2), format!("ack completed cid=1 bm={}", bookmark("p", 2)), p(3)]
    );
    bench.send(&publisher, publish("t", 4));
    assert_eq!(bench.lines(&mut subscriber), [p(4)]);
}

#[test]
fn every_form_of_start() {
    let mut bench = bench(Config::new("A"));
    let (p, q) = (bench.logon("p"), bench.logon("q"));
    // Log: p1 q5 p2 q6
    for (wire, sequence) in [(&p, 1), (&q, 5), (&p, 2), (&q, 6)] {
        bench.send(wire, publish("t", sequence));
    }
    let unknown = bookmark("p", 99);
    for (start, options, expected) in [
        ("0".to_owned(), "", &[1, 5, 2, 6][..]),
        ("0|1|".to_owned(), "", &[]),
        (bookmark("p", 1), "", &[5, 2, 6]),
        (format!("{},{}", bookmark("p", 2), bookmark("q", 5)), "", &[2, 6]),
        (format!("{},{}", bookmark("p", 99), bookmark("p", 2)), "", &[6]),
        (unknown.clone(), "", &[]),
        (unknown.clone(), "bookmark_not_found=now", &[]),
        (unknown, "bookmark_not_found=epoch", &[1, 5, 2, 6]),
        ("0".to_owned(), "top_n=2", &[1, 5]),
    ] {
        let mut wire = bench.logon("s");
        bench.send(
            &wire,
            subscribe("1", "t", AckType::Completed).text(Field::Bookmark, &start).text(Field::Options, options),
        );
        let messages = bench.drain(&mut wire);
        let got: Vec<_> = messages.iter().filter_map(|m| Some(m.bookmark()?.sequence)).collect();
        let completed = messages.iter().filter(|m| m.ack_type() == Some(AckType::Completed)).count();
        assert_eq!(completed, 1, "{start} {options}");
        // The completed ack's own bookmark is the last.
        assert_eq!(&got[..got.len() - 1], expected, "{start} {options}");
    }
}

#[test]
fn a_subscription_that_cannot_be_is_refused() {
    let mut bench = bench(Config::new("A").topic_log([regex::Regex::new("^logged").unwrap()]));
    let mut wire = bench.logon("s");
    bench.send(&wire, subscribe("live", "t", AckTypes::NONE));
    for (id, topic, field, value, reason) in [
        ("1", "logged", Field::Bookmark, bookmark("p", 1), "bookmark not found"),
        ("2", "other", Field::Bookmark, "0".to_owned(), "invalid topic"),
        ("3", "logged", Field::Bookmark, "rubbish".to_owned(), "invalid bookmark"),
        ("4", "logged", Field::Bookmark, "[0:recent]".to_owned(), "invalid bookmark"),
        ("5", "logged", Field::Filter, "/a =".to_owned(), "bad filter"),
        ("6", "lo(", Field::Bookmark, "0".to_owned(), "bad regex topic"),
        ("7", "logged", Field::Options, "pause".to_owned(), "invalid sub id"),
        ("8", "logged", Field::Options, "rate=5".to_owned(), "invalid options"),
        ("live", "logged", Field::Bookmark, "0".to_owned(), "subid in use"),
    ] {
        let mut command = subscribe(id, topic, AckType::Processed).text(Field::Options, "bookmark_not_found=fail");
        command = command.text(field, value);
        bench.send(&wire, command);
        assert_eq!(bench.lines(&mut wire), [format!("ack processed cid={id} failure={reason}")]);
    }
}

#[test]
fn a_paused_bookmark_subscription_stays_where_it_is() {
    let mut bench = bench(Config::new("A"));
    let publisher = bench.logon("p");
    let mut wire = bench.logon("s");
    let from_epoch = |id: &str, options: &str| {
        subscribe(id, "t", AckType::Processed).text(Field::Bookmark, "0").text(Field::Options, options)
    };
    let flow = |id: &str, ids: &str, option: &str| {
        subscribe(id, "t", AckType::Processed).text(Field::SubscriptionId, ids).text(Field::Options, option)
    };
    bench.send(&wire, from_epoch("1", "pause"));
    bench.send(&wire, from_epoch("2", ""));
    bench.send(&wire, flow("a", "2", "pause"));
    bench.send(&publisher, publish("t", 1));
    let acks = ["1", "2", "a"].map(|id| format!("ack processed cid={id}"));
    assert_eq!(bench.lines(&mut wire), acks, "nothing but the answers");
    bench.send(&wire, flow("b", "1,2", "resume"));
    let lines = bench.lines(&mut wire);
    assert!(lines[1].contains("sids=1,2"), "one message for both: {lines:?}");
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn a_pause_that_cannot_be_is_refused_as_a_whole() {
    let mut bench = bench(Config::new("A"));
    let publisher = bench.logon("p");
    let mut wire = bench.logon("s");
    let enter = |id: &str, bookmark: &str, options: &str| {
        subscribe(id, "t", AckTypes::NONE).text(Field::Bookmark, bookmark).text(Field::Options, options)
    };
    bench.send(&wire, enter("book", "0", ""));
    bench.send(&wire, enter("live", "0", "live"));
    bench.send(&wire, enter("plain", "", ""));
    for (ids, reason) in
        [("book,gone", "invalid sub id"), ("book,live", "invalid options"), ("plain", "invalid options")]
    {
        let command = subscribe("c", "t", AckType::Processed).text(Field::SubscriptionId, ids);
        bench.send(&wire, command.text(Field::Options, "pause"));
        assert_eq!(bench.lines(&mut wire), [format!("ack processed cid=c failure={reason}")], "{ids}");
    }
    for options in ["resume", "live,pause"] {
        bench.send(&wire, enter("x", "0", options).acks(AckType::Processed));
        assert_eq!(bench.lines(&mut wire), ["ack processed cid=x failure=invalid options"], "{options}");
    }
    bench.send(&publisher, publish("t", 1));
    assert!(bench.lines(&mut wire).iter().any(|line| line.contains("sids=book,live")), "both go on");
}

#[test]
fn replace_takes_the_place_of_a_subscription() {
    let mut bench = bench(Config::new("A"));
    let publisher = bench.logon("p");
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, subscribe("1", "a", AckTypes::NONE));
    bench.send(&subscriber, subscribe("1", "b", AckTypes::NONE).text(Field::Options, "replace"));
    bench.send(&publisher, publish("a", 1));
    bench.send(&publisher, publish("b", 2));
    assert_eq!(bench.lines(&mut subscriber), ["p b sids=1 {\"n\":2}"]);
}

#[test]
fn a_regex_replay_leaves_out_what_is_not_logged_and_other_topics() {
    let mut bench = bench(Config::new("A").topic_log([regex::Regex::new("^fx/").unwrap()]));
    let publisher = bench.logon("p");
    for (topic, sequence) in [("fx/a", 1), ("plain", 2), ("fx/b", 3)] {
        bench.send(&publisher, publish(topic, sequence));
    }
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, subscribe("1", ".*", AckTypes::NONE).text(Field::Bookmark, "0"));
    bench.send(&subscriber, subscribe("2", "fx/b", AckTypes::NONE).text(Field::Bookmark, "0"));
    assert_eq!(
        bench.lines(&mut subscriber),
        [
            format!("p fx/a bm={} sids=1 {{\"n\":1}}", bookmark("p", 1)),
            format!("p fx/b bm={} sids=1,2 {{\"n\":3}}", bookmark("p", 3)),
        ]
    );
}

#[test]
fn a_replay_is_produced_as_the_connection_drains() {
    let mut bench = bench(Config::new("A"));
    let publisher = bench.logon("p");
    for sequence in 1..=1_000 {
        bench.send(&publisher, publish("t", sequence).body("x".repeat(1_000)));
    }
    let subscriber = bench.logon("s");
    bench.send(&subscriber, subscribe("1", "t", AckTypes::NONE).text(Field::Bookmark, "0"));
    let mut chunks = 0;
    while let Some(bytes) = bench.engine.poll_transmit(subscriber.id) {
        assert!(bytes.len() < 80_000, "{} bytes at once", bytes.len());
        chunks += 1;
    }
    assert!(chunks > 10);
}

#[test]
fn a_plain_subscriber_that_takes_nothing_is_closed_as_slow() {
    let mut config = Config::new("A");
    config.outbox_limit = 10_000;
    let mut bench = bench(config);
    let publisher = bench.logon("p");
    let subscriber = bench.logon("s");
    bench.send(&subscriber, subscribe("1", "t", AckTypes::NONE));
    for sequence in 1..=20 {
        bench.send(&publisher, publish("t", sequence).body("x".repeat(1_000)));
    }
    assert!(bench.engine.should_close(subscriber.id));
    assert_eq!(bench.engine.stats().disconnects[0].1, "slow client");
    assert!(!bench.engine.should_close(publisher.id));
}

#[test]
fn persisted_acks_tell_a_bookmark_subscription_a_position_it_has_been_sent() {
    let mut bench = bench(Config::new("A"));
    let publisher = bench.logon("p");
    bench.send(&publisher, publish("t", 1));
    bench.send(&publisher, publish("elsewhere", 2));
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, subscribe("1", "t", AckType::Persisted | AckType::Completed).text(Field::Bookmark, "0"));
    bench.pass(5 * SECOND);
    assert_eq!(
        bench.lines(&mut subscriber),
        [
            format!("p t bm={} sids=1 {{\"n\":1}}", bookmark("p", 1)),
            format!("ack completed cid=1 bm={}", bookmark("p", 2)),
        ],
        "nothing before it is sent, whatever time passes"
    );
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut subscriber), [format!("ack persisted cid=1 bm={}", bookmark("p", 2))]);
    bench.pass(5 * SECOND);
    assert_eq!(bench.lines(&mut subscriber), [""; 0], "only news");
    bench.send(&publisher, publish("elsewhere", 3));
    assert_eq!(bench.lines(&mut subscriber), [""; 0]);
    bench.pass(SECOND);
    assert_eq!(
        bench.lines(&mut subscriber),
        [format!("ack persisted cid=1 bm={}", bookmark("p", 3))],
        "it moves on with messages that do not match"
    );
}

#[test]
fn a_position_waits_for_a_subscriber_that_lags() {
    let mut bench = bench(Config::new("A"));
    let publisher = bench.logon("p");
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, subscribe("1", "t", AckType::Persisted).text(Field::Bookmark, "0"));
    assert_eq!(bench.lines(&mut subscriber), [""; 0]);
    bench.send(&publisher, publish("t", 1));
    bench.pass(5 * SECOND);
    assert_eq!(bench.lines(&mut subscriber), [format!("p t bm={} sids=1 {{\"n\":1}}", bookmark("p", 1))]);
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut subscriber), [format!("ack persisted cid=1 bm={}", bookmark("p", 1))]);
}

fn record(id: u64, value: u64) -> String {
    format!("{{\"id\":{id},\"v\":{value}}}")
}

fn sow(kind: CommandKind, topic: &str) -> Command {
    Command::new(kind).id("q").topic(topic).acks(AckType::Processed | AckType::Completed)
}

#[test]
fn a_query_answers_the_last_message_of_every_key_in_batches_between_markers() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    let publisher = bench.logon("p");
    for (sequence, id) in [(1, 1), (2, 2), (3, 3), (4, 2)] {
        bench.send(&publisher, publish("w", sequence).body(record(id, sequence)));
    }
    let mut wire = bench.logon("s");
    bench.send(&wire, sow(CommandKind::Sow, "w").number(Field::BatchSize, 2));
    let messages = bench.drain(&mut wire);
    let lines: Vec<_> = messages.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "ack processed cid=q query=q",
            "GroupBegin query=q",
            "Sow query=q bs=2",
            "Sow query=q bs=1",
            "GroupEnd query=q",
            "ack completed cid=q query=q"
        ]
    );
    let all: Vec<_> = messages[2..4].iter().flat_map(records).collect();
    let mut bodies: Vec<_> = all.iter().map(|r| String::from_utf8(r.data().to_vec()).unwrap()).collect();
    bodies.sort();
    assert_eq!(bodies, [record(1, 1), record(2, 4), record(3, 3)]);
    let key = all[0].sow_key().unwrap().into_owned();
    bench.send(&wire, sow(CommandKind::Sow, "w").text(Field::SowKeys, format!("{key},1")));
    let by_key: Vec<_> = bench.drain(&mut wire).iter().flat_map(records).collect();
    assert_eq!(by_key.len(), 1);
    assert_eq!(by_key[0].data(), all[0].data());
}

#[test]
fn a_query_without_result_still_has_its_markers_and_one_without_a_sow_is_refused() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    let mut wire = bench.logon("s");
    bench.send(&wire, sow(CommandKind::Sow, "w").text(Field::QueryId, "mine"));
    assert_eq!(bench.lines(&mut wire)[1..3], ["GroupBegin query=mine", "GroupEnd query=mine"]);
    for (topic, size, reason) in
        [("other", 1, "invalid topic"), ("w", 10_001, "invalid options"), ("w", 0, "invalid options")]
    {
        bench.send(&wire, sow(CommandKind::Sow, topic).number(Field::BatchSize, size));
        assert_eq!(bench.lines(&mut wire), [format!("ack processed cid=q failure={reason}")]);
    }
    bench.send(&wire, sow(CommandKind::SowAndSubscribe, "other"));
    assert_eq!(
        bench.lines(&mut wire),
        [
            "ack processed cid=q query=q".replace(" query=q", ""),
            "GroupBegin query=q".into(),
            "GroupEnd query=q".into(),
            "ack completed cid=q query=q".into()
        ]
    );
}

#[test]
fn a_query_and_subscribe_delivers_all_results_before_any_live_message() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    let publisher = bench.logon("p");
    for id in 1..=2_000 {
        bench.send(&publisher, publish("w", id).body(record(id, 0)));
    }
    let mut wire = bench.logon("s");
    bench.send(&wire, sow(CommandKind::SowAndSubscribe, "w").number(Field::BatchSize, 100));
    bench.send(&publisher, publish("w", 2_001).body(record(1, 1)));
    let messages = bench.drain(&mut wire);
    let results: usize =
        messages.iter().filter(|m| m.kind() == amps_core::message::MessageKind::Sow).flat_map(records).count();
    assert_eq!(results, 2_000);
    let last = messages.last().unwrap();
    assert_eq!(last.data(), record(1, 1).as_bytes());
    assert!(last.sow_key().is_some(), "live messages of a SOW topic carry the key");
    let lines: Vec<_> = messages.iter().map(line).collect();
    assert_eq!(lines[lines.len() - 3..lines.len() - 1], ["GroupEnd query=q", "ack completed cid=q query=q"]);
}

#[test]
fn the_sow_is_rebuilt_from_the_journal() {
    let journal = MemoryJournal::new();
    let config = || Config::new("A").sow("w", "/id");
    let mut first = bench_on(config(), journal.clone());
    let publisher = first.logon("p");
    for sequence in 1..=3 {
        first.send(&publisher, publish("w", sequence).body(record(1, sequence)));
    }
    let mut second = bench_on(config(), journal);
    let mut wire = second.logon("s");
    second.send(&wire, sow(CommandKind::Sow, "w"));
    let found: Vec<_> = second.drain(&mut wire).iter().flat_map(records).collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].data(), record(1, 3).as_bytes());
}

#[test]
fn a_message_without_its_key_is_refused() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    let mut publisher = bench.logon("p");
    bench.send(&publisher, publish("w", 1).body("{}"));
    assert_eq!(bench.lines(&mut publisher), ["ack persisted s=1 failure=bad sow key"]);
    assert!(bench.engine.log().is_empty());
}
