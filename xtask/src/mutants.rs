//! `cargo xtask mutants`: changes the state machines one place at a time and says
//! which changes no test notices. cargo-mutants does the work.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::{Failure, binary, reliability};

/// A part of the code, and the package whose tests have to notice.
#[derive(Debug)]
struct Area {
    name: &'static str,
    package: &'static str,
    /// Files, and directories with what is in them.
    paths: &'static [&'static str],
}

const AREAS: &[Area] = &[
    Area { name: "frame", package: "amps-core", paths: &["crates/amps-core/src/frame.rs"] },
    Area { name: "header", package: "amps-core", paths: &["crates/amps-core/src/header/"] },
    Area {
        name: "session",
        package: "amps-ha",
        paths: &["crates/amps-ha/src/session.rs", "crates/amps-ha/src/session/"],
    },
    Area { name: "publish_log", package: "amps-ha", paths: &["crates/amps-ha/src/publish_log/"] },
    Area {
        name: "bookmarks",
        package: "amps-ha",
        paths: &["crates/amps-ha/src/bookmarks.rs", "crates/amps-ha/src/bookmarks/"],
    },
];

/// Options of the changes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this part, or these if given again: frame, header, session, publish_log
    /// or bookmarks; all unless given.
    #[arg(long, value_name = "NAME")]
    area: Vec<String>,
    /// Only each so manieth change; 1 is all of them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    every: u32,
    /// So many builds beside each other.
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: u32,
    /// Puts the figures in place of the part's earlier ones in this file and writes
    /// the document beside it anew.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = reliability::FIGURES)]
    record: Option<PathBuf>,
}

/// What became of the changes to one part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tested {
    /// Changes that could be made.
    pub(crate) possible: u64,
    /// Those that were.
    pub(crate) tested: u64,
    /// A test failed.
    pub(crate) caught: u64,
    /// No test failed.
    pub(crate) missed: u64,
    /// A test did not end.
    pub(crate) timeout: u64,
    /// It did not build.
    pub(crate) unviable: u64,
}

#[derive(Debug, Serialize)]
struct Line {
    area: &'static str,
    #[serde(flatten)]
    tested: Tested,
}

/// Makes the changes. Says whether all were noticed.
///
/// # Errors
/// When it cannot be carried out, or the tests fail without any change.
pub(crate) fn mutants(args: &Args) -> Result<bool, Failure> {
    let names: Vec<_> = AREAS.iter().map(|area| area.name).collect();
    if let Some(name) = args.area.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(Failure::new(format!("there is no part '{name}'; there are {}", names.join(", "))));
    }
    let chosen: Vec<_> =
        AREAS.iter().filter(|area| args.area.is_empty() || args.area.iter().any(|name| name == area.name)).collect();
    let mut lines = Vec::new();
    // A package is built once.
    for areas in chosen.chunk_by(|one, other| one.package == other.package) {
        for (area, tested) in areas.iter().zip(test(areas, args)?) {
            if let Some(file) = &args.record {
                reliability::record_mutants(file, area.name, &tested)?;
            }
            lines.push(Line { area: area.name, tested });
        }
    }
    println!("{}", serde_json::to_string(&lines).map_err(|error| Failure::new(error.to_string()))?);
    Ok(lines.iter().all(|line| line.tested.missed == 0))
}

/// Tests parts of one package.
fn test(areas: &[&Area], args: &Args) -> Result<Vec<Tested>, Failure> {
    let package = areas.first().map_or("", |area| area.package);
    let cargo_mutants = || {
        let mut command = Command::new("cargo");
        // The oracles are what the tests compare with.
        let narrowed = ["mutants", "--package", package, "--exclude", "**/oracle.rs"];
        command.current_dir(binary::workspace()).args(narrowed);
        for path in areas.iter().flat_map(|area| area.paths) {
            let all = if path.ends_with('/') { "**" } else { "" };
            command.arg("--file").arg(format!("{path}{all}"));
        }
        command
    };
    let listed = cargo_mutants().arg("--list").stderr(Stdio::null()).output().map_err(not_there)?;
    if !listed.status.success() {
        return Err(not_there("it does not list any"));
    }
    let out = binary::in_target("mutants").join(package);
    std::fs::create_dir_all(&out).map_err(|error| failed(&out, &error))?;
    let (shard, jobs) = (format!("0/{}", args.every), args.jobs.to_string());
    let status = cargo_mutants()
        .args(["--shard", &shard, "--sharding", "round-robin", "--jobs", &jobs, "--output"])
        .arg(&out)
        // Each change costs a build and a run of the tests: without line tables, with
        // fewer random cases, and without the tests of what is below the state
        // machines.
        .args(["--", "--", "--skip", "kv::"])
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .env("PROPTEST_CASES", "100")
        .status()
        .map_err(not_there)?;
    // 2: some were missed, 3: some did not end (cargo-mutants book, "Exit codes").
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        return Err(Failure::new(format!("cargo mutants ended with {status}: see {}", out.display())));
    }
    // A change a line, its file first (cargo-mutants book, "The mutants.out
    // directory").
    let read = |name: &str| {
        let file = out.join("mutants.out").join(name);
        std::fs::read_to_string(&file).map_err(|error| failed(&file, &error))
    };
    let lists = [read("caught.txt")?, read("missed.txt")?, read("timeout.txt")?, read("unviable.txt")?];
    let listed = String::from_utf8_lossy(&listed.stdout);
    let tested = |area: &&Area| {
        let [caught, missed, timeout, unviable] = lists.each_ref().map(|list| count(area, list));
        let tested = caught + missed + timeout + unviable;
        Tested { possible: count(area, &listed), tested, caught, missed, timeout, unviable }
    };
    Ok(areas.iter().map(tested).collect())
}

/// How many of these changes are in a part.
fn count(area: &Area, changes: &str) -> u64 {
    changes.lines().filter(|line| area.paths.iter().any(|path| line.starts_with(path))).count() as u64
}

fn not_there(why: impl std::fmt::Display) -> Failure {
    Failure::new(format!("cannot run cargo mutants: {why}; `cargo install cargo-mutants --locked` installs it"))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_belongs_to_the_part_its_file_is_in() {
        let changes = "crates/amps-core/src/frame.rs:50:9: replace a with b\ncrates/amps-ha/src/session.rs:1:1: c\n\
                       crates/amps-ha/src/session/live.rs:2:1: d\ncrates/amps-ha/src/sessions.rs:3:1: e\n";
        let counts: Vec<_> = AREAS.iter().map(|area| count(area, changes)).collect();
        assert_eq!(counts, [1, 0, 2, 0, 0]);
    }

    #[test]
    fn every_part_is_there() {
        for path in AREAS.iter().flat_map(|area| area.paths) {
            assert!(binary::workspace().join(path).exists(), "{path}");
        }
    }
}
