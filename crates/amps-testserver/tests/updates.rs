//! What becomes of updates: paced, in pages, in aggregates.

mod common;

use std::time::Duration;

use amps_core::{AckType, AckTypes, Command, CommandKind, Field};
use amps_testserver::{Config, MemoryJournal, QueueConfig};
use common::*;

const MS: Duration = Duration::from_millis(1);

fn config() -> Config {
    let mut config = Config::new("A").sow("w", "/id").queue(QueueConfig::new("q"));
    config.wall_clock = Duration::from_secs(1_767_608_130);
    config
}

fn with(options: &str) -> Command {
    subscribe("s", "w", AckTypes::NONE).text(Field::Options, options)
}

/// When each message of a replay comes, in milliseconds.
fn times(rate: &str) -> Vec<(u64, u64)> {
    let mut bench = bench(config());
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    for sequence in 1..=4 {
        bench.send(&publisher, record("w", sequence, &format!("{{\"id\":{sequence}}}{}", " ".repeat(100 - 8))));
        bench.pass(Duration::from_millis(100 * sequence));
    }
    bench.send(&reader, with(rate).text(Field::Bookmark, "0"));
    let mut times = Vec::new();
    for ms in 0..2_000 {
        let sequences = bench.drain(&mut reader);
        times.extend(sequences.iter().filter_map(|message| Some((message.bookmark()?.sequence, ms))));
        bench.pass(MS);
    }
    times
}

#[test]
fn a_replay_goes_at_its_rate() {
    assert_eq!(times("rate=4"), [(1, 0), (2, 250), (3, 500), (4, 750)]);
    assert_eq!(times("rate=1KB"), [(1, 0), (2, 100), (3, 200), (4, 300)]);
    assert_eq!(times("rate=1X"), [(1, 0), (2, 100), (3, 300), (4, 600)]);
    assert_eq!(times("rate=2X,rate_max_gap=60ms"), [(1, 0), (2, 50), (3, 110), (4, 170)]);
    assert_eq!(times("rate=1000"), [(1, 0), (2, 1), (3, 2), (4, 3)]);
}

