//! Content filters where they work: live, in a replay, in queries, when a
//! subscription is replaced, and in what a user may read and write.

mod common;

use amps_core::batch::records;
use amps_core::message::MessageKind;
use amps_core::{AckType, AckTypes, Command, CommandKind, Field, Message};
use amps_testserver::{Access, Config, Filter, QueueConfig, publisher_id};
use common::*;

fn filter(text: &str) -> Filter {
    text.parse().unwrap()
}

fn record(topic: &str, sequence: u64, body: &str) -> Command {
    Command::new(CommandKind::Publish).topic(topic).number(Field::Sequence, sequence).body(body.to_owned())
}

fn filtered(id: &str, topic: &str, filter: &str) -> Command {
    subscribe(id, topic, AckType::Processed).text(Field::Filter, filter)
}

fn query(kind: CommandKind, id: &str, filter: &str) -> Command {
    Command::new(kind)
        .id(id)
        .topic("w")
        .text(Field::Filter, filter)
        .number(Field::BatchSize, 10)
        .acks(AckType::Processed | AckType::Stats)
}

fn as_user(name: &str) -> Command {
    logon(name).text(Field::UserId, name)
}

/// The bodies of publish messages and SOW records.
fn bodies(messages: &[Message]) -> Vec<String> {
    let mut bodies = Vec::new();
    for message in messages {
        match message.kind() {
            MessageKind::Publish => bodies.push(String::from_utf8_lossy(message.data()).into_owned()),
            MessageKind::Sow => {
                let found =
                    records(message).into_iter().map(|record| String::from_utf8_lossy(record.data()).into_owned());
                bodies.extend(found);
            }
            _ => {}
        }
    }
    bodies
}

/// Out-of-focus messages: ids, reason and body.
fn left(messages: &[Message]) -> Vec<String> {
    let of = messages.iter().filter(|message| message.kind() == MessageKind::Oof);
    let text = |message: &Message, field| message.text(field).unwrap_or_default().into_owned();
    of.map(|message| {
        assert!(message.text(Field::SowKey).is_some());
        let body = String::from_utf8_lossy(message.data()).into_owned();
        assert_eq!(message.number(Field::MessageLength), Some(body.len() as u64));
        format!("{} {} {body}", text(message, Field::SubscriptionIds), text(message, Field::Reason))
    })
    .collect()
}

/// Topic matches, matches and records returned of the stats ack.
fn counts(messages: &[Message]) -> [Option<u64>; 3] {
    let stats = messages.iter().find(|message| message.ack_type() == Some(AckType::Stats)).expect("a stats ack");
    [Field::TopicMatches, Field::Matches, Field::RecordsReturned].map(|field| stats.number(field))
}

#[test]
fn a_live_subscription_gets_what_matches_and_others_get_everything() {
    let mut bench = bench(Config::new("A"));
    let publisher = bench.logon("p");
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, filtered("1", "t", "/n > 1"));
    bench.send(&subscriber, subscribe("2", "t", AckTypes::NONE));
    bench.send(&subscriber, filtered("3", "^t", "/n % 2 = 0"));
    bench.drain(&mut subscriber);
    for sequence in 1..=4 {
        bench.send(&publisher, publish("t", sequence));
    }
    bench.send(&publisher, record("t", 5, "no json"));
    let lines = bench.lines(&mut subscriber);
    let sids: Vec<_> =
        lines.iter().map(|line| line.split_whitespace().find(|w| w.starts_with("sids=")).unwrap()).collect();
    assert_eq!(sids, ["sids=2", "sids=2,1,3", "sids=2,1", "sids=2,1,3", "sids=2"]);
}

