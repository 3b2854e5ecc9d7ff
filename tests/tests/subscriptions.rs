//! Subscriptions across connections and servers: no gap, nothing twice,
//! entered again once, and every discontinuity is told in band.

use std::collections::BTreeSet;
use std::time::Duration;

use amps_core::message::MessageKind;
use amps_core::{Reason, StartAt};
use amps_ha::error::CommandError;
use amps_ha::subscriptions::{Item, OnUnknownBookmark, QueueLimits, SubscriptionKind, SubscriptionSpec};
use amps_tests::{ClientSetup, Entered, Pair};
use amps_testserver::{Link, ReceivedCommand};
use proptest::prelude::*;
use rand::RngExt;

const SECOND: Duration = Duration::from_secs(1);

/// Subscribe commands for one topic that a server received, in order.
fn entries(pair: &mut Pair, server: usize, topic: &str) -> Vec<ReceivedCommand> {
    let commands = pair.server(server).stats().commands.iter();
    let ours =
        commands.filter(|command| command.kind == MessageKind::Subscribe && command.topic.as_deref() == Some(topic));
    ours.cloned().collect()
}

/// Every message once, and each publisher's in its order.
#[track_caller]
fn assert_all_once(pair: &Pair, publishers: &[usize], entered: &Entered) {
    let bodies = entered.bodies();
    for publisher in publishers {
        let prefix = format!("{publisher}:");
        let own: Vec<_> = bodies.iter().filter(|body| body.starts_with(&prefix)).cloned().collect();
        assert!(own == pair.published(*publisher), "publisher {publisher}: {own:?}: {}", pair.describe());
    }
}

/// Three servers, publishers that start one after another and move on their
/// own, a bookmark subscriber, and servers and connections that die.
fn failovers(seed: u64) {
    let mut pair = Pair::with_servers(seed, 3, Some(Link::Sync));
    let subscriber = pair.client(ClientSetup::new("subscriber", [0, 1, 2]));
    let mut publishers = Vec::new();
    let mut entered = pair.subscribe_from(subscriber, "t", StartAt::Epoch);
    pair.run_live(subscriber);
    for round in 0..pair.random.random_range(6..16) {
        if publishers.len() < 3 && round % 2 == 0 {
            let mut servers = vec![0, 1, 2];
            let turn = pair.random.random_range(0..3);
            servers.rotate_left(turn);
            publishers.push(pair.client(ClientSetup::new(&format!("p{round}"), servers)));
        }
        for publisher in publishers.clone() {
            for _ in 0..pair.random.random_range(0..8) {
                let id = pair.published(publisher).len();
                pair.publish(publisher, format!("{publisher}:{id}")).unwrap();
                for _ in 0..pair.random.random_range(0..6) {
                    pair.step();
                }
            }
        }
        match pair.random.random_range(0..6) {
            0 => {
                pair.cut(subscriber);
            }
            1 => {
                let ix = pair.random.random_range(0..publishers.len());
                pair.cut(publishers[ix]);
            }
            2 => {
                // Back before replication lags half the resume overlap.
                let server = pair.random.random_range(0..3);
                pair.crash_server(server);
                let outage = Duration::from_millis(pair.random.random_range(0..4_500));
                pair.run_for(outage);
                pair.start_server(server);
            }
            3 => {
                pair.black_hole(subscriber);
            }
            4 => {
                let (a, b) = ([0, 0, 1], [1, 2, 2]);
                let ix = pair.random.random_range(0..3);
                pair.partition(a[ix], b[ix], true);
                pair.run_for(Duration::from_millis(500));
                pair.partition(a[ix], b[ix], false);
            }
            _ => {}
        }
        let time = Duration::from_millis(pair.random.random_range(0..3_000));
        pair.run_for(time);
        let taken = pair.random.random_range(0..40);
        entered.take(taken);
    }
    for publisher in &publishers {
        pair.run_settled(*publisher);
    }
    pair.run_for(60 * SECOND);
    entered.take(usize::MAX);
    assert!(entered.error.is_none(), "{:?}: {}", entered.error, pair.describe());
    assert!(!entered.items.iter().any(|item| matches!(item, Item::Gap { .. })), "{}", pair.describe());
    assert_all_once(&pair, &publishers, &entered);
    for server in 0..3 {
        for publisher in &publishers {
            assert_eq!(pair.logged(server, *publisher), pair.published(*publisher), "{}", pair.describe());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: amps_tests::cases(80), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_bookmark_subscription_has_no_gap_and_nothing_twice_across_failovers(seed: u64) {
        failovers(seed);
    }
}

/// A seed that found it: bytes of a new connection's logon counted as if the
/// server before had nothing more for the subscription.
#[test]
fn a_logon_elsewhere_says_nothing_of_the_server_before() {
    failovers(17_171_133_674_866_968_626);
}

#[test]
fn a_plain_subscription_is_entered_again_exactly_once() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed);
        let publisher = pair.client(ClientSetup::new("publisher", [0]));
        let client = pair.client(ClientSetup::new("p", [0]));
        let mut entered = pair.subscribe(client, "t");
        let gone = pair.subscribe(client, "gone");
        pair.run_live(client);
        pair.run_for(SECOND);
        pair.leave(client, &gone);
        pair.run_for(SECOND);
        pair.publish(publisher, "one").unwrap();
        pair.run_settled(publisher);
        pair.run_for(SECOND);
        for cuts in 1..4 {
            pair.cut(client);
            pair.run_until(60 * SECOND, |pair| !pair.is_live(client));
            pair.run_live(client);
            assert_eq!(entries(&mut pair, 0, "t").len(), 1 + cuts, "{}", pair.describe());
            // Unread, several in a row would be one.
            entered.take(usize::MAX);
        }
        pair.publish(publisher, "two").unwrap();
        pair.run_settled(publisher);
        pair.run_for(SECOND);
        entered.take(usize::MAX);
        assert_eq!(entered.bodies(), ["one", "two"]);
        let told = entered.items.iter().filter(|item| matches!(item, Item::Reconnected { .. })).count();
        assert_eq!(told, 3);
        assert_eq!(entries(&mut pair, 0, "gone").len(), 1, "what was left is not entered again");
    }
}

