//! Each other reading of the documents: what it changes on the wire. Those of
//! filters have a file of their own.

mod common;

use std::time::Duration;

use amps_core::message::MessageKind;
use amps_core::{AckType, AckTypes, Command, CommandKind, Field, FrameDecoder, Message};
use amps_testserver::{Config, MemoryJournal, QueueConfig, Readings, publisher_id};
use common::*;

const TIME: u64 = 1_767_608_130;

/// A server under one reading, with three records.
fn server(name: &str) -> (Bench, Wire) {
    let queue = QueueConfig::new("q").lease(Duration::from_secs(10)).max_per_subscription_backlog(5);
    let mut config = Config::new("A").sow("w", "/id").queue(queue);
    config.wall_clock = Duration::from_secs(TIME);
    if !name.is_empty() {
        config.readings = Readings::each().find(|(own, _)| *own == name).expect("a reading").1;
    }
    let mut bench = bench_on(config, MemoryJournal::new());
    let wire = bench.logon("c");
    for id in 1..=3 {
        bench.send(&wire, record("w", id, &format!(r#"{{"id":{id}}}"#)));
    }
    (bench, wire)
}

/// Both headers of what a command is answered, usually and under a reading.
fn both(name: &str, ask: impl Fn(&mut Bench, &mut Wire) -> Vec<String>) -> [Vec<String>; 2] {
    ["", name].map(|name| {
        let (mut bench, mut wire) = server(name);
        ask(&mut bench, &mut wire)
    })
}

fn headers(bench: &mut Bench, wire: &mut Wire, command: Command) -> Vec<String> {
    bench.send(wire, command);
    bench.drain(wire).iter().map(|message| message.header().to_owned()).collect()
}

fn command(kind: CommandKind, topic: &str) -> Command {
    Command::new(kind).id("1").topic(topic)
}

/// The value of a field, as text.
fn field(header: &str, key: &str) -> Option<String> {
    let message = Message::decode(header.to_owned().into()).unwrap();
    message.text(Field::from_key(key.as_bytes()).unwrap()).map(|text| text.into_owned())
}

fn fields(headers: &[String], key: &str) -> Vec<Option<String>> {
    headers.iter().map(|header| field(header, key)).collect()
}

#[test]
fn a_message_has_another_name_or_another_id() {
    for topic in ["w", "q"] {
        let deliver = |bench: &mut Bench, wire: &mut Wire| {
            bench.send(wire, subscribe("s", topic, AckTypes::NONE));
            headers(bench, wire, record(topic, 9, r#"{"id":9}"#))
        };
        let [usual, other] = both("long_publish", deliver);
        assert_eq!((&usual[0][..9], &other[0][..15]), (r#"{"c":"p","#, r#"{"c":"publish","#), "{topic}");
        let [usual, other] = both("sub_id_for_one", deliver);
        assert_eq!((field(&usual[0], "sids"), field(&usual[0], "sub_id")), (Some("s".to_owned()), None), "{topic}");
        assert_eq!((field(&other[0], "sids"), field(&other[0], "sub_id")), (None, Some("s".to_owned())), "{topic}");
    }
    // Of records that are out of focus too, and not where it is for two.
    let (mut bench, mut wire) = server("sub_id_for_one");
    bench.send(&wire, subscribe("a", "w", AckTypes::NONE).text(Field::Options, "oof"));
    let oof = headers(&mut bench, &mut wire, deletion("w", 9, r#"{"id":1}"#));
    assert_eq!((field(&oof[0], "c").as_deref(), field(&oof[0], "sub_id").as_deref()), (Some("oof"), Some("a")));
    bench.send(&wire, subscribe("b", "w", AckTypes::NONE));
    let two = headers(&mut bench, &mut wire, record("w", 10, r#"{"id":1}"#));
    assert_eq!(field(&two[0], "sids").as_deref(), Some("a,b"));
}

#[test]
fn acks_name_more_or_less() {
    let [usual, other] =
        both("no_sub_id_in_processed", |bench, wire| headers(bench, wire, subscribe("s", "w", AckType::Processed)));
    assert_eq!((field(&usual[0], "sub_id").as_deref(), field(&other[0], "sub_id")), (Some("s"), None));
    assert_eq!(field(&other[0], "cid").as_deref(), Some("s"));

    let [usual, other] = both("no_command_id_in_positions", |bench, wire| {
        bench.send(wire, subscribe("s", "w", AckType::Persisted).text(Field::Bookmark, "0"));
        bench.drain(wire);
        bench.pass(Duration::from_secs(2));
        bench.drain(wire).iter().map(|message| message.header().to_owned()).collect()
    });
    assert_eq!((field(&usual[0], "cid").as_deref(), field(&other[0], "cid")), (Some("s"), None));
    assert_eq!(field(&other[0], "sub_id").as_deref(), Some("s"));

    let [usual, other] = both("no_bookmark_in_logon", |bench, _| {
        let mut wire = bench.connect();
        headers(bench, &mut wire, logon("other"))
    });
    assert_eq!((field(&usual[0], "bm").is_some(), field(&other[0], "bm")), (true, None));

    let [usual, other] = both("all_options_in_ack", |bench, wire| {
        let command = subscribe("s", "q", AckType::Processed).text(Field::Options, "timestamp,max_backlog=9,no_sowkey");
        headers(bench, wire, command)
    });
    assert_eq!(field(&usual[0], "o").as_deref(), Some("max_backlog=5"));
    assert_eq!(field(&other[0], "o").as_deref(), Some("timestamp,max_backlog=5,no_sowkey"));

    for (kind, more) in [(CommandKind::Sow, "top_n=1"), (CommandKind::SowDelete, "")] {
        let [usual, other] = both("all_counts", |bench, wire| {
            let command = command(kind, "w").text(Field::Options, more).text(Field::Filter, "/id < 2");
            headers(bench, wire, command.acks(AckType::Stats))
        });
        let counts = |headers: &[String]| {
            ["records_inserted", "records_updated", "matches"].map(|key| field(headers.last().unwrap(), key))
        };
        assert_eq!(counts(&usual), [None, None, Some("1".to_owned())], "{kind:?}");
        assert_eq!(counts(&other), ["0", "0", "1"].map(|count| Some(count.to_owned())), "{kind:?}");
    }
}

#[test]
fn acks_of_a_query_come_in_another_order() {
    let [usual, other] = both("stats_before_completed", |bench, wire| {
        headers(bench, wire, command(CommandKind::Sow, "w").acks(AckType::Completed | AckType::Stats))
    });
    let acks = |headers: &[String]| fields(headers, "a").into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(
        (acks(&usual), acks(&other)),
        (vec!["completed".to_owned(), "stats".to_owned()], vec!["stats".to_owned(), "completed".to_owned()])
    );
}

#[test]
fn subscriptions_are_ended_and_replaced_otherwise() {
    let unsubscribe = |id: Option<&str>| {
        Command::new(CommandKind::Unsubscribe).id("u").maybe(Field::SubscriptionId, id).acks(AckType::Processed)
    };
    let lines = |name: &str, last: Command| {
        both(name, |bench, wire| {
            bench.send(wire, subscribe("s", "w", AckTypes::NONE));
            bench.send(wire, last.clone());
            bench.send(wire, record("w", 9, r#"{"id":9}"#));
            bench.lines(wire)
        })
    };
    let message = r#"p w sids=s {"id":9}"#;
    let [usual, other] = lines("unsubscribe_ends_all", unsubscribe(None));
    assert_eq!(usual, ["ack processed cid=u failure=invalid sub id", message]);
    assert_eq!(other, ["ack processed cid=u"]);

    let [usual, other] = lines("unknown_unsubscribe_fails", unsubscribe(Some("s,other")));
    assert_eq!(usual, ["ack processed cid=u"]);
    assert_eq!(other, ["ack processed cid=u failure=invalid sub id", message], "and the one that is there stays");
    let [_, known] = lines("unknown_unsubscribe_fails", unsubscribe(Some("s")));
    assert_eq!(known, ["ack processed cid=u"]);

    let again = subscribe("s", "w", AckType::Processed).text(Field::Filter, "/id < 9");
    let [usual, other] = lines("reused_id_replaces", again);
    assert_eq!(usual, ["ack processed cid=s failure=subid in use", message]);
    assert_eq!(other, ["ack processed cid=s"]);
}

#[test]
fn writes_are_acknowledged_otherwise() {
    let write = |sequence, acks: AckTypes| record("w", sequence, r#"{"id":1}"#).id("p").acks(acks);
    let persisted = AckTypes::from(AckType::Persisted);
    let again = |bench: &mut Bench, wire: &mut Wire| {
        bench.send(wire, write(2, persisted));
        let mut lines = bench.lines(wire);
        lines.push("later".to_owned());
        bench.pass(Duration::from_secs(2));
        lines.extend(bench.lines(wire));
        lines
    };
    let [usual, succeeds] = both("duplicates_succeed", again);
    assert_eq!(usual, ["later", "ack persisted s=2"]);
    assert_eq!(succeeds, ["ack persisted cid=p s=2", "later", "ack persisted s=2"]);
    let [_, fails] = both("duplicates_fail", again);
    assert_eq!(fails, ["ack persisted s=2 failure=duplicate", "later"]);

    let refused = |bench: &mut Bench, wire: &mut Wire| {
        let command = record("w", 9, "{}").id("p").acks(AckType::Processed | AckType::Persisted);
        bench.send(wire, command);
        bench.lines(wire)
    };
    let [usual, once] = both("failure_told_once", refused);
    let processed = "ack processed cid=p s=9 failure=bad sow key";
    assert_eq!(usual, [processed, "ack persisted s=9 failure=bad sow key"]);
    assert_eq!(once, [processed]);
    let [_, only] = both("failure_told_once", |bench, wire| {
        bench.send(wire, record("w", 9, "{}").acks(AckType::Persisted));
        bench.lines(wire)
    });
    assert_eq!(only, ["ack persisted s=9 failure=bad sow key"]);

    let [usual, other] = both("bookmark_in_publish_acks", |bench, wire| {
        bench.send(wire, write(4, persisted));
        bench.pass(Duration::from_secs(2));
        bench.drain(wire).iter().map(|message| message.header().to_owned()).collect()
    });
    assert_eq!((field(&usual[0], "bm"), field(&other[0], "bm")), (None, Some(format!("{}|4|", publisher_id("c")))));
}

#[test]
fn positions_are_told_before_a_replay_has_caught_up() {
    let [usual, other] = both("positions_during_replay", |bench, wire| {
        let command = subscribe("s", "w", AckType::Persisted | AckType::Completed).text(Field::Bookmark, "0");
        bench.send(wire, command.text(Field::Options, "rate=0.5"));
        bench.drain(wire);
        bench.pass(Duration::from_millis(1_500));
        bench.lines(wire)
    });
    assert!(usual.is_empty(), "{usual:?}");
    assert_eq!(other, [format!("ack persisted cid=s bm={}|1|", publisher_id("c"))]);
}

#[test]
fn a_batch_says_more_of_its_first_record() {
    let [usual, other] = both("first_record_in_batch", |bench, wire| {
        bench.send(wire, command(CommandKind::Sow, "w").number(Field::BatchSize, 5).text(Field::Options, "timestamp"));
        let mut text = Vec::new();
        while let Some(bytes) = bench.engine.poll_transmit(wire.id) {
            let mut decoder = FrameDecoder::new(1 << 20);
            decoder.extend(&bytes);
            while let Some(frame) = decoder.next_frame().unwrap() {
                text.push(String::from_utf8(frame.to_vec()).unwrap());
            }
        }
        text.retain(|frame| frame.starts_with(r#"{"c":"sow""#));
        text
    });
    let time = r#","ts":"20260105T101530.000000Z""#;
    let key = usual[0].split(r#""k":""#).nth(1).unwrap().split('"').next().unwrap();
    let batch = r#"{"c":"sow","t":"w","query_id":"1","bs":3"#;
    assert!(usual[0].starts_with(&format!(r#"{batch}}}{{"k":"{key}","l":8{time}}}{{"id""#)), "{}", usual[0]);
    let other_batch = format!(r#"{batch},"k":"{key}"{time},"l":8}}{{"k":"{key}","l":8}}{{"id""#);
    assert!(other[0].starts_with(&other_batch), "{}", other[0]);
}

#[test]
fn times_are_written_and_read_in_another_form() {
    let [usual, other] = both("extended_times", |bench, wire| {
        bench.send(wire, subscribe("s", "q", AckTypes::NONE).text(Field::Options, "timestamp"));
        headers(bench, wire, record("q", 9, "{}"))
    });
    let times = |headers: &[String]| ["lp", "ts"].map(|key| field(&headers[0], key).unwrap());
    assert_eq!(times(&usual), ["20260105T101540.000000Z", "20260105T101530.000000Z"]);
    assert_eq!(times(&other), ["2026-01-05T10:15:40.000000Z", "2026-01-05T10:15:30.000000Z"]);

    let [usual, other] = both("fractions_in_bookmarks", |bench, wire| {
        bench.pass(Duration::from_millis(250));
        bench.send(wire, record("w", 9, r#"{"id":9}"#));
        bench.send(wire, subscribe("s", "w", AckType::Processed).text(Field::Bookmark, "20260105T101530.2Z"));
        bench.lines(wire)
    });
    assert_eq!(usual, ["ack processed cid=s failure=invalid bookmark"]);
    assert_eq!(other.len(), 2, "{other:?}");
    assert!(other[1].ends_with(r#"{"id":9}"#), "{other:?}");
}

#[test]
fn a_refused_logon_is_not_answered() {
    let [usual, other] = both("silent_refusal_of_logon", |bench, _| {
        bench.engine.with_faults(bench.now, |faults| faults.check_credentials(|_, _| false));
        let mut wire = bench.connect();
        bench.send(&wire, logon("me"));
        let lines = bench.lines(&mut wire);
        assert!(bench.engine.should_close(wire.id));
        lines
    });
    assert_eq!((usual, other), (vec!["ack processed cid=logon failure=auth failure".to_owned()], vec![]));
}

#[test]
fn heartbeats_have_an_option() {
    let [usual, other] = both("options_in_heartbeats", |bench, wire| {
        bench.send(wire, Command::new(CommandKind::Heartbeat).text(Field::Options, "start,1"));
        bench.pass(Duration::from_secs(1));
        let messages = bench.drain(wire);
        assert!(messages.iter().all(|message| message.kind() == MessageKind::Heartbeat));
        messages.iter().map(|message| message.header().to_owned()).collect()
    });
    assert_eq!((usual[0].as_str(), other[0].as_str()), (r#"{"c":"heartbeat"}"#, r#"{"c":"heartbeat","o":"beat"}"#));
}
