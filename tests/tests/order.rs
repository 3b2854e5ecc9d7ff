//! What is published arrives at the server's log once, in order, whatever
//! happens to connections and servers (rules of order and of frames).

use std::time::Duration;

use amps_core::message::MessageKind;
use amps_ha::publish_log::{Durability, MemoryPart};
use amps_tests::{ClientSetup, Kill, Pair, Store};
use proptest::prelude::*;
use rand::RngExt;

const DISK: Store = Store::Disk(Durability::PowerLoss);
const WEAKER_DISK: Store = Store::Disk(Durability::ProcessCrash);

fn hybrid() -> Store {
    Store::Hybrid(MemoryPart::default().messages(50))
}

/// Publishes `total` messages of random sizes in random bursts, while every
/// connection dies at a random byte, one way or the other.
fn publish_through_cuts(seed: u64, store: Store, total: usize) {
    let mut pair = Pair::new(seed);
    let room = [2_000, 20_000, 256_000][pair.random.random_range(0..3)];
    pair.room(room);
    let resident = [20_000, 8 << 20][pair.random.random_range(0..2)];
    let client = pair.client(ClientSetup::new("p", [0]).store(store).resident(resident));
    let mut published = 0;
    let mut cuts = 0;
    while published < total || !pair.settled(client) {
        if cuts < 40 {
            let at = pair.random.random_range(0..30_000);
            match pair.random.random_range(0..8) {
                0 => pair.cut_next(0, None, Some(at)),
                1 => pair.cut_next(0, Some(at % 700), None),
                2 => cuts += u32::from(pair.cut(client)),
                _ => {}
            }
        }
        let burst = pair.random.random_range(0..60).min(total - published);
        for _ in 0..burst {
            let len = pair.random.random_range(0..400);
            pair.publish(client, format!("{published}:{:x<len$}", "")).unwrap();
            published += 1;
        }
        for _ in 0..pair.random.random_range(0..40) {
            pair.step();
        }
        if burst == 0 || published == total {
            let time = Duration::from_micros(pair.random.random_range(0..2_000_000));
            pair.run_for(time);
        }
        if pair.elapsed() > Duration::from_secs(3600) {
            panic!("no end: {}", pair.describe());
        }
    }
    let (logged, published) = (pair.logged(0, client), pair.published(client).to_vec());
    assert!(logged == published, "{} logged of {}: {}", logged.len(), published.len(), pair.describe());
    assert_whole_frames(&mut pair);
}

/// Nothing a server received was half a frame, and every connection began
/// with a logon.
fn assert_whole_frames(pair: &mut Pair) {
    let stats = pair.server(0).stats().clone();
    assert!(stats.violations.is_empty(), "{:?}: {}", stats.violations, pair.describe());
    let mut seen = 0;
    for command in &stats.commands {
        if command.connection > seen {
            assert_eq!(command.kind, MessageKind::Logon, "{}", pair.describe());
            seen = command.connection;
        }
    }
}

// A thousand schedules in all, or `PROPTEST_CASES` for each store. A failure
// prints the seed. Apart, so that they run side by side.
proptest! {
    #![proptest_config(ProptestConfig { cases: amps_tests::cases(250), failure_persistence: None, ..ProptestConfig::default() })]

    /// Covers 20#16.
    #[test]
    fn a_live_publish_never_overtakes_a_replayed_one_from_memory(seed: u64) {
        publish_through_cuts(seed, Store::Memory, 600);
    }

    /// Covers 20#16.
    #[test]
    fn a_live_publish_never_overtakes_a_replayed_one_from_a_disk(seed: u64) {
        publish_through_cuts(seed, DISK, 600);
    }

    /// Covers 20#16.
    #[test]
    fn a_live_publish_never_overtakes_a_replayed_one_from_a_weaker_disk(seed: u64) {
        publish_through_cuts(seed, WEAKER_DISK, 600);
    }

    /// Covers 20#16.
    #[test]
    fn a_live_publish_never_overtakes_a_replayed_one_from_a_hybrid_store(seed: u64) {
        publish_through_cuts(seed, hybrid(), 600);
    }
}

