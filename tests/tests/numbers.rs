//! Sequences are never used twice and never dropped: whatever dies, at every
//! level of durability, what was promised is in the server's log exactly once.

use std::collections::BTreeMap;
use std::time::Duration;

use amps_ha::event::Event;
use amps_ha::kv::MemoryKv;
use amps_ha::publish_log::{Durability, MemoryPart};
use amps_tests::pair::Door;
use amps_tests::{ClientSetup, Kill, Pair, Store};
use proptest::prelude::*;
use rand::RngExt;

const SECOND: Duration = Duration::from_secs(1);
const DISKS: [Store; 3] =
    [Store::Disk(Durability::Memory), Store::Disk(Durability::ProcessCrash), Store::Disk(Durability::PowerLoss)];

/// So many messages in memory.
fn hybrid(messages: u64) -> Store {
    Store::Hybrid(MemoryPart::default().messages(messages))
}

/// The log holds every one of `needed`, nothing twice, and keeps the order of
/// publishing.
#[track_caller]
fn assert_delivered(pair: &mut Pair, client: usize, needed: &[String]) {
    let logged = pair.logged(0, client);
    let order: BTreeMap<_, _> =
        pair.published(client).iter().cloned().enumerate().map(|(at, body)| (body, at)).collect();
    let places: Vec<_> = logged.iter().map(|body| order[body]).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "twice or out of order: {logged:?}: {}", pair.describe());
    let missing: Vec<_> = needed.iter().filter(|body| !logged.contains(body)).collect();
    assert!(missing.is_empty(), "lost {missing:?}: {}", pair.describe());
}

/// Whether what was promised in a store survives a death.
fn survives(store: Store, how: Kill) -> bool {
    let Store::Disk(level) = store else { return false };
    match how {
        Kill::Process => level >= Durability::ProcessCrash,
        Kill::Power(_) => level >= Durability::PowerLoss,
    }
}

/// Many lives of one publisher on one disk, killed at random moments, online
/// and offline.
fn many_lives(seed: u64, store: Store) {
    let mut pair = Pair::new(seed);
    pair.room(3_000);
    let mut needed: Vec<String> = Vec::new();
    let mut noted = 0;
    let client = pair.client(ClientSetup::new("p", [0]).store(store).resident(10_000));
    let mut id = 0;
    for _ in 0..pair.random.random_range(2..14) {
        let door = [Door::Open, Door::Open, Door::Refuses][pair.random.random_range(0..3)];
        pair.door(0, door);
        if pair.random.random() {
            let at = pair.random.random_range(0..6_000);
            pair.cut_next(0, (at % 2 == 0).then_some(at % 500), (at % 2 == 1).then_some(at));
        }
        let held = pair.random.random_range(0..4) == 0;
        pair.hold_store(client, held);
        for _ in 0..pair.random.random_range(0..80) {
            pair.publish(client, format!("{id}:{:x<60}", "")).unwrap();
            id += 1;
            for _ in 0..pair.random.random_range(0..12) {
                pair.step();
            }
        }
        for _ in 0..pair.random.random_range(0..400) {
            pair.step();
        }
        if pair.random.random() {
            let time = Duration::from_millis(pair.random.random_range(0..3_000));
            pair.run_for(time);
        }
        let how = match pair.random.random_range(0..3) {
            0 => Kill::Power(pair.random.random_range(0..6)),
            _ => Kill::Process,
        };
        pair.kill(client, how);
        needed.extend(pair.promised(client)[noted..].iter().cloned());
        noted = pair.promised(client).len();
        if !survives(store, how) {
            let logged = pair.logged(0, client);
            needed.retain(|body| logged.contains(body));
        }
        pair.hold_store(client, false);
        pair.start_client(client);
    }
    pair.door(0, Door::Open);
    for _ in 0..5 {
        pair.publish(client, format!("{id}:last")).unwrap();
        needed.push(format!("{id}:last"));
        id += 1;
    }
    pair.run_settled(client);
    assert_delivered(&mut pair, client, &needed);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: amps_tests::cases(150), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn many_lives_on_one_disk_lose_and_double_nothing(seed: u64, disk in 0..DISKS.len()) {
        many_lives(seed, DISKS[disk]);
    }

    #[test]
    fn many_lives_on_a_hybrid_store_double_and_reorder_nothing(seed: u64, messages in 1..60u64) {
        many_lives(seed, hybrid(messages));
    }
}

