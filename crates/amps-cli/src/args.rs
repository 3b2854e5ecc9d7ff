//! The command line. One struct a subcommand; each stands with its command.

use clap::{Parser, Subcommand};

use crate::{bench, generated, ping, publish, queue, sow, sow_delete, store_dir, subscribe, testserver};

/// A client for AMPS that survives dead servers, and a server to try it on.
#[derive(Debug, Parser)]
#[command(name = "amps", version)]
pub(crate) struct Cli {
    /// The profile of the configuration file whose options count unless they are
    /// given here or in the environment.
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "AMPS_PROFILE",
        hide_env_values = true,
        help_heading = "Profile"
    )]
    pub(crate) profile: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
#[command(rename_all = "snake_case")]
pub(crate) enum Command {
    /// Logs on to a server and says whether it answers.
    Ping(ping::Ping),
    /// Publishes messages from files or standard input.
    Publish(publish::Publish),
    /// Publishes what changed of records: `publish` with `--delta`.
    #[command(alias = "delta-publish")]
    DeltaPublish(publish::Publish),
    /// Prints the messages of a topic.
    Subscribe(subscribe::Subscribe),
    /// Prints what changes of the records of a topic: `subscribe` with `--delta`.
    #[command(alias = "delta-subscribe")]
    DeltaSubscribe(subscribe::Subscribe),
    /// Prints the records of a SOW topic.
    Sow(sow::Sow),
    /// Prints the records of a SOW topic, and then the messages that change them.
    #[command(alias = "sow-and-subscribe")]
    SowAndSubscribe(subscribe::SowAndSubscribe),
    /// Prints the records of a SOW topic, and then what changes of them:
    /// `sow_and_subscribe` with `--delta`.
    #[command(alias = "sow-and-delta-subscribe")]
    SowAndDeltaSubscribe(subscribe::SowAndSubscribe),
    /// Deletes records of a SOW topic, and says how many there were.
    #[command(alias = "sow-delete")]
    SowDelete(sow_delete::SowDelete),
    /// Works off the messages of a queue.
    #[command(subcommand)]
    Queue(queue::Queue),
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
    /// Prints what makes a shell complete the words of this command.
    Completions(generated::Completions),
    /// Writes the manual pages, one a verb, to a directory.
    Man(generated::Man),
}

#[cfg(test)]
mod tests {
    use crate::cli;

    #[test]
    fn the_definition_is_sound() {
        cli::definition().debug_assert();
    }
}
