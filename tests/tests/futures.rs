//! Futures may be dropped at any await, and `close` keeps its deadline.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use amps_client::{
    Client, ClientBuilder, ConnectionState, Event, Field, Message, PublishStore, Replacement, Sow, SowView, StartAt,
    Subscribe,
};
use amps_core::header::FrameWriter;
use amps_core::message::MessageKind;
use amps_testserver::TestServer;
use bytes::BytesMut;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const SOON: Duration = Duration::from_secs(20);
/// What the scheduler of a busy machine may add to a deadline.
const GRACE: Duration = Duration::from_millis(300);

async fn server() -> TestServer {
    let builder = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id");
    builder.start().await.unwrap()
}

/// Polls a future at most `times` times, letting everything else go on in
/// between, and drops it.
async fn poll_and_drop<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..times {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    None
}

/// The client still publishes, subscribes and flushes, and the log has each
/// body at most once, those accepted exactly once.
async fn assert_usable(client: &Client, server: &TestServer, accepted: &[String]) {
    client.publish("t", "usable").await.unwrap();
    client.flush().await.unwrap();
    let mut logged: Vec<String> =
        server.log().iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect();
    logged.retain(|body| body != "usable");
    let mut once = logged.clone();
    once.dedup();
    assert_eq!(once, logged, "something twice");
    for body in accepted {
        assert_eq!(logged.iter().filter(|logged| *logged == body).count(), 1, "'{body}' in {logged:?}");
    }
}

/// Covers 20#5.
#[tokio::test]
async fn a_publish_or_flush_dropped_at_any_await_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, store) in [PublishStore::Memory, PublishStore::sled(dir.path())].into_iter().enumerate() {
        let server = server().await;
        let client =
            Client::builder("me").server(server.uri()).publish_store(store).store_bound(400).connect().await.unwrap();
        let mut accepted = Vec::new();
        for times in 0..8 {
            for round in 0..8 {
                let body = format!("{kind} {times} {round}");
                if let Some(Ok(())) = poll_and_drop(client.publish("t", &body), times).await {
                    accepted.push(body);
                }
                if let Some(flushed) = poll_and_drop(client.flush(), times).await {
                    flushed.unwrap();
                    assert_eq!(client.unacknowledged(), 0);
                }
            }
        }
        assert_usable(&client, &server, &accepted).await;
        assert_eq!(client.close(SOON).await.unacknowledged, 0);
    }
}

/// Covers 20#5.
#[tokio::test]
async fn a_receipt_dropped_at_any_await_can_be_asked_again() {
    let server = server().await;
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    let mut accepted = Vec::new();
    for times in 0..6 {
        let receipt = client.enqueue("t", times.to_string()).unwrap();
        poll_and_drop(receipt.durable(), times).await;
        poll_and_drop(receipt.persisted(), times).await;
        receipt.durable().await.unwrap();
        receipt.persisted().await.unwrap();
        accepted.push(times.to_string());
    }
    assert_usable(&client, &server, &accepted).await;
}

/// Covers 20#5.
#[tokio::test]
async fn a_subscribe_or_query_dropped_at_any_await_leaves_nothing_behind() {
    let server = server().await;
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    for times in 0..8 {
        drop(poll_and_drop(client.subscribe("t"), times).await);
        drop(poll_and_drop(client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)), times).await);
        drop(poll_and_drop(client.subscribe(Subscribe::sow_and("s")), times).await);
        drop(poll_and_drop(client.sow(Sow::of("s")), times).await);
        drop(poll_and_drop(client.subscribe_json::<Value>(Subscribe::sow_and("s")), times).await);
        drop(poll_and_drop(SowView::<String, Value>::of("s").open(&client), times).await);
    }
    assert_usable(&client, &server, &[]).await;
    let all_left = server.wait_for(|stats| {
        let count = |kinds: &[MessageKind]| stats.commands.iter().filter(|c| kinds.contains(&c.kind)).count();
        count(&[MessageKind::Subscribe, MessageKind::SowAndSubscribe]) > 0
            && count(&[MessageKind::Unsubscribe]) >= count(&[MessageKind::Subscribe, MessageKind::SowAndSubscribe])
    });
    tokio::time::timeout(SOON, all_left).await.expect("a subscription stayed on the server");
}

