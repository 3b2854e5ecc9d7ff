//! Bookmarks in a key-value store.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;

use amps_core::planted;

use super::{BookmarkState, BookmarkStore, BookmarkStoreError, PublisherState, record};
use crate::kv::{Kv, SledKv, SledOptions, SyncLevel};
use record::Keys;

/// A bookmark store that survives what its key-value store does.
///
/// Every change is small: a floor or a range. A record that others replace is
/// removed only after those are synced, so at every moment what is on the disk
/// holds every discard that was committed.
#[derive(Debug)]
pub struct KvBookmarkStore<K> {
    kv: K,
    level: SyncLevel,
    /// What is stored, of the subscriptions used in this life.
    known: BTreeMap<String, BTreeMap<u64, Stored>>,
    /// To be removed after the next sync.
    replaced: BTreeSet<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Stored {
    positions: Option<[Option<u64>; 2]>,
    /// First and last of each range.
    ranges: BTreeMap<u64, u64>,
}

impl KvBookmarkStore<SledKv> {
    /// Opens or creates the store in a directory.
    ///
    /// # Errors
    /// Those of [`SledKv::open`] and of [`KvBookmarkStore::open`].
    pub fn open_dir(dir: impl AsRef<Path>, client_name: &str, level: SyncLevel) -> Result<Self, BookmarkStoreError> {
        Self::open(SledKv::open(dir, &SledOptions::small())?, client_name, level)
    }
}

impl<K: Kv> KvBookmarkStore<K> {
    /// Opens the store in `kv`, or makes one there for `client_name`. Commits
    /// survive what `level` names.
    ///
    /// # Errors
    /// [`BookmarkStoreError::OtherClient`] and
    /// [`BookmarkStoreError::OtherFormat`] if the store is someone else's;
    /// `Kv` if it cannot be used.
    pub fn open(mut kv: K, client_name: &str, level: SyncLevel) -> Result<Self, BookmarkStoreError> {
        let readable = record::FORMAT_VERSION;
        match read_text(&kv, record::FORMAT)? {
            Some(stored) if stored != readable => {
                return Err(BookmarkStoreError::OtherFormat { stored, readable: readable.to_owned() });
            }
            Some(_) => {
                let stored = read_text(&kv, record::CLIENT)?.unwrap_or_default();
                if stored != client_name {
                    return Err(BookmarkStoreError::OtherClient { stored, asked: client_name.to_owned() });
                }
            }
            None => {
                // The format comes last: without it there is no store yet.
                for (key, text) in [(record::CLIENT, client_name), (record::FORMAT, readable)] {
                    kv.insert(key, &record::seal(key, text.as_bytes()))?;
                }
                kv.sync(level)?;
            }
        }
        Ok(Self { kv, level, known: BTreeMap::new(), replaced: BTreeSet::new() })
    }

    /// The store underneath, in its present state.
    pub fn into_kv(self) -> K {
        self.kv
    }

    /// Reads what is stored of a subscription, once.
    fn load(&mut self, subscription: &str) -> Result<(), BookmarkStoreError> {
        if self.known.contains_key(subscription) {
            return Ok(());
        }
        let keys = Keys::new(subscription)?;
        if self.kv.get(&keys.purging())?.is_some() {
            self.remove_all(keys)?;
        }
        let mut publishers: BTreeMap<u64, Stored> = BTreeMap::new();
        self.scan(keys, b'p', |key, content| {
            let [publisher] = keys.numbers(key)?;
            publishers.entry(publisher).or_default().positions = Some(record::read_positions(key, content)?);
            Ok(())
        })?;
        self.scan(keys, b'r', |key, content| {
            let [publisher, first] = keys.numbers(key)?;
            publishers.entry(publisher).or_default().ranges.insert(first, record::read_number(key, content)?);
            Ok(())
        })?;
        self.known.insert(subscription.to_owned(), publishers);
        Ok(())
    }

    fn remove_all(&mut self, keys: Keys<'_>) -> Result<(), BookmarkStoreError> {
        for kind in *b"rpb" {
            let (from, to) = keys.all(kind);
            let mut found = Vec::new();
            self.kv.scan(&from, &to, &mut |key, _| {
                found.push(key.to_vec());
                ControlFlow::Continue(())
            })?;
            for key in found {
                self.kv.remove(&key)?;
                self.replaced.remove(&key);
            }
        }
        Ok(self.kv.remove(&keys.purging())?)
    }

