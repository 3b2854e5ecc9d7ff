//! Real directories: what a sled store refuses, and what survives `kill -9`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use amps_client::{
    BookmarkStore, Client, ClientBuilder, Durability, MemoryPart, OnPublishGap, OpenError, PublishStore, StartAt,
    StoreError, Subscribe,
};
use amps_ha::kv::{MemoryKv, SledKv, SledOptions, SyncLevel};
use amps_ha::publish_log::{Identity, SegmentStore};
use amps_testserver::TestServer;

const SOON: Duration = Duration::from_secs(20);
/// Nobody listens there.
const NOWHERE: &str = "tcp://127.0.0.1:1/amps/json";

fn client(name: &str, dir: &Path) -> ClientBuilder {
    Client::builder(name).server(NOWHERE).publish_store(PublishStore::sled(dir))
}

/// A store with `count` messages, closed.
async fn filled(dir: &Path, count: usize) {
    let client = client("me", dir).start().unwrap();
    for id in 0..count {
        client.enqueue("t", format!("{id}:{:x<200}", "")).unwrap();
    }
    let closed = client.close(Duration::from_secs(5)).await;
    assert_eq!(closed.unacknowledged, count as u64);
}

/// The error says where and what.
#[track_caller]
fn assert_says(error: &OpenError, dir: &Path, words: &[&str]) {
    let text = error.to_string();
    for word in words.iter().chain(&[dir.to_str().unwrap()]) {
        assert!(text.contains(word), "'{word}' is not in: {text}");
    }
}

#[tokio::test]
async fn a_store_of_another_name_protocol_or_message_type_is_refused_naming_both() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 10).await;
    let error = client("another", dir.path()).start().unwrap_err();
    assert_says(&error, dir.path(), &["client name", "'me'", "'another'"]);
    let builder = Client::builder("me").server("tcp://127.0.0.1:1/amps/fix");
    let error = builder.publish_store(PublishStore::sled(dir.path())).start().unwrap_err();
    assert_says(&error, dir.path(), &["message type", "'json'", "'fix'"]);
    // The protocol is always the same today; the store knows it all the same.
    let identity = Identity { client_name: "me".into(), message_type: "json".into(), protocol: "next".into() };
    let kv = SledKv::open(dir.path(), &SledOptions::default()).unwrap();
    let error = SegmentStore::open(Box::new(kv), dir.path(), &identity, 1).unwrap_err();
    assert!(matches!(&error, StoreError::WrongIdentity { field: "protocol", .. }), "{error}");
    // Nothing was changed: it opens under its own name, whole.
    let client = client("me", dir.path()).start().unwrap();
    assert_eq!(client.unacknowledged(), 10);
    client.close(Duration::from_millis(600)).await;
}

#[tokio::test]
async fn a_store_in_use_by_this_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = client("me", dir.path()).start().unwrap();
    let error = client("me", dir.path()).start().unwrap_err();
    assert_says(&error, dir.path(), &["locked"]);
    first.publish("t", "goes on").await.unwrap();
    let bookmarks = tempfile::tempdir().unwrap();
    let builder = |name| Client::builder(name).server(NOWHERE).bookmark_store(BookmarkStore::sled(bookmarks.path()));
    let second = builder("second").start().unwrap();
    let error = builder("second").start().unwrap_err();
    assert_says(&error, bookmarks.path(), &["locked"]);
    second.close(Duration::from_millis(600)).await;
    let error = builder("third").start().unwrap_err();
    assert_says(&error, bookmarks.path(), &["second", "third"]);
    first.close(Duration::from_millis(600)).await;
}

/// Whatever byte of whatever file goes bad: an error that names the
/// directory, now and the next time, or every message is there. Never a store
/// that lost some without a word.
#[tokio::test]
async fn a_damaged_store_is_an_error_and_never_a_silent_loss() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    filled(&original, 300).await;
    let mut damages: Vec<(PathBuf, Damage)> = Vec::new();
    for file in files(&original) {
        let len = std::fs::metadata(original.join(&file)).unwrap().len();
        damages.push((file.clone(), Damage::Removed));
        damages.push((file.clone(), Damage::Truncated(len / 2)));
        let used = used(&original.join(&file));
        for part in 0..6 {
            damages.push((file.clone(), Damage::Flipped(used * part / 6 + 7)));
        }
    }
    let (mut refused, mut whole) = (0, 0);
    for (number, (file, damage)) in damages.into_iter().enumerate() {
        let copy = dir.path().join(format!("copy{number}"));
        copy_all(&original, &copy);
        damage.apply(&copy.join(&file));
        match client("me", &copy).start() {
            Err(error) => {
                refused += 1;
                assert_says(&error, &copy, &[]);
                let again = client("me", &copy).start();
                assert!(again.is_err(), "{damage:?} of {file:?}: open the second time");
            }
            Ok(client) => {
                whole += 1;
                assert_eq!(client.unacknowledged(), 300, "{damage:?} of {file:?}");
                client.close(Duration::from_millis(600)).await;
            }
        }
        std::fs::remove_dir_all(&copy).unwrap();
    }
    assert!(refused > 5, "{refused} refused, {whole} whole");
}

