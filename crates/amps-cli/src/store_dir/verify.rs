//! `amps store verify`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use amps_client::kv::{SledKv, SledOptions, SyncLevel};
use amps_ha::bookmarks::store::KvBookmarkStore;
use amps_ha::publish_log::{Identity, SegmentStore};
use clap::Args;

use super::{Kind, Opened};
use crate::exit::{End, Failure};
use crate::say;

/// Options of `amps store verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The store's directory. A copy of it is made in the directory for
    /// temporary files, and opened there.
    dir: PathBuf,
}

impl Verify {
    pub(super) fn run(self) -> Result<End, Failure> {
        let opened = Opened::read(&self.dir)?;
        let mut problems: Vec<String> = opened.problems().cloned().collect();
        let whose = match &opened.kind {
            Kind::Publish(publish) => {
                let contents = publish.contents().map_err(|error| Failure::new("cannot read the messages", error))?;
                problems.extend(
                    contents.identity.and_then(|identity| try_publish(&self.dir, &identity).transpose()).transpose()?,
                );
                format!("{} messages", contents.messages)
            }
            Kind::Bookmarks(bookmarks) => {
                problems.extend(
                    bookmarks.client().and_then(|client| try_bookmarks(&self.dir, client).transpose()).transpose()?,
                );
                format!("the bookmarks of {} subscriptions", bookmarks.subscriptions().len())
            }
        };
        if let Some(reason) = &opened.quarantined {
            problems.push(match problems.is_empty() {
                true => format!("it is quarantined though nothing is wrong now; if it was restored, remove its file QUARANTINED, which says: {reason}"),
                false => format!("it is quarantined: {reason}"),
            });
        }
        match problems.split_first() {
            None => {
                say::answer(format_args!("whole: {whose}"))?;
                Ok(End::Done)
            }
            Some((first, others)) => {
                say::answer(format_args!("damaged: {first}"))?;
                for other in others {
                    say::answer(format_args!("also: {other}"))?;
                }
                say::answer(format_args!("`amps store repair {} --into NEW` salvages {whose}", self.dir.display()))?;
                Ok(End::Damaged)
            }
        }
    }
}

/// What an open of a copy says, if it is an error.
fn try_publish(dir: &Path, identity: &Identity) -> Result<Option<String>, Failure> {
    let copy = copy(dir)?;
    let opened = SledKv::open(copy.path(), &SledOptions::default()).map_err(|error| error.to_string());
    let opened =
        opened.and_then(|kv| SegmentStore::open(Box::new(kv), dir, identity, 1).map_err(|error| error.to_string()));
    Ok(opened.err().map(|error| refusal(&error, copy.path(), dir)))
}

fn try_bookmarks(dir: &Path, client: &str) -> Result<Option<String>, Failure> {
    let copy = copy(dir)?;
    let opened = SledKv::open(copy.path(), &SledOptions::small()).map_err(|error| error.to_string());
    let opened =
        opened.and_then(|kv| KvBookmarkStore::open(kv, client, SyncLevel::Process).map_err(|error| error.to_string()));
    Ok(opened.err().map(|error| refusal(&error, copy.path(), dir)))
}

/// The error of the copy's open, as if it were the original's.
fn refusal(error: &str, copy: &Path, dir: &Path) -> String {
    format!("a client refuses it: {}", error.replace(&*copy.to_string_lossy(), &dir.to_string_lossy()))
}

/// A copy without the marker that makes every open refuse.
fn copy(dir: &Path) -> Result<tempfile::TempDir, Failure> {
    let failed = |error: io::Error| Failure::new("cannot make a copy to open", error);
    let copy = tempfile::tempdir().map_err(failed)?;
    copy_files(dir, copy.path()).map_err(failed)?;
    Ok(copy)
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_files(&entry.path(), &target)?;
        } else if entry.file_name() != "QUARANTINED" && entry.file_name() != "lock" {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
