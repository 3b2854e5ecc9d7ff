//! Every fault does what it says, and ends when it is switched off.

mod common;

use std::time::Duration;

use amps_core::message::MessageKind;
use amps_core::{AckType, Command, CommandKind, Field};
use amps_testserver::{Config, Faults, Target};
use bytes::BytesMut;
use common::*;

const SECOND: Duration = Duration::from_secs(1);

fn fault(bench: &mut Bench, change: impl FnOnce(&mut Faults)) {
    bench.engine.with_faults(bench.now, change);
}

#[test]
fn the_connection_is_cut_behind_every_nth_message() {
    let mut bench = bench(Config::new("A"));
    fault(&mut bench, |faults| faults.cut_every_messages(Some(3)));
    for start in [1, 4] {
        let wire = bench.logon("p");
        let mut bytes = BytesMut::new();
        for sequence in start..start + 5 {
            publish("t", sequence).encode(&mut bytes);
        }
        bench.engine.receive(bench.now, wire.id, &bytes);
        assert!(bench.engine.should_close(wire.id));
        assert_eq!(bench.engine.poll_transmit(wire.id), None);
        assert_eq!(bench.sequences("p").last(), Some(&(start + 2)));
        bench.engine.closed(bench.now, wire.id);
    }
}

#[test]
fn a_cut_after_bytes_received_is_exact_and_happens_once() {
    let mut bytes = BytesMut::new();
    logon("p").encode(&mut bytes);
    let first = bytes.len();
    publish("t", 1).encode(&mut bytes);
    for at in 0..=bytes.len() {
        let mut bench = bench(Config::new("A"));
        fault(&mut bench, |faults| faults.cut_after_received(Target::All, at as u64));
        let wire = bench.connect();
        bench.engine.receive(bench.now, wire.id, &bytes);
        assert!(bench.engine.should_close(wire.id));
        assert_eq!(bench.engine.stats().logons, u64::from(at >= first), "at {at}");
        assert_eq!(bench.engine.log().len(), usize::from(at == bytes.len()), "at {at}");
        let second = bench.connect();
        bench.engine.receive(bench.now, second.id, &bytes);
        assert!(!bench.engine.should_close(second.id), "once");
    }
}

#[test]
fn a_cut_after_bytes_sent_is_exact_even_inside_a_frame() {
    for at in [1, 50, 200, 70_000] {
        let mut bench = bench(Config::new("A"));
        let publisher = bench.logon("p");
        for sequence in 1..=100 {
            bench.send(&publisher, publish("t", sequence).body("x".repeat(1_000)));
        }
        fault(&mut bench, |faults| faults.cut_after_sent(Target::Client("s".into()), at));
        let wire = bench.connect();
        bench.send(&wire, logon("s"));
        bench.send(&wire, subscribe("1", "t", AckType::Processed).text(Field::Bookmark, "0"));
        let mut sent = 0;
        while let Some(bytes) = bench.engine.poll_transmit(wire.id) {
            sent += bytes.len() as u64;
        }
        assert_eq!(sent, at);
        assert!(bench.engine.should_close(wire.id));
    }
}

#[test]
fn a_connection_that_is_not_read_loses_nothing() {
    let mut bench = bench(Config::new("A"));
    let mut wire = bench.logon("p");
    fault(&mut bench, |faults| faults.stop_reading(Target::Client("p".into()), true));
    assert!(!bench.engine.wants_read(wire.id));
    bench.send(&wire, publish("t", 1));
    assert!(bench.engine.log().is_empty());
    fault(&mut bench, |faults| faults.stop_reading(Target::Client("p".into()), false));
    assert!(bench.engine.wants_read(wire.id));
    assert_eq!(bench.sequences("p"), [1]);
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=1"]);
}

#[test]
fn a_half_open_connection_is_silent_and_stays() {
    let mut bench = bench(Config::new("A"));
    let mut wire = bench.logon("p");
    bench.send(&wire, Command::new(CommandKind::Heartbeat).text(Field::Options, "start,1"));
    fault(&mut bench, |faults| faults.half_open(Target::All, true));
    bench.send(&wire, publish("t", 1));
    bench.pass(60 * SECOND);
    assert_eq!(bench.lines(&mut wire), [""; 0]);
    assert!(!bench.engine.should_close(wire.id));
    let mut new = bench.connect();
    bench.send(&new, logon("q"));
    assert_eq!(bench.lines(&mut new), [""; 0]);
    fault(&mut bench, |faults| faults.half_open(Target::All, false));
    assert_eq!(bench.lines(&mut new).len(), 1);
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=1"]);
}

