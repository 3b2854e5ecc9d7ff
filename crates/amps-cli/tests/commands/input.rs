//! What is published from files, archives and standard input, and with which
//! fields.

use std::fs;
use std::io::Write;

use zip::write::{SimpleFileOptions, ZipWriter};

use crate::harness::{last_json, lines, run, run_with_input, server, stderr, stdout};

/// Everything the topic has, one string a message.
fn logged(uri: &str, count: usize) -> Vec<String> {
    let count = count.to_string();
    let args = ["subscribe", "--server", uri, "--topic", "t", "--bookmark", "epoch", "--count", &count];
    let json = lines(&[&args[..], &["--format", "json"]].concat());
    json.iter().map(|line| last_json(line)["data"].to_string()).collect()
}

#[test]
fn several_files_and_an_archive_are_published_in_their_order() {
    let (_server, uri) = server("127.0.0.1:0", &[]);
    let dir = tempfile::tempdir().unwrap();
    let [one, archive, two] = ["one", "two.zip", "three"].map(|name| dir.path().join(name));
    fs::write(&one, "1\n2\n").unwrap();
    fs::write(&two, "5").unwrap();
    let mut zip = ZipWriter::new(fs::File::create(&archive).unwrap());
    for (name, body) in [("b", "{\"a\":\n3}"), ("a", "4")] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(body.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let files = [&one, &archive, &two].map(|path| path.to_str().unwrap());
    let published = run(&["publish", "--server", &uri, "--topic", "t", "--file", files[0], files[1], files[2]]);
    assert_eq!(last_json(&stdout(&published))["persisted"], 5, "{published:?}");
    assert_eq!(logged(&uri, 5), ["1", "2", "\"{\\\"a\\\":\\n3}\"", "4", "5"]);
}

#[test]
fn any_byte_may_stand_between_messages_or_none() {
    let (_server, uri) = server("127.0.0.1:0", &[]);
    for (delimiter, input, messages) in [(";", "1;2", 2), ("0", "3\x004", 2), ("none", "[5,\n6]", 1)] {
        let published = run_with_input(&["publish", "--server", &uri, "--topic", "t", "--delimiter", delimiter], input);
        assert_eq!(last_json(&stdout(&published))["published"], messages, "{delimiter}");
    }
    assert_eq!(logged(&uri, 5), ["1", "2", "3", "4", "\"[5,\\n6]\""]);
}

#[test]
fn messages_may_stand_on_the_command_line() {
    let (_server, uri) = server("127.0.0.1:0", &[]);
    let args = ["publish", "--server", &uri, "--topic", "t", "--data", "1", "[2,\n3]"];
    assert_eq!(last_json(&stdout(&run(&args)))["persisted"], 2);
    assert_eq!(logged(&uri, 2), ["1", "\"[2,\\n3]\""]);
    let both = run(&[&args[..], &["--file", "-"]].concat());
    assert_eq!(both.status.code(), Some(2), "{both:?}");
}

#[test]
fn a_damaged_input_is_named_and_fails() {
    let (_server, uri) = server("127.0.0.1:0", &[]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no.zip");
    fs::write(&path, "no archive").unwrap();
    let failed = run(&["publish", "--server", &uri, "--topic", "t", "--file", path.to_str().unwrap()]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(stderr(&failed).contains("no.zip"), "{failed:?}");
}

#[test]
fn messages_carry_the_fields_that_are_given() {
    let (_server, uri) = server("127.0.0.1:0", &[]);
    let sent = ["publish", "--server", &uri, "--topic", "t", "--correlation-id", "gateway7"];
    assert!(run_with_input(&sent, "x").status.success());
    let args = ["subscribe", "--server", &uri, "--topic", "t", "--bookmark", "epoch", "--count", "1"];
    assert_eq!(lines(&[&args[..], &["--format", "{correlation_id}|{topic}|{data}"]].concat()), ["gateway7|t|x"]);

    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("server.toml");
    fs::write(
        &config,
        "[[sow]]\ntopic = \"keyed\"\n\n[[sow]]\ntopic = \"brief\"\nkey = \"/id\"\nexpiration = \"1h\"\n",
    )
    .unwrap();
    let (_server, uri) = server("127.0.0.1:0", &["--config", config.to_str().unwrap()]);
    let to = |topic| ["--server", uri.as_str(), "--topic", topic];
    let keyed = [&["publish"][..], &to("keyed"), &["--sow-key", "mine"]].concat();
    assert!(run_with_input(&keyed, "{}").status.success());
    assert_eq!(lines(&[&["sow"][..], &to("keyed"), &["--format", "{sowkey}"]].concat()), ["mine"]);
    let brief = [&["publish"][..], &to("brief"), &["--expiration", "0.001"]].concat();
    assert!(run_with_input(&brief, "{\"id\":1}").status.success());
    crate::harness::wait_for("the record is gone", || lines(&[&["sow"][..], &to("brief")].concat()).is_empty());
}

#[test]
fn the_summary_may_be_for_people_or_none() {
    let (_server, uri) = server("127.0.0.1:0", &[]);
    let publish =
        |form| stdout(&run_with_input(&["publish", "--server", &uri, "--topic", "t", "--summary", form], "a\nb"));
    assert!(publish("text").starts_with("2 published, 2 persisted, 0 reconnects, "), "{}", publish("text"));
    assert_eq!(publish("none"), "");
    let args = ["subscribe", "--server", &uri, "--topic", "t", "--bookmark", "epoch", "--count", "2"];
    let counted = last_json(&stderr(&run(&[&args[..], &["--summary", "json"]].concat())));
    assert_eq!((&counted["messages"], &counted["bytes"], &counted["gaps"]), (&2.into(), &2.into(), &0.into()));
}
