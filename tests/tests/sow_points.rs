//! Bookmark state without a file: recovery points in a SOW topic.

use std::future::Future;
use std::time::{Duration, Instant};

use amps_client::{
    BookmarkStore, Client, ClientBuilder, CommandError, Event, Sow, SowRecoveryPoints, StartAt, Subscribe, Subscription,
};
use amps_testserver::{LoggedMessage, TestServer, TestServerBuilder};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_millis(500);
const MESSAGES: u64 = 10;

/// A runtime for servers: in real life they are on another machine.
fn elsewhere() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// The application has one thread for everything.
fn on_one_thread(application: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(application);
}

fn server() -> TestServerBuilder {
    let server = TestServer::builder().sow("recovery_points", "/client,/subscription");
    server.ack_conflation(Duration::from_millis(5))
}

fn points(uri: String) -> SowRecoveryPoints {
    SowRecoveryPoints::new(Client::builder("me-points").server(uri)).limit(LIMIT)
}

fn client(uri: String, points: SowRecoveryPoints) -> ClientBuilder {
    let store = BookmarkStore::recovery_points(points, Duration::from_millis(1));
    Client::builder("me").server(uri).bookmark_store(store)
}

async fn publish(server: &TestServer) {
    let publisher = Client::builder("publisher").server(server.uri()).connect().await.unwrap();
    for id in 1..=MESSAGES {
        publisher.enqueue("t", id.to_string()).unwrap();
    }
    publisher.flush().await.unwrap();
}

async fn enter(client: &Client, id: &str) -> Result<Subscription, CommandError> {
    let subscribe = Subscribe::to("t").bookmark(StartAt::Epoch).id(id);
    timeout(SOON, client.subscribe(subscribe)).await.expect("an answer in time")
}

/// Reads up to the last message, and discards as many.
async fn read(stream: &mut Subscription, discard: u64) -> Vec<u64> {
    let mut ids = Vec::new();
    while ids.last() != Some(&MESSAGES) {
        let message = timeout(SOON, stream.next_message()).await.expect("a message in time").unwrap().unwrap();
        ids.push(std::str::from_utf8(message.data()).unwrap().parse().unwrap());
        if ids.len() as u64 <= discard {
            stream.discard(&message);
        }
    }
    ids
}

fn stored(server: &TestServer) -> Vec<String> {
    let point = |message: &LoggedMessage| message.topic == "recovery_points";
    let log = server.log();
    log.iter().filter(|message| point(message)).map(|message| String::from_utf8_lossy(&message.body).into()).collect()
}

/// What was discarded is at the server when `discarded` returns. The client is
/// dropped on the only thread of its runtime, without a close, and a new one
/// resumes.
#[test]
fn a_subscription_resumes_from_the_topic_in_a_new_client() {
    let servers = elsewhere();
    let server = servers.block_on(server().start()).unwrap();
    on_one_thread(async {
        publish(&server).await;
        let mut expected = 1;
        for discard in [6, 0, 3] {
            let client = client(server.uri(), points(server.uri())).connect().await.unwrap();
            let mut stream = enter(&client, "it's \"a\" \\ name").await.unwrap();
            assert_eq!(read(&mut stream, discard).await, (expected..=MESSAGES).collect::<Vec<_>>());
            let before = stored(&server).len();
            timeout(SOON, stream.discarded()).await.unwrap().unwrap();
            assert_eq!(stored(&server).len() > before, discard > 0, "{:?}", stored(&server));
            let dropped = Instant::now();
            drop((stream, client));
            assert!(dropped.elapsed() < Duration::from_secs(3), "dropping took {:?}", dropped.elapsed());
            expected += discard;
        }
    });
}

#[test]
fn each_subscription_has_a_point_of_its_own() {
    let servers = elsewhere();
    let server = servers.block_on(server().start()).unwrap();
    on_one_thread(async {
        publish(&server).await;
        let first = client(server.uri(), points(server.uri())).connect().await.unwrap();
        for (id, discard) in [("a", 3), ("b", 7)] {
            let mut stream = enter(&first, id).await.unwrap();
            assert_eq!(read(&mut stream, discard).await.len() as u64, MESSAGES);
            timeout(SOON, stream.discarded()).await.unwrap().unwrap();
        }
        assert!(first.close(SOON).await.stores_closed);
        let second = client(server.uri(), points(server.uri())).connect().await.unwrap();
        for (id, from) in [("b", 8), ("a", 4), ("c", 1)] {
            let mut stream = enter(&second, id).await.unwrap();
            assert_eq!(read(&mut stream, 0).await, (from..=MESSAGES).collect::<Vec<_>>(), "{id}");
        }
    });
}