#[test]
fn a_bad_filter_is_refused_and_nothing_is_entered() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    let publisher = bench.logon("p");
    let mut subscriber = bench.logon("s");
    for command in [
        filtered("1", "w", "/n >"),
        query(CommandKind::Sow, "2", "/n LIKE '('"),
        query(CommandKind::SowAndSubscribe, "3", "(1 = 1"),
        filtered("4", "w", "/n = 1").text(Field::Bookmark, "0"),
        filtered("5", "w", "/n = ").text(Field::Bookmark, "0"),
    ] {
        bench.send(&subscriber, command);
    }
    let lines = bench.lines(&mut subscriber);
    let acks: Vec<_> = lines.iter().filter(|line| line.starts_with("ack processed")).collect();
    let refused = |id: &str| format!("ack processed cid={id} failure=bad filter");
    assert_eq!(acks, [&refused("1"), &refused("2"), &refused("3"), "ack processed cid=4", &refused("5")]);
    bench.send(&publisher, record("w", 1, r#"{"id":1,"n":7}"#));
    assert!(bench.lines(&mut subscriber).is_empty());
}

#[test]
fn a_replay_is_filtered_and_its_bound_counts_what_matches() {
    let mut bench = bench(Config::new("A"));
    let publisher = bench.logon("p");
    for sequence in 1..=9 {
        bench.send(&publisher, publish("t", sequence));
    }
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, filtered("1", "t", "/n % 3 = 0").text(Field::Bookmark, "0"));
    bench.send(&publisher, publish("t", 10));
    bench.send(&publisher, publish("t", 12));
    assert_eq!(bodies(&bench.drain(&mut subscriber)), ["{\"n\":3}", "{\"n\":6}", "{\"n\":9}", "{\"n\":12}"]);
    let bounded = filtered("2", "t", "/n % 3 = 0").text(Field::Bookmark, "0").number(Field::TopN, 2);
    bench.send(&subscriber, bounded.acks(AckType::Completed));
    let messages = bench.drain(&mut subscriber);
    assert_eq!(bodies(&messages), ["{\"n\":3}", "{\"n\":6}"]);
    let completed = messages.iter().find(|message| message.ack_type() == Some(AckType::Completed)).unwrap();
    assert_eq!(completed.text(Field::Bookmark).unwrap(), format!("{}|6|", publisher_id("p")));
}

