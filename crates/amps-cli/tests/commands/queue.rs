//! Queues: messages are taken, acknowledged, given back.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::harness::{Running, amps, last_json, lines, publish, run, server, stderr, stdout};

fn work(count: usize) -> (Running, String) {
    let (server, uri) = server("127.0.0.1:0", &["--queue", "work"]);
    let all: Vec<_> = (0..count).map(|n| format!("{{\"n\":{n}}}")).collect();
    publish(&uri, "work", &all.iter().map(String::as_str).collect::<Vec<_>>());
    (server, uri)
}

/// What nobody has.
fn left(uri: &str) -> Vec<String> {
    lines(&["sow", "--server", uri, "--topic", "work"])
}

#[test]
fn a_message_leaves_the_queue_once_it_is_printed() {
    let (_server, uri) = work(30);
    let to = ["--server", uri.as_str(), "--topic", "work"];
    assert_eq!(lines(&[&["queue", "consume"][..], &to, &["--count", "10"]].concat()).len(), 10);
    assert_eq!(left(&uri).len(), 20, "and no more than was printed");
    assert_eq!(lines(&[&["subscribe", "--ack"][..], &to, &["--count", "5"]].concat()).len(), 5);
    assert_eq!(left(&uri).len(), 15);
    let filtered = [&["queue", "consume"][..], &to, &["--filter", "/n = 29", "--count", "1"]].concat();
    assert_eq!(lines(&filtered), ["{\"n\":29}"]);
}

#[test]
fn looking_at_a_queue_takes_nothing_and_says_so() {
    let (_server, uri) = work(2);
    let looked = run(&["subscribe", "--server", &uri, "--topic", "work", "--count", "1"]);
    assert_eq!(stdout(&looked).lines().count(), 1);
    assert!(stderr(&looked).contains("--ack takes them"), "{looked:?}");
    assert_eq!(left(&uri).len(), 2);
}

#[test]
fn messages_are_acknowledged_by_filter_bookmarks_or_all_and_counted() {
    let (_server, uri) = work(10);
    let ack = |more: &[&str]| {
        let output = run(&[&["queue", "ack", "--server", &uri, "--topic", "work"], more].concat());
        (output.status.code(), stdout(&output))
    };
    assert_eq!(ack(&[]).0, Some(2), "which ones has to be said");
    assert_eq!(last_json(&ack(&["--filter", "/n < 4"]).1)["messages"], 4);
    // The log of a queue can be read without taking anything from it.
    let log = ["subscribe", "--server", &uri, "--topic", "work", "--bookmark", "epoch", "--format", "{bookmark}"];
    let two = lines(&[&log[..], &["--filter", "/n = 4 OR /n = 5", "--count", "2"]].concat());
    assert_eq!(two.len(), 2);
    assert_eq!(last_json(&ack(&["--bookmarks", &two.join(",")]).1)["messages"], 2);
    assert_eq!(last_json(&ack(&["--bookmarks", &two.join(",")]).1)["messages"], 0, "once");
    assert_eq!(last_json(&ack(&["--all"]).1)["messages"], 4);
    assert_eq!(left(&uri).len(), 0);
    assert_eq!(ack(&["--bookmarks", "none"]).0, Some(2));
}

#[test]
fn a_message_that_somebody_has_is_given_back_to_the_queue() {
    let (_server, uri) = work(1);
    let args = ["subscribe", "--server", &uri, "--topic", "work", "--format", "{bookmark}"];
    let mut holder = Running::start(amps(&args));
    let mut printed = BufReader::new(holder.0.stdout.take().unwrap()).lines();
    let bookmark = printed.next().unwrap().unwrap();
    assert!(left(&uri).is_empty(), "it is under way");
    let cancelled =
        run(&["queue", "cancel", "--server", &uri, "--topic", "work", "--bookmarks", &bookmark, "--summary", "text"]);
    assert!(stdout(&cancelled).starts_with("1 message, "), "{cancelled:?}");
    // And goes to who asks for messages, which is the same one.
    assert_eq!(printed.next().unwrap().unwrap(), bookmark);
}

#[test]
fn another_program_says_what_becomes_of_each_message() {
    let (_server, uri) = work(6);
    let args = ["queue", "consume", "--answers", "--server", &uri, "--topic", "work", "--max-backlog", "2"];
    let mut command = amps(&[&args[..], &["--format", "{bookmark} {data}"]].concat());
    command.stdin(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running::start(command);
    let mut answers = running.0.stdin.take().unwrap();
    let mut messages = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let mut next = || {
        let line = messages.next().unwrap().unwrap();
        let (bookmark, body) = line.split_once(' ').unwrap();
        (bookmark.to_owned(), body.to_owned())
    };
    let [first, second] = [next(), next()];
    assert_eq!((first.1.as_str(), second.1.as_str()), ("{\"n\":0}", "{\"n\":1}"));
    // No more than two are under way: the third comes for an answer.
    writeln!(answers, "cancel {}\nack {}", first.0, second.0).unwrap();
    let mut third = next();
    // What was given back comes again.
    for _ in 0..5 {
        if third.1 == first.1 {
            break;
        }
        writeln!(answers, "ack {}", third.0).unwrap();
        third = next();
    }
    assert_eq!(third.1, first.1);
    writeln!(answers, "expire {}", third.0).unwrap();
    drop(answers);
    let code = running.0.wait().unwrap().code();
    assert_eq!(code, Some(0));
    assert!(!left(&uri).iter().any(|body| *body == first.1 || *body == second.1), "{:?}", left(&uri));
}

#[test]
fn what_is_no_answer_ends_it_and_nothing_is_acknowledged() {
    let (_server, uri) = work(1);
    let output = crate::harness::run_with_input(
        &["queue", "consume", "--answers", "--server", &uri, "--topic", "work", "--count", "1"],
        "done 1|2|\n",
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("expected ack, cancel or expire"), "{output:?}");
    assert_eq!(left(&uri).len(), 1);
}
