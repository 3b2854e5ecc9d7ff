//! Values instead of bodies: publishing and reading them, and what becomes of a
//! body that is none.

use std::time::Duration;

use amps_client::codec::{Bson, Codec, Json, MessagePack};
use amps_client::{
    AckType, BookmarkStore, Client, Error, ErrorKind, PublishError, SowDelete, StartAt, Subscribe, SubscriptionEvent,
    TypedEvent, TypedMessage, TypedSubscription,
};
use amps_testserver::{QueueConfig, TestServer};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const SOON: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    symbol: String,
}

fn order(id: u64) -> Order {
    Order { id, symbol: "ACME \"é\"".to_owned() }
}

async fn server() -> TestServer {
    let builder = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id");
    builder.queue(QueueConfig::new("work").max_per_subscription_backlog(10)).start().await.unwrap()
}

async fn connect(server: &TestServer) -> Client {
    Client::builder("me").server(server.uri()).connect().await.unwrap()
}

async fn next<T: DeserializeOwned, C: Codec>(stream: &mut TypedSubscription<T, C>) -> TypedMessage<T> {
    tokio::time::timeout(SOON, stream.next_message()).await.unwrap().unwrap().unwrap()
}

async fn comes_back(client: &Client, codec: impl Codec + Copy) {
    let typed = client.typed(codec);
    let mut orders = typed.subscribe::<Order>("t").await.unwrap();
    typed.publish("t", &order(1)).await.unwrap();
    typed.enqueue("t", &order(2)).unwrap();
    let receipt = typed.enqueue_wait("t", &order(3)).await.unwrap();
    typed.delta_publish("t", &order(4)).await.unwrap();
    receipt.persisted().await.unwrap();
    for id in 1..=4 {
        assert_eq!(next(&mut orders).await.value.unwrap(), order(id), "{codec:?}");
    }
}

#[tokio::test]
async fn values_come_back_in_every_format_whichever_way_they_are_published() {
    let server = server().await;
    let client = connect(&server).await;
    comes_back(&client, Json).await;
    comes_back(&client, MessagePack).await;
    comes_back(&client, Bson).await;
    assert!(client.json().client().is_connected());
}

