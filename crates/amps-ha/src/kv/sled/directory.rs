//! The directory of a store: its lock and our marker files.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::kv::KvError;

/// Version of how entries stand in sled: inline or in slots. Before it, entries
/// named the slots.
pub(super) const FORMAT: u64 = 2;
const FIRST_FORMAT: u64 = 1;

pub(super) const LOCK: &str = "lock";
pub(super) const CREATED: &str = "CREATED";
pub(super) const QUARANTINED: &str = "QUARANTINED";
/// How many syncs to the disk there were, with a checksum.
pub(super) const SYNCED: &str = "SYNCED";
/// The files of sled that matter here.
pub(super) const DB: &str = "db";
pub(super) const CONF: &str = "conf";
const BLOBS: &str = "blobs";

/// A locked store directory; unlocked when the last clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    path: PathBuf,
    _lock: Arc<File>,
}

impl Directory {
    /// Creates `path` if needed and takes its advisory lock.
    pub(super) fn lock(path: &Path) -> Result<Self, KvError> {
        let error = |error| KvError::Io { dir: path.to_owned(), source: Arc::new(error) };
        fs::create_dir_all(path).map_err(error)?;
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK)).map_err(error)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: Arc::new(lock) }),
            Err(TryLockError::WouldBlock) => Err(KvError::Locked { dir: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(error(source)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn io(&self, source: io::Error) -> KvError {
        KvError::Io { dir: self.path.clone(), source: Arc::new(source) }
    }

    pub(super) fn damaged(&self, what: &str) -> KvError {
        KvError::Damaged { dir: self.path.clone(), what: what.to_owned() }
    }

    pub(super) fn check_quarantine(&self) -> Result<(), KvError> {
        match fs::read(self.path.join(QUARANTINED)) {
            Ok(reason) => Err(self.damaged(String::from_utf8_lossy(&reason).trim())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.io(error)),
        }
    }

    /// Leaves the reason for later opens. If even that fails, they will find
    /// the damage again.
    pub(super) fn quarantine(&self, what: &str) {
        if let Err(error) = fs::write(self.path.join(QUARANTINED), what) {
            tracing::error!(dir = ?self.path, %error, "cannot mark the damaged store");
        }
    }

    /// Format and segment size of the store that was created here, if one was.
    pub(super) fn created(&self) -> Result<Option<(u64, usize)>, KvError> {
        let text = match fs::read(self.path.join(CREATED)) {
            Ok(text) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io(error)),
        };
        check_format(&self.path, &text)?;
        let (Some(format), Some(segment)) = (line(&text, "format"), segment_size(&text)) else {
            return Err(self.damaged("its file CREATED cannot be read"));
        };
        if self.length(DB)? == 0 {
            return Err(self.damaged("its file db is missing or empty"));
        }
        Ok(Some((format, segment)))
    }

    /// Says that a store of this format exists here, after everything in it is on
    /// the disk.
    pub(super) fn mark_created(&self, segment: usize) -> Result<(), KvError> {
        let mark = || {
            File::open(self.path.join(CONF))?.sync_all()?;
            let fresh = self.path.join("CREATED.tmp");
            fs::write(&fresh, format!("format: {FORMAT}\nsegment_size: {segment}\n"))?;
            File::open(&fresh)?.sync_all()?;
            fs::rename(&fresh, self.path.join(CREATED))?;
            sync_dir(&self.path)?;
            self.path.canonicalize()?.parent().map_or(Ok(()), sync_dir)
        };
        mark().map_err(|error| self.io(error))
    }

    /// Removes what a crash while opening may have left: torn snapshots, and
    /// of a store that was never created the torn configuration.
    pub(super) fn remove_leftovers(&self, created: bool) -> Result<(), KvError> {
        let remove = || {
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name.starts_with("snap.") && name.ends_with(".generating") {
                    tracing::warn!(file = ?entry.path(), "removed a snapshot that was cut off by a crash");
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        remove().map_err(|error| self.io(error))?;
        if !created && self.length(DB)? == 0 && self.length(CONF)? > 0 {
            fs::remove_file(self.path.join(CONF)).map_err(|error| self.io(error))?;
        }
        Ok(())
    }

    /// Large values would be in files that sled never syncs.
    pub(super) fn check_no_blobs(&self) -> Result<(), KvError> {
        match fs::read_dir(self.path.join(BLOBS)).and_then(|mut files| files.next().transpose()) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(self.damaged("it holds blob files, which no store of ours writes")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.io(error)),
        }
    }

    /// A handle of our own on sled's file, to sync it.
    pub(super) fn db_file(&self) -> Result<File, KvError> {
        File::options().read(true).write(true).open(self.path.join(DB)).map_err(|error| self.io(error))
    }

    /// The file that counts syncs, and the count in it. One that is missing or
    /// torn counts nothing.
    pub(super) fn synced(&self) -> Result<(File, u64), KvError> {
        let path = self.path.join(SYNCED);
        let read = || {
            let mut file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok((file, bytes))
        };
        let (file, bytes) = read().map_err(|error| self.io(error))?;
        let count = synced_count(&bytes).unwrap_or(0);
        Ok((file, count))
    }

    fn length(&self, name: &str) -> Result<u64, KvError> {
        match fs::metadata(self.path.join(name)) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(self.io(error)),
        }
    }
}

/// The number behind a name in a file of such lines.
fn line(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}

/// The segment size in a text of ours, or of sled's.
pub(super) fn segment_size(text: &str) -> Option<usize> {
    let size = usize::try_from(line(text, "segment_size")?).ok()?;
    (size.is_power_of_two() && (1 << 18..=1 << 24).contains(&size)).then_some(size)
}

/// Refuses what another version of this module wrote; `text` is that of
/// `CREATED`.
pub(super) fn check_format(dir: &Path, text: &str) -> Result<(), KvError> {
    match line(text, "format") {
        Some(found) if !(FIRST_FORMAT..=FORMAT).contains(&found) => {
            Err(KvError::OtherFormat { dir: dir.to_owned(), found, known: FORMAT })
        }
        _ => Ok(()),
    }
}

/// The count of syncs in the bytes of the file, unless it is torn.
pub(super) fn synced_count(bytes: &[u8]) -> Option<u64> {
    let (count, crc) = bytes.split_last_chunk::<4>()?;
    let count: &[u8; 8] = count.try_into().ok()?;
    (crc32fast::hash(count).to_be_bytes() == *crc).then(|| u64::from_be_bytes(*count))
}

/// Notes a count of syncs in the file that [`Directory::synced`] opened.
pub(super) fn write_synced(mut file: &File, count: u64) -> io::Result<()> {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&count.to_be_bytes());
    bytes[8..].copy_from_slice(&crc32fast::hash(&count.to_be_bytes()).to_be_bytes());
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&bytes)
}

/// Makes new names in a directory survive a power loss.
fn sync_dir(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
