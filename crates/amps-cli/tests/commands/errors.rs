//! Errors say what to do next.

use std::thread;

use crate::harness::{free_port, lines, publish, run, server, stderr};

/// The exit code and what standard error says.
fn failed(args: &[&str]) -> (Option<i32>, String) {
    let output = run(args);
    (output.status.code(), stderr(&output))
}

#[test]
fn a_server_that_is_not_there_is_asked_about() {
    let server = format!("localhost:{}", free_port());
    let verbs = [
        &["ping"][..],
        &["sow", "--topic", "t"],
        &["sow_delete", "--topic", "t", "--all"],
        &["queue", "ack", "--topic", "t", "--all"],
        &["subscribe", "--topic", "t"],
        &["queue", "consume", "--topic", "t"],
    ];
    // Each takes all the time it is given.
    thread::scope(|scope| {
        for verb in verbs {
            let server = &server;
            scope.spawn(move || {
                let (code, said) = failed(&[verb, &["--server", server, "--timeout", "3"]].concat());
                assert_eq!(code, Some(1), "{verb:?}: {said}");
                assert!(said.contains("is the server running") && said.contains(server), "{verb:?}: {said}");
            });
        }
    });
    let (_, said) = failed(&["ping", "--server", "no.such.host.invalid:9007", "--timeout", "0.5"]);
    assert!(said.contains("no.such.host.invalid"), "{said}");
}

#[test]
fn a_filter_is_pointed_at_where_it_is_wrong() {
    let (_server, uri) = server("127.0.0.1:0", &["--sow", "t:/id"]);
    for verb in [&["sow"][..], &["subscribe"], &["sow_and_subscribe"], &["sow_delete"]] {
        let more = ["--server", uri.as_str(), "--topic", "t", "--filter", "/id = = 3"];
        let (code, said) = failed(&[verb, &more].concat());
        assert_eq!(code, Some(1), "{verb:?}: {said}");
        assert!(said.contains("\n  /id = = 3\n        ^ expected a value"), "{verb:?}: {said}");
    }
}

#[test]
fn a_topic_that_cannot_do_it_is_explained() {
    let (_server, uri) = server("127.0.0.1:0", &[]);
    let (code, said) = failed(&["sow", "--server", &uri, "--topic", "t"]);
    assert!(code == Some(1) && said.contains("need a SOW"), "{said}");
}

#[test]
fn a_command_line_without_a_server_or_with_a_misspelt_option_says_what_there_is() {
    let (code, said) = failed(&["sow", "--topic", "t"]);
    assert!(code == Some(2) && said.contains("AMPS_SERVER") && said.contains("--profile"), "{said}");
    let (code, said) = failed(&["sow", "-tpic", "t"]);
    assert!(code == Some(2) && said.contains("--topic"), "{said}");
    let (code, said) = failed(&["sow", "-server", "h:1", "-topic", "t", "-format", "{nothing}"]);
    assert!(code == Some(2) && said.contains("{bookmark}"), "{said}");
}

/// A server acknowledges what its synchronous peers have; one of them is not there.
#[test]
fn acknowledgements_that_stay_away_are_explained() {
    let peer = format!("tcp://127.0.0.1:{}/amps/json", free_port());
    let (_server, uri) = server("127.0.0.1:0", &["--peer", &peer]);
    let mut command = crate::harness::amps(&["publish", "--server", &uri, "--topic", "t", "--file", "/dev/stdin"]);
    let dir = tempfile::tempdir().unwrap();
    let (input, said) = (dir.path().join("in"), dir.path().join("err"));
    std::fs::write(&input, "one\n").unwrap();
    command.stdin(std::fs::File::open(&input).unwrap()).stderr(std::fs::File::create(&said).unwrap());
    let running = crate::harness::Running::start(command);
    crate::harness::wait_for("an explanation", || {
        std::fs::read_to_string(&said).unwrap().contains("1 message not acknowledged for 5 s")
    });
    running.terminate();
    assert_eq!(running.output().0, Some(128 + 15));
}

#[test]
fn the_end_of_a_client_is_not_told_as_a_loss() {
    let (_server, uri) = server("127.0.0.1:0", &["--sow", "t:/id"]);
    publish(&uri, "t", &["{\"id\":1}"]);
    let args = ["subscribe", "--server", &uri, "--topic", "t", "--bookmark", "epoch", "--count", "1"];
    assert_eq!(stderr(&run(&args)).lines().collect::<Vec<_>>(), [format!("connected {uri}")]);
    assert_eq!(lines(&args), ["{\"id\":1}"]);
}