/// Whatever is subscribed and left, while connections die: afterwards the
/// server has what the client has.
///
/// Covers 4.6#1, 20#3.
#[test]
fn after_a_reconnect_the_server_has_the_clients_subscriptions() {
    for seed in 0..60 {
        let mut pair = Pair::new(seed);
        let publisher = pair.client(ClientSetup::new("publisher", [0]));
        let client = pair.client(ClientSetup::new("p", [0]));
        let mut held: Vec<Entered> = Vec::new();
        let mut names = 0;
        for _ in 0..30 {
            match pair.random.random_range(0..5) {
                0 | 1 => {
                    held.push(pair.subscribe(client, &format!("t{names}")));
                    names += 1;
                }
                2 if !held.is_empty() => {
                    let ix = pair.random.random_range(0..held.len());
                    let left = held.remove(ix);
                    pair.leave(client, &left);
                }
                3 => {
                    pair.cut(client);
                }
                _ => pair.run_for(Duration::from_millis(50)),
            }
            for _ in 0..pair.random.random_range(0..30) {
                pair.step();
            }
        }
        pair.run_for(5 * SECOND);
        pair.run_live(client);
        pair.run_for(SECOND);
        for name in 0..names {
            pair.publish_to(publisher, &format!("t{name}"), name.to_string()).unwrap();
        }
        pair.run_settled(publisher);
        pair.run_for(SECOND);
        let expected: BTreeSet<_> = held.iter().map(|entered| entered.topic.clone()).collect();
        for entered in &mut held {
            entered.take(usize::MAX);
            assert_eq!(entered.bodies(), [&entered.topic[1..]], "{}", pair.describe());
        }
        let last = pair.server(0).stats().commands.iter().map(|command| command.connection).max();
        let mut on_server = BTreeSet::new();
        let mut ids = std::collections::BTreeMap::new();
        for command in
            pair.server(0).stats().commands.iter().filter(|command| command.client_name.as_deref() != Some("publisher"))
        {
            let id = command.subscription_id.clone().unwrap_or_default();
            match (&command.kind, &command.topic) {
                (MessageKind::Logon, _) => {
                    on_server.clear();
                    ids.clear();
                }
                (MessageKind::Subscribe, Some(topic)) => {
                    assert!(on_server.insert(topic.clone()), "{topic} entered twice on one connection");
                    ids.insert(id, topic.clone());
                }
                (MessageKind::Unsubscribe, _) => {
                    on_server.remove(&ids[&id]);
                }
                _ => {}
            }
        }
        assert_eq!(on_server, expected, "connection {last:?}: {}", pair.describe());
    }
}

