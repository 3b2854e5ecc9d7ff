//! `amps queue`: the messages of a queue are worked off.

mod answers;

use std::fmt;
use std::time::Duration;

use amps_client::{AckOption, BookmarkList, Client, CommandError};
use clap::{ArgGroup, Args, Subcommand};
use serde::Serialize;

use crate::connect;
use crate::exit::{End, Failure};
use crate::follow::{Done, Follow, seconds};
use crate::servers::Servers;
use crate::sow_delete::{self, Counts};
use crate::subscribe::ack_batch;
use crate::summary::{self, Summary};

/// What is done with a queue.
#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Takes messages: prints each, and acknowledges it once it is printed.
    Consume(Consume),
    /// Acknowledges messages, whoever has them, and says how many.
    Ack(Ack),
    /// Gives messages back to the queue that somebody has, and says how many.
    Cancel(Cancel),
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
#[command(group = ArgGroup::new("messages").args(["filter", "bookmarks", "all"]).required(true))]
pub(crate) struct Ack {
    #[command(flatten)]
    target: Target,
    /// Acknowledges the messages that match.
    #[arg(long)]
    filter: Option<String>,
    /// Acknowledges the messages with these bookmarks, as the form json shows them.
    #[arg(long, value_name = "BOOKMARK,...")]
    bookmarks: Option<BookmarkList>,
    /// Acknowledges all messages.
    #[arg(long)]
    all: bool,
}

/// Options of `amps queue cancel`.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    target: Target,
    /// The messages with these bookmarks, as the form json shows them.
    #[arg(long, value_name = "BOOKMARK,...")]
    bookmarks: BookmarkList,
}

/// A queue, and how it is reached.
#[derive(Debug, Args)]
struct Target {
    #[command(flatten)]
    servers: Servers,
    /// The queue.
    #[arg(long)]
    topic: String,
    /// How long to try to connect, in seconds.
    #[arg(long, value_name = "SECS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
    /// The last line of standard output.
    #[arg(long, value_enum, value_name = "FORM", default_value = "json", help_heading = "Output")]
    summary: Summary,
}

/// How many messages that were.
#[derive(Debug, Serialize)]
struct Settled {
    /// Messages that were acknowledged, or given back; `None` if the server does
    /// not count.
    messages: Option<u64>,
    seconds: f64,
}

impl From<Counts> for Settled {
    fn from(Counts { deleted, uncounted, seconds, .. }: Counts) -> Self {
        Self { messages: (uncounted == 0).then_some(deleted), seconds }
    }
}

impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.messages {
            Some(messages) => write!(f, "{}, {} s", summary::counted(messages, "message"), self.seconds),
            None => write!(f, "nobody counted the messages, {} s", self.seconds),
        }
    }
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
            Self::Cancel(command) => command.run().await,
        }
    }
}

impl Target {
    async fn settle(&self, settle: impl AsyncFnOnce(&Client) -> Result<Counts, Failure>) -> Result<End, Failure> {
        sow_delete::carry_out(&self.servers, self.timeout, self.summary, settle, Settled::from).await
    }

    /// Settles messages by their bookmarks, on the connection there is.
    async fn by_bookmarks(
        &self,
        client: &Client,
        bookmarks: &BookmarkList,
        option: Option<AckOption>,
    ) -> Result<Counts, Failure> {
        let settled = match option {
            None => client.ack(&self.topic, bookmarks.as_slice()).await,
            Some(option) => client.ack_with(&self.topic, bookmarks.as_slice(), option).await,
        };
        settled.map(Counts::of).map_err(|error| {
            let hint = matches!(error, CommandError::Disconnected | CommandError::TimedOut { .. })
                .then(|| "whether the server did it is not known; to ask again does no harm".to_owned());
            connect::refused(format!("cannot settle messages of {}", self.topic), error, None).hint(hint)
        })
    }
}

impl Ack {
    async fn run(self) -> Result<End, Failure> {
        let (target, filter) = (&self.target, self.filter.as_deref().unwrap_or(sow_delete::ALL));
        let settle = async |client: &Client| match &self.bookmarks {
            Some(bookmarks) => target.by_bookmarks(client, bookmarks, None).await,
            None => sow_delete::by_filter(client, &target.topic, filter).await,
        };
        target.settle(settle).await
    }
}

impl Cancel {
    async fn run(self) -> Result<End, Failure> {
        let cancel = Some(AckOption::Cancel);
        let settle = async |client: &Client| self.target.by_bookmarks(client, &self.bookmarks, cancel).await;
        self.target.settle(settle).await
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
