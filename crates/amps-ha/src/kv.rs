//! The small ordered key-value seam the stores stand on, and the place to
//! bring a store of your own.
//!
//! [`SledKv`] keeps entries in a directory, [`MemoryKv`] keeps them in memory
//! and can be told to fail or to lose what was not synced, so that a test or a
//! simulation can put a lying disk under a store. Anything else that
//! implements [`Kv`] does as well: [`conformance`] checks that it keeps the
//! contract.
//!
//! # The contract
//!
//! 1. **An ordered map.** Keys are 1 to [`MAX_KEY`] bytes and compared byte by
//!    byte; values are 0 to [`Kv::max_value`] bytes, of which there are at least
//!    [`MIN_MAX_VALUE`]. Every read and scan sees every write before it.
//! 2. **Prefixes.** After a crash, what survives is a *prefix* of the inserts
//!    and removes, in the order they were made, that holds at least everything
//!    before the last [`Kv::sync`] of the level that survives that kind of
//!    crash. More than was synced may survive; something in the middle may
//!    never be missing, and no value may be half there.
//! 3. **Failures are final.** After a failed write or sync nothing says any
//!    more what reached the disk, so every later call answers
//!    [`KvError::Failed`] with the first error inside. Refusing a key or value
//!    that is too large is no such failure.
//! 4. **One owner.** While a store is open, opening it again answers
//!    [`KvError::Locked`], in this process and in others.
//! 5. **Never silently empty.** A store that cannot be read is
//!    [`KvError::Damaged`]. What stands on this seam checks its own values
//!    (each has a checksum), but cannot miss what it never learns of.
//! 6. **One thread at a time**, not always the same. Calls block; they are made
//!    from a thread of their own, never from an async task.
//!
//! The stores write a value once, read it rarely, and remove it soon; scans run
//! from older to newer keys.

pub mod conformance;
mod memory;
mod sled;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use memory::MemoryKv;
pub use sled::{Damage, SledFiles, SledKv, SledOptions};

/// The longest key, in bytes.
pub const MAX_KEY: usize = 256;

/// The least that [`Kv::max_value`] may be, in bytes. The publish store is the
/// faster the nearer it comes to 64 KiB.
pub const MIN_MAX_VALUE: usize = 2048;

/// What [`Kv::scan`] shows each key and value to.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// An ordered map from bytes to bytes that survives crashes. The
/// [module](self) says what implementations promise.
pub trait Kv: Send + 'static {
    /// The value of `key`.
    ///
    /// # Errors
    /// Any [`KvError`]; a value that cannot be read back is `Damaged`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// Sets the value of `key`. It survives a crash once [`Kv::sync`] returned.
    ///
    /// # Errors
    /// [`KvError::KeyTooLarge`] and [`KvError::ValueTooLarge`] change nothing;
    /// any other error fails the store for good.
    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError>;

    /// [`insert`](Self::insert) of a value that is in parts. What is given here
    /// copies them together; a store that can do it cheaper should.
    ///
    /// # Errors
    /// Those of [`insert`](Self::insert).
    fn insert_parts(&mut self, key: &[u8], parts: &[&[u8]]) -> Result<(), KvError> {
        self.insert(key, &parts.concat())
    }

    /// Removes `key`; no error if it is not there.
    ///
    /// # Errors
    /// Any error fails the store for good.
    fn remove(&mut self, key: &[u8]) -> Result<(), KvError>;

    /// Removes the entries with `from <= key < to`, from the smallest key on: a
    /// crash may leave the larger ones. What is given here removes one by one;
    /// a store that can do it cheaper should.
    ///
    /// # Errors
    /// Any error fails the store for good.
    fn remove_range(&mut self, from: &[u8], to: &[u8]) -> Result<(), KvError> {
        let mut keys = Vec::new();
        self.scan(from, to, &mut |key, _| {
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })?;
        keys.iter().try_for_each(|key| self.remove(key))
    }

    /// Shows the entries with `from <= key < to` to `visit`, in key order, one
    /// at a time, until it breaks. `visit` does not call the store.
    ///
    /// # Errors
    /// Any [`KvError`]; entries before the error were already shown.
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), KvError>;

    /// Makes everything written so far survive what `level` names.
    ///
    /// # Errors
    /// Any error fails the store for good.
    fn sync(&mut self, level: SyncLevel) -> Result<(), KvError>;

    /// The longest value [`Kv::insert`] takes, in bytes; longer ones must be
    /// split. Always the same for the same stored data: it is part of the
    /// format of what stands on this seam.
    fn max_value(&self) -> usize;
}

