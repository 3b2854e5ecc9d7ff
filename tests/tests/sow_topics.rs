//! What a SOW topic keeps: keys that publishers give, records that expire, what
//! there was before, and what is deleted.

use std::time::Duration;

use amps_client::{
    Client, Field, Publish, PublishError, PublishStore, Reason, Sow, SowDelete, StartAt, Subscribe, SubscriptionEvent,
};
use amps_core::message::MessageKind;
use amps_testserver::{SowConfig, TestServer, TestServerBuilder};

const SOON: Duration = Duration::from_secs(20);

fn builder() -> TestServerBuilder {
    TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("w", "/id").sow("w2", "/id")
}

async fn with_records(server: &TestServer) -> Client {
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    for id in 1..=6 {
        client.publish("w", format!(r#"{{"id":{id}}}"#)).await.unwrap();
    }
    client.publish("w2", r#"{"id":1}"#).await.unwrap();
    client.flush().await.unwrap();
    client
}

/// The records of a query: key and body, sorted by body.
async fn records(client: &Client, query: Sow) -> Vec<(String, String)> {
    let mut records = client.sow(query).await.unwrap();
    let mut found = Vec::new();
    while let Some(record) = tokio::time::timeout(SOON, records.next_message()).await.unwrap().unwrap() {
        let body = String::from_utf8(record.data().to_vec()).unwrap();
        found.push((body, record.sow_key().unwrap().into_owned()));
    }
    found.sort();
    found
}

/// Covers 7.3#1.
#[tokio::test]
async fn each_way_to_delete_tells_how_many_records_it_deleted() {
    let server = builder().start().await.unwrap();
    let client = with_records(&server).await;
    let keys: Vec<_> = records(&client, Sow::of("w")).await.into_iter().map(|(_, key)| key).collect();
    for (delete, records, matches, topic_matches) in [
        (SowDelete::by_keys("w", [&keys[0], &keys[1]]), 2, 2, 6),
        (SowDelete::by_data("w", r#"{"id":3,"more":1}"#), 1, 1, 4),
        (SowDelete::by_data("w", r#"{"id":3}"#), 0, 0, 3),
        (SowDelete::by_filter("w", "/id > 5"), 1, 1, 3),
        (SowDelete::by_filter("^w", "1=1"), 3, 3, 3),
    ] {
        let described = format!("{delete:?}");
        let deleted = tokio::time::timeout(SOON, client.sow_delete_counted(delete)).await.unwrap().unwrap().unwrap();
        let counts = (deleted.records, deleted.matches, deleted.topic_matches);
        assert_eq!(counts, (records, matches, topic_matches), "{described}");
    }
    assert_eq!(client.count("^w").await.unwrap(), 0);
    assert_eq!(client.stray_counts().unexpected, 0);
}

#[tokio::test]
async fn without_a_publish_store_deletions_are_counted_too() {
    let server = builder().start().await.unwrap();
    with_records(&server).await;
    let client = Client::builder("other").server(server.uri()).publish_store(PublishStore::None);
    let client = client.connect().await.unwrap();
    let deleted = client.sow_delete_counted(SowDelete::by_filter("w", "/id > 4")).await.unwrap().unwrap();
    assert_eq!((deleted.records, deleted.topic_matches), (2, 6));
    let error = client.sow_delete_counted(SowDelete::by_filter("nothing", "1=1")).await.unwrap_err();
    assert!(matches!(error, PublishError::Refused(Reason::InvalidTopic)), "{error}");
}

#[tokio::test]
async fn a_deletion_that_is_refused_is_an_error() {
    let server = builder().start().await.unwrap();
    let client = with_records(&server).await;
    for (delete, reason) in [
        (SowDelete::by_filter("nothing", "1=1"), Reason::InvalidTopic),
        (SowDelete::by_filter("w", "/id >"), Reason::BadFilter),
    ] {
        let error = tokio::time::timeout(SOON, client.sow_delete_counted(delete)).await.unwrap().unwrap_err();
        assert!(matches!(&error, PublishError::Refused(refused) if *refused == reason), "{error}");
    }
    assert_eq!(client.count("w").await.unwrap(), 6);
}

#[tokio::test]
async fn a_count_that_went_with_its_connection_is_unknown_and_the_records_are_gone_all_the_same() {
    let server = builder().start().await.unwrap();
    let client = with_records(&server).await;
    server.faults(|faults| faults.ignore(MessageKind::SowDelete, true));
    let deleting = client.sow_delete_counted(SowDelete::by_filter("w", "/id > 2"));
    let cut = async {
        server.wait_for(|stats| stats.commands.iter().any(|command| command.kind == MessageKind::SowDelete)).await;
        server.faults(|faults| faults.ignore(MessageKind::SowDelete, false));
        assert!(server.kick("me"));
    };
    let (deleted, ()) = tokio::time::timeout(SOON, async { tokio::join!(deleting, cut) }).await.unwrap();
    assert_eq!(deleted.unwrap(), None);
    client.flush().await.unwrap();
    assert_eq!(client.count("w").await.unwrap(), 2);
    // What the deletion counted when it was sent again is nobody's.
    assert_eq!(client.stray_counts().unexpected, 0);
}

/// Without a store it is not sent again: nobody may take it for done.
#[tokio::test]
async fn without_a_publish_store_a_deletion_that_went_with_its_connection_is_an_error() {
    let server = builder().start().await.unwrap();
    let reader = with_records(&server).await;
    let client = Client::builder("other").server(server.uri()).publish_store(PublishStore::None);
    let client = client.connect().await.unwrap();
    server.faults(|faults| faults.ignore(MessageKind::SowDelete, true));
    let deleting = client.sow_delete_counted(SowDelete::by_filter("w", "1=1"));
    let cut = async {
        server.wait_for(|stats| stats.commands.iter().any(|command| command.kind == MessageKind::SowDelete)).await;
        assert!(server.kick("other"));
    };
    let (deleted, ()) = tokio::time::timeout(SOON, async { tokio::join!(deleting, cut) }).await.unwrap();
    assert!(matches!(deleted, Err(PublishError::Disconnected { .. })), "{deleted:?}");
    assert_eq!(reader.count("w").await.unwrap(), 6);
}

#[tokio::test]
async fn a_publisher_gives_the_keys_of_a_topic_that_has_none_in_its_messages() {
    let server = builder().sow_topic(SowConfig::with_given_keys("s")).start().await.unwrap();
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    for (key, body) in [("a+b", "one"), ("c", "two"), ("a+b", "three")] {
        client.write(Publish::new("s", body).sow_key(key)).await.unwrap();
    }
    client.flush().await.unwrap();
    let pair = |body: &str, key: &str| (body.to_owned(), key.to_owned());
    assert_eq!(records(&client, Sow::of("s")).await, [pair("three", "a+b"), pair("two", "c")]);
    assert_eq!(records(&client, Sow::of("s").keys(["a+b"])).await, [pair("three", "a+b")]);
    let deleted = client.sow_delete_counted(SowDelete::by_keys("s", ["a+b", "none"])).await.unwrap().unwrap();
    assert_eq!(deleted.records, 1);
    let receipt = client.enqueue("s", "without a key").unwrap();
    let refused = receipt.persisted().await.unwrap_err();
    assert!(matches!(&refused, PublishError::Refused(reason) if reason.to_string().contains("sow key")), "{refused}");
}

#[tokio::test]
async fn a_subscriber_is_told_of_a_record_that_expired() {
    let sow = SowConfig::new("s", "/id").expiration(Duration::ZERO);
    let server = builder().sow_topic(sow).start().await.unwrap();
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    let mut updates = client.subscribe(Subscribe::sow_and("s").options("oof")).await.unwrap();
    client.write(Publish::new("s", r#"{"id":1}"#).expiration(Duration::from_secs(1))).await.unwrap();
    client.publish("s", r#"{"id":2}"#).await.unwrap();
    let gone = loop {
        let event = tokio::time::timeout(SOON, updates.next()).await.unwrap().unwrap().unwrap();
        if let SubscriptionEvent::Message(message) = event
            && message.kind() == MessageKind::Oof
        {
            break message;
        }
    };
    assert_eq!((gone.text(Field::Reason).as_deref(), gone.data()), (Some("expired"), br#"{"id":1}"#.as_slice()));
    assert_eq!(client.count("s").await.unwrap(), 1);
}

#[tokio::test]
async fn a_query_of_the_past_and_a_subscription_from_it() {
    let history = SowConfig::new("s", "/id").history(Duration::from_secs(3_600), Duration::ZERO);
    let server = builder().sow_topic(history).start().await.unwrap();
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    let mut replay = client.subscribe(Subscribe::to("s").bookmark(StartAt::Epoch)).await.unwrap();
    let body = |id: u64, v: u64| format!(r#"{{"id":{id},"v":{v}}}"#);
    for (id, v) in [(1, 1), (2, 2), (1, 3)] {
        client.publish("s", body(id, v)).await.unwrap();
    }
    let mut bookmarks = Vec::new();
    while bookmarks.len() < 3 {
        let message = tokio::time::timeout(SOON, replay.next_message()).await.unwrap().unwrap().unwrap();
        bookmarks.push(message.bookmark().unwrap());
    }
    let then = || StartAt::from(bookmarks[1]);
    let bodies = |records: Vec<(String, String)>| records.into_iter().map(|(body, _)| body).collect::<Vec<_>>();
    assert_eq!(bodies(records(&client, Sow::of("s").at(then())).await), [body(1, 1), body(2, 2)]);
    assert_eq!(bodies(records(&client, Sow::of("s")).await), [body(1, 3), body(2, 2)]);
    let long_ago: StartAt = "20200101T000000".parse().unwrap();
    assert_eq!(bodies(records(&client, Sow::of("s").at(long_ago)).await), [""; 0]);

    let mut both = client.subscribe(Subscribe::sow_and("s").bookmark(then()).id("both")).await.unwrap();
    let mut got = Vec::new();
    while got.len() < 3 {
        let message = tokio::time::timeout(SOON, both.next_message()).await.unwrap().unwrap().unwrap();
        got.push(String::from_utf8(message.data().to_vec()).unwrap());
    }
    got[..2].sort();
    assert_eq!(got, [body(1, 1), body(2, 2), body(1, 3)]);
}