/// Covers 20#17.
#[test]
fn what_is_published_while_disconnected_is_delivered_later() {
    for store in [Store::Memory, DISKS[0], DISKS[2], hybrid(100)] {
        let mut pair = Pair::new(1);
        pair.door(0, Door::Refuses);
        let client = pair.client(ClientSetup::new("p", [0]).store(store));
        for id in 0..500 {
            pair.publish(client, id.to_string()).unwrap();
        }
        pair.run_for(90 * SECOND);
        assert_eq!(pair.promised(client).len(), 500, "promised without a server");
        pair.door(0, Door::Open);
        pair.run_settled(client);
        assert_eq!(pair.logged(0, client), pair.published(client));
    }
}

#[test]
fn a_full_store_refuses_and_has_room_again_with_the_acknowledgements() {
    for store in [Store::Memory, Store::Disk(Durability::PowerLoss)] {
        let mut pair = Pair::new(2);
        let now = pair.now;
        pair.server(0).with_faults(now, |faults| faults.withhold_acks(true));
        let client = pair.client(ClientSetup::new("p", [0]).store(store).bound(10_000, u64::MAX));
        let mut accepted = 0;
        while pair.publish(client, format!("{accepted}:{:x<100}", "")).is_ok() {
            accepted += 1;
            pair.settle_now();
        }
        assert!((30..100).contains(&accepted), "{accepted}");
        assert!(pair.cursors(client).bytes <= 10_000);
        pair.run_for(30 * SECOND);
        assert!(pair.publish(client, format!("{:x<100}", "no")).is_err(), "still full");
        let now = pair.now;
        pair.server(0).with_faults(now, |faults| faults.withhold_acks(false));
        pair.run_settled(client);
        pair.publish(client, "more").unwrap();
        pair.run_settled(client);
        assert_eq!(pair.logged(0, client), pair.published(client));
    }
}

/// Another log published under the same name before, with higher numbers.
#[test]
fn a_log_that_never_logged_on_is_numbered_above_what_the_server_knows() {
    for store in [Store::Memory, DISKS[0], DISKS[2], hybrid(10)] {
        let mut pair = Pair::new(3);
        let earlier = pair.client(ClientSetup::new("p", [0]));
        for id in 0..20 {
            pair.publish(earlier, format!("earlier {id}")).unwrap();
        }
        pair.run_settled(earlier);
        pair.close(earlier);
        pair.door(0, Door::Refuses);
        let mut setup = ClientSetup::new("p", [0]).store(store);
        setup.unix_nanos = 1_000;
        let client = pair.client(setup);
        for id in 0..50 {
            pair.publish(client, format!("later {id}")).unwrap();
        }
        pair.run_for(5 * SECOND);
        pair.door(0, Door::Open);
        pair.run_settled(client);
        pair.publish(client, "last").unwrap();
        pair.run_settled(client);
        let logged = pair.logged(0, client);
        assert_eq!(logged[..20], *pair.published(earlier));
        assert_eq!(logged[20..], *pair.published(client), "{store:?}");
    }
}

/// The same, and the client dies somewhere while its messages get new numbers.
#[test]
fn a_crash_while_messages_get_new_numbers_loses_and_doubles_nothing() {
    for seed in 0..60 {
        let mut pair = Pair::new(seed);
        let earlier = pair.client(ClientSetup::new("p", [0]));
        pair.publish(earlier, "earlier").unwrap();
        pair.run_settled(earlier);
        pair.close(earlier);
        pair.door(0, Door::Refuses);
        let mut setup = ClientSetup::new("p", [0]).store(Store::Disk(Durability::PowerLoss)).resident(10_000);
        setup.unix_nanos = 1_000;
        let client = pair.client(setup);
        for id in 0..300 {
            pair.publish(client, format!("{id}:{:x<300}", "")).unwrap();
        }
        pair.run_for(5 * SECOND);
        let needed = pair.promised(client).to_vec();
        assert_eq!(needed.len(), 300);
        pair.door(0, Door::Open);
        pair.run_until(60 * SECOND, |pair| pair.bytes_out(client) > 0);
        for _ in 0..seed * 3 {
            pair.step();
        }
        pair.kill(client, if seed % 2 == 0 { Kill::Process } else { Kill::Power(seed as usize % 7) });
        pair.start_client(client);
        pair.run_settled(client);
        let logged = pair.logged(0, client);
        assert_eq!(logged[1..], needed, "{}", pair.describe());
    }
}