#[derive(Debug)]
enum Damage {
    Removed,
    Truncated(u64),
    Flipped(u64),
}

impl Damage {
    fn apply(&self, file: &Path) {
        match self {
            Self::Removed => std::fs::remove_file(file).unwrap(),
            Self::Truncated(len) => {
                std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(*len).unwrap();
            }
            Self::Flipped(at) => {
                let mut bytes = std::fs::read(file).unwrap();
                if let Some(byte) = bytes.get_mut(*at as usize) {
                    *byte ^= 0x5a;
                }
                std::fs::write(file, bytes).unwrap();
            }
        }
    }
}

/// Files below a directory, relative to it, except the lock.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        for entry in std::fs::read_dir(dir.join(&below)).unwrap() {
            let entry = entry.unwrap();
            let path = below.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => open.push(path),
                false if path.ends_with("lock") => {}
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

/// How far a file is in use: behind its last byte that is not zero.
fn used(file: &Path) -> u64 {
    let bytes = std::fs::read(file).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1)
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in files(from) {
        std::fs::create_dir_all(to.join(&file).parent().unwrap()).unwrap();
        std::fs::copy(from.join(&file), to.join(&file)).unwrap();
    }
}

/// Ten messages in memory, the others on the disk.
fn hybrid(dir: &Path) -> PublishStore {
    PublishStore::hybrid(dir, MemoryPart::default().messages(10))
}

/// Another process: this test binary, running only [`helper`].
fn spawn(dir: &Path, uri: &str, level: Durability, first: usize) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper", "--ignored", "--nocapture"])
        .env("AMPS_TEST_DIR", dir)
        .env("AMPS_TEST_URI", uri)
        .env("AMPS_TEST_LEVEL", format!("{level:?}"))
        .env("AMPS_TEST_FIRST", first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

/// Not a test: what the processes of [`spawn`] do. Publishes numbers for ever
/// and prints each that is promised.
#[tokio::test]
#[ignore = "only as a process of its own, started by another test"]
async fn helper() {
    let Ok(dir) = std::env::var("AMPS_TEST_DIR") else { return };
    let first: usize = std::env::var("AMPS_TEST_FIRST").unwrap().parse().unwrap();
    let builder = Client::builder("me").server(std::env::var("AMPS_TEST_URI").unwrap());
    let builder = match std::env::var("AMPS_TEST_LEVEL").unwrap().as_str() {
        "ProcessCrash" => builder.publish_store(PublishStore::sled(dir)).durability(Durability::ProcessCrash),
        "PowerLoss" => builder.publish_store(PublishStore::sled(dir)).durability(Durability::PowerLoss),
        _ => builder.publish_store(hybrid(Path::new(&dir))),
    };
    let client = builder.start().unwrap();
    for id in first.. {
        client.publish("t", id.to_string()).await.unwrap();
        // The harness may have begun the line with its own words.
        println!("\npromised {id}");
        std::io::stdout().flush().unwrap();
    }
}

/// The next number the helper promised.
fn promised(lines: &mut impl BufRead) -> Option<usize> {
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if let Some(id) = line.trim_end().strip_prefix("promised ") {
            return Some(id.parse().unwrap());
        }
        line.clear();
    }
    None
}

#[tokio::test]
async fn a_store_in_use_by_another_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, mut lines) = spawn(dir.path(), NOWHERE, Durability::PowerLoss, 0);
    assert_eq!(promised(&mut lines), Some(0));
    let error = client("me", dir.path()).start().unwrap_err();
    assert_says(&error, dir.path(), &["locked"]);
    child.kill().unwrap();
    child.wait().unwrap();
    let next = client("me", dir.path()).start().unwrap();
    assert!(next.unacknowledged() >= 1);
    next.close(Duration::from_millis(600)).await;
}

