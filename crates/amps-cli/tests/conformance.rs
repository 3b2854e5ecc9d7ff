//! `amps conformance` against a server process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A server that does not outlive the test.
struct Server {
    process: Child,
    uri: String,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_amps"))
            .args(["testserver", "--listen", "127.0.0.1:0", "--ack-conflation", "20ms"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let uri = line.split_whitespace().find(|word| word.starts_with("tcp://")).unwrap().to_owned();
        Self { process, uri }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn conformance(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amps"));
    command.arg("conformance").args(args).stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_passes_is_told_by_chapter_or_as_json() {
    let server = Server::start(&["--sow", "prices:/symbol"]);
    let args = ["--uri", &server.uri, "--topics", "sow=prices:/symbol", "--only", "oof,queue/ack,open/id-in-use"];
    let output = conformance(&args);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = text(&output);
    for part in [
        "\noof\n  pass            oof/match ",
        "\n  7 checks: 7 passed, 0 failed, 0 not configured, 0 observed\n",
        "\n  not configured  queue/ack ",
        "\n      needs:    a message queue conformance-queue",
        "\n      saw:      failure, reason \"subid in use\"",
        "\n\n9 checks: 7 passed, 0 failed, 1 not configured, 1 observed\n",
    ] {
        assert!(table.contains(part), "{part:?} is not in {table}");
    }
    let lines = lines(&conformance(&[&args[..], &["--json"]].concat()));
    assert_eq!(lines.len(), 10);
    assert_eq!((&lines[0]["check"], &lines[0]["chapter"]), (&"oof/match".into(), &"oof".into()));
    assert_eq!(lines[0]["verdict"], "pass");
    assert_eq!(lines[0]["source"], "AMPS User Guide, \"Out-of-Focus Messages\"");
    assert_eq!(lines[7]["verdict"], "not configured");
    assert_eq!(lines[8]["verdict"], "observed");
    assert_eq!((&lines[9]["checks"], &lines[9]["passed"], &lines[9]["failed"]), (&9.into(), &7.into(), &0.into()));
}

#[test]
fn what_fails_is_explained_and_ends_in_1() {
    let server = Server::start(&["--cut-every", "1"]);
    let output = conformance(&["--uri", &server.uri, "--only", "publish/delivered", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines = lines(&output);
    assert_eq!(lines[0]["verdict"], "fail");
    assert_eq!(lines[0]["came"], "the server closed the connection");
    let exchange: Vec<_> = lines[0]["exchange"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert!(exchange.iter().any(|line| line.starts_with("a> {\"c\":\"p\"")), "{exchange:?}");
    assert_eq!(lines[1]["failed"], 1);
}

#[test]
fn nobody_there_ends_in_3_and_no_password_is_shown() {
    let output = conformance(&["--uri", "tcp://me:hunter2@127.0.0.1:1/amps/json", "--timeout", "1"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: cannot log on to tcp://me:***@127.0.0.1:1/amps/json: "), "{said}");
    assert!(!said.contains("hunter2"));
}

#[test]
fn the_checks_can_be_listed() {
    let output = conformance(&["--list"]);
    assert_eq!(output.status.code(), Some(0));
    let listed = text(&output);
    assert!(listed.lines().count() > 200, "{listed}");
    assert!(
        listed.lines().any(|line| line.starts_with("sow/batches ") && line.ends_with("AMPS User Guide, \"Batching\""))
    );
    assert_eq!(conformance(&["--uri", "tcp://127.0.0.1:1/amps/json", "--only", "nonsense"]).status.code(), Some(2));
    assert_eq!(conformance(&["--uri", "tcp://127.0.0.1:1/amps/nvfix"]).status.code(), Some(2));
    assert_eq!(conformance(&[]).status.code(), Some(2));
}
