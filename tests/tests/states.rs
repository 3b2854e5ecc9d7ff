//! What a client tells of its connection, in which order, and when it notices
//! that the connection is dead.

use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::{Client, Event};
use amps_core::message::MessageKind;
use amps_ha::error::Cause;
use amps_ha::event::ConnectionState::{self, *};
use amps_ha::event::StateChange;
use amps_tests::{ClientSetup, Pair};
use amps_testserver::{Link, ReceivedCommand, Target, TestServer};

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(20);
const RECOVERED: [ConnectionState; 5] = [Connected, LoggedOn, HeartbeatInitiated, PublishReplayed, Resubscribed];

/// Commands of a kind that a server received.
fn received(pair: &mut Pair, kind: MessageKind) -> Vec<ReceivedCommand> {
    pair.server(0).stats().commands.iter().filter(|command| command.kind == kind).cloned().collect()
}

fn changes(pair: &Pair, client: usize) -> Vec<StateChange> {
    let changes = pair.events(client).iter().filter_map(|(_, event)| match event {
        Event::State(change) => Some(change.clone()),
        _ => None,
    });
    changes.collect()
}

/// A client with a heartbeat of one second, and two of tolerance.
fn beating(servers: impl IntoIterator<Item = usize>) -> ClientSetup {
    let mut setup = ClientSetup::new("p", servers);
    setup.core.heartbeat = Some((SECOND, 2 * SECOND));
    setup
}

/// Covers 5.9#1.
#[test]
fn the_golden_sequences() {
    let mut pair = Pair::new(1);
    let client = pair.client(ClientSetup::new("p", [0]));
    pair.run_live(client);
    pair.settle_now();
    assert_eq!(pair.states(client), RECOVERED, "first connect");

    pair.cut(client);
    pair.run_until(5 * SECOND, |pair| !pair.is_live(client));
    pair.run_live(client);
    pair.settle_now();
    let lost = [&RECOVERED[..], &[Disconnected], &RECOVERED].concat();
    assert_eq!(pair.states(client), lost, "loss and reconnect");

    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.refuse_logon(Some("auth failure")));
    pair.cut(client);
    pair.run_until(30 * SECOND, |pair| pair.attempts(client).len() == 4);
    let refused = pair.states(client)[lost.len()..].to_vec();
    assert_eq!(refused[..3], [Disconnected, Connected, Disconnected], "connected, and the logon refused");

    // Between two attempts.
    pair.run_for(10 * SECOND);
    let before = pair.states(client).len();
    pair.close(client);
    pair.run_for(60 * SECOND);
    let ended = pair.states(client)[before..].to_vec();
    assert!(ended == [Shutdown] || ended == [Disconnected, Shutdown], "closed while reconnecting: {ended:?}");
}

/// Covers 5.9#1.
#[test]
fn a_close_is_disconnected_and_shutdown() {
    let mut pair = Pair::new(2);
    let client = pair.client(ClientSetup::new("p", [0]));
    pair.run_live(client);
    pair.close(client);
    pair.run_for(60 * SECOND);
    assert_eq!(pair.states(client), [&RECOVERED[..], &[Disconnected, Shutdown]].concat());
}

/// Covers 5.9#4.
#[test]
fn every_change_says_where_when_which_attempt_and_why() {
    let mut pair = Pair::with_servers(3, 2, None);
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.refuse_logon(Some("auth failure")));
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    pair.run_live(client);
    pair.cut(client);
    pair.run_until(5 * SECOND, |pair| !pair.is_live(client));
    pair.close(client);
    pair.settle_now();
    let changes = changes(&pair, client);
    let told: Vec<_> = pair.events(client).iter().filter(|(_, event)| matches!(event, Event::State(_))).collect();
    for (change, (seen, _)) in changes.iter().zip(told) {
        assert!(change.at <= *seen && *seen - change.at < Duration::from_millis(1), "{change:?}");
        let host = change.uri.as_ref().expect("where").host();
        let ends = matches!(change.state, Disconnected | Shutdown);
        assert_eq!(change.cause.is_some(), ends, "{change:?}");
        match host {
            "s0" => assert_eq!(change.attempt, 1),
            _ => assert_eq!(change.attempt, 2),
        }
    }
    let causes: Vec<_> = changes.iter().filter_map(|change| change.cause.as_ref()).collect();
    assert!(matches!(causes[..], [Cause::LogonRefused(_), Cause::Io(_), Cause::ByUser]), "{causes:?}");
    assert!(changes.windows(2).all(|pair| pair[0].at <= pair[1].at), "in the order of time");
}

