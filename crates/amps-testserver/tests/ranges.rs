//! Bookmark subscriptions to a part of the log.

mod common;

use std::time::Duration;

use amps_core::{AckType, Bookmark, Command, CommandKind, Field, Message};
use amps_testserver::{Config, publisher_id};
use common::*;

const SECOND: Duration = Duration::from_secs(1);
const NONE: [u64; 0] = [];
/// 2026-03-01 09:00:00.
const NINE: Duration = Duration::from_secs(1_772_355_600);

/// Messages 1 to `count`, the first at nine and then one a second.
fn filled(count: u64) -> Bench {
    let mut config = Config::new("A");
    config.wall_clock = NINE;
    let mut bench = bench(config);
    let wire = bench.logon("p");
    for sequence in 1..=count {
        bench.send(&wire, publish("t", sequence));
        bench.pass(SECOND);
    }
    bench
}

fn ask(bench: &mut Bench, bookmark: &str) -> Wire {
    let wire = bench.logon("s");
    let acks = AckType::Processed | AckType::Completed;
    bench.send(&wire, subscribe("1", "t", acks).text(Field::Bookmark, bookmark));
    wire
}

/// The sequences of what came, and whether it was said that this is all.
fn received(bench: &mut Bench, wire: &mut Wire) -> (Vec<u64>, bool) {
    let messages = bench.drain(wire);
    let failed = |message: &Message| message.status() != amps_core::Status::Success;
    let acks = messages.iter().filter(|message| message.ack_type().is_some());
    assert!(!acks.clone().any(failed), "{messages:?}");
    let last = messages.last().is_some_and(|message| message.ack_type() == Some(AckType::Completed));
    let completed = acks.filter(|ack| ack.ack_type() == Some(AckType::Completed)).count();
    assert_eq!(completed, usize::from(last), "said once, and behind everything");
    let published = messages.iter().filter(|message| message.raw(Field::Command) == Some("p"));
    (published.map(|message| message.bookmark().unwrap().sequence).collect(), last)
}

fn at(sequence: u64) -> Bookmark {
    Bookmark { publisher: publisher_id("p"), sequence }
}

#[test]
fn a_range_is_delivered_with_or_without_its_ends() {
    let [two, four, last] = [2, 4, 6].map(at);
    for (range, expected) in [
        (format!("[{two}:{four}]"), &[2, 3, 4][..]),
        (format!("({two}:{four}]"), &[3, 4]),
        (format!("[{two}:{four})"), &[2, 3]),
        (format!("({two}:{four})"), &[3]),
        (format!("[{two}:{two}]"), &[2]),
        (format!("({two}:{two}]"), &[]),
        (format!("[{four}:{two}]"), &[]),
        (format!("[0:{two}]"), &[1, 2]),
        (format!("[{four}:{last}]"), &[4, 5, 6]),
        // Of a list the earliest begins and the latest ends.
        (format!("[{four},{two}:{two},{four})"), &[2, 3]),
        // The last message there is.
        (format!("[0|1|:{last}]"), &[6]),
        (format!("(0|1|:{last}]"), &[]),
        (format!("[{four}:0|1|]"), &[4, 5, 6]),
        (format!("[{four}:0|1|)"), &[4, 5]),
        ("[20260301T090001Z:20260301T090003Z]".to_owned(), &[2, 3, 4]),
        ("(20260301T090001Z:20260301T090003Z)".to_owned(), &[3]),
        (format!("[20260301T080000:{two}]"), &[1, 2]),
        (format!("({four}:20260301T090005Z]"), &[5, 6]),
        ("[20250301T080000:20250301T090000]".to_owned(), &[]),
    ] {
        let mut bench = filled(6);
        let mut wire = ask(&mut bench, &range);
        assert_eq!(received(&mut bench, &mut wire), (expected.to_vec(), true), "{range}");
        // What is published then is not part of it.
        let publisher = bench.logon("p");
        bench.send(&publisher, publish("t", 7));
        assert_eq!(received(&mut bench, &mut wire), (vec![], false), "{range}");
    }
}

