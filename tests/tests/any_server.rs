//! What an application does with a server, on any server: one in this process, or
//! the one that `AMPS_TEST_SERVER` names.
//!
//! `AMPS_TEST_TOPICS` names its topics as `amps conformance --topics` does; without it they have
//! the suite's default names (docs/conformance.md has a configuration). Where it
//! names topics but no queue, there is none.
//!
//! The server may have a history, and others may use it: each test has a mark of
//! its own in what it publishes, receives only that, and removes its records and its
//! queue's messages again.

use std::collections::BTreeSet;
use std::env;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amps_client::{
    BookmarkList, BookmarkStore, Client, ClientBuilder, Command, CommandKind, Field, Message, MessageKind,
    PublishStore, Sow, SowDelete, StartAt, Subscribe, Subscription, SubscriptionEvent,
};
use amps_conformance::Topics;
use amps_testserver::{QueueConfig, TestServer};
use serde_json::{Value, json};

/// For one test as a whole.
const LIMIT: Duration = Duration::from_secs(60);

/// A server, and what is this test's own there.
struct Bench {
    uri: String,
    topics: Topics,
    has_queue: bool,
    mark: String,
    /// Ends with the test.
    _own: Option<TestServer>,
}

impl Bench {
    async fn new(test: &str) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mark = format!("{test}-{}-{}", std::process::id(), since.as_nanos());
        let named = env::var("AMPS_TEST_TOPICS").ok();
        let topics: Topics = named.as_deref().unwrap_or_default().parse().unwrap();
        match env::var("AMPS_TEST_SERVER") {
            Ok(uri) => {
                let has_queue = named.is_none_or(|named| named.contains("queue="));
                Self { uri, topics, has_queue, mark, _own: None }
            }
            Err(_) => {
                let server = embedded(&topics).await;
                Self { uri: server.uri(), topics, has_queue: true, mark, _own: Some(server) }
            }
        }
    }

    /// A client whose name nobody else has.
    fn builder(&self, name: &str) -> ClientBuilder {
        let builder = Client::builder(format!("{name}-{}", self.mark)).server(self.uri.as_str());
        builder.ack_conflation(Duration::from_millis(50)).connect_within(LIMIT / 2)
    }

    async fn client(&self, name: &str) -> Client {
        let connected = self.builder(name).connect().await;
        connected.unwrap_or_else(|error| panic!("{}: {error}", amps_client::mask(&self.uri)))
    }

    /// A message of this test, with a number and, for topics with a SOW, a key.
    fn body(&self, number: u64) -> String {
        self.body_with(number, json!({ "side": "buy" }))
    }

    fn body_with(&self, number: u64, more: Value) -> String {
        let mut body = json!({ "mark": self.mark, "number": number });
        body[&self.topics.sow_key] = format!("{}-{number}", self.mark).into();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    }

    /// What finds only this test's messages.
    fn filter(&self) -> String {
        format!("/mark = '{}'", self.mark)
    }

    /// The number in a message, which has to be this test's.
    fn number(&self, message: &Message) -> u64 {
        let body: Value = serde_json::from_slice(message.data()).unwrap();
        assert_eq!(body["mark"], self.mark.as_str());
        body["number"].as_u64().unwrap()
    }

    async fn numbers(&self, stream: &mut Subscription, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            numbers.push(self.number(&next(stream).await));
        }
        numbers
    }

    async fn publish(&self, client: &Client, topic: &str, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            client.publish(topic, self.body(number)).await.unwrap();
        }
        client.flush().await.unwrap();
    }

    async fn remove_records(&self, client: &Client) {
        client.sow_delete(SowDelete::by_filter(&self.topics.sow, &self.filter())).await.unwrap();
        client.flush().await.unwrap();
    }
}

/// A server with what the suite of conformance wants.
async fn embedded(topics: &Topics) -> TestServer {
    let logged = [&topics.sow, &topics.log, &topics.queue];
    let builder = TestServer::builder().sow(topics.sow.as_str(), format!("/{}", topics.sow_key));
    let builder = builder.queue(QueueConfig::new(topics.queue.as_str()).max_per_subscription_backlog(10));
    let builder = logged.iter().fold(builder, |builder, topic| builder.topic_log(format!("^{topic}$")));
    builder.start().await.unwrap()
}

async fn next(stream: &mut Subscription) -> Message {
    stream.next_message().await.unwrap().expect("the stream goes on")
}

async fn within_limit(story: impl Future<Output = ()>) {
    tokio::time::timeout(LIMIT, story).await.expect("the server answers in time");
}