/// Covers 5.9#2.
#[tokio::test]
async fn listeners_come_and_go_while_they_are_told() {
    let server = TestServer::builder().start().await.unwrap();
    let client = Client::builder("me").server(server.uri()).start().unwrap();
    let mut outer = client.events();
    let mut inner = None;
    let mut seen = Vec::new();
    loop {
        let event = tokio::time::timeout(SOON, outer.next()).await.unwrap().unwrap();
        let Event::State(change) = event else { continue };
        match change.state {
            Resubscribed => {
                inner = Some(client.events());
                server.kick("me");
            }
            // One that listens ends itself; another one goes on.
            Disconnected => break,
            _ => {}
        }
    }
    drop(outer);
    let mut inner = inner.expect("made on the way");
    while seen.last() != Some(&Resubscribed) {
        if let Some(Event::State(change)) = tokio::time::timeout(SOON, inner.next()).await.unwrap() {
            seen.push(change.state);
        }
    }
    assert_eq!(seen, [&[Disconnected][..], &RECOVERED].concat(), "everything after it was made");
}

/// Covers 5.9#3.
#[tokio::test]
async fn a_listener_that_does_not_listen_holds_nothing_up() {
    let server = TestServer::builder().start().await.unwrap();
    let strategy = FixedReconnect::new(Duration::ZERO, 1).loss_window(Duration::ZERO);
    let client = Client::builder("me").server(server.uri()).reconnect(strategy).connect().await.unwrap();
    let mut slow = client.events();
    let mut state = client.state();
    for number in 1..=300 {
        server.kick("me");
        let back = server.wait_for(|stats| stats.logons > number);
        tokio::time::timeout(SOON, back).await.expect("nobody waits for the listener");
    }
    client.connected().await.unwrap();
    while state.latest().unwrap().state != Resubscribed {
        state.changed().await.unwrap();
    }
    client.close(SOON).await;
    assert_eq!(state.changed().await.map(|change| change.state), Some(Shutdown), "the latest, whatever came between");
    let (mut missed, mut last) = (0, None);
    while let Some(event) = slow.next().await {
        match event {
            Event::Missed(events) => missed += events,
            Event::State(change) => last = Some(change.state),
            _ => {}
        }
        if last == Some(Shutdown) {
            break;
        }
    }
    assert!(missed > 0, "and it is told what it missed");
}

/// Covers 5.5.1#1, 20#18.
#[test]
fn a_frozen_server_is_noticed_within_the_timeout() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed);
        let client = pair.client(beating([0]));
        pair.run_live(client);
        pair.run_for(Duration::from_millis(137 * seed));
        let now = pair.now;
        pair.server(0).with_faults(now, |faults| faults.half_open(Target::All, true));
        pair.run_until(5 * SECOND, |pair| !pair.is_live(client));
        // The last byte came up to an interval before it froze.
        let silent = pair.now - now;
        assert!(silent <= Duration::from_millis(2_500), "{silent:?}");
        assert!(silent >= Duration::from_millis(900), "{silent:?}");
        let changes = changes(&pair, client);
        let cause = changes.last().and_then(|change| change.cause.clone());
        assert!(matches!(cause, Some(Cause::HeartbeatTimeout(_))), "{cause:?}");
    }
}

