//! `cargo xtask bench`: this client beside the limit of the machine.
//!
//! The limit is what a plain loop reaches on the same bytes against the same
//! peer, measured in the same run, by turns. Client and peer are processes of
//! their own.

mod document;
mod figures;
mod instructions;
mod machine;
mod memory;
mod outage;
mod part;
mod placement;
mod probe;
mod rows;
mod runner;
mod table;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::Failure;
use crate::binary;
use crate::interrupt::Interrupt;
use figures::Figures;
use probe::{Extent, Probe};
use rows::Row;
use runner::Runner;

pub(crate) use part::{Part, run};

/// Where the table is written.
const DOCUMENT: &str = "docs/benchmarks.md";

/// Options of the benchmark.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Small counts, under a minute; leaves docs/benchmarks.md alone.
    #[arg(long)]
    quick: bool,
    /// Also writes every single measurement to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Counts the instructions of codec and log under valgrind instead, and
    /// compares them with those kept in xtask/instructions.json. Exit code 1: one
    /// is more than 5 % above; 3: there is no valgrind.
    #[arg(long, conflicts_with_all = ["quick", "json"])]
    instructions: bool,
    /// Keeps the instructions counted now.
    #[arg(long, requires = "instructions")]
    update: bool,
    /// Publishes and subscribes at full speed for so many minutes instead, and
    /// says whether memory stays the same. Exit code 1: it does not.
    #[arg(long, value_name = "MINUTES", num_args = 0..=1, default_missing_value = "10")]
    #[arg(value_parser = clap::value_parser!(u64).range(3..=1_440), conflicts_with_all = ["quick", "json", "instructions"])]
    memory: Option<u64>,
}

/// All measurements, by probe, in the order of the rounds.
type Samples = BTreeMap<Probe, Vec<Figures>>;

/// Measures and prints. A missed target is a finding, not a failure.
///
/// # Errors
/// When a program does not build or a measurement cannot be carried out.
pub(crate) fn bench(args: &Args) -> Result<ExitCode, Failure> {
    if args.instructions {
        return instructions::run(args.update);
    }
    let interrupt = Interrupt::listen()?;
    let amps = binary::release("amps-cli", "amps")?;
    let xtask = binary::release("xtask", "xtask")?;
    let extent = if args.quick { Extent::QUICK } else { Extent::FULL };
    let runner = Runner::new(amps, xtask, extent, interrupt)?;
    match args.memory {
        Some(minutes) => memory::run(&runner, minutes),
        None => all(args, &runner).map(|()| ExitCode::SUCCESS),
    }
}

/// Measures everything, and writes the table.
fn all(args: &Args, runner: &Runner) -> Result<(), Failure> {
    let began = Instant::now();
    let extent = runner.extent;
    let samples = measure(runner)?;

    let report = Report { samples: &samples, rows: &rows::judge(&samples, &extent), extent: &extent };
    println!("{}", table::plain(&report, colours()));
    println!("\n{} rounds, {:.0} s, {}", extent.rounds, began.elapsed().as_secs_f64(), machine::describe());
    if let Some(path) = &args.json {
        write(path, &table::json(&report)?)?;
    }
    if !args.quick {
        let path = binary::workspace().join(DOCUMENT);
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        write(&path, &document::with(&old, &document::text(&report, &machine::describe())))?;
    }
    Ok(())
}

/// What was measured, and what it means.
#[derive(Debug, Clone, Copy)]
struct Report<'a> {
    samples: &'a Samples,
    rows: &'a [Row],
    extent: &'a Extent,
}

/// Every probe once a round, so that what else the machine does meets all alike.
fn measure(runner: &Runner) -> Result<Samples, Failure> {
    let probes = rows::probes();
    let bar = ProgressBar::new(runner.extent.rounds * probes.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let mut samples = Samples::new();
    for _ in 0..runner.extent.rounds {
        for probe in &probes {
            bar.set_message(probe.name());
            samples.entry(*probe).or_default().push(runner.measure(*probe)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(samples)
}

fn write(path: &std::path::Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

/// Whether the output is looked at by somebody who sees colours.
fn colours() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
