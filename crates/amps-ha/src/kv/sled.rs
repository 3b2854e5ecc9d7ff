//! A key-value store in a directory, on the `sled` engine.
//!
//! sled 0.34.7 is used behind a set of guards, each for a flaw found in its
//! source or issue list:
//!
//! * `flush` is not an fsync on Linux: [`SyncLevel::Power`] adds one.
//! * Values above a quarter of a segment go to files that are never synced:
//!   keys and values are limited so that a full leaf stays below that.
//! * It writes values that share a leaf about five times: large ones stand in
//!   [`slots`], and the entry only names its slot.
//! * A crash while it opens can leave `snap.*.generating`, which it would then
//!   read as a snapshot and refuse to open for ever: removed first.
//! * It may panic on damaged files: no panic leaves this module. (A program
//!   built with `panic = "abort"` still aborts.)
//! * It recovers a damaged log as an empty one without a word: a file beside
//!   it says that the store was created, and an entry inside must agree.
//! * It takes a damaged record for a torn end and forgets everything behind it:
//!   each `Power` sync is counted inside and, afterwards, in a file beside it;
//!   fewer inside than beside means that synced writes are gone.

mod directory;
mod files;
mod record;
mod slots;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{Kv, KvError, SyncCount, SyncLevel, Visit, check_size};
use directory::{Directory, write_synced};
use slots::Slots;

pub use files::{Damage, SledFiles};

/// How long sled's own threads may hold a store that was just closed here.
const CLOSING: Duration = Duration::from_secs(5);

/// The tree that holds what is ours, apart from the caller's entries.
const OWN_TREE: &str = "amps";
const CREATED_KEY: &str = "created";
const SYNCED_KEY: &str = "synced";

/// Longer values stand in slots.
const INLINE_MAX: usize = 4096;
/// The longest value in a slot, in stores with segments of at least so much.
const SLOT_LEN: usize = 124 << 10;
const SLOTS_FROM: usize = 4 << 20;
/// What the first byte of an entry says: the value follows, or its slot.
const INLINE: u8 = 0;
const IN_SLOT: u8 = 1;

/// How many entries a range is removed at a time.
const REMOVED_AT_ONCE: usize = 1024;

/// How a [`SledKv`] uses disk and memory.
#[derive(Debug, Clone)]
pub struct SledOptions {
    segment: usize,
    cache: u64,
}

impl Default for SledOptions {
    /// For a log: segments of 4 MiB, values to 124 KiB, a cache of 16 MiB.
    /// Takes some 30 MiB of disk once it was busy, and up to 32 MiB of memory for
    /// values beside the cache.
    fn default() -> Self {
        Self { segment: 4 << 20, cache: 16 << 20 }
    }
}

impl SledOptions {
    /// For small state: segments of 512 KiB, values to 4 KiB, a cache of 8 MiB.
    pub fn small() -> Self {
        Self { segment: 512 << 10, cache: 8 << 20 }
    }

    /// Sets the memory sled may use for its cache, in bytes, beside the values
    /// it holds back: one of each 256 at least.
    pub fn cache(mut self, bytes: u64) -> Self {
        self.cache = bytes;
        self
    }
}

/// An ordered map in a directory, held by one process at a time.
///
/// The directory holds sled's files and ours: `lock`, `CREATED` (says that a
/// store was made here, in which format, and with which segment size), `SYNCED` (how often it
/// was synced to the disk), and after damage `QUARANTINED` (the reason; while
/// it is there every open refuses).
#[derive(Debug)]
pub struct SledKv {
    /// Taken when dropped.
    engine: Option<Engine>,
    db_file: File,
    synced_file: File,
    /// `Power` syncs in the life of the store.
    synced: u64,
    directory: Directory,
    max_value: usize,
    failed: Option<KvError>,
    syncs: SyncCount,
}

/// The trees of a store.
#[derive(Debug)]
struct Engine {
    /// What the caller put in, each value with a byte in front.
    db: sled::Db,
    own: sled::Tree,
    slots: Slots,
}

impl SledKv {
    /// Opens the store in `dir`, creating both as needed. A store keeps the
    /// segment size it was created with, whatever `options` say.
    ///
    /// A damaged store is left in place with a marker file `QUARANTINED` that
    /// holds the reason. Later opens answer the same error until the user
    /// moves the directory away, or restores it and removes the marker: a
    /// store never starts empty where there was one.
    ///
    /// # Errors
    /// [`KvError::Locked`], [`KvError::Damaged`], [`KvError::OtherFormat`] or
    /// [`KvError::Io`], each naming the directory.
    pub fn open(dir: impl AsRef<Path>, options: &SledOptions) -> Result<Self, KvError> {
        let directory = Directory::lock(dir.as_ref())?;
        let opened = Self::open_locked(directory.clone(), options);
        if let Err(KvError::Damaged { what, .. }) = &opened {
            directory.quarantine(what);
        }
        opened
    }

