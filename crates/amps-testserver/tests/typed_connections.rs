//! Connections of a message type: what they see of topics of others (AMPS User
//! Guide, "Topics" and "Message Types").

mod common;

use amps_core::{AckType, AckTypes, Command, CommandKind, Field};
use amps_testserver::{Config, MessageType, QueueConfig};
use common::*;

fn config() -> Config {
    let parts = || vec![MessageType::Json, MessageType::Binary];
    Config::new("A")
        .message_type("t.nvfix", MessageType::Nvfix)
        .message_type("t.json", MessageType::Json)
        .message_type("t.binary", MessageType::Binary)
        .message_type("t.parts", MessageType::CompositeLocal(parts()))
        .message_type("t.global", MessageType::CompositeGlobal(parts()))
        .sow("t.nvfix", "/id")
        .sow("t.json", "/id")
        .queue(QueueConfig::new("t.work").underlying("t.nvfix"))
}

fn typed(bench: &mut Bench, name: &str, message_type: &str) -> Wire {
    let mut wire = bench.connect();
    bench.send(&wire, logon(name).text(Field::MessageType, message_type));
    assert_eq!(bench.lines(&mut wire).len(), 1);
    wire
}

#[test]
fn a_connection_writes_to_topics_of_its_type_and_to_those_of_none() {
    for (message_type, seen) in [
        ("", &["t.nvfix", "t.json", "t.binary", "t.parts", "t.global", "t.work", "t"][..]),
        ("json", &["t.json", "t"]),
        ("nvfix", &["t.nvfix", "t.work", "t"]),
        ("binary", &["t.binary", "t"]),
        ("msgpack", &["t"]),
        ("json-and-binary", &["t.parts", "t.global", "t"]),
    ] {
        let mut bench = bench(config());
        let mut wire = typed(&mut bench, "me", message_type);
        for topic in ["t.nvfix", "t.json", "t.binary", "t.parts", "t.global", "t.work", "t"] {
            let body = if ["t.nvfix", "t.work"].contains(&topic) { "id=1\x01" } else { r#"{"id":1}"# };
            bench.send(&wire, Command::new(CommandKind::Publish).topic(topic).acks(AckType::Processed).body(body));
            let lines = bench.lines(&mut wire);
            let expected = match seen.contains(&topic) {
                true => "ack processed",
                false => "ack processed failure=the topic is of another message type",
            };
            assert_eq!(lines, [expected], "{message_type} {topic}");
            bench.send(&wire, subscribe("s", topic, AckType::Processed).text(Field::Options, "non_regex_topic"));
            let lines = bench.lines(&mut wire);
            let refused = lines == ["ack processed cid=s failure=invalid topic"];
            assert_eq!(refused, !seen.contains(&topic), "{message_type} {topic}: {lines:?}");
            bench.send(&wire, Command::new(CommandKind::Unsubscribe).text(Field::SubscriptionId, "s"));
        }
    }
}

#[test]
fn a_pattern_is_for_topics_of_the_connections_type() {
    let mut bench = bench(config());
    let (json, nvfix) = (typed(&mut bench, "json", "json"), typed(&mut bench, "nvfix", "nvfix"));
    bench.send(&json, record("t.json", 1, r#"{"id":1}"#));
    bench.send(&nvfix, record("t.nvfix", 1, "id=1\x01"));
    for (message_type, told_of) in [("json", r#"{"id":1}"#), ("nvfix", "id=1\x01")] {
        let mut wire = typed(&mut bench, "reader", message_type);
        bench.send(&wire, Command::new(CommandKind::Sow).id("q").topic(r"^t\.(json|nvfix)$"));
        assert_eq!(told(&bench.drain(&mut wire)), [format!("+{told_of}")]);
        bench.send(&wire, subscribe("log", "^t", AckTypes::NONE).text(Field::Bookmark, "0"));
        let messages = bench.drain(&mut wire);
        let all = told(&messages);
        let from_the_log: Vec<_> = all.iter().filter(|body| *body == told_of).collect();
        assert!(!from_the_log.is_empty() && from_the_log.len() == all.len(), "{all:?}");
        bench.send(&wire, Command::new(CommandKind::SowDelete).topic("^t").text(Field::Filter, "1=1"));
    }
    assert_eq!(
        bench.engine.log().iter().filter(|message| message.deletes.as_ref().is_some_and(|d| d.len() == 1)).count(),
        2
    );
}

/// Of types without a form of their own there are no statistics, and no messages of
/// the server's.
#[test]
fn what_has_no_form_has_no_stats_and_no_events() {
    for (message_type, opaque) in [("json", false), ("nvfix", false), ("", false), ("binary", true), ("parts", true)] {
        let mut bench = bench(config().sow_topic(amps_testserver::SowConfig::with_given_keys("t")));
        let mut wire = typed(&mut bench, "me", message_type);
        for command in [
            Command::new(CommandKind::Sow).id("1").topic("t"),
            Command::new(CommandKind::SowAndSubscribe).id("1").topic("t"),
            Command::new(CommandKind::SowDelete).id("1").topic("t").text(Field::Filter, "1=1"),
        ] {
            bench.send(&wire, command.acks(AckType::Stats));
            let lines = bench.lines(&mut wire);
            let refused = lines == ["ack stats cid=1 failure=no stats for this message type"];
            assert_eq!(refused, opaque, "{message_type}: {lines:?}");
        }
        bench.send(&wire, subscribe("s", "/AMPS/ClientStatus", AckType::Processed));
        let refused = bench.lines(&mut wire) == ["ack processed cid=s failure=invalid topic"];
        assert_eq!(refused, opaque, "{message_type}");
    }
}
