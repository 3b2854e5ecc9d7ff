//! The `amps` command.

mod advice;
mod args;
mod argv;
mod bench;
mod cli;
mod connect;
mod control;
mod copy;
mod exit;
mod follow;
mod format;
mod generated;
mod input;
mod ledger;
mod output;
mod pace;
mod password;
mod ping;
mod profile;
mod progress;
mod publish;
mod queue;
mod say;
mod servers;
mod signals;
mod slow_disk;
mod sow;
mod sow_delete;
mod store;
mod store_dir;
mod subscribe;
mod summary;
mod testserver;
mod watch;

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};
use crate::bench::Bench;
use crate::exit::{End, Failure};

fn main() -> ExitCode {
    match cli::read().and_then(run) {
        Ok(end) => end.into(),
        Err(failure) => failure.report(),
    }
}

fn run(Cli { profile, command }: Cli) -> Result<End, Failure> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(watch::stderr)
        .with_ansi(say::has_colours())
        .init();
    tracing::debug!(profile, "begins");
    let mut runtime = match &command {
        // What is measured shall not include the way between two threads.
        Command::Bench(Bench::Latency(_)) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new("cannot start the runtime", error))?;
    runtime.block_on(async {
        match command {
            Command::Ping(command) => command.run().await,
            Command::Publish(command) => command.run(false).await,
            Command::DeltaPublish(command) => command.run(true).await,
            Command::Subscribe(command) => command.run(false).await,
            Command::DeltaSubscribe(command) => command.run(true).await,
            Command::Sow(command) => command.run().await,
            Command::SowAndSubscribe(command) => command.run(false).await,
            Command::SowAndDeltaSubscribe(command) => command.run(true).await,
            Command::SowDelete(command) => command.run().await,
            Command::Queue(command) => command.run().await,
            Command::Watch(command) => command.run().await,
            Command::Bench(probe) => probe.run().await,
            Command::Store(command) => command.run(),
            Command::Conformance(suite) => Ok(End::Code(suite.run().await)),
            Command::Testserver(command) => command.run().await,
            Command::Completions(command) => command.run(),
            Command::Man(command) => command.run(),
        }
    })
}
