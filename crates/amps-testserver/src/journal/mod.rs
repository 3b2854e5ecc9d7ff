//! The journal: what of the transaction log survives the process.
//!
//! The engine appends records and commits them once per turn, before anything
//! that promises them leaves the instance.

mod codec;
mod file;
mod memory;
mod slow;

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::engine::is_queue_change;

pub use file::FileJournal;
pub use memory::{MemoryJournal, NoJournal};
pub use slow::SlowJournal;

/// One record of a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// A message of the transaction log.
    Message(JournalMessage),
    /// Every message before this log position has been promised as persisted.
    Promised(u64),
    /// A message left a queue: acknowledged, expired, or delivered at most once.
    Dequeued {
        /// The queue's topic.
        queue: String,
        /// The publisher id of the message.
        publisher: u64,
        /// The publisher's number of the message.
        sequence: u64,
    },
}

/// A message of the transaction log with all the journal keeps of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalMessage {
    /// The publisher id, the first half of the bookmark.
    pub publisher: u64,
    /// The publisher's number of the message.
    pub sequence: u64,
    /// The publisher's client name.
    pub client_name: String,
    /// The topic.
    pub topic: String,
    /// The publisher's correlation id.
    pub correlation_id: Option<String>,
    /// Whether a client published it here; otherwise a peer sent it.
    pub direct: bool,
    /// The instance a client published it to, where it was another one. `None`
    /// in journals that did not keep it.
    pub origin: Option<String>,
    /// When the instance took it, in microseconds since the beginning of 1970.
    /// `None` in journals that did not keep it.
    pub processed: Option<u64>,
    /// The SOW key its publisher gave it.
    pub sow_key: Option<String>,
    /// How long its record lives, in seconds, if its publisher said so.
    pub expiration: Option<u64>,
    /// Of a `sow_delete`: the keys of the records it deleted.
    pub deletes: Option<Vec<u64>>,
    /// The body.
    pub body: Bytes,
}

/// A message of the transaction log, for verdicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedMessage {
    /// The publisher id, the first half of the bookmark.
    pub publisher: u64,
    /// The publisher's number of the message.
    pub sequence: u64,
    /// The publisher's client name.
    pub client_name: String,
    /// The topic.
    pub topic: String,
    /// Of a `sow_delete`: the keys of the records it deleted. `None` for what
    /// was published.
    pub deletes: Option<Vec<u64>>,
    /// The body.
    pub body: Bytes,
}

impl From<JournalMessage> for LoggedMessage {
    fn from(message: JournalMessage) -> Self {
        let JournalMessage { publisher, sequence, client_name, topic, deletes, body, .. } = message;
        Self { publisher, sequence, client_name, topic, deletes, body }
    }
}

/// Where an engine keeps its transaction log across lives.
pub trait Journal: Send {
    /// Hands every record kept so far to `each`, in order. Called once, before
    /// anything is appended.
    ///
    /// # Errors
    /// What the medium reports; a damaged journal is an error, a torn end is not.
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> io::Result<()>;

    /// Adds a record behind the last. It counts from the next [`commit`](Self::commit).
    fn append(&mut self, record: &Record);

    /// Makes everything appended survive the process.
    ///
    /// # Errors
    /// What the medium reports. The engine stops for good then.
    fn commit(&mut self) -> io::Result<()>;
}

/// Reads the journal of a stopped or killed server: the messages in log order.
///
/// A record cut short at the end is left out, as a restart of the server
/// would leave it out, and so is what instances tell each other of queues. The
/// file is not changed.
///
/// # Errors
/// The directory holds no journal, it cannot be read, or it is damaged before
/// its end.
pub fn read(dir: &Path) -> io::Result<Vec<LoggedMessage>> {
    let mut messages = Vec::new();
    JournalReader::new(dir).read_on(&mut |message| messages.push(message))?;
    Ok(messages)
}

/// Follows the journal of a server that may be running, or killed and started
/// again, in between.
///
/// ```no_run
/// # use std::path::Path;
/// use amps_testserver::journal::JournalReader;
///
/// # fn main() -> std::io::Result<()> {
/// let mut reader = JournalReader::new(Path::new("data"));
/// let mut count = 0;
/// reader.read_on(&mut |_message| count += 1)?;
/// // Later: what has come since.
/// reader.read_on(&mut |_message| count += 1)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct JournalReader {
    path: PathBuf,
    /// Where the next record begins; 0 before the first read.
    at: u64,
}

impl JournalReader {
    /// Begins at the first record of the journal in `dir`. Opens nothing yet.
    pub fn new(dir: &Path) -> Self {
        Self { path: dir.join(file::FILE_NAME), at: 0 }
    }

    /// Hands on the messages that have come since the last call, in log order.
    /// A record cut short at the end is left for the next call.
    ///
    /// # Errors
    /// Those of [`read`].
    pub fn read_on(&mut self, each: &mut dyn FnMut(LoggedMessage)) -> io::Result<()> {
        self.at = file::scan(&self.path, self.at, &mut |record| {
            if let Record::Message(message) = record
                && !is_queue_change(&message.topic)
            {
                each(message.into());
            }
        })?;
        Ok(())
    }
}
