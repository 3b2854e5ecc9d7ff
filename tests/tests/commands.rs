//! Commands and publishes keep their order, and what fails says so: behind a
//! replay, behind a full queue, with a failed disk.

use std::time::Duration;

use amps_core::StartAt;
use amps_core::message::MessageKind;
use amps_ha::client_core::Request;
use amps_ha::error::CommandError;
use amps_ha::kv::SyncLevel;
use amps_ha::publish_log::{AppendError, Durability};
use amps_ha::subscriptions::{QueueLimits, SubscriptionKind, SubscriptionSpec};
use amps_tests::pair::Door;
use amps_tests::{ClientSetup, Pair, Store};
use proptest::prelude::*;
use rand::RngExt;
use tokio::sync::oneshot;

const SECOND: Duration = Duration::from_secs(1);

/// Publishes before, between and behind commands, with connections dying: on
/// each connection the server sees every command after the publishes it was
/// issued after.
fn commands_keep_their_place(seed: u64, store: Store) {
    let mut pair = Pair::new(seed);
    pair.room(2_000);
    let client = pair.client(ClientSetup::new("p", [0]).store(store).resident(20_000));
    let mut entered = Vec::new();
    let mut flushes = Vec::new();
    let mut published = 0;
    for round in 0..12 {
        // Commands also wait for publishes that are not on the disk yet.
        let held = pair.random.random_range(0..3) == 0;
        pair.hold_store(client, held);
        for _ in 0..pair.random.random_range(0..60) {
            pair.publish(client, format!("{published}:{:x<50}", "")).unwrap();
            published += 1;
        }
        match pair.random.random_range(0..5) {
            0 => entered.push((published, pair.subscribe(client, &format!("plain{round}")))),
            1 => entered.push((published, pair.subscribe_from(client, &format!("book{round}"), StartAt::Epoch))),
            2 => {
                let (reply, answer) = oneshot::channel();
                let after = pair.log_of(client).peek(|log| log.end());
                pair.request(client, Request::Flush { after, reply: reply.into() });
                flushes.push((published, answer));
            }
            3 => {
                let at = pair.random.random_range(0..6_000);
                pair.cut_next(0, None, Some(at));
                pair.cut(client);
            }
            _ => {}
        }
        for _ in 0..pair.random.random_range(0..40) {
            pair.step();
        }
        let most = [500, 3_000, 2_000_000][pair.random.random_range(0..3)];
        let time = Duration::from_micros(pair.random.random_range(0..most));
        pair.run_for(time);
        for (issued, answer) in &mut flushes {
            if let Ok(Ok(())) = answer.try_recv() {
                let logged = pair.logged(0, client).len();
                assert!(logged >= *issued, "a flush answered with {logged} of {issued}: {}", pair.describe());
            }
        }
    }
    pair.hold_store(client, false);
    pair.run_settled(client);
    pair.run_live(client);
    pair.run_for(SECOND);
    assert_eq!(pair.logged(0, client), pair.published(client), "{}", pair.describe());
    let received: Vec<_> = pair.server(0).stats().commands.iter().cloned().collect();
    let first = received.iter().filter_map(|command| command.sequence).min().unwrap_or(0);
    for (_, entered) in &mut entered {
        assert!(matches!(entered.answer(), Some(Ok(()))), "{:?}: {}", entered.answer(), pair.describe());
    }
    // In the order of arrival, the highest sequence seen before a subscription
    // reached the server for the first time.
    let mut highest = 0;
    let mut seen = std::collections::BTreeSet::new();
    for command in &received {
        if let Some(sequence) = command.sequence {
            highest = highest.max(sequence - first + 1);
        }
        if command.kind == MessageKind::Subscribe
            && let Some(topic) = &command.topic
            && seen.insert(topic.clone())
        {
            let at = entered.iter().position(|(_, entered)| entered.topic == *topic).expect("one of ours");
            let issued = entered[at].0 as u64;
            assert!(highest >= issued, "'{topic}' came at {highest}, issued at {issued}: {}", pair.describe());
        }
    }
    assert_eq!(seen.len(), entered.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: amps_tests::cases(60), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_command_is_seen_by_the_server_after_the_publishes_before_it(seed: u64, disk: bool) {
        commands_keep_their_place(seed, if disk { Store::Disk(Durability::PowerLoss) } else { Store::Memory });
    }
}

#[test]
fn a_query_sees_what_was_published_before_it() {
    let mut config = amps_testserver::Config::new("s0").ack_conflation(Duration::from_millis(20));
    config = config.sow("t", "/id");
    let mut pair = Pair::with_configs(1, vec![config]);
    pair.room(1_000);
    let client = pair.client(ClientSetup::new("p", [0]));
    pair.run_live(client);
    for id in 0..300 {
        pair.publish(client, format!("{{\"id\":{id}}}")).unwrap();
    }
    let mut query = pair.enter(client, SubscriptionSpec::new(SubscriptionKind::Sow, "t"), QueueLimits::default());
    pair.run_for(5 * SECOND);
    query.take(usize::MAX);
    assert_eq!(query.bodies().len(), 300, "{:?}", query.error);
}

/// Several publishes while one fsync runs share the next one; a lone publish
/// has its own.
#[test]
fn several_messages_share_one_fsync_under_load_and_one_alone_has_its_own() {
    let mut pair = Pair::new(2);
    pair.door(0, Door::Refuses);
    let client = pair.client(ClientSetup::new("p", [0]).store(Store::Disk(Durability::PowerLoss)));
    pair.run_for(SECOND);
    let syncs = pair.disk(client).sync_count();
    let before = syncs.get(SyncLevel::Power);
    for id in 0..10 {
        pair.publish(client, format!("alone {id}")).unwrap();
        pair.settle_now();
        assert_eq!(pair.promised(client).len(), id + 1);
    }
    let alone = syncs.get(SyncLevel::Power) - before;
    assert_eq!(alone, 10);
    for id in 0..1_000 {
        pair.publish(client, format!("together {id}")).unwrap();
        if id % 100 == 0 {
            pair.step();
        }
    }
    pair.settle_now();
    assert_eq!(pair.promised(client).len(), 1_010);
    let together = syncs.get(SyncLevel::Power) - before - alone;
    assert!(together <= 12, "{together} fsyncs for 1,000 messages");
}

#[test]
fn after_a_failed_fsync_nothing_more_is_promised_or_sent() {
    for (seed, nth) in (0..24).map(|seed| (seed, seed % 6 + 1)) {
        let mut pair = Pair::new(seed);
        let client = pair.client(ClientSetup::new("p", [0]).store(Store::Disk(Durability::PowerLoss)));
        pair.run_live(client);
        if seed % 2 == 0 {
            pair.disk(client).fail_sync(nth);
        } else {
            pair.disk(client).fail_write(nth);
        }
        let mut refused = 0;
        for id in 0..100 {
            match pair.publish(client, id.to_string()) {
                Ok(_) => {}
                Err(AppendError::StoreFailed(_)) => refused += 1,
                Err(other) => panic!("{other}"),
            }
            for _ in 0..pair.random.random_range(0..8) {
                pair.step();
            }
        }
        pair.run_for(30 * SECOND);
        assert!(pair.cursors(client).failed.is_some(), "{}", pair.describe());
        assert!(refused > 0, "{}", pair.describe());
        let (promised, logged) = (pair.promised(client).to_vec(), pair.logged(0, client));
        assert_eq!(logged, promised, "what was promised before, and nothing else: {}", pair.describe());
        // The connection is lost and comes back; still nothing.
        pair.cut(client);
        pair.run_for(60 * SECOND);
        assert_eq!(pair.logged(0, client), promised);
        assert!(pair.is_live(client), "a failed store ends publishing, not the client: {}", pair.describe());
    }
}

/// A store that fails must not take subscriptions with it, old or new.
#[test]
fn subscriptions_go_on_with_a_failed_store() {
    let mut pair = Pair::new(3);
    let other = pair.client(ClientSetup::new("other", [0]));
    let client = pair.client(ClientSetup::new("p", [0]).store(Store::Disk(Durability::PowerLoss)));
    let mut old = pair.subscribe_from(client, "t", StartAt::Epoch);
    pair.run_live(client);
    pair.run_live(other);
    pair.disk(client).fail_sync(1);
    pair.publish(client, "never").unwrap();
    pair.run_for(SECOND);
    assert!(pair.cursors(client).failed.is_some());
    let mut new = pair.subscribe_from(client, "t", StartAt::Epoch);
    pair.publish(other, "one").unwrap();
    pair.run_for(5 * SECOND);
    assert!(matches!(new.answer(), Some(Ok(()))), "{:?}", new.answer());
    pair.cut(client);
    pair.run_for(60 * SECOND);
    assert!(pair.is_live(client), "{}", pair.describe());
    pair.publish(other, "two").unwrap();
    pair.run_for(5 * SECOND);
    for entered in [&mut old, &mut new] {
        entered.take(usize::MAX);
        assert_eq!(entered.bodies(), ["one", "two"]);
    }
}

/// One subscriber that never reads: beats go on, nobody is cut, what has to
/// wait behind it says so within about a second, and nothing is lost.
///
/// Covers 4.3.1#1, 4.3.1#3, 5.4#3, 20#6, 20#7.
#[test]
fn a_full_queue_stops_the_reader_and_nothing_else() {
    let mut pair = Pair::new(4);
    let publisher = pair.client(ClientSetup::new("other", [0]));
    let client = pair.client(ClientSetup::new("p", [0]));
    let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "t");
    spec.start = Some(StartAt::Epoch);
    let mut slow = pair.enter(client, spec, QueueLimits { messages: 10, bytes: 1 << 20 });
    pair.run_live(client);
    pair.run_live(publisher);
    for id in 0..3_000 {
        pair.publish(publisher, format!("{id}:{:x<200}", "")).unwrap();
    }
    pair.run_settled(publisher);
    pair.run_for(5 * SECOND);
    assert_eq!(pair.stalled(client).as_deref(), Some("t"));
    let (reply, mut flush) = oneshot::channel();
    let after = pair.log_of(client).peek(|log| log.end());
    pair.request(client, Request::Flush { after, reply: reply.into() });
    let mut second = pair.subscribe(client, "u");
    pair.run_for(Duration::from_millis(1_500));
    assert!(matches!(flush.try_recv(), Ok(Err(CommandError::WouldDeadlock { topic })) if topic == "t"));
    assert!(matches!(second.answer(), Some(Err(CommandError::WouldDeadlock { .. }))), "{:?}", second.answer());
    pair.run_for(120 * SECOND);
    assert!(pair.is_live(client), "silence while not reading is not the server's: {}", pair.describe());
    assert_eq!(pair.attempts(client).len(), 1, "{}", pair.describe());
    // The connection dies meanwhile: recovery works although nobody reads.
    pair.cut(client);
    pair.run_until(10 * SECOND, |pair| !pair.is_live(client));
    pair.run_until(10 * SECOND, |pair| pair.is_live(client));
    pair.run_for(30 * SECOND);
    while slow.bodies().len() < 3_000 {
        assert!(slow.take(7) > 0 || pair.step(), "no more came: {} {}", slow.bodies().len(), pair.describe());
        pair.settle_now();
        pair.run_for(Duration::from_millis(1));
    }
    assert!(slow.bodies() == pair.published(publisher), "all of them, once, in order");
    assert_eq!(pair.stalled(client), None);
}

