//! `cargo xtask fuzz`: the targets of `tests/fuzz` without a fuzzer: their
//! committed inputs, changed at random from a seed. It needs nothing that is not
//! here; a real fuzzer, which sees what an input reaches, finds more with longer
//! runs.

mod change;

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use amps_tests::targets::{self, Target};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;

use crate::{Failure, binary, reliability};

/// Where each target has a directory of inputs.
const CORPUS: &str = "tests/fuzz/corpus";
/// The most panics that are looked for in one target.
const PANICS_MAX: u64 = 10;

/// Options of the fuzzing.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long, all targets together.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seconds: u64,
    /// Only this one, or these if given again; all unless given.
    #[arg(long, value_name = "T")]
    target: Vec<String>,
    /// Makes the same inputs again; a random one unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// Adds the figures to this file and writes the document beside it anew.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = reliability::FIGURES)]
    record: Option<PathBuf>,
    /// This is the program that was built for it.
    #[arg(long, hide = true)]
    built: bool,
}

/// What one target was given.
#[derive(Debug, Serialize)]
struct Tried {
    target: &'static str,
    inputs: u64,
    panics: u64,
}

/// What all of them were given: the last line of the output.
#[derive(Debug, Serialize)]
struct Summary {
    seed: u64,
    seconds: u64,
    inputs: u64,
    panics: u64,
    targets: Vec<Tried>,
}

impl Summary {
    /// What is recorded.
    fn figures(&self) -> Vec<(String, u64)> {
        let decodes = |tried: &&Tried| targets::DECODERS.contains(&tried.target);
        let decoded = self.targets.iter().filter(decodes).map(|tried| tried.inputs).sum();
        let totals = [("inputs", self.inputs), ("inputs of decoders", decoded), ("panics", self.panics)];
        let totals = totals.map(|(name, count)| (name.to_owned(), count));
        let each = self.targets.iter().map(|tried| (format!("inputs, {}", tried.target), tried.inputs));
        totals.into_iter().chain(each).collect()
    }
}

/// Fuzzes. Says whether every rule held.
///
/// # Errors
/// When it cannot be carried out.
pub(crate) fn fuzz(args: &Args) -> Result<bool, Failure> {
    if !args.built {
        return Err(binary::become_checked());
    }
    let seed = args.seed.unwrap_or_else(rand::random);
    let names: Vec<_> = targets::ALL.iter().map(|target| target.name).collect();
    if let Some(name) = args.target.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(Failure::new(format!("there is no target '{name}'; there are {}", names.join(", "))));
    }
    let wanted = |target: &&Target| args.target.is_empty() || args.target.iter().any(|name| name == target.name);
    let chosen: Vec<_> = targets::ALL.iter().filter(wanted).collect();
    eprintln!("seed {seed}");
    // What a rule says when it does not hold is printed once, by us.
    panic::set_hook(Box::new(|_| {}));
    let each = Duration::from_secs(args.seconds) / u32::try_from(chosen.len()).unwrap_or(u32::MAX);
    let mut tried = Vec::new();
    for target in chosen {
        let this = run(target, seed, each, &std::env::temp_dir())?;
        eprintln!("{:<16} {:>12} inputs {:>3} panics", this.target, this.inputs, this.panics);
        tried.push(this);
    }
    let summary = Summary {
        seed,
        seconds: args.seconds,
        inputs: tried.iter().map(|tried| tried.inputs).sum(),
        panics: tried.iter().map(|tried| tried.panics).sum(),
        targets: tried,
    };
    if let Some(file) = &args.record {
        reliability::record(file, "fuzz", &summary.figures())?;
    }
    println!("{}", serde_json::to_string(&summary).map_err(|error| Failure::new(error.to_string()))?);
    Ok(summary.panics == 0)
}

/// Inputs that make it panic are kept in `dir`.
fn run(target: &Target, seed: u64, time: Duration, dir: &Path) -> Result<Tried, Failure> {
    let inputs = inputs(&binary::workspace().join(CORPUS).join(target.name))?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut tried = Tried { target: target.name, inputs: 0, panics: 0 };
    let end = Instant::now() + time;
    while Instant::now() < end && tried.panics < PANICS_MAX {
        for _ in 0..16 {
            let input = change::changed(&inputs, &mut random);
            tried.inputs += 1;
            if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(&input))) {
                tried.panics += 1;
                let file = dir.join(format!("amps-fuzz-{}-{seed}-{}", target.name, tried.inputs));
                keep(&file, &input)?;
                eprintln!("{}: {}; the input is in {}", target.name, message(&*panic), file.display());
            }
        }
    }
    Ok(tried)
}

fn inputs(dir: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let failed = |error| Failure::new(format!("cannot read {}: {error}", dir.display()));
    let mut files: Vec<_> = std::fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
    files.sort_by_key(std::fs::DirEntry::path);
    files.iter().map(|file| std::fs::read(file.path()).map_err(failed)).collect()
}

/// Keeps what made a target panic, for a regression test.
fn keep(file: &Path, input: &[u8]) -> Result<(), Failure> {
    std::fs::write(file, input).map_err(|error| Failure::new(format!("cannot write {}: {error}", file.display())))
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(bytes: &[u8]) {
        assert!(bytes.len().is_multiple_of(2), "odd");
    }

    #[test]
    fn a_rule_that_does_not_hold_is_seen_and_its_input_kept() {
        // The name is that of a directory of inputs.
        let target = Target { name: "uri", run: even };
        let dir = tempfile::tempdir().unwrap();
        let tried = run(&target, 7, Duration::from_secs(20), dir.path()).unwrap();
        assert!(tried.panics >= PANICS_MAX && tried.inputs > tried.panics, "{tried:?}");
        let kept = inputs(dir.path()).unwrap();
        assert_eq!(kept.len() as u64, tried.panics);
        assert!(kept.iter().all(|input| !input.len().is_multiple_of(2)));
    }

    #[test]
    fn what_is_recorded_tells_decoders_from_state_machines() {
        let tried = |target, inputs, panics| Tried { target, inputs, panics };
        let targets = vec![tried("header", 5, 0), tried("session", 7, 1), tried("uri", 1, 0)];
        let figures = Summary { seed: 1, seconds: 1, inputs: 13, panics: 1, targets }.figures();
        let names = ["inputs", "inputs of decoders", "panics", "inputs, header", "inputs, session", "inputs, uri"];
        let expected: Vec<_> = names.map(str::to_owned).into_iter().zip([13, 6, 1, 5, 7, 1]).collect();
        assert_eq!(figures, expected);
        assert!(targets::DECODERS.iter().all(|name| targets::ALL.iter().any(|target| target.name == *name)));
    }

    #[test]
    fn every_target_has_inputs() {
        for target in targets::ALL {
            assert!(!inputs(&binary::workspace().join(CORPUS).join(target.name)).unwrap().is_empty());
        }
    }
}
