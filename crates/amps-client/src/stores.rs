use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use amps_ha::bookmarks::store::{BookmarkWriter, KvBookmarkStore};
use amps_ha::kv::{SledKv, SledOptions, SyncLevel};
use amps_ha::publish_log::{Durability, Identity, Limits, MemoryPart, PublishLog, Recovered, SegmentStore, StoreError};

use crate::error::OpenError;

/// Where published messages are kept until servers acknowledge them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishStore {
    /// Nowhere: what is on its way is lost with a connection, and publishing
    /// needs one.
    None,
    /// In memory: survives the failure of servers and networks.
    Memory,
    /// In a sled database in this directory: also survives the client itself.
    Sled(PathBuf),
    /// The newest in memory, the oldest in a sled database in this directory.
    Hybrid(PathBuf, MemoryPart),
}

impl PublishStore {
    /// The newest messages in memory up to what `part` says, the oldest in a
    /// sled database in `dir`, as for [`sled`](Self::sled): for outages longer
    /// than memory lasts.
    ///
    /// The level is [`Durability::Memory`]: a message survives the failure of
    /// servers and networks, and [`Client::close`](crate::Client::close), which writes what is left
    /// to the disk. When the client itself is killed, only what had moved to
    /// the disk is delivered by the next one.
    pub fn hybrid(dir: impl Into<PathBuf>, part: MemoryPart) -> Self {
        Self::Hybrid(dir.into(), part)
    }

    /// A sled database in `dir`, which is created if need be. One client at a
    /// time, always under the same client name.
    pub fn sled(dir: impl Into<PathBuf>) -> Self {
        Self::Sled(dir.into())
    }
}

/// Where subscriptions keep what they have discarded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BookmarkStore {
    /// In memory: resumes across reconnects.
    Memory,
    /// In a sled database in this directory: also in a new process.
    Sled(PathBuf),
}

impl BookmarkStore {
    /// A sled database in `dir`, which is created if need be. Not the publish
    /// store's directory.
    pub fn sled(dir: impl Into<PathBuf>) -> Self {
        Self::Sled(dir.into())
    }
}

/// The publish log on its store, and what the store's thread works on.
pub(crate) fn open_log(
    store: PublishStore,
    durability: Option<Durability>,
    limits: Limits,
    identity: &Identity,
) -> Result<(PublishLog, Option<SegmentStore>), OpenError> {
    let unix_nanos = unix_nanos();
    Ok(match store {
        PublishStore::None => (PublishLog::without_store(limits), None),
        PublishStore::Memory => (PublishLog::in_memory(limits, unix_nanos), None),
        PublishStore::Sled(dir) => {
            let (segments, recovered) = open_sled(&dir, identity, unix_nanos)?;
            let level = durability.unwrap_or(Durability::PowerLoss);
            (PublishLog::on_disk(limits, level, recovered), Some(segments))
        }
        PublishStore::Hybrid(dir, part) => {
            let (segments, recovered) = open_sled(&dir, identity, unix_nanos)?;
            (PublishLog::hybrid(limits, part, recovered), Some(segments))
        }
    })
}

fn open_sled(dir: &Path, identity: &Identity, unix_nanos: u64) -> Result<(SegmentStore, Recovered), StoreError> {
    let kv = SledKv::open(dir, &SledOptions::default())?;
    SegmentStore::open(Box::new(kv), dir, identity, unix_nanos)
}

/// The thread that keeps discarded bookmarks; none when nothing is kept.
pub(crate) fn open_bookmarks(store: BookmarkStore, client_name: &str) -> Result<Option<BookmarkWriter>, OpenError> {
    let store = match store {
        BookmarkStore::Memory => return Ok(None),
        BookmarkStore::Sled(dir) => KvBookmarkStore::open_dir(&dir, client_name, SyncLevel::Process)
            .map_err(|source| OpenError::BookmarkStore { dir, source })?,
    };
    BookmarkWriter::start(store).map(Some).map_err(OpenError::Thread)
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX >> 1)
}