    fn scan(
        &self,
        keys: Keys<'_>,
        kind: u8,
        mut record: impl FnMut(&[u8], &[u8]) -> Result<(), BookmarkStoreError>,
    ) -> Result<(), BookmarkStoreError> {
        let (from, to) = keys.all(kind);
        let mut result = Ok(());
        self.kv.scan(&from, &to, &mut |key, value| {
            result = record::unseal(key, value).and_then(|content| record(key, content));
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        result
    }

    fn save_publisher(
        &mut self,
        subscription: &str,
        publisher: u64,
        state: &PublisherState,
    ) -> Result<(), BookmarkStoreError> {
        let keys = Keys::new(subscription)?;
        let Self { kv, known, replaced, .. } = self;
        let Some(known) = known.get_mut(subscription) else { unreachable!("it was loaded") };
        let stored = known.entry(publisher).or_default();
        let mut put = |key: Vec<u8>, content: &[u8]| {
            replaced.remove(&key);
            kv.insert_parts(&key, &[content, &record::checksum(&key, content).to_be_bytes()])
        };
        let positions = [state.floor, state.anchor];
        if stored.positions != Some(positions) {
            stored.positions = Some(positions);
            put(keys.publisher(publisher), &record::write_positions(positions))?;
        }
        let wanted: BTreeMap<u64, u64> = state.ahead.iter().copied().collect();
        for (first, last) in &wanted {
            if stored.ranges.get(first) != Some(last) {
                put(keys.range(publisher, *first), &last.to_be_bytes())?;
            }
        }
        let gone = stored.ranges.keys().filter(|first| !wanted.contains_key(first));
        replaced.extend(gone.map(|first| keys.range(publisher, *first)));
        stored.ranges = wanted;
        Ok(())
    }
}

impl<K: Kv> BookmarkStore for KvBookmarkStore<K> {
    fn recover(&mut self, subscription: &str) -> Result<BookmarkState, BookmarkStoreError> {
        self.load(subscription)?;
        let key = Keys::new(subscription)?.base();
        let base = match self.kv.get(&key)? {
            Some(value) => Some(record::read_bookmark(&key, record::unseal(&key, &value)?)?),
            None => None,
        };
        let publishers = self.known.get(subscription).into_iter().flatten().map(|(hash, stored)| {
            let [floor, anchor] = stored.positions.unwrap_or_default();
            let ahead = stored.ranges.iter().map(|(first, last)| (*first, *last)).collect();
            (*hash, PublisherState { floor, anchor, ahead })
        });
        Ok(BookmarkState { base, publishers: publishers.collect() })
    }

    fn save(&mut self, subscription: &str, changes: &BookmarkState) -> Result<(), BookmarkStoreError> {
        self.load(subscription)?;
        if let Some(base) = changes.base {
            let key = Keys::new(subscription)?.base();
            self.replaced.remove(&key);
            self.kv.insert(&key, &record::seal(&key, &record::write_bookmark(base)))?;
        }
        for (publisher, state) in &changes.publishers {
            self.save_publisher(subscription, *publisher, state)?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), BookmarkStoreError> {
        if !planted::is("bookmark-sync-skipped") {
            self.kv.sync(self.level)?;
        }
        while let Some(key) = self.replaced.pop_first() {
            self.kv.remove(&key)?;
        }
        Ok(())
    }

    fn purge(&mut self, subscription: &str) -> Result<(), BookmarkStoreError> {
        let keys = Keys::new(subscription)?;
        // Half a purge would leave floors that say nothing about the publishers
        // already forgotten: it is finished by the next recovery.
        let key = keys.purging();
        self.kv.insert(&key, &record::seal(&key, &[]))?;
        self.remove_all(keys)?;
        self.known.insert(subscription.to_owned(), BTreeMap::new());
        Ok(())
    }
}

fn read_text<K: Kv>(kv: &K, key: &[u8]) -> Result<Option<String>, BookmarkStoreError> {
    let Some(value) = kv.get(key)? else { return Ok(None) };
    Ok(Some(String::from_utf8_lossy(record::unseal(key, &value)?).into_owned()))
}
