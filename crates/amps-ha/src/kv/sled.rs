//! A key-value store in a directory, on the `sled` engine.
//!
//! sled 0.34.7 is used behind a set of guards, each for a flaw found in its
//! source or issue list:
//!
//! * `flush` is not an fsync on Linux: [`SyncLevel::Power`] adds one.
//! * Values above a quarter of a segment go to files that are never synced:
//!   keys and values are limited so that a full leaf stays below that.
//! * It writes values that share a leaf about five times, and allocates some
//!   eighty times for one: large ones stand in [`slots`].
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
mod first_format;
mod record;
mod slots;

use std::fs::File;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{Kv, KvError, SyncCount, SyncLevel, Visit, check_size};
use directory::{Directory, FORMAT, write_synced};
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
/// The first byte of an entry: the value follows.
const INLINE: u8 = 0;

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
    /// Once it was busy it takes some 100 MB of disk, or three and a half times
    /// the most that was in it at once; and up to 32 MiB of memory for values beside the
    /// cache.
    fn default() -> Self {
        Self { segment: 4 << 20, cache: 16 << 20 }
    }
}

impl SledOptions {
    /// For small state: segments of 256 KiB, values to 2 KiB, a cache of 8 MiB.
    /// Each of sled's threads comes to keep a buffer as long as a segment.
    pub fn small() -> Self {
        Self { segment: 256 << 10, cache: 8 << 20 }
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
        let segment = created.map_or(options.segment, |(_, segment)| segment);
        directory.remove_leftovers(created.is_some())?;
        if segment >= SLOTS_FROM {
            keep_buffers(segment);
        }
        let db = open_db(&directory, segment, options.cache)?;
        let engine = guarded(&directory, || {
            let own = db.open_tree(OWN_TREE)?;
            let slots = Slots::open(&db, &own, |key| db.contains_key(key))?;
            Ok(Engine { db, own, slots })
        })?;
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
        kv.convert()?;
        kv.directory.check_no_blobs()?;
        if created.is_none_or(|(format, _)| format != FORMAT) {
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

    /// Ends what a crash cut off, and brings a store of the first format into
    /// this one.
    fn convert(&mut self) -> Result<(), KvError> {
        let sound = self.write(|Engine { db, slots, .. }| {
            slots.settle()?;
            first_format::convert(db, slots)
        })?;
        if !sound {
            return Err(self.directory.damaged("its entries name the same place, or one that is not there"));
        }
        self.write(|Engine { db, .. }| first_format::forget(db))
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

    /// The value in an entry.
    fn inline<'a>(&self, entry: &'a [u8]) -> Result<&'a [u8], KvError> {
        match entry {
            [INLINE, value @ ..] => Ok(value),
            _ => Err(self.directory.damaged("an entry has no value")),
        }
    }

    /// Shows `to` a value in a slot.
    fn in_slot<T>(&self, key: &[u8], to: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, KvError> {
        if !self.run(|engine| Ok(engine.slots.contains(key)))? {
            return Ok(None);
        }
        let mut to = Some(to);
        let mut shown = None;
        self.run(|engine| engine.slots.get(key, |value| shown = to.take().map(|to| to(value))))?;
        Ok(shown)
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
        if let Some(value) = self.in_slot(key, <[u8]>::to_vec)? {
            return Ok(Some(value));
        }
        let Some(entry) = self.run(|engine| engine.db.get(key))? else { return Ok(None) };
        self.inline(&entry).map(|value| Some(value.to_vec()))
    }

    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.insert_parts(key, &[value])
    }

    /// Of an entry and a slot with the same key, which a crash can leave, the
    /// entry counts: it goes last, and comes first.
    fn insert_parts(&mut self, key: &[u8], parts: &[&[u8]]) -> Result<(), KvError> {
        let len = parts.iter().map(|part| part.len()).sum();
        check_size(key, len, self.max_value)?;
        self.write(|Engine { db, slots, .. }| {
            if len > INLINE_MAX {
                slots.put(key, parts)?;
                return db.remove(key).map(drop);
            }
            let mut entry = [INLINE; INLINE_MAX + 1];
            let mut end = 1;
            for part in parts {
                entry[end..end + part.len()].copy_from_slice(part);
                end += part.len();
            }
            db.insert(key, &entry[..end])?;
            slots.remove(key)
        })
    }

    fn remove(&mut self, key: &[u8]) -> Result<(), KvError> {
        self.write(|Engine { db, slots, .. }| {
            db.remove(key)?;
            slots.remove(key)
        })
    }

    /// Never reads the values.
    fn remove_range(&mut self, from: &[u8], to: &[u8]) -> Result<(), KvError> {
        if from >= to {
            return Ok(());
        }
        loop {
            let removed = self.write(|Engine { db, slots, .. }| {
                let keys = db.range(from..to).keys().take(REMOVED_AT_ONCE);
                let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
                for key in &keys {
                    // Smaller keys go first, wherever their values are.
                    slots.remove_range(from, key)?;
                    db.remove(key)?;
                }
                Ok(keys.len())
            })?;
            if removed < REMOVED_AT_ONCE {
                return self.write(|engine| engine.slots.remove_range(from, to));
            }
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), KvError> {
        if from >= to {
            return Ok(());
        }
        let mut large = self.run(|engine| Ok(engine.slots.keys(from, to)))?.into_iter().peekable();
        let mut entries = self.run(|engine| Ok(engine.db.range(from..to)))?;
        let mut shown = ControlFlow::Continue(());
        while shown.is_continue() {
            let entry = self.run(|_| entries.next().transpose())?;
            let end = entry.as_ref().map_or(to, |(key, _)| key);
            while let Some(key) = large.next_if(|key| shown.is_continue() && key.as_slice() < end) {
                let value = self.in_slot(&key, |value| visit(&key, value))?;
                shown = value.ok_or_else(|| self.directory.damaged("a slot has no value"))?;
            }
            let Some((key, entry)) = entry.filter(|_| shown.is_continue()) else { break };
            shown = visit(&key, self.inline(&entry)?);
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
    if segment < SLOTS_FROM { INLINE_MAX.min(segment / 128) } else { SLOT_LEN }
}

/// sled writes each segment from a new buffer. glibc gets and returns a buffer
/// of that size page by page, which costs more than what is done with it, unless
/// a larger one was freed before (mallopt(3), `M_MMAP_THRESHOLD`). For small
/// stores that is no gain, and each of sled's threads would keep as much.
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
