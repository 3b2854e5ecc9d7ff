//! Filters over topics whose messages are no JSON, and over the time.

mod common;

use std::time::Duration;

use amps_core::payload::{CompositeBuilder, FixBuilder, NvfixBuilder};
use amps_core::{AckType, AckTypes, Command, CommandKind, Field};
use amps_testserver::{Config, Engine, MessageType, NoJournal};
use common::*;

fn config() -> Config {
    let parts = vec![MessageType::Json, MessageType::Nvfix, MessageType::Binary];
    let mut config = Config::new("A")
        .sow("json", "/id")
        .message_type("nvfix", MessageType::Nvfix)
        .message_type("fix", MessageType::Fix)
        .message_type("binary", MessageType::Binary)
        .message_type("composite", MessageType::CompositeLocal(parts));
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
    let fix = FixBuilder::new().pair(35, "D").unwrap().pair(38, 100).unwrap().finish();
    let composite = CompositeBuilder::new().part(r#"{"id":1,"leg":{"px":3}}"#).unwrap();
    let composite = composite.part(&nvfix).unwrap().part([0, 1, 2]).unwrap().finish();
    let mut with_payload = composite.to_vec();
    with_payload.extend_from_slice(b"anything behind it");
    for (topic, body, filter, expected) in [
        ("nvfix", nvfix.as_slice(), "/price > 12", true),
        ("nvfix", &nvfix, "/price > 13", false),
        ("nvfix", &nvfix, "/side = 'buy' AND /missing IS NULL", true),
        ("nvfix", b"no pairs", "/side IS NULL", true),
        ("fix", &fix, "/35 = 'D' AND /38 = 100", true),
        ("fix", &fix, "/38 < 100", false),
        ("composite", &composite, "/0/id = 1 AND /1/price = 12.5", true),
        ("composite", &composite, "/0/leg/px = 3 AND /2/x IS NULL", true),
        ("composite", &composite, "/id = 1", false),
        ("composite", &with_payload, "/0/id = 1", true),
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

/// Keys and published deltas of flat messages, as of JSON.
#[test]
fn records_are_found_by_their_fields_and_deltas_merged_into_them() {
    let config = config().sow("nvfix", "/id").sow("fix", "/38,/35");
    let mut bench = bench(config);
    let (publisher, mut wire) = (bench.logon("p"), bench.logon("c"));
    let mut sequence = 0;
    for (kind, topic, body) in [
        (CommandKind::Publish, "nvfix", "id=1|side=buy|price=2|"),
        (CommandKind::Publish, "nvfix", "id=2|side=sell|"),
        (CommandKind::DeltaPublish, "nvfix", "price=5|id=1|new=x|"),
        (CommandKind::Publish, "nvfix", "side=buy|"),
        (CommandKind::Publish, "fix", "35=D|38=1|58=a|"),
        (CommandKind::DeltaPublish, "fix", "35=D|38=1|58=b|"),
        (CommandKind::DeltaPublish, "fix", "35=F|38=1|"),
    ] {
        sequence += 1;
        let body = body.replace('|', "\x01").into_bytes();
        let command = Command::new(kind).topic(topic).number(Field::Sequence, sequence);
        bench.send(&publisher, command.body(body));
    }
    for (topic, expected) in [
        ("nvfix", vec!["id=1|side=buy|price=5|new=x|", "id=2|side=sell|"]),
        ("fix", vec!["35=D|38=1|58=b|", "35=F|38=1|"]),
    ] {
        let query = Command::new(CommandKind::Sow).id("q").topic(topic).number(Field::BatchSize, 10);
        bench.send(&wire, query.acks(AckType::Completed));
        let answer = bench.drain(&mut wire);
        let records = answer.iter().flat_map(amps_core::batch::records);
        let mut bodies: Vec<_> =
            records.map(|record| String::from_utf8_lossy(record.data()).replace('\x01', "|")).collect();
        bodies.sort();
        assert_eq!(bodies, expected, "{topic}");
    }
}

#[test]
fn a_topic_without_fields_has_no_keys_in_its_messages() {
    for topic in ["binary", "composite"] {
        let config = config().sow(topic, "/id");
        let error = Engine::new(config, Box::new(NoJournal)).unwrap_err().to_string();
        assert!(error.contains(topic) && error.contains("let publishers give them"), "{error}");
    }
}
