//! What a message costs in allocations, counted over all threads of the client.
//!
//! One test, since the count is the whole process's. It prints what it counted:
//! run it with `--nocapture`. `AMPS_TEST_MESSAGES` sets the number of messages,
//! 100,000 by default, a million in a release build.

use std::alloc::System;

use amps_client::{BookmarkStore, Client, ClientBuilder, Durability, PublishStore, StartAt, Subscribe};
use amps_tests::peer;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The most allocations a message may cost. Twice as many in a debug build,
/// whose consumer is so slow that reads wait in the queue by the hundred, each
/// in a table of its own.
const BOUND: f64 = if cfg!(debug_assertions) { 0.1 } else { 0.05 };
/// A sled store's engine allocates for each group of messages it is given. How
/// large groups become is the scheduler's doing: they are counted.
const BOUND_OF_A_GROUP: f64 = 40.0;
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

/// What was counted while something happened.
struct Counted {
    allocations: u64,
    /// Groups of messages that a publish store on a disk was given.
    groups: usize,
}

/// Publishes through this store: until everything is sent and acknowledged.
async fn publish(groups: &Snapshotter, builder: ClientBuilder) -> Counted {
    let client = builder.server(peer::start(0)).no_heartbeat().connect().await.unwrap();
    let pipeline = async |count| {
        for _ in 0..count {
            client.enqueue_wait("t", BODY).await.unwrap();
        }
        client.flush().await.unwrap();
    };
    pipeline(WARM).await;
    store_works(groups);
    let region = Region::new(ALLOCATOR);
    pipeline(messages()).await;
    let allocations = allocations(&region);
    Counted { allocations, groups: store_works(groups) }
}

/// Pieces of work of publish stores since it was asked last.
fn store_works(snapshotter: &Snapshotter) -> usize {
    let all = snapshotter.snapshot().into_vec();
    let works = all.into_iter().filter(|(key, ..)| key.key().name() == "amps_store_work_seconds");
    works.map(|(.., value)| if let DebugValue::Histogram(times) = value { times.len() } else { 0 }).sum()
}

/// Receives, and discards each message of a bookmark subscription.
async fn receive(builder: ClientBuilder, subscribe: Subscribe) -> Counted {
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
    Counted { allocations: allocations(&region), groups: 0 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_costs_next_to_no_allocation() {
    // With figures recorded, which are never recorded once a message.
    let recorder = DebuggingRecorder::new();
    let groups = recorder.snapshotter();
    recorder.install().unwrap();
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
        ("publish, no store", publish(&groups, me().publish_store(PublishStore::None)).await),
        ("publish, memory", publish(&groups, me()).await),
        ("publish, sled, PowerLoss", publish(&groups, sled("power")).await),
        ("publish, sled, ProcessCrash", publish(&groups, sled("crash").durability(Durability::ProcessCrash)).await),
        ("receive", receive(me(), Subscribe::to("t")).await),
        ("receive, discard each, memory", receive(me(), bookmarks()).await),
        ("receive, discard each, sled", receive(in_sled, bookmarks()).await),
    ];
    let mut above = Vec::new();
    for (path, Counted { allocations, groups }) in counted {
        let each = allocations as f64 / messages() as f64;
        println!("{path:<30} {each:>8.4} allocations a message, {groups} groups");
        let bound = BOUND + BOUND_OF_A_GROUP * groups as f64 / messages() as f64;
        if each >= bound {
            above.push(format!("{path}: {each:.4}, {bound:.4} or more, with {groups} groups"));
        }
    }
    assert!(above.is_empty(), "too many allocations a message: {above:#?}");
}
