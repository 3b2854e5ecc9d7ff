//! The ledger of a publisher: the numbers of the messages that are durable.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Appends the numbers of messages, counted from 1, one a line.
///
/// Each call to [`promise`](Ledger::promise) is one write to the operating
/// system: what it returned for survives a killed process.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: File,
    text: String,
}

impl Ledger {
    /// Opens the file, or makes it; what is in it stays.
    ///
    /// # Errors
    /// What the file system reports.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file, text: String::new() })
    }

    /// Says of these messages that they are durable.
    ///
    /// # Errors
    /// What the file system reports.
    pub(crate) fn promise(&mut self, numbers: impl IntoIterator<Item = u64>) -> io::Result<()> {
        self.text.clear();
        for number in numbers {
            self.text.push_str(&number.to_string());
            self.text.push('\n');
        }
        self.file.write_all(self.text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_appended_at_once_and_stay_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let mut ledger = Ledger::open(&path).unwrap();
        ledger.promise([1, 2]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n");
        drop(ledger);
        Ledger::open(&path).unwrap().promise([3]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n3\n");
    }
}
