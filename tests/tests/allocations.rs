//! What a message costs in allocations, counted over all threads of the client.
//!
//! One test, since the count is the whole process's. It prints what it counted:
//! run it with `--nocapture`. `AMPS_TEST_MESSAGES` sets the number of messages,
//! 100,000 by default, a million in a release build.

use std::alloc::System;

use amps_client::{BookmarkStore, Client, ClientBuilder, Durability, PublishStore, StartAt, Subscribe};
use amps_tests::peer;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The most allocations a message may cost. Twice as many in a debug build,
/// whose consumer is so slow that reads wait in the queue by the hundred, each
/// in a table of its own.
const BOUND: f64 = if cfg!(debug_assertions) { 0.1 } else { 0.05 };
/// The same with a sled store, whose engine allocates some ten times for a value
/// of several hundred messages. In a debug build groups are smaller, and there
/// are not enough messages for all that grows to have grown.
const BOUND_WITH_SLED: f64 = if cfg!(debug_assertions) { 0.9 } else { 0.05 };
/// How large groups become is the scheduler's doing, and what a group costs is
/// shared by its messages. What each message costs is there in every round, so
/// the cheapest of up to this many rounds counts.
const ROUNDS: usize = 5;
/// Before these messages are through, buffers still grow.
const WARM: u64 = 50_000;
const BODY: [u8; 128] = [b' '; 128];

fn messages() -> u64 {
    let default = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    std::env::var("AMPS_TEST_MESSAGES").map_or(default, |text| text.parse().expect("a number of messages"))
}

/// Allocations since the region began, those that only grow one included.
fn allocations(region: &Region<'_, System>) -> u64 {
    let change = region.change();
    (change.allocations + change.reallocations) as u64
}

/// Publishes through this store: allocations while everything is sent and
/// acknowledged, in the cheapest round.
async fn publish(builder: ClientBuilder) -> u64 {
    let client = builder.server(peer::start(0)).no_heartbeat().connect().await.unwrap();
    let pipeline = async |count| {
        for _ in 0..count {
            client.enqueue_wait("t", BODY).await.unwrap();
        }
        client.flush().await.unwrap();
    };
    pipeline(WARM).await;
    let mut least = u64::MAX;
    for _ in 0..ROUNDS {
        let region = Region::new(ALLOCATOR);
        pipeline(messages()).await;
        least = least.min(allocations(&region));
        if (least as f64) < BOUND * messages() as f64 {
            break;
        }
    }
    least
}

/// Receives, and discards each message of a bookmark subscription.
async fn receive(builder: ClientBuilder, subscribe: Subscribe) -> u64 {
    let uri = peer::start(WARM + messages());
    let client = builder.server(uri).publish_store(PublishStore::None).no_heartbeat().connect().await.unwrap();
    let mut stream = client.subscribe(subscribe).await.unwrap();
    let mut take = async |count| {
        for _ in 0..count {
            let message = stream.next_message().await.unwrap().unwrap();
            stream.discard(&message);
        }
        stream.discarded().await.unwrap();
    };
    take(WARM).await;
    let region = Region::new(ALLOCATOR);
    take(messages()).await;
    allocations(&region)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_costs_next_to_no_allocation() {
    // With figures recorded, which are never recorded once a message.
    metrics_util::debugging::DebuggingRecorder::new().install().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let me = || Client::builder("me");
    let sled = |name| me().publish_store(PublishStore::sled(dir.path().join(name)));
    let bookmarks = || Subscribe::to("t").bookmark(StartAt::Epoch);
    let in_sled = me().bookmark_store(BookmarkStore::sled(dir.path().join("bookmarks")));

    // The counter counts.
    let region = Region::new(ALLOCATOR);
    drop(std::hint::black_box(Box::new(7)));
    assert!(allocations(&region) >= 1);

    let counted = [
        ("publish, no store", publish(me().publish_store(PublishStore::None)).await),
        ("publish, memory", publish(me()).await),
        ("publish, sled, PowerLoss", publish(sled("power")).await),
        ("publish, sled, ProcessCrash", publish(sled("crash").durability(Durability::ProcessCrash)).await),
        ("receive", receive(me(), Subscribe::to("t")).await),
        ("receive, discard each, memory", receive(me(), bookmarks()).await),
        ("receive, discard each, sled", receive(in_sled, bookmarks()).await),
    ];
    let mut above = Vec::new();
    for (path, count) in counted {
        let each = count as f64 / messages() as f64;
        println!("{path:<30} {each:>8.4} allocations a message");
        let bound = if path.contains("sled") { BOUND_WITH_SLED } else { BOUND };
        if each >= bound {
            above.push(format!("{path}: {each:.4}, {bound} or more"));
        }
    }
    assert!(above.is_empty(), "too many allocations a message: {above:#?}");
}
