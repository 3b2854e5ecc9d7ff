use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amps_core::LastHeaders;
use amps_ha::bookmarks::store::BookmarkWriter;
use amps_ha::client_core::{Deletions, Strays};
use amps_ha::driver::Inbox;
use amps_ha::error::CommandError;
use amps_ha::event::{ConnectionSummary, Event};
use amps_ha::publish_log::{SharedLog, StoreThread};
use amps_ha::subscriptions::QueueLimits;
use amps_ha::warning::ConfigWarning;
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::JoinHandle;

use crate::listed::Listing;
use crate::waits::Waits;

/// What all clones of a client, and its streams, share.
pub(crate) struct Inner {
    pub(crate) name: String,
    /// Where the client's tasks run.
    pub(crate) runtime: Handle,
    pub(crate) log: Arc<SharedLog>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) strays: Strays,
    pub(crate) deletions: Deletions,
    /// Deletions that were counted without a publish store so far.
    pub(crate) counted: AtomicU64,
    pub(crate) command_timeout: Duration,
    /// Bounds of queues without bounds of their own.
    pub(crate) queue: QueueLimits,
    pub(crate) stalled: watch::Receiver<Option<Arc<str>>>,
    pub(crate) state: watch::Receiver<ConnectionSummary>,
    pub(crate) bookmarks: Mutex<Option<Arc<BookmarkWriter>>>,
    /// Ids of the open bookmark subscriptions.
    pub(crate) ids: Mutex<HashSet<String>>,
    pub(crate) ending: Mutex<Option<Ending>>,
    pub(crate) stores_closed: watch::Sender<bool>,
    pub(crate) warnings: Vec<ConfigWarning>,
    pub(crate) waits: Waits,
    pub(crate) listing: Arc<Listing>,
    /// Where published messages and bookmarks are kept, in words.
    pub(crate) kept_in: KeptIn,
    pub(crate) headers: Option<LastHeaders>,
    #[cfg(feature = "metrics")]
    pub(crate) sampled: Arc<crate::metrics::Sampled>,
}

/// Where things are kept, in words.
#[derive(Debug)]
pub(crate) struct KeptIn {
    pub(crate) published: String,
    pub(crate) bookmarks: String,
}

/// What a close has to wait for.
pub(crate) struct Ending {
    pub(crate) driver: JoinHandle<()>,
    pub(crate) store: Option<StoreThread>,
}

impl Inner {
    /// Tells of something that may lose messages.
    pub(crate) fn warn(&self, warning: ConfigWarning) {
        tracing::warn!(client = self.name, "{warning}");
        let _ = self.events.send(Event::Warning(warning));
    }

    pub(crate) fn bookmark_store(&self) -> Option<Arc<BookmarkWriter>> {
        self.bookmarks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The id of a bookmark subscription, taken for as long as this lives.
pub(crate) struct TakenId {
    client: Arc<Inner>,
    id: String,
}

impl TakenId {
    pub(crate) fn take(client: &Arc<Inner>, id: &str) -> Result<Self, CommandError> {
        let fresh = client.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        match fresh {
            true => Ok(Self { client: Arc::clone(client), id: id.to_owned() }),
            false => Err(CommandError::IdInUse { id: id.to_owned() }),
        }
    }
}

impl Drop for TakenId {
    fn drop(&mut self) {
        self.client.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
