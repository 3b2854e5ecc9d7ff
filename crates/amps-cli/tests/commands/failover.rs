//! Two servers that replicate to each other die by turns.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Running, amps, free_ports, readings, server, wait_for};

/// How many messages are published.
const COUNT: usize = 3_000;

/// Two servers with names and data of their own.
struct Pair {
    dir: tempfile::TempDir,
    ports: [u16; 2],
    running: [Option<Running>; 2],
}

impl Pair {
    fn start() -> Self {
        let mut pair = Self { dir: tempfile::tempdir().unwrap(), ports: free_ports(), running: [None, None] };
        pair.up(0);
        pair.up(1);
        pair
    }

    fn uri(&self, place: usize) -> String {
        format!("tcp://127.0.0.1:{}/amps/json", self.ports[place])
    }

    fn uris(&self) -> String {
        format!("{},{}", self.uri(0), self.uri(1))
    }

    fn up(&mut self, place: usize) {
        let data = self.path(["a", "b"][place]);
        let peer = self.uri(1 - place);
        let more = ["--name", ["A", "B"][place], "--peer", &peer, "--queue", "work", "--data", data.to_str().unwrap()];
        let (running, _) = server(&format!("127.0.0.1:{}", self.ports[place]), &more);
        self.running[place] = Some(running);
    }

    fn kill(&mut self, place: usize) {
        self.running[place].take().unwrap().kill();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a process that goes on, its standard output in this file.
    fn process(&self, args: &[&str], out: &Path) -> Running {
        let mut command = amps(args);
        command.args(["--server", &self.uris(), "--heartbeat", "1"]);
        command.stdout(fs::File::create(out).unwrap());
        command.stderr(fs::File::create(out.with_extension("err")).unwrap());
        Running::start(command)
    }
}

fn written(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(str::to_owned).collect()
}

/// Publishes to the topic while each server is killed and started again, once the
/// reader has got some more. Returns what the reader wrote when it has it all.
fn through_two_deaths(pair: &mut Pair, topic: &str, reader: &[&str], all: impl Fn(&[String]) -> usize) -> Vec<String> {
    let (input, got) = (pair.path("input"), pair.path("got"));
    fs::write(&input, readings(COUNT).join("\n")).unwrap();
    let reader = pair.process(reader, &got);
    let store = format!("sled:{}", pair.path("store").display());
    let publish = ["publish", "--topic", topic, "--client-name", "p", "--store", &store, "--rate", "600"];
    let publisher =
        pair.process(&[&publish[..], &["--file", input.to_str().unwrap()]].concat(), &pair.path("published"));
    for (place, part) in [(0, COUNT / 6), (1, COUNT / 2)] {
        wait_for("a part of it", || all(&written(&got)) > part);
        pair.kill(place);
        let before = all(&written(&got));
        pair.up(place);
        wait_for("more of it", || all(&written(&got)) > before);
    }
    wait_for("all of it", || all(&written(&got)) == COUNT);
    assert_eq!(publisher.code(), Some(0), "{}", fs::read_to_string(pair.path("published.err")).unwrap());
    reader.terminate();
    assert_eq!(reader.code(), Some(0));
    let said = fs::read_to_string(got.with_extension("err")).unwrap();
    assert!(said.lines().filter(|line| line.starts_with("connected ")).count() >= 2, "{said}");
    written(&got)
}

#[test]
fn a_bookmark_subscription_prints_every_message_once_and_in_order() {
    let mut pair = Pair::start();
    let kept = pair.path("bookmarks");
    let reader = ["subscribe", "--topic", "t", "--bookmark-store", kept.to_str().unwrap(), "--bookmark", "epoch"];
    let got = through_two_deaths(&mut pair, "t", &reader, <[String]>::len);
    assert_eq!(got, readings(COUNT));
}

/// A message whose acknowledgement was lost with its server comes again.
#[test]
fn a_consumer_of_a_queue_prints_every_message() {
    let mut pair = Pair::start();
    let distinct = |lines: &[String]| lines.iter().collect::<BTreeSet<_>>().len();
    let reader = ["queue", "consume", "--topic", "work", "--max-backlog", "20"];
    let got = through_two_deaths(&mut pair, "work", &reader, distinct);
    let all: BTreeSet<String> = readings(COUNT).into_iter().collect();
    assert_eq!(got.iter().cloned().collect::<BTreeSet<_>>(), all);
    let left = crate::harness::lines(&["sow", "--server", &pair.uris(), "--topic", "work"]);
    assert!(left.is_empty(), "{left:?}");
}
