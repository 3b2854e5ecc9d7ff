//! Updates that the server merges, slows down, or makes something else of:
//! conflation, replays with a rate, pages, aggregates.

use std::time::{Duration, Instant};

use amps_client::{
    Client, CommandOptions, Conflation, Rate, Replacement, Sow, StartAt, Subscribe, Subscription, SubscriptionEvent,
};
use amps_core::message::MessageKind;
use amps_testserver::TestServer;

const SOON: Duration = Duration::from_secs(20);

async fn server_and_client() -> (TestServer, Client) {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id").start().await.unwrap();
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    (server, client)
}

fn body(id: u64, v: u64) -> String {
    format!(r#"{{"id":{id},"v":{v}}}"#)
}

/// The next so many messages: `-` for one out of focus, and the body.
async fn take(stream: &mut Subscription, count: usize) -> Vec<String> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let event = tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
        if let SubscriptionEvent::Message(message) = event {
            let out = if message.kind() == MessageKind::Oof { "-" } else { "" };
            taken.push(format!("{out}{}", String::from_utf8_lossy(message.data())));
        }
    }
    taken
}

#[tokio::test]
async fn the_server_sends_the_last_update_of_an_interval() {
    let (_server, client) = server_and_client().await;
    let options = CommandOptions::new().conflation(Conflation::Interval(Duration::from_millis(100)));
    let mut updates = client.subscribe(Subscribe::to("s").options(options)).await.unwrap();
    let by_field = CommandOptions::new().conflation(Conflation::Auto).conflation_key(["/id"]);
    let mut plain = client.subscribe(Subscribe::to("plain").options(by_field)).await.unwrap();
    for v in 0..20 {
        client.publish("s", body(1, v)).await.unwrap();
        client.publish("plain", body(1, v)).await.unwrap();
    }
    // Of each interval one, and the last of all of them.
    let mut got = 1;
    while take(&mut updates, 1).await != [body(1, 19)] {
        got += 1;
    }
    assert!(got < 20, "nothing was conflated");
    let got = take(&mut plain, 1).await;
    assert!(got[0].contains(r#""id":1"#), "{got:?}");
}

#[tokio::test]
async fn a_replay_goes_no_faster_than_its_rate() {
    let (_server, client) = server_and_client().await;
    for v in 0..5 {
        client.publish("t", body(1, v)).await.unwrap();
    }
    client.flush().await.unwrap();
    let options = CommandOptions::new().rate(Rate::Messages(20));
    let start = Instant::now();
    let mut replay = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch).options(options)).await.unwrap();
    assert_eq!(take(&mut replay, 5).await.len(), 5);
    assert!(start.elapsed() >= Duration::from_millis(199), "{:?} for four pauses of 50 ms", start.elapsed());
}

#[tokio::test]
async fn a_page_moves_with_its_records_and_comes_again_after_a_failover() {
    let (server, client) = server_and_client().await;
    for id in 0..6 {
        client.publish("s", body(id, id)).await.unwrap();
    }
    client.flush().await.unwrap();
    let page = |skip_n| CommandOptions::new().top_n(2).skip_n(skip_n).oof();
    let subscribe = Subscribe::sow_and("s").order_by("/v DESC").options(page(1));
    let mut records = client.subscribe(subscribe).await.unwrap();
    assert_eq!(take(&mut records, 2).await, [body(4, 4), body(3, 3)]);
    client.publish("s", body(0, 9)).await.unwrap();
    assert_eq!(take(&mut records, 2).await, [format!("-{}", body(3, 3)), body(5, 5)]);
    records.handle().replace(Replacement::new().options(page(3))).await.unwrap();
    let mut moved = take(&mut records, 4).await;
    moved.sort();
    assert_eq!(moved, [format!("-{}", body(4, 4)), format!("-{}", body(5, 5)), body(2, 2), body(3, 3)]);
    assert!(server.kick("me"));
    assert_eq!(take(&mut records, 2).await, [body(3, 3), body(2, 2)], "the whole page, by its last options");
}

#[tokio::test]
async fn aggregates_are_queried_and_followed() {
    let (_server, client) = server_and_client().await;
    let record = |id: u64, kind: &str, v: u64| format!(r#"{{"id":{id},"kind":"{kind}","v":{v}}}"#);
    for (id, kind, v) in [(1, "a", 1), (2, "a", 2), (3, "b", 5)] {
        client.publish("s", record(id, kind, v)).await.unwrap();
    }
    client.flush().await.unwrap();
    let totals = || {
        CommandOptions::new()
            .projection(["/kind", "SUM(/v) AS /sum", "AVG(/v) AS /mean", "MIN(/v) AS /min", "MAX(/v) AS /max"])
            .grouping(["/kind"])
    };
    let mut groups = client.sow(Sow::of("s").order_by("/kind").options(totals())).await.unwrap();
    let both =
        [r#"{"kind":"a","max":2,"mean":1.5,"min":1,"sum":3}"#, r#"{"kind":"b","max":5,"mean":5.0,"min":5,"sum":5}"#];
    assert_eq!(take(&mut groups, 2).await, both);
    let mut groups = client.subscribe(Subscribe::sow_and("s").order_by("/kind").options(totals())).await.unwrap();
    assert_eq!(take(&mut groups, 2).await, both);
    client.publish("s", record(3, "b", 7)).await.unwrap();
    assert_eq!(take(&mut groups, 1).await, [r#"{"kind":"b","max":7,"mean":7.0,"min":7,"sum":7}"#]);
}
