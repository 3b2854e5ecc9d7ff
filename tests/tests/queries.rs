//! What queries and subscriptions give: records, acknowledgements, counts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amps_client::{
    AckType, Client, CommandError, Direction, Message, Reason, SocketConnector, Sow, StartAt, Subscribe, Subscription,
    SubscriptionEvent, Tap,
};
use amps_core::FrameDecoder;
use amps_core::message::MessageKind;
use amps_testserver::TestServer;

const SOON: Duration = Duration::from_secs(20);

/// A server with so many records, and a client.
async fn with_records(records: u64) -> (TestServer, Client) {
    let builder = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id").sow("empty", "/id");
    let server = builder.start().await.unwrap();
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    for id in 0..records {
        client.publish("s", format!(r#"{{"id":{id}}}"#)).await.unwrap();
    }
    client.flush().await.unwrap();
    (server, client)
}

/// A word for each item.
fn word(item: &SubscriptionEvent) -> String {
    match item {
        SubscriptionEvent::Message(message) => String::from_utf8_lossy(message.data()).into_owned(),
        SubscriptionEvent::SnapshotBegin => "begin".to_owned(),
        SubscriptionEvent::SnapshotEnd => "end".to_owned(),
        SubscriptionEvent::Ack(ack) => ack.ack_type().unwrap().as_str().to_owned(),
        SubscriptionEvent::Reconnected { .. } => "reconnected".to_owned(),
        other => format!("{other:?}"),
    }
}

async fn take(stream: &mut Subscription, count: usize) -> Vec<String> {
    let mut words = Vec::new();
    while words.len() < count {
        let item = tokio::time::timeout(SOON, stream.next()).await.unwrap();
        let Some(item) = item else { break };
        words.push(word(&item.unwrap()));
    }
    words
}

/// Covers 7#1, 4.2#3.
#[tokio::test]
async fn a_query_begins_and_ends_also_with_nothing_in_it() {
    let (server, client) = with_records(2).await;
    let mut nothing = client.sow(Sow::of("empty")).await.unwrap();
    assert_eq!(take(&mut nothing, 9).await, ["begin", "end"]);
    let mut all = client.sow(Sow::of("^(s|empty)$")).await.unwrap();
    let words = take(&mut all, 9).await;
    assert_eq!((words[0].as_str(), words[3].as_str(), words.len()), ("begin", "end", 4), "{words:?}");
    drop((nothing, all));
    client.flush().await.unwrap();
    client.subscribe("t").await.unwrap();
    let stats = server.stats();
    let before = stats.commands.iter().filter(|command| command.kind == MessageKind::Unsubscribe).count();
    assert_eq!(before, 0, "a query that has ended is not unsubscribed");
}

/// Covers 7#3.
#[tokio::test]
async fn a_count_fetches_nothing() {
    let (_server, client) = with_records(25).await;
    assert_eq!(client.count("s").await.unwrap(), 25);
    assert_eq!(client.count(Sow::of("s").filter("/id >= 20")).await.unwrap(), 5);
    assert_eq!(client.count("empty").await.unwrap(), 0);
    let error = client.count("no_sow").await.unwrap_err();
    assert!(matches!(error, CommandError::Refused { reason: Reason::InvalidTopic, .. }), "{error}");
}

/// Covers 4.4#3, 7.2#1, 7.2#2.
#[tokio::test]
async fn records_come_in_batches_and_one_by_one() {
    let (server, _client) = with_records(25).await;
    let received = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&received);
    let tap = Tap::new(move |direction, bytes| {
        if direction == Direction::In {
            kept.lock().unwrap().extend_from_slice(bytes);
        }
    });
    let other = Client::builder("other").server(server.uri()).connector(SocketConnector::new().tap(tap));
    let other = other.connect().await.unwrap();
    for (query, sizes) in [
        (Sow::of("s"), &["10", "10", "5"][..]),
        (Sow::of("s").batch_size(20), &["20", "5"]),
        (Sow::of("s").batch_size(1).top_n(2), &["1", "1"]),
    ] {
        received.lock().unwrap().clear();
        let mut records = other.sow(query).await.unwrap();
        let mut messages = Vec::new();
        while let Some(message) = tokio::time::timeout(SOON, records.next_message()).await.unwrap().unwrap() {
            assert_eq!(message.kind(), MessageKind::Sow);
            messages.push(message);
        }
        let keys: BTreeSet<_> = messages.iter().filter_map(|message| message.sow_key()).collect();
        let total: usize = sizes.iter().map(|size| size.parse::<usize>().unwrap()).sum();
        assert_eq!((messages.len(), keys.len()), (total, total), "each with its own key");
        // Those of one frame stand in it one behind the other: nothing was copied.
        let in_frame = sizes[0].parse().unwrap();
        for pair in messages[..in_frame].windows(2) {
            let behind = pair[0].data().as_ptr_range().end as usize + pair[1].header().len();
            assert_eq!(pair[1].data().as_ptr() as usize, behind);
        }
        let mut decoder = FrameDecoder::new(1 << 20);
        decoder.extend(&received.lock().unwrap());
        let mut batches = Vec::new();
        while let Some(frame) = decoder.next_frame().unwrap() {
            let batch = Message::decode(frame).unwrap();
            if batch.kind() == MessageKind::Sow {
                batches.push(batch.batch_size().unwrap().to_string());
            }
        }
        assert_eq!(batches, sizes);
    }
}

/// Covers 12#3.
#[tokio::test]
async fn stats_come_behind_the_records() {
    let (_server, client) = with_records(3).await;
    let mut records = client.sow(Sow::of("s").filter("/id > 0").acks(AckType::Stats)).await.unwrap();
    let mut words = Vec::new();
    let mut stats = None;
    while let Some(item) = records.next().await {
        let item = item.unwrap();
        words.push(word(&item));
        if let SubscriptionEvent::Ack(ack) = item {
            stats = Some(ack);
        }
    }
    assert_eq!((words[0].as_str(), words[3].as_str(), words[4].as_str()), ("begin", "end", "stats"), "{words:?}");
    let stats: Message = stats.unwrap();
    assert_eq!((stats.matches(), stats.topic_matches(), stats.records_returned()), (Some(2), Some(3), Some(2)));
    let mut both =
        client.sow(Sow::of("s").acks(AckType::Stats | AckType::Completed | AckType::Processed)).await.unwrap();
    let words = take(&mut both, 20).await;
    assert_eq!((words[0].as_str(), words.len()), ("processed", 8), "{words:?}");
    assert_eq!(words[6..], ["completed", "stats"]);
}

/// Covers 12#2.
#[tokio::test]
async fn completed_comes_between_the_last_replayed_and_the_first_live_message() {
    let (server, client) = with_records(0).await;
    for id in 0..3 {
        client.publish("t", id.to_string()).await.unwrap();
    }
    client.flush().await.unwrap();
    let replay = || Subscribe::to("t").bookmark(StartAt::Epoch);
    let mut told = client.subscribe(replay().id("told").acks(AckType::Completed)).await.unwrap();
    let mut silent = client.subscribe(replay().id("silent")).await.unwrap();
    assert_eq!(take(&mut told, 4).await, ["0", "1", "2", "completed"]);
    assert_eq!(take(&mut silent, 3).await, ["0", "1", "2"]);
    client.publish("t", "live").await.unwrap();
    assert_eq!(take(&mut told, 1).await, ["live"]);
    assert_eq!(take(&mut silent, 1).await, ["live"], "what the client asks for itself stays with it");
    server.kick("me");
    assert_eq!(take(&mut told, 2).await, ["reconnected", "completed"]);
}

/// Covers 4.5#1, 4.5#2.
#[tokio::test]
async fn a_pattern_gets_the_messages_of_all_topics_it_finds() {
    let (_server, client) = with_records(0).await;
    let mut orders = client.subscribe("^orders-.*").await.unwrap();
    let mut literal = client.subscribe(Subscribe::to("orders-.*").options("non_regex_topic")).await.unwrap();
    for topic in ["orders-eu", "prices", "orders-us", "orders-.*"] {
        client.publish(topic, topic).await.unwrap();
    }
    for topic in ["orders-eu", "orders-us", "orders-.*"] {
        let message = tokio::time::timeout(SOON, orders.next_message()).await.unwrap().unwrap().unwrap();
        assert_eq!((message.topic().as_deref(), message.data()), (Some(topic), topic.as_bytes()));
    }
    assert_eq!(take(&mut literal, 1).await, ["orders-.*"]);
    let error = client.subscribe("orders-(").await.unwrap_err();
    assert!(matches!(error, CommandError::Refused { reason: Reason::BadRegexTopic, .. }), "{error}");
}

/// A wait that ends early ends nothing else.
///
/// Covers 4.2#1.
#[tokio::test(start_paused = true)]
async fn a_wait_for_a_message_may_end_early() {
    let (_server, client) = with_records(0).await;
    let mut messages = client.subscribe("t").await.unwrap();
    let limit = Duration::from_millis(50);
    let began = tokio::time::Instant::now();
    assert!(tokio::time::timeout(limit, messages.next()).await.is_err());
    assert_eq!(began.elapsed(), limit);
    client.publish("t", "later").await.unwrap();
    assert_eq!(take(&mut messages, 1).await, ["later"]);
}

/// Covers 4#3.
#[tokio::test]
async fn a_refused_subscription_leaves_nothing_behind() {
    let (server, client) = with_records(0).await;
    let error = client.subscribe(Subscribe::to("t").filter("/a = = 1")).await.unwrap_err();
    assert!(matches!(error, CommandError::Refused { reason: Reason::BadFilter, .. }), "{error}");
    server.kick("me");
    client.publish("t", "x").await.unwrap();
    client.flush().await.unwrap();
    client.connected().await.unwrap();
    let asked = server.stats().commands.iter().filter(|command| command.kind == MessageKind::Subscribe).count();
    assert_eq!((asked, client.reconnects()), (1, 1), "it is not entered again");
}

#[tokio::test]
async fn what_no_server_would_take_is_not_sent() {
    let (server, client) = with_records(0).await;
    let errors = [
        client.subscribe("").await.unwrap_err(),
        client.subscribe(Subscribe::to("t").top_n(5)).await.unwrap_err(),
        client.subscribe(Subscribe::deltas_of("t").bookmark(StartAt::Epoch)).await.unwrap_err(),
        client.sow(Sow::of("s").batch_size(10_001)).await.unwrap_err(),
        client.sow(Sow::of("s").options("skip_n=5")).await.unwrap_err(),
        client.sow(Sow::of("s").keys(["1"]).filter("/a = 1")).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, CommandError::Invalid { .. }), "{error}");
    }
    assert!(server.stats().commands.iter().all(|command| command.kind != MessageKind::Subscribe
        && command.kind != MessageKind::DeltaSubscribe
        && command.kind != MessageKind::Sow));
}
