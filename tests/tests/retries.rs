//! Commands that wait for their answer: time limits, lost connections, and
//! subscriptions made and ended while the client recovers.

use std::time::Duration;

use amps_core::StartAt;
use amps_core::message::MessageKind;
use amps_ha::error::CommandError;
use amps_ha::event::ConnectionState;
use amps_ha::subscriptions::{QueueLimits, SubscriptionKind, SubscriptionSpec};
use amps_tests::pair::{Door, Entered};
use amps_tests::{ClientSetup, Pair};
use amps_testserver::{Config, ReceivedCommand};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Commands of a kind that a server received from everybody, in order.
fn received(pair: &mut Pair, kind: MessageKind) -> Vec<ReceivedCommand> {
    let commands = pair.server(0).stats().commands.iter();
    commands.filter(|command| command.kind == kind).cloned().collect()
}

fn query() -> SubscriptionSpec {
    SubscriptionSpec::new(SubscriptionKind::Sow, "s")
}

fn with_records(seed: u64, setup: ClientSetup) -> (Pair, usize) {
    let config = Config::new("s0").ack_conflation(20 * MILLISECOND).sow("s", "/id");
    let mut pair = Pair::with_configs(seed, vec![config]);
    let publisher = pair.client(ClientSetup::new("publisher", [0]));
    for id in 0..30 {
        pair.publish_to(publisher, "s", format!("{{\"id\":{id}}}")).unwrap();
    }
    pair.run_settled(publisher);
    let client = pair.client(setup);
    pair.run_live(client);
    (pair, client)
}

