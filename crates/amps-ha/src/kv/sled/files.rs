//! Reading a store's files without the engine.
//!
//! sled writes when it opens, refuses damaged files as a whole, and forgets
//! what stands behind a damaged record. To look at a store without touching it,
//! and to salvage one, this reads its log itself: every record has a checksum,
//! so what is whole is known to be. The format is that of sled 0.34.7, to which
//! this crate is pinned; a test holds this against what sled reads.
//!
//! The log is a row of segments; each begins with its position in the log and
//! holds records: a checksum, a kind, a length, the number of the segment, a
//! page, and the change to that page. A page is the newest whole image of it and
//! the changes behind that.

mod page;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::{CONF, CREATED, DB, LOCK, QUARANTINED, SYNCED, check_format, segment_size, synced_count};
use super::record::{Kind, Record, segment_number};
use super::slots::{self, REMOVED_KEY, Removed};
use super::{CREATED_KEY, INLINE, SYNCED_KEY, first_format, max_value};
use crate::kv::{Kv, KvError, SyncLevel, Visit};
use page::{Held, Page};

/// The files of a [`SledKv`](super::SledKv), read as they are: nothing is
/// written, no lock file made, no damage refused. Only reading works; every
/// write is an error.
#[derive(Debug)]
pub struct SledFiles {
    dir: PathBuf,
    file: File,
    /// Held while this looks, so that no client changes what it sees.
    _lock: Option<File>,
    segment: usize,
    /// With the position in the log of the record that wrote them.
    entries: BTreeMap<Vec<u8>, (u64, Held)>,
    /// How often it was synced, as the log says.
    synced: u64,
    damage: Vec<Damage>,
    /// Position in the log of the newest damage.
    damaged_at: Option<u64>,
    quarantined: Option<String>,
}

/// Something in the files that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// The file, relative to the store's directory.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What was found.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, byte {}: {}", self.file, self.offset, self.what)
    }
}

impl SledFiles {
    /// Reads the store in `dir`. `watch` is shown every key and value of at most
    /// 4 KiB in the order they were written, those replaced since included.
    ///
    /// # Errors
    /// [`KvError::Locked`] while a client uses the store, [`KvError::Damaged`]
    /// when the directory holds no store at all, [`KvError::OtherFormat`],
    /// [`KvError::Io`]. Damage inside
    /// is no error: see [`damage`](Self::damage).
    pub fn read(dir: impl AsRef<Path>, watch: &mut dyn FnMut(&[u8], &[u8])) -> Result<Self, KvError> {
        let dir = dir.as_ref();
        let io = |source| KvError::Io { dir: dir.to_owned(), source: Arc::new(source) };
        let lock = lock(dir)?;
        let file = File::open(dir.join(DB)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => KvError::Damaged { dir: dir.to_owned(), what: "it has no file db".to_owned() },
            _ => io(error),
        })?;
        let mut damage = Vec::new();
        let segment = find_segment_size(dir, &mut damage)?.ok_or_else(|| KvError::Damaged {
            dir: dir.to_owned(),
            what: "neither CREATED nor conf says how long its segments are".to_owned(),
        })?;
        let quarantined = fs::read(dir.join(QUARANTINED)).ok();
        let mut files = Self {
            dir: dir.to_owned(),
            file,
            _lock: lock,
            segment,
            entries: BTreeMap::new(),
            synced: 0,
            damage,
            damaged_at: None,
            quarantined: quarantined.map(|reason| String::from_utf8_lossy(&reason).trim().to_owned()),
        };
        files.read_log(watch).map_err(io)?;
        files.check_synced();
        files.damage.sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
        Ok(files)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What is damaged, by file and place. Damage to what was replaced since
    /// counts too: nobody can tell.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Whether everything that was written to the log is readable. If not,
    /// entries may be missing, or older than they were.
    pub fn is_complete(&self) -> bool {
        !self.damage.iter().any(|damage| damage.file == DB || damage.file == SYNCED)
    }

    /// Whether an entry is there and certainly the newest of its key: all damage
    /// is older.
    pub fn is_current(&self, key: &[u8]) -> bool {
        self.entries.get(key).is_some_and(|(position, _)| self.damaged_at.is_none_or(|damage| damage < *position))
    }

    /// Why an earlier open refused the store for good, if one did.
    pub fn quarantined(&self) -> Option<&str> {
        self.quarantined.as_deref()
    }

