//! Message queues: one subscriber a message, leases, and what ends them.

mod common;

use std::time::Duration;

use amps_core::{AckType, AckTypes, Bookmark, Command, CommandKind, Field, Message, batch};
use amps_testserver::{
    Config, Engine, Fairness, FileJournal, Journal, Leasing, MemoryJournal, NoJournal, QueueConfig, QueueDepth,
    SowConfig, publisher_id,
};
use common::*;

const SECOND: Duration = Duration::from_secs(1);

const NONE: [u64; 0] = [];

fn work() -> QueueConfig {
    QueueConfig::new("work").lease(10 * SECOND).max_per_subscription_backlog(5)
}

fn config(queue: QueueConfig) -> Config {
    Config::new("A").queue(queue)
}

/// A queue with messages 1 to `count`, on a journal.
fn filled_on(journal: impl Journal + 'static, queue: QueueConfig, count: u64) -> Bench {
    let mut bench = bench_on(config(queue), journal);
    let wire = bench.logon("p");
    for sequence in 1..=count {
        bench.send(&wire, publish("work", sequence));
    }
    bench
}

fn filled(queue: QueueConfig, count: u64) -> Bench {
    filled_on(NoJournal, queue, count)
}

fn consumer(bench: &mut Bench, name: &str, backlog: u64) -> Wire {
    let wire = bench.logon(name);
    let options = format!("max_backlog={backlog}");
    bench.send(&wire, subscribe(name, "work", AckType::Processed).text(Field::Options, options));
    wire
}

/// The sequences of the messages that arrived.
fn received(bench: &mut Bench, wire: &mut Wire) -> Vec<u64> {
    let messages = bench.drain(wire);
    messages.iter().filter(|message| message.raw(Field::Command) == Some("p")).map(sequence).collect()
}

fn sequence(message: &Message) -> u64 {
    message.bookmark().expect("a bookmark").sequence
}

fn acknowledgement(sequences: &[u64]) -> Command {
    let publisher = publisher_id("p");
    Command::sow_delete("work").bookmarks(sequences.iter().map(|sequence| Bookmark { publisher, sequence: *sequence }))
}

fn depth(bench: &Bench) -> (usize, usize) {
    let QueueDepth { available, leased, .. } = bench.engine.queue("work").expect("a queue");
    (available, leased)
}

