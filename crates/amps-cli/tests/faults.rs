//! What tests can make go wrong in the processes of this command.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use amps_testserver::journal;

/// A peer that nobody runs: the port is the system's own.
const PEER: &str = "tcp://127.0.0.1:1/amps/json";

/// A server that takes orders, and does not outlive the test.
struct Server {
    process: Child,
    orders: ChildStdin,
    said: BufReader<std::process::ChildStdout>,
    uri: String,
}

impl Server {
    fn start(more: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_amps"))
            .args(["testserver", "--listen", "127.0.0.1:0", "--ack-conflation", "20ms", "--control"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, said) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let mut server = Self { process, orders, said, uri: String::new() };
        let line = server.line();
        server.uri = line.split(' ').find(|word| word.starts_with("tcp://")).unwrap().to_owned();
        server
    }

    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        self.line()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn publish(uri: &str, file: &std::path::Path, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_amps"))
        .args(["publish", "--server", uri, "--topic", "t", "--file"])
        .arg(file)
        .args(more)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_server_stops_waiting_for_a_peer_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lines");
    fs::write(&file, "{\"n\":1}\n").unwrap();
    let mut server = Server::start(&["--peer", PEER]);
    let mut publisher = publish(&server.uri, &file, &[]);
    assert_eq!(server.order("downgrade tcp://127.0.0.1:2/amps/json"), "no peer tcp://127.0.0.1:2/amps/json");
    assert!(publisher.try_wait().unwrap().is_none(), "nothing is persisted while the peer is away");
    assert_eq!(server.order(&format!("downgrade {PEER}")), format!("downgraded {PEER}"));
    assert!(publisher.wait().unwrap().success());
    assert_eq!(server.order(&format!("upgrade {PEER}")), format!("upgraded {PEER}"));
    assert!(server.order("sleep").starts_with("unknown order"));
}

#[test]
fn on_slow_disks_a_line_takes_longer_and_is_kept_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (file, slow) = (dir.path().join("lines"), Duration::from_millis(250));
    fs::write(&file, "{\"n\":1}\n").unwrap();
    for disk in ["client.disk", "server.disk"] {
        fs::write(path(disk), slow.as_millis().to_string()).unwrap();
    }
    let server = Server::start(&["--data", &path("data"), "--slow-disk", &path("server.disk")]);
    let store = format!("sled:{}", path("store"));
    let (client_disk, began) = (path("client.disk"), Instant::now());
    let mut publisher = publish(&server.uri, &file, &["--store", &store, "--slow-disk", &client_disk]);
    assert!(publisher.wait().unwrap().success());
    assert!(began.elapsed() >= 2 * slow, "once for the store, and then once for the journal");
    assert_eq!(journal::read(&dir.path().join("data")).unwrap().len(), 1);
    let refused = publish(&server.uri, &file, &["--slow-disk", &client_disk]).wait().unwrap();
    assert!(!refused.success(), "there is no store in a file");
}
