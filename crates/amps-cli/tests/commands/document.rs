//! The examples of docs/tool.md, and of the README, run one after another.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{forget_settings, free_ports};

/// The lines of all examples of a document, in their order.
fn examples(document: &str) -> impl Iterator<Item = &str> {
    document.split("```console\n").skip(1).flat_map(|rest| rest.split("```").next().unwrap().lines())
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
    let document = include_str!("../../../../docs/tool.md");
    assert!(examples(document).filter(|line| line.starts_with("$ ")).count() > 25);
    work_as_they_stand(document);
}

#[test]
fn the_examples_of_the_readme_work_as_they_stand() {
    let readme = include_str!("../../../../README.md");
    let (_, section) = readme.split_once("## The `amps` command\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    assert!(examples(section).filter(|line| line.starts_with("$ ")).count() > 5);
    work_as_they_stand(section);
}

/// Commands end well and print what is shown behind them.
fn work_as_they_stand(document: &str) {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = free_ports();
    let commands: Vec<_> = examples(document).filter_map(|line| line.strip_prefix("$ ")).collect();
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
    let shown: Vec<_> = examples(document).filter(|line| !line.starts_with("$ ")).map(without_numbers).collect();
    let printed: Vec<_> = out.lines().filter(|line| !line.starts_with("listening on ")).map(without_numbers).collect();
    assert_eq!(shown[..], printed[..printed.len() - 1], "{out}\n{err}");
}
