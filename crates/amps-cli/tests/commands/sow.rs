//! Records: queries, what follows them, deltas and deletions.

use std::fs;
use std::process::Stdio;

use crate::harness::{Running, amps, last_json, lines, publish, run, run_with_input, server, stderr, stdout, wait_for};

const PRICES: [&str; 3] = [
    r#"{"id":1,"symbol":"ABC","price":9.50}"#,
    r#"{"id":2,"symbol":"A LONGER NAME","price":120}"#,
    r#"{"id":3,"symbol":"X","price":7,"note":null}"#,
];

fn prices() -> (Running, String) {
    let (server, uri) = server("127.0.0.1:0", &["--sow", "prices:/id"]);
    publish(&uri, "prices", &PRICES);
    (server, uri)
}

#[test]
fn a_query_takes_filter_order_count_and_keys() {
    let (_server, uri) = prices();
    let sow = |more: &[&str]| lines(&[&["sow", "--server", &uri, "--topic", "prices"], more].concat());
    assert_eq!(sow(&["--filter", "/price > 100"]), [PRICES[1]]);
    assert_eq!(sow(&["--order-by", "/price DESC", "--top-n", "2"]), [PRICES[1], PRICES[0]]);
    let key = &sow(&["--filter", "/id = 3", "--format", "{sowkey}"])[0];
    assert_eq!(sow(&["--keys", key]), [PRICES[2]]);
    assert_eq!(sow(&["--options", "select=[-/,+/id]", "--filter", "/id = 1"]), [r#"{"id":1}"#]);
}

#[test]
fn records_are_shown_as_json_with_headers_as_a_table_or_by_a_template() {
    let (_server, uri) = prices();
    let sow = |more: &[&str]| {
        lines(&[&["sow", "--server", &uri, "--topic", "prices", "--order-by", "/id", "--format"], more].concat())
    };
    let json: serde_json::Value = serde_json::from_str(&sow(&["json"])[0]).unwrap();
    assert_eq!((&json["command"], &json["topic"], &json["data"]["id"]), (&"sow".into(), &"prices".into(), &1.into()));
    assert!(json["sow_key"].is_string(), "{json}");
    assert_eq!(
        sow(&["table"]),
        [
            "id  symbol         price  note",
            "--  -------------  -----  ----",
            " 1  ABC             9.50",
            " 2  A LONGER NAME    120",
            " 3  X                  7"
        ]
    );
    assert_eq!(sow(&["{command}: {data}"])[2], format!("sow: {}", PRICES[2]));
}

/// A process that goes on, and what it prints.
struct Follower {
    _running: Running,
    dir: tempfile::TempDir,
}

impl Follower {
    fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = amps(args);
        command.stdout(fs::File::create(dir.path().join("out")).unwrap()).stderr(Stdio::null());
        Self { _running: Running::start(command), dir }
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.dir.path().join("out")).unwrap().lines().map(str::to_owned).collect()
    }

    fn wait_for(&self, line: &str) {
        wait_for(line, || self.lines().iter().any(|seen| seen == line));
    }
}