/// Covers 20#5.
#[tokio::test]
async fn a_replacement_or_pause_dropped_at_any_await_leaves_a_stream_that_goes_on() {
    let server = server().await;
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    let mut messages = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)).await.unwrap();
    let other = client.subscribe(Subscribe::to("u").bookmark(StartAt::Epoch)).await.unwrap();
    let (handle, other) = (messages.handle(), other.handle());
    for times in 0..6 {
        poll_and_drop(handle.pause(), times).await;
        poll_and_drop(handle.replace(Replacement::new().topic(format!("t{times}"))), times).await;
        poll_and_drop(client.pause([&handle, &other]), times).await;
        poll_and_drop(client.resume([&handle, &other]), times).await;
        poll_and_drop(handle.resume(), times).await;
    }
    handle.replace(Replacement::new().topic("t")).await.unwrap();
    handle.resume().await.unwrap();
    assert_usable(&client, &server, &[]).await;
    let message = tokio::time::timeout(SOON, messages.next_message()).await.unwrap().unwrap().unwrap();
    assert_eq!(message.data(), b"usable");
}

/// Covers 20#5.
#[tokio::test]
async fn a_guard_or_handler_dropped_at_any_await_loses_no_message() {
    let server = server().await;
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    let mut guarded = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)).await.unwrap();
    let mut handled = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch).id("handled")).await.unwrap();
    let (mut by_guard, mut by_handler) = (Vec::new(), Vec::new());
    let total = 60;
    for published in 0..total {
        client.publish("t", published.to_string()).await.unwrap();
        let times = published % 4;
        if let Some(Ok(Some(message))) = poll_and_drop(guarded.next_guarded(), times).await {
            by_guard.push(message.data().to_vec());
            message.done();
        }
        let handler = |message: &Message| {
            by_handler.push(message.data().to_vec());
            Ok::<_, std::io::Error>(())
        };
        poll_and_drop(handled.for_each(handler), times).await;
        poll_and_drop(client.purge_bookmarks("none"), times).await;
    }
    while by_guard.len() < total {
        let message = tokio::time::timeout(SOON, guarded.next_guarded()).await.unwrap().unwrap().unwrap();
        by_guard.push(message.data().to_vec());
    }
    while by_handler.len() < total {
        let message = tokio::time::timeout(SOON, handled.next_message()).await.unwrap().unwrap().unwrap();
        by_handler.push(message.data().to_vec());
    }
    let all: Vec<_> = (0..total).map(|id| id.to_string().into_bytes()).collect();
    assert_eq!(by_guard, all);
    assert_eq!(by_handler, all);
}

/// Covers 20#5.
#[tokio::test]
async fn a_next_dropped_at_any_await_loses_no_message() {
    let server = server().await;
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    let mut events = client.events();
    let mut messages = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)).await.unwrap();
    let mut bodies = Vec::new();
    let mut published = 0;
    while bodies.len() < 100 {
        if published < 100 {
            client.publish("t", published.to_string()).await.unwrap();
            published += 1;
        }
        let times = published % 4;
        poll_and_drop(events.next(), times).await;
        if let Some(Ok(Some(message))) = poll_and_drop(messages.next_message(), times).await {
            messages.discard(&message);
            bodies.push(String::from_utf8_lossy(message.data()).into_owned());
        }
        poll_and_drop(messages.discarded(), times).await;
        if published == 100 {
            let message = tokio::time::timeout(SOON, messages.next_message()).await.unwrap().unwrap().unwrap();
            bodies.push(String::from_utf8_lossy(message.data()).into_owned());
        }
    }
    assert_eq!(bodies, (0..100).map(|id| id.to_string()).collect::<Vec<_>>());
}

/// Covers 20#5.
#[tokio::test]
async fn a_connect_dropped_at_any_await_ends_the_client() {
    for times in 0..8 {
        let server = server().await;
        let builder = Client::builder("me").server(server.uri());
        if let Some(client) = poll_and_drop(builder.connect(), times).await {
            drop(client.unwrap());
        }
        // The name and everything else is free again.
        let gone = server.wait_for(|stats| stats.connections == 0);
        tokio::time::timeout(SOON, gone).await.expect("a client without an owner");
        let client = Client::builder("me").server(server.uri()).start().unwrap();
        poll_and_drop(client.connected(), times).await;
        client.connected().await.unwrap();
        assert_usable(&client, &server, &[]).await;
    }
}

