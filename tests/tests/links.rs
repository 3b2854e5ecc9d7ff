//! Dead, silent and hostile links and servers: each is noticed within its
//! bound, the next server follows, and nobody runs in circles.

use std::time::Duration;

use amps_ha::error::Cause;
use amps_ha::event::{ConnectionState, Event};
use amps_tests::pair::Door;
use amps_tests::{ClientSetup, Pair};
use amps_testserver::Target;

const SECOND: Duration = Duration::from_secs(1);

/// Why attempts at a server failed, in order.
fn failures(pair: &Pair, client: usize, server: usize) -> Vec<Cause> {
    let host = format!("s{server}");
    let failed = pair.events(client).iter().filter_map(|(_, event)| match event {
        Event::AttemptFailed { uri, cause, .. } if uri.host() == host => Some(cause.clone()),
        _ => None,
    });
    failed.collect()
}

/// Two servers that do not know each other, and a client live on the first.
fn two_servers(seed: u64) -> (Pair, usize) {
    let mut pair = Pair::with_servers(seed, 2, None);
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    pair.run_live(client);
    (pair, client)
}

/// Covers 20#11.
#[test]
fn a_half_open_link_is_noticed_within_the_heartbeat_timeout_and_failover_follows() {
    for seed in 0..20 {
        let (mut pair, client) = two_servers(seed);
        pair.run_for(SECOND * seed as u32);
        let since = pair.now;
        assert!(pair.black_hole(client));
        pair.run_until(10 * SECOND, |pair| !pair.is_live(client));
        pair.run_until(2 * SECOND, |pair| pair.is_live(client));
        assert!(pair.now - since <= 12 * SECOND, "{:?}", pair.now - since);
        assert!(matches!(failures(&pair, client, 0)[..], [Cause::HeartbeatTimeout(_)]), "{}", pair.describe());
    }
}

/// Covers 20#11.
#[test]
fn a_half_open_link_is_noticed_while_the_write_side_is_stuck() {
    let (mut pair, client) = two_servers(1);
    pair.room(10_000);
    for id in 0..1_000 {
        pair.publish(client, format!("{id}:{:x<500}", "")).unwrap();
    }
    pair.black_hole(client);
    let since = pair.now;
    pair.run_until(10 * SECOND, |pair| !pair.is_live(client));
    pair.run_settled(client);
    assert!(pair.now - since <= 13 * SECOND);
    assert_eq!(pair.logged(1, client), pair.published(client));
}

/// The server sends heartbeats and reads nothing: the write side is stuck and
/// everything received looks healthy.
#[test]
fn a_server_that_stops_reading_is_given_up_and_nothing_is_lost() {
    let (mut pair, client) = two_servers(2);
    pair.room(10_000);
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.stop_reading(Target::All, true));
    for id in 0..200 {
        pair.publish(client, format!("{id}:{:x<500}", "")).unwrap();
    }
    pair.run_until(15 * SECOND, |pair| !pair.is_live(client));
    assert!(matches!(failures(&pair, client, 0)[..], [Cause::WriteTimeout(_)]), "{}", pair.describe());
    pair.run_settled(client);
    // What the first server had accepted, and the second was never told of,
    // is on the second all the same: nothing was acknowledged.
    assert_eq!(pair.logged(1, client), pair.published(client));
}

/// The same while everything is replayed, before the client is live again.
#[test]
fn a_server_that_stops_reading_during_the_replay_is_given_up() {
    let mut pair = Pair::with_servers(22, 2, None);
    pair.room(10_000);
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    for id in 0..2_000 {
        pair.publish(client, format!("{id}:{:x<500}", "")).unwrap();
    }
    pair.run_until(SECOND, |pair| pair.states(client).contains(&ConnectionState::HeartbeatInitiated));
    assert!(!pair.is_live(client));
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.stop_reading(Target::All, true));
    pair.run_until(12 * SECOND, |pair| pair.is_live(client));
    assert!(matches!(failures(&pair, client, 0)[..], [Cause::WriteTimeout(_)]), "{}", pair.describe());
    pair.run_settled(client);
    assert_eq!(pair.logged(1, client), pair.published(client));
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_a_failed_attempt() {
    let mut pair = Pair::with_servers(3, 2, None);
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.accept_then_silence(true));
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    pair.run_until(7 * SECOND, |pair| pair.is_live(client));
    assert!(matches!(failures(&pair, client, 0)[..], [Cause::LogonTimeout(_)]), "{}", pair.describe());
    assert!(failures(&pair, client, 1).is_empty(), "the next server has not failed: {}", pair.describe());
    assert_eq!(pair.attempts(client).len(), 2, "{}", pair.describe());
}