#[test]
fn records_are_followed_by_what_changes_them() {
    let (_server, uri) = prices();
    let query = ["--server", &uri, "--topic", "prices", "--options", "oof", "--filter", "/price < 100"];
    let follower = Follower::start(&[&["sow_and_subscribe", "--format", "{command} {data}"], &query[..]].concat());
    follower.wait_for(&format!("sow {}", PRICES[0]));
    publish(&uri, "prices", &[r#"{"id":9,"price":8}"#, r#"{"id":1,"symbol":"ABC","price":101}"#]);
    follower.wait_for(r#"publish {"id":9,"price":8}"#);
    follower.wait_for(r#"oof {"id":1,"symbol":"ABC","price":101}"#);
    assert!(!follower.lines().iter().any(|line| line.contains("A LONGER NAME")), "{:?}", follower.lines());
}

#[test]
fn deltas_are_published_and_followed() {
    let (_server, uri) = prices();
    let query = ["--server", &uri, "--topic", "prices", "--options", "send_keys", "--filter", "/id = 1"];
    let both = Follower::start(&[&["sow_and_delta_subscribe"], &query[..]].concat());
    let changes = Follower::start(&[&["delta_subscribe"], &query[..]].concat());
    both.wait_for(PRICES[0]);
    let mut price = 20;
    let mut change = || {
        price += 1;
        let delta = format!(r#"{{"id":1,"price":{price}}}"#);
        let to = ["delta_publish", "--server", &uri, "--topic", "prices"];
        assert!(run_with_input(&to, &delta).status.success());
        delta
    };
    // It says that it has entered its subscription by nothing but what it gets.
    wait_for("a first delta", || {
        change();
        !changes.lines().is_empty()
    });
    let last = change();
    changes.wait_for(&last);
    both.wait_for(&last);
    let whole = lines(&["sow", "--server", &uri, "--topic", "prices", "--filter", "/id = 1"]);
    assert!(whole[0].contains(r#""symbol":"ABC""#), "merged: {whole:?}");
}

#[test]
fn records_are_deleted_by_filter_keys_data_files_or_all_and_counted() {
    let (_server, uri) = prices();
    let to = ["--server", uri.as_str(), "--topic", "prices"];
    let delete = |more: &[&str]| {
        let output = run(&[&["sow_delete"][..], &to, more].concat());
        assert!(output.status.success(), "{more:?}: {output:?}");
        last_json(&stdout(&output))
    };
    let left = || lines(&[&["sow"][..], &to].concat()).len();
    assert_eq!(delete(&["--filter", "/id = 7"])["deleted"], 0);
    assert_eq!(delete(&["--filter", "/id = 1"])["deleted"], 1);
    let key = lines(&[&["sow"][..], &to, &["--filter", "/id = 2", "--format", "{sowkey}"]].concat()).remove(0);
    assert_eq!(delete(&["--keys", &key])["deleted"], 1);
    assert_eq!(delete(&["--data", r#"{"id":3}"#])["deleted"], 1);
    assert_eq!(left(), 0);

    let many: Vec<_> = (0..200).map(|id| format!("{{\"id\":{id}}}")).collect();
    publish(&uri, "prices", &many.iter().map(String::as_str).collect::<Vec<_>>());
    let dir = tempfile::tempdir().unwrap();
    let half = dir.path().join("half");
    fs::write(&half, many[..100].join("\n")).unwrap();
    let totals = delete(&["--file", half.to_str().unwrap()]);
    assert_eq!((&totals["deleted"], &totals["requests"], &totals["uncounted"]), (&100.into(), &100.into(), &0.into()));
    assert_eq!(left(), 100);
    assert_eq!(delete(&["--all"])["deleted"], 100);
    assert_eq!(left(), 0);
}

#[test]
fn nothing_is_deleted_unless_it_is_said_what() {
    let (_server, uri) = prices();
    for more in [&[][..], &["--all", "--filter", "/id = 1"]] {
        let refused = run(&[&["sow_delete", "--server", &uri, "--topic", "prices"], more].concat());
        assert_eq!(refused.status.code(), Some(2), "{more:?}: {}", stderr(&refused));
    }
    assert_eq!(lines(&["sow", "--server", &uri, "--topic", "prices"]).len(), 3);
}

#[test]
fn what_comes_from_one_server_is_copied_to_another() {
    let (_from, from) = prices();
    let (_to, to) = server("127.0.0.1:0", &["--sow", "prices:/id"]);
    let copied = run(&["sow", "--server", &from, "--topic", "prices", "--copy", &to, "--summary", "json"]);
    assert!(copied.status.success(), "{copied:?}");
    assert_eq!(last_json(&stderr(&copied))["copied"], 3, "{copied:?}");
    assert_eq!(lines(&["sow", "--server", &to, "--topic", "prices"]).len(), 3);

    // What is kept as printed has arrived there.
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("bookmarks");
    let subscribe = ["subscribe", "--server", &from, "--topic", "prices", "--bookmark-store", store.to_str().unwrap()];
    lines(&[&subscribe[..], &["--count", "3", "--copy", &to]].concat());
    let log = ["subscribe", "--server", &to, "--topic", "prices", "--bookmark", "epoch", "--count", "6"];
    assert_eq!(lines(&log)[3..], PRICES);
}
