//! `amps bench` against a real server process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A server that does not outlive the test.
struct Server {
    process: Child,
    uri: String,
}

impl Server {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_amps"))
            .args(["testserver", "--listen", "127.0.0.1:0", "--ack-conflation", "20ms", "--sow", "records:/n"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let uri = line.split_whitespace().find(|word| word.starts_with("tcp://")).unwrap().to_owned();
        Self { process, uri }
    }

    fn bench(&self, args: &[&str]) -> Command {
        let mut command = self.command(args);
        command.args(["--size", "128"]);
        command
    }

    /// Without a size.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_amps"));
        command.arg("bench").args(args).args(["--server", &self.uri]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The one line it prints, once the figures every probe has are checked.
fn figures(command: &mut Command, messages: u64) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&line["messages"], &line["bytes"]), (&messages.into(), &(messages * 128).into()), "{line}");
    for key in ["seconds", "msgs_per_s", "cpu_ns_per_msg"] {
        assert!(line[key].as_f64() > Some(0.0), "{key}: {line}");
    }
    let memory = &line["max_rss_mb"];
    assert!(memory.as_f64() > Some(0.5) || (memory.is_null() && !cfg!(target_os = "linux")), "{line}");
    line
}

#[test]
fn publish_with_each_store() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let sled = format!("sled:{}", dir.path().join("store").display());
    for store in [
        &["--store", "none"][..],
        &["--store", "memory", "--durability", "memory"],
        &["--store", &sled],
        &["--store", &sled, "--durability", "process-crash"],
    ] {
        figures(server.bench(&["publish", "--count", "2000"]).args(store), 2_000);
    }
}

#[test]
fn publish_with_tasks_that_wait() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let sled = format!("sled:{}", dir.path().join("store").display());
    figures(&mut server.bench(&["publish", "--count", "500", "--tasks", "64", "--store", &sled]), 500);
}

#[test]
fn publish_keeps_to_its_rate() {
    let server = Server::start();
    let line = figures(&mut server.bench(&["publish", "--count", "300", "--rate", "1000"]), 300);
    assert!(line["seconds"].as_f64() > Some(0.25), "{line}");
}

#[test]
fn subscribe_counts_what_somebody_publishes() {
    let dir = tempfile::tempdir().unwrap();
    let sled = format!("sled:{}", dir.path().join("bookmarks").display());
    for store in ["none", "memory", &sled] {
        let server = Server::start();
        let mut subscriber =
            server.bench(&["subscribe", "--count", "2000", "--bookmark-store", store]).spawn().unwrap();
        // Publishes until the subscriber has enough; what came before it subscribed does not count.
        while subscriber.try_wait().unwrap().is_none() {
            figures(&mut server.bench(&["publish", "--count", "1000"]), 1_000);
        }
        let output = subscriber.wait_with_output().unwrap();
        assert!(output.status.success(), "{store}: {output:?}");
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&line["messages"], &line["bytes"]), (&2_000.into(), &256_000.into()), "{store}");
        assert!(line["msgs_per_s"].as_f64() > Some(0.0) && line["cpu_ns_per_msg"].as_f64() > Some(0.0), "{line}");
    }
}

#[test]
fn a_query_counts_the_records() {
    let server = Server::start();
    figures(&mut server.bench(&["publish", "--count", "1234", "--topic", "records"]), 1_234);
    let mut query = server.command(&["sow", "--topic", "records", "--batch", "100"]);
    figures(&mut query, 1_234);
}

#[test]
fn what_an_outage_left_is_replayed() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let sled = format!("sled:{}", dir.path().join("store").display());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut outage = Command::new(env!("CARGO_BIN_EXE_amps"));
    outage.args(["bench", "outage", "--server", &format!("tcp://{nobody}/amps/json")]);
    figures(outage.args(["--count", "3000", "--size", "128", "--store", &sled]), 3_000);
    let mut replay = server.command(&["replay", "--store", &sled, "--size", "128"]);
    figures(&mut replay, 3_000);
    let output = server.command(&["replay", "--store", &sled]).output().unwrap();
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["messages"], 0, "it is empty now");
}

#[test]
fn an_outage_with_a_server_is_none() {
    let server = Server::start();
    let output = server.bench(&["outage", "--count", "50000"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("a server is there"), "{said}");
}

#[tokio::test]
async fn subscriptions_are_entered_again_after_the_connection_was_lost() {
    let server = amps_testserver::TestServer::builder().start().await.unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_amps"));
    command.args(["bench", "resubscribe", "--subscriptions", "50", "--server", &server.uri()]);
    let measured = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A logon and the subscriptions; then the connection is cut.
    while server.stats().received < 51 {
        tokio::task::yield_now().await;
    }
    server.kick(&format!("amps-bench-{}", measured.id()));
    let output = tokio::task::spawn_blocking(|| measured.wait_with_output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["messages"], 50);
    assert!(server.stats().received >= 102, "all were entered twice");
}

#[test]
fn latency_has_its_quantiles_in_order() {
    let server = Server::start();
    let line = figures(&mut server.bench(&["latency", "--count", "2000", "--topic", "own"]), 2_000);
    let of = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"));
    let rising = ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"].map(of);
    assert!(rising.is_sorted() && rising[0] > 0.0, "{line}");
    assert!(of("seconds") > 0.15, "at 10,000 a second by default: {line}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let server = Server::start();
    for args in [
        &["publish", "--count", "1", "--store", "memory", "--durability", "power-loss"][..],
        &["publish", "--count", "0"],
        &["latency", "--count", "1", "--rate", "0"],
    ] {
        let output = server.bench(args).output().unwrap();
        assert!(!output.status.success() && !output.stderr.is_empty(), "{args:?}");
    }
}
