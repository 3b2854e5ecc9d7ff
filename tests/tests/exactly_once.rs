//! Effects that happen exactly once, wherever a process dies.

use std::collections::BTreeMap;
use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::{
    Batch, BookmarkStore, Client, CommandError, Message, ResumePoint, StartAt, Subscribe, SubscriptionEvent,
};
use amps_testserver::{Link, TestServer};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SOON: Duration = Duration::from_secs(20);
const PUBLISHERS: usize = 3;
const EACH: usize = 120;

/// What a database has: the resume point, and how often each message had its
/// effect. A transaction is a copy that takes its place.
#[derive(Debug, Clone, Default)]
struct Database {
    point: String,
    effects: BTreeMap<String, u32>,
    order: Vec<String>,
}

impl Database {
    fn with(&self, batch: &Batch<'_>) -> Self {
        let mut next = self.clone();
        for message in batch.messages() {
            let body = String::from_utf8_lossy(message.data()).into_owned();
            *next.effects.entry(body.clone()).or_default() += 1;
            next.order.push(body);
        }
        next.point = batch.resume_point().to_string();
        next
    }
}

async fn connect(name: &str, servers: &[String]) -> Client {
    let strategy = FixedReconnect::new(Duration::ZERO, 1).loss_window(Duration::ZERO);
    Client::builder(name).servers(servers).reconnect(strategy).connect().await.unwrap()
}

fn subscribe(point: &str) -> Subscribe {
    Subscribe::to("orders").bookmark(StartAt::Epoch).resume(point.parse::<ResumePoint>().unwrap())
}

/// One life: until `wanted` messages had their effects, or it dies in a
/// transaction.
async fn live(servers: &[String], database: &mut Database, random: &mut StdRng, wanted: usize) {
    let client = connect("worker", servers).await;
    let mut orders = client.subscribe(subscribe(&database.point)).await.unwrap().exactly_once().unwrap();
    let most = random.random_range(1..=7);
    while database.order.len() < wanted {
        let batch = tokio::time::timeout(SOON, orders.next_batch(most)).await.unwrap().unwrap().unwrap();
        assert!(batch.messages().len() <= most);
        let next = database.with(&batch);
        match random.random_range(0..20) {
            // It dies before the commit, or behind it.
            0 => return,
            1 => {
                *database = next;
                return;
            }
            // The transaction fails; the same messages come again.
            2 => {
                let before: Vec<Message> = batch.messages().to_vec();
                drop(batch);
                let again = orders.next_batch(most).await.unwrap().unwrap();
                let bookmarks = |messages: &[Message]| messages.iter().map(Message::bookmark).collect::<Vec<_>>();
                assert_eq!(bookmarks(again.messages()), bookmarks(&before));
            }
            _ => {
                *database = next;
                batch.done();
            }
        }
    }
}

#[tokio::test]
async fn every_message_has_its_effect_once_through_deaths_of_workers_and_of_a_server() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let quick = Duration::from_millis(5);
    let second = TestServer::builder().name("second").ack_conflation(quick).start().await.unwrap();
    let first = TestServer::builder().name("first").ack_conflation(quick).peer(second.uri(), Link::Sync);
    let first = first.start().await.unwrap();
    let servers = [first.uri(), second.uri()];
    let mut publishers = Vec::new();
    for number in 0..PUBLISHERS {
        publishers.push(connect(&format!("publisher {number}"), &servers).await);
    }
    let mut database = Database::default();
    let mut published = 0;
    let mut first = Some(first);
    // Every publisher is seen before a server is changed, as the fault model asks.
    while published < EACH {
        for client in &publishers {
            client.publish("orders", format!("{} {published}", client.name())).await.unwrap();
        }
        published += 1;
        if published % 20 == 1 {
            while database.order.len() < published * PUBLISHERS {
                live(&servers, &mut database, &mut random, published * PUBLISHERS).await;
            }
        }
        if published == EACH / 2
            && let Some(first) = first.take()
        {
            first.stop().await;
        }
    }
    while database.order.len() < EACH * PUBLISHERS {
        live(&servers, &mut database, &mut random, EACH * PUBLISHERS).await;
    }
    assert!(database.effects.values().all(|count| *count == 1), "seed {seed}: {:?}", database.effects);
    assert_eq!(database.effects.len(), EACH * PUBLISHERS, "seed {seed}");
    for client in &publishers {
        let prefix = format!("{} ", client.name());
        let own: Vec<_> = database.order.iter().filter_map(|body| body.strip_prefix(&prefix)).collect();
        assert_eq!(own, (0..EACH).map(|id| id.to_string()).collect::<Vec<_>>(), "seed {seed}: in order");
    }
}

