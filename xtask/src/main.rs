//! `cargo xtask`: real processes, real kills, and a verdict from files; the
//! benchmark; and which test shows which rule.

mod bench;
mod binary;
mod chaos;
mod conformance;
mod consumer;
mod demo;
#[cfg(test)]
mod documents;
mod events;
mod failure;
mod fuzz;
mod input;
mod interrupt;
mod ledger;
mod mutants;
mod network;
mod output;
#[cfg(test)]
mod packages;
mod page;
mod parity;
mod pictures;
mod ports;
mod process;
mod progress;
mod publisher;
mod recovery;
mod reliability;
mod report;
mod run;
mod schedule;
mod server;
mod server_log;
mod setup;
mod sim;
mod state;
mod store_kills;
mod story;
mod subscriber;
mod tail;
mod verdict;
mod work;

use std::process::ExitCode;

use clap::Parser;
use failure::Failure;

/// Tasks of this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Streams real data through servers and clients that are killed, and proves
    /// that nothing is lost, duplicated or out of order; with --state, records
    /// kept current and a queue drained.
    Demo(demo::Args),
    /// The same with random faults, from a seed.
    Chaos(chaos::Args),
    /// Gives everything that parses bytes inputs that nobody meant.
    Fuzz(fuzz::Args),
    /// Runs whole systems in virtual time, one from each seed.
    Sim(sim::Args),
    /// Changes the state machines one place at a time, and says which changes no
    /// test notices.
    Mutants(mutants::Args),
    /// Checks whether a server keeps to the AMPS protocol.
    Conformance(amps_conformance::Args),
    /// Measures the client beside the limit of the machine.
    Bench(bench::Args),
    /// Writes or checks the table of which test shows which rule.
    Parity(parity::Args),
    /// Takes the pictures in the documents, each from a real run.
    Pictures(pictures::Args),
    /// One process of the benchmark.
    #[command(subcommand, hide = true)]
    BenchPart(bench::Part),
    /// One process of the demo of records and queues.
    #[command(subcommand, hide = true)]
    StatePart(state::Part),
}

fn main() -> ExitCode {
    let outcome = match Task::parse() {
        Task::Demo(args) => demo::demo(&args).map(verdict),
        Task::Chaos(args) => chaos::chaos(&args).map(verdict),
        Task::Fuzz(args) => fuzz::fuzz(&args).map(verdict),
        Task::Sim(args) => sim::sim(&args).map(verdict),
        Task::Mutants(args) => mutants::mutants(&args).map(verdict),
        Task::Conformance(args) => conformance::conformance(args),
        Task::Bench(args) => bench::bench(&args),
        Task::Pictures(args) => pictures::pictures(&args).map(verdict),
        Task::Parity(args) => parity::parity(&args).map(|()| ExitCode::SUCCESS),
        Task::StatePart(part) => state::run(&part).map(|()| ExitCode::SUCCESS),
        Task::BenchPart(part) => bench::run(&part).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        ExitCode::FAILURE
    })
}

/// The exit code of a run that was judged.
fn verdict(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
