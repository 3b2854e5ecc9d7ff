//! A publish store's bounds, and how it empties: whoever finds it full waits,
//! fails, or makes it larger.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use amps_client::{Client, ClientBuilder, Event, OnStoreFull, PublishError, PublishStore};
use amps_testserver::TestServer;

const SOON: Duration = Duration::from_secs(20);

async fn server() -> TestServer {
    TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap()
}

fn client(server: &TestServer) -> ClientBuilder {
    Client::builder("me").server(server.uri()).store_bound_messages(10)
}

fn bodies(server: &TestServer) -> Vec<String> {
    server.log().iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
}

/// A client whose ten messages are at the server, unacknowledged.
async fn full(server: &TestServer, builder: ClientBuilder) -> Client {
    server.faults(|faults| faults.withhold_acks(true));
    let client = builder.connect().await.unwrap();
    for id in 0..10 {
        client.publish("t", id.to_string()).await.unwrap();
    }
    tokio::time::timeout(SOON, server.wait_for_log(|log| log.len() == 10)).await.unwrap();
    client
}

#[tokio::test]
async fn publish_waits_for_room_and_goes_on_when_there_is_some() {
    let dir = tempfile::tempdir().unwrap();
    for store in [PublishStore::Memory, PublishStore::sled(dir.path())] {
        let server = server().await;
        let client = full(&server, client(&server).publish_store(store)).await;
        let error = client.enqueue("t", "no room").unwrap_err();
        assert!(matches!(&error, PublishError::StoreFull(full) if full.messages == 10), "{error}");
        assert!(error.to_string().contains("store_bound_messages"), "says what to do: {error}");
        let waiting = client.publish("t", "10");
        let freed = async { server.faults(|faults| faults.withhold_acks(false)) };
        let (published, ()) = tokio::time::timeout(SOON, async { tokio::join!(biased; waiting, freed) }).await.unwrap();
        published.unwrap();
        client.flush().await.unwrap();
        assert!(bodies(&server).into_iter().eq((0..=10).map(|id| id.to_string())));
        client.close(SOON).await;
    }
}

#[tokio::test]
async fn with_reject_every_way_of_publishing_fails_at_once() {
    let server = server().await;
    let client = full(&server, client(&server).on_store_full(OnStoreFull::Reject)).await;
    for result in [
        client.publish("t", "no").await,
        client.enqueue_wait("t", "no").await.map(drop),
        client.enqueue("t", "no").map(drop),
    ] {
        assert!(matches!(result, Err(PublishError::StoreFull(_))), "{result:?}");
    }
    assert_eq!(client.unacknowledged(), 10, "nothing was changed");
    server.faults(|faults| faults.withhold_acks(false));
    client.flush().await.unwrap();
    client.publish("t", "10").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(bodies(&server).len(), 11, "what failed was never sent");
}

/// The handler is asked with the proposed size; `false` is
/// `StoreFull`, the store unchanged and nothing on the wire.
///
/// Covers 11.7.6#5.
#[tokio::test]
async fn a_resize_handler_lets_the_store_grow_or_vetoes() {
    let server = server().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let policy = OnStoreFull::resize(move |resize| {
        count.fetch_add(1, Ordering::Relaxed);
        resize.messages <= 20
    });
    let client = full(&server, client(&server).on_store_full(policy)).await;
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    for id in 10..20 {
        client.publish("t", id.to_string()).await.unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "asked once a step");
    for _ in 0..3 {
        let vetoed = client.publish("t", "vetoed").await;
        assert!(matches!(vetoed, Err(PublishError::StoreFull(full)) if full.messages_bound == 20), "{vetoed:?}");
    }
    assert_eq!((asked.load(Ordering::Relaxed), client.unacknowledged()), (4, 20));
    server.faults(|faults| faults.withhold_acks(false));
    client.flush().await.unwrap();
    assert!(bodies(&server).into_iter().eq((0..20).map(|id| id.to_string())));
}