/// Two seconds after the last byte, to the millisecond.
///
/// Covers 5.5.1#1.
#[test]
fn silence_is_counted_from_the_last_byte() {
    let mut pair = Pair::new(1);
    let client = pair.client(beating([0]));
    let subscription = pair.subscribe(client, "t");
    let publisher = pair.client(ClientSetup::new("publisher", [0]));
    pair.run_live(client);
    pair.run_live(publisher);
    pair.run_for(Duration::from_millis(300));
    pair.publish(publisher, "last").unwrap();
    pair.run_until(SECOND, |_| subscription.queue.len() == 1);
    let last = pair.now;
    pair.black_hole(client);
    pair.run_until(5 * SECOND, |pair| !pair.is_live(client));
    let silent = pair.now - last;
    assert!((2_000..2_500).contains(&silent.as_millis()), "{silent:?}");
}

/// Covers 5.5.1#2.
#[test]
fn any_traffic_is_a_sign_of_life() {
    let mut pair = Pair::new(4);
    let client = pair.client(beating([0]));
    let mut entered = pair.subscribe(client, "t");
    let publisher = pair.client(ClientSetup::new("publisher", [0]));
    pair.run_live(client);
    pair.run_live(publisher);
    for id in 0..200 {
        pair.publish(publisher, id.to_string()).unwrap();
        pair.run_for(Duration::from_millis(500));
        entered.take(usize::MAX);
    }
    assert_eq!(entered.bodies().len(), 200);
    assert_eq!(pair.attempts(client).len(), 1, "{}", pair.describe());
    // Whenever it was about to beat, something else had just been sent.
    let beats = pair.server(0).stats().commands.iter().filter(|command| command.kind == MessageKind::Heartbeat);
    assert!(beats.count() > 0);
}

/// Covers 5.5.1#3.
#[test]
fn an_idle_client_beats_at_its_interval_and_a_busy_one_never() {
    let mut pair = Pair::new(5);
    let client = pair.client(beating([0]));
    pair.run_live(client);
    let beats = |pair: &mut Pair| {
        let all = received(pair, MessageKind::Heartbeat);
        all.iter().filter(|command| command.options.as_deref() == Some("beat")).count()
    };
    let (mut count, mut at) = (beats(&mut pair), pair.now);
    for _ in 0..10 {
        pair.run_until(2 * SECOND, |pair| beats(pair) > count);
        let gap = pair.now - at;
        assert!((750..=1_250).contains(&gap.as_millis()), "{gap:?}");
        (count, at) = (count + 1, pair.now);
    }
    for id in 0..100 {
        pair.publish(client, id.to_string()).unwrap();
        pair.run_for(Duration::from_millis(200));
    }
    assert_eq!(beats(&mut pair), count, "a busy publisher sends no extra beats");
}

/// Covers 5.5.1#4, 11.5#2, 20#4.
#[test]
fn after_a_reconnect_come_logon_heartbeat_replay_and_subscriptions_in_that_order() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed);
        let client = pair.client(beating([0]));
        let entered: Vec<_> = ["a", "b", "c"].map(|topic| pair.subscribe(client, topic)).into();
        pair.run_live(client);
        pair.run_for(SECOND);
        let now = pair.now;
        pair.server(0).with_faults(now, |faults| faults.withhold_acks(true));
        for id in 0..20 {
            pair.publish(client, id.to_string()).unwrap();
        }
        pair.run_for(SECOND);
        pair.cut(client);
        pair.run_until(5 * SECOND, |pair| !pair.is_live(client));
        pair.wipe_server(0);
        pair.run_live(client);
        pair.settle_now();
        let commands: Vec<_> = pair.server(0).stats().commands.iter().cloned().collect();
        let expected = std::iter::empty()
            .chain([MessageKind::Logon, MessageKind::Heartbeat])
            .chain(std::iter::repeat_n(MessageKind::Publish, 20))
            .chain(std::iter::repeat_n(MessageKind::Subscribe, 3));
        assert!(commands.iter().map(|command| command.kind).eq(expected), "{commands:?}");
        assert_eq!(commands[1].options.as_deref(), Some("start,1"));
        assert!(pair.states(client).ends_with(&RECOVERED));
        drop(entered);
    }
}

