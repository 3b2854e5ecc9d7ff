//! A client and servers on sockets, in one process: what a user sees when
//! connections and servers die.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::{
    Client, CommandError, ConnectionState, Connector, Event, PublishError, PublishStore, StartAt, Subscribe,
    SubscriptionEvent, Uri,
};
use amps_testserver::{Target, TestServer};

const SOON: Duration = Duration::from_secs(20);

async fn server() -> TestServer {
    TestServer::builder().ack_conflation(Duration::from_millis(20)).start().await.unwrap()
}

#[tokio::test]
async fn a_published_message_reaches_a_bookmark_subscriber() {
    let server = server().await;
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    for id in 0..10 {
        client.publish("orders", id.to_string()).await.unwrap();
    }
    client.flush().await.unwrap();
    let mut orders = client.subscribe(Subscribe::to("orders").bookmark(StartAt::Epoch)).await.unwrap();
    for id in 0..10 {
        let message = orders.next_message().await.unwrap().unwrap();
        assert_eq!(message.data(), id.to_string().as_bytes());
        orders.discard(&message);
    }
    assert_eq!(client.close(SOON).await.unacknowledged, 0);
}

#[tokio::test]
async fn the_states_come_in_their_order() {
    let server = server().await;
    let client = Client::builder("me").server(server.uri()).start().unwrap();
    let mut events = client.events();
    client.connected().await.unwrap();
    client.close(SOON).await;
    let mut states = Vec::new();
    while let Some(event) = events.next().await {
        if let Event::State(change) = event {
            states.push(change.state);
            if change.state == Shutdown {
                break;
            }
        }
    }
    use ConnectionState::*;
    let golden = [Connected, LoggedOn, HeartbeatInitiated, PublishReplayed, Resubscribed, Disconnected, Shutdown];
    assert_eq!(states, golden);
}

/// Covers 20#16.
#[tokio::test]
async fn a_server_that_drops_the_connection_again_and_again_loses_and_doubles_nothing() {
    let server = server().await;
    server.faults(|faults| faults.cut_every_messages(Some(2_000)));
    let dir = tempfile::tempdir().unwrap();
    let client = Client::builder("me")
        .server(server.uri())
        .publish_store(PublishStore::sled(dir.path().join("store")))
        .connect()
        .await
        .unwrap();
    for id in 0..20_000u32 {
        client.enqueue_wait("orders", id.to_string()).await.unwrap();
    }
    tokio::time::timeout(Duration::from_secs(60), client.flush()).await.unwrap().unwrap();
    let ids: Vec<_> = server.log().iter().map(|m| String::from_utf8_lossy(&m.body).into_owned()).collect();
    let expected: Vec<_> = (0..20_000).map(|id| id.to_string()).collect();
    assert!(ids == expected, "{} messages", ids.len());
    assert!(client.reconnects() > 3, "{}", client.reconnects());
    client.close(SOON).await;
}

#[tokio::test]
async fn a_stream_stays_open_across_a_failover_and_says_so() {
    let (a, b) = (server().await, server().await);
    let client = Client::builder("me").servers([a.uri(), b.uri()]).publish_store(PublishStore::None);
    let client = client.connect().await.unwrap();
    let mut orders = client.subscribe(Subscribe::to("orders").bookmark(StartAt::Epoch)).await.unwrap();
    client.publish("orders", "1").await.unwrap();
    assert_eq!(orders.next_message().await.unwrap().unwrap().data(), b"1");
    a.stop().await;
    match orders.next().await.unwrap().unwrap() {
        SubscriptionEvent::Reconnected { uri } => assert_eq!(uri.to_string(), b.uri()),
        other => panic!("{other:?}"),
    }
    client.connected().await.unwrap();
    client.publish("orders", "2").await.unwrap();
    assert_eq!(orders.next_message().await.unwrap().unwrap().data(), b"2", "the same stream");
    client.close(Duration::ZERO).await;
}

/// Two subscriptions under one id would discard each other's messages.
#[tokio::test]
async fn an_id_belongs_to_one_bookmark_subscription_at_a_time() {
    let server = server().await;
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    let orders = || Subscribe::to("orders").bookmark(StartAt::Epoch);
    let first = client.subscribe(orders()).await.unwrap();
    let refused = client.subscribe(orders()).await.unwrap_err();
    assert!(matches!(&refused, CommandError::IdInUse { id } if id == "orders#"), "{refused}");
    client.subscribe(orders().id("audit")).await.unwrap();
    client.subscribe("orders").await.unwrap();
    drop(first);
    client.subscribe(orders()).await.unwrap();
    client.close(SOON).await;
}

/// A connector that breaks its own rules.
#[derive(Debug)]
struct Panics;

impl Connector for Panics {
    fn connect<'a>(&'a self, _: &'a Uri) -> amps_core::transport::Connecting<'a> {
        panic!("on purpose")
    }
}

/// Covers 20#12.
#[tokio::test]
async fn a_client_whose_task_panicked_does_not_look_alive() {
    let client = Client::builder("me").server("tcp://h:1/amps").connector(Panics).start().unwrap();
    assert!(client.connected().await.is_err());
    assert!(matches!(client.publish("t", "1").await, Err(PublishError::Closed)));
    assert!(matches!(client.subscribe("t").await, Err(CommandError::Closed)));
    assert!(matches!(client.flush().await, Ok(()) | Err(PublishError::Closed)));
    assert_eq!(client.close(SOON).await.unacknowledged, 0);
}

/// Four tasks on two threads publish without pause while the connection dies a
/// hundred times, at moments and bytes of its own choosing, the replay included.
///
/// Covers 6#1, 11.5#1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_in_parallel_lose_and_double_nothing_while_connections_die() {
    let server = server().await;
    let strategy = FixedReconnect::new(Duration::from_millis(1), 1).loss_window(Duration::ZERO);
    let client = Client::builder("me").server(server.uri()).reconnect(strategy).connect().await.unwrap();
    let running = Arc::new(AtomicBool::new(true));
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let (client, running) = (client.clone(), Arc::clone(&running));
            tokio::spawn(async move {
                let mut count = 0;
                while running.load(Ordering::Relaxed) {
                    client.publish("t", format!("{publisher} {count}")).await.unwrap();
                    count += 1;
                    tokio::task::yield_now().await;
                }
                count
            })
        })
        .collect();
    for death in 0..100u64 {
        // By turns behind so many bytes, or at once.
        match death % 3 {
            0 => drop(server.kick("me")),
            _ => server.faults(|faults| faults.cut_after_received(Target::Client("me".into()), death * 997 % 20_000)),
        }
        let back = server.wait_for(|stats| stats.logons > death + 1);
        tokio::time::timeout(SOON, back).await.unwrap();
    }
    running.store(false, Ordering::Relaxed);
    let mut counts = Vec::new();
    for publisher in publishers {
        counts.push(publisher.await.unwrap());
    }
    tokio::time::timeout(SOON, client.flush()).await.unwrap().unwrap();
    let log = server.log();
    assert!(log.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "in order");
    assert_eq!(log.len(), counts.iter().sum::<usize>());
    for (publisher, count) in counts.into_iter().enumerate() {
        let prefix = format!("{publisher} ");
        let own: Vec<_> = log.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect();
        let own: Vec<_> = own.iter().filter_map(|body| body.strip_prefix(&prefix)).collect();
        assert!(own.into_iter().eq((0..count).map(|id| id.to_string())), "publisher {publisher}: each once, in order");
    }
    client.close(SOON).await;
}
