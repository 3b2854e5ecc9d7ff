//! Topics whose messages are no JSON; filters over what is around a message.

mod common;

use std::time::Duration;

use amps_core::batch::records;
use amps_core::message::MessageKind;
use amps_core::payload::{Composite, CompositeBuilder, FixBuilder, NvfixBuilder};
use amps_core::{AckType, AckTypes, Command, CommandKind, Field, Message};
use amps_testserver::{Config, Engine, MessageType, NoJournal, QueueConfig};
use common::*;

fn config() -> Config {
    let parts = || vec![MessageType::Json, MessageType::Nvfix, MessageType::Binary];
    let mut config = Config::new("A")
        .sow("json", "/id")
        .message_type("nvfix", MessageType::Nvfix)
        .message_type("fix", MessageType::Fix)
        .message_type("binary", MessageType::Binary)
        .message_type("composite", MessageType::CompositeLocal(parts()))
        .message_type("global", MessageType::CompositeGlobal(parts()));
    config.wall_clock = Duration::from_secs(1_767_608_130);
    config
}

/// Whether a subscription with a filter gets a message, live and from the log.
fn gets(topic: &str, filter: &str, body: &[u8]) -> bool {
    let mut bench = bench(config());
    let (publisher, mut live, mut replay) = (bench.logon("p"), bench.logon("live"), bench.logon("replay"));
    let subscription = || subscribe("s", topic, AckTypes::NONE).text(Field::Filter, filter);
    bench.send(&live, subscription());
    let publish = Command::new(CommandKind::Publish).topic(topic).number(Field::Sequence, 1);
    bench.send(&publisher, publish.body(body.to_vec()));
    bench.send(&replay, subscription().text(Field::Bookmark, "0"));
    let (live, replay) = (bench.drain(&mut live).len(), bench.drain(&mut replay).len());
    assert_eq!(live, replay, "{topic} {filter}");
    live == 1
}

