//! Logon, names, heartbeats, and what closes a connection.

mod common;

use std::time::Duration;

use amps_core::message::MessageKind;
use amps_core::{AckType, AckTypes, Command, CommandKind, Field, Status};
use amps_testserver::{Access, Config, MessageType};
use common::*;

const SECOND: Duration = Duration::from_secs(1);

fn heartbeat(options: &str) -> Command {
    Command::new(CommandKind::Heartbeat).id("h").text(Field::Options, options)
}

#[test]
fn the_same_user_takes_a_name_over_and_another_user_is_refused() {
    let mut bench = bench(Config::new("A"));
    let first = bench.logon("me");
    let mut second = bench.logon("me");
    assert!(bench.engine.should_close(first.id), "the old connection is dropped");
    let mut other = bench.connect();
    bench.send(&other, logon("me").text(Field::UserId, "somebody"));
    assert_eq!(bench.lines(&mut other), ["ack processed cid=logon failure=name in use"]);
    assert!(bench.engine.should_close(other.id));
    bench.send(&second, publish("t", 1));
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut second), ["ack persisted s=1"]);
}

#[test]
fn a_dropped_holder_does_not_free_the_name_of_its_successor() {
    let mut bench = bench(Config::new("A"));
    let first = bench.logon("me");
    let second = bench.logon("me");
    bench.engine.closed(bench.now, first.id);
    let third = bench.logon("me");
    assert!(bench.engine.should_close(second.id));
    assert!(!bench.engine.should_close(third.id));
}

#[test]
fn without_a_transaction_log_names_are_not_enforced() {
    let mut bench = bench(Config::new("A").topic_log([]));
    let first = bench.logon("me");
    bench.logon("me");
    assert!(!bench.engine.should_close(first.id));
}

#[test]
fn the_first_command_must_be_a_logon_and_only_the_first() {
    let mut bench = bench(Config::new("A"));
    let wire = bench.connect();
    bench.send(&wire, publish("t", 1).acks(AckTypes::NONE));
    assert!(bench.engine.should_close(wire.id));
    let mut asks = bench.connect();
    bench.send(&asks, publish("t", 1));
    assert_eq!(bench.lines(&mut asks), ["ack persisted s=1 failure=not logged on"]);
    assert!(bench.engine.should_close(asks.id));
    assert!(bench.engine.log().is_empty());
    assert_eq!(bench.engine.stats().violations.len(), 2);
    let mut wire = bench.logon("me");
    bench.send(&wire, logon("me"));
    assert_eq!(
        bench.lines(&mut wire),
        ["ack processed cid=logon s=0 failure=duplicate logon attempt".replace(" s=0", "")]
    );
}

/// A connection names its message type at logon (AMPS User Guide, "Configuring
/// Transports").
#[test]
fn a_message_type_that_is_not_there_is_refused() {
    for (name, refused) in [("json", false), ("msgpack", false), ("", false), ("no-such-type", true)] {
        let mut bench = bench(Config::new("A"));
        let mut wire = bench.connect();
        bench.send(&wire, logon("me").text(Field::MessageType, name));
        assert!(!bench.engine.should_close(wire.id), "{name}: the answer comes first");
        let answer = bench.lines(&mut wire);
        assert_eq!(answer[0].contains("failure=message type not found"), refused, "{name}: {answer:?}");
        assert_eq!(bench.engine.should_close(wire.id), refused, "{name}");
    }
    let parts = MessageType::CompositeLocal(vec![MessageType::Json, MessageType::Binary]);
    let mut bench = bench(Config::new("A").message_type("t", parts));
    let wire = bench.connect();
    bench.send(&wire, logon("me").text(Field::MessageType, "json-and-binary"));
    assert!(!bench.engine.should_close(wire.id), "what composite types are called is for the configuration to say");
}

