//! Handling messages: what succeeded is discarded, what failed is not, and
//! nothing that a handler does stops the client.

use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::{
    BookmarkStore, Client, Event, FailedResubscribe, Message, OnFailedResubscribe, Panicked, Reason, StartAt,
    Subscribe, Subscription,
};
use amps_testserver::TestServer;

const SOON: Duration = Duration::from_secs(20);

async fn server() -> TestServer {
    TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap()
}

async fn publish(server: &TestServer, bodies: &[&str]) {
    let publisher = Client::builder("publisher").server(server.uri()).connect().await.unwrap();
    for body in bodies {
        publisher.publish("t", body).await.unwrap();
    }
    publisher.flush().await.unwrap();
    publisher.close(SOON).await;
}

async fn reader(server: &TestServer, dir: &std::path::Path) -> (Client, Subscription) {
    let client =
        Client::builder("me").server(server.uri()).bookmark_store(BookmarkStore::sled(dir)).connect().await.unwrap();
    let stream = client.subscribe(Subscribe::to("t").bookmark(StartAt::MostRecent).id("t")).await.unwrap();
    (client, stream)
}

/// What comes up to and with "end", in a new life of the reader.
async fn comes_again(server: &TestServer, dir: &std::path::Path) -> Vec<String> {
    publish(server, &["end"]).await;
    let (client, mut stream) = reader(server, dir).await;
    let mut bodies = Vec::new();
    loop {
        let message = tokio::time::timeout(SOON, stream.next_message()).await.unwrap().unwrap().unwrap();
        match text(&message).as_str() {
            "end" => break,
            body => bodies.push(body.to_owned()),
        }
    }
    client.close(SOON).await;
    bodies
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(message.data()).into_owned()
}

/// The third of five fails, the fourth panics: the others are handled and
/// discarded, each failure is told once with its message, and in a new process
/// exactly those two come again.
///
/// Covers 5.3#1, 5.3#2.
#[tokio::test]
async fn a_handler_that_fails_or_panics_is_told_and_the_next_message_follows() {
    let (server, dir) = (server().await, tempfile::tempdir().unwrap());
    let (client, mut stream) = reader(&server, dir.path()).await;
    let mut events = client.events();
    publish(&server, &["1", "2", "3", "4", "5"]).await;
    let mut handled = Vec::new();
    let (last, fifth) = tokio::sync::oneshot::channel::<()>();
    let mut last = Some(last);
    let handling = stream.for_each(|message| {
        handled.push(text(message));
        match message.data() {
            b"3" => return Err("three"),
            b"4" => panic!("four"),
            b"5" => drop(last.take()),
            _ => {}
        }
        Ok(())
    });
    tokio::select! {
        ended = handling => panic!("{ended:?}"),
        // Sent by being dropped. What was handled is discarded by then, or
        // the select would not have been polled again.
        told = tokio::time::timeout(SOON, fifth) => assert!(told.unwrap().is_err()),
    }
    assert_eq!(handled, ["1", "2", "3", "4", "5"]);
    stream.discarded().await.unwrap();
    assert!(client.is_connected());
    drop(stream);
    client.close(SOON).await;
    let mut failed = Vec::new();
    while let Some(event) = events.next().await {
        if let Event::HandlerFailed(handler) = event {
            failed.push((text(&handler.message), handler.error.to_string()));
            let panicked = handler.error.get_ref().downcast_ref::<Panicked>();
            assert_eq!(panicked.is_some(), failed.len() == 2);
        }
        if failed.len() == 2 {
            break;
        }
    }
    assert_eq!(failed[0], ("3".to_owned(), "three".to_owned()));
    assert_eq!(failed[1], ("4".to_owned(), "the message handler panicked: four".to_owned()));
    drop(client);
    assert_eq!(comes_again(&server, dir.path()).await, ["3", "4"]);
}

/// A guard discards on success only: not when it is dropped by `?`, nor by a
/// panic.
#[tokio::test]
async fn a_guard_discards_on_success_only() {
    let (server, dir) = (server().await, tempfile::tempdir().unwrap());
    let (client, mut stream) = reader(&server, dir.path()).await;
    publish(&server, &["done", "error", "panic", "done too"]).await;
    async fn handle(stream: &mut Subscription) -> Result<String, std::io::Error> {
        let message = tokio::time::timeout(SOON, stream.next_guarded()).await.unwrap().unwrap().unwrap();
        let body = text(&message);
        if body == "error" {
            return Err(std::io::Error::other(body));
        }
        message.done();
        Ok(body)
    }
    assert_eq!(handle(&mut stream).await.unwrap(), "done");
    assert_eq!(handle(&mut stream).await.unwrap_err().to_string(), "error");
    let guard = tokio::time::timeout(SOON, stream.next_guarded()).await.unwrap().unwrap().unwrap();
    let handled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let guard = guard;
        panic!("{}", text(&guard));
    }));
    assert!(handled.is_err());
    assert_eq!(handle(&mut stream).await.unwrap(), "done too");
    stream.discarded().await.unwrap();
    drop(stream);
    client.close(SOON).await;
    assert_eq!(comes_again(&server, dir.path()).await, ["error", "panic"]);
}

