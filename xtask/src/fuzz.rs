//! `cargo xtask fuzz`: the targets of `tests/fuzz` without a fuzzer: their
//! committed inputs, changed at random from a seed. It needs nothing that is not
//! here; a real fuzzer, which sees what an input reaches, finds more with longer
//! runs.

mod change;

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

use amps_tests::targets::{self, Target};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;

use crate::{Failure, binary};

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
    /// Only this one; all unless given.
    #[arg(long, value_name = "T")]
    target: Option<String>,
    /// Makes the same inputs again; a random one unless given.
    #[arg(long)]
    seed: Option<u64>,
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

/// Fuzzes. Says whether every rule held.
///
/// # Errors
/// When it cannot be carried out.
pub(crate) fn fuzz(args: &Args) -> Result<bool, Failure> {
    if !args.built {
        return Err(binary::become_checked());
    }
    let seed = args.seed.unwrap_or_else(rand::random);
    let chosen: Vec<_> =
        targets::ALL.iter().filter(|target| args.target.as_deref().is_none_or(|name| name == target.name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = targets::ALL.iter().map(|target| target.name).collect();
        return Err(Failure::new(format!("there is no such target; there are {}", names.join(", "))));
    }
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
    fn every_target_has_inputs() {
        for target in targets::ALL {
            assert!(!inputs(&binary::workspace().join(CORPUS).join(target.name)).unwrap().is_empty());
        }
    }
}
