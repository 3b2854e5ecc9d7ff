//! Subscriptions to a part of the log: they end by themselves, where they are to,
//! whatever happened in between.

use std::time::Duration;

use amps_client::{
    AckType, Bookmark, BookmarkRange, BookmarkStore, Client, CommandError, StartAt, Subscribe, Subscription,
    SubscriptionEvent,
};
use amps_testserver::{Link, TestServer, TestServerBuilder};

const SOON: Duration = Duration::from_secs(20);

fn described(name: &str) -> TestServerBuilder {
    TestServer::builder().name(name).ack_conflation(Duration::from_millis(10))
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future).await.expect("in time")
}

/// The position of the n-th message of a server's log, counted from 1, and of
/// those its publisher is going to send.
fn nth(server: &TestServer, n: u64) -> Bookmark {
    let first = &server.log()[0];
    Bookmark { publisher: first.publisher, sequence: first.sequence + n - 1 }
}

async fn publish(client: &Client, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        client.publish("t", n.to_string()).await.unwrap();
    }
    soon(client.flush()).await.unwrap();
}

async fn next(messages: &mut Subscription) -> Option<u64> {
    let message = soon(messages.next_message()).await.unwrap()?;
    messages.discard(&message);
    Some(std::str::from_utf8(message.data()).unwrap().parse().unwrap())
}

async fn rest(messages: &mut Subscription) -> Vec<u64> {
    let mut all = Vec::new();
    while let Some(n) = next(messages).await {
        all.push(n);
    }
    all
}

/// Covers 10#2.
#[tokio::test]
async fn a_range_ends_where_it_is_to() {
    let server = described("A").start().await.unwrap();
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    publish(&client, 1..=9).await;
    let [two, five] = [nth(&server, 2), nth(&server, 5)];
    for (range, expected) in [
        (BookmarkRange::new(two, five), vec![2, 3, 4, 5]),
        (BookmarkRange::new(two, five).exclude_begin(), vec![3, 4, 5]),
        (BookmarkRange::new(two, five).exclude_end(), vec![2, 3, 4]),
        (BookmarkRange::new(StartAt::Epoch, two), vec![1, 2]),
        (BookmarkRange::new(five, StartAt::Now), vec![5, 6, 7, 8, 9]),
        (BookmarkRange::new(five, two), vec![]),
    ] {
        let mut messages = client.subscribe(Subscribe::to("t").bookmark(range.clone())).await.unwrap();
        assert_eq!(rest(&mut messages).await, expected, "{range}");
        assert!(soon(messages.next()).await.is_none(), "and stays over");
    }
    // Whoever asked for it is told before the end.
    let all = BookmarkRange::new(two, five);
    let mut messages =
        client.subscribe(Subscribe::to("t").bookmark(all).acks(AckType::Completed).queue(2, 1 << 20)).await.unwrap();
    let mut last = None;
    let mut count = 0;
    while let Some(item) = soon(messages.next()).await {
        count += 1;
        last = Some(item.unwrap());
    }
    assert!(count == 5 && matches!(last, Some(SubscriptionEvent::Ack(_))), "{count} {last:?}");
    client.close(SOON).await;
}

#[tokio::test]
async fn what_a_range_cannot_be_is_refused_here() {
    let server = described("A").start().await.unwrap();
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    let point = Bookmark { publisher: 1, sequence: 1 };
    let backwards = BookmarkRange::new(point, StartAt::Epoch);
    let refused = client.subscribe(Subscribe::to("t").bookmark(backwards)).await.unwrap_err();
    assert!(refused.to_string().contains("[1|1|:0]"), "{refused}");
    let range = || BookmarkRange::new(point, point);
    for subscribe in [
        Subscribe::to("t").bookmark(range()).options("live"),
        Subscribe::sow_and("t").bookmark(range()),
        Subscribe::to("t").bookmark(range()).conflate(),
    ] {
        let refused = client.subscribe(subscribe).await.unwrap_err();
        assert!(matches!(refused, CommandError::Invalid { .. }), "{refused}");
    }
    client.close(SOON).await;
}

#[tokio::test]
async fn a_range_goes_on_at_another_server_and_ends_at_the_same_place() {
    let b = described("B").start().await.unwrap();
    let a = described("A").peer(b.uri(), Link::Sync).start().await.unwrap();
    let uris = [a.uri(), b.uri()];
    let publisher = Client::builder("p").servers(uris.clone()).connect().await.unwrap();
    let reader = Client::builder("r").servers(uris).connect().await.unwrap();
    publish(&publisher, 1..=5).await;
    let range = BookmarkRange::new(nth(&a, 2), nth(&a, 10)).exclude_end();
    let mut messages = reader.subscribe(Subscribe::to("t").bookmark(range)).await.unwrap();
    for n in 2..=5 {
        assert_eq!(next(&mut messages).await, Some(n));
    }
    a.stop().await;
    publish(&publisher, 6..=20).await;
    assert_eq!(rest(&mut messages).await, [6, 7, 8, 9], "each once, and none past the end");
    for client in [publisher, reader] {
        client.close(SOON).await;
    }
}

#[tokio::test]
async fn a_new_process_goes_on_within_the_range() {
    let server = described("A").start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let connect = |name: &'static str| {
        let store = BookmarkStore::sled(dir.path().join("bookmarks"));
        Client::builder(name).server(server.uri()).bookmark_store(store).connect()
    };
    let client = connect("me").await.unwrap();
    publish(&client, 1..=9).await;
    let range = || BookmarkRange::new(nth(&server, 3), nth(&server, 6));
    let mut messages = client.subscribe(Subscribe::to("t").bookmark(range())).await.unwrap();
    for n in [3, 4] {
        assert_eq!(next(&mut messages).await, Some(n));
    }
    soon(messages.discarded()).await.unwrap();
    drop(messages);
    client.close(SOON).await;
    let client = connect("me").await.unwrap();
    let mut messages = client.subscribe(Subscribe::to("t").bookmark(range())).await.unwrap();
    assert_eq!(rest(&mut messages).await, [5, 6]);
    soon(messages.discarded()).await.unwrap();
    drop(messages);
    let mut messages = client.subscribe(Subscribe::to("t").bookmark(range())).await.unwrap();
    assert_eq!(rest(&mut messages).await, [0; 0], "there is nothing left of it");
    // Another part of the log is another subscription.
    let other = BookmarkRange::new(nth(&server, 1), nth(&server, 4));
    let mut messages = client.subscribe(Subscribe::to("t").bookmark(other)).await.unwrap();
    assert_eq!(rest(&mut messages).await, [1, 2, 3, 4]);
    client.close(SOON).await;
}