#[tokio::test]
async fn a_poison_message_does_not_end_the_stream_and_is_discarded_for_good_like_others() {
    let server = server().await;
    let dir = tempfile::tempdir().unwrap();
    let connect = || {
        let client = Client::builder("me").server(server.uri()).bookmark_store(BookmarkStore::sled(dir.path()));
        client.connect()
    };
    let client = connect().await.unwrap();
    client.publish_json("t", &order(1)).await.unwrap();
    client.publish("t", r#"{"id":"two"}"#).await.unwrap();
    client.publish_json("t", &order(3)).await.unwrap();
    let audit = || Subscribe::to("t").bookmark(StartAt::Epoch).id("audit");
    let mut orders = client.subscribe_json::<Order>(audit()).await.unwrap();
    assert_eq!(next(&mut orders).await.value.unwrap(), order(1));
    let poison = next(&mut orders).await;
    let error = poison.value.as_ref().unwrap_err().to_string();
    assert!(error.starts_with("the json body cannot be read: invalid type: string \"two\""), "{error}");
    assert_eq!((poison.data(), poison.topic().as_deref()), (&br#"{"id":"two"}"#[..], Some("t")), "as it came");
    let third = next(&mut orders).await;
    assert_eq!(third.value.as_ref().unwrap(), &order(3));
    orders.discard(&poison);
    orders.discarded().await.unwrap();
    client.close(SOON).await;
    drop((orders, client));

    let client = connect().await.unwrap();
    let mut orders = client.subscribe_json::<Order>(audit()).await.unwrap();
    assert_eq!([next(&mut orders).await.value.unwrap(), next(&mut orders).await.value.unwrap()], [order(1), order(3)]);
}

#[tokio::test]
async fn what_cannot_be_read_of_a_queue_is_acknowledged_like_the_rest() {
    let server = server().await;
    let client = connect(&server).await;
    client.publish("work", "poison").await.unwrap();
    client.publish_json("work", &order(2)).await.unwrap();
    client.flush().await.unwrap();
    let mut work = client.subscribe_json::<Order>(Subscribe::to("work").max_backlog(2).done_on_next()).await.unwrap();
    assert!(next(&mut work).await.value.is_err());
    let second = next(&mut work).await;
    assert_eq!(second.value.as_ref().unwrap(), &order(2));
    assert!(work.ack(&second));
    work.flush_acks().await.unwrap();
    let empty = server.wait_for_queue("work", |depth| depth.available + depth.leased == 0);
    tokio::time::timeout(SOON, empty).await.unwrap();
}

#[tokio::test]
async fn everything_else_is_seen_as_without_types_and_as_a_stream() {
    let server = server().await;
    let client = connect(&server).await;
    client.publish_json("s", &order(1)).await.unwrap();
    client.publish("s", r#"{"id":2}"#).await.unwrap();
    client.flush().await.unwrap();
    let subscribe = Subscribe::sow_and("s").order_by("/id").options("oof").acks(AckType::Completed);
    let mut records = client.subscribe_json::<Order>(subscribe).await.unwrap();
    let mut words = Vec::new();
    while words.len() < 13 {
        // Of the trait, not of the type.
        let event = tokio::time::timeout(SOON, StreamExt::next(&mut records)).await.unwrap().unwrap().unwrap();
        words.push(match event {
            TypedEvent::Message(TypedMessage { value: Ok(order), .. }) => format!("order {}", order.id),
            TypedEvent::Message(poison) => format!("poison {}", String::from_utf8_lossy(poison.data())),
            TypedEvent::OutOfFocus(order) => {
                let id = if order.data().starts_with(br#"{"id":2"#) { 2 } else { 1 };
                format!("gone {id}: {}", order.value.is_ok())
            }
            TypedEvent::Other(SubscriptionEvent::SnapshotBegin) => "begin".to_owned(),
            TypedEvent::Other(SubscriptionEvent::SnapshotEnd) => "end".to_owned(),
            TypedEvent::Other(SubscriptionEvent::Ack(ack)) => format!("{:?}", ack.ack_type().unwrap()),
            TypedEvent::Other(SubscriptionEvent::Reconnected { .. }) => "reconnected".to_owned(),
            other => panic!("{other:?}"),
        });
        match words.len() {
            5 => assert!(server.kick("me")),
            11 => client.sow_delete(SowDelete::by_filter("s", "/id > 0")).await.unwrap(),
            _ => {}
        }
    }
    // The server deletes in an order of its own.
    words[11..].sort();
    let snapshot = ["begin", "order 1", r#"poison {"id":2}"#, "end", "Completed"];
    let expected = [&snapshot[..], &["reconnected"], &snapshot, &["gone 1: true", "gone 2: false"]].concat();
    assert_eq!(words, expected);
}

#[tokio::test]
async fn the_records_of_a_query_are_values_and_end() {
    let server = server().await;
    let client = connect(&server).await;
    for id in 1..=3 {
        client.publish_json("s", &order(id)).await.unwrap();
    }
    client.flush().await.unwrap();
    let mut records = client.json().sow::<Order>("s").await.unwrap();
    let mut ids = Vec::new();
    while let Some(record) = records.next_message().await.unwrap() {
        ids.push(record.value.unwrap().id);
    }
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3]);
    assert!(records.into_inner().next().await.is_none());
}

#[tokio::test]
async fn a_value_that_the_format_cannot_say_is_an_error_and_nothing_is_published() {
    let server = server().await;
    let client = connect(&server).await;
    let mut messages = client.subscribe("t").await.unwrap();
    // JSON has no keys that are lists, BSON no number for a document.
    let odd = std::collections::BTreeMap::from([(vec![1], 2)]);
    let error = client.publish_json("t", &odd).await.unwrap_err();
    assert!(matches!(error, PublishError::Body(_)), "{error}");
    assert_eq!(Error::from(error.clone()).kind(), ErrorKind::Usage);
    assert!(error.to_string().starts_with("the json body cannot be made: "), "{error}");
    assert!(matches!(client.typed(Bson).enqueue("t", &5), Err(PublishError::Body(_))));
    assert_eq!(client.unacknowledged(), 0);
    client.publish("t", "first").await.unwrap();
    let first = tokio::time::timeout(SOON, messages.next_message()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.data(), b"first");
}
