use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amps_ha::bookmarks::store::{
    BookmarkStore as KeepsBookmarks, BookmarkWriter, KvBookmarkStore, MostRecentOnly, RecoveryPointAdapter,
    RecoveryPoints, WriterOptions,
};
use amps_ha::kv::{Kv, SledKv, SledOptions, SyncLevel};
use amps_ha::publish_log::{Durability, Identity, Limits, MemoryPart, PublishLog, Recovered, SegmentStore, StoreError};

use crate::error::OpenError;

/// Where published messages are kept until servers acknowledge them.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum PublishStore {
    /// Nowhere: what is on its way is lost with a connection, and publishing
    /// needs one.
    None,
    /// In memory: survives the failure of servers and networks.
    #[default]
    Memory,
    /// In a sled database in this directory: also survives the client itself.
    Sled(PathBuf),
    /// The newest in memory, the oldest in a sled database in this directory.
    Hybrid(PathBuf, MemoryPart),
    /// In a store of your own.
    Custom(CustomStore),
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

    /// A store of your own, opened; `name` stands for it in errors. It promises
    /// what [`durability`](crate::ClientBuilder::durability) says as far as it
    /// keeps the contract of [`Kv`]; [`kv::conformance`](crate::kv::conformance)
    /// tests that. The publish store and the bookmark store each need one of
    /// their own.
    ///
    /// ```no_run
    /// # use amps_client::{Client, PublishStore, kv::Kv};
    /// # fn open_mine() -> Box<dyn Kv> { Box::new(amps_client::kv::MemoryKv::new()) }
    /// let store: Box<dyn Kv> = open_mine();
    /// let builder = Client::builder("gateway").publish_store(PublishStore::custom("my store", store));
    /// ```
    pub fn custom(name: impl Into<String>, kv: Box<dyn Kv>) -> Self {
        Self::Custom(CustomStore { name: name.into(), kv })
    }
}

impl fmt::Display for PublishStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("nowhere"),
            Self::Memory => f.write_str("in memory"),
            Self::Sled(dir) => write!(f, "in sled in {}", dir.display()),
            Self::Hybrid(dir, _) => write!(f, "in memory, the oldest in sled in {}", dir.display()),
            Self::Custom(store) => write!(f, "in {}", store.name),
        }
    }
}

/// A store of the user's, with its name for errors.
pub struct CustomStore {
    name: String,
    kv: Box<dyn Kv>,
}

impl fmt::Debug for CustomStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomStore").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where subscriptions keep what they have discarded.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum BookmarkStore {
    /// In memory: resumes across reconnects.
    #[default]
    Memory,
    /// In a sled database in this directory: also in a new process.
    Sled(PathBuf),
    /// In a store of your own: the same.
    Custom(CustomStore),
    /// In another one, but only where each subscription resumes.
    MostRecentOnly(Box<Self>),
    /// As recovery points, wherever an adapter puts them.
    RecoveryPoints(RecoveryPointStore),
}

impl BookmarkStore {
    /// Keeps only where each subscription resumes, which takes a few bytes for
    /// each publisher whatever the order of discards. In a new process
    /// everything behind that comes again, also what was discarded out of
    /// order.
    #[must_use]
    pub fn most_recent_only(self) -> Self {
        Self::MostRecentOnly(Box::new(self))
    }

    /// Hands recovery points to `adapter`, for bookmarks without a file of
    /// ours: the first that changes at once, then the latest of each
    /// subscription at most once in `interval` (a second is usual), and the
    /// last at [`Client::close`](crate::Client::close). What is discarded
    /// within that time or out of order may come again in a new process.
    /// [`SowRecoveryPoints`](crate::SowRecoveryPoints) keeps them in a SOW topic.
    ///
    /// While the adapter fails, messages go on, each failure is told as
    /// [`Event::BookmarkStoreFailed`](crate::Event::BookmarkStoreFailed), and
    /// the latest points are tried again.
    pub fn recovery_points(adapter: impl RecoveryPointAdapter, interval: Duration) -> Self {
        Self::RecoveryPoints(RecoveryPointStore { store: Box::new(RecoveryPoints::new(adapter)), interval })
    }

    /// A sled database in `dir`, which is created if need be. Not the publish
    /// store's directory.
    pub fn sled(dir: impl Into<PathBuf>) -> Self {
        Self::Sled(dir.into())
    }

