//! Figures through the facade `metrics`, held against the table in
//! `docs/operations.md`. A recorder of the test's own thread gets them: the
//! client runs on it too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::{BookmarkStore, Client, ClientBuilder, Connector, PublishStore, StartAt, Subscribe, Uri};
use amps_core::transport::Connecting;
use amps_testserver::{Link, TestServer};
use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

const SOON: Duration = Duration::from_secs(20);

/// Name, and labels with their values.
type Key = (String, BTreeMap<String, String>);

/// Everything a recorder got so far.
struct Figures {
    snapshots: Snapshotter,
    kinds: BTreeMap<String, (MetricKind, Option<metrics::Unit>)>,
    counters: BTreeMap<Key, u64>,
    gauges: BTreeMap<Key, f64>,
    histograms: BTreeMap<Key, Vec<f64>>,
}

impl Figures {
    fn of(recorder: &DebuggingRecorder) -> Self {
        let (counters, gauges, histograms) = Default::default();
        Self { snapshots: recorder.snapshotter(), kinds: BTreeMap::new(), counters, gauges, histograms }
    }

    /// Takes in what was recorded since the last time.
    fn take(&mut self) {
        for (key, unit, _, value) in self.snapshots.snapshot().into_vec() {
            let (kind, key) = key.into_parts();
            let labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
            let name = key.name().to_owned();
            self.kinds.insert(name.clone(), (kind, unit));
            match value {
                DebugValue::Counter(by) => *self.counters.entry((name, labels)).or_default() += by,
                DebugValue::Gauge(value) => drop(self.gauges.insert((name, labels), value.into_inner())),
                DebugValue::Histogram(values) => {
                    let all = self.histograms.entry((name, labels)).or_default();
                    all.extend(values.into_iter().map(f64::from));
                }
            }
        }
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        self.counters.keys().chain(self.gauges.keys()).chain(self.histograms.keys())
    }

    /// The sum of a counter over all that have these labels.
    fn counter(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.counters.iter().filter(|(key, _)| is(key, name, labels)).map(|(_, value)| value).sum()
    }

    fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.gauges.iter().find(|(key, _)| is(key, name, labels)).map(|(_, value)| *value)
    }

    fn values(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let all = self.histograms.iter().filter(|(key, _)| is(key, name, labels));
        all.flat_map(|(_, values)| values.iter().copied()).collect()
    }
}

fn is((other, all): &Key, name: &str, labels: &[(&str, &str)]) -> bool {
    other == name && labels.iter().all(|(key, value)| all.get(*key).is_some_and(|other| other == value))
}

/// The rows of the table: kind, unit and labels by name.
fn documented() -> BTreeMap<String, (String, String, BTreeSet<String>)> {
    let text = include_str!("../../docs/operations.md");
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, name, kind, unit, labels, _, _] = cells[..] else { panic!("a row of five cells: {line}") };
        let labels = labels.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (name.trim_matches('`').to_owned(), (kind.to_owned(), unit.to_owned(), labels))
    };
    text.lines().filter(|line| line.starts_with("| `amps_")).map(row).collect()
}

fn builder(servers: &[String]) -> ClientBuilder {
    Client::builder("gateway")
        .servers(servers)
        .reconnect(FixedReconnect::new(Duration::ZERO, 1).loss_window(Duration::ZERO))
        .publish_store(PublishStore::Memory)
}

/// Where nobody listens any more.
fn dead_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn host(server: &TestServer) -> String {
    server.addr().to_string()
}