#[test]
fn unknown_and_malformed_commands_close_the_connection() {
    for header in [
        r#"{"c":"explode"}"#,
        r#"{"c":"ack"}"#,
        r#"{"c":"p","s":1}"#,
        r#"{"c":"p","t":"x","s":-1}"#,
        r#"{"c":"p","t":"x""#,
        r#"{"t":"x"}"#,
        "no header",
        r#"{"c":"subscribe","cid":"1"}"#,
        r#"{"c":"replica","t":"x"}"#,
    ] {
        let mut bench = bench(Config::new("A"));
        let wire = bench.logon("me");
        bench.send_raw(&wire, header);
        assert!(bench.engine.should_close(wire.id), "{header}");
        assert_eq!(bench.engine.poll_transmit(wire.id), None);
        assert_eq!(bench.engine.stats().violations.len(), 1, "{header}");
        assert!(bench.engine.log().is_empty(), "{header}");
    }
}

#[test]
fn a_length_over_the_limit_closes_the_connection() {
    let mut bench = bench(Config::new("A"));
    let wire = bench.logon("me");
    bench.engine.receive(bench.now, wire.id, &[0xff; 8]);
    assert!(bench.engine.should_close(wire.id));
}

#[test]
fn frames_may_arrive_in_any_pieces() {
    let mut bench = bench(Config::new("A"));
    let wire = bench.logon("me");
    let mut bytes = bytes::BytesMut::new();
    publish("t", 1).encode(&mut bytes);
    publish("t", 2).encode(&mut bytes);
    for byte in &bytes[..] {
        bench.engine.receive(bench.now, wire.id, &[*byte]);
    }
    assert_eq!(bench.sequences("me"), [1, 2]);
}

#[test]
fn heartbeats_go_out_only_when_idle_and_silence_of_two_intervals_closes() {
    let mut bench = bench(Config::new("A"));
    let mut wire = bench.logon("me");
    bench.pass(100 * SECOND);
    assert_eq!(bench.lines(&mut wire), [""; 0], "off until asked for");
    bench.send(&wire, heartbeat("start,5").acks(AckType::Processed));
    assert_eq!(bench.lines(&mut wire), ["ack processed cid=h"]);
    bench.pass(5 * SECOND);
    assert_eq!(bench.lines(&mut wire), ["Heartbeat"]);
    bench.send(&wire, heartbeat("beat"));
    bench.pass(3 * SECOND);
    bench.send(&wire, Command::new(CommandKind::Flush).id("f").acks(AckType::Processed));
    assert_eq!(bench.lines(&mut wire), ["ack processed cid=f"]);
    bench.pass(4 * SECOND);
    assert_eq!(bench.lines(&mut wire), [""; 0], "other traffic counts");
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["Heartbeat"]);
    bench.pass(4 * SECOND);
    assert!(!bench.engine.should_close(wire.id));
    bench.pass(SECOND);
    assert!(bench.engine.should_close(wire.id), "ten seconds without a word");
    assert_eq!(bench.engine.stats().disconnects.back().unwrap().1, "heartbeat");
}

#[test]
fn heartbeats_do_not_pile_up_for_a_client_that_does_not_read() {
    let mut bench = bench(Config::new("A"));
    let mut wire = bench.logon("me");
    bench.send(&wire, heartbeat("start,1"));
    for _ in 0..10 {
        bench.pass(SECOND);
        bench.send(&wire, heartbeat("beat"));
    }
    assert_eq!(bench.lines(&mut wire), ["Heartbeat"]);
}

#[test]
fn a_bad_heartbeat_option_is_refused() {
    let mut bench = bench(Config::new("A"));
    let mut wire = bench.logon("me");
    for options in ["start", "start,0", "start,x", "stop", ""] {
        bench.send(&wire, heartbeat(options).acks(AckType::Processed));
        assert_eq!(bench.lines(&mut wire), ["ack processed cid=h failure=invalid options"], "{options}");
    }
}

