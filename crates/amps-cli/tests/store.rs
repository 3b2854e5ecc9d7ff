//! `amps store`: what is in a directory, whether it is whole, and what can be
//! salvaged of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use amps_client::kv::{Kv, SledKv, SledOptions};
use amps_client::{BookmarkStore, Client, ClientBuilder, OnPublishGap, PublishStore, StartAt, Subscribe};
use amps_testserver::TestServer;

const SOON: Duration = Duration::from_secs(20);
/// Nobody listens there.
const NOWHERE: &str = "tcp://127.0.0.1:1/amps/json";

fn store(command: &str, dir: &Path, more: &[&str]) -> Output {
    let mut amps = Command::new(env!("CARGO_BIN_EXE_amps"));
    amps.args(["store", command]).arg(dir).args(more).stdin(Stdio::null());
    amps.output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

fn client(uri: String, dir: &Path) -> ClientBuilder {
    Client::builder("me").server(uri).publish_store(PublishStore::sled(dir)).ack_conflation(Duration::from_millis(20))
}

fn body(id: usize) -> String {
    format!("{{\"id\":{id},\"pad\":\"{:x<1$}\"}}", "", id % 400)
}

/// A store with messages in several values, written without a server. Closed
/// in good order, or left as a kill leaves it.
async fn filled(dir: &Path, count: usize, killed: bool) {
    let work = tempfile::tempdir().unwrap();
    let open = if killed { work.path() } else { dir };
    let client = client(NOWHERE.to_owned(), open).start().unwrap();
    for id in 0..count {
        let receipt = client.enqueue(if id % 3 == 0 { "orders" } else { "prices" }, body(id)).unwrap();
        if id % 50 == 49 || id + 1 == count {
            receipt.durable().await.unwrap();
        }
    }
    if killed {
        copy_all(open, dir);
    }
    client.close(Duration::from_secs(2)).await;
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
        } else if entry.file_name() != "lock" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file with its bytes.
fn image(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Ids of what a client on the store delivers to a server that knows nothing,
/// checked byte for byte.
async fn delivered(dir: &Path) -> Vec<usize> {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap();
    let client = client(server.uri(), dir).on_publish_gap(OnPublishGap::Continue).connect().await.unwrap();
    tokio::time::timeout(SOON, client.flush()).await.unwrap().unwrap();
    client.close(SOON).await;
    let log = server.log();
    let ids = log.iter().map(|message| {
        let text = String::from_utf8_lossy(&message.body).into_owned();
        let id = serde_json::from_str::<serde_json::Value>(&text).unwrap()["id"].as_u64().unwrap() as usize;
        assert_eq!(text, body(id), "a changed message");
        id
    });
    ids.collect()
}

#[tokio::test]
async fn inspect_says_what_is_in_a_publish_store_and_changes_nothing() {
    for killed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 500, killed).await;
        let before = image(dir.path());
        let output = store("inspect", dir.path(), &["--json", "--messages", "2"]);
        assert_eq!(code(&output), 0, "{}", text(&output));
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        for (name, expected) in [
            ("kind", serde_json::json!("publish")),
            ("client_name", "me".into()),
            ("message_type", "json".into()),
            ("messages", 500.into()),
            ("settled_out_of_order", 0.into()),
            ("ever_logged_on", false.into()),
            ("damage", serde_json::json!([])),
            ("quarantined", serde_json::Value::Null),
            ("topics", serde_json::json!({ "orders": 167, "prices": 333 })),
        ] {
            assert_eq!(json[name], expected, "{name}: {json}");
        }
        let (first, last) = (json["first_sequence"].as_u64().unwrap(), json["last_sequence"].as_u64().unwrap());
        assert_eq!(last - first, 499);
        assert_eq!(json["next_sequence"].as_u64(), (!killed).then_some(last + 1));
        assert!(json["reserved_through"].as_u64().unwrap() > last);
        assert_eq!(json["first_messages"][1]["sequence"].as_u64(), Some(first + 1));
        assert_eq!(json["first_messages"][1]["data"], body(1));
        let people = text(&store("inspect", dir.path(), &["--messages", "1"]));
        assert!(people.contains("client name") && people.contains(&format!("{first} orders {}", body(0))), "{people}");
        let verified = store("verify", dir.path(), &[]);
        assert_eq!(code(&verified), 0, "{}", text(&verified));
        assert!(text(&verified).contains("whole: 500 messages"), "{}", text(&verified));
        assert_eq!(image(dir.path()), before, "nothing was changed");
    }
}