#[test]
fn queries_return_and_count_what_matches() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    let publisher = bench.logon("p");
    for id in 1..=5 {
        bench.send(&publisher, record("w", id, &format!(r#"{{"id":{id},"n":{}}}"#, id * 10)));
    }
    let mut reader = bench.logon("r");
    bench.send(&reader, query(CommandKind::Sow, "1", "/n >= 20 AND /n != 40"));
    let messages = bench.drain(&mut reader);
    let mut found = bodies(&messages);
    found.sort();
    assert_eq!(found, [r#"{"id":2,"n":20}"#, r#"{"id":3,"n":30}"#, r#"{"id":5,"n":50}"#]);
    assert_eq!(counts(&messages), [Some(5), Some(3), Some(3)]);

    bench.send(&reader, query(CommandKind::Sow, "2", "/n >= 20").number(Field::TopN, 1));
    assert_eq!(counts(&bench.drain(&mut reader)), [Some(5), Some(4), Some(1)]);

    bench.send(&reader, query(CommandKind::Sow, "3", "/n > 1000"));
    let messages = bench.drain(&mut reader);
    assert_eq!(counts(&messages), [Some(5), Some(0), Some(0)]);
    assert!(bodies(&messages).is_empty());
    let kinds: Vec<_> = messages.iter().map(Message::kind).collect();
    assert_eq!(kinds, [MessageKind::Ack, MessageKind::GroupBegin, MessageKind::GroupEnd, MessageKind::Ack]);
}

#[test]
fn records_that_stop_to_match_are_out_of_focus_for_those_who_asked() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    let publisher = bench.logon("p");
    bench.send(&publisher, record("w", 1, r#"{"id":1,"n":1}"#));
    let mut reader = bench.logon("r");
    bench.send(&reader, query(CommandKind::SowAndSubscribe, "1", "/n = 1").text(Field::Options, "oof"));
    bench.send(&reader, query(CommandKind::SowAndSubscribe, "2", "/n = 1"));
    bench.send(&reader, filtered("3", "w", "/n < 3").text(Field::Options, "oof"));
    bench.drain(&mut reader);
    let mut step = |sequence, body: &str| {
        bench.send(&publisher, record("w", sequence, body));
        let messages = bench.drain(&mut reader);
        let delivered: Vec<_> = messages.iter().filter(|m| m.kind() == MessageKind::Publish).map(line).collect();
        (delivered, left(&messages))
    };
    assert_eq!(
        step(2, r#"{"id":1,"n":2}"#),
        (vec![r#"p w sids=3 {"id":1,"n":2}"#.to_owned()], vec![r#"1 match {"id":1,"n":2}"#.to_owned()])
    );
    assert_eq!(step(3, r#"{"id":1,"n":5}"#), (vec![], vec![r#"3 match {"id":1,"n":5}"#.to_owned()]));
    // It matched neither before nor after.
    assert_eq!(step(4, r#"{"id":1,"n":6}"#), (vec![], vec![]));
    // A record nobody had.
    assert_eq!(step(5, r#"{"id":2,"n":6}"#), (vec![], vec![]));
    assert_eq!(step(6, r#"{"id":1,"n":1}"#), (vec![r#"p w sids=1,2,3 {"id":1,"n":1}"#.to_owned()], vec![]));
}

#[test]
fn a_replaced_filter_takes_the_place_of_the_old_one_between_two_messages() {
    let mut bench = bench(Config::new("A"));
    let publisher = bench.logon("p");
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, filtered("1", "t", "/n < 5").text(Field::SubscriptionId, "sub"));
    for sequence in 1..=20 {
        // From 1..5 to 3..10, from there to 8.., all on the same subscription.
        let replacement =
            |filter| filtered("again", "t", filter).text(Field::SubscriptionId, "sub").text(Field::Options, "replace");
        match sequence {
            4 => bench.send(&subscriber, replacement("/n BETWEEN 3 AND 10")),
            6 => bench.send(&subscriber, replacement("/n >")),
            9 => bench.send(&subscriber, replacement("/n >= 8 AND /n != 12")),
            _ => {}
        }
        bench.send(&publisher, publish("t", sequence));
    }
    let messages = bench.drain(&mut subscriber);
    let expected: Vec<_> = (1..=20).filter(|n| *n != 12).map(|n| format!("{{\"n\":{n}}}")).collect();
    assert_eq!(bodies(&messages), expected);
    let failed: Vec<_> = messages.iter().map(line).filter(|line| line.contains("failure")).collect();
    assert_eq!(failed, ["ack processed cid=again failure=bad filter"]);
}

#[test]
fn a_replaced_bookmark_subscription_goes_on_where_it_was() {
    let mut bench = bench(Config::new("A"));
    let publisher = bench.logon("p");
    for sequence in 1..=4 {
        bench.send(&publisher, publish("t", sequence));
    }
    let mut subscriber = bench.logon("s");
    bench.send(&subscriber, filtered("1", "t", "/n < 3").text(Field::Bookmark, "0"));
    assert_eq!(bodies(&bench.drain(&mut subscriber)), ["{\"n\":1}", "{\"n\":2}"]);
    // Logged, and not yet sent when the replacement comes.
    bench.send(&publisher, publish("t", 5));
    bench.send(&publisher, publish("t", 6));
    let replacement = filtered("2", "t", "/n > 3").text(Field::SubscriptionId, "1").text(Field::Options, "replace");
    bench.send(&subscriber, replacement);
    bench.send(&publisher, publish("t", 7));
    let messages = bench.drain(&mut subscriber);
    assert_eq!(bodies(&messages), ["{\"n\":5}", "{\"n\":6}", "{\"n\":7}"]);
    assert!(messages.iter().all(|m| m.kind() != MessageKind::Publish || m.text(Field::Bookmark).is_some()));
}

#[test]
fn a_replaced_query_sends_only_what_is_new_and_tells_what_fell_out() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    let publisher = bench.logon("p");
    for id in 1..=4 {
        bench.send(&publisher, record("w", id, &format!(r#"{{"id":{id}}}"#)));
    }
    let mut reader = bench.logon("r");
    let kind = CommandKind::SowAndSubscribe;
    bench.send(&reader, query(kind, "1", "/id <= 2").text(Field::SubscriptionId, "sub").text(Field::Options, "oof"));
    assert_eq!(bodies(&bench.drain(&mut reader)).len(), 2);
    let again = query(kind, "2", "/id >= 2").text(Field::SubscriptionId, "sub").text(Field::Options, "oof,replace");
    bench.send(&reader, again);
    let messages = bench.drain(&mut reader);
    let mut found = bodies(&messages);
    found.sort();
    assert_eq!(found, [r#"{"id":3}"#, r#"{"id":4}"#]);
    assert_eq!(left(&messages), [r#"sub match {"id":1}"#]);
    assert_eq!(counts(&messages), [Some(4), Some(3), Some(2)]);
    // A bounded query did not send all that it matched.
    let bounded =
        query(kind, "2", "/id >= 2").text(Field::SubscriptionId, "sub").text(Field::Options, "replace,top_n=1");
    bench.send(&reader, bounded);
    bench.drain(&mut reader);
    bench
        .send(&reader, query(kind, "2", "/id >= 2").text(Field::SubscriptionId, "sub").text(Field::Options, "replace"));
    assert_eq!(bodies(&bench.drain(&mut reader)).len(), 3);
    // A plain subscription in its place has no result to compare with.
    let plain = filtered("3", "w", "/id = 1").text(Field::SubscriptionId, "sub").text(Field::Options, "replace");
    bench.send(&reader, plain);
    bench.send(&reader, query(kind, "4", "/id = 1").text(Field::SubscriptionId, "sub").text(Field::Options, "replace"));
    assert_eq!(bodies(&bench.drain(&mut reader)), [r#"{"id":1}"#]);
}

#[test]
fn a_subscription_replaced_by_a_topic_its_user_may_not_read_is_silent() {
    let mut bench = bench(Config::new("A"));
    bench.engine.with_faults(bench.now, |faults| {
        faults.entitle(|_, access, topic| access != Access::Read || topic != "secret")
    });
    let publisher = bench.logon("p");
    let mut subscriber = bench.logon("s");
    let moved = |topic: &str| {
        subscribe("2", topic, AckType::Processed).text(Field::SubscriptionId, "1").text(Field::Options, "replace")
    };
    bench.send(&subscriber, moved("secret"));
    assert_eq!(bench.lines(&mut subscriber), ["ack processed cid=2 failure=not entitled"]);
    bench.send(&subscriber, subscribe("1", "t", AckType::Processed));
    bench.send(&subscriber, moved("secret"));
    bench.send(&publisher, publish("t", 1));
    bench.send(&publisher, publish("secret", 2));
    assert_eq!(bench.lines(&mut subscriber), ["ack processed cid=1", "ack processed cid=2"]);
}

#[test]
fn a_user_reads_only_what_the_entitlement_matches() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    bench.engine.with_faults(bench.now, |faults| {
        faults.entitle_content(|user, access, topic| {
            (user == "eva" && access == Access::Read && topic == "w").then(|| filter("/eu = 1"))
        });
    });
    let publisher = bench.logon("p");
    bench.send(&publisher, record("w", 1, r#"{"id":1,"eu":1}"#));
    bench.send(&publisher, record("w", 2, r#"{"id":2,"eu":0}"#));
    let mut eva = bench.connect();
    bench.send(&eva, as_user("eva"));
    // By a pattern: what counts is the topic of each message.
    bench.send(&eva, subscribe("1", "^[wx]$", AckTypes::NONE));
    bench.send(&eva, filtered("2", "w", "/id > 3"));
    bench.send(&eva, subscribe("3", "w", AckTypes::NONE).text(Field::Bookmark, "0"));
    bench.send(&eva, query(CommandKind::Sow, "4", "1 = 1"));
    let messages = bench.drain(&mut eva);
    // From the SOW, and from the log.
    assert_eq!(bodies(&messages), [r#"{"id":1,"eu":1}"#, r#"{"id":1,"eu":1}"#]);
    assert_eq!(counts(&messages), [Some(2), Some(1), Some(1)]);

    for (sequence, topic, body) in [
        (3, "w", r#"{"id":3,"eu":1}"#),
        (4, "w", r#"{"id":4,"eu":1}"#),
        (5, "w", r#"{"id":5,"eu":0}"#),
        (6, "x", r#"{"id":6,"eu":0}"#),
    ] {
        bench.send(&publisher, record(topic, sequence, body));
    }
    let plain = |message: &&Message| message.kind() == MessageKind::Publish && message.text(Field::Bookmark).is_none();
    let messages = bench.drain(&mut eva);
    let lines: Vec<_> = messages.iter().filter(plain).map(line).collect();
    assert_eq!(
        lines,
        [r#"p w sids=1 {"id":3,"eu":1}"#, r#"p w sids=1,2 {"id":4,"eu":1}"#, r#"p x sids=1 {"id":6,"eu":0}"#,]
    );
    let replayed: Vec<_> = messages.iter().filter(|m| m.text(Field::Bookmark).is_some()).cloned().collect();
    assert_eq!(bodies(&replayed), [r#"{"id":3,"eu":1}"#, r#"{"id":4,"eu":1}"#]);
}

/// AMPS User Guide, "Entitlement": what a pattern names is checked topic by topic,
/// when there is something of it.
#[test]
fn of_a_pattern_a_user_gets_and_deletes_only_in_topics_of_theirs() {
    let config = Config::new("A").sow("w1", "/id").sow("w2", "/id").sow("w3", "/id");
    let mut bench = bench(config.queue(QueueConfig::new("wq")).queue(QueueConfig::new("wr")));
    let publisher = bench.logon("p");
    for (sequence, topic) in (1..).zip(["w1", "w2", "w3", "wq", "wr"]) {
        bench.send(&publisher, record(topic, sequence, &format!(r#"{{"id":"{topic}"}}"#)));
    }
    bench.engine.with_faults(bench.now, |faults| {
        faults.entitle(|user, access, topic| {
            user != "eva" || access == Access::Logon || ["w1", "w3", "wq"].contains(&topic)
        });
    });
    let mut eva = bench.connect();
    bench.send(&eva, as_user("eva"));
    bench.drain(&mut eva);
    let pattern = || query(CommandKind::Sow, "q", "1 = 1").topic("^w");
    bench.send(&eva, pattern());
    let messages = bench.drain(&mut eva);
    assert_eq!(bodies(&messages), [r#"{"id":"w1"}"#, r#"{"id":"w3"}"#, r#"{"id":"wq"}"#]);
    assert_eq!(counts(&messages), [Some(3); 3]);
    // Live, from the log, and out of a queue.
    bench.send(&eva, subscribe("live", "^w[123]", AckType::Processed).text(Field::Options, "oof"));
    bench.send(&eva, subscribe("log", "^w[123]", AckType::Processed).text(Field::Bookmark, "0"));
    bench.send(&eva, subscribe("queues", "^w[qr]", AckType::Processed));
    let messages = bench.drain(&mut eva);
    assert_eq!(messages.iter().filter(|message| message.ack_type() == Some(AckType::Processed)).count(), 3);
    assert_eq!(bodies(&messages), [r#"{"id":"wq"}"#, r#"{"id":"w1"}"#, r#"{"id":"w3"}"#]);
    bench.send(&publisher, record("w2", 6, r#"{"id":"other"}"#));
    assert!(bench.drain(&mut eva).is_empty());
    // Only what may be written is deleted.
    let all = |topic: &str| Command::new(CommandKind::SowDelete).topic(topic).text(Field::Filter, "1 = 1");
    bench.send(&eva, all("^w").acks(AckType::Stats));
    let stats = bench.drain(&mut eva).into_iter().find(|message| message.ack_type() == Some(AckType::Stats)).unwrap();
    assert_eq!((stats.number(Field::TopicMatches), stats.number(Field::RecordsDeleted)), (Some(2), Some(2)));
    for topic in ["w2", "^w2$"] {
        bench.send(&eva, all(topic).acks(AckType::Processed));
        assert_eq!(bench.lines(&mut eva), ["ack processed failure=not entitled"], "{topic}");
    }
    let mut other = bench.logon("o");
    bench.send(&other, query(CommandKind::Sow, "q", "1 = 1").topic("^w[123]"));
    assert_eq!(bodies(&bench.drain(&mut other)).len(), 2, "those of w2");
}

#[test]
fn a_record_a_user_may_not_read_any_more_goes_out_of_focus_as_it_was() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    let rule = |_: &str, access: Access, _: &str| (access == Access::Read).then(|| filter("/secret IS NULL"));
    bench.engine.with_faults(bench.now, |faults| faults.entitle_content(rule));
    let publisher = bench.logon("p");
    let mut reader = bench.logon("r");
    bench.send(&reader, query(CommandKind::SowAndSubscribe, "1", "/n = 1").text(Field::Options, "oof"));
    bench.send(&publisher, record("w", 1, r#"{"id":1,"n":1}"#));
    bench.send(&publisher, record("w", 2, r#"{"id":1,"n":1,"secret":"x"}"#));
    let messages = bench.drain(&mut reader);
    assert_eq!(bodies(&messages), [r#"{"id":1,"n":1}"#]);
    assert_eq!(left(&messages), [r#"1 entitlement {"id":1,"n":1}"#]);
}

#[test]
fn a_user_publishes_only_what_the_entitlement_matches() {
    let mut bench = bench(Config::new("A"));
    let rule =
        |user: &str, access: Access, _: &str| (user == "eva" && access == Access::Write).then(|| filter("/n < 3"));
    bench.engine.with_faults(bench.now, |faults| faults.entitle_content(rule));
    let mut eva = bench.connect();
    bench.send(&eva, as_user("eva"));
    bench.drain(&mut eva);
    for sequence in 1..=3 {
        bench.send(&eva, publish("t", sequence).acks(AckType::Processed));
    }
    let publisher = bench.logon("other");
    bench.send(&publisher, publish("t", 9));
    assert_eq!(
        bench.lines(&mut eva),
        ["ack processed s=1", "ack processed s=2", "ack processed s=3 failure=not entitled",]
    );
    assert_eq!((bench.sequences("eva"), bench.sequences("other")), (vec![1, 2], vec![9]));
}

fn delete(sequence: u64, filter: &str) -> Command {
    Command::new(CommandKind::SowDelete)
        .topic("w")
        .number(Field::Sequence, sequence)
        .text(Field::Filter, filter)
        .acks(AckType::Processed | AckType::Stats)
}

#[test]
fn records_are_deleted_by_filter_and_leave_those_who_had_them() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    let mut publisher = bench.logon("p");
    for id in 1..=4 {
        bench.send(&publisher, record("w", id, &format!(r#"{{"id":{id}}}"#)));
    }
    let mut reader = bench.logon("r");
    bench.send(&reader, filtered("1", "w", "/id < 3").text(Field::Options, "oof"));
    bench.send(&reader, subscribe("2", "w", AckTypes::NONE).text(Field::Options, "oof"));
    bench.send(&reader, subscribe("3", "w", AckTypes::NONE));
    bench.drain(&mut reader);
    bench.send(&publisher, delete(5, "/id IN (2, 3"));
    assert_eq!(bench.lines(&mut publisher), ["ack processed s=5 failure=bad filter"]);
    bench.send(&publisher, delete(5, "/id IN (2, 3)"));
    let messages = bench.drain(&mut publisher);
    assert_eq!(messages[1].number(Field::TopicMatches), Some(4));
    assert_eq!(messages[1].number(Field::RecordsDeleted), Some(2));
    let mut told = left(&bench.drain(&mut reader));
    told.sort();
    assert_eq!(told, [r#"2 deleted {"id":3}"#, r#"2,1 deleted {"id":2}"#]);
    bench.send(&publisher, delete(6, "1=1"));
    assert_eq!(left(&bench.drain(&mut reader)).len(), 2);
    bench.send(&reader, query(CommandKind::Sow, "4", "1=1"));
    assert_eq!(counts(&bench.drain(&mut reader)), [Some(0); 3]);
}

#[test]
fn a_user_deletes_only_records_the_entitlement_matches() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    let publisher = bench.logon("p");
    for id in 1..=4 {
        bench.send(&publisher, record("w", id, &format!(r#"{{"id":{id}}}"#)));
    }
    let rule = |_: &str, access: Access, _: &str| (access == Access::Write).then(|| filter("/id > 2"));
    bench.engine.with_faults(bench.now, |faults| faults.entitle_content(rule));
    let mut writer = bench.logon("w");
    bench.send(&writer, delete(1, "/id != 4"));
    let messages = bench.drain(&mut writer);
    assert_eq!(messages[1].number(Field::RecordsDeleted), Some(1));
    bench.send(&writer, query(CommandKind::Sow, "4", "1=1"));
    let mut kept = bodies(&bench.drain(&mut writer));
    kept.sort();
    assert_eq!(kept, [r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":4}"#]);
}

#[test]
fn a_delta_is_judged_by_the_whole_it_makes() {
    let mut bench = bench(Config::new("A").sow("w", "/id"));
    let rule = |_: &str, access: Access, _: &str| (access == Access::Write).then(|| filter("/owner = 'me' AND /n < 9"));
    bench.engine.with_faults(bench.now, |faults| faults.entitle_content(rule));
    let mut writer = bench.logon("w");
    let mut reader = bench.logon("r");
    bench.send(&reader, filtered("1", "w", "/owner = 'me'").acks(AckTypes::NONE));
    bench.send(&writer, record("w", 1, r#"{"id":1,"owner":"me","n":1}"#));
    let delta = |sequence, body: &str| {
        let command = Command::new(CommandKind::DeltaPublish).topic("w").number(Field::Sequence, sequence);
        command.acks(AckType::Processed).body(body.to_owned())
    };
    bench.send(&writer, delta(2, r#"{"id":1,"n":2}"#));
    bench.send(&writer, delta(3, r#"{"id":1,"n":9}"#));
    assert_eq!(bench.lines(&mut writer), ["ack processed s=2", "ack processed s=3 failure=not entitled"]);
    assert_eq!(bodies(&bench.drain(&mut reader)), [r#"{"id":1,"owner":"me","n":1}"#, r#"{"id":1,"n":2,"owner":"me"}"#]);
}