/// Nobody answers within the time limit: the command is taken back on the
/// server too, its late answer changes nothing, and it is not entered again.
///
/// Covers 5.4#1.
#[test]
fn a_command_nobody_answers_times_out_and_is_taken_back() {
    let mut setup = ClientSetup::new("p", [0]);
    setup.core.command_timeout = 100 * MILLISECOND;
    let (mut pair, client) = with_records(1, setup);
    for spec in [SubscriptionSpec::new(SubscriptionKind::Subscribe, "t"), query()] {
        let (kind, field) = match spec.kind {
            SubscriptionKind::Sow => (MessageKind::Sow, "query_id"),
            _ => (MessageKind::Subscribe, "sub_id"),
        };
        let now = pair.now;
        pair.server(0).with_faults(now, |faults| faults.ignore(kind, true));
        let mut entered = pair.enter(client, spec, QueueLimits::default());
        pair.run_for(99 * MILLISECOND);
        assert!(entered.answer().is_none(), "{:?}", entered.answer());
        pair.run_for(3 * MILLISECOND);
        let after = 100 * MILLISECOND;
        assert!(matches!(entered.answer(), Some(Err(CommandError::TimedOut { after: told, .. })) if *told == after));
        let asked = received(&mut pair, kind).pop().unwrap().command_id.unwrap();
        let taken_back = received(&mut pair, MessageKind::Unsubscribe).pop().unwrap();
        if kind == MessageKind::Subscribe {
            assert_eq!(taken_back.subscription_id.as_ref(), Some(&asked));
        }

        let before = pair.core(client).stray_counts();
        let late = format!(r#"{{"c":"ack","a":"processed","cid":"{asked}","{field}":"{asked}","status":"success"}}"#);
        let now = pair.now;
        assert!(pair.server(0).inject(now, "p", &frame(late.as_bytes())));
        pair.run_for(SECOND);
        let counts = pair.core(client).stray_counts();
        assert_eq!((counts.late, counts.unexpected), (before.late + 1, before.unexpected));

        let now = pair.now;
        pair.server(0).with_faults(now, |faults| faults.ignore(kind, false));
        let count = received(&mut pair, kind).len();
        pair.cut(client);
        pair.run_until(5 * SECOND, |pair| !pair.is_live(client));
        pair.run_live(client);
        pair.run_for(SECOND);
        assert_eq!(received(&mut pair, kind).len(), count, "it is not entered again");
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

/// A subscription and a query that the server has not answered when the
/// connection is lost, 50 ms later.
fn cut_before_the_answer(pair: &mut Pair, client: usize) -> (Entered, Entered) {
    let ignore = |pair: &mut Pair, ignored| {
        let now = pair.now;
        pair.server(0).with_faults(now, |faults| {
            faults.ignore(MessageKind::Subscribe, ignored);
            faults.ignore(MessageKind::Sow, ignored);
        });
    };
    ignore(pair, true);
    let entered = (pair.subscribe(client, "t"), pair.enter(client, query(), QueueLimits::default()));
    pair.run_for(50 * MILLISECOND);
    ignore(pair, false);
    pair.cut(client);
    pair.run_until(5 * SECOND, |pair| !pair.is_live(client));
    entered
}

/// The connection is lost 50 ms after a command was issued and before it was
/// answered: by default it is issued again by itself, once.
///
/// Covers 11.10#1.
#[test]
fn a_command_whose_connection_is_lost_is_issued_again_and_succeeds() {
    let (mut pair, client) = with_records(2, ClientSetup::new("p", [0]));
    let (mut subscription, mut query) = cut_before_the_answer(&mut pair, client);
    assert!(subscription.answer().is_none() && query.answer().is_none());
    pair.run_live(client);
    pair.run_for(SECOND);
    assert!(matches!(subscription.answer(), Some(Ok(()))), "{:?}", subscription.answer());
    assert!(matches!(query.answer(), Some(Ok(()))), "{:?}", query.answer());
    query.take(usize::MAX);
    assert_eq!((query.bodies().len(), query.error.is_none()), (30, true));
    for kind in [MessageKind::Subscribe, MessageKind::Sow] {
        let all = received(&mut pair, kind);
        assert_eq!(all.len(), 2);
        assert_ne!(all[0].connection, all[1].connection, "once on each connection");
    }
    let other = pair.client(ClientSetup::new("other", [0]));
    pair.publish(other, "one").unwrap();
    pair.run_settled(other);
    pair.run_for(SECOND);
    subscription.take(usize::MAX);
    assert_eq!(subscription.bodies(), ["one"], "it is active once");
}

/// The same without retrying.
///
/// Covers 11.10#2.
#[test]
fn without_retrying_a_command_whose_connection_is_lost_says_so() {
    let mut setup = ClientSetup::new("p", [0]);
    setup.core.retry = false;
    let (mut pair, client) = with_records(3, setup);
    let mut kept = pair.subscribe(client, "kept");
    pair.run_for(SECOND);
    assert!(matches!(kept.answer(), Some(Ok(()))));
    let (mut subscription, mut query) = cut_before_the_answer(&mut pair, client);
    for entered in [&mut subscription, &mut query] {
        assert!(matches!(entered.answer(), Some(Err(CommandError::Disconnected))), "{:?}", entered.answer());
    }
    pair.run_live(client);
    pair.run_for(SECOND);
    let last: Vec<_> = received(&mut pair, MessageKind::Subscribe).into_iter().filter_map(|c| c.topic).collect();
    assert_eq!(last, ["kept", "t", "kept"], "what was active comes back, what failed does not");
}

/// A query that has begun to answer is never issued again: its consumer would
/// see records twice.
///
/// Covers 7#2.
#[test]
fn a_query_cut_short_in_its_answer_is_not_issued_again() {
    for seed in 0..20 {
        let (mut pair, client) = with_records(seed, ClientSetup::new("p", [0]));
        let mut query = pair.enter(client, query(), QueueLimits::default());
        pair.run_until(SECOND, |_| matches!(query.answer(), Some(Ok(()))));
        for _ in 0..seed {
            pair.step();
        }
        pair.cut(client);
        pair.run_for(30 * SECOND);
        query.take(usize::MAX);
        let mut bodies = query.bodies();
        let count = bodies.len();
        bodies.dedup();
        assert_eq!(bodies.len(), count, "seed {seed}");
        let whole = query.error.is_none() && count == 30;
        assert!(whole || matches!(query.error, Some(CommandError::Disconnected)), "{count} {:?}", query.error);
        assert_eq!(received(&mut pair, MessageKind::Sow).len(), 1, "seed {seed}");
    }
}

/// Made while nobody listens, or at any moment of the recovery: entered once.
///
/// Covers 11.6#4.
#[test]
fn a_subscription_made_during_an_outage_is_entered_once() {
    for steps in 0..40 {
        let mut pair = Pair::new(steps);
        let client = pair.client(ClientSetup::new("p", [0]));
        let mut before = pair.subscribe(client, "before");
        pair.run_live(client);
        pair.run_for(SECOND);
        pair.door(0, Door::Refuses);
        pair.cut(client);
        pair.run_until(5 * SECOND, |pair| !pair.is_live(client));
        if steps > 0 {
            pair.door(0, Door::Open);
            pair.run_until(60 * SECOND, |pair| pair.states(client).ends_with(&[ConnectionState::Connected]));
            for _ in 0..steps {
                pair.step();
            }
        }
        let mut made = pair.subscribe_from(client, "made", StartAt::Epoch);
        pair.run_for(10 * MILLISECOND);
        pair.door(0, Door::Open);
        pair.run_live(client);
        pair.run_for(SECOND);
        assert!(matches!(made.answer(), Some(Ok(()))), "{steps}: {:?}", made.answer());
        let topics: Vec<_> = received(&mut pair, MessageKind::Subscribe).into_iter().filter_map(|c| c.topic).collect();
        assert_eq!(topics, ["before", "before", "made"], "after {steps} steps: {}", pair.describe());
        let publisher = pair.client(ClientSetup::new("publisher", [0]));
        for topic in ["before", "made"] {
            pair.publish_to(publisher, topic, topic).unwrap();
        }
        pair.run_settled(publisher);
        pair.run_for(SECOND);
        for entered in [&mut before, &mut made] {
            entered.take(usize::MAX);
            assert!(entered.bodies() == [entered.topic.as_str()], "{:?}", entered.bodies());
        }
    }
}

/// Ended at any moment of the recovery, as a consumer would that has just got
/// a message: nothing hangs, and the server does not keep it.
///
/// Covers 11.6#5.
#[test]
fn a_subscription_ended_while_it_is_entered_again_is_gone() {
    for steps in 0..60 {
        let mut pair = Pair::new(steps);
        let client = pair.client(ClientSetup::new("p", [0]));
        let ended = pair.subscribe(client, "ended");
        let mut kept = pair.subscribe(client, "kept");
        pair.run_live(client);
        pair.run_for(SECOND);
        pair.cut(client);
        pair.run_until(5 * SECOND, |pair| !pair.is_live(client));
        pair.run_until(60 * SECOND, |pair| pair.states(client).ends_with(&[ConnectionState::Connected]));
        for _ in 0..steps {
            pair.step();
        }
        pair.leave(client, &ended);
        pair.run_until(5 * SECOND, |pair| pair.is_live(client));
        pair.run_for(SECOND);
        assert_eq!(pair.attempts(client).len(), 2, "after {steps} steps: {}", pair.describe());
        let entered: Vec<_> = received(&mut pair, MessageKind::Subscribe)
            .into_iter()
            .filter(|c| c.topic.as_deref() == Some("ended"))
            .collect();
        let left: Vec<_> = received(&mut pair, MessageKind::Unsubscribe);
        // Not entered at all, or left again on the same connection.
        assert_eq!(entered.len() - 1, left.len(), "after {steps} steps");
        if let (Some(entered), Some(left)) = (entered.get(1), left.first()) {
            assert_eq!(
                (entered.connection, &entered.subscription_id),
                (left.connection, &left.subscription_id),
                "after {steps} steps"
            );
        }
        let publisher = pair.client(ClientSetup::new("publisher", [0]));
        pair.publish_to(publisher, "kept", "one").unwrap();
        pair.run_settled(publisher);
        pair.run_for(SECOND);
        kept.take(usize::MAX);
        assert_eq!(kept.bodies(), ["one"]);
    }
}
