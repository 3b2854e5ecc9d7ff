//! Where the bookmarks of all subscriptions of a client are kept.

mod adapter;
mod keyed;
mod most_recent;
mod point;
mod record;
mod rescue;
mod resume;
mod writer;

use std::collections::BTreeMap;

use super::{BookmarkState, PublisherState};
use crate::kv::KvError;
use crate::user_code::UserError;

pub use adapter::{AdapterError, RecoveryPointAdapter, RecoveryPoints};
pub use keyed::KvBookmarkStore;
pub use most_recent::MostRecentOnly;
pub use rescue::Examined;
pub use resume::ResumePoint;
pub use writer::{BookmarkWriter, ChangeSource, Changes, Saved, WriterOptions};

/// Keeps what the subscriptions of one client have discarded.
///
/// Subscriptions are told apart by a key that must be the same in every life
/// of the application. Calls block; [`BookmarkWriter`] makes them from a
/// thread of its own.
pub trait BookmarkStore: Send + 'static {
    /// What is known of a subscription; empty if nothing is.
    ///
    /// # Errors
    /// The store cannot be read.
    fn recover(&mut self, subscription: &str) -> Result<BookmarkState, BookmarkStoreError>;

    /// Takes changes in, in their order. They survive once
    /// [`BookmarkStore::commit`] returned. The changes must be those of bookmarks
    /// that were recovered from this store, or they replace what it knows.
    ///
    /// # Errors
    /// The store cannot be written; it is failed for good.
    fn save(&mut self, subscription: &str, changes: &BookmarkState) -> Result<(), BookmarkStoreError>;

    /// Makes everything saved so far survive what this store survives.
    ///
    /// # Errors
    /// The store cannot be written; it is failed for good.
    fn commit(&mut self) -> Result<(), BookmarkStoreError>;

    /// Forgets a subscription, with the next commit.
    ///
    /// # Errors
    /// The store cannot be written; it is failed for good.
    fn purge(&mut self, subscription: &str) -> Result<(), BookmarkStoreError>;
}

/// Why a bookmark store cannot do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BookmarkStoreError {
    /// The key-value store below failed.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The store belongs to another client name. Use one store per client.
    #[error("the bookmark store belongs to client '{stored}', not to '{asked}': use one store for each client")]
    OtherClient {
        /// The name in the store.
        stored: String,
        /// The name it was opened under.
        asked: String,
    },
    /// The store was written by another version of this library.
    #[error("the bookmark store has format version {stored}, this library reads {readable}")]
    OtherFormat {
        /// The version in the store.
        stored: String,
        /// The version this library writes and reads.
        readable: String,
    },
    /// A stored record is not what was written.
    #[error("the bookmark store is damaged: {what}. Restore it, or start with an empty one: that replays the log")]
    Damaged {
        /// What was found.
        what: String,
    },
    /// A subscription's key is too long.
    #[error("a subscription key of {len} bytes, at most {max} are allowed")]
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The recovery point adapter failed; it is asked again.
    #[error("the recovery point adapter failed: {0}")]
    Adapter(#[source] UserError),
    /// The writer of the store has ended.
    #[error("the bookmark store is closed")]
    Closed,
}

impl BookmarkStoreError {
    /// Whether the store may work again later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Adapter(_))
    }
}

/// A store behind a pointer.
impl BookmarkStore for Box<dyn BookmarkStore> {
    fn recover(&mut self, subscription: &str) -> Result<BookmarkState, BookmarkStoreError> {
        (**self).recover(subscription)
    }

    fn save(&mut self, subscription: &str, changes: &BookmarkState) -> Result<(), BookmarkStoreError> {
        (**self).save(subscription, changes)
    }

    fn commit(&mut self) -> Result<(), BookmarkStoreError> {
        (**self).commit()
    }

    fn purge(&mut self, subscription: &str) -> Result<(), BookmarkStoreError> {
        (**self).purge(subscription)
    }
}

/// Keeps bookmarks in memory: they survive the client object, not the process.
#[derive(Debug, Default)]
pub struct MemoryBookmarkStore {
    subscriptions: BTreeMap<String, Subscription>,
}

#[derive(Debug, Default)]
struct Subscription {
    base: Option<amps_core::Bookmark>,
    publishers: BTreeMap<u64, PublisherState>,
}

impl MemoryBookmarkStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl BookmarkStore for MemoryBookmarkStore {
    fn recover(&mut self, subscription: &str) -> Result<BookmarkState, BookmarkStoreError> {
        let Some(known) = self.subscriptions.get(subscription) else { return Ok(BookmarkState::default()) };
        let publishers = known.publishers.iter().map(|(hash, state)| (*hash, state.clone())).collect();
        Ok(BookmarkState { base: known.base, publishers })
    }

    fn save(&mut self, subscription: &str, changes: &BookmarkState) -> Result<(), BookmarkStoreError> {
        let known = self.subscriptions.entry(subscription.to_owned()).or_default();
        known.base = changes.base.or(known.base);
        known.publishers.extend(changes.publishers.iter().cloned());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), BookmarkStoreError> {
        Ok(())
    }

    fn purge(&mut self, subscription: &str) -> Result<(), BookmarkStoreError> {
        self.subscriptions.remove(subscription);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
