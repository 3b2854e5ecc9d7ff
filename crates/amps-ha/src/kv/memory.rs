//! A key-value store in memory that can lie like a disk.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Kv, KvError, SyncCount, SyncLevel, Visit, check_size};

const MAX_VALUE: usize = 64 * 1024;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// An ordered map in memory, for stores without a disk and for tests.
///
/// Clones share the same entries, so a test can look inside while a store owns
/// the other clone. [`MemoryKv::crash`] answers what a disk would hold after a
/// crash; the faults fail a chosen write or sync. Unlike a disk it keeps the
/// writes since the last `Power` sync twice, so a store that never syncs grows
/// with every write.
#[derive(Debug, Clone, Default)]
pub struct MemoryKv {
    state: Arc<Mutex<State>>,
    syncs: SyncCount,
}

#[derive(Debug, Default)]
struct State {
    live: Map,
    /// As of the last `Power` sync.
    stable: Map,
    /// The writes since then, oldest first; `None` is a remove.
    since: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// How many of `since` the operating system has.
    handed_over: usize,
    writes_until_fault: Option<u64>,
    syncs_until_fault: Option<u64>,
    writes: u64,
    failed: Option<KvError>,
}

impl MemoryKv {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is left after a crash that `level` names: everything up to the last
    /// sync of that level or a stronger one. This store is dead afterwards.
    pub fn crash(&self, level: SyncLevel) -> Self {
        self.crash_keeping(level, 0)
    }

    /// Like [`MemoryKv::crash`], but the first `extra` writes after that sync
    /// survived too, as they may on a real disk.
    pub fn crash_keeping(&self, level: SyncLevel, extra: usize) -> Self {
        let mut state = self.lock();
        state.failed.get_or_insert_with(|| injected("the store was crashed"));
        let safe = if level == SyncLevel::Process { state.handed_over } else { 0 };
        let kept = (safe + extra).min(state.since.len());
        let mut map = state.stable.clone();
        for (key, value) in &state.since[..kept] {
            apply(&mut map, key, value.as_deref());
        }
        let survived = State { stable: map.clone(), live: map, ..State::default() };
        Self { state: Arc::new(Mutex::new(survived)), syncs: SyncCount::default() }
    }

    /// The `n`-th insert or remove from now on fails; 1 is the next one.
    pub fn fail_write(&self, n: u64) {
        self.lock().writes_until_fault = Some(n.max(1));
    }

    /// The `n`-th sync from now on fails; 1 is the next one.
    pub fn fail_sync(&self, n: u64) {
        self.lock().syncs_until_fault = Some(n.max(1));
    }

    /// How many inserts and removes succeeded.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Counts the syncs of this store.
    pub fn sync_count(&self) -> SyncCount {
        self.syncs.clone()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.lock().live.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), KvError> {
        let mut state = self.lock();
        state.check()?;
        if due(&mut state.writes_until_fault) {
            return Err(state.fail("injected write error"));
        }
        apply(&mut state.live, key, value);
        state.since.push((key.to_vec(), value.map(<[u8]>::to_vec)));
        state.writes += 1;
        Ok(())
    }
}

impl Kv for MemoryKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let state = self.lock();
        state.check()?;
        Ok(state.live.get(key).cloned())
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        check_size(key, value.len(), MAX_VALUE)?;
        self.write(key, Some(value))
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), KvError> {
        self.write(key, None)
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), KvError> {
        // One entry at a time, so that `visit` runs outside the lock.
        let mut from = Bound::Included(from.to_vec());
        loop {
            let state = self.lock();
            state.check()?;
            if matches!(&from, Bound::Included(key) | Bound::Excluded(key) if key.as_slice() >= to) {
                return Ok(());
            }
            let next = state.live.range((from.clone(), Bound::Excluded(to.to_vec()))).next();
            let Some((key, value)) = next.map(|(key, value)| (key.clone(), value.clone())) else { return Ok(()) };
            drop(state);
            if visit(&key, &value).is_break() {
                return Ok(());
            }
            from = Bound::Excluded(key);
        }
    }

    fn sync(&mut self, level: SyncLevel) -> Result<(), KvError> {
        let mut state = self.lock();
        state.check()?;
        if due(&mut state.syncs_until_fault) {
            return Err(state.fail("injected sync error"));
        }
        match level {
            SyncLevel::Process => state.handed_over = state.since.len(),
            SyncLevel::Power => {
                let State { stable, since, handed_over, .. } = &mut *state;
                for (key, value) in since.drain(..) {
                    apply(stable, &key, value.as_deref());
                }
                *handed_over = 0;
            }
        }
        self.syncs.add(level);
        Ok(())
    }

    fn max_value(&self) -> usize {
        MAX_VALUE
    }
}

impl State {
    fn check(&self) -> Result<(), KvError> {
        match &self.failed {
            Some(first) => Err(KvError::Failed { first: Box::new(first.clone()) }),
            None => Ok(()),
        }
    }

    fn fail(&mut self, what: &str) -> KvError {
        self.failed.get_or_insert_with(|| injected(what)).clone()
    }
}