/// Covers 5.1#2, 20#23.
#[test]
fn a_subscription_refused_for_good_is_dropped_and_the_others_go_on() {
    let mut pair = Pair::new(1);
    let publisher = pair.client(ClientSetup::new("publisher", [0]));
    let client = pair.client(ClientSetup::new("p", [0]));
    let mut before = pair.subscribe_from(client, "t", StartAt::Epoch);
    let mut bad = SubscriptionSpec::new(SubscriptionKind::Subscribe, "t");
    bad.filter = Some("/id =".to_owned());
    let mut refused = pair.enter(client, bad, QueueLimits::default());
    let mut after = pair.subscribe(client, "t");
    pair.run_live(client);
    pair.run_for(SECOND);
    assert!(
        matches!(refused.answer(), Some(Err(CommandError::Refused { reason: Reason::BadFilter, .. }))),
        "{:?}",
        refused.answer()
    );
    refused.take(9);
    assert!(refused.error.is_some());
    pair.publish(publisher, "one").unwrap();
    pair.run_settled(publisher);
    pair.run_for(SECOND);
    for entered in [&mut before, &mut after] {
        entered.take(9);
        assert_eq!(entered.bodies(), ["one"]);
    }
}

/// Entered before, refused when entered again: by a server that takes no
/// subscription for a permanent reason.
///
/// Covers 15#2.
#[test]
fn a_resubscription_refused_for_good_is_dropped_and_told() {
    let mut pair = Pair::new(2);
    let client = pair.client(ClientSetup::new("p", [0]));
    let mut entered = pair.subscribe(client, "t");
    pair.run_live(client);
    pair.run_for(SECOND);
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.refuse(MessageKind::Subscribe, Some("not entitled")));
    pair.cut(client);
    pair.run_until(60 * SECOND, |pair| !pair.is_live(client));
    pair.run_live(client);
    entered.take(9);
    assert!(
        matches!(entered.error, Some(CommandError::Refused { reason: Reason::NotEntitled, .. })),
        "{:?}",
        entered.error
    );
    assert_eq!(pair.attempts(client).len(), 2, "{}", pair.describe());
}

/// Refused for a reason that may pass: the attempt fails, and the next server
/// is tried.
///
/// Covers 15#2.
#[test]
fn a_resubscription_refused_for_now_fails_the_attempt() {
    let mut pair = Pair::with_servers(3, 2, None);
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    let mut entered = pair.subscribe(client, "t");
    pair.run_live(client);
    pair.run_for(SECOND);
    let now = pair.now;
    pair.server(1).with_faults(now, |faults| faults.refuse(MessageKind::Subscribe, Some("no luck today")));
    pair.cut(client);
    pair.run_until(60 * SECOND, |pair| !pair.is_live(client));
    pair.run_live(client);
    entered.take(9);
    assert!(entered.error.is_none(), "{:?}", entered.error);
    assert_eq!(pair.attempts(client).iter().map(|(_, server)| *server).collect::<Vec<_>>(), [0, 1, 0]);
}

/// A subscription that is never confirmed again fails the attempt in time.
///
/// Covers 11.6#3.
#[test]
fn a_resubscription_never_answered_fails_the_attempt() {
    let mut pair = Pair::with_servers(4, 2, None);
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    let entered = pair.subscribe(client, "t");
    pair.run_live(client);
    pair.run_for(SECOND);
    let now = pair.now;
    pair.server(1).with_faults(now, |faults| faults.ignore(MessageKind::Subscribe, true));
    pair.cut(client);
    pair.run_until(60 * SECOND, |pair| !pair.is_live(client));
    pair.run_until(15 * SECOND, |pair| pair.is_live(client));
    assert_eq!(pair.attempts(client).iter().map(|(_, server)| *server).collect::<Vec<_>>(), [0, 1, 0]);
    drop(entered);
}