/// Covers 1#2.
#[tokio::test]
async fn what_is_published_is_acknowledged_and_read_again_from_a_bookmark() {
    within_limit(async {
        let bench = Bench::new("log").await;
        let (writer, reader) = (bench.client("writer").await, bench.client("reader").await);
        let orders = || Subscribe::to(bench.topics.log.as_str()).filter(bench.filter());
        let mut live = reader.subscribe(orders().bookmark(StartAt::Now)).await.unwrap();

        let receipt = writer.enqueue(&bench.topics.log, bench.body(0)).unwrap();
        receipt.persisted().await.unwrap();
        bench.publish(&writer, &bench.topics.log, 1..20).await;
        assert_eq!(writer.unacknowledged(), 0);

        let first = next(&mut live).await;
        assert_eq!(bench.number(&first), 0);
        assert_eq!(bench.numbers(&mut live, 19).await, Vec::from_iter(1..20));

        let behind_the_first = first.bookmark().expect("the topic is logged");
        let other = bench.client("other").await;
        let behind_the_first = StartAt::Bookmarks(BookmarkList::from_iter([behind_the_first]));
        let mut again = other.subscribe(orders().bookmark(behind_the_first)).await.unwrap();
        assert_eq!(bench.numbers(&mut again, 19).await, Vec::from_iter(1..20));
    })
    .await;
}

#[tokio::test]
async fn a_new_process_on_the_same_stores_goes_on_where_the_last_one_was() {
    within_limit(async {
        let bench = Bench::new("life").await;
        let dir = tempfile::tempdir().unwrap();
        let life = || {
            let builder = bench.builder("desk").publish_store(PublishStore::sled(dir.path().join("publish")));
            builder.bookmark_store(BookmarkStore::sled(dir.path().join("bookmarks"))).connect()
        };
        let orders = || {
            let orders = Subscribe::to(bench.topics.log.as_str()).filter(bench.filter());
            orders.bookmark(StartAt::Now).id("orders")
        };
        let desk = life().await.unwrap();
        let mut stream = desk.subscribe(orders()).await.unwrap();
        bench.publish(&desk, &bench.topics.log, 0..10).await;
        for number in 0..4 {
            let message = next(&mut stream).await;
            assert_eq!(bench.number(&message), number);
            stream.discard(&message);
        }
        stream.discarded().await.unwrap();
        drop(stream);
        assert_eq!(desk.close(LIMIT / 4).await.unacknowledged, 0);

        let desk = life().await.unwrap();
        bench.publish(&desk, &bench.topics.log, 10..15).await;
        let mut stream = desk.subscribe(orders()).await.unwrap();
        assert_eq!(bench.numbers(&mut stream, 11).await, Vec::from_iter(4..15));
    })
    .await;
}

