//! What a subscription or query asks for is what it gets: fields, times, keys,
//! bookmarks, order, bounds.

use std::time::Duration;

use amps_client::{Client, CommandOptions, Message, Sow, StartAt, Subscribe, Subscription, SubscriptionEvent};
use amps_testserver::{QueueConfig, TestServer};

const SOON: Duration = Duration::from_secs(20);

async fn server_and_client() -> (TestServer, Client) {
    let queue = QueueConfig::new("work").max_per_subscription_backlog(4).barrier("/n = 3".parse().unwrap());
    let builder = TestServer::builder().ack_conflation(Duration::from_millis(5)).sow("s", "/id").queue(queue);
    let server = builder.start().await.unwrap();
    let client = Client::builder("me").server(server.uri()).connect().await.unwrap();
    (server, client)
}

async fn next(stream: &mut Subscription) -> Message {
    tokio::time::timeout(SOON, stream.next_message()).await.unwrap().unwrap().unwrap()
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(message.data()).into_owned()
}

/// A record of a query, and the update behind it, each with what was asked for and
/// nothing else of it.
#[tokio::test]
async fn messages_have_what_was_asked_for() {
    let (_server, client) = server_and_client().await;
    let body = |v: u64| format!(r#"{{"id":1,"v":{v}}}"#);
    client.publish("s", body(1)).await.unwrap();
    client.flush().await.unwrap();
    let options = CommandOptions::new;
    type Has = fn(&Message) -> bool;
    let cases: [(CommandOptions, Has, Has); 5] = [
        (options(), |record| record.timestamp().is_none(), |update| update.bookmark().is_none()),
        (options().timestamp(), is_timed, is_timed),
        (options().no_sowkey(), |record| record.sow_key().is_none(), |update| update.sow_key().is_none()),
        (options().bookmark(), |record| record.sow_key().is_some(), |update| update.bookmark().is_some()),
        (
            options().select(["-/", "+/v"]),
            |record| record.data() == br#"{"v":1}"#,
            |update| update.data() == br#"{"v":2}"#,
        ),
    ];
    for (options, record, update) in cases {
        let mut stream = client.subscribe(Subscribe::sow_and("s").options(options.clone())).await.unwrap();
        let first = next(&mut stream).await;
        assert!(record(&first), "{options}: {first:?}");
        client.publish("s", body(2)).await.unwrap();
        let second = next(&mut stream).await;
        assert!(update(&second), "{options}: {second:?}");
        drop(stream);
        client.publish("s", body(1)).await.unwrap();
        client.flush().await.unwrap();
    }
}

/// As the documents write a time: UTC with microseconds.
fn is_timed(message: &Message) -> bool {
    message.timestamp().is_some_and(|time| time.len() == "20260101T000000.000000Z".len() && time.ends_with('Z'))
}

#[tokio::test]
async fn a_query_is_in_the_order_and_within_the_bounds_it_asks_for() {
    let (_server, client) = server_and_client().await;
    for (id, v) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
        client.publish("s", format!(r#"{{"id":{id},"v":{v}}}"#)).await.unwrap();
    }
    client.flush().await.unwrap();
    let options = CommandOptions::new;
    for (query, expected) in [
        (Sow::of("s").order_by("/v DESC,/id"), &[1, 3, 2, 4][..]),
        (Sow::of("s").order_by("/v,/id DESC"), &[4, 2, 3, 1]),
        (Sow::of("s").order_by("/id").top_n(2), &[1, 2]),
        (Sow::of("s").order_by("/id").options(options().top_n(2).skip_n(1)), &[2, 3]),
        (Sow::of("s").order_by("/id").options(options().top_n(2).skip_n(9)), &[]),
    ] {
        let described = format!("{query:?}");
        let mut records = client.sow(query).await.unwrap();
        let mut ids = Vec::new();
        while let Some(record) = tokio::time::timeout(SOON, records.next_message()).await.unwrap().unwrap() {
            let record: serde_json::Value = serde_json::from_slice(record.data()).unwrap();
            ids.push(record["id"].as_u64().unwrap());
        }
        assert_eq!(ids, expected, "{described}");
    }
}

/// A replay that is bounded ends behind as many messages, also where its connection
/// was lost in between.
#[tokio::test]
async fn a_bounded_replay_ends_behind_its_last_message() {
    let (server, client) = server_and_client().await;
    for id in 0..10 {
        client.publish("t", id.to_string()).await.unwrap();
    }
    client.flush().await.unwrap();
    for cut in [false, true] {
        // So small a queue that the rest is still on its way.
        let bounded = Subscribe::to("t").bookmark(StartAt::Epoch).id(format!("{cut}")).top_n(5).queue(1, 1 << 20);
        let mut replay = client.subscribe(bounded).await.unwrap();
        let mut got = Vec::new();
        while let Some(event) = tokio::time::timeout(SOON, replay.next()).await.unwrap() {
            if let SubscriptionEvent::Message(message) = event.unwrap() {
                got.push(text(&message));
                if cut && got.len() == 2 {
                    assert!(server.kick("me"));
                }
            }
        }
        assert_eq!(got, ["0", "1", "2", "3", "4"], "{cut}");
    }
}

#[tokio::test]
async fn a_replay_goes_on_with_what_is_live_or_durable_everywhere() {
    let (_server, client) = server_and_client().await;
    for options in [CommandOptions::new().live(), CommandOptions::new().fully_durable()] {
        let topic = options.to_string();
        client.publish(&topic, "before").await.unwrap();
        client.flush().await.unwrap();
        let mut stream =
            client.subscribe(Subscribe::to(&topic).bookmark(StartAt::Epoch).options(options)).await.unwrap();
        assert_eq!(text(&next(&mut stream).await), "before");
        client.publish(&topic, "after").await.unwrap();
        assert_eq!(text(&next(&mut stream).await), "after");
    }
}

/// A barrier of a queue waits for what is before it, goes to everybody, and needs no
/// acknowledgement.
#[tokio::test]
async fn a_barrier_goes_to_every_consumer_when_all_before_it_is_done() {
    let (server, client) = server_and_client().await;
    let other = Client::builder("other").server(server.uri()).connect().await.unwrap();
    let mut one = client.subscribe(Subscribe::to("work").max_backlog(4)).await.unwrap();
    for n in 1..=4 {
        client.publish("work", format!(r#"{{"n":{n}}}"#)).await.unwrap();
    }
    let first = [next(&mut one).await, next(&mut one).await];
    assert_eq!(first.each_ref().map(text), [r#"{"n":1}"#, r#"{"n":2}"#]);
    let mut two = other.subscribe(Subscribe::to("work").max_backlog(4)).await.unwrap();
    other.flush().await.unwrap();
    assert_eq!((one.depth(), two.depth()), (0, 0), "it waits");
    assert_eq!(one.ack_all(&first), 2);
    for stream in [&mut one, &mut two] {
        assert_eq!(text(&next(stream).await), r#"{"n":3}"#);
    }
    // Nobody acknowledged it, and what is behind it comes, to one of them.
    let last = tokio::select! {
        message = next(&mut one) => message,
        message = next(&mut two) => message,
    };
    assert_eq!(text(&last), r#"{"n":4}"#);
}
