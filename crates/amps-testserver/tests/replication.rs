//! Replication: rules one by one, then everything at once.

mod common;

use std::time::Duration;

use amps_testserver::Link;
use common::group::{Group, NODES};
use proptest::prelude::*;

#[test]
fn a_message_reaches_every_instance_and_the_ack_waits_for_them() {
    let mut group = Group::new(1, Link::Sync);
    group.drive();
    group.publish(0, 10);
    group.drive();
    assert!(group.settled());
    group.assert_complete();
}

#[test]
fn a_dead_sync_peer_holds_acks_until_it_is_back() {
    let mut group = Group::new(1, Link::Sync);
    group.drive();
    group.publish(0, 3);
    group.drive();
    group.crash(2);
    group.publish(0, 3);
    group.drive();
    assert_eq!(group.publishers[0].acknowledged, 3);
    group.start(2);
    group.drive();
    assert_eq!(group.publishers[0].acknowledged, 6);
    group.assert_complete();
}

#[test]
fn a_downgrade_releases_the_acks() {
    let mut group = Group::new(1, Link::Sync);
    group.drive();
    group.crash(2);
    group.publish(0, 3);
    group.drive();
    assert_eq!(group.publishers[0].acknowledged, 0);
    let now = group.now;
    assert!(group.engine(0).downgrade(now, "C"));
    assert!(!group.engine(0).downgrade(now, "nobody"));
    // The test's own check of promises would object: C does not have them.
    assert_eq!(group.engine(0).stats().replicated, 3);
}

#[test]
fn async_peers_are_not_waited_for() {
    let mut group = Group::new(1, Link::Async);
    group.drive();
    group.crash(1);
    group.crash(2);
    group.publish(0, 3);
    group.drive();
    assert!(group.settled());
    group.heal();
    group.drive();
    group.assert_complete();
}

#[test]
fn a_restart_promises_no_less_while_its_peers_are_away() {
    let mut group = Group::new(1, Link::Sync);
    group.drive();
    group.publish(0, 5);
    group.drive();
    assert_eq!(group.publishers[0].acknowledged, 5);
    for node in 0..NODES {
        group.crash(node);
    }
    group.start(0);
    group.drive();
    assert_eq!(group.publishers[0].refused_gaps, 0, "the logon ack still says 5");
    group.publish(0, 1);
    group.drive();
    assert_eq!(group.publishers[0].acknowledged, 5);
    group.heal();
    group.drive();
    assert_eq!(group.publishers[0].acknowledged, 6);
    group.assert_complete();
}

#[test]
fn a_logon_never_says_more_than_every_sync_peer_has() {
    let mut group = Group::new(1, Link::Sync);
    group.drive();
    group.crash(1);
    group.publish(0, 4);
    group.drive();
    assert_eq!(group.publishers[0].acknowledged, 0);
    group.point(0, 0);
    group.drive();
    assert_eq!(group.publishers[0].acknowledged, 0);
    let duplicates = group.engine(0).stats().duplicates_dropped();
    assert_eq!(duplicates, 4, "the rule for duplicates goes by what was seen");
    // C got them by replication, so there they count.
    group.point(0, 2);
    group.drive();
    assert_eq!(group.publishers[0].acknowledged, 4);
    group.heal();
    group.drive();
    group.assert_complete();
}

/// Without passing on what came from others, C would see 7..9 from B first and
/// drop 4..6 from A for good.
#[test]
fn a_publisher_that_moves_leaves_no_hole_anywhere() {
    let mut group = Group::new(1, Link::Async);
    group.drive();
    group.partition(0, 2, true);
    group.publish(0, 6);
    group.drive();
    group.point(0, 1);
    group.publish(0, 3);
    group.drive();
    group.point(0, 2);
    group.publish(0, 3);
    group.drive();
    group.crash(1);
    group.partition(0, 2, false);
    group.drive();
    group.start(1);
    group.drive();
    group.assert_complete();
}

#[test]
fn an_instance_that_lost_its_log_gets_everything_back() {
    for carried in 0..40 {
        let mut group = Group::new(2, Link::Async);
        group.publish(0, 5);
        group.publish(1, 5);
        group.point(1, 2);
        group.drive();
        group.publish(1, 5);
        for choice in 0..carried {
            group.carry(choice, 150);
            group.tick(Duration::from_millis(1));
        }
        // Bytes of C's former life are still on their way to A and B.
        group.point(1, 0);
        group.crash_and_forget(2);
        group.start(2);
        group.tick(Duration::from_millis(200));
        group.drive();
        group.heal();
        for node in 0..NODES {
            let log = group.engine(node).log();
            for name in ["p0", "p1"] {
                let found: Vec<_> = log.iter().filter(|m| m.client_name == name).map(|m| m.sequence).collect();
                let whole: Vec<_> = (1..=found.len() as u64).collect();
                assert_eq!(found, whole, "{name} on node {node} after {carried} steps");
                assert!(found.len() >= 5);
            }
        }
    }
}

#[test]
fn the_interleaving_is_each_instances_own() {
    let mut group = Group::new(2, Link::Async);
    group.point(1, 1);
    group.drive();
    group.partition(0, 1, true);
    group.partition(0, 2, true);
    group.partition(1, 2, true);
    group.publish(0, 3);
    group.publish(1, 3);
    group.drive();
    group.heal();
    group.drive();
    group.assert_complete();
    let order = |log: Vec<amps_testserver::LoggedMessage>| log.into_iter().map(|m| m.client_name).collect::<Vec<_>>();
    assert_ne!(order(group.engine(0).log()), order(group.engine(1).log()));
}

#[derive(Debug, Clone)]
enum Step {
    Publish(usize, u64),
    Carry(usize, usize),
    Tick(u64),
    Crash(usize),
    Start(usize),
    Partition(usize, usize, bool),
    Point(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3usize, 1..6u64).prop_map(|(p, n)| Step::Publish(p, n)),
        24 => (0..64usize, 1..600usize).prop_map(|(pipe, bytes)| Step::Carry(pipe, bytes)),
        8 => (1..300u64).prop_map(Step::Tick),
        1 => (0..NODES).prop_map(Step::Crash),
        2 => (0..NODES).prop_map(Step::Start),
        1 => (0..NODES, 1..NODES).prop_map(|(a, d)| Step::Partition(a, (a + d) % NODES, true)),
        1 => (0..NODES, 1..NODES).prop_map(|(a, d)| Step::Partition(a, (a + d) % NODES, false)),
        2 => (0..3usize, 0..NODES).prop_map(|(p, n)| Step::Point(p, n)),
    ]
}

fn run(steps: Vec<Step>, link: Link) {
    let mut group = Group::new(3, link);
    for step in steps {
        match step {
            Step::Publish(publisher, count) => group.publish(publisher, count),
            Step::Carry(pipe, bytes) => drop(group.carry(pipe, bytes)),
            Step::Tick(millis) => group.tick(Duration::from_millis(millis)),
            Step::Crash(node) => group.crash(node),
            Step::Start(node) => group.start(node),
            Step::Partition(a, b, on) => group.partition(a, b, on),
            Step::Point(publisher, node) => group.point(publisher, node),
        }
    }
    group.assert_no_hole();
    group.heal();
    group.drive();
    group.assert_complete();
    assert!(group.settled(), "everything is acknowledged in the end");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_crashes_and_parts_every_log_ends_complete_and_in_order(
        steps in prop::collection::vec(step(), 0..250),
        sync in any::<bool>(),
    ) {
        run(steps, if sync { Link::Sync } else { Link::Async });
    }
}