#[test]
fn a_filter_finds_the_fields_of_each_type() {
    let nvfix = NvfixBuilder::new().pair("price", "12.5").unwrap().pair("side", "buy").unwrap().finish();
    let nvfix_with_id = [&nvfix[..], b"id=7\x01"].concat();
    let fix = FixBuilder::new().pair(35, "D").unwrap().pair(38, 100).unwrap().finish();
    let composite = CompositeBuilder::new().part(r#"{"id":1,"leg":{"px":3}}"#).unwrap();
    let composite = composite.part(&nvfix).unwrap().part([0, 1, 2]).unwrap().finish();
    let with_payload = [&composite[..], b"anything behind it"].concat();
    let global = CompositeBuilder::new().part(r#"{"id":1,"leg":{"px":3},"side":"sell"}"#).unwrap();
    let global = global.part(&nvfix_with_id).unwrap().part("{}").unwrap().finish();
    for (topic, body, filter, expected) in [
        ("nvfix", nvfix.as_slice(), "/price > 12", true),
        ("nvfix", &nvfix, "/price > 13", false),
        ("nvfix", &nvfix, "/price BETWEEN 12 AND 13 AND /side BEGINS WITH ('b')", true),
        ("nvfix", &nvfix, "/side LIKE '^B' OR UPPER(/side) IN ('SELL', 'BUY')", true),
        ("nvfix", &nvfix, "/price * 2 = 25 AND /price = '12.5'", true),
        ("nvfix", &nvfix, "/side/buy IS NULL AND [/side] = 'buy'", true),
        ("nvfix", b"id=1\x01id=2\x01", "/id = 1 AND /id != 2", true),
        ("nvfix", b"id=\x01", "/id IS NULL", true),
        ("nvfix", &nvfix, "/side = 'buy' AND /missing IS NULL", true),
        ("nvfix", b"no pairs", "/side IS NULL", true),
        ("fix", &fix, "/35 = 'D' AND /38 = 100", true),
        ("fix", &fix, "/38 < 100", false),
        ("fix", &fix, "/38 % 30 = 10 AND /54 IS NULL", true),
        ("fix", b"side=buy\x01", "/side = 'buy'", false),
        ("composite", &composite, "/0/id = 1 AND /1/price = 12.5", true),
        ("composite", &composite, "/0/leg/px = 3 AND /2/x IS NULL", true),
        ("composite", &composite, "/id = 1", false),
        ("composite", &composite, "/0/id + /1/price = 13.5", true),
        ("composite", &with_payload, "/0/id = 1", true),
        ("composite", &with_payload, "/3/id IS NULL AND MESSAGE_SIZE() > 60", true),
        ("global", &global, "/id = 1 AND /id = 7 AND /leg/px = 3", true),
        ("global", &global, "ARRAY_COUNT(/id) = 2 AND /id[1] = 7", true),
        ("global", &global, "/side IN ('sell') AND /side = 'buy'", true),
        ("global", &global, "/price = 12.5 AND /0/id IS NULL", true),
        ("global", &global, "/id NOT IN (1, 2)", false),
        ("global", b"\0\0\0\x09{", "/id IS NULL", true),
        ("composite", b"\0\0\0\x09{", "/0/id IS NULL", true),
        ("binary", b"{\"id\":1}", "/id = 1", false),
        ("json", br#"{"id":1}"#, "/id = 1", true),
        ("other", &nvfix, "/side = 'buy'", false),
    ] {
        assert_eq!(gets(topic, filter, body), expected, "{topic} {filter}");
    }
}

#[test]
fn a_filter_knows_the_time_but_not_where_records_are_followed() {
    assert!(gets("json", "UNIX_TIMESTAMP() = 1767608130", br#"{"id":1}"#));
    assert!(!gets("json", "UNIX_TIMESTAMP() > 1767608130", br#"{"id":1}"#));
    let mut bench = bench(config());
    let mut wire = bench.logon("c");
    for (options, refused) in
        [("", false), ("oof", true), ("top_n=1,skip_n=1", true), ("projection=[COUNT(/id) AS /n],grouping=[/id]", true)]
    {
        let command = Command::new(CommandKind::SowAndSubscribe).id("1").topic("json").acks(AckType::Processed);
        let filter = "ABS(/id) < 1 OR NOT (1 + UNIX_TIMESTAMP() IN (2, /id))";
        bench.send(&wire, command.text(Field::Filter, filter).text(Field::Options, options));
        let lines = bench.lines(&mut wire);
        assert_eq!(
            lines.contains(&"ack processed cid=1 failure=bad filter".to_owned()),
            refused,
            "{options}: {lines:?}"
        );
        bench.send(&wire, Command::new(CommandKind::Unsubscribe).text(Field::SubscriptionId, "all"));
    }
}

/// A composite body of a JSON, an NVFIX and a binary part, with something behind
/// them. `|` stands for the separator of pairs.
fn composite(parts: [&str; 3]) -> Vec<u8> {
    let builder = CompositeBuilder::new();
    let body = parts.iter().try_fold(builder, |body, part| body.part(part.replace('|', "\x01"))).unwrap();
    [&body.finish()[..], b"behind"].concat()
}

fn pairs(text: &str) -> Vec<u8> {
    text.replace('|', "\x01").into_bytes()
}

/// A body as text. Of a composite one its parts, and what is behind them.
fn shown(body: &[u8]) -> String {
    let parts: Vec<_> = Composite::parts(body).take(3).collect();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\x01', "|");
    if parts.len() < 3 || parts.iter().any(Result::is_err) {
        return text(body);
    }
    let parts: Vec<_> = parts.into_iter().map(Result::unwrap).collect();
    let behind = parts.iter().map(|part| 4 + part.len()).sum::<usize>();
    format!("{} + {}", parts.iter().map(|part| text(part)).collect::<Vec<_>>().join(" & "), text(&body[behind..]))
}

/// Bodies of messages and, behind `+`, of records; behind `-` of those out of
/// focus.
fn bodies(messages: &[Message]) -> Vec<String> {
    let mut found = Vec::new();
    for message in messages {
        match message.kind() {
            MessageKind::Publish => found.push(shown(message.data())),
            MessageKind::Oof => found.push(format!("-{}", shown(message.data()))),
            MessageKind::Sow => found.extend(records(message).into_iter().map(|one| format!("+{}", shown(one.data())))),
            _ => {}
        }
    }
    found
}

/// A server that keeps records of every type that has fields.
fn keeping() -> (Bench, Wire, Wire) {
    let mut bench = bench(
        config().sow("nvfix", "/id").sow("fix", "/38,/35").sow("composite", "/0/id,/1/side").sow("global", "/id"),
    );
    let (publisher, reader) = (bench.logon("p"), bench.logon("r"));
    (bench, publisher, reader)
}

fn write(bench: &mut Bench, publisher: &mut Wire, kind: CommandKind, topic: &str, body: Vec<u8>) {
    bench.send(publisher, Command::new(kind).topic(topic).acks(AckType::Processed).body(body));
    let lines = bench.lines(publisher);
    assert!(lines.len() == 1 && !lines[0].contains("failure"), "{lines:?}");
}

/// The records of a topic in the order of their text.
fn sorted(bench: &mut Bench, reader: &mut Wire, topic: &str) -> Vec<String> {
    bench.send(reader, Command::new(CommandKind::Sow).id("q").topic(topic).number(Field::BatchSize, 10));
    let mut bodies = bodies(&bench.drain(reader));
    bodies.sort();
    bodies
}

/// Keys and published deltas, as of JSON.
#[test]
fn records_are_found_by_their_fields_and_deltas_merged_into_them() {
    use CommandKind::{DeltaPublish, Publish};
    let (mut bench, mut publisher, mut reader) = keeping();
    for (kind, topic, body) in [
        (Publish, "nvfix", pairs("id=1|side=buy|price=2|")),
        (Publish, "nvfix", pairs("id=2|side=sell|")),
        (DeltaPublish, "nvfix", pairs("price=5|id=1|new=x|")),
        (Publish, "fix", pairs("35=D|38=1|58=a|")),
        (DeltaPublish, "fix", pairs("35=D|38=1|58=b|")),
        (DeltaPublish, "fix", pairs("35=F|38=1|")),
        (Publish, "composite", composite([r#"{"id":1,"v":1}"#, "side=buy|n=1|", "raw"])),
        (Publish, "composite", composite([r#"{"id":1,"v":1}"#, "side=sell|", "raw"])),
        (DeltaPublish, "composite", composite([r#"{"id":1,"v":2}"#, "side=buy|", ""])),
        (Publish, "global", composite([r#"{"id":1,"v":1}"#, "side=buy|", ""])),
        // It is taken as it is.
        (DeltaPublish, "global", composite([r#"{"w":1}"#, "id=1|", ""])),
    ] {
        write(&mut bench, &mut publisher, kind, topic, body);
    }
    bench.send(&publisher, Command::new(Publish).topic("nvfix").acks(AckType::Processed).body(pairs("side=buy|")));
    assert_eq!(bench.lines(&mut publisher), ["ack processed failure=bad sow key"]);
    for (topic, expected) in [
        ("nvfix", &["+id=1|side=buy|price=5|new=x|", "+id=2|side=sell|"][..]),
        ("fix", &["+35=D|38=1|58=b|", "+35=F|38=1|"]),
        (
            "composite",
            &[r#"+{"id":1,"v":1} & side=sell| & raw + behind"#, r#"+{"id":1,"v":2} & side=buy|n=1| & raw + behind"#],
        ),
        ("global", &[r#"+{"w":1} & id=1| &  + behind"#]),
    ] {
        assert_eq!(sorted(&mut bench, &mut reader, topic), expected, "{topic}");
    }
}

#[test]
fn who_wants_deltas_or_a_part_gets_that_of_every_type() {
    use CommandKind::Publish;
    for (topic, options, first, then, expected) in [
        ("nvfix", "", pairs("id=1|a=1|b=1|"), pairs("id=1|a=2|b=1|"), "id=1|a=2|"),
        ("nvfix", "", pairs("id=1|a=1|"), pairs("id=1|a=1|"), "id=1|"),
        ("nvfix", "no_empties", pairs("id=1|a=1|"), pairs("id=1|a=2|"), "a=2|"),
        ("nvfix", "select=[-/,+/b]", pairs("id=1|a=1|b=1|"), pairs("id=1|a=2|b=2|"), "b=2|"),
        ("fix", "", pairs("35=D|38=1|58=a|59=0|"), pairs("35=D|38=1|58=b|59=0|"), "35=D|38=1|58=b|"),
        (
            "composite",
            "",
            composite([r#"{"id":1,"v":1,"w":1}"#, "side=buy|n=1|", "raw"]),
            composite([r#"{"id":1,"v":2,"w":1}"#, "side=buy|n=1|", "raw"]),
            r#"{"id":1,"v":2} & side=buy| &  + behind"#,
        ),
        (
            "composite",
            "no_empties",
            composite([r#"{"id":1,"v":1}"#, "side=buy|n=1|", "raw"]),
            composite([r#"{"id":1,"v":1}"#, "side=buy|n=1|", "new"]),
            r#" &  & new + behind"#,
        ),
        (
            "global",
            "",
            composite([r#"{"id":1,"v":1}"#, "side=buy|", ""]),
            composite([r#"{"id":1,"v":2}"#, "side=buy|", ""]),
            r#"{"id":1,"v":2} & side=buy| &  + behind"#,
        ),
    ] {
        let (mut bench, mut publisher, mut reader) = keeping();
        write(&mut bench, &mut publisher, Publish, topic, first);
        let command = Command::new(CommandKind::DeltaSubscribe).id("d").topic(topic);
        bench.send(&reader, command.text(Field::Options, options));
        write(&mut bench, &mut publisher, Publish, topic, then.clone());
        assert_eq!(bodies(&bench.drain(&mut reader)), [expected], "{topic} {options}");
        // Nothing changed.
        write(&mut bench, &mut publisher, Publish, topic, then);
        assert_eq!(bench.drain(&mut reader).is_empty(), options == "no_empties", "{topic} {options}");
    }
    let (mut bench, mut publisher, mut reader) = keeping();
    write(&mut bench, &mut publisher, Publish, "fix", pairs("35=D|38=1|58=a|"));
    let query = Command::new(CommandKind::SowAndSubscribe).id("s").topic("fix");
    bench.send(&reader, query.text(Field::Options, "select=[-/,+/58],oof").text(Field::Filter, "/58 != 'c'"));
    for note in ["b", "c"] {
        write(&mut bench, &mut publisher, Publish, "fix", pairs(&format!("35=D|38=1|58={note}|")));
    }
    assert_eq!(bodies(&bench.drain(&mut reader)), ["+58=a|", "58=b|", "-58=c|"]);
}

#[test]
fn pages_and_aggregates_are_there_for_flat_messages() {
    use CommandKind::{Publish, SowAndSubscribe};
    let (mut bench, mut publisher, mut reader) = keeping();
    for body in ["id=1|c=a|v=1|", "id=2|c=a|v=2.5|", "id=3|c=b|v=3|"] {
        write(&mut bench, &mut publisher, Publish, "nvfix", pairs(body));
    }
    let page = Command::new(SowAndSubscribe).id("p").topic("nvfix").text(Field::OrderBy, "/v DESC");
    bench.send(&reader, page.text(Field::Options, "top_n=1,skip_n=1,oof"));
    assert_eq!(bodies(&bench.drain(&mut reader)), ["+id=2|c=a|v=2.5|"]);
    write(&mut bench, &mut publisher, Publish, "nvfix", pairs("id=1|c=a|v=2.75|"));
    assert_eq!(bodies(&bench.drain(&mut reader)), ["-id=2|c=a|v=2.5|", "id=1|c=a|v=2.75|"]);
    bench.send(&reader, Command::new(CommandKind::Unsubscribe).text(Field::SubscriptionId, "all"));

    let totals = "projection=[/c,SUM(/v) AS /total,COUNT_DISTINCT(/id) AS /n],grouping=[/c]";
    let command = Command::new(CommandKind::SowAndDeltaSubscribe).id("t").topic("nvfix").text(Field::OrderBy, "/c");
    bench.send(&reader, command.text(Field::Options, totals));
    assert_eq!(bodies(&bench.drain(&mut reader)), ["+c=a|total=5.25|n=2|", "+c=b|total=3|n=1|"]);
    write(&mut bench, &mut publisher, Publish, "nvfix", pairs("id=3|c=b|v=4|"));
    assert_eq!(bodies(&bench.drain(&mut reader)), ["c=b|total=4|"]);
    // What a type cannot say is refused, and says so.
    for (topic, options) in [
        ("nvfix", "projection=[SUM(/v) AS /a/b],grouping=[/c]"),
        ("fix", "projection=[SUM(/38) AS /total],grouping=[/35]"),
        ("composite", "projection=[SUM(/0/v) AS /total],grouping=[/0/id]"),
        ("global", "projection=[SUM(/v) AS /total],grouping=[/id]"),
    ] {
        let command = Command::new(CommandKind::Sow).id("x").topic(topic).acks(AckType::Processed);
        bench.send(&reader, command.text(Field::Options, options));
        let refused = "ack processed cid=x failure=the topic's message type has no such aggregates";
        assert_eq!(bench.lines(&mut reader), [refused], "{topic}");
    }
}

/// The documented way for topics without records: fields that say which messages
/// are of one.
#[test]
fn messages_of_every_type_are_conflated_by_their_fields() {
    for (topic, key, messages, expected) in [
        ("nvfix", "[/id]", [pairs("id=1|v=1|"), pairs("id=1|v=2|"), pairs("id=2|")], ["id=1|v=2|", "id=2|"]),
        (
            "fix",
            "[/35,/38]",
            [pairs("35=D|38=1|"), pairs("35=D|38=1|58=x|"), pairs("35=D|38=2|")],
            ["35=D|38=1|58=x|", "35=D|38=2|"],
        ),
        (
            "composite",
            "[/0/id,/1/side]",
            [
                composite([r#"{"id":1}"#, "side=buy|n=1|", ""]),
                composite([r#"{"id":1}"#, "side=buy|n=2|", ""]),
                composite([r#"{"id":1}"#, "side=sell|", ""]),
            ],
            [r#"{"id":1} & side=buy|n=2| &  + behind"#, r#"{"id":1} & side=sell| &  + behind"#],
        ),
        (
            "global",
            "[/id]",
            [
                composite([r#"{"id":1}"#, "n=1|", ""]),
                composite(["{}", "id=1|n=2|", ""]),
                composite([r#"{"id":2}"#, "", ""]),
            ],
            [r#"{} & id=1|n=2| &  + behind"#, r#"{"id":2} &  &  + behind"#],
        ),
    ] {
        let mut bench = bench(config());
        let (mut publisher, mut reader) = (bench.logon("p"), bench.logon("r"));
        let options = format!("conflation=1s,conflation_key={key}");
        bench.send(&reader, subscribe("s", topic, AckTypes::NONE).text(Field::Options, options));
        for body in messages {
            write(&mut bench, &mut publisher, CommandKind::Publish, topic, body);
        }
        assert!(bench.drain(&mut reader).is_empty(), "{topic}");
        bench.pass(Duration::from_secs(1));
        assert_eq!(bodies(&bench.drain(&mut reader)), expected, "{topic}");
    }
}

/// A queue's messages are of the type of the topic it is made of.
#[test]
fn a_queue_looks_into_messages_of_its_topics_type() {
    let queue = QueueConfig::new("work").underlying("nvfix").max_per_subscription_backlog(9);
    let queue = queue.priority("/urgency").barrier("/kind = 'all'".parse().unwrap());
    let mut bench = bench(config().queue(queue));
    let (mut publisher, mut some, mut any) = (bench.logon("p"), bench.logon("some"), bench.logon("any"));
    for body in ["n=1|", "n=2|urgency=7|", "n=3|kind=all|"] {
        write(&mut bench, &mut publisher, CommandKind::Publish, "work", pairs(body));
    }
    let subscription = |filter: &str| {
        let command = subscribe("s", "work", AckTypes::NONE).text(Field::Options, "max_backlog=5");
        command.maybe(Field::Filter, Some(filter).filter(|filter| !filter.is_empty()))
    };
    bench.send(&some, subscription("/urgency IS NULL"));
    assert_eq!(bodies(&bench.drain(&mut some)), ["n=1|"]);
    bench.send(&any, subscription(""));
    assert_eq!(bodies(&bench.drain(&mut any)), ["n=2|urgency=7|"]);
    bench.send(&any, Command::sow_delete("work").text(Field::Filter, "/n < 3"));
    assert_eq!(bodies(&bench.drain(&mut any)), ["n=3|kind=all|"]);
    assert_eq!(bodies(&bench.drain(&mut some)), ["n=3|kind=all|"]);
}

/// AMPS User Guide, "Client Functions" and "Message Functions".
#[test]
fn a_filter_knows_who_published_a_message_and_where() {
    let mut bench = bench(Config::new("A").sow("w", "/id").queue(QueueConfig::new("q")));
    let (ann, bob, mut reader) = (bench.logon("ann"), bench.logon("bob"), bench.logon("r"));
    let by_ann = "CLIENT_NAME() = 'ann'";
    let filtered =
        |id: &str, topic: &str, filter: &str| subscribe(id, topic, AckTypes::NONE).text(Field::Filter, filter);
    bench.send(&reader, filtered("live", "w", by_ann).text(Field::Options, "oof"));
    bench.send(&reader, filtered("place", "w|q", "TOPIC_NAME() = 'w' AND AMPS_INSTANCE_NAME() = 'A' AND /id = 2"));
    bench.send(&ann, record("w", 1, r#"{"id":1}"#));
    bench.send(&bob, record("w", 1, r#"{"id":2}"#));
    assert_eq!(told(&bench.drain(&mut reader)), [r#"{"id":1}"#, r#"{"id":2}"#]);
    // A record is that of who published it last.
    bench.send(&bob, record("w", 2, r#"{"id":1,"v":1}"#));
    assert_eq!(told(&bench.drain(&mut reader)), [r#"-match {"id":1,"v":1}"#]);
    bench.send(&ann, record("w", 2, r#"{"id":3}"#));
    bench.drain(&mut reader);
    let query = Command::new(CommandKind::Sow).id("q").topic("w").text(Field::Filter, by_ann);
    bench.send(&reader, query);
    assert_eq!(told(&bench.drain(&mut reader)), [r#"+{"id":3}"#]);
    // From the log, and from a queue.
    bench.send(&reader, filtered("replay", "w", by_ann).text(Field::Bookmark, "0"));
    assert_eq!(told(&bench.drain(&mut reader)), [r#"{"id":1}"#, r#"{"id":3}"#]);
    bench.send(&reader, filtered("queue", "q", by_ann));
    for (publisher, sequence) in [(&bob, 3), (&ann, 3)] {
        bench.send(publisher, publish("q", sequence).acks(AckTypes::NONE));
    }
    assert_eq!(told(&bench.drain(&mut reader)), [r#"{"n":3}"#]);
    assert_eq!(bench.engine.queue("q").unwrap().available, 1);
}

#[test]
fn a_topic_without_fields_has_no_keys_in_its_messages() {
    let config = config().sow("binary", "/id");
    let error = Engine::new(config, Box::new(NoJournal)).unwrap_err().to_string();
    assert!(error.contains("binary") && error.contains("let publishers give them"), "{error}");
}