#[test]
fn accepting_and_nothing_else() {
    let mut bench = bench(Config::new("A"));
    fault(&mut bench, |faults| faults.accept_then_close(true));
    let closed = bench.connect();
    assert!(bench.engine.should_close(closed.id));
    fault(&mut bench, Faults::clear);
    fault(&mut bench, |faults| faults.accept_then_silence(true));
    let mut silent = bench.connect();
    fault(&mut bench, Faults::clear);
    bench.send(&silent, logon("p"));
    assert_eq!(bench.lines(&mut silent), [""; 0]);
    fault(&mut bench, |faults| faults.silence_at_logon(true));
    let mut at_logon = bench.connect();
    bench.send(&at_logon, logon("p"));
    assert_eq!(bench.lines(&mut at_logon), [""; 0]);
    assert!(!bench.engine.should_close(at_logon.id));
    assert_eq!(bench.engine.stats().logons, 0);
    fault(&mut bench, Faults::clear);
    bench.logon("p");
}

#[test]
fn a_refused_logon_is_told_why_and_closed() {
    let mut bench = bench(Config::new("A"));
    fault(&mut bench, |faults| faults.refuse_logon(Some("not entitled")));
    let mut wire = bench.connect();
    bench.send(&wire, logon("p"));
    assert!(!bench.engine.should_close(wire.id), "the answer goes out first");
    assert_eq!(bench.lines(&mut wire), ["ack processed cid=logon failure=not entitled"]);
    assert!(bench.engine.should_close(wire.id));
}

#[test]
fn acks_come_later_or_not_at_all_and_go_on_afterwards() {
    let mut bench = bench(Config::new("A"));
    let mut wire = bench.logon("p");
    fault(&mut bench, |faults| faults.delay_acks(5 * SECOND));
    bench.send(&wire, publish("t", 1));
    bench.pass(5 * SECOND);
    assert_eq!(bench.lines(&mut wire), [""; 0]);
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=1"]);
    fault(&mut bench, |faults| {
        faults.delay_acks(Duration::ZERO);
        faults.withhold_acks(true);
    });
    bench.send(&wire, publish("t", 2));
    bench.send(&wire, Command::new(CommandKind::Flush).id("f").acks(AckType::Persisted));
    bench.pass(60 * SECOND);
    assert_eq!(bench.lines(&mut wire), [""; 0]);
    fault(&mut bench, |faults| faults.withhold_acks(false));
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=2", "ack persisted cid=f"]);
}

#[test]
fn rejected_writes_by_topic_sequence_and_rule() {
    let mut bench = bench(Config::new("A"));
    let mut wire = bench.logon("p");
    fault(&mut bench, |faults| faults.reject_topic("bad", "not entitled"));
    bench.send(&wire, publish("bad", 1));
    bench.send(&wire, publish("good", 2));
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=1 failure=not entitled"]);
    fault(&mut bench, |faults| {
        faults.reject_writes(|_, _, body| body.ends_with(b"3}").then(|| "no threes".to_owned()));
    });
    bench.send(&wire, publish("bad", 3));
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=2", "ack persisted s=3 failure=no threes"]);
    fault(&mut bench, Faults::accept_writes);
    bench.send(&wire, publish("bad", 4));
    assert_eq!(bench.sequences("p"), [2, 4]);
}

#[test]
fn a_kind_of_command_is_ignored_or_refused() {
    let mut bench = bench(Config::new("A"));
    let mut wire = bench.logon("p");
    fault(&mut bench, |faults| {
        faults.ignore(MessageKind::Flush, true);
        faults.refuse(MessageKind::Heartbeat, Some("not today"));
    });
    bench.send(&wire, Command::new(CommandKind::Flush).id("f").acks(AckType::Completed));
    let beat = || Command::new(CommandKind::Heartbeat).id("h").text(Field::Options, "start,5").acks(AckType::Processed);
    bench.send(&wire, beat());
    assert_eq!(bench.lines(&mut wire), ["ack processed cid=h failure=not today"]);
    fault(&mut bench, |faults| {
        faults.ignore(MessageKind::Flush, false);
        faults.refuse(MessageKind::Heartbeat, None);
    });
    bench.send(&wire, Command::new(CommandKind::Flush).id("f").acks(AckType::Completed));
    bench.send(&wire, beat());
    assert_eq!(bench.lines(&mut wire), ["ack completed cid=f", "ack processed cid=h"]);
}

#[test]
fn raw_bytes_reach_the_client_and_a_kick_ends_it() {
    let mut bench = bench(Config::new("A"));
    let wire = bench.logon("p");
    assert!(bench.engine.inject(bench.now, "p", b"\xff\xff\xff\xff"));
    assert_eq!(bench.engine.poll_transmit(wire.id).unwrap(), &b"\xff\xff\xff\xff"[..]);
    assert!(bench.engine.kick(bench.now, "p"));
    assert!(bench.engine.should_close(wire.id));
    assert!(!bench.engine.kick(bench.now, "p"));
    assert!(!bench.engine.inject(bench.now, "p", b"x"));
}
