//! The client under every reading of the documents that a server may have, and
//! what a server says about its clients.

use std::time::Duration;

use amps_client::{AckType, Client, Sow, SowDelete, StartAt, Subscribe, Subscription, SubscriptionEvent};
use amps_testserver::{Readings, TestServer};

const SOON: Duration = Duration::from_secs(20);

/// One reading at a time, none, and all of them.
fn readings() -> Vec<Readings> {
    let fields: [fn(&mut Readings) -> &mut bool; 10] = [
        |readings| &mut readings.long_publish,
        |readings| &mut readings.sub_id_for_one,
        |readings| &mut readings.no_sub_id_in_processed,
        |readings| &mut readings.no_command_id_in_positions,
        |readings| &mut readings.no_bookmark_in_logon,
        |readings| &mut readings.stats_before_completed,
        |readings| &mut readings.unsubscribe_ends_all,
        |readings| &mut readings.null_predicates,
        |readings| &mut readings.raw_patterns,
        |readings| &mut readings.escaped_patterns,
    ];
    let mut all = Readings::default();
    let mut list = vec![all];
    for field in fields {
        let mut one = Readings::default();
        *field(&mut one) = true;
        *field(&mut all) = true;
        list.push(one);
    }
    list.push(all);
    list
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
        let builder = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id");
        let server = builder.configure(|config| config.readings = readings).start().await.unwrap();
        let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
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
        drop(live);

        // And again behind a lost connection.
        assert!(server.kick("me"));
        client.publish("s", body(4)).await.unwrap();
        client.flush().await.unwrap();
        assert_eq!(bodies(&mut replay, 1).await, [body(4)], "{readings:?}");
        assert_eq!(client.stray_counts().unexpected, 0, "{readings:?}");
        client.close(SOON).await;
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
            "unsubscribe - - -",
            "disconnect - - -",
        ]
    );
    assert_eq!(bodies(&mut everything, 1).await, [r#"{"id":1}"#], "only who names the topic gets it");
    let refused = watcher.enqueue("/AMPS/ClientStatus", "{}").unwrap().persisted().await;
    assert!(refused.is_err());
}
