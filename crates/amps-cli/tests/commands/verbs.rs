//! The verbs as a whole, spelled as `spark` spells them, their help, and what is
//! made of their definition.

use std::fs;

use crate::harness::{amps, last_json, lines, publish, run, server, stdout};

/// The verbs that the help lists, but for `help` itself.
fn verbs() -> Vec<String> {
    let help = lines(&["--help"]);
    let listed = help.iter().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    // Further lines of a description stand further to the right.
    let first_lines = listed.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let names = first_lines.filter_map(|line| line.split_whitespace().next());
    let names: Vec<_> = names.filter(|name| *name != "help").map(str::to_owned).collect();
    assert!(names.len() >= 16, "{names:?}");
    names
}

#[test]
fn every_verb_has_help_with_the_exit_codes() {
    for verb in verbs() {
        let text = lines(&["help", &verb]).join("\n");
        assert!(text.contains("Exit codes:") && text.contains("128+N"), "{verb}: {text}");
    }
}

#[test]
fn every_verb_has_a_manual_page_and_completions() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("made/on/the/way");
    lines(&["man", pages.to_str().unwrap()]);
    let main = fs::read_to_string(pages.join("amps.1")).unwrap();
    assert!(main.contains("Exit codes"), "{main}");
    let scripts = ["bash", "zsh", "fish"].map(|shell| lines(&["completions", shell]).join("\n"));
    for verb in verbs() {
        let page = fs::read_to_string(pages.join(format!("amps-{verb}.1"))).unwrap();
        assert!(page.len() > 200 && page.contains("Exit codes"), "{verb}: {page}");
        for script in &scripts {
            assert!(script.contains(&verb), "{verb}");
        }
    }
    assert!(pages.join("amps-queue-consume.1").exists());
}

/// The examples of the AMPS User Guide, "spark", with this program's name.
#[test]
fn command_lines_written_for_spark_are_understood() {
    let (_server, uri) = server("127.0.0.1:0", &["--sow", "order:/id", "--queue", "work"]);
    let host = uri.strip_prefix("tcp://").unwrap().strip_suffix("/amps/json").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::write(&data, "{\"id\":1,\"price\":3}\x1e{\"id\":2,\"price\":1}\x1e{\"id\":3,\"price\":2}").unwrap();
    let data = data.to_str().unwrap();
    let to = ["-server", host, "-topic", "order", "-type", "json", "-proto", "amps"];
    lines(&["ping", "-server", host, "-type", "json", "-prot", "amps", "-uriopts", "tcp_nodelay=true"]);
    lines(&[&["publish"][..], &to, &["-file", data, "-delimiter", "30", "-rate", "1000.5"]].concat());
    let query = [&["sow"][..], &to, &["-filter", "/id > 0", "-orderby", "/price", "-topn", "2"]].concat();
    let got = lines(&[&query[..], &["-batchsize", "5", "-format", "{topic} {length} {data}"]].concat());
    assert_eq!(got, ["order 18 {\"id\":2,\"price\":1}", "order 18 {\"id\":3,\"price\":2}"]);
    let got = lines(&[&["sow_and_subscribe"][..], &to, &["-delta", "-topn", "1", "-idle-exit", "5"]].concat());
    assert_eq!(got.len(), 1);
    let got = lines(&[&["sow_delete"][..], &to, &["-filter", "/price = 1"]].concat());
    assert_eq!(last_json(&got[0])["deleted"], 1);
    publish(&uri, "work", &["a", "b"]);
    let took = ["subscribe", "-server", host, "-type", "json", "-topic", "work", "-ack", "-max_backlog", "2"];
    assert_eq!(lines(&[&took[..], &["-count", "2"]].concat()), ["a", "b"]);
    let secure = run(&["ping", "-secure", "true", "-urischeme", "tcps", "-server", host, "--timeout", "0.2"]);
    assert_eq!(secure.status.code(), Some(1), "TLS is spoken, and the server does not");
    let class = "com.crankuptheamps.spark.DefaultAuthenticatorFactory";
    lines(&["ping", "-server", host, "-authenticator", class]);
    let other = run(&["ping", "-server", host, "-authenticator", "org.example.Mine"]);
    assert_eq!(other.status.code(), Some(2));
}

#[test]
fn verbs_may_have_hyphens() {
    for verb in ["sow-and-subscribe", "sow-and-delta-subscribe", "sow-delete", "delta-publish", "delta-subscribe"] {
        assert!(lines(&[verb, "--help"])[0].len() > 10, "{verb}");
    }
}

#[test]
fn ping_names_the_server_and_its_version() {
    let (_server, uri) = server("127.0.0.1:0", &[]);
    let port = uri.split([':', '/']).nth(4).unwrap().to_owned();
    let local = format!("localhost:{port}");
    let text = lines(&["ping", "--server", &local, "--type", "json"]).join("");
    assert!(text.starts_with(&format!("tcp://{local}/amps/json answered in ")), "{text}");
    assert!(text.contains("version 5.3"), "{text}");
    let json = last_json(&stdout(&run(&["ping", "--server", &local, "--summary", "json"])));
    assert_eq!(json["server"], format!("tcp://{local}/amps"));
    assert!(json["milliseconds"].as_f64() > Some(0.0) && json["version"].is_string(), "{json}");
}

#[test]
fn what_is_piped_has_no_colours_and_a_closed_pipe_is_no_failure() {
    let (_server, uri) = server("127.0.0.1:0", &["--sow", "t:/id"]);
    let all: Vec<_> = (0..5_000).map(|id| format!("{{\"id\":{id}}}")).collect();
    publish(&uri, "t", &all.iter().map(String::as_str).collect::<Vec<_>>());
    let mut query = amps(&["sow", "--server", &uri, "--topic", "t", "--batch-size", "100"]);
    let mut child = query.env("CLICOLOR", "1").spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!output.stderr.contains(&0x1b), "{output:?}");
    for args in [&["completions", "bash"][..], &["conformance", "--list"], &["ping", "--server", &uri]] {
        let mut child = amps(args).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    }
    let refused = run(&["ping", "--server", "127.0.0.1:1", "--timeout", "0.1"]);
    assert!(!refused.stderr.is_empty() && !refused.stderr.contains(&0x1b), "{refused:?}");
}
