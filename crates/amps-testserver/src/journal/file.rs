//! A journal in a file, append only.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

use super::codec::{self, Decoded, HEAD};
use super::{Journal, Record};

/// The journal's name in its directory.
pub(super) const FILE_NAME: &str = "journal";

/// The first bytes of the file, with the format's version at the end.
const MAGIC: &[u8; 8] = b"ampsjnl1";

/// Bytes read at once while scanning.
const READ_BYTES: usize = 1 << 20;

/// A journal in a directory, one file, locked while open.
///
/// A commit is one `write` call: what it covers survives the end of the
/// process, `kill -9` included. To survive the machine as well, ask for sync:
/// each commit then ends with `fdatasync`.
#[derive(Debug)]
pub struct FileJournal {
    file: File,
    path: PathBuf,
    sync: bool,
    pending: Vec<u8>,
}

impl FileJournal {
    /// Opens or creates the journal in `dir`, which is created when missing.
    ///
    /// # Errors
    /// The directory cannot be used, or another server has the journal open.
    pub fn open(dir: &Path, sync: bool) -> io::Result<Self> {
        let context = |error: io::Error| io::Error::new(error.kind(), format!("journal in {}: {error}", dir.display()));
        fs::create_dir_all(dir).map_err(context)?;
        let path = dir.join(FILE_NAME);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(context)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = "another server has it open; stop that one or use another directory";
                return Err(context(io::Error::new(io::ErrorKind::ResourceBusy, text)));
            }
            Err(TryLockError::Error(error)) => return Err(context(error)),
        }
        Ok(Self { file, path, sync, pending: Vec::new() })
    }
}

impl Journal for FileJournal {
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> io::Result<()> {
        let len = self.file.metadata()?.len();
        let sound = if len < MAGIC.len() as u64 {
            // Nothing was ever committed: a crash while the file was created.
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(MAGIC)?;
            MAGIC.len() as u64
        } else {
            scan(&self.path, 0, each)?
        };
        if sound < len {
            tracing::warn!(path = %self.path.display(), from = sound, to = len, "torn end of the journal cut off");
            self.file.set_len(sound)?;
        }
        self.file.seek(SeekFrom::Start(sound))?;
        if self.sync {
            self.file.sync_all()?;
            File::open(self.path.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }

    fn append(&mut self, record: &Record) {
        codec::encode(record, &mut self.pending);
    }

    fn commit(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.pending)?;
        self.pending.clear();
        self.pending.shrink_to(READ_BYTES);
        if self.sync { self.file.sync_data() } else { Ok(()) }
    }
}

/// Hands every whole record of a journal file behind `from` to `each` and answers
/// where the sound part ends. `from` is 0, or such an answer.
///
/// Only the end can be torn by a crash: a record cut short, or one behind
/// which the file holds nothing more. Damage before that is an error, since
/// cutting there would drop acknowledged messages.
pub(super) fn scan(path: &Path, from: u64, each: &mut dyn FnMut(Record)) -> io::Result<u64> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {text}", path.display()));
    let open = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut file = File::open(path).map_err(open)?;
    let len = file.metadata()?.len();
    let mut magic = Vec::new();
    Read::by_ref(&mut file).take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    if magic.len() < MAGIC.len() && MAGIC.starts_with(&magic) {
        return Ok(0);
    }
    if magic != MAGIC {
        return Err(invalid("not a journal of this test server".to_owned()));
    }
    let mut at = from.max(MAGIC.len() as u64);
    file.seek(SeekFrom::Start(at))?;
    let mut buffer = BytesMut::new();
    loop {
        let more = fill(&mut file, &mut buffer)?;
        let mut window = std::mem::take(&mut buffer).freeze();
        loop {
            match codec::decode(&window) {
                Decoded::Record(record, bytes) => {
                    each(detach(*record));
                    at += bytes as u64;
                    window = window.slice(bytes..);
                }
                Decoded::Short => break,
                Decoded::Damaged(bytes) if at + bytes as u64 == len => return Ok(at),
                Decoded::Damaged(_) if window.iter().all(|byte| *byte == 0) && !more => return Ok(at),
                Decoded::Damaged(_) => return Err(invalid(format!("damaged record at byte {at}"))),
            }
        }
        if !more {
            return Ok(at);
        }
        buffer = BytesMut::from(&window[..]);
    }
}

/// Reads on; at least as much as a record that is only partly there needs.
fn fill(file: &mut File, buffer: &mut BytesMut) -> io::Result<bool> {
    let announced = buffer.first_chunk::<4>().map_or(0, |len| HEAD + u32::from_le_bytes(*len) as usize);
    let wanted = READ_BYTES.max(announced.saturating_sub(buffer.len()));
    let mut read = Vec::new();
    file.take(wanted as u64).read_to_end(&mut read)?;
    buffer.extend_from_slice(&read);
    Ok(read.len() == wanted)
}

/// Gives a body its own memory, so that it does not hold the scan's buffer.
fn detach(record: Record) -> Record {
    match record {
        Record::Message(mut message) => {
            message.body = Bytes::copy_from_slice(&message.body);
            Record::Message(message)
        }
        other => other,
    }
}