#[test]
fn what_is_published_behind_a_replay_with_a_rate_comes_at_once() {
    let mut bench = bench_on(config(), MemoryJournal::new());
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    bench.send(&publisher, record("w", 1, r#"{"id":1}"#));
    bench.send(&reader, with("rate=1").text(Field::Bookmark, "0"));
    for sequence in 2..=4 {
        bench.send(&publisher, record("w", sequence, r#"{"id":1}"#));
    }
    assert_eq!(told(&bench.drain(&mut reader)).len(), 4);
}

/// Ten records, `v` from 0 to 9.
fn filled() -> (Bench, Wire, Wire) {
    let mut bench = bench(config());
    let (publisher, reader) = (bench.logon("p"), bench.logon("r"));
    for id in 0..10 {
        bench.send(&publisher, record("w", id + 1, &format!(r#"{{"id":{id},"v":{id}}}"#)));
    }
    (bench, publisher, reader)
}

fn page(options: &str) -> Command {
    Command::new(CommandKind::SowAndSubscribe)
        .id("c")
        .topic("w")
        .text(Field::SubscriptionId, "s")
        .number(Field::BatchSize, 10)
        .text(Field::OrderBy, "/v DESC")
        .text(Field::Options, options)
}

#[test]
fn a_page_follows_its_records() {
    let (mut bench, publisher, mut reader) = filled();
    bench.send(&reader, page("top_n=3,skip_n=1,oof"));
    let body = |id: u64, v: u64| format!(r#"{{"id":{id},"v":{v}}}"#);
    let plus = |id, v| format!("+{}", body(id, v));
    assert_eq!(told(&bench.drain(&mut reader)), [plus(8, 8), plus(7, 7), plus(6, 6)]);
    let mut sequence = 10;
    let mut after = |bench: &mut Bench, reader: &mut Wire, command: Command| {
        sequence += 1;
        bench.send(&publisher, command.number(Field::Sequence, sequence));
        told(&bench.drain(reader))
    };
    let publish = |id, v| Command::new(CommandKind::Publish).topic("w").body(body(id, v));
    let delete = |id| Command::new(CommandKind::SowDelete).topic("w").body(body(id, 0));
    // Within the page, outside of it, into it, out of it.
    assert_eq!(after(&mut bench, &mut reader, publish(7, 7)), [body(7, 7)]);
    assert!(after(&mut bench, &mut reader, publish(1, 2)).is_empty());
    let left = |id, v| format!("-match {}", body(id, v));
    assert_eq!(after(&mut bench, &mut reader, publish(0, 10)), [left(6, 6), body(9, 9)]);
    assert_eq!(after(&mut bench, &mut reader, publish(8, 0)), [left(8, 0), body(6, 6)]);
    assert_eq!(after(&mut bench, &mut reader, delete(9)), [format!("-deleted {}", body(9, 9)), body(5, 5)]);
    assert_eq!(after(&mut bench, &mut reader, delete(0)), [left(7, 7), body(4, 4)]);

    // The next page: what it has not shown, and what is not in it.
    bench.send(&reader, page("top_n=3,skip_n=2,oof,replace"));
    assert_eq!(told(&bench.drain(&mut reader)), [left(6, 6), plus(3, 3)]);
    assert_eq!(after(&mut bench, &mut reader, publish(5, 1)), [left(5, 1), body(2, 2)]);
}

#[test]
fn a_page_without_an_order_is_one_by_key_and_of_deltas_too() {
    let (mut bench, publisher, mut reader) = filled();
    let command = Command::new(CommandKind::SowAndDeltaSubscribe).id("s").topic("w").number(Field::BatchSize, 10);
    bench.send(&reader, command.text(Field::Options, "top_n=10,skip_n=0").text(Field::Filter, "/v < 5"));
    assert_eq!(told(&bench.drain(&mut reader)).len(), 5);
    bench.send(&publisher, record("w", 11, r#"{"id":1,"v":2,"x":1}"#));
    assert_eq!(told(&bench.drain(&mut reader)), [r#"{"id":1,"v":2,"x":1}"#]);
    bench.send(&publisher, record("w", 12, r#"{"id":1,"v":2,"x":2}"#));
    assert_eq!(told(&bench.drain(&mut reader)), [r#"{"id":1,"x":2}"#]);
    bench.send(&publisher, record("w", 13, r#"{"id":9,"v":0}"#));
    assert_eq!(told(&bench.drain(&mut reader)), [r#"{"id":9,"v":0}"#], "new in the page: all of it");
}

const TOTALS: &str = "projection=[/c,SUM(/v) AS /total,COUNT(/v) AS /n],grouping=[/c]";

#[test]
fn aggregates_are_queried_and_followed() {
    let mut bench = bench(config());
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    for (sequence, body) in
        [(1, r#"{"id":1,"c":"a","v":1}"#), (2, r#"{"id":2,"c":"a","v":2}"#), (3, r#"{"id":3,"c":"b","v":3}"#)]
    {
        bench.send(&publisher, record("w", sequence, body));
    }
    let query = |kind| Command::new(kind).id("s").topic("w").number(Field::BatchSize, 10).text(Field::OrderBy, "/c");
    let totals = |kind: CommandKind, more: &str| query(kind).text(Field::Options, format!("{TOTALS}{more}"));
    let both = [r#"+{"c":"a","n":2,"total":3}"#, r#"+{"c":"b","n":1,"total":3}"#];
    bench.send(&reader, totals(CommandKind::Sow, "").acks(AckType::Stats));
    let messages = bench.drain(&mut reader);
    assert_eq!(told(&messages), both);
    assert_eq!(messages.last().unwrap().number(Field::RecordsReturned), Some(2));
    bench.send(&reader, totals(CommandKind::Sow, ",top_n=1,skip_n=1"));
    assert_eq!(told(&bench.drain(&mut reader)), both[1..]);
    bench.send(&reader, totals(CommandKind::SowAndSubscribe, ",oof").text(Field::Filter, "/v != 9"));
    assert_eq!(told(&bench.drain(&mut reader)), both);
    bench.send(&publisher, record("w", 4, r#"{"id":2,"c":"b","v":4}"#));
    assert_eq!(told(&bench.drain(&mut reader)), [r#"{"c":"a","n":1,"total":1}"#, r#"{"c":"b","n":2,"total":7}"#]);
    bench.send(&publisher, record("w", 5, r#"{"id":1,"c":"a","v":9}"#));
    assert_eq!(told(&bench.drain(&mut reader)), [r#"-deleted {"c":"a","n":1,"total":1}"#], "the group is empty");
    bench.send(&publisher, record("w", 6, r#"{"id":2,"c":"b","v":4}"#));
    assert!(told(&bench.drain(&mut reader)).is_empty(), "nothing changed");

    let mut deltas = bench.logon("d");
    bench.send(&deltas, totals(CommandKind::SowAndDeltaSubscribe, ""));
    bench.drain(&mut deltas);
    bench.send(&publisher, record("w", 7, r#"{"id":2,"c":"b","v":5}"#));
    assert_eq!(told(&bench.drain(&mut deltas)), [r#"{"c":"b","total":8}"#], "with what says which group it is");
}

/// Messages of the same time too have an order.
#[test]
fn a_field_that_is_not_aggregated_is_that_of_the_last_message() {
    let mut bench = bench(config());
    let (publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
    for sequence in 1..=16 {
        let id = sequence % 8;
        bench.send(&publisher, record("w", sequence, &format!(r#"{{"id":{id},"c":"a","v":{sequence}}}"#)));
        let query = Command::new(CommandKind::Sow).id("q").topic("w");
        bench.send(&reader, query.text(Field::Options, "projection=[/v AS /last],grouping=[/c]"));
        assert_eq!(told(&bench.drain(&mut reader)), [format!(r#"+{{"last":{sequence}}}"#)]);
    }
}

/// What it is now, its user may not see.
#[test]
fn a_record_that_is_hidden_leaves_its_page_as_it_was() {
    let (mut bench, publisher, mut reader) = filled();
    bench.engine.with_faults(bench.now, |faults| {
        faults.entitle_content(|_, access, _| {
            (access == amps_testserver::Access::Read).then(|| "/secret IS NULL".parse().unwrap())
        });
    });
    bench.send(&reader, page("top_n=2,skip_n=0,oof"));
    bench.drain(&mut reader);
    bench.send(&publisher, record("w", 11, r#"{"id":9,"v":9,"secret":1}"#));
    assert_eq!(told(&bench.drain(&mut reader)), [r#"-entitlement {"id":9,"v":9}"#, r#"{"id":7,"v":7}"#]);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let (mut bench, _publisher, mut reader) = filled();
    let sow = |kind| Command::new(kind).id("x").topic("w").acks(AckType::Processed);
    let both = || sow(CommandKind::SowAndSubscribe);
    let plain = |topic: &str| subscribe("x", topic, AckType::Processed);
    for (command, options) in [
        (plain("w"), "conflation=0"),
        (plain("w"), "conflation=soon"),
        (plain("w"), "conflation_key=[/a]"),
        (plain("w"), "conflation=1s,conflation_key=[a]"),
        (plain("w"), "conflation=1s,conflation_key=[/a],oof"),
        (plain("plain"), "conflation=1s"),
        (plain("q"), "conflation=1s,conflation_key=[/a]"),
        (plain("w"), "rate=5"),
        (plain("w").text(Field::Bookmark, "0"), "rate=0"),
        (plain("w").text(Field::Bookmark, "0"), "rate=5,live"),
        (plain("w").text(Field::Bookmark, "0"), "rate_max_gap=1s"),
        (plain("w"), TOTALS),
        (plain("w"), "top_n=1,skip_n=1"),
        (both(), "skip_n=1"),
        (both().topic("^w"), "top_n=1,skip_n=1"),
        (both().text(Field::Bookmark, "0|1|"), "top_n=1,skip_n=1"),
        (both(), "top_n=1,skip_n=1,conflation=1s"),
        (both().topic("^w"), TOTALS),
        (both(), "projection=[/c]"),
        (both(), "projection=[MEDIAN(/c) AS /m],grouping=[/c]"),
        (both(), "projection=[/c],grouping=[/c],select=[+/c]"),
        (sow(CommandKind::Sow), "top_n=1,skip_n=1"),
    ] {
        bench.send(&reader, command.text(Field::Options, options));
        assert_eq!(bench.lines(&mut reader), ["ack processed cid=x failure=invalid options"], "{options}");
    }
    // Only records are in pages and aggregates.
    for options in [TOTALS, "top_n=1,skip_n=0"] {
        bench.send(&reader, both().topic("plain").text(Field::Options, options));
        assert_eq!(bench.lines(&mut reader), ["ack processed cid=x failure=invalid topic"], "{options}");
    }
    // A page stays a page of its topic, and aggregates stay what they are.
    bench.send(&reader, page("top_n=3,skip_n=1"));
    let totals = Command::new(CommandKind::SowAndSubscribe).id("t").topic("w").text(Field::Options, TOTALS);
    bench.send(&reader, totals);
    bench.drain(&mut reader);
    let replace = |id: &str, options: &str| {
        both().text(Field::SubscriptionId, id).text(Field::Options, format!("replace,{options}"))
    };
    for command in [
        replace("s", "oof"),
        replace("s", "top_n=1,skip_n=1").topic("w2"),
        replace("t", "projection=[/c],grouping=[/c]"),
        replace("t", TOTALS).text(Field::Filter, "/v > 1"),
    ] {
        bench.send(&reader, command);
        assert_eq!(bench.lines(&mut reader), ["ack processed cid=x failure=invalid options"]);
    }
}