#[test]
fn received_commands_are_recorded_in_order_and_bounded() {
    let mut config = Config::new("A");
    config.history_limit = 3;
    let mut bench = bench(config);
    let wire = bench.logon("me");
    bench.send(&wire, subscribe("s1", "t", AckType::Processed).text(Field::Bookmark, "0"));
    bench.send(&wire, publish("t", 1));
    bench.send(&wire, publish("t", 2));
    let stats = bench.engine.stats();
    let kinds: Vec<_> = stats.commands.iter().map(|command| (command.kind, command.sequence)).collect();
    assert_eq!(
        kinds,
        [(MessageKind::Subscribe, None), (MessageKind::Publish, Some(1)), (MessageKind::Publish, Some(2))]
    );
    assert_eq!(stats.commands[0].bookmark.as_deref(), Some("0"));
    assert_eq!(stats.received, 4);
}

#[test]
fn what_is_not_supported_says_so() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    let mut wire = bench.logon("me");
    for command in ["subscribe", "delta_subscribe", "sow_and_subscribe", "sow_and_delta_subscribe"] {
        bench.send_raw(&wire, &format!(r#"{{"c":"{command}","cid":"1","t":"w","o":"something=1s","a":"processed"}}"#));
        assert_eq!(bench.lines(&mut wire), ["ack processed cid=1 failure=invalid options"]);
    }
}

#[test]
fn a_logon_is_asked_for_again_and_then_looked_at() {
    let mut bench = bench(Config::new("A"));
    let now = bench.now;
    bench.engine.with_faults(now, |faults| {
        faults.challenge_logon(&[("u1", "n1"), ("u2", "n2")]);
        faults.check_credentials(|user, password| user == "u2" && password == "right");
    });
    for (password, last) in [("wrong", "failure=auth failure"), ("right", "s=0")] {
        let mut wire = bench.connect();
        for (user, nonce) in [("u1", "n1"), ("u2", "n2")] {
            bench.send(&wire, logon("me"));
            let acks = bench.drain(&mut wire);
            let [ack] = &acks[..] else { panic!("{acks:?}") };
            assert_eq!(ack.status(), Status::Retry);
            assert_eq!(
                (ack.text(Field::UserId).as_deref(), ack.text(Field::Password).as_deref()),
                (Some(user), Some(nonce))
            );
        }
        bench.send(&wire, logon("me").text(Field::UserId, "u2").text(Field::Password, password));
        let lines = bench.lines(&mut wire);
        assert!(lines.len() == 1 && lines[0].contains(last), "{lines:?}");
        assert_eq!(bench.engine.should_close(wire.id), password == "wrong");
    }
}

#[test]
fn a_user_may_do_what_the_rule_says() {
    let mut bench = bench(Config::new("A"));
    let now = bench.now;
    bench.engine.with_faults(now, |faults| {
        faults.entitle(|user, access, topic| match access {
            Access::Logon => user != "nobody",
            Access::Read => topic == "t",
            Access::Write => user == "writer",
        });
    });
    let mut nobody = bench.connect();
    bench.send(&nobody, logon("n").text(Field::UserId, "nobody"));
    assert_eq!(bench.lines(&mut nobody), ["ack processed cid=logon failure=not entitled"]);
    assert!(bench.engine.should_close(nobody.id));
    let mut reader = bench.logon("r");
    bench.send(&reader, publish("t", 1));
    bench.send(&reader, Command::new(CommandKind::Subscribe).id("s").text(Field::Topic, "u").acks(AckType::Processed));
    assert_eq!(
        bench.lines(&mut reader),
        ["ack persisted s=1 failure=not entitled", "ack processed cid=s failure=not entitled"]
    );
    assert!(bench.engine.log().is_empty());
    let mut writer = bench.connect();
    bench.send(&writer, logon("w").text(Field::UserId, "writer"));
    bench.lines(&mut writer);
    bench.send(&writer, publish("t", 1));
    assert_eq!(bench.engine.log().len(), 1);
}