impl Kv for Box<dyn Kv> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        (**self).get(key)
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        (**self).insert(key, value)
    }

    fn insert_parts(&mut self, key: &[u8], parts: &[&[u8]]) -> Result<(), KvError> {
        (**self).insert_parts(key, parts)
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), KvError> {
        (**self).remove(key)
    }

    fn remove_range(&mut self, from: &[u8], to: &[u8]) -> Result<(), KvError> {
        (**self).remove_range(from, to)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), KvError> {
        (**self).scan(from, to, visit)
    }

    fn sync(&mut self, level: SyncLevel) -> Result<(), KvError> {
        (**self).sync(level)
    }

    fn max_value(&self) -> usize {
        (**self).max_value()
    }
}

/// What a sync makes writes survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncLevel {
    /// The death of this process: the operating system has the data.
    Process,
    /// Also the death of the machine: the disk has the data.
    Power,
}

/// Why a key-value store cannot do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// Another store object, here or in another process, has the directory open.
    #[error("{dir:?} is locked by another process: only one client may use a store directory at a time")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The stored data cannot be trusted.
    #[error(
        "the store in {dir:?} is damaged: {what}. Nothing was deleted; move the directory away to start with an \
         empty store, or restore it and remove its file QUARANTINED"
    )]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// What was found.
        what: String,
    },
    /// Written by another version of this library. Nothing was changed.
    #[error(
        "the store in {dir:?} has format {found}, this version reads {known}: open it with the version that wrote it"
    )]
    OtherFormat {
        /// The directory.
        dir: PathBuf,
        /// The version found.
        found: u64,
        /// The version known here.
        known: u64,
    },
    /// The operating system refused.
    #[error("the store in {dir:?}: {source}")]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        source: Arc<std::io::Error>,
    },
    /// A key above [`MAX_KEY`].
    #[error("a key of {len} bytes, at most {MAX_KEY} are allowed")]
    KeyTooLarge {
        /// Its length in bytes.
        len: usize,
    },
    /// A value above [`Kv::max_value`]; split it.
    #[error("a value of {len} bytes, at most {max} are allowed: split it")]
    ValueTooLarge {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// An earlier call failed, so nothing more is written. Open the store anew.
    #[error("the store has failed and must be opened anew; the first error was: {first}")]
    Failed {
        /// The error of that call.
        #[source]
        first: Box<Self>,
    },
}

fn check_size(key: &[u8], len: usize, max: usize) -> Result<(), KvError> {
    if key.len() > MAX_KEY {
        return Err(KvError::KeyTooLarge { len: key.len() });
    }
    if len > max {
        return Err(KvError::ValueTooLarge { len, max });
    }
    Ok(())
}

/// Counts the successful syncs of one store, from any thread: how many groups
/// shared how many syncs is the measure of group commit.
#[derive(Debug, Clone, Default)]
pub struct SyncCount {
    process: Arc<AtomicU64>,
    power: Arc<AtomicU64>,
}

impl SyncCount {
    /// How many syncs of `level` succeeded so far.
    pub fn get(&self, level: SyncLevel) -> u64 {
        self.of(level).load(Ordering::Relaxed)
    }

    fn add(&self, level: SyncLevel) {
        self.of(level).fetch_add(1, Ordering::Relaxed);
    }

    fn of(&self, level: SyncLevel) -> &AtomicU64 {
        match level {
            SyncLevel::Process => &self.process,
            SyncLevel::Power => &self.power,
        }
    }
}