/// With `done_on_next` asking for the next item says that the one before is
/// dealt with; the last one, for which nobody asked on, comes again.
#[tokio::test]
async fn asking_for_the_next_discards_the_one_before() {
    let (server, dir) = (server().await, tempfile::tempdir().unwrap());
    let client = Client::builder("me").server(server.uri()).bookmark_store(BookmarkStore::sled(dir.path()));
    let client = client.connect().await.unwrap();
    let subscribe = Subscribe::to("t").bookmark(StartAt::MostRecent).id("t").done_on_next();
    let mut stream = client.subscribe(subscribe).await.unwrap();
    publish(&server, &["1", "2", "3"]).await;
    for id in 1..=3 {
        // By turns in the ways there are to ask.
        let body = match id {
            1 => text(&tokio::time::timeout(SOON, stream.next_message()).await.unwrap().unwrap().unwrap()),
            _ => match tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap() {
                amps_client::SubscriptionEvent::Message(message) => text(&message),
                other => panic!("{other:?}"),
            },
        };
        assert_eq!(body, id.to_string());
    }
    stream.discarded().await.unwrap();
    drop(stream);
    client.close(SOON).await;
    assert_eq!(comes_again(&server, dir.path()).await, ["3"]);
}

/// Three subscriptions, of which one is refused at the next connection. By the
/// handler's word it ends alone, or the attempt fails and the next server is
/// tried.
async fn refused_again(decision: Option<OnFailedResubscribe>) {
    let servers = [server().await, server().await];
    let strategy = FixedReconnect::new(Duration::from_millis(1), 1).loss_window(Duration::ZERO);
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = std::sync::Arc::clone(&asked);
    let handler = move |failed: &FailedResubscribe| {
        log.lock().unwrap().push(failed.clone());
        decision.expect("no decision")
    };
    let client = Client::builder("me")
        .servers(servers.iter().map(TestServer::uri))
        .reconnect(strategy)
        .on_failed_resubscribe(handler)
        .connect()
        .await
        .unwrap();
    let mut events = client.events();
    let mut streams = Vec::new();
    for topic in ["a", "b", "c"] {
        streams.push(client.subscribe(topic).await.unwrap());
    }
    let refuse = |_: &str, access, topic: &str| access != amps_testserver::Access::Read || topic != "b";
    servers[1].faults(|faults| faults.entitle(refuse));
    assert!(servers[0].kick("me"));
    let mut panicked = 0;
    let mut attempts_failed = Vec::new();
    loop {
        match tokio::time::timeout(SOON, events.next()).await.unwrap().unwrap() {
            Event::Panicked(_) => panicked += 1,
            Event::AttemptFailed { uri, cause, .. } => attempts_failed.push((uri.to_string(), cause.to_string())),
            Event::State(change) if change.state == amps_client::ConnectionState::Resubscribed => break,
            _ => {}
        }
    }
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].topic.as_str(), &asked[0].reason), ("b", &Reason::NotEntitled));
    assert_eq!(asked[0].uri.to_string(), servers[1].uri());
    let dropped = decision == Some(OnFailedResubscribe::Drop);
    let now_at = if dropped { &servers[1] } else { &servers[0] };
    let refusals: Vec<_> = attempts_failed.iter().filter(|(_, cause)| cause.contains("not entitled")).collect();
    assert_eq!(refusals.len(), usize::from(!dropped), "{attempts_failed:?}");
    assert_eq!(panicked, usize::from(decision.is_none()));
    let publisher = Client::builder("publisher").server(now_at.uri()).connect().await.unwrap();
    for topic in ["a", "b", "c"] {
        publisher.publish(topic, topic).await.unwrap();
    }
    publisher.flush().await.unwrap();
    for (topic, stream) in ["a", "b", "c"].into_iter().zip(&mut streams) {
        let message = tokio::time::timeout(SOON, stream.next_message()).await.unwrap();
        match message {
            Ok(Some(message)) => assert!(text(&message) == topic && !(dropped && topic == "b")),
            Err(error) => assert!(dropped && topic == "b" && error.to_string().contains("not entitled"), "{error}"),
            Ok(None) => panic!("'{topic}' ended without a word"),
        }
    }
}

/// Covers 11.6#1.
#[tokio::test]
async fn a_handler_may_drop_a_refused_subscription_or_go_elsewhere() {
    refused_again(Some(OnFailedResubscribe::Drop)).await;
    refused_again(Some(OnFailedResubscribe::Fail)).await;
}

/// A handler that panics drops nothing: the attempt fails, and the panic is
/// told.
///
/// Covers 11.6#2.
#[tokio::test]
async fn a_handler_of_refused_subscriptions_that_panics_fails_the_attempt_and_is_told() {
    refused_again(None).await;
}
