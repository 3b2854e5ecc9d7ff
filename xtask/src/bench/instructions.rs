//! `cargo xtask bench --instructions`: what codec and log cost in instructions.
//!
//! Time on a shared machine lies; instructions do not. Each piece of work is
//! done so many times under valgrind, and twice as often: the difference, by the
//! times, is without the start of the process. The figures are held against
//! those in the repository.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::part::Work;
use super::write;
use crate::Failure;
use crate::binary;

/// The figures kept.
const KEPT: &str = "xtask/instructions.json";
/// How much more than the kept figure is still fine, in per cent.
const TOLERANCE: u64 = 5;
/// How often each piece of work is done, and twice that.
const COUNT: u64 = 10_000;
/// The exit code when there is no valgrind.
const NO_VALGRIND: u8 = 3;

/// Instructions by piece of work, and the compiler that they depend on.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Figures {
    compiler: String,
    instructions: BTreeMap<String, u64>,
}

/// Counts, prints and compares; or keeps what it counted.
///
/// # Errors
/// When a program does not build, or valgrind's output is not understood.
pub(super) fn run(update: bool) -> Result<ExitCode, Failure> {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        eprintln!("error: there is no valgrind here: install it, with its tool callgrind, to count instructions");
        return Ok(ExitCode::from(NO_VALGRIND));
    }
    let xtask = binary::release("xtask", "xtask")?;
    let mut counted = Figures { compiler: compiler()?, ..Figures::default() };
    for work in Work::value_variants() {
        counted.instructions.insert(work.name().to_owned(), per_time(&xtask, *work)?);
    }
    let path = binary::workspace().join(KEPT);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let kept: Figures = match serde_json::from_str(&text) {
        Ok(kept) => kept,
        Err(_) if update => Figures::default(),
        Err(error) => return Err(Failure::new(format!("cannot read {KEPT}: {error}; --update makes it anew"))),
    };
    let (table, fine) = compare(&counted, &kept);
    println!("{table}");
    if kept.compiler != counted.compiler {
        println!("\nKept with {}, counted with {}: that alone makes a difference.", kept.compiler, counted.compiler);
    }
    if update {
        let json = serde_json::to_string_pretty(&counted).map_err(|error| Failure::new(error.to_string()))?;
        write(&path, &(json + "\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    if !fine {
        println!("\nMore than {TOLERANCE} % above {KEPT}; where that has to be, --update keeps it.");
    }
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn per_time(xtask: &Path, work: Work) -> Result<u64, Failure> {
    let (once, twice) = (count(xtask, work, COUNT)?, count(xtask, work, 2 * COUNT)?);
    Ok(twice.saturating_sub(once) / COUNT)
}

/// The instructions of a whole process.
fn count(xtask: &Path, work: Work, times: u64) -> Result<u64, Failure> {
    let name = work.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(xtask)
        .args(["bench-part", "instructions", "--work", &name, "--count", &times.to_string()])
        .output()
        .map_err(|error| Failure::new(format!("cannot run valgrind: {error}")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match collected(&said) {
        Some(instructions) if output.status.success() => Ok(instructions),
        _ => Err(Failure::new(format!("valgrind counted nothing for {name:?}; it said:\n{said}"))),
    }
}

/// The number in callgrind's line `Collected`.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected :"))?.1.trim().parse().ok()
}

fn compiler() -> Result<String, Failure> {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("--version").output();
    let output = output.map_err(|error| Failure::new(format!("cannot run rustc: {error}")))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A table, and whether no figure is too far above the one kept. One that is not
/// kept, or not counted any more, is.
fn compare(counted: &Figures, kept: &Figures) -> (String, bool) {
    let mut table = format!("{:<40} {:>8} {:>8} {:>7}", "instructions", "now", "kept", "");
    let mut fine = true;
    let works = counted.instructions.keys().chain(kept.instructions.keys());
    let mut works: Vec<_> = works.collect();
    works.sort_unstable();
    works.dedup();
    for work in works {
        let (now, before) = (counted.instructions.get(work), kept.instructions.get(work));
        let change = now.zip(before).map(|(now, before)| (*now as f64 / *before as f64 - 1.0) * 100.0);
        let within = now.zip(before).is_some_and(|(now, before)| now * 100 <= before * (100 + TOLERANCE));
        fine &= within;
        let cell = |number: Option<&u64>| number.map_or_else(|| "-".to_owned(), u64::to_string);
        let change = change.map_or_else(String::new, |change| format!("{change:+.1} %"));
        let verdict = match (now, before) {
            (Some(_), Some(_)) if within => "",
            (Some(_), Some(_)) => "  ABOVE",
            (Some(_), None) => "  NOT KEPT",
            (None, _) => "  GONE",
        };
        table += &format!("\n{work:<40} {:>8} {:>8} {change:>7}{verdict}", cell(now), cell(before));
    }
    (table, fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(of: &[(&str, u64)]) -> Figures {
        let instructions = of.iter().map(|(work, count)| ((*work).to_owned(), *count)).collect();
        Figures { compiler: "rustc 1".to_owned(), instructions }
    }

    #[test]
    fn five_per_cent_more_is_fine_and_six_are_not() {
        let kept = figures(&[("parse", 1_000), ("encode", 200)]);
        for (parse, fine) in [(1_050, true), (1_060, false), (500, true)] {
            let (table, verdict) = compare(&figures(&[("parse", parse), ("encode", 200)]), &kept);
            assert_eq!((verdict, table.contains("ABOVE")), (fine, !fine), "{table}");
        }
    }

    #[test]
    fn work_that_only_one_side_knows_is_not_fine() {
        let (one, two) = (figures(&[("parse", 1)]), figures(&[("parse", 1), ("encode", 1)]));
        assert!(!compare(&one, &two).1 && !compare(&two, &one).1);
    }

    #[test]
    fn what_callgrind_says_is_understood() {
        let said = "==1== Callgrind\n==1== Events    : Ir\n==1== Collected : 64320186\n";
        assert_eq!(collected(said), Some(64_320_186));
        assert_eq!(collected("==1== nothing"), None);
    }

    #[test]
    fn what_is_kept_names_the_work_there_is() {
        let kept = std::fs::read_to_string(binary::workspace().join(KEPT)).unwrap();
        let kept: Figures = serde_json::from_str(&kept).unwrap();
        let mut names: Vec<_> = Work::value_variants().iter().map(|work| work.name()).collect();
        names.sort_unstable();
        assert!(kept.instructions.keys().eq(names));
    }
}