    /// Bytes of the log's file.
    pub fn file_len(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Notes damage at a place in a file that may have held what was written to
    /// the log up to `position`.
    fn damaged(&mut self, file: &str, offset: u64, position: u64, what: impl Into<String>) {
        self.damage.push(Damage { file: file.to_owned(), offset, what: what.into() });
        self.damaged_at = self.damaged_at.max(Some(position));
    }

    fn read_log(&mut self, watch: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        let len = self.file_len();
        // Position in the log of each segment, and in the file.
        let mut segments = Vec::new();
        for offset in (0..len).step_by(self.segment) {
            let bytes = self.read_segment(offset)?;
            match segment_number(&bytes, self.segment) {
                Ok(Some(number)) => segments.push((number, offset)),
                Ok(None) => {}
                Err(number) => {
                    // What its records do not tell may be anything.
                    let position = number.map_or(u64::MAX, |number| number * self.segment as u64);
                    self.damaged(DB, offset, position, "the head of a segment");
                    segments.extend(number.map(|number| (number, offset)));
                }
            }
        }
        segments.sort_unstable();
        let mut pages = HashMap::new();
        for (index, (number, offset)) in segments.iter().enumerate() {
            let bytes = self.read_segment(*offset)?;
            let newest = index + 1 == segments.len();
            self.read_records(&bytes, *number, *offset, newest, &mut pages, watch);
        }
        self.collect(pages)
    }

    fn read_segment(&mut self, offset: u64) -> io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::with_capacity(self.segment);
        (&self.file).take(self.segment as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read_records(
        &mut self,
        bytes: &[u8],
        number: u64,
        offset: u64,
        newest: bool,
        pages: &mut HashMap<u64, Page>,
        watch: &mut dyn FnMut(&[u8], &[u8]),
    ) {
        let mut at = Record::FIRST;
        let start = number * self.segment as u64;
        let log_position = |at: usize| start + at as u64;
        while at + Record::LAST <= self.segment {
            let Some(record) = Record::read(bytes, at, number) else {
                match (at + 1..bytes.len()).find(|at| Record::read(bytes, *at, number).is_some()) {
                    Some(next) => {
                        let what = format!("{} bytes are unreadable", next - at);
                        self.damaged(DB, offset + at as u64, log_position(next), what);
                        at = next;
                        continue;
                    }
                    // The end of what was written, whole or torn.
                    None if newest => return,
                    None => {
                        let what = "a segment ends too early";
                        self.damaged(DB, offset + at as u64, log_position(self.segment), what);
                        return;
                    }
                }
            };
            let body = &bytes[record.body.clone()];
            let place = offset + record.body.start as u64;
            let position = log_position(at);
            match record.kind {
                Kind::End => return,
                Kind::Free => drop(pages.remove(&record.page)),
                Kind::Image => match Page::read(body, place, position, watch) {
                    Some(page) => drop(pages.insert(record.page, page)),
                    // An index, or something new to us.
                    None => drop(pages.remove(&record.page)),
                },
                Kind::Change => {
                    if let Some(page) = pages.get_mut(&record.page) {
                        page.change(body, place, position, watch);
                    }
                }
                Kind::Other => {}
            }
            at = record.body.end;
        }
    }

    /// Entries of all pages; of two for one key, which a damaged page can leave,
    /// the newer.
    fn collect(&mut self, pages: HashMap<u64, Page>) -> io::Result<()> {
        let mut newest: BTreeMap<Vec<u8>, (u64, Held)> = BTreeMap::new();
        for page in pages.into_values() {
            for (suffix, (position, held)) in page.entries {
                let key = [&page.prefix[..], &suffix].concat();
                match newest.get(&key) {
                    Some((other, _)) if *other > position => {}
                    _ => drop(newest.insert(key, (position, held))),
                }
            }
        }
        let mut own = |key: &str| newest.remove(key.as_bytes()).map(|(_, held)| self.bytes(&held)).transpose();
        own(CREATED_KEY)?;
        let synced = own(SYNCED_KEY)?.and_then(|count| count.try_into().ok()).map_or(0, u64::from_be_bytes);
        let removed = own(REMOVED_KEY)?.and_then(|bytes| Removed::read(&bytes)).unwrap_or_default();
        let mut entries = BTreeMap::new();
        // With their numbers.
        let mut large: BTreeMap<Vec<u8>, (u64, (u64, Held))> = BTreeMap::new();
        let mut first_slots = HashMap::new();
        for (key, (position, held)) in newest {
            if let Some(value) = slots::slot_of_key(&key) {
                let head = value.map(|_| self.bytes(&held.first(slots::Head::MOST))).transpose()?;
                let head = head.and_then(|bytes| slots::Head::read(&bytes)).filter(|head| !removed.covers(head));
                if let Some(head) = head
                    && large.get(&head.key).is_none_or(|(number, _)| *number < head.number)
                {
                    let value = held.behind(slots::Head::len(&head.key));
                    large.insert(head.key, (head.number, (position, value)));
                }
            } else if let Some(value) = first_format::slot_of_key(&key) {
                first_slots.extend(value.map(|slot| (slot, held)));
            } else {
                entries.insert(key, (position, held));
            }
        }
        for (key, (position, held)) in entries {
            let entry = self.bytes(&held)?;
            let held = match first_format::slot_of(&entry) {
                Some(slot) => first_slots.remove(&slot),
                None => entry.first().is_some_and(|first| *first == INLINE).then(|| held.behind(1)),
            };
            large.remove(&key);
            self.entries.extend(held.map(|held| (key, (position, held))));
        }
        self.entries.extend(large.into_iter().map(|(key, (_, value))| (key, value)));
        self.synced = synced;
        Ok(())
    }

    /// Fewer syncs inside than beside: what was on the disk is gone.
    fn check_synced(&mut self) {
        let beside = fs::read(self.dir.join(SYNCED)).ok().and_then(|bytes| synced_count(&bytes)).unwrap_or(0);
        let inside = self.synced;
        if inside < beside {
            let what = format!("it counts {beside} syncs, the log {inside}: writes that were synced are gone");
            self.damaged(SYNCED, 0, u64::MAX, what);
        }
    }

    fn bytes(&self, held: &Held) -> io::Result<Vec<u8>> {
        match held {
            Held::Bytes(bytes) => Ok(bytes.clone()),
            Held::Place { offset, len } => {
                let mut bytes = vec![0; *len];
                let mut file = &self.file;
                file.seek(SeekFrom::Start(*offset))?;
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
        }
    }

    fn value(&self, held: &Held) -> Result<Vec<u8>, KvError> {
        self.bytes(held).map_err(|error| KvError::Io { dir: self.dir.clone(), source: Arc::new(error) })
    }

    fn read_only(&self) -> KvError {
        let source = io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "only looked at");
        KvError::Io { dir: self.dir.clone(), source: Arc::new(source) }
    }
}

impl Kv for SledFiles {
    /// `None` also when damage has taken it.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.entries.get(key).map(|(_, held)| self.value(held)).transpose()
    }

    fn insert(&mut self, _: &[u8], _: &[u8]) -> Result<(), KvError> {
        Err(self.read_only())
    }

    fn remove(&mut self, _: &[u8]) -> Result<(), KvError> {
        Err(self.read_only())
    }

    /// Passes over what damage has taken.
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), KvError> {
        if from >= to {
            return Ok(());
        }
        for (key, (_, held)) in self.entries.range(from.to_vec()..to.to_vec()) {
            if visit(key, &self.value(held)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn sync(&mut self, _: SyncLevel) -> Result<(), KvError> {
        Err(self.read_only())
    }

    fn max_value(&self) -> usize {
        max_value(self.segment)
    }
}

/// The store's lock, if it has one, without making one.
fn lock(dir: &Path) -> Result<Option<File>, KvError> {
    let io = |source| KvError::Io { dir: dir.to_owned(), source: Arc::new(source) };
    let lock = match File::open(dir.join(LOCK)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if dir.is_dir() { Ok(None) } else { Err(io(error)) };
        }
        Err(error) => return Err(io(error)),
    };
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Err(KvError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// How long segments are: our file says so, and sled's.
fn find_segment_size(dir: &Path, damage: &mut Vec<Damage>) -> Result<Option<usize>, KvError> {
    let mut found = None;
    for name in [CREATED, CONF] {
        let text = fs::read(dir.join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if name == CREATED {
            check_format(dir, &text)?;
        }
        match segment_size(&text) {
            Some(size) => found = found.or(Some(size)),
            None => {
                let what = "it does not say how long the segments are".to_owned();
                damage.push(Damage { file: name.to_owned(), offset: 0, what });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
