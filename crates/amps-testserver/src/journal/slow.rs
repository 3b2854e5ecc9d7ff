//! A journal on a slow disk, as a fault.

use std::fmt;
use std::io;
use std::thread;
use std::time::Duration;

use super::{Journal, Record};

/// A journal that waits before each commit of something, for as long as it is
/// told then. Nothing else about it changes: what is committed is as safe, and
/// the order the same.
pub struct SlowJournal<J> {
    journal: J,
    delay: Box<dyn Fn() -> Duration + Send>,
    pending: bool,
}

impl<J: Journal> SlowJournal<J> {
    /// Puts the disk under `journal`; `delay` is asked at each commit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use amps_testserver::{Config, Engine, MemoryJournal, journal::SlowJournal};
    ///
    /// let journal = SlowJournal::new(MemoryJournal::new(), || Duration::from_millis(5));
    /// let engine = Engine::new(Config::new("A"), Box::new(journal))?;
    /// # drop(engine);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(journal: J, delay: impl Fn() -> Duration + Send + 'static) -> Self {
        Self { journal, delay: Box::new(delay), pending: false }
    }
}

impl<J: fmt::Debug> fmt::Debug for SlowJournal<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlowJournal").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl<J: Journal> Journal for SlowJournal<J> {
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> io::Result<()> {
        self.journal.load(each)
    }

    fn append(&mut self, record: &Record) {
        self.pending = true;
        self.journal.append(record);
    }

    fn commit(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.pending) {
            thread::sleep((self.delay)());
        }
        self.journal.commit()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::journal::MemoryJournal;

    #[test]
    fn only_a_commit_of_something_meets_the_disk_and_all_of_it_is_kept() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let delay = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Duration::ZERO
        };
        let kept = MemoryJournal::new();
        let mut journal = SlowJournal::new(kept.clone(), delay);
        journal.commit().unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 0, "nothing to write");
        journal.append(&Record::Promised(1));
        journal.append(&Record::Promised(2));
        journal.commit().unwrap();
        journal.commit().unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let mut records = Vec::new();
        SlowJournal::new(kept, || Duration::ZERO).load(&mut |record| records.push(record)).unwrap();
        assert_eq!(records, [Record::Promised(1), Record::Promised(2)]);
    }
}