/// Covers 5.5.1#5.
#[test]
fn a_server_that_refuses_heartbeats_is_a_failed_attempt() {
    let mut pair = Pair::with_servers(6, 2, None);
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.refuse(MessageKind::Heartbeat, Some("not today")));
    let client = pair.client(beating([0, 1]));
    pair.run_live(client);
    let failed = pair.events(client).iter().find_map(|(_, event)| match event {
        Event::AttemptFailed { uri, cause, .. } => Some((uri.host().to_owned(), cause.clone())),
        _ => None,
    });
    assert!(matches!(&failed, Some((host, Cause::HeartbeatRefused(_))) if host == "s0"), "{failed:?}");
    assert_eq!(pair.attempts(client).len(), 2);
}

/// An hour of heartbeats by the monotonic clock, while the wall clock hardly
/// moves: it has no part in this, whether it jumps or stands still.
///
/// Covers 5.5.1#6.
#[test]
fn the_wall_clock_has_no_part_in_heartbeats() {
    let wall = std::time::SystemTime::now();
    let mut pair = Pair::new(7);
    let client = pair.client(beating([0]));
    pair.run_live(client);
    pair.run_for(3_600 * SECOND);
    assert_eq!(pair.attempts(client).len(), 1, "{}", pair.describe());
    assert!(wall.elapsed().is_ok_and(|passed| passed < 600 * SECOND), "an hour went by in far less");
    pair.black_hole(client);
    let since = pair.now;
    pair.run_until(3 * SECOND, |pair| !pair.is_live(client));
    assert!(pair.now - since >= SECOND);
}

/// Covers 5.5.2#1.
#[test]
fn a_subscriber_whose_server_dies_is_subscribed_at_the_next_without_a_call() {
    for seed in 0..20 {
        let mut pair = Pair::with_servers(seed, 2, Some(Link::Sync));
        let client = pair.client(ClientSetup::new("p", [0, 1]));
        let mut entered = pair.subscribe(client, "t");
        pair.run_live(client);
        pair.run_for(SECOND);
        let publisher = pair.client(ClientSetup::new("publisher", [1]));
        pair.crash_server(0);
        let since = pair.now;
        pair.run_until(5 * SECOND, |pair| !pair.is_live(client));
        pair.run_until(5 * SECOND, |pair| pair.is_live(client));
        // The window after a loss, and a few round trips.
        assert!(pair.now - since <= SECOND + Duration::from_millis(50), "{:?}", pair.now - since);
        pair.run_live(publisher);
        pair.publish(publisher, "after").unwrap();
        pair.run_for(SECOND);
        entered.take(usize::MAX);
        assert_eq!(entered.bodies(), ["after"]);
    }
}

/// Covers 3.1#1.
#[test]
fn two_clients_with_one_name_are_told_and_do_not_run_in_circles() {
    let mut pair = Pair::new(8);
    let one = pair.client(ClientSetup::new("same", [0]));
    pair.run_live(one);
    pair.run_for(10 * SECOND);
    let other = pair.client(ClientSetup::new("same", [0]));
    pair.run_live(other);
    pair.run_until(SECOND, |pair| pair.states(one).last() == Some(&Disconnected));
    pair.run_until(5 * SECOND, |pair| pair.is_live(one));
    let contested = |pair: &Pair, client: usize| {
        pair.events(client).iter().any(|(_, event)| matches!(event, Event::NameContested { kicks: 3, .. }))
    };
    pair.run_until(15 * SECOND, |pair| contested(pair, one) || contested(pair, other));
    pair.run_for(60 * SECOND);
    let before = pair.attempts(one).len() + pair.attempts(other).len();
    pair.run_for(600 * SECOND);
    let attempts = pair.attempts(one).len() + pair.attempts(other).len() - before;
    assert!(attempts < 120, "{attempts} attempts in ten minutes");
}