/// A publisher killed again and again, online and offline: every number it
/// was promised is in the server's log once, in order.
///
/// Covers 11.7.6#2.
#[tokio::test]
async fn what_a_sled_store_promised_survives_kill_9() {
    for level in [Durability::ProcessCrash, Durability::PowerLoss] {
        let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap();
        server.faults(|faults| faults.cut_every_messages(Some(97)));
        let dir = tempfile::tempdir().unwrap();
        let mut all = Vec::new();
        let mut first = 0;
        for life in 0..6 {
            let uri = if life % 2 == 0 { server.uri() } else { NOWHERE.to_owned() };
            let (mut child, mut lines) = spawn(dir.path(), &uri, level, first);
            let last = tokio::task::spawn_blocking(move || {
                let mut seen = Vec::new();
                while seen.len() < 40 + life * 13 {
                    seen.push(promised(&mut lines).expect("a publisher that goes on"));
                }
                child.kill().unwrap();
                child.wait().unwrap();
                // Promised before the kill took effect.
                while let Some(id) = promised(&mut lines) {
                    seen.push(id);
                }
                seen
            });
            let seen = last.await.unwrap();
            first = seen.last().unwrap() + 10;
            all.extend(seen);
        }
        let builder = Client::builder("me").server(server.uri()).publish_store(PublishStore::sled(dir.path()));
        let client = builder.durability(level).connect().await.unwrap();
        client.publish("t", first.to_string()).await.unwrap();
        tokio::time::timeout(SOON, client.flush()).await.unwrap().unwrap();
        all.push(first);
        let logged: Vec<usize> =
            server.log().iter().map(|message| String::from_utf8_lossy(&message.body).parse().unwrap()).collect();
        assert!(logged.is_sorted_by(|a, b| a < b), "twice or out of order: {logged:?}");
        let lost: Vec<_> = all.iter().filter(|id| logged.binary_search(id).is_err()).collect();
        assert!(lost.is_empty(), "{level:?} lost {lost:?}");
        client.close(SOON).await;
    }
}

/// On a real directory: an outage larger than memory, a close in the
/// middle of it, and the next client on the directory.
///
/// Covers 11.7.6#4.
#[tokio::test]
async fn a_hybrid_store_carries_an_outage_across_a_clean_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = 0;
    for _ in 0..3 {
        let client = Client::builder("me").server(NOWHERE).publish_store(hybrid(dir.path())).start().unwrap();
        assert_eq!(client.unacknowledged(), first, "everything is there again");
        for id in first..first + 501 {
            client.publish("t", id.to_string()).await.unwrap();
        }
        first += 501;
        let closed = client.close(Duration::from_secs(2)).await;
        assert!(closed.stores_closed && closed.unacknowledged == first, "{closed:?}");
    }
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap();
    let client = Client::builder("me").server(server.uri()).publish_store(hybrid(dir.path())).connect().await.unwrap();
    client.publish("t", first.to_string()).await.unwrap();
    tokio::time::timeout(SOON, client.flush()).await.unwrap().unwrap();
    let logged = server.log().into_iter().map(|message| String::from_utf8_lossy(&message.body).into_owned());
    assert!(logged.eq((0..=first).map(|id| id.to_string())), "each once, in order, over every border");
    client.close(SOON).await;
}

/// Level `Memory` promises nothing over a kill, but nothing comes twice or out
/// of order, numbers go on above what was lost, and what the disk had arrives.
#[tokio::test]
async fn a_killed_hybrid_store_leaves_a_clean_log_and_what_was_on_the_disk() {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap();
    server.faults(|faults| faults.cut_every_messages(Some(61)));
    let dir = tempfile::tempdir().unwrap();
    let mut first = 0;
    let mut on_disk = Vec::new();
    // Some lives are over before the disk has taken anything.
    for life in 0..60 {
        if life >= 6 && !on_disk.is_empty() {
            break;
        }
        let uri = if life % 2 == 0 { server.uri() } else { NOWHERE.to_owned() };
        let (mut child, mut lines) = spawn(dir.path(), &uri, Durability::Memory, first);
        let last = tokio::task::spawn_blocking(move || {
            let last = first + 60 + life * 7;
            while promised(&mut lines).expect("a publisher that goes on") < last {}
            child.kill().unwrap();
            child.wait().unwrap();
            std::iter::from_fn(|| promised(&mut lines)).last().unwrap_or(last)
        });
        first = last.await.unwrap() + 10;
        on_disk.extend(contents(dir.path()).await);
    }
    assert!(!on_disk.is_empty());
    // Each cut costs up to a second before the next connection, and how much
    // is left to send depends on the machine.
    server.faults(|faults| faults.cut_every_messages(None));
    let client = Client::builder("me").server(server.uri()).publish_store(hybrid(dir.path())).connect().await.unwrap();
    for id in first..first + 100 {
        client.publish("t", id.to_string()).await.unwrap();
    }
    tokio::time::timeout(SOON, client.flush()).await.unwrap().unwrap();
    let logged: Vec<usize> =
        server.log().iter().map(|message| String::from_utf8_lossy(&message.body).parse().unwrap()).collect();
    assert!(logged.is_sorted_by(|a, b| a < b), "twice or out of order: {logged:?}");
    assert!(logged.ends_with(&(first..first + 100).collect::<Vec<_>>()), "the last life lost something: {logged:?}");
    let lost: Vec<_> = on_disk.iter().filter(|id| logged.binary_search(id).is_err()).collect();
    assert!(lost.is_empty(), "{lost:?} were on the disk");
    client.close(SOON).await;
}