#[test]
fn each_message_goes_to_one_subscription_as_far_as_its_backlog_goes() {
    let mut bench = filled(work(), 4);
    let mut one = bench.logon("one");
    bench.send(&one, subscribe("1", "work", AckType::Processed));
    let answer = bench.drain(&mut one);
    assert_eq!(answer[0].raw(Field::Options), Some("max_backlog=1"), "asked for nothing");
    assert_eq!(sequence(&answer[1]), 1);
    assert_eq!(answer.len(), 2);
    let mut two = bench.logon("two");
    bench.send(&two, subscribe("2", "work", AckType::Processed).text(Field::Options, "max_backlog=20"));
    let answer = bench.drain(&mut two);
    assert_eq!(answer[0].raw(Field::Options), Some("max_backlog=5"), "what the queue grants");
    assert_eq!(answer[1..].iter().map(sequence).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(depth(&bench), (0, 4));
    let wire = bench.logon("p");
    bench.send(&wire, publish("work", 5));
    assert_eq!(received(&mut bench, &mut one), NONE, "its backlog is full");
    assert_eq!(received(&mut bench, &mut two), [5]);
}

/// A queue's message as it stands on the wire.
#[test]
fn a_message_carries_its_bookmark_and_the_end_of_its_lease() {
    let mut config = config(work());
    config.wall_clock = Duration::from_micros(1_767_608_120_250_000);
    let mut bench = bench(config);
    let publisher = bench.logon("p");
    let mut wire = consumer(&mut bench, "c", 1);
    bench.drain(&mut wire);
    bench.send(&publisher, publish("work", 3));
    let bytes = bench.engine.poll_transmit(wire.id).expect("a message");
    let id = publisher_id("p");
    let header = format!(r#"{{"c":"p","t":"work","sids":"c","bm":"{id}|3|","lp":"20260105T101530.250000Z"}}{{"n":3}}"#);
    assert_eq!(String::from_utf8_lossy(&bytes[4..]), header);
}

/// The same where it is asked for otherwise, on a topic whose publishers give keys.
#[test]
fn a_message_of_a_queue_carries_what_is_asked_for() {
    let mut config = config(QueueConfig::new("work").underlying("jobs").lease(Duration::from_secs(10)));
    config = config.sow_topic(SowConfig::with_given_keys("jobs"));
    config.wall_clock = Duration::from_micros(1_767_608_120_250_000);
    let mut bench = bench(config);
    let publisher = bench.logon("p");
    let mut job = 0;
    for (options, header) in [
        ("", r#""bm":"BM","k":"key+7","x":"c","lp":"20260105T101530.250000Z"}{"a":1,"b":2}"#),
        (
            "timestamp,no_sowkey",
            r#""bm":"BM","x":"c","lp":"20260105T101530.250000Z","ts":"20260105T101520.250000Z"}{"a":1,"b":2}"#,
        ),
        ("select=[-/b]", r#""bm":"BM","k":"key+7","x":"c","lp":"20260105T101530.250000Z"}{"a":1}"#),
    ] {
        let mut wire = bench.logon("c");
        bench.send(&wire, subscribe("s", "work", AckTypes::NONE).text(Field::Options, options));
        bench.drain(&mut wire);
        job += 1;
        let command = Command::new(CommandKind::Publish).topic("jobs").number(Field::Sequence, job);
        let command = command.text(Field::SowKey, "key+7").text(Field::CorrelationId, "c");
        bench.send(&publisher, command.body(r#"{"a":1,"b":2}"#));
        let bytes = bench.engine.poll_transmit(wire.id).expect("a message");
        let header = header.replace("BM", &format!("{}|{job}|", publisher_id("p")));
        assert_eq!(String::from_utf8_lossy(&bytes[4..]), format!(r#"{{"c":"p","t":"work","sids":"s",{header}"#));
        bench.send(&wire, Command::sow_delete("work").text(Field::Filter, "1 = 1"));
    }
}

#[test]
fn an_acknowledged_message_is_gone_and_makes_room() {
    let mut bench = filled(work(), 6);
    let mut wire = consumer(&mut bench, "c", 3);
    assert_eq!(received(&mut bench, &mut wire), [1, 2, 3]);
    let acks = AckType::Processed | AckType::Stats;
    bench.send(&wire, acknowledgement(&[1, 3]).id("a").acks(acks));
    let answer = bench.drain(&mut wire);
    assert_eq!((answer[0].ack_type(), answer[0].sequence()), (Some(AckType::Processed), None));
    assert_eq!((answer[1].number(Field::RecordsDeleted), answer[1].number(Field::TopicMatches)), (Some(2), Some(6)));
    assert_eq!(answer[2..].iter().map(sequence).collect::<Vec<_>>(), [4, 5]);
    bench.send(&wire, acknowledgement(&[1, 9]).id("b").acks(AckType::Stats));
    assert_eq!(bench.drain(&mut wire)[0].number(Field::RecordsDeleted), Some(0), "gone, and never there");
    assert_eq!(depth(&bench), (1, 3));
}

#[test]
fn what_a_queue_cannot_be_asked_is_refused() {
    let mut bench = filled(work(), 2);
    let mut wire = consumer(&mut bench, "c", 1);
    bench.drain(&mut wire);
    for (command, reason) in [
        (acknowledgement(&[1]).text(Field::Filter, "1=1"), "one of bookmark and filter"),
        (Command::sow_delete("work"), "one of bookmark and filter"),
        (Command::sow_delete("work").text(Field::SowKeys, "1"), "one of bookmark and filter"),
        (acknowledgement(&[1]).text(Field::Options, "cancel,expire"), "invalid options"),
        (Command::sow_delete("work").text(Field::Bookmark, "x"), "invalid bookmark"),
        (Command::sow_delete("work").text(Field::Filter, "/n >"), "bad filter"),
        (Command::new(CommandKind::SowAndSubscribe).topic("work"), "not both"),
    ] {
        bench.send(&wire, command.id("a").acks(AckType::Processed));
        let answer = bench.lines(&mut wire);
        assert!(answer.len() == 1 && answer[0].contains(reason), "{answer:?} {reason}");
    }
    assert_eq!(depth(&bench), (1, 1));
}

#[test]
fn a_lease_that_ends_gives_the_message_to_the_next() {
    let mut bench = filled(work(), 1);
    let mut one = consumer(&mut bench, "one", 1);
    assert_eq!(received(&mut bench, &mut one), [1]);
    bench.pass(9 * SECOND);
    assert_eq!(depth(&bench), (0, 1));
    bench.pass(SECOND);
    assert_eq!(received(&mut bench, &mut one), [1], "nobody else is there");
    let mut two = consumer(&mut bench, "two", 1);
    bench.pass(10 * SECOND);
    assert_eq!(received(&mut bench, &mut two), [1], "the one that waited");
    // Everybody who may read may acknowledge, whoever has it.
    bench.send(&one, acknowledgement(&[1]));
    assert_eq!(depth(&bench), (0, 0));
}

#[test]
fn leases_end_with_their_connection_or_subscription() {
    let mut bench = filled(work(), 4);
    let mut one = consumer(&mut bench, "one", 2);
    assert_eq!(received(&mut bench, &mut one), [1, 2]);
    let mut two = consumer(&mut bench, "two", 4);
    assert_eq!(received(&mut bench, &mut two), [3, 4]);
    bench.engine.closed(bench.now, one.id);
    assert_eq!(received(&mut bench, &mut two), [1, 2], "at once");
    let mut three = consumer(&mut bench, "three", 1);
    assert_eq!(received(&mut bench, &mut three), NONE);
    bench.send(&two, Command::new(CommandKind::Unsubscribe).text(Field::SubscriptionId, "two"));
    assert_eq!(received(&mut bench, &mut three), [1]);
    assert_eq!(depth(&bench), (3, 1));
    assert!(bench.engine.kick(bench.now, "three"));
    bench.engine.closed(bench.now, three.id);
    assert_eq!(depth(&bench), (4, 0));
}

#[test]
fn a_message_that_is_given_back_comes_again_until_it_was_too_often() {
    let mut bench = filled(work().max_cancels(2), 1);
    let mut wire = consumer(&mut bench, "c", 1);
    let cancel = acknowledgement(&[1]).text(Field::Options, "cancel");
    for _ in 0..3 {
        assert_eq!(received(&mut bench, &mut wire), [1]);
        bench.send(&wire, cancel.clone());
    }
    assert_eq!(received(&mut bench, &mut wire), NONE);
    assert_eq!(depth(&bench), (0, 0));
}

#[test]
fn a_message_is_not_delivered_more_often_than_it_may() {
    let mut bench = filled(work().max_deliveries(2), 1);
    let mut wire = consumer(&mut bench, "c", 1);
    for _ in 0..2 {
        assert_eq!(received(&mut bench, &mut wire), [1]);
        bench.pass(10 * SECOND);
    }
    assert_eq!(received(&mut bench, &mut wire), NONE);
    assert_eq!(depth(&bench), (0, 0));
}

#[test]
fn a_message_that_is_expired_is_gone_at_once() {
    let mut bench = filled(work(), 2);
    let mut wire = consumer(&mut bench, "c", 1);
    assert_eq!(received(&mut bench, &mut wire), [1]);
    bench.send(&wire, acknowledgement(&[1]).text(Field::Options, "expire"));
    assert_eq!(received(&mut bench, &mut wire), [2]);
    assert_eq!(depth(&bench), (0, 1));
}

#[test]
fn what_nobody_leases_expires() {
    let mut bench = filled(work().expiration(5 * SECOND), 2);
    let mut wire = consumer(&mut bench, "c", 1);
    assert_eq!(received(&mut bench, &mut wire), [1]);
    bench.pass(5 * SECOND);
    assert_eq!(depth(&bench), (0, 1), "a leased one does not");
    bench.pass(5 * SECOND);
    assert_eq!(received(&mut bench, &mut wire), [1], "delivered again when the lease ended");
    bench.engine.closed(bench.now, wire.id);
    bench.pass(5 * SECOND);
    assert_eq!(depth(&bench), (0, 0));
}

#[test]
fn messages_are_acknowledged_by_filter_leased_or_not() {
    let mut bench = filled(work(), 5);
    let mut wire = consumer(&mut bench, "c", 1);
    assert_eq!(received(&mut bench, &mut wire), [1]);
    let by_filter = Command::sow_delete("work").text(Field::Filter, "/n < 4").id("a").acks(AckType::Stats);
    bench.send(&wire, by_filter);
    let answer = bench.drain(&mut wire);
    assert_eq!(answer[0].number(Field::RecordsDeleted), Some(3));
    assert_eq!(sequence(&answer[1]), 4);
}

#[test]
fn with_strict_leasing_only_the_holder_acknowledges() {
    let mut bench = filled(work().leasing(Leasing::Strict), 2);
    let mut one = consumer(&mut bench, "one", 1);
    assert_eq!(received(&mut bench, &mut one), [1]);
    let two = bench.logon("two");
    bench.send(&two, acknowledgement(&[1, 2]));
    assert_eq!(depth(&bench), (1, 1));
    bench.send(&one, acknowledgement(&[1]));
    assert_eq!(depth(&bench), (0, 1));
}

#[test]
fn at_most_once_a_message_is_gone_when_it_is_delivered() {
    let journal = MemoryJournal::new();
    let queue = QueueConfig::new("work").at_most_once().max_per_subscription_backlog(2);
    let mut bench = filled_on(journal.clone(), queue.clone(), 3);
    let mut wire = consumer(&mut bench, "c", 2);
    let messages = bench.drain(&mut wire);
    assert!(messages.iter().all(|message| message.raw(Field::LeasePeriod).is_none()));
    for option in ["cancel", "expire"] {
        bench.send(&wire, acknowledgement(&[1]).text(Field::Options, option));
        assert_eq!(received(&mut bench, &mut wire), NONE, "{option} has no effect");
    }
    bench.send(&wire, acknowledgement(&[1]));
    assert_eq!(received(&mut bench, &mut wire), [3], "acknowledged, it makes room");
    bench.engine.closed(bench.now, wire.id);
    assert_eq!(depth(&bench), (0, 0), "nothing comes again");
    drop(bench);
    assert_eq!(depth(&bench_on(config(queue), journal)), (0, 0));
}

#[test]
fn acknowledgements_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let on_disk = || FileJournal::open(dir.path(), false).unwrap();
    let mut bench = filled_on(on_disk(), work(), 4);
    let mut wire = consumer(&mut bench, "c", 3);
    bench.drain(&mut wire);
    bench.send(&wire, acknowledgement(&[2]));
    bench.send(&wire, acknowledgement(&[3]).text(Field::Options, "expire"));
    drop(bench);
    let mut bench = bench_on(config(work()), on_disk());
    assert_eq!(depth(&bench), (2, 0), "leases do not");
    let mut wire = consumer(&mut bench, "c", 3);
    assert_eq!(received(&mut bench, &mut wire), [1, 4]);
    drop(bench);
    let logged = amps_testserver::journal::read(dir.path()).unwrap();
    assert_eq!(logged.len(), 4, "what left the queue stays in the log");
}

#[test]
fn from_a_bookmark_a_queue_is_its_topic_without_leases() {
    let mut bench = filled(QueueConfig::new("work").underlying("jobs"), 3);
    let mut wire = bench.logon("audit");
    bench.send(&wire, subscribe("1", "work", AckTypes::NONE).text(Field::Bookmark, "0"));
    let messages = bench.drain(&mut wire);
    assert_eq!(messages.iter().map(sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(messages.iter().all(|message| message.topic().as_deref() == Some("jobs")));
    assert_eq!(depth(&bench), (3, 0));
    // What is published to the topic itself is in the queue too.
    let publisher = bench.logon("p");
    bench.send(&publisher, publish("jobs", 4));
    assert_eq!(depth(&bench), (4, 0));
    assert_eq!(received(&mut bench, &mut wire), [4]);
}

#[test]
fn a_query_shows_what_nobody_has_leased_and_takes_nothing() {
    let mut bench = filled(work(), 4);
    let mut wire = consumer(&mut bench, "c", 1);
    bench.drain(&mut wire);
    let query = Command::new(CommandKind::Sow).id("q").topic("work").number(Field::BatchSize, 10);
    bench.send(&wire, query.text(Field::Filter, "/n > 2").acks(AckType::Stats));
    let answer = bench.drain(&mut wire);
    let bodies: Vec<_> = answer.iter().flat_map(batch::records).map(|record| record.data().to_vec()).collect();
    assert_eq!(bodies, [&br#"{"n":3}"#[..], br#"{"n":4}"#]);
    let stats = answer.last().expect("a stats ack");
    assert_eq!((stats.number(Field::TopicMatches), stats.number(Field::Matches)), (Some(3), Some(2)));
    assert_eq!(depth(&bench), (3, 1));
}

#[test]
fn a_filter_takes_its_messages_and_leaves_the_others() {
    let mut bench = filled(work(), 4);
    let mut wire = bench.logon("c");
    let command = subscribe("1", "work", AckTypes::NONE).text(Field::Options, "max_backlog=5");
    bench.send(&wire, command.clone().text(Field::Filter, "/n = 2 OR /n = 4"));
    assert_eq!(received(&mut bench, &mut wire), [2, 4]);
    assert_eq!(depth(&bench), (2, 2));
    // Replaced, it keeps its leases, and gets what its backlog still lets it.
    let replaced = command.text(Field::SubscriptionId, "1").text(Field::Options, "replace,max_backlog=3");
    bench.send(&wire, replaced.acks(AckType::Processed));
    assert_eq!(received(&mut bench, &mut wire), [1]);
    assert_eq!(depth(&bench), (1, 3));
}

#[test]
fn one_subscription_takes_from_several_queues() {
    let plenty = QueueConfig::new("work-b").max_per_subscription_backlog(9);
    let mut bench = bench(config(work()).queue(plenty));
    let wire = bench.logon("p");
    for (sequence, topic) in [(1, "work-b"), (2, "work"), (3, "work-c"), (4, "work-b")] {
        bench.send(&wire, publish(topic, sequence));
    }
    let mut wire = bench.logon("c");
    bench.send(&wire, subscribe("1", "^work", AckType::Processed).text(Field::Options, "max_backlog=9"));
    let answer = bench.drain(&mut wire);
    assert_eq!(answer[0].raw(Field::Options), Some("max_backlog=5"), "the least of what they grant");
    let mut topics: Vec<_> = answer[1..].iter().map(|m| (m.topic().unwrap().into_owned(), sequence(m))).collect();
    topics.sort();
    assert_eq!(topics, [("work".to_owned(), 2), ("work-b".to_owned(), 1), ("work-b".to_owned(), 4)]);
}

#[test]
fn the_next_message_goes_to_whom_it_is_fair() {
    for (fairness, shares) in [(Fairness::Proportional, [1, 4]), (Fairness::RoundRobin, [1, 4])] {
        let mut bench = bench(config(work().fairness(fairness)));
        let mut wires = [consumer(&mut bench, "one", 1), consumer(&mut bench, "two", 4)];
        let publisher = bench.logon("p");
        for sequence in 1..=5 {
            bench.send(&publisher, publish("work", sequence));
        }
        let got: Vec<_> = wires.iter_mut().map(|wire| received(&mut bench, wire)).collect();
        assert_eq!([got[0].len(), got[1].len()], shares, "{fairness:?} {got:?}");
    }
    // With room at both, the larger backlog gets more, or both in turn.
    for (fairness, expected) in [(Fairness::Proportional, [1, 3]), (Fairness::RoundRobin, [2, 2])] {
        let mut bench = bench(config(work().max_per_subscription_backlog(6).fairness(fairness)));
        let mut wires = [consumer(&mut bench, "one", 2), consumer(&mut bench, "two", 6)];
        let publisher = bench.logon("p");
        for sequence in 1..=4 {
            bench.send(&publisher, publish("work", sequence));
        }
        let got: Vec<_> = wires.iter_mut().map(|wire| received(&mut bench, wire).len()).collect();
        assert_eq!(got, expected, "{fairness:?}");
    }
}

#[test]
fn the_most_urgent_message_goes_first() {
    let mut bench = bench(config(work().priority("/p")));
    let publisher = bench.logon("p");
    for (sequence, body) in [(1, r#"{"p":1}"#), (2, r#"{"p":9}"#), (3, "none"), (4, r#"{"p":9}"#)] {
        bench.send(&publisher, publish("work", sequence).body(body));
    }
    let mut wire = consumer(&mut bench, "c", 5);
    assert_eq!(received(&mut bench, &mut wire), [2, 4, 1, 3]);
}

#[test]
fn a_queue_bounds_what_is_leased_over_all_subscriptions() {
    let mut bench = filled(work().max_backlog(3), 6);
    let mut one = consumer(&mut bench, "one", 2);
    assert_eq!(received(&mut bench, &mut one), [1, 2]);
    let mut two = consumer(&mut bench, "two", 5);
    assert_eq!(received(&mut bench, &mut two), [3]);
    bench.send(&one, acknowledgement(&[1]));
    assert_eq!(depth(&bench), (2, 3));
}

#[test]
fn a_barrier_waits_for_those_before_it_and_goes_to_everybody() {
    let mut bench = filled(work().barrier("/n = 3".parse().unwrap()), 4);
    let mut wires = [consumer(&mut bench, "one", 1), consumer(&mut bench, "two", 5)];
    let [one, two] = &mut wires;
    assert_eq!((received(&mut bench, one), received(&mut bench, two)), (vec![1], vec![2]));
    bench.send(one, acknowledgement(&[1]));
    assert_eq!((received(&mut bench, one), received(&mut bench, two)), (vec![], vec![]));
    bench.send(one, acknowledgement(&[2]));
    let got = [received(&mut bench, one), received(&mut bench, two)];
    assert!(got.iter().all(|got| got[0] == 3), "{got:?}");
    assert_eq!(got.concat().iter().filter(|n| **n == 4).count(), 1, "and what is behind it to one");
    assert_eq!(depth(&bench), (0, 1), "it needs no acknowledgement");
}

#[test]
fn queues_that_cannot_be_are_named() {
    let none = |config: Config| Engine::new(config, Box::new(NoJournal)).unwrap_err().to_string();
    let unlogged = Config::new("A").topic_log([regex::Regex::new("^orders$").unwrap()]);
    assert!(none(unlogged.queue(work())).contains("in the transaction log"));
    assert!(none(config(work()).queue(work())).contains("is there twice"));
    assert!(none(config(work()).sow("work", "/id")).contains("SOW topic as well"));
    assert!(none(config(work().priority("p"))).contains("does not start with '/'"));
}
