//! Subscriptions that are replaced while connections die.

use std::time::Duration;

use amps_core::message::MessageKind;
use amps_core::{Reason, StartAt};
use amps_ha::client_core::Flow;
use amps_ha::error::CommandError;
use amps_ha::subscriptions::{QueueLimits, Replacement, SubscriptionKind, SubscriptionSpec};
use amps_tests::pair::options;
use amps_tests::{ClientSetup, Pair};
use proptest::prelude::*;
use rand::RngExt;

const SECOND: Duration = Duration::from_secs(1);

/// Messages to three topics, a subscription to two of them that is replaced
/// with one to another two, and connections that die at any byte.
fn replaced_at_any_moment(seed: u64, start: Option<StartAt>, cuts: bool) {
    let mut pair = Pair::new(seed);
    let publisher = pair.client(ClientSetup::new("publisher", [0]));
    let client = pair.client(ClientSetup::new("p", [0]));
    let mut entered = match start {
        Some(start) => pair.subscribe_from(client, "^[ab]$", start),
        None => pair.subscribe(client, "^[ab]$"),
    };
    pair.run_live(client);
    pair.run_until(SECOND, |_| entered.answer().is_some());
    let (mut published, mut asked, mut replaced) = (0, None, None);
    let ask_at = pair.random.random_range(20..200);
    while published < 300 {
        let topic = ["a", "b", "c"][pair.random.random_range(0..3)];
        pair.publish_to(publisher, topic, format!("{topic}{published:03}")).unwrap();
        published += 1;
        if published == ask_at {
            asked = Some(pair.replace(client, &entered, Replacement::new().topic("^[bc]$")));
        }
        if replaced.is_none()
            && let Some(Ok(answer)) = asked.as_mut().map(|asked| asked.try_recv())
        {
            answer.unwrap();
            replaced = Some(published);
        }
        for _ in 0..pair.random.random_range(0..20) {
            pair.step();
        }
        if cuts && pair.random.random_range(0..60) == 0 {
            let at = pair.random.random_range(0..3_000);
            pair.cut_next(0, Some(at), None);
            pair.cut(client);
        }
        let time = Duration::from_micros(pair.random.random_range(0..3_000));
        pair.run_for(time);
        entered.take(10);
    }
    pair.run_settled(publisher);
    pair.run_live(client);
    pair.run_for(10 * SECOND);
    entered.take(usize::MAX);
    let replaced = replaced.unwrap_or(published);
    let number = |body: &String| body[1..].parse::<usize>().unwrap();
    let bodies = entered.bodies();
    let all = pair.published(publisher).to_vec();
    for (topic, from, to) in [("a", 0, ask_at), ("b", 0, 300), ("c", replaced, 300)] {
        let of = |list: &[String]| -> Vec<String> {
            let within = |body: &&String| body.starts_with(topic) && (from..to).contains(&number(body));
            list.iter().filter(within).cloned().collect()
        };
        // What was published before the old one was left may not have been
        // sent yet when it was.
        let expected = if topic == "a" { Vec::new() } else { of(&all) };
        let got = if topic == "a" { Vec::new() } else { of(&bodies) };
        assert!(got == expected, "{topic}: {got:?} of {expected:?}: {}", pair.describe());
    }
    let mut once = bodies.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), bodies.len(), "something twice: {}", pair.describe());
    let mut in_order = bodies.clone();
    in_order.sort_by_key(number);
    assert!(in_order == bodies, "out of order: {bodies:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: amps_tests::cases(60), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_replaced_bookmark_subscription_has_no_gap_while_connections_die(seed: u64) {
        replaced_at_any_moment(seed, Some(StartAt::Epoch), true);
    }

    /// Covers 4.1.1#1.
    #[test]
    fn a_replaced_subscription_has_no_gap_and_nothing_twice(seed: u64, bookmarks: bool) {
        replaced_at_any_moment(seed, bookmarks.then_some(StartAt::Now), false);
    }
}

/// A server that holds messages back (here until its peer has them) has not
/// sent them when their subscription is replaced.
#[test]
fn a_subscription_at_now_that_is_replaced_at_once_misses_nothing() {
    for (before, ask_at) in [(0, 0), (0, 100), (0, 190), (1, 0), (1, 100), (1, 190), (1, 300)] {
        let mut pair = Pair::with_servers(11, 2, Some(amps_testserver::Link::Sync));
        let publisher = pair.client(ClientSetup::new("publisher", [0]));
        let client = pair.client(ClientSetup::new("p", [0]));
        pair.run_live(publisher);
        pair.run_live(client);
        for _ in 0..before {
            pair.publish_to(publisher, "a", "before").unwrap();
        }
        pair.run_settled(publisher);
        pair.run_for(SECOND);
        pair.latency(Duration::from_millis(100));
        pair.partition(0, 1, true);
        let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "^[ab]$");
        (spec.start, spec.options) = (Some(StartAt::Now), "fully_durable".into());
        let mut entered = pair.enter(client, spec, QueueLimits::default());
        pair.run_for(Duration::from_millis(20));
        // They arrive behind the subscription.
        pair.publish_to(publisher, "a", "a").unwrap();
        pair.publish_to(publisher, "b", "b").unwrap();
        pair.run_for(Duration::from_millis(ask_at));
        let answer = pair.replace(client, &entered, Replacement::new().topic("^[bc]$"));
        pair.run_for(SECOND);
        pair.publish_to(publisher, "c", "c").unwrap();
        pair.partition(0, 1, false);
        pair.confirmed(answer);
        pair.run_settled(publisher);
        pair.run_for(SECOND);
        entered.take(10);
        assert_eq!(entered.bodies(), ["b", "c"], "{before} {ask_at}: {}", pair.describe());
    }
}