/// The numbers a closed store holds: what a client on a copy of it delivers to
/// a server that knows nothing.
async fn contents(dir: &Path) -> Vec<usize> {
    let copy = tempfile::tempdir().unwrap();
    copy_all(dir, copy.path());
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap();
    let builder = Client::builder("me").server(server.uri()).publish_store(PublishStore::sled(copy.path()));
    let client = builder.on_publish_gap(OnPublishGap::Continue).connect().await.unwrap();
    tokio::time::timeout(SOON, client.flush()).await.unwrap().unwrap();
    client.close(SOON).await;
    server.log().iter().map(|message| String::from_utf8_lossy(&message.body).parse().unwrap()).collect()
}

/// A store that the user brings keeps the promises too, for both kinds.
#[tokio::test]
async fn stores_of_the_users_own_survive_a_restart() {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap();
    let (publish, bookmarks) = (MemoryKv::new(), MemoryKv::new());
    let client = |uri: String, publish: MemoryKv| {
        Client::builder("me")
            .server(uri)
            .publish_store(PublishStore::custom("mine", Box::new(publish)))
            .bookmark_store(BookmarkStore::custom("mine too", Box::new(bookmarks.clone())))
    };
    let first = client(NOWHERE.to_owned(), publish.clone()).start().unwrap();
    for id in 0..20 {
        first.publish("t", id.to_string()).await.unwrap();
    }
    // The power fails: what is on the disk then is all there is.
    let left = publish.crash(SyncLevel::Power);
    first.close(Duration::from_millis(600)).await;
    let second = client(server.uri(), left).connect().await.unwrap();
    let from_epoch = || Subscribe::to("t").bookmark(StartAt::Epoch);
    let mut messages = second.subscribe(from_epoch()).await.unwrap();
    for id in 0..20 {
        let message = tokio::time::timeout(SOON, messages.next_message()).await.unwrap().unwrap().unwrap();
        assert_eq!(message.data(), id.to_string().as_bytes());
        if id < 15 {
            messages.discard(&message);
        }
    }
    messages.discarded().await.unwrap();
    drop(messages);
    second.close(SOON).await;
    let other = Client::builder("you").server(NOWHERE);
    let error =
        other.bookmark_store(BookmarkStore::custom("mine too", Box::new(bookmarks.clone()))).start().unwrap_err();
    assert!(error.to_string().contains("mine too") && error.to_string().contains("'me'"), "{error}");

    let third = client(server.uri(), MemoryKv::new()).connect().await.unwrap();
    let mut messages = third.subscribe(from_epoch()).await.unwrap();
    let message = tokio::time::timeout(SOON, messages.next_message()).await.unwrap().unwrap().unwrap();
    assert_eq!(message.data(), b"15", "what was discarded does not come again");
    drop(messages);
    third.close(SOON).await;
}

/// Real directories: a backup restored, then the store deleted.
#[tokio::test]
async fn a_copy_put_back_and_a_deleted_store_lose_nothing_published_on_them() {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap();
    let root = tempfile::tempdir().unwrap();
    let (dir, copy) = (root.path().join("store"), root.path().join("copy"));
    let mut published = Vec::new();
    for life in 0..5 {
        match life {
            2 => {
                copy_all(&dir, &copy);
            }
            3 => {
                std::fs::remove_dir_all(&dir).unwrap();
                copy_all(&copy, &dir);
            }
            4 => std::fs::remove_dir_all(&dir).unwrap(),
            _ => {}
        }
        let builder = Client::builder("me").server(server.uri()).publish_store(PublishStore::sled(&dir));
        let client = builder.connect().await.unwrap();
        for id in 0..30 {
            let body = format!("{life} {id}");
            client.enqueue("t", &body).unwrap();
            published.push(body);
        }
        assert_eq!(client.close(SOON).await.unacknowledged, 0);
    }
    let logged: Vec<_> = server.log().iter().map(|m| String::from_utf8_lossy(&m.body).into_owned()).collect();
    assert_eq!(logged, published);
}