/// Covers 11.7.6#7.
#[test]
fn a_deleted_store_starts_above_what_the_server_knows() {
    for clock in [1_000, 1_700_000_000_000_000_000, 1_900_000_000_000_000_000] {
        let mut pair = Pair::new(4);
        let client = pair.client(ClientSetup::new("p", [0]).store(Store::Disk(Durability::PowerLoss)));
        for id in 0..20 {
            pair.publish(client, format!("before {id}")).unwrap();
        }
        pair.run_settled(client);
        pair.kill(client, Kill::Process);
        *pair.disk(client) = MemoryKv::new();
        pair.setup(client).unix_nanos = clock;
        pair.start_client(client);
        for id in 0..20 {
            pair.publish(client, format!("after {id}")).unwrap();
        }
        pair.run_settled(client);
        assert_eq!(pair.logged(0, client), pair.published(client), "clock {clock}");
    }
}

/// An old copy of the store is put back. What it held was delivered, and what
/// is published on it is new.
#[test]
fn a_restored_copy_of_a_store_is_told_and_what_is_published_on_it_arrives() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed);
        let client = pair.client(ClientSetup::new("p", [0]).store(Store::Disk(Durability::PowerLoss)));
        pair.run_live(client);
        for id in 0..20 {
            pair.publish(client, format!("before {id}")).unwrap();
        }
        for _ in 0..seed * 5 {
            pair.step();
        }
        let copy = pair.copy_disk(client);
        pair.run_settled(client);
        for id in 0..20 {
            pair.publish(client, format!("between {id}")).unwrap();
        }
        pair.run_settled(client);
        // Enough lives to leave the copy's reservation behind.
        for life in 0..3 {
            pair.kill(client, Kill::Process);
            pair.start_client(client);
            pair.publish(client, format!("life {life}")).unwrap();
            pair.run_settled(client);
        }
        pair.kill(client, Kill::Process);
        *pair.disk(client) = copy;
        let offline = seed % 2 == 0;
        pair.door(0, if offline { Door::Refuses } else { Door::Open });
        pair.start_client(client);
        for id in 0..20 {
            pair.publish(client, format!("after {id}")).unwrap();
        }
        pair.run_for(SECOND);
        pair.door(0, Door::Open);
        pair.run_settled(client);
        pair.publish(client, "last").unwrap();
        pair.run_settled(client);
        let all = pair.published(client).to_vec();
        assert_delivered(&mut pair, client, &all);
        let told = pair.events(client).iter().any(|(_, event)| matches!(event, Event::SequenceAhead { .. }));
        assert!(told, "{}", pair.describe());
    }
}

/// A server that lost its log would swallow nothing, but one that lags would:
/// it is not used, and the client says why.
///
/// Covers 11.7.6#6.
#[test]
fn a_server_that_lacks_acknowledged_messages_is_not_published_to() {
    let mut pair = Pair::with_servers(5, 2, None);
    let client = pair.client(ClientSetup::new("p", [0, 1]));
    pair.publish(client, "first").unwrap();
    pair.run_settled(client);
    pair.crash_server(0);
    pair.publish(client, "second").unwrap();
    pair.run_for(60 * SECOND);
    assert!(!pair.is_live(client));
    assert!(pair.logged(1, client).is_empty());
    let gap = pair.events(client).iter().any(|(_, event)| {
        matches!(event, Event::AttemptFailed { uri, cause, .. } if uri.host() == "s1" && cause.to_string().contains("publish gap"))
    });
    assert!(gap, "{}", pair.describe());
    pair.start_server(0);
    pair.run_settled(client);
    assert_eq!(pair.logged(0, client), ["first", "second"]);
}
