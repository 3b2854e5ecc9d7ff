//! Replaced disconnect handling: a plain client, a handler, and an HA client
//! that recovers from nothing.

use std::error::Error as _;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use amps_client::reconnect::{AttemptContext, Delay, FixedReconnect, ReconnectStrategy};
use amps_client::server_chooser::{ListChooser, Report, Server, ServerChooser};
use amps_client::{Cause, Client, CommandError, ConnectError, ConnectionState, Event, PublishError, Subscription, Uri};
use amps_core::message::MessageKind;
use amps_testserver::TestServer;

const SOON: Duration = Duration::from_secs(20);

async fn server() -> TestServer {
    TestServer::builder().ack_conflation(Duration::from_millis(20)).start().await.unwrap()
}

/// Cuts the connection and waits until the client knows.
async fn lose(server: &TestServer, client: &Client) {
    let mut state = client.state();
    state.latest();
    assert!(server.kick("me"));
    let lost = async { while state.changed().await.unwrap().state != ConnectionState::Disconnected {} };
    tokio::time::timeout(SOON, lost).await.unwrap();
}

/// How a stream ends.
async fn end(stream: &mut Subscription) -> Option<CommandError> {
    tokio::time::timeout(SOON, async {
        loop {
            match stream.next().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Some(error),
                None => return None,
            }
        }
    })
    .await
    .expect("the stream ends")
}

/// Covers 5.5.3#1.
#[tokio::test]
async fn a_plain_client_stays_disconnected_and_says_so() {
    let server = server().await;
    let client = Client::plain("me").server(server.uri()).connect().await.unwrap();
    client.publish("t", "1").await.unwrap();
    client.flush().await.unwrap();
    let mut stream = client.subscribe("t").await.unwrap();
    lose(&server, &client).await;
    let error = client.publish("t", "2").await.unwrap_err();
    assert!(matches!(&error, PublishError::Disconnected { cause: Some(Cause::Closed | Cause::Io(_)) }), "{error:?}");
    assert!(matches!(client.subscribe("t").await, Err(CommandError::NotConnected { .. })));
    assert!(matches!(client.flush().await, Err(PublishError::Disconnected { .. })));
    assert!(matches!(client.connected().await, Err(ConnectError::Disconnected { .. })));
    assert!(matches!(end(&mut stream).await, Some(CommandError::Disconnected)), "streams end with their connection");
    assert_eq!(server.stats().accepted, 1);
    client.reconnect().await.unwrap();
    client.publish("t", "2").await.unwrap();
    client.flush().await.unwrap();
    assert_eq!(server.log().len(), 2);
    assert_eq!(server.stats().commands.iter().filter(|command| command.kind == MessageKind::Subscribe).count(), 1);
    client.close(SOON).await;
}

/// Covers 5.5.3#2.
#[tokio::test]
async fn a_handler_may_connect_again_and_subscriptions_come_back_if_they_are_kept() {
    for keep in [false, true] {
        let server = server().await;
        let handler = async |client: Client, _: Cause| client.reconnect().await;
        let mut builder = Client::plain("me");
        if keep {
            builder = Client::builder("me").publish_store(amps_client::PublishStore::None);
        }
        let builder = builder.server(server.uri()).on_disconnect(handler);
        let client = builder.connect().await.unwrap();
        let mut stream = client.subscribe("t").await.unwrap();
        for _ in 0..3 {
            lose(&server, &client).await;
            let mut state = client.state();
            let back = async { while state.changed().await.unwrap().state != ConnectionState::Resubscribed {} };
            tokio::time::timeout(SOON, back).await.unwrap();
        }
        client.publish("t", "after").await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(server.log().len(), 1);
        let subscribed = server.stats().commands.iter().filter(|c| c.kind == MessageKind::Subscribe).count();
        assert_eq!(subscribed, if keep { 4 } else { 1 });
        match keep {
            true => assert_eq!(stream.next_message().await.unwrap().unwrap().data(), b"after"),
            false => assert!(matches!(end(&mut stream).await, Some(CommandError::Disconnected))),
        }
        client.close(SOON).await;
    }
}

/// Covers 5.5.3#3.
#[tokio::test]
async fn what_a_handler_fails_with_is_why_calls_fail() {
    let server = server().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let builder = Client::plain("me").server(server.uri()).on_disconnect(move |_: Client, _: Cause| {
        let call = count.fetch_add(1, Ordering::SeqCst);
        async move {
            match call {
                0 => Err("the market is closed"),
                _ => panic!("on purpose"),
            }
        }
    });
    let client = builder.connect().await.unwrap();
    let mut events = client.events();
    lose(&server, &client).await;
    let error = tokio::time::timeout(SOON, async {
        loop {
            match client.publish("t", "late").await.unwrap_err() {
                // The handler is still at it.
                PublishError::Disconnected { cause: Some(Cause::Closed | Cause::Io(_)) } => {
                    tokio::task::yield_now().await
                }
                error => return error,
            }
        }
    });
    let error = error.await.unwrap();
    assert!(matches!(error, PublishError::Disconnected { .. }), "{error:?}");
    let cause = error.source().expect("the handler's failure").to_string();
    assert_eq!(cause, "the disconnect handler failed: the market is closed");
    assert_eq!(error.source().unwrap().source().unwrap().to_string(), "the market is closed");
    let error = client.subscribe("t").await.unwrap_err();
    assert!(error.to_string().contains("the market is closed"), "{error}");

    client.reconnect().await.unwrap();
    lose(&server, &client).await;
    let told = async {
        loop {
            if let Some(Event::Panicked(panicked)) = events.next().await {
                return panicked;
            }
        }
    };
    let panicked = tokio::time::timeout(SOON, told).await.unwrap();
    assert_eq!(panicked.to_string(), "the disconnect handler panicked: on purpose");
    client.close(SOON).await;
}