/// The server lost its log, and with it the bookmarks: said in band, then the
/// subscription's policy.
#[test]
fn a_bookmark_the_server_does_not_know_is_a_gap_and_then_the_policy() {
    for policy in [OnUnknownBookmark::Epoch, OnUnknownBookmark::Now, OnUnknownBookmark::End] {
        let mut pair = Pair::new(5);
        let publisher = pair.client(ClientSetup::new("publisher", [0]));
        let client = pair.client(ClientSetup::new("p", [0]));
        let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "t");
        spec.start = Some(StartAt::Epoch);
        spec.on_unknown_bookmark = policy;
        let mut entered = pair.enter(client, spec, QueueLimits::default());
        pair.run_live(client);
        pair.publish(publisher, "one").unwrap();
        pair.run_settled(publisher);
        pair.run_for(SECOND);
        pair.close(publisher);
        pair.wipe_server(0);
        // The log of the new life begins with other messages.
        let other = pair.client(ClientSetup::new("other", [0]));
        pair.publish(other, "two").unwrap();
        pair.run_until(60 * SECOND, |pair| pair.settled(other) && !pair.is_live(client));
        pair.run_live(client);
        pair.run_for(SECOND);
        pair.publish(other, "three").unwrap();
        pair.run_settled(other);
        pair.run_for(SECOND);
        entered.take(usize::MAX);
        let gaps = entered.items.iter().filter(|item| matches!(item, Item::Gap { .. })).count();
        assert_eq!(gaps, 1, "{policy:?} {:?}", entered.items);
        let ended = matches!(entered.error, Some(CommandError::Refused { reason: Reason::BookmarkNotFound, .. }));
        assert_eq!(ended, policy == OnUnknownBookmark::End, "{:?}", entered.error);
        match policy {
            OnUnknownBookmark::Epoch => assert_eq!(entered.bodies(), ["one", "two", "three"]),
            OnUnknownBookmark::End => assert_eq!(entered.bodies(), ["one"]),
            _ => {
                let bodies = entered.bodies();
                assert!(bodies == ["one", "three"] || bodies == ["one", "two", "three"], "{bodies:?}");
            }
        }
    }
}

/// A server too old to say whether it knows a bookmark: told as possible.
#[test]
fn a_failover_to_an_older_server_is_a_possible_gap() {
    let configs = ["s0", "s1"].map(|name| {
        let mut config = amps_testserver::Config::new(name).ack_conflation(Duration::from_millis(20));
        config.version = "5.3.4.10".to_owned();
        let peer = if name == "s0" { "s1" } else { "s0" };
        config.peer(peer, Link::Sync)
    });
    let mut pair = Pair::with_configs(6, configs.into());
    let publisher = pair.client(ClientSetup::new("publisher", [0, 1]));
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    let mut entered = pair.subscribe_from(client, "t", StartAt::Epoch);
    pair.run_live(client);
    // Older than the resume overlap, so that the failover resumes there.
    for id in 0..30 {
        pair.publish(publisher, format!("{publisher}:{id}")).unwrap();
        pair.run_for(SECOND);
    }
    pair.cut(client);
    pair.run_for(20 * SECOND);
    entered.take(usize::MAX);
    assert!(entered.items.iter().any(|item| matches!(item, Item::GapPossible { .. })), "{:?}", entered.items);
    assert_all_once(&pair, &[publisher], &entered);
}