/// Covers 4.1.1#2.
#[test]
fn a_refused_replacement_leaves_the_subscription_as_it_was() {
    let mut pair = Pair::new(1);
    let publisher = pair.client(ClientSetup::new("publisher", [0]));
    let client = pair.client(ClientSetup::new("p", [0]));
    let mut entered = pair.subscribe(client, "t");
    pair.run_live(client);
    pair.run_for(SECOND);
    let mut answer = pair.replace(client, &entered, Replacement::new().topic("no(pattern"));
    pair.run_for(SECOND);
    let refused = answer.try_recv().unwrap().unwrap_err();
    assert!(
        matches!(&refused, CommandError::Refused { command: "replace", reason: Reason::BadRegexTopic, .. }),
        "{refused}"
    );
    pair.publish(publisher, "before").unwrap();
    pair.run_for(SECOND);
    pair.cut_and_back(client);
    pair.publish(publisher, "after").unwrap();
    pair.run_for(SECOND);
    entered.take(usize::MAX);
    assert_eq!(entered.bodies(), ["before", "after"]);
    assert_eq!(pair.newest_subscribes(0)[0].topic.as_deref(), Some("t"));
}

/// Covers 4.1.1#3.
#[test]
fn what_a_subscription_was_replaced_with_is_entered_again_without_replace() {
    for start in [None, Some(StartAt::Epoch)] {
        let mut pair = Pair::new(2);
        let publisher = pair.client(ClientSetup::new("publisher", [0]));
        let client = pair.client(ClientSetup::new("p", [0]));
        let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "t");
        (spec.start, spec.options) = (start, "no_sowkey".into());
        let mut entered = pair.enter(client, spec, QueueLimits::default());
        pair.run_live(client);
        pair.run_for(SECOND);
        let answer = pair.replace(client, &entered, Replacement::new().topic("u").options("bookmark"));
        pair.confirmed(answer);
        let on_wire = pair.newest_subscribes(0);
        assert_eq!(options(&on_wire[1])[..2], ["bookmark", "replace"]);
        assert_eq!(on_wire[0].subscription_id, on_wire[1].subscription_id);
        pair.cut_and_back(client);
        let again = pair.newest_subscribes(0);
        assert_eq!(again.len(), 1, "{again:?}");
        assert_eq!(again[0].topic.as_deref(), Some("u"));
        assert!(options(&again[0]).contains(&"bookmark"), "{again:?}");
        assert!(!options(&again[0]).contains(&"replace"), "{again:?}");
        pair.publish_to(publisher, "u", "new").unwrap();
        pair.publish_to(publisher, "t", "old").unwrap();
        pair.run_for(SECOND);
        entered.take(usize::MAX);
        assert_eq!(entered.bodies(), ["new"]);
    }
}

#[test]
fn replacements_are_made_one_after_the_other() {
    let mut pair = Pair::new(3);
    let client = pair.client(ClientSetup::new("p", [0]));
    let entered = pair.subscribe(client, "t");
    pair.run_live(client);
    pair.run_for(SECOND);
    let first = pair.replace(client, &entered, Replacement::new().topic("u"));
    let refused = pair.replace(client, &entered, Replacement::new().topic("("));
    let third = pair.replace(client, &entered, Replacement::new().options("bookmark"));
    pair.confirmed(first);
    pair.confirmed(third);
    drop(refused);
    let topics: Vec<_> = pair.newest_subscribes(0).into_iter().filter_map(|command| command.topic).collect();
    assert_eq!(topics, ["t", "u", "(", "u"]);
}

/// The answer is lost with the connection, in either direction.
#[test]
fn a_change_cut_before_its_answer_is_asked_again_or_refused() {
    for (retry, flow) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut pair = Pair::new(4);
        let mut setup = ClientSetup::new("p", [0]);
        setup.core.retry = retry;
        let client = pair.client(setup);
        let mut entered = pair.subscribe_from(client, "t", StartAt::Epoch);
        pair.run_live(client);
        pair.run_for(SECOND);
        let silent = |pair: &mut Pair, on| {
            let now = pair.now;
            pair.server(0).with_faults(now, |faults| faults.ignore(MessageKind::Subscribe, on));
        };
        silent(&mut pair, true);
        let mut answer = match flow {
            true => pair.flow(client, Flow::Pause, &[&entered]),
            false => pair.replace(client, &entered, Replacement::new().topic("u")),
        };
        pair.run_for(SECOND);
        silent(&mut pair, false);
        pair.cut_and_back(client);
        pair.run_for(SECOND);
        let answer = answer.try_recv().unwrap();
        let commands = pair.newest_subscribes(0);
        if retry {
            answer.unwrap();
            assert_eq!(commands[0].topic.as_deref(), Some("t"), "entered as the server had confirmed it");
            assert_eq!(options(&commands[1]).last(), Some(if flow { &"pause" } else { &"replace" }));
        } else {
            assert!(matches!(answer, Err(CommandError::Disconnected)), "{answer:?}");
            assert_eq!(commands.len(), 1, "{commands:?}");
        }
        entered.take(usize::MAX);
        assert!(entered.error.is_none());
    }
}

