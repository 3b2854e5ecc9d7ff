//! `amps store repair`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use amps_client::kv::{Kv, SledKv, SledOptions};
use amps_ha::bookmarks::store as bookmarks;
use amps_ha::publish_log::{Examined, Identity};
use clap::Args;

use super::{Kind, Opened};
use crate::exit::{End, Failure};
use crate::progress::Progress;
use crate::say;

/// Options of `amps store repair`.
#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// The damaged store's directory. Nothing in it is changed.
    dir: PathBuf,
    /// The directory of the new store. It must not exist, or be empty.
    #[arg(long, value_name = "NEW")]
    into: PathBuf,
    /// The client name, if the store no longer knows it.
    #[arg(long, value_name = "N")]
    client_name: Option<String>,
    /// The message type, if the store no longer knows it.
    #[arg(long, value_name = "TYPE", default_value = "json")]
    message_type: String,
}

impl Repair {
    pub(super) fn run(self) -> Result<End, Failure> {
        let opened = Opened::read(&self.dir)?;
        for problem in opened.problems() {
            eprintln!("damage: {problem}");
        }
        if self.into.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Failure::new(format!("cannot salvage into {}", self.into.display()), "it is not empty"));
        }
        match &opened.kind {
            Kind::Publish(publish) => self.publish(&opened, publish),
            Kind::Bookmarks(bookmarks) => self.bookmarks(&opened, bookmarks),
        }
    }

    fn publish(&self, opened: &Opened, publish: &Examined) -> Result<End, Failure> {
        let identity = self.client_name.as_ref().map(|name| Identity {
            client_name: name.clone(),
            message_type: self.message_type.clone(),
            protocol: "amps".to_owned(),
        });
        if identity.is_none() && !publish.knows_identity() {
            return Err(self.nameless());
        }
        let kv = self.create(&SledOptions::default())?;
        let progress = Progress::working("writing the new store");
        let salvaged = publish.salvage(kv, &self.into, identity, unix_nanos());
        progress.end();
        let salvaged = salvaged.map_err(|error| self.failed(&error))?;
        say::answer(format_args!(
            "salvaged {} messages, {} bytes, into {}",
            salvaged.messages,
            salvaged.bytes,
            self.into.display()
        ))?;
        for lost in publish.lost() {
            say::answer(format_args!("lost: sequences {} to {}", lost.start(), lost.end()))?;
        }
        if !publish.record_is_current() {
            say::answer(format_args!("unknown: what else was acknowledged; servers drop what they have already"))?;
        }
        let open_end = !opened.complete && !publish.end_is_certain();
        if open_end {
            match publish.last_sequence() {
                Some(last) => say::answer(format_args!("unknown: whether messages came after sequence {last}"))?,
                None => say::answer(format_args!("unknown: whether there were messages"))?,
            }
        }
        Ok(if publish.lost().is_empty() && !open_end { End::Done } else { End::Damaged })
    }

    fn bookmarks(&self, opened: &Opened, bookmarks: &bookmarks::Examined) -> Result<End, Failure> {
        let client = bookmarks.client().or(self.client_name.as_deref()).ok_or_else(|| self.nameless())?;
        let mut kv = self.create(&SledOptions::small())?;
        let salvaged = bookmarks.salvage(&mut kv, client, opened.complete).map_err(|error| self.failed(&error))?;
        say::answer(format_args!("salvaged the bookmarks of {salvaged} subscriptions into {}", self.into.display()))?;
        let all: Vec<_> = bookmarks.subscriptions().keys().map(String::as_str).collect();
        if salvaged == all.len() && opened.complete {
            return Ok(End::Done);
        }
        say::answer(format_args!(
            "lost: the bookmarks of {}, and of any others: part of the store is gone,",
            all.join(", ")
        ))?;
        say::answer(format_args!(
            "and subscriptions that lack a publisher would miss messages. They start over and miss none."
        ))?;
        Ok(End::Damaged)
    }

    fn create(&self, options: &SledOptions) -> Result<Box<dyn Kv>, Failure> {
        let create = |into: &Path| {
            fs::create_dir_all(into).map_err(|error| self.failed(&error))?;
            SledKv::open(into, options).map_err(|error| self.failed(&error))
        };
        Ok(Box::new(create(&self.into)?))
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> Failure {
        Failure::new(format!("cannot salvage into {}", self.into.display()), why)
    }

    fn nameless(&self) -> Failure {
        Failure::new("the store no longer says whose it is", "give --client-name, and --message-type if it is not json")
    }
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(0)
}
