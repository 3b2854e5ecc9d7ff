//! The command line. One struct a subcommand; each stands with its command.

use std::fmt;

use clap::{Args, Parser, Subcommand};

use crate::{bench, ping, publish, sow, store_dir, subscribe, testserver};

/// A client for AMPS that survives dead servers, and a server to try it on.
#[derive(Debug, Parser)]
#[command(name = "amps", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Logs on to a server and says whether it answers.
    Ping(ping::Ping),
    /// Publishes a file or standard input, one message a line.
    Publish(publish::Publish),
    /// Prints the messages of a topic.
    Subscribe(subscribe::Subscribe),
    /// Prints the records of a SOW topic.
    Sow(sow::Sow),
    /// Measures how fast messages are published and received.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Looks at the directory of a store, checks it, salvages it.
    #[command(subcommand)]
    Store(store_dir::StoreDir),
    /// Checks whether a server keeps to the AMPS protocol.
    Conformance(amps_conformance::Args),
    /// Runs a server for tests and demos. Not for production.
    Testserver(testserver::Testserver),
}

/// The servers of a client that goes on when one of them dies.
#[derive(Args)]
pub(crate) struct Servers {
    /// Connection strings, tried in turn.
    #[arg(long = "server", value_name = "URI[,URI...]", value_delimiter = ',', required = true)]
    pub(crate) uris: Vec<String>,
    /// Heartbeat interval in seconds; a server silent for twice as long counts as
    /// dead. 0 switches heartbeats off.
    #[arg(long, value_name = "SECS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) heartbeat: u64,
}

impl Servers {
    /// The connection strings without their passwords.
    pub(crate) fn shown(&self) -> String {
        self.uris.iter().map(|uri| amps_client::mask(uri)).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
