//! The examples of docs/tool.md, run one after another.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{forget_settings, free_ports};

const DOCUMENT: &str = include_str!("../../../../docs/tool.md");

/// The lines of all examples, in their order.
fn examples() -> impl Iterator<Item = &'static str> {
    DOCUMENT.split("```console\n").skip(1).flat_map(|rest| rest.split("```").next().unwrap().lines())
}

/// The line with every number 0: times and ports are others each time.
fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    for char in line.chars() {
        match char {
            '0'..='9' if text.ends_with('0') => {}
            '0'..='9' => text.push('0'),
            '.' if text.ends_with('0') => {}
            _ => text.push(char),
        }
    }
    text
}

#[test]
fn the_examples_of_the_document_work_as_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = free_ports();
    let commands: Vec<_> = examples().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(commands.len() > 25, "{commands:?}");
    let script = commands.join("\n").replace("9007", &one.to_string()).replace("9008", &two.to_string());
    // What goes on in the background ends with it.
    let script = format!(
        "set -eEuo pipefail -m\ntrap 'for job in $(jobs -p); do kill $job || true; done' EXIT\n{script}\necho all of it\n"
    );
    fs::write(dir.path().join("script"), &script).unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_amps")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    let mut command = Command::new("bash");
    forget_settings(&mut command);
    let status = command
        .arg("script")
        .current_dir(dir.path())
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(&err).unwrap())
        .status()
        .unwrap();
    let (out, err) = (fs::read_to_string(out).unwrap(), fs::read_to_string(err).unwrap());
    assert!(status.success() && out.ends_with("all of it\n"), "{script}\n{out}\n{err}");
    // What the document shows is what is printed.
    let shown: Vec<_> = examples().filter(|line| !line.starts_with("$ ")).map(without_numbers).collect();
    let printed: Vec<_> = out.lines().filter(|line| !line.starts_with("listening on ")).map(without_numbers).collect();
    assert_eq!(shown[..], printed[..printed.len() - 1], "{out}\n{err}");
}
