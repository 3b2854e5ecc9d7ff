//! What a server needs for what a client offers, as the README says it: each row of
//! its table is tried on a server that has it, and on servers that lack a part.

use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::{Client, SowDelete, StartAt, Subscribe, Subscription};
use amps_testserver::{Link, QueueConfig, TestServer, TestServerBuilder};

const LIMIT: Duration = Duration::from_secs(60);
const README: &str = include_str!("../../README.md");
const CLIENTS_README: &str = include_str!("../../crates/amps-client/README.md");

/// What a topic can have at a server, by the words of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Log,
    Sow,
    Queue,
    Replication,
}

const WORDS: &[(&str, Need)] = &[
    ("transaction log", Need::Log),
    ("SOW", Need::Sow),
    ("queue", Need::Queue),
    ("replicate to each other synchronously", Need::Replication),
];

/// The rows of the table: what is offered, and what it needs.
fn table(readme: &str) -> Vec<(&str, Vec<Need>)> {
    let rows = readme.lines().skip_while(|line| !line.starts_with("| to have | the topic needs"));
    let rows = rows.skip(2).map_while(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let needs = |cell: &str| WORDS.iter().filter(|(word, _)| cell.contains(word)).map(|(_, need)| *need).collect();
    rows.map(|(offer, cell)| (offer, needs(cell))).collect()
}

/// A server whose topic `orders` has so much.
fn server(needs: &[Need]) -> TestServerBuilder {
    let mut builder = TestServer::builder().ack_conflation(Duration::from_millis(20));
    if !needs.contains(&Need::Log) {
        builder = builder.no_transaction_log();
    }
    if needs.contains(&Need::Sow) {
        builder = builder.sow("orders", "/id");
    }
    if needs.contains(&Need::Queue) {
        builder = builder.queue(QueueConfig::new("orders"));
    }
    builder
}

async fn client(name: &str, servers: &[&TestServer]) -> Client {
    let builder = Client::builder(name).servers(servers.iter().map(|server| server.uri()));
    builder.reconnect(FixedReconnect::new(Duration::from_millis(5), 1)).connect().await.unwrap()
}

async fn body(stream: &mut Subscription) -> String {
    let message = stream.next_message().await.unwrap().expect("the stream goes on");
    String::from_utf8(message.data().to_vec()).unwrap()
}

/// A message whose acknowledgement was lost is not taken a second time by a server that
/// was restarted.
async fn publishing(needs: &[Need]) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let server = server(needs).data_dir(dir.path()).start().await.unwrap();
    let publisher = client("publisher", &[&server]).await;
    server.faults(|faults| faults.withhold_acks(true));
    publisher.publish("orders", "first").await.unwrap();
    server.wait_for(|stats| stats.publishes == 1).await;
    let again = server.again();
    server.stop().await;
    let server = again.start().await.unwrap();
    publisher.publish("orders", "last").await.unwrap();
    publisher.flush().await.unwrap();
    server.stats().publishes == 1
}

/// What was published before the subscription is replayed.
async fn bookmarks(server: &TestServer) -> bool {
    let client = client("client", &[server]).await;
    client.publish("orders", "first").await.unwrap();
    client.flush().await.unwrap();
    match client.subscribe(Subscribe::to("orders").bookmark(StartAt::Epoch)).await {
        Ok(mut orders) => body(&mut orders).await == "first",
        Err(_) => false,
    }
}

async fn queries(server: &TestServer) -> bool {
    let client = client("client", &[server]).await;
    client.publish("orders", r#"{"id":1}"#).await.unwrap();
    client.flush().await.unwrap();
    let view = client.subscribe(Subscribe::sow_and("orders")).await;
    client.count("orders").await.is_ok_and(|count| count == 1) && client.sow("orders").await.is_ok() && view.is_ok()
}

/// A part of a record is made a whole again, and a record can be deleted.
async fn deltas(server: &TestServer) -> bool {
    let client = client("client", &[server]).await;
    let mut orders = client.subscribe("orders").await.unwrap();
    client.publish("orders", r#"{"id":1,"qty":1}"#).await.unwrap();
    client.delta_publish("orders", r#"{"id":1,"price":2}"#).await.unwrap();
    body(&mut orders).await;
    let merged = body(&mut orders).await;
    let deleted = client.sow_delete_counted(SowDelete::by_filter("orders", "/id = 1")).await;
    merged.contains("qty") && merged.contains("price") && deleted.is_ok()
}

async fn queues(server: &TestServer) -> bool {
    let client = client("client", &[server]).await;
    let mut work = client.subscribe("orders").await.unwrap();
    client.publish("orders", "{}").await.unwrap();
    let message = work.next_message().await.unwrap().unwrap();
    work.ack(&message)
}

/// What one server acknowledged, the next one has.
async fn failover(needs: &[Need]) -> bool {
    let second = server(&[Need::Log]).start().await.unwrap();
    let mut first = server(needs).name("first");
    if needs.contains(&Need::Replication) {
        first = first.peer(second.uri(), Link::Sync);
    }
    let first = first.start().await.unwrap();
    let publisher = client("publisher", &[&first, &second]).await;
    publisher.publish("orders", "first").await.unwrap();
    publisher.flush().await.unwrap();
    first.stop().await;
    !second.logged("orders").is_empty()
}

/// Whether an offer is kept at a server with so much.
async fn is_kept(offer: &str, needs: &[Need]) -> bool {
    if offer.contains("failover") {
        return failover(needs).await;
    }
    let what = offer.split([' ', ',', ':']).next().unwrap_or_default();
    if what == "publishing" {
        return publishing(needs).await;
    }
    // A queue without a log is none: the server says so at its start.
    let Ok(server) = server(needs).start().await else { return false };
    match what {
        "bookmark" => bookmarks(&server).await,
        "queries" => queries(&server).await,
        "deltas" => deltas(&server).await,
        "queues" => queues(&server).await,
        _ => panic!("nothing here tries '{offer}'"),
    }
}

/// Covers 1#1.
#[tokio::test]
async fn what_the_readme_says_a_server_needs_is_needed_and_enough() {
    let rows = table(README);
    assert_eq!(rows.len(), 6, "{rows:?}");
    for (offer, needs) in rows {
        assert!(!needs.is_empty(), "'{offer}' needs nothing?");
        let kept = tokio::time::timeout(LIMIT, is_kept(offer, &needs)).await;
        assert!(kept.expect("in time"), "'{offer}' is not kept with {needs:?}");
        for lacking in &needs {
            let rest: Vec<_> = needs.iter().copied().filter(|need| need != lacking).collect();
            let kept = tokio::time::timeout(LIMIT, is_kept(offer, &rest)).await;
            assert!(!kept.expect("in time"), "'{offer}' is kept without {lacking:?}");
        }
    }
}

#[test]
fn the_clients_own_readme_says_the_same() {
    assert_eq!(table(CLIENTS_README), table(README));
}
