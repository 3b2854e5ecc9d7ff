//! What a report on a client looks like, in the middle of a failover.

use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::{
    BookmarkStore, Client, LastHeaders, PublishStore, SocketConnector, Sow, StartAt, StreamState, Subscribe,
};
use amps_testserver::{Link, TestServer};

const SOON: Duration = Duration::from_secs(20);

/// A report in which everything that is not the same each time is named.
fn golden(text: &str, names: &[(String, &str)]) -> String {
    let mut text = text.to_owned();
    for (value, name) in names {
        text = text.replace(value, name);
    }
    text.lines().map(|line| durations(line) + "\n").collect()
}

/// Each duration, such as `1.5ms`, becomes `TIME`.
fn durations(line: &str) -> String {
    let is_duration = |word: &str| {
        let word = word.trim_end_matches([',', ';']);
        let unit = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        word.len() > unit.len() && ["ns", "µs", "ms", "s"].contains(&unit)
    };
    let word = |word: &str| match is_duration(word) {
        true => format!("TIME{}", &word[word.trim_end_matches([',', ';']).len()..]),
        false => word.to_owned(),
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_report_in_a_failover_is_as_it_is_written_here() {
    let quick = Duration::from_millis(5);
    let second = TestServer::builder().name("second").ack_conflation(quick).sow("prices", "/id").start().await.unwrap();
    let first = TestServer::builder().name("first").ack_conflation(quick).sow("prices", "/id");
    let first = first.peer(second.uri(), Link::Sync).start().await.unwrap();
    let secret = |server: &TestServer| server.uri().replace("tcp://", "tcp://trader:secret@");
    let dir = tempfile::tempdir().unwrap();
    let headers = LastHeaders::new(4);
    let client = Client::builder("gateway")
        .servers([secret(&first), secret(&second)])
        .reconnect(FixedReconnect::new(Duration::ZERO, 1).loss_window(Duration::ZERO))
        .connector(SocketConnector::new().tap(headers.tap()))
        .publish_store(PublishStore::sled(dir.path().join("publish")))
        .bookmark_store(BookmarkStore::sled(dir.path().join("bookmarks")))
        .attempt_timeouts(SOON, SOON)
        .connect()
        .await
        .unwrap();
    let mut orders = client.subscribe(Subscribe::to("orders").bookmark(StartAt::Epoch).id("desk")).await.unwrap();
    let paused = Subscribe::to("orders").bookmark(StartAt::Epoch).filter("/id = 1").paused();
    let _paused = client.subscribe(paused).await.unwrap();
    client.publish("orders", r#"{"id":1}"#).await.unwrap();
    client.flush().await.unwrap();
    orders.next_message().await.unwrap().unwrap();
    let second_one = &client.report().subscriptions[1];
    assert_eq!((second_one.state, second_one.paused), (StreamState::Active, true));
    assert!(client.health().is_ready(), "{}", client.health());

    // The first server dies; the second takes connections and does not answer.
    second.faults(|faults| faults.silence_at_logon(true));
    let (logons, first_address) = (second.stats().logons, first.addr().to_string());
    first.stop().await;
    client.publish("orders", r#"{"id":2}"#).await.unwrap();
    let waits = client.clone();
    let query = tokio::spawn(async move { waits.sow(Sow::of("prices")).await.map(drop) });
    let at_logon = async {
        loop {
            let report = client.report();
            let recovering = report.connection.recovering.as_ref();
            let asks = report.subscriptions.len() == 3
                && report.last_headers.last().is_some_and(|last| last.contains("logon"));
            if asks
                && recovering.is_some_and(|at| {
                    at.phase.as_str() == "logon" && at.server.to_string().contains(&second.addr().to_string())
                })
            {
                return report;
            }
            tokio::task::yield_now().await;
        }
    };
    let report = tokio::time::timeout(SOON, at_logon).await.unwrap();
    assert_eq!(second.stats().logons, logons);
    let text = report.to_string();
    assert!(!text.contains("secret"), "{text}");
    let shown = report.publishing.bytes.to_string();
    let held = report.subscriptions[0].bytes.to_string();
    let persisted = report.publishing.persisted_through.to_string();
    let names = [
        (first_address, "FIRST"),
        (second.addr().to_string(), "SECOND"),
        (dir.path().display().to_string(), "DIR"),
        (persisted, "SEQUENCE"),
        // Either, as the system sees it.
        ("the server closed the connection".to_owned(), "LOSS"),
        ("the connection failed: Connection reset by peer (os error 104)".to_owned(), "LOSS"),
        (format!("{shown} bytes"), "SOME bytes"),
        (format!("{held} bytes"), "SOME bytes"),
    ];
    let (text, last) = text.split_once("last headers:\n").unwrap();
    assert_eq!(golden(text, &names), GOLDEN);
    let last: Vec<_> = last.lines().collect();
    assert_eq!(last.len(), 4);
    assert!(last[3].contains(r#""c":"logon""#) && last[3].contains(r#""pw":"***""#), "{last:?}");

    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["client"], "gateway");
    assert_eq!(json["connection"]["recovering"]["phase"], "logon");
    assert_eq!(json["publishing"]["unacknowledged"], 1);
    assert_eq!(json["subscriptions"][0]["state"], "waiting");
    assert_eq!(json["waiting"][0]["call"], "sow");
    assert!(!json.to_string().contains("secret"));

    second.faults(|faults| faults.silence_at_logon(false));
    drop(orders);
    query.abort();
    client.close(Duration::from_secs(1)).await;
    let over = client.dump();
    assert!(over.starts_with("client 'gateway': down\n  the client is over: the client was closed\n"), "{over}");
}

const GOLDEN: &str = "\
client 'gateway': down
  not connected for TIME, in logon of attempt 1 at tcp://trader:***@SECOND/amps/json for TIME
  1 attempt at tcp://trader:***@FIRST/amps/json failed, the last: LOSS
connection: not live for TIME
  server: tcp://trader:***@SECOND/amps/json, attempt 1
  recovery: in logon of attempt 1 at tcp://trader:***@SECOND/amps/json for TIME
  1 attempt at tcp://trader:***@FIRST/amps/json failed, the last: LOSS
  0 reconnects, round trip TIME
publishing: 2 messages, kept in sled in DIR/publish
  1 unacknowledged in SOME bytes, the bound is 268435456 bytes, the oldest for TIME
  0 bytes not on the disk, persisted through SEQUENCE, acknowledged in TIME
bookmarks: kept in sled in DIR/bookmarks
streams: 3 open
  subscription 'desk': waiting, topic 'orders', 1 event waiting in SOME bytes, 1 not discarded, the oldest for TIME, \
1 delivered, 0 duplicates
  subscription 'orders#/id = 1': waiting, paused, topic 'orders', filter '/id = 1', 0 events waiting in 0 bytes, \
0 not discarded, 0 delivered, 0 duplicates
  query 'prices#': waiting, topic 'prices', 0 events waiting in 0 bytes, 0 delivered, 0 duplicates
  ever: 1 delivered, 0 duplicates, 0 conflated, 0 missed, 0 late, 0 unexpected
calls that wait: 1
  sow 'prices' for TIME
";