fn apply(map: &mut Map, key: &[u8], value: Option<&[u8]>) {
    match value {
        Some(value) => map.insert(key.to_vec(), value.to_vec()),
        None => map.remove(key),
    };
}

fn due(countdown: &mut Option<u64>) -> bool {
    match countdown {
        Some(1) => {
            *countdown = None;
            true
        }
        Some(n) => {
            *n -= 1;
            false
        }
        None => false,
    }
}

fn injected(what: &str) -> KvError {
    KvError::Io { dir: PathBuf::from("memory"), source: Arc::new(std::io::Error::other(what.to_owned())) }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::kv::conformance::{self, Fault, Subject};

    fn keys(kv: &MemoryKv) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        kv.scan(b"", b"\xff", &mut |key, _| {
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
        keys
    }

    #[test]
    fn a_crash_leaves_what_its_level_synced() {
        let mut kv = MemoryKv::new();
        kv.insert(b"a", b"1").unwrap();
        kv.sync(SyncLevel::Power).unwrap();
        kv.insert(b"b", b"2").unwrap();
        kv.remove(b"a").unwrap();
        kv.sync(SyncLevel::Process).unwrap();
        kv.insert(b"c", b"3").unwrap();
        kv.insert(b"d", b"4").unwrap();

        assert_eq!(keys(&kv.crash_keeping(SyncLevel::Power, 1)), [b"a", b"b"]);
        assert_eq!(keys(&kv.crash(SyncLevel::Power)), [b"a"]);
        assert_eq!(keys(&kv.crash(SyncLevel::Process)), [b"b"]);
        assert_eq!(keys(&kv.crash_keeping(SyncLevel::Process, 9)), [b"b", b"c", b"d"]);
        assert!(matches!(kv.insert(b"e", b""), Err(KvError::Failed { .. })), "the crashed store is dead");
    }

    /// Crashes keep more than was synced, as disks do.
    struct Lying(MemoryKv, usize);

    impl Subject for Lying {
        fn create(&mut self) -> Box<dyn Kv> {
            self.0 = MemoryKv::new();
            Box::new(self.0.clone())
        }

        fn crash(&mut self, kv: Box<dyn Kv>, level: SyncLevel) -> Box<dyn Kv> {
            drop(kv);
            self.1 += 1;
            self.0 = self.0.crash_keeping(level, self.1 % 5);
            Box::new(self.0.clone())
        }

        fn fail_next(&mut self, _: &mut dyn Kv, fault: Fault) -> bool {
            match fault {
                Fault::Write => self.0.fail_write(1),
                Fault::Sync => self.0.fail_sync(1),
            }
            true
        }
    }

    #[test]
    fn it_keeps_the_contract() {
        let report = conformance::check(&mut Lying(MemoryKv::new(), 0));
        let skipped: Vec<_> = report.skipped().collect();
        assert_eq!(skipped, ["a store has one owner at a time"], "{report}");
    }

    #[test]
    fn the_chosen_write_or_sync_fails_and_then_everything() {
        let mut kv = MemoryKv::new();
        kv.fail_write(2);
        kv.insert(b"a", b"1").unwrap();
        assert!(matches!(kv.insert(b"b", b"2"), Err(KvError::Io { .. })));
        let later = kv.get(b"a").unwrap_err();
        assert!(later.to_string().contains("injected write error"), "{later}");

        let mut kv = MemoryKv::new();
        kv.fail_sync(1);
        kv.insert(b"a", b"1").unwrap();
        assert!(matches!(kv.sync(SyncLevel::Power), Err(KvError::Io { .. })));
        assert!(matches!(kv.sync(SyncLevel::Power), Err(KvError::Failed { .. })));
        assert_eq!(kv.sync_count().get(SyncLevel::Power), 0);
        assert!(kv.crash(SyncLevel::Power).is_empty());
    }

    #[test]
    fn a_scan_shows_the_range_in_order_and_can_stop() {
        let mut kv = MemoryKv::new();
        for key in [b"c", b"a", b"b", b"d"] {
            kv.insert(key, key).unwrap();
        }
        let mut seen = Vec::new();
        kv.scan(b"b", b"d", &mut |key, value| {
            seen.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(seen, [(b"b".to_vec(), b"b".to_vec()), (b"c".to_vec(), b"c".to_vec())]);
        let mut first = None;
        kv.scan(b"", b"z", &mut |key, _| {
            first = Some(key.to_vec());
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(first.unwrap(), b"a");
        kv.scan(b"d", b"a", &mut |_, _| panic!("an empty range")).unwrap();
    }

    #[test]
    fn what_is_too_large_is_refused_and_nothing_fails() {
        let mut kv = MemoryKv::new();
        let large = vec![0; kv.max_value() + 1];
        assert!(matches!(kv.insert(b"k", &large), Err(KvError::ValueTooLarge { .. })));
        assert!(matches!(kv.insert(&large, b""), Err(KvError::KeyTooLarge { .. })));
        kv.insert(b"k", &large[1..]).unwrap();
    }
}
