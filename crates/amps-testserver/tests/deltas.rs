//! `delta_subscribe` and `sow_and_delta_subscribe`: what changed, and to whom
//! all of it is sent.

mod common;

use amps_core::batch::records;
use amps_core::message::MessageKind;
use amps_core::{AckType, Command, CommandKind, Field, Message};
use amps_testserver::{Config, QueueConfig};
use common::*;

fn record(sequence: u64, body: &str) -> Command {
    Command::new(CommandKind::Publish).topic("w").number(Field::Sequence, sequence).body(body.to_owned())
}

fn deltas(id: &str, options: &str) -> Command {
    Command::new(CommandKind::DeltaSubscribe).id(id).topic("w").text(Field::Options, options).acks(AckType::Processed)
}

fn config() -> Config {
    Config::new("A").sow("w", "/id,/site/name")
}

fn text(message: &Message, field: Field) -> String {
    message.text(field).unwrap_or_default().into_owned()
}

/// Publish and out-of-focus messages: ids and body. Records: their bodies.
fn got(messages: &[Message]) -> Vec<String> {
    let mut lines = Vec::new();
    for message in messages {
        let body = String::from_utf8_lossy(message.data());
        match message.kind() {
            MessageKind::Publish => lines.push(format!("{} {body}", text(message, Field::SubscriptionIds))),
            MessageKind::Oof => lines.push(format!("oof {} {body}", text(message, Field::SubscriptionIds))),
            MessageKind::Sow => {
                lines.extend(
                    records(message).into_iter().map(|one| format!("sow {}", String::from_utf8_lossy(one.data()))),
                );
            }
            _ => {}
        }
    }
    lines
}

const FIRST: &str = r#"{"id":1,"l":[1,2],"site":{"name":"a","t":5},"v":0}"#;

