//! `amps store`: a store's directory while no client uses it.
//!
//! Nothing here changes the directory, or opens it with the engine: its files
//! are read as they are. What an open would say is tried on a copy.

mod inspect;
mod repair;
mod verify;

use std::path::{Path, PathBuf};

use amps_client::kv::SledFiles;
use amps_ha::bookmarks::store as bookmarks;
use amps_ha::publish_log::{Examined, Records};
use clap::Subcommand;

use crate::exit::{End, Failure};
use crate::progress::Progress;

/// What is done with a store's directory.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreDir {
    /// Says what is in it, damaged or not.
    Inspect(inspect::Inspect),
    /// Says whether it is whole. Exit code 0: whole; 3: damaged; 1: cannot tell.
    Verify(verify::Verify),
    /// Salvages what is whole into a new directory. Exit code 0: nothing was
    /// lost; 3: something was; 1: nothing was done.
    Repair(repair::Repair),
}

impl StoreDir {
    /// Does it.
    ///
    /// # Errors
    /// When the directory cannot be read, holds no store, or is in use.
    pub(crate) fn run(self) -> Result<End, Failure> {
        match self {
            Self::Inspect(command) => command.run(),
            Self::Verify(command) => command.run(),
            Self::Repair(command) => command.run(),
        }
    }
}

/// A store as its files show it.
struct Opened {
    dir: PathBuf,
    /// Damage in the files; empty if there is none.
    damage: Vec<String>,
    quarantined: Option<String>,
    /// Nothing that was written can be missing without a word.
    complete: bool,
    file_bytes: u64,
    kind: Kind,
}

/// Which kind of store, and what it holds.
enum Kind {
    Publish(Box<Examined>),
    Bookmarks(bookmarks::Examined),
}

impl Opened {
    fn read(dir: &Path) -> Result<Self, Failure> {
        let failed =
            |why: &dyn std::fmt::Display| Failure::new(format!("cannot read the store {}", dir.display()), why);
        let mut records = Records::default();
        let progress = Progress::working("reading the store");
        let files = SledFiles::read(dir, &mut |key, value| records.note(key, value));
        progress.end();
        let files = files.map_err(|error| failed(&error))?;
        let damage: Vec<String> = files.damage().iter().map(ToString::to_string).collect();
        let quarantined = files.quarantined().map(str::to_owned);
        let (complete, file_bytes) = (files.is_complete(), files.file_len());
        let marks = bookmarks::Examined::new(&files).map_err(|error| failed(&error))?;
        let kind = if marks.is_bookmark_store() {
            Kind::Bookmarks(marks)
        } else {
            let publish = Examined::new(files, records).map_err(|error| failed(&error))?;
            if publish.is_empty() {
                return Err(failed(&"there is nothing in it that a store of ours holds"));
            }
            Kind::Publish(Box::new(publish))
        };
        Ok(Self { dir: dir.to_owned(), damage, quarantined, complete, file_bytes, kind })
    }

    /// Everything that is wrong, in words.
    fn problems(&self) -> impl Iterator<Item = &String> {
        let inside = match &self.kind {
            Kind::Publish(publish) => publish.problems(),
            Kind::Bookmarks(bookmarks) => bookmarks.problems(),
        };
        self.damage.iter().chain(inside)
    }
}
