//! Journals without a disk.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Journal, Record};

/// A journal in memory. Clones share it, so an engine made with a clone finds
/// what a dropped one committed: a restart without a disk. What was appended
/// and not committed is lost with the engine, as on a disk.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    disk: Arc<Mutex<Disk>>,
    appended: Vec<Record>,
}

/// What clones share.
#[derive(Debug, Default)]
struct Disk {
    committed: Vec<Record>,
    /// So many commits until one fails, and how many of its records are kept.
    fails: Option<(u64, usize)>,
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// The disk takes `commits` more commits; of the next it keeps the first
    /// `records`, and fails, as one that is full does. Once. `None`: it works.
    pub fn fail_commit(&self, after: Option<(u64, usize)>) {
        self.disk().fails = after;
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for MemoryJournal {
    fn clone(&self) -> Self {
        Self { disk: Arc::clone(&self.disk), appended: Vec::new() }
    }
}

impl Journal for MemoryJournal {
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> io::Result<()> {
        for record in &self.disk().committed {
            each(record.clone());
        }
        Ok(())
    }

    fn append(&mut self, record: &Record) {
        self.appended.push(record.clone());
    }

    fn commit(&mut self) -> io::Result<()> {
        let Self { disk, appended } = self;
        let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
        let fails = match &mut disk.fails {
            Some((0, _)) => disk.fails.take(),
            Some((commits, _)) => {
                *commits -= 1;
                None
            }
            None => None,
        };
        if let Some((_, kept)) = fails {
            appended.truncate(kept);
        }
        disk.committed.append(appended);
        match fails {
            Some(_) => Err(io::Error::from(io::ErrorKind::StorageFull)),
            None => Ok(()),
        }
    }
}

/// No journal: the log lives and dies with its engine.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn load(&mut self, _each: &mut dyn FnMut(Record)) -> io::Result<()> {
        Ok(())
    }

    fn append(&mut self, _record: &Record) {}

    fn commit(&mut self) -> io::Result<()> {
        Ok(())
    }
}
