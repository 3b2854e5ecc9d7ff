//! The client under every reading of the documents that a server may have, and
//! what a server says about its clients.

use std::time::Duration;

use amps_client::{
    AckType, Client, ConnectionState, Event, Sow, SowDelete, StartAt, Subscribe, Subscription, SubscriptionEvent,
};
use amps_core::Reason;
use amps_testserver::{Config, Link, QueueConfig, QueueDepth, Readings, TestServer};

const SOON: Duration = Duration::from_secs(20);

/// One reading at a time, none, and all of them.
fn readings() -> Vec<Readings> {
    let each = Readings::each().map(|(_, readings)| readings);
    [Readings::default(), Readings::all_others()].into_iter().chain(each).collect()
}

async fn bodies(stream: &mut Subscription, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let message = tokio::time::timeout(SOON, stream.next_message()).await.unwrap().unwrap().unwrap();
        bodies.push(String::from_utf8(message.data().to_vec()).unwrap());
    }
    bodies
}

#[tokio::test]
async fn the_client_works_the_same_under_every_reading() {
    for readings in readings() {
        let queue = QueueConfig::new("q").lease(SOON).max_per_subscription_backlog(2);
        let builder = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id").queue(queue);
        let server = builder.configure(|config| config.readings = readings).start().await.unwrap();
        let client = Client::builder("me").server(server.uri()).heartbeat(SOON, 2 * SOON).connect().await.unwrap();
        let mut live = client.subscribe(Subscribe::to("s")).await.unwrap();
        let mut other = client.subscribe(Subscribe::to("s").filter("/id = 2")).await.unwrap();
        let mut replay = client.subscribe(Subscribe::to("s").bookmark(StartAt::Epoch)).await.unwrap();
        let mut records = client.subscribe(Subscribe::sow_and("s").options("oof")).await.unwrap();
        let body = |id: u64| format!(r#"{{"id":{id}}}"#);
        for id in 1..=3 {
            client.publish("s", body(id)).await.unwrap();
        }
        client.flush().await.unwrap();
        let all: Vec<_> = (1..=3).map(body).collect();
        for stream in [&mut live, &mut replay, &mut records] {
            assert_eq!(bodies(stream, 3).await, all, "{readings:?}");
        }
        assert_eq!(bodies(&mut other, 1).await, [body(2)], "{readings:?}");
        assert_eq!(client.count("s").await.unwrap(), 3, "{readings:?}");
        let mut query = client.sow(Sow::of("s").acks(AckType::Stats | AckType::Completed)).await.unwrap();
        let mut acks = 0;
        while let Some(event) = tokio::time::timeout(SOON, query.next()).await.unwrap() {
            acks += usize::from(matches!(event.unwrap(), SubscriptionEvent::Ack(_)));
        }
        assert_eq!(acks, 2, "{readings:?}");
        let deleted = client.sow_delete_counted(SowDelete::by_filter("s", "/id = 1")).await.unwrap().unwrap();
        assert_eq!(deleted.records, 1, "{readings:?}");
        let records = client.sow(Sow::of("s").options("timestamp").order_by("/id")).await.unwrap();
        let records: Vec<_> = with_keys(records).await;
        assert_eq!(records.iter().map(|(_, body)| body.clone()).collect::<Vec<_>>(), all[1..], "{readings:?}");
        assert_ne!(records[0].0, records[1].0, "{readings:?}");
        drop(live);

        // A queue: what is granted, leased, acknowledged and given back.
        let mut work = client.subscribe(Subscribe::to("q").max_backlog(9)).await.unwrap();
        assert_eq!(work.backlog(), Some(2), "{readings:?}");
        for id in 5..=7 {
            client.publish("q", body(id)).await.unwrap();
        }
        for id in 5..=7 {
            let message = tokio::time::timeout(SOON, work.next_message()).await.unwrap().unwrap().unwrap();
            assert_eq!(message.data(), body(id).as_bytes(), "{readings:?}");
            assert!(message.lease_period().is_some() && work.ack(&message), "{readings:?}");
        }
        work.flush_acks().await.unwrap();
        let empty = server.wait_for_queue("q", |depth| depth == QueueDepth::default());
        tokio::time::timeout(SOON, empty).await.unwrap();

        // What is refused is told once, and does not come again.
        let refused = client.enqueue("s", "{}").unwrap().persisted().await;
        assert!(refused.is_err(), "{readings:?}");

        // And again behind a lost connection.
        assert!(server.kick("me"));
        client.publish("s", body(4)).await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(bodies(&mut replay, 1).await, [body(4)], "{readings:?}");
        assert_eq!(client.stray_counts().unexpected, 0, "{readings:?}");
        client.close(SOON).await;
    }
}

/// Each record's key and body.
async fn with_keys(mut query: Subscription) -> Vec<(String, String)> {
    let mut records = Vec::new();
    while let Some(message) = tokio::time::timeout(SOON, query.next_message()).await.unwrap().unwrap() {
        assert!(message.timestamp().is_some());
        let key = message.sow_key().unwrap().into_owned();
        records.push((key, String::from_utf8(message.data().to_vec()).unwrap()));
    }
    records
}

/// What a server knows already it drops, and says so in its way: the messages are
/// settled, once.
#[tokio::test]
async fn messages_that_are_sent_twice_are_settled_under_every_reading() {
    for readings in readings() {
        let nowhere = "tcp://127.0.0.1:9/amps/json";
        let builder = TestServer::builder().ack_conflation(Duration::from_millis(5)).peer(nowhere, Link::Sync);
        let server = builder.configure(|config| config.readings = readings).start().await.unwrap();
        let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
        let mut events = client.events();
        for id in 1..=3 {
            client.publish("t", format!("{id}")).await.unwrap();
        }
        tokio::time::timeout(SOON, server.wait_for(|stats| stats.logged == 3)).await.unwrap();
        // Only the lost peer has not got them: the next connection sends them again.
        assert!(server.kick("me"));
        tokio::time::timeout(SOON, server.wait_for(|stats| stats.duplicates_dropped() == 3)).await.unwrap();
        if !readings.duplicates_fail {
            assert!(server.downgrade(nowhere));
        }
        client.flush().await.unwrap();
        assert_eq!(server.log().len(), 3, "{readings:?}");
        client.close(SOON).await;
        let mut failed = 0;
        loop {
            match tokio::time::timeout(SOON, events.next()).await.unwrap() {
                Some(Event::FailedWrite(write)) => {
                    assert_eq!(write.reason, Reason::Duplicate, "{readings:?}");
                    failed += 1;
                }
                Some(Event::State(change)) if change.state == ConnectionState::Shutdown => break,
                Some(_) => {}
                None => break,
            }
        }
        assert_eq!(failed, if readings.duplicates_fail { 3 } else { 0 }, "{readings:?}");
    }
}

/// Whether a refusal is answered or not, the attempt fails.
#[tokio::test]
async fn a_refused_logon_fails_the_attempt_under_both_readings() {
    for silent in [false, true] {
        let change = |config: &mut Config| config.readings.silent_refusal_of_logon = silent;
        let server = TestServer::builder().configure(change).start().await.unwrap();
        server.faults(|faults| faults.check_credentials(|_, password| password == "right"));
        let uri = |password: &str| server.uri().replace("tcp://", &format!("tcp://me:{password}@"));
        let client = Client::builder("me").server(uri("wrong")).connect_within(Duration::from_secs(2));
        let error = client.connect().await.unwrap_err().to_string();
        assert!(!error.contains("wrong"), "{error}");
        assert!(silent || error.contains("auth failure"), "{error}");
        assert!(Client::builder("me").server(uri("right")).connect().await.is_ok());
    }
}

#[tokio::test]
async fn a_server_tells_what_its_clients_do() {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id").start().await.unwrap();
    let watcher = Client::builder("watcher").server(server.uri()).connect().await.unwrap();
    let mut everything = watcher.subscribe(Subscribe::to(".*")).await.unwrap();
    let status = Subscribe::to("/AMPS/ClientStatus").filter("/ClientStatus/client_name = 'me'");
    let mut events = watcher.subscribe(status).await.unwrap();
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    let orders = client.subscribe(Subscribe::to("orders").filter("/qty > 5")).await.unwrap();
    client.sow(Sow::of("s").options("timestamp")).await.unwrap();
    client.sow_delete(SowDelete::by_filter("s", "1=1")).await.unwrap();
    client.publish("s", r#"{"id":1}"#).await.unwrap();
    client.flush().await.unwrap();
    drop(orders);
    client.close(SOON).await;
    let mut told = Vec::new();
    for body in bodies(&mut events, 6).await {
        let status: serde_json::Value = serde_json::from_str(&body).unwrap();
        let field = |name: &str| status["ClientStatus"][name].as_str().unwrap_or("-").to_owned();
        assert_eq!(field("client_name"), "me");
        assert!(field("timestamp").ends_with('Z'));
        told.push([field("event"), field("topic"), field("filter"), field("options")].join(" "));
    }
    assert_eq!(
        told,
        [
            "logon - - -",
            "subscribe orders /qty > 5 -",
            "sow s - timestamp",
            "sow_delete s 1=1 -",
            "unsubscribe orders /qty > 5 -",
            "disconnect - - -",
        ]
    );
    assert_eq!(bodies(&mut everything, 1).await, [r#"{"id":1}"#], "only who names the topic gets it");
    let refused = watcher.enqueue("/AMPS/ClientStatus", "{}").unwrap().persisted().await;
    assert!(refused.is_err());
}