#[tokio::test]
async fn a_query_has_every_record_once_and_a_count_says_how_many() {
    within_limit(async {
        let bench = Bench::new("query").await;
        let client = bench.client("client").await;
        let records = || Sow::of(bench.topics.sow.as_str()).filter(bench.filter());
        assert_eq!(client.count(records()).await.unwrap(), 0);
        bench.publish(&client, &bench.topics.sow, 0..25).await;
        // The same records again: a topic with a SOW has the last of each key.
        bench.publish(&client, &bench.topics.sow, 0..5).await;
        assert_eq!(client.count(records()).await.unwrap(), 25);

        let mut answer = client.sow(records().batch_size(10)).await.unwrap();
        let mut numbers = BTreeSet::new();
        assert!(matches!(answer.next().await, Some(Ok(SubscriptionEvent::SnapshotBegin))));
        loop {
            match answer.next().await.expect("an end of the records").unwrap() {
                SubscriptionEvent::Message(record) => assert!(numbers.insert(bench.number(&record))),
                SubscriptionEvent::SnapshotEnd => break,
                other => panic!("{other:?} among the records"),
            }
        }
        assert!(answer.next().await.is_none());
        assert_eq!(numbers, BTreeSet::from_iter(0..25));

        bench.remove_records(&client).await;
        assert_eq!(client.count(records()).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn records_are_followed_by_what_changes_with_nothing_missed_in_between() {
    within_limit(async {
        let bench = Bench::new("follow").await;
        let client = bench.client("client").await;
        bench.publish(&client, &bench.topics.sow, 0..3).await;
        let view = Subscribe::sow_and(bench.topics.sow.as_str()).filter(bench.filter()).options("oof");
        let mut view = client.subscribe(view).await.unwrap();
        let (mut records, mut inside) = (BTreeSet::new(), false);
        loop {
            match view.next().await.expect("the stream goes on").unwrap() {
                SubscriptionEvent::SnapshotBegin => inside = true,
                SubscriptionEvent::Message(record) if inside => assert!(records.insert(bench.number(&record))),
                SubscriptionEvent::SnapshotEnd => break,
                other => panic!("{other:?} among the records"),
            }
        }
        assert_eq!(records, BTreeSet::from_iter(0..3));

        bench.publish(&client, &bench.topics.sow, [3, 1]).await;
        assert_eq!(bench.numbers(&mut view, 2).await, [3, 1]);
        let delete = format!("{} AND /number = 1", bench.filter());
        client.sow_delete(SowDelete::by_filter(&bench.topics.sow, &delete)).await.unwrap();
        let gone = next(&mut view).await;
        assert_eq!(gone.kind(), MessageKind::Oof, "{gone:?}");
        drop(view);
        bench.remove_records(&client).await;
    })
    .await;
}

#[tokio::test]
async fn a_filter_lets_through_what_matches_and_nothing_else() {
    within_limit(async {
        let bench = Bench::new("filter").await;
        let client = bench.client("client").await;
        let topic = format!("{}-filter", bench.topics.plain);
        let matching = format!("{} AND (/number >= 5 OR /side IN ('sell','short'))", bench.filter());
        let mut matched = client.subscribe(Subscribe::to(topic.as_str()).filter(matching)).await.unwrap();
        for number in 0..10 {
            let side = if number == 2 { "sell" } else { "buy" };
            client.publish(&topic, bench.body_with(number, json!({ "side": side }))).await.unwrap();
        }
        assert_eq!(bench.numbers(&mut matched, 6).await, [2, 5, 6, 7, 8, 9]);
    })
    .await;
}

#[tokio::test]
async fn a_delta_is_merged_and_a_subscriber_to_deltas_gets_what_changed() {
    within_limit(async {
        let bench = Bench::new("delta").await;
        let client = bench.client("client").await;
        let whole = bench.body_with(1, json!({ "side": "buy", "price": 10 }));
        client.publish(&bench.topics.sow, whole).await.unwrap();
        client.flush().await.unwrap();
        let deltas = Subscribe::deltas_of(bench.topics.sow.as_str()).filter(bench.filter());
        let mut deltas = client.subscribe(deltas).await.unwrap();

        let changed = bench.body_with(1, json!({ "price": 11 }));
        client.delta_publish(&bench.topics.sow, changed).await.unwrap();
        client.flush().await.unwrap();
        let delta: Value = serde_json::from_slice(next(&mut deltas).await.data()).unwrap();
        assert_eq!(delta["price"], 11);
        assert_eq!(delta.get("side"), None, "only what changed: {delta}");

        let records = Sow::of(bench.topics.sow.as_str()).filter(bench.filter());
        let record = next(&mut client.sow(records).await.unwrap()).await;
        let record: Value = serde_json::from_slice(record.data()).unwrap();
        assert_eq!((&record["price"], &record["side"]), (&json!(11), &json!("buy")));
        drop(deltas);
        bench.remove_records(&client).await;
    })
    .await;
}

#[tokio::test]
async fn a_message_of_a_queue_is_done_once_by_whoever_acknowledges_it() {
    within_limit(async {
        let bench = Bench::new("queue").await;
        if !bench.has_queue {
            return println!("AMPS_TEST_TOPICS names no queue");
        }
        let work = || Subscribe::to(bench.topics.queue.as_str()).filter(bench.filter()).max_backlog(2);
        let publisher = bench.client("publisher").await;
        bench.publish(&publisher, &bench.topics.queue, 0..6).await;
        let consumer = bench.client("consumer").await;
        let mut stream = consumer.subscribe(work()).await.unwrap();
        for number in 0..6 {
            let message = next(&mut stream).await;
            assert_eq!(bench.number(&message), number);
            assert!(stream.ack(&message), "it is leased");
        }
        stream.flush_acks().await.unwrap();
        drop(stream);

        // What was done does not come again: the first that comes is new.
        let mut stream = consumer.subscribe(work()).await.unwrap();
        bench.publish(&publisher, &bench.topics.queue, [6]).await;
        let message = next(&mut stream).await;
        assert_eq!(bench.number(&message), 6);
        stream.ack(&message);
        stream.flush_acks().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_command_put_together_by_hand_is_answered_as_one_by_name() {
    within_limit(async {
        let bench = Bench::new("command").await;
        let client = bench.client("client").await;
        bench.publish(&client, &bench.topics.sow, 0..3).await;
        let query = Command::new(CommandKind::Sow).topic(&bench.topics.sow).text(Field::Filter, bench.filter());
        let mut answer = client.execute(query).await.unwrap().stream().expect("a query has a stream");
        let numbers = BTreeSet::from_iter(bench.numbers(&mut answer, 3).await);
        assert_eq!(numbers, BTreeSet::from_iter(0..3));
        assert!(answer.next_message().await.unwrap().is_none());
        bench.remove_records(&client).await;
    })
    .await;
}