/// Covers 20#5.
#[tokio::test]
async fn a_close_dropped_at_any_await_can_be_called_again() {
    for times in 0..8 {
        let server = server().await;
        let dir = tempfile::tempdir().unwrap();
        let store = PublishStore::sled(dir.path());
        let client = Client::builder("me").server(server.uri()).publish_store(store).connect().await.unwrap();
        for id in 0..20 {
            client.publish("t", id.to_string()).await.unwrap();
        }
        poll_and_drop(client.close(SOON), times).await;
        let closed = client.close(SOON).await;
        let logged = server.log().len() as u64;
        assert!(logged + closed.unacknowledged >= 20, "{logged} logged, {closed:?}");
    }
}

/// How a client stands when it is closed.
#[derive(Debug, Clone, Copy)]
enum Standing {
    Connected,
    Disconnected,
    MidLogon,
    MidReplay,
}

/// A server that answers logons once it is told, and reads nothing after them.
async fn answers_logons_only(told: oneshot::Receiver<()>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let uri = format!("tcp://{}/amps/json", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let len = stream.read_u32().await.unwrap();
        let mut logon = vec![0; len as usize];
        stream.read_exact(&mut logon).await.unwrap();
        let logon = Message::decode(logon.into()).unwrap();
        told.await.unwrap();
        let mut answer = BytesMut::new();
        let frame = FrameWriter::new(&mut answer, "ack").maybe(Field::CommandId, logon.command_id());
        frame.text(Field::AckType, "processed").text(Field::Status, "success").finish(b"");
        stream.write_all(&answer).await.unwrap();
        std::future::pending::<()>().await;
    });
    uri
}

async fn close_in(standing: Standing, count: u64, with_store: impl Fn(ClientBuilder) -> ClientBuilder) -> u64 {
    let server = server().await;
    let (tell, told) = oneshot::channel();
    let uri = match standing {
        Standing::MidReplay => answers_logons_only(told).await,
        _ => server.uri(),
    };
    match standing {
        Standing::Connected => server.faults(|faults| faults.withhold_acks(true)),
        Standing::Disconnected => server.faults(|faults| faults.accept_then_close(true)),
        Standing::MidLogon => server.faults(|faults| faults.silence_at_logon(true)),
        Standing::MidReplay => {}
    }
    let client = with_store(Client::builder("me").server(uri).no_heartbeat()).start().unwrap();
    let mut events = client.events();
    match standing {
        Standing::Connected => client.connected().await.unwrap(),
        Standing::Disconnected => server.wait_for(|stats| stats.accepted > 0).await,
        Standing::MidLogon => server.wait_for(|stats| stats.received > 0).await,
        Standing::MidReplay => {}
    }
    // More than the system takes in a replay that nobody reads.
    let room = " ".repeat(if let Standing::MidReplay = standing { 1 << 20 } else { 0 });
    for id in 0..count {
        client.publish("t", format!("{id}{room}")).await.unwrap();
    }
    if let Standing::MidReplay = standing {
        tell.send(()).unwrap();
        let reached = if count > 0 { ConnectionState::LoggedOn } else { ConnectionState::Resubscribed };
        loop {
            let event = tokio::time::timeout(SOON, events.next()).await.unwrap().unwrap();
            if matches!(event, Event::State(change) if change.state == reached) {
                break;
            }
        }
        assert_eq!(client.is_connected(), count == 0);
    }
    // With nothing to wait for the deadline is not waited for, however far.
    let deadline = if count == 0 { SOON } else { Duration::from_millis(200) };
    let began = Instant::now();
    let closed = client.close(deadline).await;
    let took = began.elapsed();
    assert!(took <= deadline + GRACE, "{standing:?}, {count}: {took:?}");
    if count == 0 {
        assert!(took < deadline / 2, "{standing:?}: nothing to wait for, {took:?}");
    }
    assert_eq!(closed.unacknowledged, count, "{standing:?}");
    // A disk slower than the deadline goes on; the directory is free after that.
    assert!(closed.stores_closed || client.close(SOON).await.stores_closed);
    assert!(client.publish("t", "late").await.is_err());
    assert!(client.subscribe("t").await.is_err());
    closed.unacknowledged
}