    /// A store of your own, opened; `name` stands for it in errors. See
    /// [`PublishStore::custom`].
    pub fn custom(name: impl Into<String>, kv: Box<dyn Kv>) -> Self {
        Self::Custom(CustomStore { name: name.into(), kv })
    }
}

impl fmt::Display for BookmarkStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("in memory"),
            Self::Sled(dir) => write!(f, "in sled in {}", dir.display()),
            Self::Custom(store) => write!(f, "in {}", store.name),
            Self::MostRecentOnly(store) => write!(f, "{store}, the most recent only"),
            Self::RecoveryPoints(points) => write!(f, "as recovery points, every {:?}", points.interval),
        }
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
    let level = durability.unwrap_or(Durability::PowerLoss);
    Ok(match store {
        PublishStore::None => (PublishLog::without_store(limits), None),
        PublishStore::Memory => (PublishLog::in_memory(limits, unix_nanos), None),
        PublishStore::Sled(dir) => {
            let (segments, recovered) = open_sled(&dir, identity, unix_nanos)?;
            (PublishLog::on_disk(limits, level, recovered), Some(segments))
        }
        PublishStore::Custom(CustomStore { name, kv }) => {
            let (segments, recovered) = SegmentStore::open(kv, Path::new(&name), identity, unix_nanos)?;
            (PublishLog::on_disk(limits, level, recovered), Some(segments))
        }
        PublishStore::Hybrid(dir, part) => {
            let (segments, recovered) = open_sled(&dir, identity, unix_nanos)?;
            (PublishLog::hybrid(limits, part, recovered), Some(segments))
        }
    })
}

/// Opens it on a thread that ends: what glibc has for that thread, and what is
/// in the engine's cache there, goes to the next one that starts, which is the
/// store's. Otherwise a backlog would be in memory twice.
fn open_sled(dir: &Path, identity: &Identity, unix_nanos: u64) -> Result<(SegmentStore, Recovered), StoreError> {
    let open = || {
        let kv = SledKv::open(dir, &SledOptions::default())?;
        SegmentStore::open(Box::new(kv), dir, identity, unix_nanos)
    };
    std::thread::scope(|scope| match std::thread::Builder::new().spawn_scoped(scope, open) {
        Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        Err(_) => open(),
    })
}

/// An adapter for recovery points, with how often it is called.
pub struct RecoveryPointStore {
    store: Box<dyn KeepsBookmarks>,
    interval: Duration,
}

impl fmt::Debug for RecoveryPointStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoveryPointStore").field("interval", &self.interval).finish_non_exhaustive()
    }
}

/// The thread that keeps discarded bookmarks; none when nothing is kept.
pub(crate) fn open_bookmarks(
    store: BookmarkStore,
    client_name: &str,
    mut options: WriterOptions,
) -> Result<Option<BookmarkWriter>, OpenError> {
    let Some(store) = bookmark_store(store, client_name, &mut options)? else { return Ok(None) };
    BookmarkWriter::start_with(store, options).map(Some).map_err(OpenError::Thread)
}

fn bookmark_store(
    store: BookmarkStore,
    client_name: &str,
    options: &mut WriterOptions,
) -> Result<Option<Box<dyn KeepsBookmarks>>, OpenError> {
    let (dir, kv) = match store {
        BookmarkStore::Memory => return Ok(None),
        BookmarkStore::MostRecentOnly(store) => {
            let store = bookmark_store(*store, client_name, options)?;
            return Ok(store.map(|store| Box::new(MostRecentOnly::new(store)) as Box<dyn KeepsBookmarks>));
        }
        BookmarkStore::RecoveryPoints(points) => {
            options.pause = points.interval;
            return Ok(Some(points.store));
        }
        BookmarkStore::Sled(dir) => match SledKv::open(&dir, &SledOptions::small()) {
            Ok(kv) => (dir, Box::new(kv) as Box<dyn Kv>),
            Err(error) => return Err(OpenError::BookmarkStore { dir, source: error.into() }),
        },
        BookmarkStore::Custom(CustomStore { name, kv }) => (PathBuf::from(name), kv),
    };
    let store = KvBookmarkStore::open(kv, client_name, SyncLevel::Process);
    let store = store.map_err(|source| OpenError::BookmarkStore { dir, source })?;
    Ok(Some(Box::new(store)))
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX >> 1)
}
