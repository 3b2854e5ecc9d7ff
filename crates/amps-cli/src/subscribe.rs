//! `amps subscribe`, `amps sow_and_subscribe` and their delta variants.

use std::path::{Path, PathBuf};

use amps_client::{BookmarkStore, StartAt};
use amps_ha::kv::{SledKv, SledOptions};
use clap::Args;

use crate::exit::{End, Failure};
use crate::follow::{Done, Follow};
use crate::slow_disk::SlowDisk;

/// The name of a client with a bookmark store, which belongs to one name.
const KEPT: &str = "amps-subscribe";

/// Options of `amps subscribe` and `amps delta_subscribe`.
#[derive(Debug, Args)]
pub(crate) struct Subscribe {
    #[command(flatten)]
    follow: Follow,
    /// Where to begin in the transaction log: `epoch`, `now`, `recent` (where the
    /// bookmark store left off), a bookmark, a time such as 20261123T060000, or a
    /// range such as [20261123T060000:20261123T070000). Without it, and without a
    /// bookmark store, only new messages come.
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
    /// Of each message only the fields that changed.
    #[arg(long)]
    delta: bool,
    /// Of a queue: acknowledges each message once it is printed, as `amps queue
    /// consume` does.
    #[arg(long, conflicts_with_all = ["bookmark", "bookmark_store"])]
    ack: bool,
    /// Of a queue: how many messages may be under way at once.
    #[arg(long, alias = "backlog", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_backlog: Option<u64>,
}

impl Subscribe {
    /// Prints messages until it is told to end.
    ///
    /// # Errors
    /// When the settings are wrong, the server refuses the subscription, or
    /// standard output fails.
    pub(crate) async fn run(mut self, delta: bool) -> Result<End, Failure> {
        let delta = delta || self.delta;
        let topic = self.follow.topic.as_str();
        let mut wish = match delta {
            false => amps_client::Subscribe::to(topic),
            true => amps_client::Subscribe::deltas_of(topic),
        };
        if let Some(options) = &self.follow.options {
            wish = wish.options(options.as_str());
        }
        if let Some(filter) = &self.follow.filter {
            wish = wish.filter(filter);
        }
        let kept = self.bookmark_store.take().map(|dir| self.store(&dir)).transpose()?;
        let start = self.bookmark.clone().or_else(|| kept.as_ref().map(|_| StartAt::MostRecent));
        let mut done = Done::Never;
        if let Some(start) = start {
            wish = wish.bookmark(start);
            done = Done::Discard;
        }
        if self.ack {
            done = Done::Acknowledge;
        }
        if let Some(messages) = self.max_backlog {
            wish = wish.max_backlog(messages).ack_batch(ack_batch(messages));
        }
        if kept.is_some() {
            self.follow.client_name.get_or_insert_with(|| KEPT.to_owned());
        }
        let settings = |builder: amps_client::ClientBuilder| match kept {
            Some(store) => builder.bookmark_store(store),
            None => builder,
        };
        self.follow.run("subscribe", wish, done, delta, settings).await
    }

    fn store(&self, dir: &Path) -> Result<BookmarkStore, Failure> {
        let Some(disk) = &self.slow_disk else { return Ok(BookmarkStore::sled(dir)) };
        let kv = SledKv::open(dir, &SledOptions::small());
        let kv = kv.map_err(|error| Failure::new("cannot start the client", error))?;
        Ok(BookmarkStore::custom(dir.display().to_string(), disk.clone().under(kv)))
    }
}

/// A third of the backlog keeps a consumer busy while acknowledgements travel.
pub(crate) fn ack_batch(max_backlog: u64) -> usize {
    usize::try_from(max_backlog / 3).unwrap_or(usize::MAX).clamp(1, 10_000)
}

/// Options of `amps sow_and_subscribe` and `amps sow_and_delta_subscribe`.
#[derive(Debug, Args)]
pub(crate) struct SowAndSubscribe {
    #[command(flatten)]
    follow: Follow,
    /// Of changes only the fields that changed.
    #[arg(long)]
    delta: bool,
    /// At most that many records, behind which it ends.
    #[arg(long, alias = "topn", value_name = "N")]
    top_n: Option<u64>,
    /// The order of the records, such as '/price DESC, /id'.
    #[arg(long, alias = "orderby", value_name = "ORDER")]
    order_by: Option<String>,
    /// Records in one frame.
    #[arg(long, alias = "batchsize", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch_size: Option<u64>,
}

impl SowAndSubscribe {
    /// Prints the records and then what changes, until it is told to end.
    ///
    /// # Errors
    /// As for [`Subscribe::run`].
    pub(crate) async fn run(self, delta: bool) -> Result<End, Failure> {
        let delta = delta || self.delta;
        let topic = self.follow.topic.as_str();
        let mut wish = match delta {
            false => amps_client::Subscribe::sow_and(topic),
            true => amps_client::Subscribe::sow_and_deltas_of(topic),
        };
        if let Some(options) = &self.follow.options {
            wish = wish.options(options.as_str());
        }
        if let Some(filter) = &self.follow.filter {
            wish = wish.filter(filter);
        }
        if let Some(records) = self.top_n {
            wish = wish.top_n(records);
        }
        if let Some(order) = &self.order_by {
            wish = wish.order_by(order);
        }
        if let Some(records) = self.batch_size {
            wish = wish.batch_size(records);
        }
        self.follow.run("sow-and-subscribe", wish, Done::Never, delta, |builder| builder).await
    }
}
