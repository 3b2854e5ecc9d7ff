//! Publishing: the sequence rule, conflated acks, failures.

mod common;

use std::time::Duration;

use amps_core::{AckType, AckTypes, Command, CommandKind, Field};
use amps_testserver::{Config, MemoryJournal, publisher_id};
use common::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_logon_ack_has_name_sequence_bookmark_and_version_in_the_documented_order() {
    let mut bench = bench(Config::new("A"));
    let wire = bench.connect();
    bench.send(&wire, logon("me"));
    let bytes = bench.engine.poll_transmit(wire.id).unwrap();
    let expected = format!(
        r#"{{"c":"ack","cid":"logon","s":0,"bm":"{}|0|","client_name":"me","a":"processed","status":"success","reason":"authentication disabled","version":"5.3.5.0.0"}}"#,
        publisher_id("me")
    );
    assert_eq!(std::str::from_utf8(&bytes[4..]).unwrap(), expected);
}

#[test]
fn persisted_acks_are_conflated_into_one_a_period() {
    let mut bench = bench(Config::new("A"));
    let mut wire = bench.logon("me");
    for sequence in [3, 5, 9] {
        bench.send(&wire, publish("t", sequence));
    }
    assert_eq!(bench.lines(&mut wire), [""; 0], "nothing before the period is over");
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=9"]);
    bench.pass(10 * SECOND);
    assert_eq!(bench.lines(&mut wire), [""; 0], "nothing new, no ack");
    bench.send(&wire, publish("t", 10));
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=10"]);
}

#[test]
fn the_period_is_an_option_of_the_logon() {
    let mut bench = bench(Config::new("A"));
    let mut wire = bench.connect();
    bench.send(&wire, logon("me").text(Field::Options, "pretty,ack_conflation=20ms"));
    bench.drain(&mut wire);
    bench.send(&wire, publish("t", 1));
    bench.pass(Duration::from_millis(19));
    assert_eq!(bench.lines(&mut wire), [""; 0]);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=1"]);
}

#[test]
fn at_or_below_the_highest_seen_is_dropped_and_covered_by_the_next_ack() {
    let mut bench = bench(Config::new("A"));
    let wire = bench.logon("me");
    for sequence in [2, 5] {
        bench.send(&wire, publish("t", sequence));
    }
    bench.engine.closed(bench.now, wire.id);
    let mut wire = bench.logon("me");
    for sequence in [1, 2, 3, 5] {
        bench.send(&wire, publish("t", sequence));
    }
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=5"], "a replay of duplicates only is acknowledged too");
    assert_eq!(bench.sequences("me"), [2, 5]);
    assert_eq!(bench.engine.stats().duplicates["me"], 4);
    let other = bench.logon("other");
    bench.send(&other, publish("t", 1));
    assert_eq!(bench.sequences("other"), [1], "the rule is per publisher");
}

#[test]
fn a_failure_sends_success_before_it_at_once_and_later_ones_continue() {
    let mut bench = bench(Config::new("A"));
    let mut wire = bench.logon("me");
    bench.engine.with_faults(bench.now, |faults| faults.reject_sequence(24, "not entitled"));
    for sequence in 21..=28 {
        bench.send(&wire, publish("t", sequence));
    }
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=23", "ack persisted s=24 failure=not entitled"]);
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=28"]);
    assert_eq!(bench.sequences("me"), [21, 22, 23, 25, 26, 27, 28]);
}

#[test]
fn without_a_sequence_another_publisher_id_and_the_servers_numbers() {
    let mut bench = bench(Config::new("A"));
    let mut wire = bench.logon("me");
    let unsequenced = || Command::new(CommandKind::Publish).topic("t").acks(AckType::Persisted).id("p1").body("x");
    bench.send(&wire, unsequenced());
    assert_eq!(bench.lines(&mut wire), ["ack persisted cid=p1"]);
    bench.send(&wire, unsequenced());
    let log = bench.engine.log();
    assert_ne!(log[0].publisher, publisher_id("me"));
    assert_eq!(log[0].publisher, log[1].publisher);
    assert!(log[0].sequence < log[1].sequence);
    bench.engine.closed(bench.now, wire.id);
    assert_eq!(bench.logon_sequence("me"), 0);
}

#[test]
fn without_a_transaction_log_every_publish_is_acknowledged_by_itself() {
    let mut bench = bench(Config::new("A").topic_log([]));
    let mut wire = bench.logon("me");
    bench.send(&wire, publish("t", 1).id("p1"));
    bench.send(&wire, publish("t", 2).id("p2"));
    assert_eq!(bench.lines(&mut wire), ["ack persisted cid=p1 s=1", "ack persisted cid=p2 s=2"]);
    assert!(bench.engine.log().is_empty());
}

#[test]
fn a_topic_that_is_not_logged_is_still_acknowledged() {
    let mut bench = bench(Config::new("A").topic_log([regex("^logged")]));
    let mut wire = bench.logon("me");
    bench.send(&wire, publish("logged", 1));
    bench.send(&wire, publish("other", 2));
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=2"]);
    assert_eq!(bench.sequences("me"), [1]);
    bench.send(&wire, publish("logged", 2));
    assert_eq!(bench.sequences("me"), [1], "seen is seen, logged or not");
}

#[test]
fn processed_and_completed_acks_echo_the_command_id() {
    let mut bench = bench(Config::new("A"));
    let mut wire = bench.logon("me");
    bench.send(&wire, publish("t", 4).id("7").acks(AckType::Processed | AckType::Completed));
    assert_eq!(bench.lines(&mut wire), ["ack processed cid=7 s=4", "ack completed cid=7 s=4"]);
    bench.send(&wire, publish("t", 5).acks(AckTypes::NONE));
    bench.pass(2 * SECOND);
    assert_eq!(bench.lines(&mut wire), [""; 0], "no ack unless asked");
}

#[test]
fn flush_answers_behind_the_acks_of_what_came_before() {
    let mut bench = bench(Config::new("A"));
    let mut wire = bench.logon("me");
    bench.send(&wire, publish("t", 1));
    bench.send(
        &wire,
        Command::new(CommandKind::Flush).id("f").acks(AckType::Processed | AckType::Completed | AckType::Persisted),
    );
    assert_eq!(
        bench.lines(&mut wire),
        ["ack processed cid=f", "ack completed cid=f", "ack persisted s=1", "ack persisted cid=f"]
    );
}

#[test]
fn a_restart_keeps_what_was_logged() {
    let journal = MemoryJournal::new();
    let mut first = bench_on(Config::new("A"), journal.clone());
    let wire = first.logon("me");
    first.send(&wire, publish("t", 7));
    drop(first);
    let mut second = bench_on(Config::new("A"), journal);
    assert_eq!(second.sequences("me"), [7]);
    assert_eq!(second.logon_sequence("me"), 7);
    let wire = second.logon("me");
    second.send(&wire, publish("t", 7));
    second.send(&wire, publish("t", 8));
    assert_eq!(second.sequences("me"), [7, 8]);
}

#[test]
fn a_full_log_refuses_and_says_so() {
    let mut config = Config::new("A");
    config.log_limit = 10;
    let mut bench = bench(config);
    let mut wire = bench.logon("me");
    bench.send(&wire, publish("t", 1));
    bench.send(&wire, publish("t", 2));
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=1", "ack persisted s=2 failure=transaction log full"]);
}

fn regex(pattern: &str) -> regex::Regex {
    regex::Regex::new(pattern).unwrap()
}