/// A reader that is behind, with a small queue, across failovers: what waits
/// outside the queue is not delivered twice and not forgotten.
#[test]
fn a_slow_reader_misses_nothing_across_failovers() {
    for seed in 0..30 {
        let mut pair = Pair::with_servers(seed, 2, Some(Link::Sync));
        let publisher = pair.client(ClientSetup::new("publisher", [0, 1]));
        let client = pair.client(ClientSetup::new("p", [0, 1]));
        let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "t");
        spec.start = Some(StartAt::Epoch);
        let mut entered = pair.enter(client, spec, QueueLimits { messages: 5, bytes: 1 << 20 });
        pair.run_live(client);
        for id in 0..600 {
            pair.publish(publisher, format!("{publisher}:{id}")).unwrap();
            if pair.random.random_range(0..60) == 0 {
                pair.cut(client);
            }
            if pair.random.random_range(0..20) == 0 {
                let time = Duration::from_millis(pair.random.random_range(0..900));
                pair.run_for(time);
            }
            for _ in 0..pair.random.random_range(0..10) {
                pair.step();
            }
            let taken = pair.random.random_range(0..2);
            entered.take(taken);
        }
        pair.run_settled(publisher);
        let mut idle = 0;
        while idle < 100 {
            idle = if entered.take(3) > 0 { 0 } else { idle + 1 };
            pair.run_for(Duration::from_millis(200));
        }
        assert_all_once(&pair, &[publisher], &entered);
    }
}

/// One subscription is slow; another client's and the publisher's are not
/// held up by it.
///
/// Covers 20#7.
#[test]
fn a_slow_subscription_holds_up_no_other_client() {
    let mut pair = Pair::new(7);
    let publisher = pair.client(ClientSetup::new("publisher", [0]));
    let slow = pair.client(ClientSetup::new("slow", [0]));
    let quick = pair.client(ClientSetup::new("quick", [0]));
    let spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "t");
    let never = pair.enter(slow, spec, QueueLimits { messages: 1, bytes: 1 });
    let mut entered = pair.subscribe(quick, "t");
    pair.run_live(slow);
    pair.run_live(quick);
    pair.run_for(SECOND);
    for id in 0..2_000 {
        pair.publish(publisher, format!("{publisher}:{id}")).unwrap();
    }
    pair.run_settled(publisher);
    pair.run_for(60 * SECOND);
    entered.take(usize::MAX);
    assert_all_once(&pair, &[publisher], &entered);
    assert!(pair.is_live(slow), "{}", pair.describe());
    assert!(never.queue.len() <= 2);
}

/// The connection dies at any byte while fifty subscriptions are entered again.
///
/// Covers 11.5#3, 11.6#6.
#[test]
fn a_connection_that_dies_while_subscriptions_are_entered_leaves_each_active_once() {
    for seed in 0..60 {
        let mut pair = Pair::new(seed);
        let client = pair.client(ClientSetup::new("p", [0]));
        let mut entered: Vec<_> = (0..50).map(|id| pair.subscribe(client, &format!("t{id}"))).collect();
        pair.run_live(client);
        pair.run_for(SECOND);
        // Behind logon and heartbeat, among the subscriptions.
        pair.cut_next(0, None, Some(250 + seed * 60));
        pair.cut(client);
        pair.run_until(60 * SECOND, |pair| pair.attempts(client).len() == 3);
        pair.run_live(client);
        pair.run_for(SECOND);
        let commands: Vec<_> = pair.server(0).stats().commands.iter().cloned().collect();
        let last = commands.iter().map(|command| command.connection).max();
        let on_last: Vec<_> = commands
            .iter()
            .filter(|command| Some(command.connection) == last && command.kind == MessageKind::Subscribe)
            .filter_map(|command| command.topic.clone())
            .collect();
        let expected: Vec<_> = (0..50).map(|id| format!("t{id}")).collect();
        assert_eq!(on_last, expected, "each once, in the order they were made: {}", pair.describe());
        let publisher = pair.client(ClientSetup::new("publisher", [0]));
        for id in 0..50 {
            pair.publish_to(publisher, &format!("t{id}"), id.to_string()).unwrap();
        }
        pair.run_settled(publisher);
        pair.run_for(SECOND);
        for (id, entered) in entered.iter_mut().enumerate() {
            entered.take(usize::MAX);
            assert_eq!(entered.bodies(), [id.to_string()]);
        }
    }
}
