//! The suite finds what it is for: stores that break one rule each.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::kv::{MemoryKv, Visit};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    RemovesNothing,
    RemovesOnlyTheFirstOfARange,
    ScansThroughTheEnd,
    ScansOnWhenToldToStop,
    CutsLongValues,
    FailsForGoodOnLongValues,
    SyncsNothing,
    SyncsPowerLikeProcess,
    LosesOneInTheMiddle,
    GoesOnAfterAFailure,
    OpensTwice,
}

struct Flawed {
    kv: MemoryKv,
    flaw: Flaw,
    forgotten: bool,
}

impl Kv for Flawed {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        match self.kv.get(key) {
            Err(KvError::Failed { .. }) if self.flaw == Flaw::GoesOnAfterAFailure => Ok(None),
            read => read,
        }
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        match self.flaw {
            Flaw::CutsLongValues => self.kv.insert(key, &value[..value.len().min(60_000)]),
            Flaw::FailsForGoodOnLongValues if value.len() > self.kv.max_value() => {
                self.kv.fail_write(1);
                let _ = self.kv.insert(b"k", b"v");
                self.kv.insert(key, value)
            }
            Flaw::LosesOneInTheMiddle if !self.forgotten && (1000..2000).contains(&value.len()) => {
                self.forgotten = true;
                Ok(())
            }
            _ => self.kv.insert(key, value),
        }
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), KvError> {
        if self.flaw == Flaw::RemovesNothing { Ok(()) } else { self.kv.remove(key) }
    }

    fn remove_range(&mut self, from: &[u8], to: &[u8]) -> Result<(), KvError> {
        if self.flaw != Flaw::RemovesOnlyTheFirstOfARange {
            return self.kv.remove_range(from, to);
        }
        let mut first = None;
        self.kv.scan(from, to, &mut |key, _| {
            first = Some(key.to_vec());
            ControlFlow::Break(())
        })?;
        first.map_or(Ok(()), |key| self.kv.remove(&key))
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), KvError> {
        match self.flaw {
            Flaw::ScansThroughTheEnd => self.kv.scan(from, &[to, &[0]].concat(), visit),
            Flaw::ScansOnWhenToldToStop => self.kv.scan(from, to, &mut |key, value| {
                let _ = visit(key, value);
                ControlFlow::Continue(())
            }),
            _ => self.kv.scan(from, to, visit),
        }
    }

    fn sync(&mut self, level: SyncLevel) -> Result<(), KvError> {
        match (self.flaw, level) {
            (Flaw::SyncsNothing, _) => Ok(()),
            (Flaw::SyncsPowerLikeProcess, SyncLevel::Power) => self.kv.sync(SyncLevel::Process),
            _ => self.kv.sync(level),
        }
    }

    fn max_value(&self) -> usize {
        self.kv.max_value()
    }
}

struct Stores {
    kv: MemoryKv,
    flaw: Flaw,
}

impl Stores {
    fn open(&mut self, kv: MemoryKv) -> Box<dyn Kv> {
        self.kv = kv.clone();
        Box::new(Flawed { kv, flaw: self.flaw, forgotten: false })
    }
}

impl Subject for Stores {
    fn create(&mut self) -> Box<dyn Kv> {
        self.open(MemoryKv::new())
    }

    fn crash(&mut self, _: Box<dyn Kv>, level: SyncLevel) -> Box<dyn Kv> {
        let left = self.kv.crash(level);
        self.open(left)
    }

    fn fail_next(&mut self, _: &mut dyn Kv, fault: Fault) -> bool {
        match fault {
            Fault::Write => self.kv.fail_write(1),
            Fault::Sync => self.kv.fail_sync(1),
        }
        true
    }

    fn open_again(&mut self, _: &dyn Kv) -> Option<Result<Box<dyn Kv>, KvError>> {
        Some(match self.flaw {
            Flaw::OpensTwice => Ok(Box::new(self.kv.clone())),
            _ => Err(KvError::Locked { dir: "here".into() }),
        })
    }
}

#[test]
fn a_store_that_breaks_a_rule_is_found_and_the_rule_named() {
    for (flaw, says) in [
        (Flaw::RemovesNothing, "right after a write"),
        (Flaw::RemovesOnlyTheFirstOfARange, "differs from what was written"),
        (Flaw::ScansThroughTheEnd, "missing or out of order"),
        (Flaw::ScansOnWhenToldToStop, "told to stop"),
        (Flaw::CutsLongValues, "came back changed"),
        (Flaw::FailsForGoodOnLongValues, "does not fail the store"),
        (Flaw::SyncsNothing, "had been synced"),
        (Flaw::SyncsPowerLikeProcess, "had been synced"),
        (Flaw::LosesOneInTheMiddle, "not what any prefix"),
        (Flaw::GoesOnAfterAFailure, "a later get answers"),
        (Flaw::OpensTwice, "was opened again"),
    ] {
        let mut stores = Stores { kv: MemoryKv::new(), flaw };
        let panic = catch_unwind(AssertUnwindSafe(|| check(&mut stores))).expect_err("a flaw");
        let text = panic.downcast_ref::<String>().map_or("", String::as_str);
        let text = panic.downcast_ref::<&str>().copied().unwrap_or(text);
        assert!(text.contains(says), "{flaw:?}: {text}");
    }
}