#[tokio::test]
async fn a_store_in_use_and_a_directory_that_is_none_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let client = client(NOWHERE.to_owned(), dir.path()).start().unwrap();
    for command in ["inspect", "verify"] {
        let output = store(command, dir.path(), &[]);
        assert_eq!(code(&output), 1);
        assert!(text(&output).contains("locked by another process"), "{}", text(&output));
    }
    client.close(Duration::from_secs(1)).await;
    for dir in [tempfile::tempdir().unwrap().path().join("none"), tempfile::tempdir().unwrap().keep()] {
        let output = store("inspect", &dir, &[]);
        assert_eq!(code(&output), 1, "{}", text(&output));
        assert!(text(&output).contains(&*dir.to_string_lossy()), "{}", text(&output));
    }
    let whole = tempfile::tempdir().unwrap();
    filled(whole.path(), 3, false).await;
    let output = store("repair", whole.path(), &["--into", &whole.path().to_string_lossy()]);
    assert!(code(&output) == 1 && text(&output).contains("not empty"), "never in place: {}", text(&output));
}

/// What goes wrong with a store: its name, and how it is done.
type Damage = (String, Box<dyn Fn(&Path)>);

fn damages(original: &Path) -> Vec<Damage> {
    let mut damages: Vec<Damage> = Vec::new();
    for (path, bytes) in image(original) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "lock" {
            continue;
        }
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let steps = if name == "db" { 12 } else { 2 };
        for part in 0..steps {
            let (at, name) = (used * part / steps + 7 * part, name.clone());
            if at < bytes.len() {
                let flip = move |dir: &Path| {
                    let mut bytes = fs::read(dir.join(&name)).unwrap();
                    bytes[at] ^= 0x5a;
                    fs::write(dir.join(&name), bytes).unwrap();
                };
                damages.push((format!("{path:?} flipped at {at}"), Box::new(flip)));
            }
        }
        for part in 1..3 {
            let (len, name) = (used * part / 3, name.clone());
            let cut = move |dir: &Path| {
                let file = fs::File::options().write(true).open(dir.join(&name)).unwrap();
                file.set_len(len as u64).unwrap();
            };
            damages.push((format!("{path:?} cut to {len}"), Box::new(cut)));
        }
        let hole = move |dir: &Path| {
            let mut bytes = fs::read(dir.join(&name)).unwrap();
            bytes[used / 2..used * 3 / 4].fill(0);
            fs::write(dir.join(&name), bytes).unwrap();
        };
        damages.push((format!("{path:?} with a hole"), Box::new(hole)));
    }
    damages
}

