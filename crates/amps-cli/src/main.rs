//! The `amps` command.

mod args;
mod bench;
mod connect;
mod control;
mod exit;
mod format;
mod ledger;
mod lines;
mod pace;
mod ping;
mod progress;
mod publish;
mod signals;
mod slow_disk;
mod sow;
mod store;
mod store_dir;
mod subscribe;
mod testserver;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};
use crate::bench::Bench;
use crate::exit::{End, Failure};

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_writer(std::io::stderr).init();
    let mut runtime = match &cli.command {
        // What is measured shall not include the way between two threads.
        Command::Bench(Bench::Latency(_)) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match runtime.worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Failure::new("cannot start the runtime", error)),
    };
    let ended = runtime.block_on(async {
        match cli.command {
            Command::Ping(command) => command.run().await,
            Command::Publish(command) => command.run().await,
            Command::Subscribe(command) => command.run().await,
            Command::Sow(command) => command.run().await,
            Command::Bench(probe) => probe.run().await,
            Command::Store(command) => command.run(),
            Command::Conformance(suite) => Ok(End::Code(suite.run().await)),
            Command::Testserver(command) => command.run().await,
        }
    });
    match ended {
        Ok(end) => end.into(),
        Err(failure) => fail(&failure),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    eprintln!("error: {failure}");
    ExitCode::FAILURE
}
