//! Does a store keep the contract of [`Kv`]?
//!
//! For whoever brings a store: a test of theirs says how one is created and how
//! it crashes, and [`check`] does the rest. Nothing beyond this crate is
//! needed.
//!
//! ```
//! use amps_ha::kv::conformance::{self, Fault, Subject};
//! use amps_ha::kv::{Kv, KvError, MemoryKv, SyncLevel};
//!
//! struct Mine(MemoryKv);
//!
//! impl Subject for Mine {
//!     fn create(&mut self) -> Box<dyn Kv> {
//!         self.0 = MemoryKv::new();
//!         Box::new(self.0.clone())
//!     }
//!
//!     fn crash(&mut self, kv: Box<dyn Kv>, level: SyncLevel) -> Box<dyn Kv> {
//!         drop(kv);
//!         self.0 = self.0.crash(level);
//!         Box::new(self.0.clone())
//!     }
//! }
//!
//! let report = conformance::check(&mut Mine(MemoryKv::new()));
//! // What this subject offers no means for is said, not passed over.
//! assert_eq!(report.skipped().count(), 3);
//! ```

mod durability;
mod map;
mod stores;
#[cfg(test)]
mod tests;

use std::fmt;

use super::{Kv, KvError, SyncLevel};

pub use durability::{failed_syncs_are_final, failed_writes_are_final, one_owner, survivors_are_prefixes};
pub use map::{entries, limits, scans, threads};
pub use stores::{bookmark_store, publish_store};

/// A kind of store under test. Every call but `create` is about the store that
/// `create` or `crash` answered last.
pub trait Subject {
    /// Opens a new, empty store.
    fn create(&mut self) -> Box<dyn Kv>;

    /// Ends the store as a crash that `level` names would, and opens what is
    /// left: after [`SyncLevel::Process`] what the operating system has, after
    /// [`SyncLevel::Power`] what the disk has. More may survive than was
    /// synced, as on a real disk. A copy of the files of a store that is still
    /// open, opened elsewhere, is what a killed process leaves.
    fn crash(&mut self, kv: Box<dyn Kv>, level: SyncLevel) -> Box<dyn Kv>;

    /// Makes the next write or sync of the store fail. `false` when there is no
    /// means to: then nothing is checked about failures.
    fn fail_next(&mut self, kv: &mut dyn Kv, fault: Fault) -> bool {
        let _ = (kv, fault);
        false
    }

    /// Opens the store that `kv` has open once more. `None` when that makes no
    /// sense for this kind of store: then it is not checked.
    fn open_again(&mut self, kv: &dyn Kv) -> Option<Result<Box<dyn Kv>, KvError>> {
        let _ = kv;
        None
    }
}

/// What is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An insert or remove.
    Write,
    /// A sync.
    Sync,
}

/// What was checked.
#[derive(Debug, Clone, Default)]
pub struct Report {
    checks: Vec<(&'static str, Checked)>,
}

/// How one check ended; one that fails panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// The store keeps the rule.
    Kept,
    /// The [`Subject`] offers no means to tell.
    Skipped,
}

impl Report {
    /// The rules the store was seen to keep.
    pub fn kept(&self) -> impl Iterator<Item = &'static str> {
        self.with(Checked::Kept)
    }

    /// The rules the subject offers no means to check.
    pub fn skipped(&self) -> impl Iterator<Item = &'static str> {
        self.with(Checked::Skipped)
    }

    fn with(&self, end: Checked) -> impl Iterator<Item = &'static str> {
        self.checks.iter().filter(move |(_, checked)| *checked == end).map(|(rule, _)| *rule)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (rule, checked) in &self.checks {
            let word = if *checked == Checked::Kept { "kept" } else { "SKIPPED" };
            writeln!(f, "{word:8}{rule}")?;
        }
        Ok(())
    }
}

type Check = fn(&mut dyn Subject) -> Checked;

/// Checks every rule of the contract. Takes some hundred stores and some
/// thousand small writes, always the same.
///
/// # Panics
/// At the first rule that is broken, naming it and what was seen.
pub fn check(subject: &mut dyn Subject) -> Report {
    let rules: [(&str, Check); 10] = [
        ("what was written is read, until it is overwritten or removed", entries),
        ("a scan shows a range in order, and stops when told to", scans),
        ("keys and values to the limits are taken, larger ones refused without harm", limits),
        ("a store may move between threads", threads),
        ("a crash leaves a prefix of the writes, with all that was synced", survivors_are_prefixes),
        ("after a failed write nothing more is written", failed_writes_are_final),
        ("after a failed sync nothing more is written", failed_syncs_are_final),
        ("a store has one owner at a time", one_owner),
        ("a publish log on it loses nothing that was durable", publish_store),
        ("bookmarks on it are there again", bookmark_store),
    ];
    Report { checks: rules.map(|(rule, check)| (rule, check(subject))).to_vec() }
}
