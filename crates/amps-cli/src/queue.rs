//! `amps queue`: the messages of a queue are worked off.

mod answers;

use std::time::Duration;

use amps_client::Client;
use clap::{ArgGroup, Args, Subcommand};

use crate::exit::{End, Failure};
use crate::follow::{Done, Follow, seconds};
use crate::servers::Servers;
use crate::sow_delete;
use crate::subscribe::ack_batch;
use crate::summary::Summary;

/// What is done with a queue.
#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Takes messages: prints each, and acknowledges it once it is printed.
    Consume(Consume),
    /// Acknowledges all messages that match, whoever has them, and says how many.
    Ack(Ack),
}

/// Options of `amps queue consume`.
#[derive(Debug, Args)]
pub(crate) struct Consume {
    #[command(flatten)]
    follow: Follow,
    /// How many messages may be under way at once. The server may grant less.
    #[arg(long, alias = "backlog", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    max_backlog: u64,
    /// What becomes of a message is said on standard input, one line for each, in
    /// any order: `ack BOOKMARK`, `cancel BOOKMARK` (it goes back to the queue) or
    /// `expire BOOKMARK`. Bookmarks are in the form json, and {bookmark} in templates.
    #[arg(long, conflicts_with_all = ["copy", "idle_exit"])]
    answers: bool,
}

/// Options of `amps queue ack`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("messages").args(["filter", "all"]).required(true))]
pub(crate) struct Ack {
    #[command(flatten)]
    servers: Servers,
    /// The queue.
    #[arg(long)]
    topic: String,
    /// Acknowledges the messages that match.
    #[arg(long)]
    filter: Option<String>,
    /// Acknowledges all messages.
    #[arg(long)]
    all: bool,
    /// How long to try to connect, in seconds.
    #[arg(long, value_name = "SECS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
    /// The last line of standard output.
    #[arg(long, value_enum, value_name = "FORM", default_value = "json", help_heading = "Output")]
    summary: Summary,
}

impl Queue {
    /// Does it.
    ///
    /// # Errors
    /// When the settings are wrong, the server refuses, or standard output fails.
    pub(crate) async fn run(self) -> Result<End, Failure> {
        match self {
            Self::Consume(command) => command.run().await,
            Self::Ack(command) => command.run().await,
        }
    }
}

impl Ack {
    async fn run(self) -> Result<End, Failure> {
        let filter = self.filter.as_deref().unwrap_or(sow_delete::ALL);
        let acknowledge = async |client: &Client| sow_delete::by_filter(client, &self.topic, filter).await;
        sow_delete::carry_out(&self.servers, self.timeout, self.summary, acknowledge).await
    }
}

impl Consume {
    async fn run(self) -> Result<End, Failure> {
        let mut wish = amps_client::Subscribe::to(self.follow.topic.as_str());
        if let Some(options) = &self.follow.options {
            wish = wish.options(options.as_str());
        }
        if let Some(filter) = &self.follow.filter {
            wish = wish.filter(filter);
        }
        wish = wish.max_backlog(self.max_backlog);
        match self.answers {
            true => answers::run(&self.follow, wish).await,
            false => {
                let wish = wish.ack_batch(ack_batch(self.max_backlog));
                self.follow.run("queue", wish, Done::Acknowledge, false, |builder| builder).await
            }
        }
    }
}