/// Calling the client from a handler is legal, also when it panics.
///
/// Covers 20#8.
#[tokio::test]
async fn a_resize_handler_may_call_the_client_and_panic() {
    let server = server().await;
    let handle: Arc<Mutex<Option<Client>>> = Arc::default();
    let client_of_handler = Arc::clone(&handle);
    let policy = OnStoreFull::resize(move |_| {
        let client = client_of_handler.lock().unwrap().clone().unwrap();
        assert_eq!(client.unacknowledged(), 10);
        assert!(client.is_connected());
        assert!(matches!(client.enqueue("t", "from the handler"), Err(PublishError::StoreFull(_))));
        panic!("the user's");
    });
    let client = full(&server, client(&server).on_store_full(policy)).await;
    *handle.lock().unwrap() = Some(client.clone());
    let mut events = client.events();
    for _ in 0..2 {
        assert!(matches!(client.publish("t", "no").await, Err(PublishError::StoreFull(_))));
        let told = tokio::time::timeout(SOON, events.next()).await.unwrap();
        assert!(matches!(&told, Some(Event::Panicked(panicked)) if panicked.message == "the user's"), "{told:?}");
    }
    server.faults(|faults| faults.withhold_acks(false));
    client.flush().await.unwrap();
    client.publish("t", "10").await.unwrap();
}

/// Nobody listens, and publishing does not wait for anybody.
///
/// Covers 11.7.6#8.
#[tokio::test]
async fn publishing_offline_does_not_wait_for_a_server() {
    let client = Client::builder("me").server("tcp://127.0.0.1:1/amps/json").start().unwrap();
    let mut took = Vec::new();
    for id in 0..20 {
        let began = Instant::now();
        client.publish("t", id.to_string()).await.unwrap();
        took.push(began.elapsed());
    }
    took.sort();
    // The median: a busy machine may stop this process in between.
    assert!(took[10] < Duration::from_millis(10), "{took:?}");
    assert_eq!(client.unacknowledged(), 20);
}

/// A flush with a time limit, and one that a disconnect does not end.
///
/// Covers 11.7.6#9.
#[tokio::test]
async fn a_flush_waits_across_a_disconnect_and_can_be_given_up() {
    let server = server().await;
    let client = full(&server, client(&server)).await;
    let given_up = tokio::time::timeout(Duration::from_millis(50), client.flush()).await;
    assert!(given_up.is_err(), "nothing is acknowledged");
    let flush = tokio::spawn({
        let client = client.clone();
        async move { client.flush().await }
    });
    assert!(server.kick("me"));
    server.faults(|faults| faults.withhold_acks(false));
    tokio::time::timeout(SOON, flush).await.unwrap().unwrap().unwrap();
    assert_eq!(client.unacknowledged(), 0);
    client.connected().await.unwrap();
    assert_eq!((client.reconnects(), bodies(&server).len()), (1, 10));
}

/// A flush waits for what was published before it, and for nothing else.
///
/// Covers 6#2, 6#3.
#[tokio::test]
async fn a_flush_waits_for_what_was_published_before_it() {
    let server = server().await;
    server.faults(|faults| faults.withhold_acks(true));
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    client.publish("t", "before").await.unwrap();
    let given_up = tokio::time::timeout(Duration::from_millis(100), client.flush()).await;
    assert!(given_up.is_err() && client.unacknowledged() == 1, "the store still has it");
    let flush = client.flush();
    tokio::pin!(flush);
    assert!(tokio::time::timeout(Duration::ZERO, flush.as_mut()).await.is_err(), "begun");
    client.publish("t", "after").await.unwrap();
    tokio::time::timeout(SOON, server.wait_for_log(|log| log.len() == 2)).await.unwrap();
    let first = server.log()[0].sequence;
    let ack = format!(r#"{{"c":"ack","a":"persisted","s":{first},"status":"success"}}"#);
    let frame = [&u32::try_from(ack.len()).unwrap().to_be_bytes(), ack.as_bytes()].concat();
    assert!(server.inject("me", &frame));
    tokio::time::timeout(SOON, flush).await.unwrap().unwrap();
    assert_eq!(client.unacknowledged(), 1, "what came after is open");
    server.faults(|faults| faults.withhold_acks(false));
    tokio::time::timeout(SOON, client.flush()).await.unwrap().unwrap();
    let again = tokio::time::timeout(Duration::ZERO, client.flush()).await;
    assert!(matches!(again, Ok(Ok(()))), "nothing to wait for");
}
