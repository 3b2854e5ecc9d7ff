//! `/AMPS/ClientStatus`: every event of the documents, and what it says.

mod common;

use std::time::Duration;

use amps_core::{AckTypes, Command, CommandKind, Field};
use amps_testserver::Config;
use common::*;
use serde_json::Value;

/// What was told since, one line an event: name, client, and whatever else but
/// when and on which connection.
fn events(bench: &mut Bench, watcher: &mut Wire) -> Vec<String> {
    let messages = bench.drain(watcher);
    let events = messages.iter().map(|message| {
        let body: Value = serde_json::from_slice(message.data()).unwrap();
        let status = body["ClientStatus"].as_object().unwrap();
        assert!(status["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(status["connection_name"].as_str().unwrap().starts_with("A-0-connection-"));
        let named = |name: &str| status[name].as_str().unwrap().to_owned();
        let more = status
            .iter()
            .filter(|(name, _)| !["timestamp", "connection_name", "event", "client_name"].contains(&name.as_str()));
        let more = more.map(|(name, value)| format!(" {name}={}", value.as_str().unwrap()));
        format!("{} {}{}", named("event"), named("client_name"), more.collect::<String>())
    });
    events.collect()
}

#[test]
fn whatever_a_client_does_is_told() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    let mut watcher = bench.logon("watcher");
    bench.send(&watcher, subscribe("s", "/AMPS/ClientStatus", AckTypes::NONE));
    bench.drain(&mut watcher);

    let wire = bench.connect();
    assert_eq!(events(&mut bench, &mut watcher), ["connect A-0-connection-2"], "it has no other name yet");
    bench.send(&wire, logon("me").text(Field::CorrelationId, "abc"));
    assert_eq!(events(&mut bench, &mut watcher), ["logon me correlation_id=abc"]);

    bench.send(&wire, subscribe("a", "orders", AckTypes::NONE).text(Field::Filter, "/qty > 5"));
    bench.send(&wire, subscribe("b", "w", AckTypes::NONE).text(Field::Options, "oof"));
    bench.send(&wire, subscribe("c", "w", AckTypes::NONE));
    let query = |kind| Command::new(kind).id("q").topic("w").text(Field::Filter, "1=1");
    bench.send(&wire, query(CommandKind::Sow).text(Field::QueryId, "q").text(Field::Options, "timestamp"));
    bench.send(&wire, query(CommandKind::SowDelete));
    assert_eq!(
        events(&mut bench, &mut watcher),
        [
            "subscribe me filter=/qty > 5 topic=orders",
            "subscribe me options=oof topic=w",
            "subscribe me topic=w",
            "sow me filter=1=1 options=timestamp query_id=q topic=w",
            "sow_delete me filter=1=1 topic=w",
        ]
    );
    bench.send(&wire, Command::new(CommandKind::Unsubscribe).text(Field::SubscriptionId, "b"));
    assert_eq!(events(&mut bench, &mut watcher), ["unsubscribe me sub_id=b topic=w"]);

    // The end of a connection ends its subscriptions.
    bench.engine.closed(bench.now, wire.id);
    assert_eq!(
        events(&mut bench, &mut watcher),
        [
            "unsubscribe me filter=/qty > 5 sub_id=a topic=orders",
            "unsubscribe me sub_id=c topic=w",
            "disconnect me reason=connection closed",
        ]
    );
}

#[test]
fn a_refused_logon_and_the_reason_of_an_end_are_told() {
    let mut bench = bench(Config::new("A"));
    let mut watcher = bench.logon("watcher");
    bench.send(&watcher, subscribe("s", "/AMPS/ClientStatus", AckTypes::NONE));
    bench.drain(&mut watcher);
    bench.engine.with_faults(bench.now, |faults| faults.check_credentials(|_, password| password == "right"));
    let me = || logon("me").text(Field::Password, "right");

    let refused = bench.connect();
    bench.send(&refused, logon("me").text(Field::Password, "SECRET"));
    bench.engine.closed(bench.now, refused.id);
    let idle = bench.connect();
    bench.send(&idle, me());
    bench.send(&idle, subscribe("a", "t", AckTypes::NONE));
    bench.send(&idle, Command::new(CommandKind::Heartbeat).text(Field::Options, "start,1"));
    bench.pass(Duration::from_secs(3));
    bench.engine.closed(bench.now, idle.id);
    assert_eq!(
        events(&mut bench, &mut watcher),
        [
            "connect A-0-connection-2",
            "logon me reason=auth failure",
            "disconnect A-0-connection-2 reason=auth failure",
            "connect A-0-connection-3",
            "logon me",
            "subscribe me topic=t",
            "unsubscribe me sub_id=a topic=t",
            "disconnect me reason=heartbeat",
        ]
    );
}
