//! Subscriptions that are entered again: in which order, behind what, and how much
//! of them is left.

use std::time::Duration;

use amps_core::StartAt;
use amps_core::message::MessageKind;
use amps_ha::subscriptions::{Item, QueueLimits, Replacement, SubscriptionKind, SubscriptionSpec};
use amps_tests::{ClientSetup, Pair};
use amps_testserver::{Config, Link, SowConfig};
use rand::RngExt;

const SECOND: Duration = Duration::from_secs(1);

/// Covers 11.6#6.
#[test]
fn subscriptions_are_entered_again_in_order_and_so_many_at_a_time() {
    let mut pair = Pair::new(10);
    let client = pair.client(ClientSetup::new("p", [0]));
    let entered: Vec<_> = (0..700).map(|id| pair.subscribe(client, &format!("t{id}"))).collect();
    pair.run_live(client);
    pair.run_for(SECOND);
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.ignore(MessageKind::Subscribe, true));
    pair.cut(client);
    pair.run_for(5 * SECOND);
    let unanswered = pair.newest_subscribes(0);
    assert_eq!(unanswered.len(), 256, "{}", pair.describe());
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.ignore(MessageKind::Subscribe, false));
    pair.run_until(60 * SECOND, |pair| pair.is_live(client));
    let topics: Vec<_> = pair.newest_subscribes(0).into_iter().filter_map(|command| command.topic).collect();
    let created: Vec<_> = entered.iter().map(|entered| entered.topic.clone()).collect();
    assert_eq!(topics, created);
}

/// A full queue was told of; the logon of the next connection is awaited all
/// the same.
#[test]
fn a_full_queue_does_not_make_the_next_logon_forgotten() {
    let mut pair = Pair::new(11);
    let publisher = pair.client(ClientSetup::new("publisher", [0]));
    let client = pair.client(ClientSetup::new("p", [0]));
    let mut full = pair.enter(
        client,
        SubscriptionSpec::new(SubscriptionKind::Subscribe, "t"),
        QueueLimits { messages: 1, bytes: 1 << 20 },
    );
    pair.run_live(client);
    pair.run_for(SECOND);
    for id in 0..10 {
        pair.publish(publisher, id.to_string()).unwrap();
    }
    pair.run_until(60 * SECOND, |pair| pair.stalled(client).is_some());
    pair.latency(Duration::from_millis(400));
    pair.cut(client);
    // Somebody's time runs out while the logon is on its way.
    pair.run_until(60 * SECOND, |pair| !pair.is_live(client));
    let attempts = pair.attempts(client).len();
    let mut waits = Vec::new();
    for id in 0..100 {
        waits.push(pair.replace(client, &full, Replacement::new().topic(format!("t{id}"))));
        pair.run_for(Duration::from_millis(100));
    }
    pair.run_live(client);
    assert_eq!(pair.attempts(client).len(), attempts + 1, "{}", pair.describe());
    full.take(usize::MAX);
    assert!(!full.items.iter().any(|item| matches!(item, Item::Gap { .. })));
}

/// A bounded replay that is cut goes on with what is left of it, and ends.
#[test]
fn a_bounded_replay_gives_no_more_than_it_was_asked_for() {
    for seed in 0..40 {
        let mut pair = Pair::new(seed);
        let publisher = pair.client(ClientSetup::new("publisher", [0]));
        let client = pair.client(ClientSetup::new("p", [0]));
        for id in 0..60 {
            pair.publish(publisher, format!("{id:0>200}")).unwrap();
        }
        pair.run_settled(publisher);
        pair.run_live(client);
        for cut in [pair.random.random_range(0..20_000), pair.random.random_range(0..20_000)] {
            pair.cut_next(0, Some(cut), None);
            pair.cut(client);
            pair.run_for(SECOND / 100);
        }
        let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "t");
        (spec.start, spec.top_n) = (Some(StartAt::Epoch), Some(50));
        let mut entered = pair.enter(client, spec, QueueLimits::default());
        pair.run_for(20 * SECOND);
        pair.run_live(client);
        pair.cut_and_back(client);
        pair.run_for(SECOND);
        entered.take(usize::MAX);
        let expected: Vec<_> = (0..50).map(|id| format!("{id:0>200}")).collect();
        assert!(entered.error.is_none() && entered.has_ended());
        assert!(entered.bodies() == expected, "{} messages: {}", entered.bodies().len(), pair.describe());
    }
}

/// At another server it goes on within the overlap: what comes twice counts for
/// nobody.
#[test]
fn a_bounded_replay_is_whole_after_a_failover() {
    for seed in 0..20 {
        let mut pair = Pair::with_servers(seed, 2, Some(Link::Sync));
        let publisher = pair.client(ClientSetup::new("publisher", [1]));
        let client = pair.client(ClientSetup::new("p", [0, 1]));
        let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "t");
        (spec.start, spec.top_n) = (Some(StartAt::Epoch), Some(50));
        let mut entered = pair.enter(client, spec, QueueLimits::default());
        pair.run_live(client);
        for id in 0..30 {
            pair.publish(publisher, id.to_string()).unwrap();
        }
        pair.run_settled(publisher);
        pair.run_for(SECOND);
        pair.crash_server(0);
        pair.run_until(60 * SECOND, |pair| !pair.is_live(client));
        pair.run_live(client);
        pair.start_server(0);
        for id in 30..90 {
            pair.publish(publisher, id.to_string()).unwrap();
        }
        pair.run_settled(publisher);
        pair.run_for(10 * SECOND);
        entered.take(usize::MAX);
        let expected: Vec<_> = (0..50).map(|id| id.to_string()).collect();
        assert!(entered.bodies() == expected, "{} messages: {}", entered.bodies().len(), pair.describe());
        assert!(entered.has_ended());
    }
}

/// Only `subscribe` can ask a server to refuse a bookmark it does not know. One
/// that began with a query is told that there may be a gap.
#[test]
fn a_failover_of_a_query_with_a_replay_is_a_possible_gap() {
    let configs = [("s0", "s1"), ("s1", "s0")].map(|(name, peer)| {
        let history = SowConfig::new("t", "/id").history(3_600 * SECOND, Duration::ZERO);
        let config = Config::new(name).ack_conflation(Duration::from_millis(20));
        config.sow_topic(history).peer(peer, Link::Sync)
    });
    let mut pair = Pair::with_configs(7, configs.into());
    let publisher = pair.client(ClientSetup::new("publisher", [0, 1]));
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    let mut spec = SubscriptionSpec::new(SubscriptionKind::SowAndSubscribe, "t");
    spec.start = Some(StartAt::Epoch);
    let mut entered = pair.enter(client, spec, QueueLimits::default());
    pair.run_live(client);
    for id in 0..30 {
        pair.publish(publisher, format!(r#"{{"id":{id}}}"#)).unwrap();
        pair.run_for(SECOND);
    }
    pair.cut(client);
    pair.run_for(20 * SECOND);
    entered.take(usize::MAX);
    assert!(entered.items.iter().any(|item| matches!(item, Item::GapPossible { .. })), "{:?}", entered.items);
    assert!(entered.error.is_none());
    let commands = (0..2).flat_map(|server| pair.server(server).stats().commands.clone());
    let entries: Vec<_> = commands.filter(|command| command.kind == MessageKind::SowAndSubscribe).collect();
    assert_eq!(entries.len(), 2, "{entries:?}");
    assert!(entries.iter().all(|command| command.options.is_none()), "{entries:?}");
}