/// The points' server is away: messages and discards go on, who waits for the
/// points waits, each failure is told; when it is back, all is well.
#[test]
fn a_server_that_is_away_holds_up_no_subscriber() {
    let dir = tempfile::tempdir().unwrap();
    let servers = elsewhere();
    let messages = servers.block_on(server().start()).unwrap();
    let keeper = servers.block_on(server().data_dir(dir.path()).start()).unwrap();
    let (uri, address) = (keeper.uri(), keeper.addr().to_string());
    on_one_thread(async {
        let client = client(messages.uri(), points(uri.clone())).connect().await.unwrap();
        let mut events = client.events();
        let mut stream = enter(&client, "a").await.unwrap();
        servers.spawn(keeper.stop()).await.unwrap();
        publish(&messages).await;
        assert_eq!(read(&mut stream, 4).await.len() as u64, MESSAGES);
        let failed = loop {
            match timeout(SOON, events.next()).await.expect("an event in time") {
                Some(Event::BookmarkStoreFailed(failed)) => break failed.to_string(),
                Some(_) => {}
                None => panic!("no more events"),
            }
        };
        assert!(failed.contains("no connection within 500ms") && failed.contains(&address), "{failed}");
        assert!(timeout(LIMIT, stream.discarded()).await.is_err(), "it waits");
        let refused = enter(&client, "b").await.unwrap_err();
        assert!(matches!(refused, CommandError::BookmarkStore(_)), "{refused}");

        let again = server().data_dir(dir.path()).listen(&address);
        let keeper = servers.spawn(again.start()).await.unwrap().unwrap();
        timeout(SOON, stream.discarded()).await.unwrap().unwrap();
        drop(enter(&client, "b").await.unwrap());
        drop((stream, client));

        let next = self::client(messages.uri(), points(uri.clone())).connect().await.unwrap();
        let mut stream = enter(&next, "a").await.unwrap();
        assert_eq!(read(&mut stream, 2).await, (5..=MESSAGES).collect::<Vec<_>>());
        servers.spawn(keeper.stop()).await.unwrap();
        let dropped = Instant::now();
        drop((stream, next));
        assert!(dropped.elapsed() < LIMIT + Duration::from_secs(3), "dropping took {:?}", dropped.elapsed());
    });
}

/// However many subscriptions changed: a server that confirms nothing is waited
/// for once.
#[test]
fn a_server_that_confirms_nothing_holds_up_the_end_once() {
    let servers = elsewhere();
    let server = servers.block_on(server().start()).unwrap();
    on_one_thread(async {
        publish(&server).await;
        let client = client(server.uri(), points(server.uri())).connect().await.unwrap();
        let mut streams = Vec::new();
        for id in 0..12 {
            streams.push(enter(&client, &id.to_string()).await.unwrap());
        }
        server.faults(|faults| faults.withhold_acks(true));
        for stream in &mut streams {
            assert_eq!(read(stream, 1).await.len() as u64, MESSAGES);
        }
        let dropped = Instant::now();
        drop((streams, client));
        assert!(dropped.elapsed() < LIMIT + Duration::from_secs(3), "dropping took {:?}", dropped.elapsed());
    });
}

#[test]
fn topic_and_fields_have_the_names_they_are_given_and_a_purge_deletes_the_record() {
    let servers = elsewhere();
    let server = servers.block_on(TestServer::builder().sow("kept", "/who,/which").start()).unwrap();
    on_one_thread(async {
        publish(&server).await;
        let own = Client::builder("me-points").server(server.uri()).ack_conflation(Duration::from_millis(5));
        let points = SowRecoveryPoints::new(own).topic("kept").fields("who", "which", "where_");
        let client = client(server.uri(), points).connect().await.unwrap();
        let mut stream = enter(&client, "a").await.unwrap();
        read(&mut stream, 4).await;
        timeout(SOON, stream.discarded()).await.unwrap().unwrap();
        let mut records = client.sow(Sow::of("kept")).await.unwrap();
        let record = records.next_message().await.unwrap().unwrap();
        let record: serde_json::Value = serde_json::from_slice(record.data()).unwrap();
        assert_eq!((&record["who"], &record["which"]), (&"me-points".into(), &"a".into()));
        assert!(record["where_"].as_str().unwrap().starts_with("1 "), "{record}");
        drop(stream);

        client.purge_bookmarks("a").await.unwrap();
        let mut records = client.sow(Sow::of("kept")).await.unwrap();
        assert!(records.next_message().await.unwrap().is_none());
        let mut stream = enter(&client, "a").await.unwrap();
        assert_eq!(read(&mut stream, 0).await.len() as u64, MESSAGES, "it begins anew");
    });
}

#[test]
fn wrong_settings_refuse_the_subscription() {
    let servers = elsewhere();
    let server = servers.block_on(server().start()).unwrap();
    on_one_thread(async {
        let own = || Client::builder("me-points").server(server.uri());
        for (points, why) in [
            (SowRecoveryPoints::new(own()).fields("a b", "c", "d"), "'a b' is no name for a field"),
            (SowRecoveryPoints::new(own()).topic("no sow"), "invalid topic"),
            (SowRecoveryPoints::new(Client::builder("me-points")), "no server"),
        ] {
            let client = client(server.uri(), points).connect().await.unwrap();
            for _ in 0..2 {
                let refused = enter(&client, "a").await.unwrap_err().to_string();
                assert!(refused.contains(why), "{refused}");
            }
        }
    });
}