/// Covers 16#1.
#[tokio::test]
async fn what_is_recorded_of_a_failover_is_what_the_table_says() {
    let recorder = DebuggingRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let mut figures = Figures::of(&recorder);

    let quick = Duration::from_millis(5);
    let second = TestServer::builder().name("second").ack_conflation(quick).start().await.unwrap();
    let first = TestServer::builder().name("first").ack_conflation(quick).peer(second.uri(), Link::Sync);
    let first = first.start().await.unwrap();
    let dead = dead_address();
    let secret = |address: &str| format!("tcp://trader:secret@{address}/amps/json");
    let dir = tempfile::tempdir().unwrap();
    let client = builder(&[secret(&dead), secret(&host(&first)), secret(&host(&second))])
        .publish_store(PublishStore::sled(dir.path().join("publish")))
        .bookmark_store(BookmarkStore::sled(dir.path().join("bookmarks")))
        .connect()
        .await
        .unwrap();
    let mut orders = client.subscribe(Subscribe::to("orders").bookmark(StartAt::Epoch).id("desk")).await.unwrap();
    for id in 0..5 {
        client.publish("orders", id.to_string()).await.unwrap();
    }
    client.flush().await.unwrap();
    for _ in 0..5 {
        orders.next_message().await.unwrap().unwrap();
    }
    client.record_metrics();
    figures.take();
    let me = ("client", "gateway");
    let at = |address: &'static str| ("server", address);
    let [first_host, dead_host] = [host(&first), dead].map(|host| -> &'static str { host.leak() });
    assert_eq!(figures.counter("amps_attempts_total", &[me, at(dead_host), ("outcome", "connect")]), 1);
    assert_eq!(figures.counter("amps_attempts_total", &[me, at(first_host), ("outcome", "live")]), 1);
    assert_eq!(figures.gauge("amps_connected", &[me]), Some(1.0));
    assert_eq!(figures.counter("amps_published_messages_total", &[me]), 5);
    assert_eq!(figures.counter("amps_delivered_messages_total", &[me]), 5);
    let desk = ("subscription", "desk");
    assert_eq!(figures.gauge("amps_undiscarded_messages", &[me, desk]), Some(5.0));
    let shown = client.report().subscriptions[0].depth as f64;
    assert_eq!(figures.gauge("amps_queue_messages", &[me, desk]), Some(shown));
    assert_eq!(figures.gauge("amps_unacknowledged_messages", &[me]), Some(0.0));
    assert!(!figures.values("amps_ack_latency_seconds", &[me]).is_empty());
    assert!(!figures.values("amps_store_work_seconds", &[me]).is_empty());

    // The failover. What is published on the survivor is not acknowledged yet.
    second.faults(|faults| faults.withhold_acks(true));
    first.stop().await;
    for id in 5..8 {
        client.publish("orders", id.to_string()).await.unwrap();
    }
    second.wait_for_log(|log| log.len() == 8).await;
    client.connected().await.unwrap();
    client.record_metrics();
    figures.take();
    assert_eq!(figures.gauge("amps_unacknowledged_messages", &[me]), Some(3.0));
    assert!(figures.gauge("amps_unacknowledged_bytes", &[me]) > Some(100.0));
    let age = figures.gauge("amps_unacknowledged_age_seconds", &[me]).unwrap();
    assert!(age > 0.0 && age < SOON.as_secs_f64(), "{age}");
    assert_eq!(figures.counter("amps_losses_total", &[me, at(first_host)]), 1);
    let noticed = figures.values("amps_detect_seconds", &[me]);
    assert!(noticed.len() == 1 && noticed[0] < SOON.as_secs_f64(), "{noticed:?}");
    assert_eq!(figures.values("amps_recover_seconds", &[me, ("reason", "loss")]).len(), 1);
    // One for each connection.
    assert_eq!(figures.values("amps_heartbeat_round_trip_seconds", &[me]).len(), 2);
    let whole: f64 = figures.values("amps_recover_seconds", &[me]).iter().sum();
    let phases: f64 = figures.values("amps_recovery_phase_seconds", &[me]).iter().sum();
    assert!((whole - phases).abs() < 1e-6, "{phases} of {whole}");

    second.faults(|faults| faults.withhold_acks(false));
    client.flush().await.unwrap();
    for _ in 5..8 {
        orders.next_message().await.unwrap().unwrap();
    }
    // From another server it begins anew, and what comes twice is filtered.
    drop(orders);
    client.record_metrics();
    figures.take();
    assert_eq!(figures.counter("amps_duplicate_messages_total", &[me]), 5);
    assert_eq!(figures.counter("amps_delivered_messages_total", &[me]), 8, "also of streams that are gone");
    for name in ["amps_queue_messages", "amps_undiscarded_messages", "amps_undiscarded_age_seconds"] {
        assert_eq!(figures.gauge(name, &[me, desk]), Some(0.0), "{name} of a stream that is gone");
    }

    // The table has all of it, and nothing else.
    let documented = documented();
    let recorded: BTreeSet<_> = figures.keys().map(|(name, _)| name.clone()).collect();
    assert_eq!(recorded, documented.keys().cloned().collect());
    for (name, (kind, unit)) in &figures.kinds {
        let kind = format!("{kind:?}").to_lowercase();
        let unit = unit.map(|unit| unit.as_str().to_owned()).unwrap_or_default();
        let (its_kind, its_unit, _) = &documented[name];
        assert_eq!((kind.as_str(), unit.as_str()), (its_kind.as_str(), its_unit.as_str()), "{name}");
    }
    for (name, labels) in figures.keys() {
        assert_eq!(labels.keys().cloned().collect::<BTreeSet<_>>(), documented[name].2, "{name}");
        let text = format!("{labels:?}");
        assert!(!text.contains("secret") && !text.contains("trader"), "{name}: {text}");
    }
    client.close(SOON).await;
}

/// Dials nobody: an attempt lasts until its time is over.
#[derive(Debug)]
struct Nowhere;

impl Connector for Nowhere {
    fn connect<'a>(&'a self, _: &'a Uri) -> Connecting<'a> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn what_stands_is_recorded_every_second_and_no_more_when_the_client_is_gone() {
    let recorder = DebuggingRecorder::new();
    let _installed = metrics::set_default_local_recorder(&recorder);
    let mut figures = Figures::of(&recorder);
    let servers = ["tcp://[::1]:9007/amps/json".to_owned()];
    let client = builder(&servers).connector(Nowhere).start().unwrap();
    client.publish("orders", "1").await.unwrap();
    tokio::time::sleep(Duration::from_millis(31_500)).await;
    figures.take();
    let me = [("client", "gateway")];
    assert_eq!(figures.gauge("amps_connected", &me), Some(0.0));
    let age = figures.gauge("amps_unacknowledged_age_seconds", &me).unwrap();
    assert!((30.5..=31.5).contains(&age), "{age}: recorded within the last second, and right to the tenth");
    let timeouts = [("client", "gateway"), ("server", "[::1]:9007"), ("outcome", "connect_timeout")];
    assert_eq!(figures.counter("amps_attempts_total", &timeouts), 6);
    assert_eq!(figures.values("amps_recovery_phase_seconds", &[("phase", "connect")]), [5.0; 6]);

    // Another one under this name goes on counting.
    let tasks = tokio::runtime::Handle::current().metrics();
    drop(client);
    let client = builder(&servers).connector(Nowhere).start().unwrap();
    client.publish("orders", "2").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(tasks.num_alive_tasks(), 2, "the client's, and the one that looks");
    figures.take();
    assert_eq!(figures.counter("amps_published_messages_total", &me), 2);
    drop(client);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(tasks.num_alive_tasks(), 0);
}