    fn open_locked(directory: Directory, options: &SledOptions) -> Result<Self, KvError> {
        directory.check_quarantine()?;
        let created = directory.created()?;
        let segment = created.unwrap_or(options.segment);
        directory.remove_leftovers(created.is_some())?;
        keep_buffers(segment);
        let db = open_db(&directory, segment, options.cache)?;
        let engine =
            guarded(&directory, || Ok(Engine { own: db.open_tree(OWN_TREE)?, slots: Slots::open(&db, segment)?, db }))?;
        let db_file = directory.db_file()?;
        let (synced_file, synced) = directory.synced()?;
        let mut kv = Self {
            engine: Some(engine),
            db_file,
            synced_file,
            synced: 0,
            max_value: max_value(segment),
            failed: None,
            syncs: SyncCount::default(),
            directory,
        };
        kv.check_created(created.is_some())?;
        kv.check_synced(synced)?;
        kv.check_slots()?;
        kv.directory.check_no_blobs()?;
        if created.is_none() {
            kv.sync_files(SyncLevel::Power)?;
            kv.directory.mark_created(segment)?;
        }
        Ok(kv)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// Counts the syncs of this store.
    pub fn sync_count(&self) -> SyncCount {
        self.syncs.clone()
    }

    /// Our entry inside must be there if, and is written unless, the marker
    /// file says that the store exists.
    fn check_created(&mut self, created: bool) -> Result<(), KvError> {
        self.run(|Engine { own, .. }| {
            if own.contains_key(CREATED_KEY)? {
                return Ok(true);
            }
            if !created {
                own.insert(CREATED_KEY, &[1])?;
            }
            Ok(!created)
        })
        .and_then(|fine| {
            if fine {
                return Ok(());
            }
            Err(self.directory.damaged("its entries are gone: the files no longer hold what was written to them"))
        })
    }

    /// What was synced must be there; `beside` is what the file beside says.
    fn check_synced(&mut self, beside: u64) -> Result<(), KvError> {
        let inside = self.run(|engine| engine.own.get(SYNCED_KEY))?;
        self.synced = inside.and_then(|count| count.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
        if self.synced < beside {
            return Err(self.directory.damaged("writes that were on the disk are gone"));
        }
        Ok(())
    }

    /// Finds out which slots are free.
    fn check_slots(&mut self) -> Result<(), KvError> {
        let sound = self.write(|Engine { db, slots, .. }| {
            let mut used = Vec::new();
            for entry in db.iter() {
                if let Some(slot) = slot_of(&entry?.1) {
                    used.push(slot);
                }
            }
            Ok(slots.set_used(used))
        })?;
        if sound {
            Ok(())
        } else {
            Err(self.directory.damaged("its entries name the same place, or one that is not there"))
        }
    }

    /// Runs one operation of sled; no panic gets out.
    fn run<T>(&self, operation: impl FnOnce(&Engine) -> Result<T, sled::Error>) -> Result<T, KvError> {
        self.check_failed()?;
        let Some(engine) = &self.engine else { unreachable!("only dropping takes it") };
        guarded(&self.directory, || operation(engine))
    }

    fn write<T>(&mut self, operation: impl FnOnce(&mut Engine) -> Result<T, sled::Error>) -> Result<T, KvError> {
        self.check_failed()?;
        let Some(engine) = &mut self.engine else { unreachable!("only dropping takes it") };
        let result = guarded(&self.directory, || operation(engine));
        self.remember(result)
    }

    fn check_failed(&self) -> Result<(), KvError> {
        match &self.failed {
            Some(first) => Err(KvError::Failed { first: Box::new(first.clone()) }),
            None => Ok(()),
        }
    }

    /// Shows `to` the value an entry stands for.
    fn value<T>(&self, entry: &[u8], to: impl FnOnce(&[u8]) -> T) -> Result<T, KvError> {
        match (entry, slot_of(entry)) {
            ([INLINE, value @ ..], _) => return Ok(to(value)),
            (_, Some(slot)) => {
                if let Some(value) = self.run(|engine| engine.slots.get(slot))? {
                    return Ok(to(&value));
                }
            }
            _ => {}
        }
        Err(self.directory.damaged("an entry has no value"))
    }

    fn remember<T>(&mut self, result: Result<T, KvError>) -> Result<T, KvError> {
        if let Err(error) = &result
            && self.failed.is_none()
        {
            self.failed = Some(error.clone());
        }
        result
    }

    fn sync_files(&mut self, level: SyncLevel) -> Result<(), KvError> {
        if level == SyncLevel::Process {
            return self.run(|engine| engine.db.flush()).map(drop);
        }
        let count = self.synced + 1;
        self.run(|Engine { db, own, .. }| {
            own.insert(SYNCED_KEY, &count.to_be_bytes())?;
            db.flush()
        })?;
        self.db_file.sync_data().map_err(|error| self.directory.io(error))?;
        self.synced = count;
        // Not synced itself: an older count is a weaker witness, no wrong one.
        write_synced(&self.synced_file, count).map_err(|error| self.directory.io(error))
    }
}

impl Kv for SledKv {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let Some(entry) = self.run(|engine| engine.db.get(key))? else { return Ok(None) };
        self.value(&entry, |value| Some(value.to_vec()))
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        check_size(key, value, self.max_value)?;
        self.write(|Engine { db, slots, .. }| {
            let old = if value.len() <= INLINE_MAX {
                db.insert(key, [&[INLINE], value].concat())
            } else {
                let [a, b, c, d] = slots.put(value)?.to_be_bytes();
                db.insert(key, &[IN_SLOT, a, b, c, d])
            };
            old?.as_deref().and_then(slot_of).map_or(Ok(()), |slot| slots.release(slot))
        })
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), KvError> {
        self.write(|Engine { db, slots, .. }| {
            let old = db.remove(key)?;
            old.as_deref().and_then(slot_of).map_or(Ok(()), |slot| slots.release(slot))
        })
    }

    /// Never reads the values.
    fn remove_range(&mut self, from: &[u8], to: &[u8]) -> Result<(), KvError> {
        if from >= to {
            return Ok(());
        }
        loop {
            let removed = self.write(|Engine { db, slots, .. }| {
                let entries: Vec<_> = db.range(from..to).take(REMOVED_AT_ONCE).collect::<Result<_, _>>()?;
                for (key, entry) in &entries {
                    db.remove(key)?;
                    slot_of(entry).map_or(Ok(()), |slot| slots.release(slot))?;
                }
                Ok(entries.len())
            })?;
            if removed < REMOVED_AT_ONCE {
                return Ok(());
            }
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), KvError> {
        if from >= to {
            return Ok(());
        }
        let mut entries = self.run(|engine| Ok(engine.db.range(from..to)))?;
        while let Some((key, entry)) = self.run(|_| entries.next().transpose())? {
            if self.value(&entry, |value| visit(&key, value))?.is_break() {
                break;
            }
        }
        // Dropping the iterator touches sled too.
        self.run(|_| {
            drop(entries);
            Ok(())
        })
    }

    fn sync(&mut self, level: SyncLevel) -> Result<(), KvError> {
        let result = self.sync_files(level);
        self.remember(result)?;
        self.syncs.add(level);
        Ok(())
    }

    fn max_value(&self) -> usize {
        self.max_value
    }
}

impl Drop for SledKv {
    fn drop(&mut self) {
        let engine = self.engine.take();
        if catch_unwind(AssertUnwindSafe(|| drop(engine))).is_err() {
            tracing::error!(dir = ?self.dir(), "closing the store failed; what was synced before is safe");
        }
        if let Err(error) = self.directory.check_no_blobs() {
            tracing::error!(%error, "the store may not survive a power loss");
        }
    }
}

/// So that a full leaf, and a slot, stay far below a quarter of a segment. A
/// multiple of slots fills a segment with little left.
fn max_value(segment: usize) -> usize {
    if segment < SLOTS_FROM { INLINE_MAX } else { SLOT_LEN }
}

/// The slot an entry names.
fn slot_of(entry: &[u8]) -> Option<u32> {
    match *entry {
        [IN_SLOT, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

/// sled writes each segment from a new buffer. glibc gets and returns a buffer
/// of that size page by page, which costs more than what is done with it, unless
/// a larger one was freed before (mallopt(3), `M_MMAP_THRESHOLD`).
fn keep_buffers(segment: usize) {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(segment + (1 << 20))));
}

fn open_db(directory: &Directory, segment: usize, cache: u64) -> Result<sled::Db, KvError> {
    let config = sled::Config::new()
        .path(directory.path())
        .segment_size(segment)
        .cache_capacity(cache)
        .flush_every_ms(None)
        .use_compression(false);
    let deadline = Instant::now() + CLOSING;
    loop {
        let result = guarded(directory, || config.open());
        // We hold our lock, so whoever has sled's is a thread of a store that
        // this process is still closing; nothing tells when it is done.
        match result {
            Err(KvError::Io { ref source, .. })
                if source.to_string().contains("could not acquire lock") && Instant::now() < deadline =>
            {
                thread::sleep(Duration::from_millis(2));
            }
            result => return result,
        }
    }
}

fn guarded<T>(directory: &Directory, operation: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, KvError> {
    match catch_unwind(AssertUnwindSafe(operation)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(translate(directory, error)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
            Err(directory.damaged(&format!("the storage engine panicked: {text}")))
        }
    }
}

fn translate(directory: &Directory, error: sled::Error) -> KvError {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error {
        // Files that end early or do not parse are damage, the rest is the
        // operating system's refusal.
        sled::Error::Io(error) if !matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof) => {
            directory.io(error)
        }
        error => directory.damaged(&error.to_string()),
    }
}

#[cfg(test)]
mod tests;
