//! The commands as other programs call them: real processes on loopback.

mod document;
mod errors;
mod failover;
mod harness;
mod input;
mod profiles;
mod queue;
mod sow;
mod verbs;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use harness::{
    Running, amps, bodies, free_port, last_json, ledger, readings, run, run_with_input, server, stdout, wait_for,
};

#[test]
fn what_is_published_is_what_a_subscriber_prints() {
    let (_server, uri) = server("127.0.0.1:0", &[]);
    let lines = readings(1_000);
    let published = run_with_input(&["publish", "--server", &uri, "--topic", "t"], &(lines.join("\n") + "\n"));
    assert!(published.status.success(), "{published:?}");
    let summary = last_json(&stdout(&published));
    assert_eq!(
        (&summary["published"], &summary["persisted"], &summary["failed"]),
        (&1_000.into(), &1_000.into(), &0.into())
    );
    assert!(summary["reconnects"].is_u64() && summary["seconds"].is_number());

    let subscribe = ["subscribe", "--server", &uri, "--topic", "t", "--bookmark", "epoch", "--count", "1000"];
    let got = run(&subscribe);
    assert!(got.status.success(), "{got:?}");
    assert_eq!(stdout(&got).lines().collect::<Vec<_>>(), lines);

    let got = run(&[&subscribe[..], &["--format", "json"]].concat());
    let first: serde_json::Value = serde_json::from_str(stdout(&got).lines().next().unwrap()).unwrap();
    assert_eq!((&first["topic"], &first["data"]["n"]), (&"t".into(), &0.into()));
    assert!(first["bookmark"].is_string() && first["timestamp_ms"].is_u64());
}

#[test]
fn an_idle_subscriber_ends_when_told_to() {
    let (_server, uri) = server("127.0.0.1:0", &[]);
    let got = run(&["subscribe", "--server", &uri, "--topic", "t", "--idle-exit", "0.3"]);
    assert!(got.status.success() && got.stdout.is_empty(), "{got:?}");
}

#[test]
fn a_bookmark_store_makes_a_new_process_go_on() {
    let (_server, uri) = server("127.0.0.1:0", &[]);
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("bookmarks");
    let subscribe = |count: &str| {
        let args = ["subscribe", "--server", &uri, "--topic", "t", "--bookmark", "recent", "--client-name", "s"];
        let got = run(&[&args[..], &["--bookmark-store", store.to_str().unwrap(), "--count", count]].concat());
        assert!(got.status.success(), "{got:?}");
        stdout(&got)
    };
    let lines = readings(30);
    run_with_input(&["publish", "--server", &uri, "--topic", "t"], &lines.join("\n"));
    let text = subscribe("10") + &subscribe("20");
    assert_eq!(text.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn lines_stored_without_a_server_survive_kill_9_and_arrive_once() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let uri = format!("tcp://127.0.0.1:{port}/amps/json");
    let (input, empty) = (dir.path().join("input"), dir.path().join("empty"));
    let (store, promises) = (format!("sled:{}", dir.path().join("store").display()), dir.path().join("ledger"));
    fs::write(&input, readings(50_000).join("\n")).unwrap();
    fs::write(&empty, "").unwrap();
    let publish = |file: &Path| {
        let mut command = amps(&["publish", "--server", &uri, "--topic", "t", "--client-name", "p", "--store", &store]);
        command.arg("--ledger").arg(&promises).arg("--file").arg(file);
        command
    };

    let offline = Running::start(publish(&input));
    wait_for("promises without a server", || ledger(&promises).len() > 500);
    offline.kill();
    let promised = ledger(&promises);

    let data = dir.path().join("data");
    let (server, _) = server(&format!("127.0.0.1:{port}"), &["--data", data.to_str().unwrap()]);
    let drained = publish(&empty).output().unwrap();
    assert!(drained.status.success(), "{drained:?}");
    server.kill();

    let logged = bodies(&data);
    assert_eq!(logged[..], readings(50_000)[..logged.len()], "each line once, in order");
    assert!(promised.iter().max() <= Some(&logged.len()), "{} promised, {} logged", promised.len(), logged.len());
}

#[test]
fn sigterm_keeps_the_store_and_an_empty_input_delivers_it() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let uri = format!("tcp://127.0.0.1:{port}/amps/json");
    let (store, promises) = (format!("sled:{}", dir.path().join("store").display()), dir.path().join("ledger"));
    let args = ["publish", "--server", &uri, "--topic", "t", "--client-name", "p", "--store", &store, "--file", "-"];

    let mut command = amps(&args);
    command.arg("--ledger").arg(&promises).stdin(Stdio::piped());
    let mut offline = Running::start(command);
    let mut stdin = offline.0.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\n").unwrap();
    wait_for("two promises", || ledger(&promises) == [1, 2]);
    offline.terminate();
    let (code, text) = offline.output();
    assert_eq!(code, Some(128 + 15), "{text}");
    let summary = last_json(&text);
    assert_eq!((&summary["published"], &summary["persisted"]), (&2.into(), &0.into()));

    let data = dir.path().join("data");
    let (server, _) = server(&format!("127.0.0.1:{port}"), &["--data", data.to_str().unwrap()]);
    let drained = run(&args);
    assert!(drained.status.success(), "{drained:?}");
    server.kill();
    assert_eq!(bodies(&data), ["one", "two"]);
}