#[test]
fn a_change_nobody_answers_times_out_and_a_late_answer_still_counts() {
    let mut pair = Pair::new(5);
    let mut setup = ClientSetup::new("p", [0]);
    setup.core.command_timeout = SECOND;
    let client = pair.client(setup);
    let entered = pair.subscribe(client, "t");
    pair.run_live(client);
    pair.run_for(SECOND);
    pair.latency(SECOND);
    let mut answer = pair.replace(client, &entered, Replacement::new().topic("u"));
    pair.run_for(Duration::from_millis(1_500));
    let late = answer.try_recv().unwrap().unwrap_err();
    assert!(matches!(late, CommandError::TimedOut { command: "replace", .. }), "{late}");
    pair.latency(Duration::from_millis(10));
    pair.run_for(3 * SECOND);
    pair.cut_and_back(client);
    assert_eq!(pair.newest_subscribes(0)[0].topic.as_deref(), Some("u"), "{}", pair.describe());
}

/// Nobody reads, and the answers wait behind the full queue.
#[test]
fn a_change_behind_a_full_queue_fails_and_a_late_answer_still_counts() {
    let mut pair = Pair::new(12);
    let publisher = pair.client(ClientSetup::new("publisher", [0]));
    let client = pair.client(ClientSetup::new("p", [0]));
    let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "t");
    spec.start = Some(StartAt::Epoch);
    let mut full = pair.enter(client, spec, QueueLimits { messages: 1, bytes: 1 << 20 });
    pair.run_live(client);
    pair.run_for(SECOND);
    for id in 0..5 {
        pair.publish(publisher, id.to_string()).unwrap();
    }
    pair.run_for(SECOND / 2);
    let answers = [
        pair.replace(client, &full, Replacement::new().topic("u")),
        pair.flow(client, Flow::Resume, &[&full]),
        pair.flow(client, Flow::Pause, &[&full]),
    ];
    pair.run_for(2 * SECOND);
    for mut answer in answers {
        let error = answer.try_recv().unwrap().unwrap_err();
        assert!(matches!(&error, CommandError::WouldDeadlock { topic } if topic == "t"), "{error}");
    }
    for _ in 0..10 {
        full.take(1);
        pair.run_for(SECOND);
    }
    pair.cut_and_back(client);
    let again = pair.newest_subscribes(0);
    assert_eq!((again[0].topic.as_deref(), options(&again[0]).last()), (Some("u"), Some(&"pause")));
    pair.publish_to(publisher, "u", "new").unwrap();
    pair.run_for(SECOND);
    full.take(usize::MAX);
    assert_eq!(full.bodies(), ["0", "1", "2", "3", "4"]);
    let answer = pair.flow(client, Flow::Resume, &[&full]);
    pair.confirmed(answer);
    full.take(usize::MAX);
    assert_eq!(full.bodies(), ["0", "1", "2", "3", "4", "new"]);
}

#[test]
fn what_cannot_be_changed_says_so() {
    let mut pair = Pair::new(6);
    let client = pair.client(ClientSetup::new("p", [0]));
    let mut plain = pair.subscribe(client, "t");
    let ended = pair.subscribe(client, "u");
    pair.run_live(client);
    pair.leave(client, &ended);
    pair.run_for(SECOND);
    let answers = [
        pair.flow(client, Flow::Pause, &[&plain]),
        pair.flow(client, Flow::Resume, &[&ended]),
        pair.replace(client, &ended, Replacement::new().topic("v")),
        pair.replace(client, &plain, Replacement::new().options("oof, replace")),
    ];
    pair.run_for(SECOND);
    let said = answers.map(|mut answer| answer.try_recv().unwrap().unwrap_err().to_string());
    let expected = [
        "the pause on 't' cannot be: only a bookmark subscription has a place to go on from",
        "the subscription has ended",
        "the subscription has ended",
        "the subscribe on 't' cannot be: replace, pause and resume have methods of their own: Subscribe::paused, and \
         SubscriptionHandle's",
    ];
    assert_eq!(said, expected);
    let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "t");
    spec.paused = true;
    let mut refused = pair.enter(client, spec, QueueLimits::default());
    pair.run_for(SECOND);
    assert!(matches!(refused.answer(), Some(Err(CommandError::Invalid { .. }))));
    plain.take(1);
    assert!(plain.error.is_none());
}