/// What was asked of chooser and strategy.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<&'static str>>>);

struct Chooser(Asked, ListChooser);

impl ServerChooser for Chooser {
    fn current(&mut self) -> Option<Server> {
        self.0.0.lock().unwrap().push("current");
        self.1.current()
    }
    fn report_failure(&mut self, _: &Report, _: &Cause) {
        self.0.0.lock().unwrap().push("failure");
    }
    fn report_success(&mut self, _: &Report) {
        self.0.0.lock().unwrap().push("success");
    }
    fn error(&self) -> String {
        String::new()
    }
}

impl ReconnectStrategy for Asked {
    fn next_delay(&mut self, _: &AttemptContext<'_>) -> Delay {
        self.0.lock().unwrap().push("delay");
        Delay::Wait(Duration::ZERO)
    }
    fn healthy(&mut self, _: &str) {}
}

/// Covers 5.5.3#4.
#[tokio::test]
async fn with_a_replaced_handler_nothing_recovers_by_itself() {
    let server = server().await;
    let asked = Asked::default();
    let chooser = Chooser(asked.clone(), ListChooser::new([server.uri().parse::<Uri>().unwrap()]));
    let (called, mut calls) = tokio::sync::mpsc::unbounded_channel();
    let builder = Client::builder("me").server_chooser(chooser).reconnect(asked.clone());
    let builder = builder.on_disconnect(move |_: Client, cause: Cause| {
        let _ = called.send(cause);
        async { Ok::<_, String>(()) }
    });
    let client = builder.connect().await.unwrap();
    let stream = client.subscribe("t").await.unwrap();
    server.faults(|faults| faults.withhold_acks(true));
    client.publish("t", "stored").await.unwrap();
    server.wait_for_log(|log| log.len() == 1).await;
    assert_eq!(std::mem::take(&mut *asked.0.lock().unwrap()), ["current", "delay", "success"]);
    lose(&server, &client).await;
    tokio::time::timeout(SOON, calls.recv()).await.unwrap().expect("the handler is called");
    client.publish("t", "stored as well").await.unwrap();
    // Whatever it would do by itself, it would have done before this fails.
    assert!(client.subscribe("t").await.is_err());
    assert!(asked.0.lock().unwrap().is_empty(), "{:?}", asked.0);
    let stats = server.stats();
    assert_eq!((stats.accepted, stats.publishes), (1, 1), "no connection, no replay, no subscription");
    assert_eq!(client.unacknowledged(), 2, "the store keeps them");
    assert!(calls.try_recv().is_err(), "one call for one loss");
    drop(stream);
    client.close(Duration::ZERO).await;
}

/// Covers 5.5.3#5, 20#8.
#[tokio::test]
async fn a_handler_may_close_the_client() {
    let server = server().await;
    let builder = Client::plain("me").server(server.uri()).on_disconnect(|client: Client, _: Cause| async move {
        client.close(SOON).await;
        Ok::<_, String>(())
    });
    let client = builder.connect().await.unwrap();
    let mut state = client.state();
    server.kick("me");
    let closed = async { while state.changed().await.unwrap().state != ConnectionState::Shutdown {} };
    tokio::time::timeout(SOON, closed).await.expect("closed from inside the handler");
    assert!(matches!(client.publish("t", "1").await, Err(PublishError::Closed)));
    assert!(matches!(client.reconnect().await, Err(ConnectError::GaveUp { .. })));
    assert!(client.close(SOON).await.stores_closed);
}

/// A handler that still runs does not keep a client alive that nobody holds.
#[tokio::test]
async fn a_dropped_client_calls_no_handler() {
    let server = server().await;
    let (called, mut calls) = tokio::sync::mpsc::unbounded_channel();
    let builder = Client::plain("me").server(server.uri()).on_disconnect(move |_: Client, _: Cause| {
        let _ = called.send(());
        async { Ok::<_, String>(()) }
    });
    drop(builder.connect().await.unwrap());
    let gone = server.wait_for(|stats| stats.connections == 0);
    tokio::time::timeout(SOON, gone).await.unwrap();
    let ended = tokio::time::timeout(SOON, calls.recv()).await.expect("the handler goes with the client");
    assert_eq!(ended, None);
}

/// Dropped after any number of polls, nothing is half done.
///
/// Covers 20#5.
#[tokio::test]
async fn a_reconnect_or_watch_dropped_at_any_await_can_be_called_again() {
    let server = server().await;
    let quick = FixedReconnect::new(Duration::ZERO, 1).loss_window(Duration::ZERO);
    let client = Client::plain("me").server(server.uri()).reconnect(quick).connect().await.unwrap();
    for times in 0..8 {
        lose(&server, &client).await;
        let mut state = client.state();
        state.latest();
        {
            let mut reconnecting = std::pin::pin!(client.reconnect());
            let mut changed = std::pin::pin!(state.changed());
            let mut told = false;
            for _ in 0..times {
                let mut context = Context::from_waker(Waker::noop());
                told = told || changed.as_mut().poll(&mut context).is_ready();
                if reconnecting.as_mut().poll(&mut context).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        match tokio::time::timeout(SOON, client.reconnect()).await.unwrap() {
            Ok(()) | Err(ConnectError::AlreadyConnected) => {}
            Err(error) => panic!("{error}"),
        }
        client.publish("t", times.to_string()).await.unwrap();
        client.flush().await.unwrap();
    }
    assert_eq!(server.log().len(), 8);
    client.close(SOON).await;
}