#[test]
fn a_server_that_keeps_dropping_the_connection_logs_each_line_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (server, uri) = server("127.0.0.1:0", &["--data", data.to_str().unwrap(), "--cut-every", "2000"]);
    let lines = readings(20_000);
    let store = format!("sled:{}", dir.path().join("store").display());
    let args = ["publish", "--server", &uri, "--topic", "t", "--client-name", "p", "--store", &store];
    let published = run_with_input(&args, &lines.join("\n"));
    assert!(published.status.success(), "{published:?}");
    assert!(last_json(&stdout(&published))["reconnects"].as_u64() >= Some(1));
    server.kill();
    assert_eq!(bodies(&data), lines);
}

/// What a server acknowledged, and what a client was told is persisted, is in
/// its journal after `kill -9`, and a restart goes on from there.
#[test]
fn a_killed_server_has_what_it_acknowledged_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let more = ["--name", "A", "--data", data.to_str().unwrap()];
    let (first, uri) = server("127.0.0.1:0", &more);
    let listen = uri.split('/').nth(2).unwrap().to_owned();
    let store = format!("sled:{}", dir.path().join("store").display());
    let args = ["publish", "--server", &uri, "--topic", "t", "--client-name", "p", "--store", &store];

    let early = readings(5_000);
    let published = run_with_input(&args, &early.join("\n"));
    assert!(published.status.success(), "all is acknowledged: {published:?}");
    first.kill();
    assert_eq!(bodies(&data), early);

    let (second, _) = server(&listen, &more);
    let late: Vec<_> = (0..20_000).map(|n| format!("late {n}")).collect();
    let input = dir.path().join("late");
    fs::write(&input, late.join("\n")).unwrap();
    let mut command = amps(&args);
    command.arg("--file").arg(&input).args(["--rate", "20000"]);
    let publisher = Running::start(command);
    wait_for("part of it in the journal", || bodies(&data).len() > early.len() + 2_000);
    second.kill();
    let kept = bodies(&data);
    let expected: Vec<_> = early.iter().chain(&late).cloned().collect();
    assert_eq!(kept[..], expected[..kept.len()], "a whole prefix");

    let (third, _) = server(&listen, &more);
    let (code, text) = publisher.output();
    assert_eq!(code, Some(0), "{text}");
    third.kill();
    assert_eq!(bodies(&data), expected, "each line once, in order");
}

#[test]
fn sow_prints_the_last_record_of_each_key() {
    let (_server, uri) = server("127.0.0.1:0", &["--sow", "t:/station"]);
    run_with_input(&["publish", "--server", &uri, "--topic", "t"], &readings(20).join("\n"));
    let got = run(&["sow", "--server", &uri, "--topic", "t"]);
    assert!(got.status.success(), "{got:?}");
    let text = stdout(&got);
    let mut records: Vec<&str> = text.lines().collect();
    records.sort_unstable();
    assert_eq!(records, readings(20)[15..]);
}