/// Two subscriptions, a full queue, and the connection dies while a command
/// waits: whoever waits is told.
///
/// Covers 5.4#2, 20#14.
#[test]
fn a_command_that_waits_is_told_when_the_connection_dies() {
    let mut pair = Pair::new(5);
    let client = pair.client(ClientSetup::new("p", [0]));
    pair.run_live(client);
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.ignore(MessageKind::Flush, true));
    let (reply, mut answer) = oneshot::channel();
    pair.request(client, Request::Flush { after: 0, reply: reply.into() });
    pair.run_for(SECOND);
    pair.cut(client);
    pair.run_for(SECOND);
    assert!(matches!(answer.try_recv(), Ok(Err(CommandError::Disconnected))));
    // And within its time limit when the server never answers.
    let (reply, mut answer) = oneshot::channel();
    pair.run_live(client);
    pair.request(client, Request::Flush { after: 0, reply: reply.into() });
    pair.run_for(11 * SECOND);
    assert!(matches!(answer.try_recv(), Ok(Err(CommandError::TimedOut { .. }))));
    // And when there is no connection at all.
    pair.door(0, Door::Refuses);
    pair.cut(client);
    let (reply, mut answer) = oneshot::channel();
    pair.request(client, Request::Flush { after: 0, reply: reply.into() });
    let mut subscription = pair.subscribe(client, "t");
    let mut query = pair.enter(client, SubscriptionSpec::new(SubscriptionKind::Sow, "t"), QueueLimits::default());
    pair.run_for(11 * SECOND);
    assert!(answer.try_recv().is_ok_and(|answer| answer.is_err()));
    assert!(matches!(subscription.answer(), Some(Err(CommandError::TimedOut { .. }))));
    assert!(matches!(query.answer(), Some(Err(CommandError::TimedOut { .. }))));
    // And at the end.
    let mut subscription = pair.subscribe(client, "t");
    pair.run_for(SECOND);
    pair.close(client);
    pair.run_for(SECOND);
    assert!(matches!(subscription.answer(), Some(Err(CommandError::Closed))));
}