/// Covers 20#15.
#[tokio::test]
async fn close_returns_within_its_deadline_and_says_what_the_store_still_holds() {
    for standing in [Standing::Connected, Standing::Disconnected, Standing::MidLogon, Standing::MidReplay] {
        for count in [0, 25] {
            close_in(standing, count, |builder| builder).await;
            let dir = tempfile::tempdir().unwrap();
            let store = || PublishStore::sled(dir.path());
            let held = close_in(standing, count, |builder| builder.publish_store(store())).await;
            // What it said is what the store delivers.
            let server = server().await;
            let next = Client::builder("me").server(server.uri()).publish_store(store());
            let next = next.connect_within(SOON).connect().await.unwrap();
            tokio::time::timeout(SOON, next.flush()).await.expect("flushed").unwrap();
            assert_eq!(server.log().len() as u64, held, "{standing:?}");
            next.close(SOON).await;
        }
    }
}

/// Covers 20#15.
#[tokio::test]
async fn everything_dropped_without_a_close_leaves_the_store_intact() {
    for standing in 0..3 {
        let first = server().await;
        first.faults(|faults| faults.withhold_acks(true));
        let dir = tempfile::tempdir().unwrap();
        let store = || PublishStore::sled(dir.path());
        let client = Client::builder("me").server(first.uri()).publish_store(store()).start().unwrap();
        if standing > 0 {
            client.connected().await.unwrap();
        }
        let stream = if standing > 1 { Some(client.subscribe("t").await.unwrap()) } else { None };
        let mut receipts = Vec::new();
        for id in 0..100 {
            receipts.push(client.enqueue("t", id.to_string()).unwrap());
        }
        for receipt in &receipts {
            receipt.durable().await.unwrap();
        }
        drop((client, stream, receipts));
        let second = server().await;
        let next = Client::builder("me").server(second.uri()).publish_store(store()).connect().await.unwrap();
        next.flush().await.unwrap();
        let bodies: Vec<_> = second.log().iter().map(|message| message.body.clone()).collect();
        assert_eq!(bodies, (0..100).map(|id| id.to_string()).collect::<Vec<_>>(), "{standing}");
        next.close(SOON).await;
    }
}

/// `publish` waits while the store is full, and goes on with the
/// acknowledgements; `enqueue` says that it is full.
#[tokio::test]
async fn publish_waits_while_the_store_is_full() {
    let server = server().await;
    server.faults(|faults| faults.withhold_acks(true));
    let client = Client::builder("me").server(server.uri()).store_bound(1_000).connect().await.unwrap();
    let mut published = 0;
    while client.enqueue("t", published.to_string()).is_ok() {
        published += 1;
    }
    let mut waiting = pin!(client.publish("t", "waited"));
    let early = tokio::time::timeout(Duration::from_millis(100), waiting.as_mut()).await;
    assert!(early.is_err(), "it must wait");
    server.faults(|faults| faults.withhold_acks(false));
    tokio::time::timeout(SOON, waiting).await.expect("room came").unwrap();
    client.flush().await.unwrap();
    assert_eq!(server.log().len(), published + 1);
    assert!(matches!(client.enqueue("t", "x".repeat(2_000)), Err(amps_client::PublishError::TooLarge { .. })));
    client.close(SOON).await;
}

/// Without a server a message is stored all the same, at once; and at the
/// bound `publish` sleeps instead of asking again and again.
#[tokio::test]
async fn publish_needs_no_server_and_waits_for_room_without_spinning() {
    let dir = tempfile::tempdir().unwrap();
    for store in [PublishStore::Memory, PublishStore::sled(dir.path())] {
        let server = server().await;
        server.faults(|faults| faults.accept_then_silence(true));
        let builder = Client::builder("me").server(server.uri()).publish_store(store).store_bound(1_000);
        let client = builder.attempt_timeouts(SOON, SOON).start().unwrap();
        server.wait_for(|stats| stats.accepted > 0).await;
        for id in 0..5 {
            let published = client.publish("t", id.to_string());
            tokio::time::timeout(SOON / 4, published).await.expect("stored at once").unwrap();
        }
        while client.enqueue("t", "fill").is_ok() {}
        let mut polls = 0;
        let mut waiting = pin!(client.publish("t", "waits"));
        let counted = std::future::poll_fn(|context| {
            polls += 1;
            waiting.as_mut().poll(context)
        });
        assert!(tokio::time::timeout(Duration::from_millis(200), counted).await.is_err(), "it must wait");
        assert!(polls < 50, "asked {polls} times");
        client.close(Duration::from_millis(600)).await;
    }
}