/// The connection dies behind each byte the server gets, one after another:
/// whatever was cut is not continued on the next connection.
///
/// Covers 20#1, 20#2.
#[test]
fn a_frame_half_written_is_never_continued_on_the_next_connection() {
    for offset in 0..900 {
        let mut pair = Pair::new(offset);
        let client = pair.client(ClientSetup::new("p", [0]));
        for id in 0..4 {
            pair.publish(client, id.to_string()).unwrap();
        }
        pair.cut_next(0, None, Some(offset));
        pair.run_for(Duration::from_secs(2));
        pair.publish(client, "4").unwrap();
        pair.run_until(Duration::from_secs(60), |pair| pair.settled(client));
        assert_eq!(pair.logged(0, client), ["0", "1", "2", "3", "4"], "cut after {offset}");
        assert_whole_frames(&mut pair);
    }
}

/// The same in the other direction: half an answer is forgotten with its
/// connection.
#[test]
fn a_frame_half_received_is_never_continued_on_the_next_connection() {
    for offset in 0..600 {
        let mut pair = Pair::new(offset);
        let client = pair.client(ClientSetup::new("p", [0]));
        pair.publish(client, "0").unwrap();
        pair.cut_next(0, Some(offset), None);
        pair.run_for(Duration::from_secs(30));
        pair.publish(client, "1").unwrap();
        pair.run_settled(client);
        pair.run_live(client);
        assert_eq!(pair.logged(0, client), ["0", "1"], "cut after {offset}");
    }
}

/// Enough at once that whole segments of the log are written from where they
/// are, with commands between them and connections that die.
#[test]
fn a_flood_arrives_once_and_in_order() {
    let stores = [Store::Memory, WEAKER_DISK, DISK, hybrid()];
    for (seed, store) in (0..8).zip(stores.into_iter().cycle()) {
        let mut pair = Pair::new(seed);
        let client = pair.client(ClientSetup::new("p", [0]).store(store));
        let entered = pair.subscribe(client, "other");
        pair.run_live(client);
        for id in 0..4_000 {
            let len = pair.random.random_range(0..400);
            pair.publish(client, format!("{id}:{:x<len$}", "")).unwrap();
            if id % 1_500 == 1_400 {
                let at = pair.random.random_range(0..200_000);
                pair.cut_next(0, None, Some(at));
                pair.cut(client);
                let between = pair.subscribe(client, "between");
                pair.leave(client, &between);
            }
            if pair.random.random_range(0..300) == 0 {
                pair.step();
            }
        }
        pair.run_settled(client);
        let (logged, published) = (pair.logged(0, client), pair.published(client).to_vec());
        assert!(logged == published, "{} logged of {}: {}", logged.len(), published.len(), pair.describe());
        assert_whole_frames(&mut pair);
        pair.leave(client, &entered);
    }
}

/// The peer of a server is down, so that what it takes is not acknowledged and
/// does not count at a logon either. A new process whose clock was set back
/// starts with numbers that the server has seen. (Seed 1533 of the simulation.)
#[test]
fn a_clock_that_was_set_back_is_no_reason_to_reuse_numbers() {
    let mut pair = Pair::with_servers(1533, 2, Some(amps_testserver::Link::Sync));
    let client = pair.client(ClientSetup::new("p", [0]));
    pair.publish(client, "acknowledged").unwrap();
    pair.run_settled(client);
    pair.crash_server(1);
    for id in 0..10 {
        pair.publish(client, format!("first life {id}")).unwrap();
    }
    pair.run_for(Duration::from_secs(1));
    pair.kill(client, Kill::Process);
    pair.setup(client).unix_nanos -= 86_400_000_000_000;
    pair.start_client(client);
    for id in 0..5 {
        pair.publish(client, format!("second life {id}")).unwrap();
    }
    pair.run_for(Duration::from_secs(1));
    pair.start_server(1);
    pair.run_settled(client);
    let published = pair.published(client).to_vec();
    assert_eq!(pair.logged(0, client), published);
}