/// Covers 20#24.
#[test]
fn a_server_that_never_answers_the_connect_is_a_failed_attempt() {
    let mut pair = Pair::with_servers(4, 2, None);
    pair.door(0, Door::Silent);
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    pair.run_until(7 * SECOND, |pair| pair.is_live(client));
    assert!(matches!(failures(&pair, client, 0)[..], [Cause::ConnectTimeout(_)]), "{}", pair.describe());
    assert!(failures(&pair, client, 1).is_empty(), "{}", pair.describe());
    assert_eq!(pair.attempts(client).len(), 2, "{}", pair.describe());
}

#[test]
fn a_server_silent_at_the_logon_is_a_failed_attempt() {
    let mut pair = Pair::with_servers(5, 2, None);
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.silence_at_logon(true));
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    pair.run_until(7 * SECOND, |pair| pair.is_live(client));
    assert!(matches!(failures(&pair, client, 0)[..], [Cause::LogonTimeout(_)]), "{}", pair.describe());
    assert!(failures(&pair, client, 1).is_empty(), "{}", pair.describe());
    assert_eq!(pair.logged(1, client).len(), 0);
}

#[test]
fn a_server_silent_at_the_heartbeat_is_a_failed_attempt() {
    let mut pair = Pair::with_servers(6, 2, None);
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.ignore(amps_core::message::MessageKind::Heartbeat, true));
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    pair.run_until(7 * SECOND, |pair| pair.is_live(client));
    assert_eq!(failures(&pair, client, 0).len(), 1, "{}", pair.describe());
    assert!(failures(&pair, client, 1).is_empty(), "{}", pair.describe());
}

/// Attempts within ten virtual minutes, at one server whose every connection
/// ends in the same way.
fn attempts_in_ten_minutes(prepare: impl Fn(&mut Pair)) -> usize {
    let mut pair = Pair::new(7);
    prepare(&mut pair);
    let client = pair.client(ClientSetup::new("p", [0]));
    pair.publish(client, "stored").unwrap();
    pair.run_for(600 * SECOND);
    assert!(!pair.is_live(client));
    pair.attempts(client).len()
}

/// Covers 20#9.
#[test]
fn a_server_that_accepts_and_closes_is_not_tried_in_a_busy_loop() {
    let attempts = attempts_in_ten_minutes(|pair| {
        let now = pair.now;
        pair.server(0).with_faults(now, |faults| faults.accept_then_close(true));
    });
    assert!((25..60).contains(&attempts), "{attempts}");
}

#[test]
fn a_server_that_refuses_connections_is_not_tried_in_a_busy_loop() {
    let attempts = attempts_in_ten_minutes(|pair| pair.door(0, Door::Refuses));
    assert!((25..60).contains(&attempts), "{attempts}");
}

#[test]
fn a_server_that_refuses_the_logon_is_not_tried_in_a_busy_loop() {
    let attempts = attempts_in_ten_minutes(|pair| {
        let now = pair.now;
        pair.server(0).with_faults(now, |faults| faults.refuse_logon(Some("auth failure")));
    });
    assert!((25..60).contains(&attempts), "{attempts}");
}

/// The worst kind: the connection gets as far as live each time, and dies.
///
/// Covers 20#9.
#[test]
fn a_server_that_closes_right_after_recovery_is_not_tried_in_a_busy_loop() {
    let mut pair = Pair::new(8);
    let client = pair.client(ClientSetup::new("p", [0]));
    let end = pair.now + 600 * SECOND;
    while pair.now < end {
        pair.run_until(60 * SECOND, |pair| pair.is_live(client));
        pair.cut(client);
        pair.run_until(60 * SECOND, |pair| !pair.is_live(client));
    }
    let attempts = pair.attempts(client).len();
    assert!((25..80).contains(&attempts), "{attempts}");
}

#[test]
fn two_servers_that_close_at_once_are_not_tried_in_a_busy_loop() {
    let mut pair = Pair::with_servers(9, 2, None);
    for server in 0..2 {
        let now = pair.now;
        pair.server(server).with_faults(now, |faults| faults.accept_then_close(true));
    }
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    pair.run_for(600 * SECOND);
    let attempts = pair.attempts(client).len();
    assert!((25..120).contains(&attempts), "{attempts}");
}