/// Whatever is damaged: verify says so, or the store is whole; what repair
/// brings is byte for byte what was published and in order, every message that
/// it does not bring is in what it says is lost or unknown, and the new store
/// is a normal one.
#[tokio::test]
async fn what_repair_brings_is_exact_and_the_rest_is_reported() {
    const COUNT: usize = 600;
    let root = tempfile::tempdir().unwrap();
    let original = root.path().join("original");
    filled(&original, COUNT, false).await;
    let first = serde_json::from_slice::<serde_json::Value>(&store("inspect", &original, &["--json"]).stdout).unwrap()
        ["first_sequence"]
        .as_u64()
        .unwrap();
    let (mut damaged, mut partly) = (0, 0);
    for (number, (what, apply)) in damages(&original).into_iter().enumerate() {
        let (dir, new) = (root.path().join(format!("copy{number}")), root.path().join(format!("new{number}")));
        copy_all(&original, &dir);
        apply(&dir);
        let before = image(&dir);
        let verified = store("verify", &dir, &[]);
        let repaired = store("repair", &dir, &["--into", &new.to_string_lossy(), "--client-name", "me"]);
        assert_eq!(image(&dir), before, "{what}: the original was changed");
        if code(&repaired) == 1 {
            assert!(code(&verified) != 0, "{what}");
            assert!(!text(&repaired).contains("panicked"), "{what}: {}", text(&repaired));
            continue;
        }
        // A damaged store opens as a client would open it, whole or not at all.
        let said = text(&repaired);
        let ids = delivered(&new).await;
        assert!(ids.is_sorted_by(|a, b| a < b), "{what}: {ids:?}");
        let lost: Vec<_> = (0..COUNT).filter(|id| ids.binary_search(id).is_err()).collect();
        let reported = |id: usize| {
            let sequence = first + id as u64;
            said.lines().any(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["lost:", "sequences", from, "to", to] => {
                    (from.parse().unwrap()..=to.parse::<u64>().unwrap()).contains(&sequence)
                }
                ["unknown:", "whether", "messages", "came", "after", "sequence", last] => {
                    sequence > last.parse().unwrap()
                }
                ["unknown:", "whether", "there", "were", "messages"] => true,
                _ => false,
            })
        };
        let silent: Vec<_> = lost.iter().filter(|id| !reported(**id)).collect();
        assert!(silent.is_empty(), "{what}: {silent:?} were lost without a word: {said}");
        assert_eq!(
            code(&repaired),
            if lost.is_empty() && !said.contains("came after") { 0 } else { 3 },
            "{what}: {said}"
        );
        if !lost.is_empty() {
            assert_eq!(code(&verified), 3, "{what}: {}", text(&verified));
        }
        // What verify says is what a client finds.
        match client(NOWHERE.to_owned(), &dir).start() {
            Ok(client) => {
                assert_eq!(client.unacknowledged(), COUNT as u64, "{what}");
                client.close(Duration::from_millis(600)).await;
            }
            Err(error) => assert_eq!(code(&verified), 3, "{what}: {error}"),
        }
        damaged += usize::from(code(&verified) == 3);
        partly += usize::from(!lost.is_empty() && !ids.is_empty());
        fs::remove_dir_all(&dir).unwrap();
        fs::remove_dir_all(&new).unwrap();
    }
    assert!(damaged > 8 && partly > 3, "{damaged} damaged, {partly} salvaged in part");
}

/// A repaired store keeps the promises: no number that may have been sent is
/// used again, and what the server has is not sent twice.
#[tokio::test]
async fn a_repaired_store_goes_on_above_what_was_sent() {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap();
    let root = tempfile::tempdir().unwrap();
    let (open, killed, new) = (root.path().join("open"), root.path().join("killed"), root.path().join("new"));
    // Everything arrives, nothing is acknowledged, and the client is killed.
    server.faults(|faults| faults.withhold_acks(true));
    let first = client(server.uri(), &open).connect().await.unwrap();
    for id in 0..200 {
        first.publish("t", body(id)).await.unwrap();
    }
    tokio::time::timeout(SOON, server.wait_for_log(|log| log.len() == 200)).await.unwrap();
    copy_all(&open, &killed);
    first.close(Duration::from_millis(600)).await;
    // Its newest writes are gone.
    let db = killed.join("db");
    let bytes = fs::read(&db).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let mut cut = bytes.clone();
    cut[used * 3 / 4..].fill(0);
    fs::write(&db, cut).unwrap();
    assert_eq!(code(&store("verify", &killed, &[])), 3);
    let repaired = store("repair", &killed, &["--into", &new.to_string_lossy()]);
    assert_eq!(code(&repaired), 3, "{}", text(&repaired));

    server.faults(|faults| faults.withhold_acks(false));
    let next = client(server.uri(), &new).connect().await.unwrap();
    for id in 200..250 {
        next.publish("t", body(id)).await.unwrap();
    }
    tokio::time::timeout(SOON, next.flush()).await.unwrap().unwrap();
    next.close(SOON).await;
    let logged: Vec<_> =
        server.log().iter().map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect();
    assert!(logged.iter().cloned().eq((0..250).map(body)), "once each, in order, {} logged", logged.len());
    let sequences: Vec<_> = server.log().iter().map(|message| message.sequence).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
}