#[test]
fn an_update_has_the_key_and_what_changed_and_a_new_record_all_of_it() {
    let mut bench = bench(config());
    let publisher = bench.logon("p");
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, deltas("d", ""));
    assert_eq!(bench.lines(&mut subscriber), ["ack processed cid=d"]);
    let updates = [
        (FIRST, FIRST),
        (r#"{"id":1,"l":[1,3],"site":{"name":"a","t":6},"v":0}"#, r#"{"id":1,"l":[1,3],"site":{"name":"a","t":6}}"#),
        (r#"{"id":1,"site":{"name":"a"},"v":0}"#, r#"{"id":1,"site":{"name":"a"}}"#),
        (
            r#"{"id":1,"n":{"x":1},"site":{"name":"a"},"v":null}"#,
            r#"{"id":1,"n":{"x":1},"site":{"name":"a"},"v":null}"#,
        ),
        (r#"{"id":2,"site":{"name":"a"}}"#, r#"{"id":2,"site":{"name":"a"}}"#),
    ];
    for (sequence, (body, delta)) in (1..).zip(updates) {
        bench.send(&publisher, record(sequence, body));
        assert_eq!(got(&bench.drain(&mut subscriber)), [format!("d {delta}")]);
    }
    let part = Command::new(CommandKind::DeltaPublish).topic("w").number(Field::Sequence, 9);
    bench.send(&publisher, part.body(r#"{"id":2,"site":{"name":"a","t":1},"v":null}"#));
    assert_eq!(got(&bench.drain(&mut subscriber)), [r#"d {"id":2,"site":{"name":"a","t":1}}"#]);
}

#[test]
fn an_update_without_changes_is_left_out_where_that_is_asked_for() {
    let mut bench = bench(config());
    let publisher = bench.logon("p");
    let (mut plain, mut silent, mut keyed) = (bench.logon("a"), bench.logon("b"), bench.logon("c"));
    bench.send(&plain, deltas("d", ""));
    bench.send(&silent, deltas("d", "no_empties"));
    bench.send(&keyed, deltas("d", "no_empties,send_keys"));
    for (sequence, body) in (1..).zip([FIRST, FIRST, r#"{"id":1,"site":{"name":"a"},"v":7}"#]) {
        bench.send(&publisher, record(sequence, body));
    }
    let first = format!("d {FIRST}");
    let changed = r#"d {"id":1,"site":{"name":"a"},"v":7}"#;
    assert_eq!(got(&bench.drain(&mut plain)), [&first, r#"d {"id":1,"site":{"name":"a"}}"#, changed]);
    assert_eq!(got(&bench.drain(&mut silent)), [&first, r#"d {"v":7}"#]);
    assert_eq!(got(&bench.drain(&mut keyed)), [&first, changed]);
}

/// One message goes to all of a connection's subscriptions, with what the most
/// demanding of them wants.
#[test]
fn deltas_and_whole_messages_on_one_connection_are_one_message() {
    let mut bench = bench(config());
    let publisher = bench.logon("p");
    let mut subscriber = bench.logon("s");
    bench.send(&publisher, record(1, FIRST));
    bench.send(&subscriber, deltas("short", "no_empties"));
    bench.send(&subscriber, deltas("keyed", ""));
    bench.send(&subscriber, subscribe("whole", "w", AckType::Processed).text(Field::Filter, "/v > 1"));
    bench.drain(&mut subscriber);
    let mut sequence = 1;
    let mut update = |body: &str| {
        sequence += 1;
        bench.send(&publisher, record(sequence, body));
        got(&bench.drain(&mut subscriber))
    };
    assert_eq!(update(r#"{"id":1,"site":{"name":"a"},"v":1}"#), [r#"short,keyed {"id":1,"site":{"name":"a"},"v":1}"#]);
    assert_eq!(
        update(r#"{"id":1,"q":0,"site":{"name":"a"},"v":1}"#),
        [r#"short,keyed {"id":1,"q":0,"site":{"name":"a"}}"#]
    );
    let whole = r#"{"id":1,"q":0,"site":{"name":"a"},"v":2}"#;
    assert_eq!(update(whole), [format!("short,keyed,whole {whole}")]);
    assert_eq!(update(whole), [format!("keyed,whole {whole}")], "nothing changed");
}

#[test]
fn a_record_that_comes_into_focus_is_whole_where_focus_is_followed() {
    let mut bench = bench(config());
    let publisher = bench.logon("p");
    let (mut told, mut untold) = (bench.logon("a"), bench.logon("b"));
    bench.send(&told, deltas("d", "oof").text(Field::Filter, "/v > 1"));
    bench.send(&untold, deltas("d", "").text(Field::Filter, "/v > 1"));
    let bodies = [2, 0, 3, 4].map(|v| format!(r#"{{"id":1,"q":0,"site":{{"name":"a"}},"v":{v}}}"#));
    for (sequence, body) in (1..).zip(&bodies) {
        bench.send(&publisher, record(sequence, body));
    }
    let delta = |v| format!(r#"d {{"id":1,"site":{{"name":"a"}},"v":{v}}}"#);
    assert_eq!(
        got(&bench.drain(&mut told)),
        [format!("d {}", bodies[0]), format!("oof d {}", bodies[1]), format!("d {}", bodies[2]), delta(4)]
    );
    assert_eq!(got(&bench.drain(&mut untold)), [format!("d {}", bodies[0]), delta(3), delta(4)]);
    let deletion = Command::new(CommandKind::SowDelete).topic("w").number(Field::Sequence, 5);
    bench.send(&publisher, deletion.body(bodies[3].clone()));
    assert_eq!(got(&bench.drain(&mut told)), [format!("oof d {}", bodies[3])]);
    assert!(got(&bench.drain(&mut untold)).is_empty());
}

#[test]
fn a_query_gives_whole_records_and_then_deltas() {
    let mut bench = bench(config());
    let publisher = bench.logon("p");
    let mut subscriber = bench.logon("s");
    bench.send(&publisher, record(1, FIRST));
    let query = |options: &str| {
        let acks = AckType::Processed | AckType::Completed;
        let command = Command::new(CommandKind::SowAndDeltaSubscribe).id("q").topic("w").acks(acks);
        command.text(Field::SubscriptionId, "d").text(Field::Options, options)
    };
    bench.send(&subscriber, query(""));
    let changed = FIRST.replace("\"v\":0", "\"v\":1");
    bench.send(&publisher, record(2, &changed));
    let messages = bench.drain(&mut subscriber);
    let expected = [format!("sow {FIRST}"), r#"d {"id":1,"site":{"name":"a"},"v":1}"#.to_owned()];
    assert_eq!(got(&messages), expected);
    let acks: Vec<_> = messages.iter().filter_map(Message::ack_type).collect();
    assert_eq!(acks, [AckType::Processed, AckType::Completed]);
    bench.send(&subscriber, query("replace").text(Field::Filter, "/v > 0"));
    assert!(got(&bench.drain(&mut subscriber)).is_empty(), "it had that record");
    bench.send(&publisher, record(3, FIRST));
    bench.send(&publisher, record(4, &changed));
    assert_eq!(got(&bench.drain(&mut subscriber)), expected[1..]);
}

#[test]
fn without_records_there_are_whole_messages_and_from_a_bookmark_nothing() {
    let mut bench = bench(config().queue(QueueConfig::new("q")));
    let publisher = bench.logon("p");
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, deltas("d", "").topic("plain"));
    bench.send(&subscriber, deltas("e", "").topic("q"));
    bench.drain(&mut subscriber);
    for (sequence, topic) in [(1, "plain"), (2, "plain"), (3, "q")] {
        bench.send(&publisher, record(sequence, FIRST).topic(topic));
    }
    assert_eq!(got(&bench.drain(&mut subscriber)), ["d", "d", "e"].map(|id| format!("{id} {FIRST}")));
    for (kind, bookmark) in [
        (CommandKind::DeltaSubscribe, "0"),
        (CommandKind::DeltaSubscribe, "0|1|"),
        (CommandKind::SowAndDeltaSubscribe, "0|1|"),
    ] {
        let command = Command::new(kind).id("x").topic("w").text(Field::Bookmark, bookmark).acks(AckType::Processed);
        bench.send(&subscriber, command);
        let refused = "ack processed cid=x failure=a delta subscription takes no bookmark";
        assert_eq!(bench.lines(&mut subscriber), [refused]);
    }
}
