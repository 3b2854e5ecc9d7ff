//! `--slow-disk`: a slow disk, as a fault for tests.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use amps_ha::kv::{Kv, KvError, SyncLevel, Visit};

/// The longest wait.
const LONGEST_MS: u64 = 60_000;

/// How slow the disk is, as a file says: a number of milliseconds for each sync.
/// It is read each time, so that a disk can become slow and quick again under a
/// running process. While there is no such file, the disk is as it is.
#[derive(Debug, Clone)]
pub(crate) struct SlowDisk(PathBuf);

impl FromStr for SlowDisk {
    type Err = std::convert::Infallible;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        Ok(Self(path.into()))
    }
}

impl SlowDisk {
    /// What a sync takes longer now.
    pub(crate) fn delay(&self) -> Duration {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        Duration::from_millis(text.trim().parse::<u64>().unwrap_or(0).min(LONGEST_MS))
    }

    /// Puts the disk under a store.
    pub(crate) fn under(self, kv: impl Kv) -> Box<dyn Kv> {
        Box::new(SlowKv { kv, disk: self })
    }
}

/// A store each sync of which takes longer. What it promises stays the same.
#[derive(Debug)]
struct SlowKv<K> {
    kv: K,
    disk: SlowDisk,
}

impl<K: Kv> Kv for SlowKv<K> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.kv.get(key)
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.kv.insert(key, value)
    }

    fn insert_parts(&mut self, key: &[u8], parts: &[&[u8]]) -> Result<(), KvError> {
        self.kv.insert_parts(key, parts)
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), KvError> {
        self.kv.remove(key)
    }

    fn remove_range(&mut self, from: &[u8], to: &[u8]) -> Result<(), KvError> {
        self.kv.remove_range(from, to)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), KvError> {
        self.kv.scan(from, to, visit)
    }

    fn sync(&mut self, level: SyncLevel) -> Result<(), KvError> {
        thread::sleep(self.disk.delay());
        self.kv.sync(level)
    }

    fn max_value(&self) -> usize {
        self.kv.max_value()
    }
}

#[cfg(test)]
mod tests {
    use amps_ha::kv::MemoryKv;
    use amps_ha::kv::conformance::{self, Subject};

    use super::*;

    /// On a disk that is never slow: how long it takes is no part of the contract.
    struct Slowed(MemoryKv);

    impl Slowed {
        fn opened(&self) -> Box<dyn Kv> {
            SlowDisk(PathBuf::from("no such file")).under(self.0.clone())
        }
    }

    impl Subject for Slowed {
        fn create(&mut self) -> Box<dyn Kv> {
            self.0 = MemoryKv::new();
            self.opened()
        }

        fn crash(&mut self, kv: Box<dyn Kv>, level: SyncLevel) -> Box<dyn Kv> {
            drop(kv);
            self.0 = self.0.crash(level);
            self.opened()
        }
    }

    #[test]
    fn a_store_on_a_slow_disk_keeps_the_contract() {
        let report = conformance::check(&mut Slowed(MemoryKv::new()));
        assert!(report.kept().count() > 5, "{report:?}");
    }

    #[test]
    fn the_file_says_how_slow_it_is_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let disk: SlowDisk = path.to_str().unwrap().parse().unwrap();
        assert_eq!(disk.delay(), Duration::ZERO, "no file");
        for (text, ms) in [("250", 250), ("7\n", 7), ("", 0), ("soon", 0), ("999999999", LONGEST_MS)] {
            fs::write(&path, text).unwrap();
            assert_eq!(disk.delay(), Duration::from_millis(ms), "{text:?}");
        }
    }
}
