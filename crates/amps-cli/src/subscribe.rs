//! `amps subscribe`: the messages of a topic.
//!
//! With a bookmark store, messages are discarded once they are written: at most
//! [`BATCH`] messages are written, then flushed to the operating system, then
//! discarded, and more are written only when the store has the discards on disk.
//! So of what a killed process wrote, all but the last [`BATCH`] lines is known
//! not to come again.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use amps_client::{BookmarkStore, Message, PublishStore, StartAt, Subscription, SubscriptionEvent};
use amps_ha::kv::{SledKv, SledOptions};
use clap::Args;
use futures_util::FutureExt;
use tokio::time::timeout;

use crate::args::Servers;
use crate::connect;
use crate::exit::{End, Failure};
use crate::format::{Format, Shown};
use crate::signals::Signals;
use crate::slow_disk::SlowDisk;

/// The most messages written before they are discarded.
const BATCH: usize = 64;
/// What ending may take.
const CLOSE: Duration = Duration::from_secs(2);

/// Options of `amps subscribe`.
#[derive(Debug, Args)]
pub(crate) struct Subscribe {
    #[command(flatten)]
    servers: Servers,
    /// The topic, or a regular expression for topics.
    #[arg(long)]
    topic: String,
    /// Only messages that match.
    #[arg(long)]
    filter: Option<String>,
    /// Where to begin in the transaction log: `epoch`, `now`, `recent` (where the
    /// bookmark store left off), a bookmark, or a time such as 20261123T060000.
    /// Without it, and without a bookmark store, only new messages come.
    #[arg(long, value_name = "WHERE")]
    bookmark: Option<StartAt>,
    /// Keeps in this directory which messages were printed; implies
    /// `--bookmark recent`.
    #[arg(long, value_name = "DIR")]
    bookmark_store: Option<PathBuf>,
    /// A slow disk under the bookmark store, for tests: each sync first waits for
    /// as many milliseconds as this file says then; not at all while there is none.
    #[arg(long, value_name = "FILE", requires = "bookmark_store")]
    slow_disk: Option<SlowDisk>,
    /// The client name, the same each time for a bookmark store.
    #[arg(long, value_name = "N")]
    client_name: Option<String>,
    /// Ends after that many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Ends when no message came for that long.
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    idle_exit: Option<Duration>,
    /// What is printed of a message, one a line.
    #[arg(long, value_enum, default_value = "body")]
    format: Format,
}

impl Subscribe {
    /// Prints messages until it is told to end.
    ///
    /// # Errors
    /// When the settings are wrong, the server refuses the subscription, or
    /// standard output fails.
    pub(crate) async fn run(self) -> Result<End, Failure> {
        let mut signals = Signals::listen().map_err(|error| Failure::new("cannot listen for signals", error))?;
        // A store belongs to one client name.
        let name = self.client_name.as_deref().or_else(|| self.bookmark_store.as_ref().map(|_| "amps-subscribe"));
        let mut builder = connect::builder(&self.servers, name, "subscribe").publish_store(PublishStore::None);
        if let Some(dir) = &self.bookmark_store {
            builder = builder.bookmark_store(self.store(dir)?);
        }
        let client = builder.start().map_err(|error| Failure::new("cannot start the client", error))?;
        tokio::spawn(connect::tell(client.events(), |text| eprintln!("{text}")));
        let ended = tokio::select! {
            ended = self.print(&client) => ended,
            _ = signals.next() => Ok(()),
        };
        client.close(CLOSE).await;
        ended.map(|()| End::Done)
    }

    fn store(&self, dir: &Path) -> Result<BookmarkStore, Failure> {
        let Some(disk) = &self.slow_disk else { return Ok(BookmarkStore::sled(dir)) };
        let kv = SledKv::open(dir, &SledOptions::small());
        let kv = kv.map_err(|error| Failure::new("cannot start the client", error))?;
        Ok(BookmarkStore::custom(dir.display().to_string(), disk.clone().under(kv)))
    }

    async fn print(&self, client: &amps_client::Client) -> Result<(), Failure> {
        let mut messages = self.enter(client).await?;
        let mut out = BufWriter::new(io::stdout());
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut batch = Vec::with_capacity(BATCH);
        while left > 0 {
            let next = match self.idle_exit {
                Some(limit) => match timeout(limit, messages.next()).await {
                    Ok(next) => next,
                    Err(_) => return Ok(()),
                },
                None => messages.next().await,
            };
            self.take(next, &mut batch)?;
            // What has arrived by now goes with it, up to the batch's size.
            while (batch.len() as u64) < left.min(BATCH as u64)
                && let Some(next) = messages.next().now_or_never()
            {
                self.take(next, &mut batch)?;
            }
            left -= batch.len() as u64;
            match self.write(&mut out, &batch) {
                Ok(()) => {}
                // Nobody reads any more, as behind `| head`: what was not written is not discarded.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(Failure::new("cannot write to standard output", error)),
            }
            for message in batch.drain(..) {
                messages.discard(&message);
            }
            let kept = messages.discarded().await;
            kept.map_err(|error| Failure::new("cannot keep what was printed", error))?;
        }
        Ok(())
    }

    /// Enters the subscription, however long that takes.
    async fn enter(&self, client: &amps_client::Client) -> Result<Subscription, Failure> {
        let mut wish = amps_client::Subscribe::to(&self.topic);
        if let Some(filter) = &self.filter {
            wish = wish.filter(filter);
        }
        let default = self.bookmark_store.as_ref().map(|_| StartAt::MostRecent);
        if let Some(start) = self.bookmark.clone().or(default) {
            wish = wish.bookmark(start);
        }
        loop {
            client.connected().await.map_err(|error| Failure::new("cannot connect", error))?;
            match client.subscribe(wish.clone()).await {
                Ok(messages) => return Ok(messages),
                Err(amps_client::CommandError::TimedOut { .. } | amps_client::CommandError::Disconnected) => {}
                Err(error) => return Err(Failure::new(format!("cannot subscribe to {}", self.topic), error)),
            }
        }
    }

    fn take(
        &self,
        next: Option<Result<SubscriptionEvent, amps_client::CommandError>>,
        batch: &mut Vec<Message>,
    ) -> Result<(), Failure> {
        let ended =
            |why: &dyn std::fmt::Display| Failure::new(format!("the subscription to {} ended", self.topic), why);
        match next {
            Some(Ok(SubscriptionEvent::Message(message))) => batch.push(message),
            Some(Ok(SubscriptionEvent::Gap { uri })) => {
                eprintln!("gap: {uri} knows none of the bookmarks; messages may be missing");
            }
            Some(Ok(SubscriptionEvent::GapPossible { uri })) => {
                eprintln!("gap possible: {uri} does not say whether it knows the bookmarks");
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(ended(&error)),
            None => return Err(ended(&"the client is closed")),
        }
        Ok(())
    }

    fn write(&self, out: &mut impl Write, batch: &[Message]) -> io::Result<()> {
        for message in batch {
            self.format.write(out, Shown::from(message))?;
        }
        out.flush()
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("{text:?} is no number of seconds")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_be_fractions() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "-1", "NaN", "1s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