#[tokio::test]
async fn a_quarantined_store_that_is_whole_is_salvaged_whole() {
    let root = tempfile::tempdir().unwrap();
    let (dir, new) = (root.path().join("store"), root.path().join("new"));
    filled(&dir, 100, false).await;
    fs::write(dir.join("QUARANTINED"), "for a test").unwrap();
    assert!(client(NOWHERE.to_owned(), &dir).start().is_err());
    let verified = store("verify", &dir, &[]);
    assert!(code(&verified) == 3 && text(&verified).contains("for a test"), "{}", text(&verified));
    let repaired = store("repair", &dir, &["--into", &new.to_string_lossy()]);
    assert_eq!(code(&repaired), 0, "{}", text(&repaired));
    assert_eq!(delivered(&new).await, (0..100).collect::<Vec<_>>());
}

/// The newest record is gone; older ones in the log still say whose it is and
/// what was reserved.
#[tokio::test]
async fn a_store_without_its_record_is_salvaged_by_what_older_records_say() {
    let root = tempfile::tempdir().unwrap();
    let (dir, new) = (root.path().join("store"), root.path().join("new"));
    filled(&dir, 50, false).await;
    let inspected: serde_json::Value = serde_json::from_slice(&store("inspect", &dir, &["--json"]).stdout).unwrap();
    let mut kv = SledKv::open(&dir, &SledOptions::default()).unwrap();
    kv.remove(b"meta").unwrap();
    drop(kv);
    let verified = store("verify", &dir, &[]);
    assert!(code(&verified) == 3 && text(&verified).contains("its record is missing"), "{}", text(&verified));
    let repaired = store("repair", &dir, &["--into", &new.to_string_lossy()]);
    assert!(text(&repaired).contains("salvaged 50 messages"), "{}", text(&repaired));
    assert!(text(&repaired).contains("unknown: what else was acknowledged"), "{}", text(&repaired));
    let after: serde_json::Value = serde_json::from_slice(&store("inspect", &new, &["--json"]).stdout).unwrap();
    assert_eq!(after["client_name"], "me");
    assert!(after["reserved_through"].as_u64() > inspected["reserved_through"].as_u64());
    assert_eq!(delivered(&new).await, (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn bookmarks_are_shown_checked_and_salvaged_only_as_a_whole() {
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap();
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("bookmarks");
    let publisher = Client::builder("publisher").server(server.uri()).connect().await.unwrap();
    for id in 0..20 {
        publisher.publish("t", id.to_string()).await.unwrap();
    }
    publisher.flush().await.unwrap();
    let subscriber = |dir: &Path| Client::builder("me").server(server.uri()).bookmark_store(BookmarkStore::sled(dir));
    let client = subscriber(&dir).connect().await.unwrap();
    let mut messages = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)).await.unwrap();
    for _ in 0..15 {
        let message = messages.next_message().await.unwrap().unwrap();
        messages.discard(&message);
    }
    messages.discarded().await.unwrap();
    drop(messages);
    client.close(SOON).await;

    let inspected = store("inspect", &dir, &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!((&json["kind"], &json["client_name"]), (&"bookmarks".into(), &"me".into()), "{json}");
    let subscriptions = json["subscriptions"].as_object().unwrap();
    assert!(subscriptions.values().next().unwrap()[0]["discarded_through"].is_u64(), "{json}");
    assert_eq!(code(&store("verify", &dir, &[])), 0);

    let whole = root.path().join("whole");
    assert_eq!(code(&store("repair", &dir, &["--into", &whole.to_string_lossy()])), 0);
    let mut bytes = fs::read(dir.join("db")).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2] ^= 1;
    fs::write(dir.join("db"), bytes).unwrap();
    assert_eq!(code(&store("verify", &dir, &[])), 3);
    let fresh = root.path().join("fresh");
    let repaired = store("repair", &dir, &["--into", &fresh.to_string_lossy()]);
    assert!(code(&repaired) == 3 && text(&repaired).contains("start over"), "{}", text(&repaired));
    for (dir, next) in [(whole, "15"), (fresh, "0")] {
        let client = subscriber(&dir).connect().await.unwrap();
        let mut messages = client.subscribe(Subscribe::to("t").bookmark(StartAt::Epoch)).await.unwrap();
        let message = tokio::time::timeout(SOON, messages.next_message()).await.unwrap().unwrap().unwrap();
        assert_eq!(message.data(), next.as_bytes());
        drop(messages);
        client.close(SOON).await;
    }
}
