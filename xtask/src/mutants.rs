//! `cargo xtask mutants`: changes the state machines one place at a time and says
//! which changes no test notices. cargo-mutants does the work.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::{Failure, binary, reliability};

/// A part of the code, and the package whose tests have to notice.
#[derive(Debug)]
struct Area {
    name: &'static str,
    package: &'static str,
    files: &'static [&'static str],
}

const AREAS: &[Area] = &[
    Area { name: "frame", package: "amps-core", files: &["crates/amps-core/src/frame.rs"] },
    Area { name: "header", package: "amps-core", files: &["crates/amps-core/src/header/**"] },
    Area {
        name: "session",
        package: "amps-ha",
        files: &["crates/amps-ha/src/session.rs", "crates/amps-ha/src/session/**"],
    },
    Area { name: "publish_log", package: "amps-ha", files: &["crates/amps-ha/src/publish_log/**"] },
    Area {
        name: "bookmarks",
        package: "amps-ha",
        files: &["crates/amps-ha/src/bookmarks.rs", "crates/amps-ha/src/bookmarks/**"],
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

/// What became of the changes to one part: `outcomes.json` (cargo-mutants book,
/// "The mutants.out directory"), and how many there could be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tested {
    /// Changes that could be made.
    #[serde(default)]
    pub(crate) possible: u64,
    /// Those that were.
    #[serde(rename(deserialize = "total_mutants"))]
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
    let mut lines = Vec::new();
    for area in AREAS.iter().filter(|area| args.area.is_empty() || args.area.iter().any(|name| name == area.name)) {
        let tested = test(area, args)?;
        if let Some(file) = &args.record {
            reliability::record_mutants(file, area.name, &tested)?;
        }
        lines.push(Line { area: area.name, tested });
    }
    println!("{}", serde_json::to_string(&lines).map_err(|error| Failure::new(error.to_string()))?);
    Ok(lines.iter().all(|line| line.tested.missed == 0))
}

fn test(area: &Area, args: &Args) -> Result<Tested, Failure> {
    let listed = cargo_mutants(area).arg("--list").stderr(Stdio::null()).output().map_err(not_there)?;
    if !listed.status.success() {
        return Err(not_there("it does not list any"));
    }
    let possible = String::from_utf8_lossy(&listed.stdout).lines().count() as u64;
    let out = binary::in_target("mutants").join(area.name);
    std::fs::create_dir_all(&out).map_err(|error| failed(&out, &error))?;
    let shard = format!("0/{}", args.every);
    let status = cargo_mutants(area)
        .args(["--shard", &shard, "--sharding", "round-robin", "--jobs", &args.jobs.to_string(), "--output"])
        .arg(&out)
        .status()
        .map_err(not_there)?;
    // 2: some were missed, 3: some did not end (cargo-mutants book, "Exit codes").
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        return Err(Failure::new(format!("cargo mutants ended with {status}: see {}", out.display())));
    }
    let file = out.join("mutants.out").join("outcomes.json");
    let text = std::fs::read_to_string(&file).map_err(|error| failed(&file, &error))?;
    let tested: Tested = serde_json::from_str(&text).map_err(|error| failed(&file, &error.into()))?;
    Ok(Tested { possible, ..tested })
}

fn cargo_mutants(area: &Area) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(binary::workspace()).args(["mutants", "--package", area.package]);
    area.files.iter().for_each(|file| {
        command.args(["--file", file]);
    });
    command
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
    fn the_outcomes_of_cargo_mutants_are_read() {
        let text = r#"{"outcomes":[],"total_mutants":9,"missed":1,"caught":5,"timeout":2,"unviable":1,"success":0,
            "start_time":"2026-01-01T00:00:00Z","cargo_mutants_version":"27.1.0"}"#;
        let tested: Tested = serde_json::from_str(text).unwrap();
        assert_eq!(tested, Tested { possible: 0, tested: 9, caught: 5, missed: 1, timeout: 2, unviable: 1 });
    }

    #[test]
    fn every_part_is_there() {
        for file in AREAS.iter().flat_map(|area| area.files) {
            assert!(binary::workspace().join(file.trim_end_matches("/**")).exists(), "{file}");
        }
    }
}