#[test]
fn ping_tells_a_living_server_from_a_dead_one() {
    let (server, uri) = server("127.0.0.1:0", &[]);
    assert!(run(&["ping", "--server", &uri]).status.success());
    server.kill();
    let dead = run(&["ping", "--server", &uri]);
    assert_eq!(dead.status.code(), Some(1));
    assert!(!dead.stderr.is_empty());
}

#[test]
fn a_wrong_command_line_is_refused_before_anything_is_done() {
    for args in [
        &["publish", "--server", "not a uri", "--topic", "t"][..],
        &["publish", "--server", "tcp://127.0.0.1:1/amps/json", "--topic", "t", "--store", "paper"],
        &["publish", "--server", "tcp://127.0.0.1:1/amps/json", "--topic", "t", "--file", "/no/such/file"],
        &["subscribe", "--server", "tcp://127.0.0.1:1/amps/json", "--topic", "t", "--bookmark", "yesterday"],
    ] {
        let refused = run(args);
        assert!(!refused.status.success() && !refused.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_password_is_never_printed() {
    let uri = format!("tcp://me:SECRET@127.0.0.1:{}/amps/json", free_port());
    for args in [
        &["ping", "--timeout", "1", "--server", &uri][..],
        &["sow", "--timeout", "1", "--topic", "t", "--server", &uri],
        &["publish", "--topic", "t", "--server", "tcp://me:SECRET@nowhere/amps"],
        &["publish", "--topic", "t", "--server", "me:SECRET@nowhere"],
        &["subscribe", "--topic", "t", "--server", "tcp://me:SECRET@h:1/amps?x=1"],
    ] {
        let output = run(args);
        let text = format!("{}{}", stdout(&output), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success());
        assert!(!text.contains("SECRET"), "{args:?}: {text}");
    }
}

/// What stands in a configuration file is replaced by what is given beside it,
/// and by nothing else.
#[test]
fn a_configured_name_stays_beside_another_address() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("server.toml");
    fs::write(&config, "name = \"A\"\n").unwrap();
    for (more, name) in [(&[][..], "A"), (&["--name", "B"], "B")] {
        let mut command = amps(&["testserver", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(&config).args(more);
        let mut running = Running::start(command);
        let mut line = String::new();
        BufReader::new(running.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.ends_with(&format!("(name {name})\n")), "{line}");
    }
}

#[test]
fn a_server_is_described_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.toml");
    let file = path.to_str().unwrap();
    fs::write(&path, "name = \"A\"\nack_conflation = \"20ms\"\n\n[[queue]]\ntopic = \"work\"\nleese = \"1s\"\n")
        .unwrap();
    let output = run(&["testserver", "--config", file]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{said}");
    for part in ["server.toml", "line 6, column 1", "unknown field `leese`", "`lease`"] {
        assert!(said.contains(part), "lacks {part}: {said}");
    }

    let described = "name = \"A\"\nack_conflation = \"20ms\"\n\n[[queue]]\ntopic = \"work\"\nlease = \"1s\"\n\n\
                     [[peer]]\nuri = \"tcp://127.0.0.1:1/amps/json\"\nlink = \"async\"\n\n\
                     [[topic]]\ntopic = \"fills\"\nmessage_type = \"nvfix\"\n\n[readings]\nlong_publish = true\n";
    fs::write(&path, described).unwrap();
    let mut running = Running::start(amps(&["testserver", "--config", file]));
    let mut line = String::new();
    BufReader::new(running.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("(name A)"), "{line}");
    let uri = line.split_whitespace().find(|word| word.starts_with("tcp://")).unwrap().to_owned();
    let output = run_with_input(&["publish", "--server", &uri, "--topic", "work"], "{\"id\":1}\n");
    assert!(output.status.success(), "{output:?}");
    running.terminate();
    assert_eq!(running.output().0, Some(0));
}