#[test]
fn an_end_that_is_not_there_yet_is_waited_for() {
    let mut bench = filled(2);
    let mut wire = ask(&mut bench, &format!("[0:{}]", at(4)));
    assert_eq!(received(&mut bench, &mut wire), (vec![1, 2], false));
    let publisher = bench.logon("p");
    for (sequence, last) in [(3, false), (4, true)] {
        bench.send(&publisher, publish("t", sequence));
        assert_eq!(received(&mut bench, &mut wire), (vec![sequence], last));
    }
    // A number the publisher left out will not come any more.
    bench.send(&publisher, publish("t", 6));
    let mut wire = ask(&mut bench, &format!("[{}:{}]", at(4), at(5)));
    assert_eq!(received(&mut bench, &mut wire), (vec![4], true));
}

#[test]
fn a_range_of_the_future_begins_and_ends_at_its_times() {
    let mut bench = filled(2);
    let mut wire = ask(&mut bench, "[20260301T090004Z:20260301T090006Z)");
    assert_eq!(received(&mut bench, &mut wire), (vec![], false));
    for (sequence, delivered) in [(3, false), (4, false), (5, true), (6, true)] {
        let publisher = bench.logon("p");
        bench.send(&publisher, publish("t", sequence));
        let expected = if delivered { vec![sequence] } else { vec![] };
        assert_eq!(received(&mut bench, &mut wire), (expected, false), "{sequence}");
        bench.pass(SECOND);
    }
    // Nobody has to publish for it to be over.
    assert_eq!(received(&mut bench, &mut wire), (vec![], true));
}

#[test]
fn the_end_comes_by_itself_when_its_time_has_come() {
    let mut bench = filled(1);
    let mut wire = ask(&mut bench, "[0:20260301T090030Z]");
    assert_eq!(received(&mut bench, &mut wire), (vec![1], false));
    bench.engine.take_dirty();
    bench.pass(28 * SECOND);
    assert!(!bench.engine.take_dirty().contains(&wire.id));
    bench.pass(2 * SECOND);
    assert!(bench.engine.take_dirty().contains(&wire.id), "there is something to ask for");
    assert_eq!(received(&mut bench, &mut wire), (vec![], true));
}

#[test]
fn a_paused_range_goes_on_within_its_end() {
    let mut bench = filled(4);
    let mut wire = bench.logon("s");
    let acks = AckType::Processed | AckType::Completed;
    let range = format!("[{}:{}]", at(2), at(3));
    let command = subscribe("1", "t", acks).text(Field::SubscriptionId, "1");
    bench.send(&wire, command.clone().text(Field::Bookmark, range).text(Field::Options, "pause"));
    assert_eq!(received(&mut bench, &mut wire), (vec![], false));
    bench.send(&wire, command.text(Field::Options, "resume"));
    assert_eq!(received(&mut bench, &mut wire), (vec![2, 3], true));
}

#[test]
fn a_filter_takes_from_a_range_and_a_bound_ends_it_early() {
    let mut bench = filled(5);
    let mut wire = bench.logon("s");
    let range = format!("[{}:{}]", at(1), at(4));
    let command = subscribe("1", "t", AckType::Completed).text(Field::Bookmark, range);
    bench.send(&wire, command.clone().text(Field::Filter, "/n <> 2"));
    assert_eq!(received(&mut bench, &mut wire), (vec![1, 3, 4], true));
    bench.send(&wire, command.number(Field::TopN, 2));
    assert_eq!(received(&mut bench, &mut wire), (vec![1, 2], true));
}

#[test]
fn what_a_range_cannot_be_is_refused() {
    let mut bench = filled(1);
    let mut wire = bench.logon("s");
    let subscribe = |bookmark: &str| subscribe("1", "t", AckType::Processed).text(Field::Bookmark, bookmark);
    for (command, reason) in [
        (subscribe("[1|5|]"), "invalid bookmark"),
        (subscribe("[1|5|:0]"), "invalid bookmark"),
        (subscribe("[0:1|5|").text(Field::Options, ""), "invalid bookmark"),
        (subscribe("[0:1|5|]").text(Field::Options, "live"), "invalid options"),
        (subscribe("[1|5|:1|9|]").text(Field::Options, "bookmark_not_found=fail"), "bookmark not found"),
        (
            Command::new(CommandKind::Sow)
                .id("1")
                .topic("t")
                .text(Field::Bookmark, "[0:1|5|]")
                .acks(AckType::Processed),
            "invalid topic",
        ),
    ] {
        bench.send(&wire, command);
        let answer = bench.lines(&mut wire);
        assert!(answer.len() == 1 && answer[0].contains(reason), "{answer:?} {reason}");
    }
    assert_eq!(received(&mut bench, &mut wire).0, NONE);
}
