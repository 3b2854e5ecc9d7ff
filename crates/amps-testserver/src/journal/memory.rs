//! Journals without a disk.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Journal, Record};

/// A journal in memory. Clones share it, so an engine made with a clone finds
/// what a dropped one committed: a restart without a disk. What was appended
/// and not committed is lost with the engine, as on a disk.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    committed: Arc<Mutex<Vec<Record>>>,
    appended: Vec<Record>,
}

impl MemoryJournal {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Clone for MemoryJournal {
    fn clone(&self) -> Self {
        Self { committed: Arc::clone(&self.committed), appended: Vec::new() }
    }
}

impl Journal for MemoryJournal {
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> io::Result<()> {
        for record in self.committed.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            each(record.clone());
        }
        Ok(())
    }

    fn append(&mut self, record: &Record) {
        self.appended.push(record.clone());
    }

    fn commit(&mut self) -> io::Result<()> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).append(&mut self.appended);
        Ok(())
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