#[tokio::test]
async fn events_end_a_batch_and_come_in_front_of_the_next() {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap();
    let client = connect("me", &[server.uri()]).await;
    let mut orders = client.subscribe(subscribe("")).await.unwrap().exactly_once().unwrap();
    client.publish("orders", "1").await.unwrap();
    let batch = orders.next_batch(10).await.unwrap().unwrap();
    assert_eq!((batch.messages().len(), batch.events().len()), (1, 0));
    let point = batch.resume_point();
    assert_eq!(batch.resume_point(), point, "asking changes nothing");
    batch.done();
    server.kick("me");
    let batch = orders.next_batch(10).await.unwrap().unwrap();
    assert!(matches!(batch.events(), [SubscriptionEvent::Reconnected { .. }]), "{batch:?}");
    batch.done();
    client.publish("orders", "2").await.unwrap();
    let batch = orders.next_batch(10).await.unwrap().unwrap();
    assert_eq!(batch.messages()[0].data(), b"2");
    // What was not done with comes again before the end is told.
    client.close(Duration::from_secs(1)).await;
    drop(batch);
    assert_eq!(orders.next_batch(10).await.unwrap().unwrap().messages().len(), 1);
    orders.next_batch(10).await.unwrap().unwrap().done();
    assert!(matches!(orders.next_batch(10).await, Err(CommandError::Closed)));
    assert!(orders.next_batch(10).await.unwrap().is_none());
}

#[tokio::test]
async fn a_point_of_the_applications_own_leaves_the_bookmark_store_alone() {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let builder = || {
        let store = BookmarkStore::sled(dir.path().join("bookmarks"));
        Client::builder("me").server(server.uri()).bookmark_store(store)
    };
    let client = builder().connect().await.unwrap();
    for id in 0..4 {
        client.publish("orders", id.to_string()).await.unwrap();
    }
    let mut orders = client.subscribe(subscribe("").id("desk")).await.unwrap().exactly_once().unwrap();
    let mut point = String::new();
    let mut seen = 0;
    while seen < 2 {
        let batch = orders.next_batch(1).await.unwrap().unwrap();
        point = batch.resume_point().to_string();
        seen += batch.messages().len();
        batch.done();
    }
    drop(orders);
    client.close(SOON).await;
    let client = builder().connect().await.unwrap();
    // Only the point says what is done with.
    let mut kept = client.subscribe(Subscribe::to("orders").bookmark(StartAt::Epoch).id("desk")).await.unwrap();
    assert_eq!(kept.next_message().await.unwrap().unwrap().data(), b"0");
    let mut orders = client.subscribe(subscribe(&point).id("other")).await.unwrap();
    assert_eq!(orders.next_message().await.unwrap().unwrap().data(), b"2");

    let plain = client.subscribe("orders").await.unwrap().exactly_once();
    assert!(matches!(plain, Err(CommandError::Invalid { .. })));
    let plain = client.subscribe(Subscribe::to("orders").resume(ResumePoint::default())).await;
    let refused = plain.unwrap_err().to_string();
    assert_eq!(refused, "the subscribe on 'orders' cannot be: only a bookmark subscription has a place to go on from");
    assert!("2 nonsense".parse::<ResumePoint>().is_err() && "1 x".parse::<ResumePoint>().is_err());
}
