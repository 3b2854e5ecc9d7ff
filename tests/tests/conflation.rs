//! Streams that give only the newest of what was not read yet.

use std::time::Duration;

use amps_client::{Client, CommandError, StartAt, Subscribe, Subscription};
use amps_testserver::TestServer;

const SOON: Duration = Duration::from_secs(20);

async fn connect() -> (TestServer, Client, Client) {
    let builder = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id");
    let server = builder.start().await.unwrap();
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    let publisher = Client::builder("publisher").server(server.uri()).connect().await.unwrap();
    (server, client, publisher)
}

async fn next(stream: &mut Subscription) -> String {
    let message = tokio::time::timeout(SOON, stream.next_message()).await.unwrap().unwrap().unwrap();
    String::from_utf8_lossy(message.data()).into_owned()
}

/// Covers 7.4#1.
#[tokio::test]
async fn of_a_thousand_updates_to_three_keys_the_newest_three_are_read() {
    let (_server, client, publisher) = connect().await;
    // Bounds that all of them would not fit into.
    let mut newest = client.subscribe(Subscribe::to("s").conflate().queue(10, 1 << 20)).await.unwrap();
    let mut last = client.subscribe("last").await.unwrap();
    let body = |id: usize, v: usize| format!(r#"{{"id":{id},"v":{v}}}"#);
    for v in 0..1_000 {
        publisher.enqueue("s", body([7, 3, 5][v % 3], v)).unwrap();
    }
    publisher.publish("last", "x").await.unwrap();
    // Behind all of them on the same connection.
    next(&mut last).await;
    assert_eq!(newest.depth(), 3);
    for expected in [body(7, 999), body(3, 997), body(5, 998)] {
        assert_eq!(next(&mut newest).await, expected);
    }
    assert_eq!((newest.stats().delivered, newest.stats().conflated), (3, 997));
    publisher.publish("s", body(3, 1_000)).await.unwrap();
    assert_eq!(next(&mut newest).await, body(3, 1_000));
}

/// Covers 7.4#4.
#[tokio::test]
async fn what_must_not_be_replaced_is_not_conflated() {
    let (server, client, _publisher) = connect().await;
    let before = server.stats().commands.len();
    for subscribe in
        [Subscribe::deltas_of("s"), Subscribe::sow_and_deltas_of("s"), Subscribe::to("s").bookmark(StartAt::Epoch)]
    {
        let error = client.subscribe(subscribe.conflate()).await.unwrap_err();
        assert!(matches!(error, CommandError::Invalid { .. }), "{error}");
        assert!(error.to_string().contains("do not conflate"), "{error}");
    }
    assert_eq!(server.stats().commands.len(), before, "nothing was sent");
}
