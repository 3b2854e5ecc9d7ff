//! A live view: the records of a SOW topic as a map that stays current.

mod bodies;
mod builder;
mod changes;
mod shared;
mod state;
mod task;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use amps_ha::error::CommandError;
use amps_ha::view::Records;
use tokio::task::AbortHandle;

pub use builder::SowViewBuilder;
pub use changes::{ViewChanges, ViewEvent};
pub use state::ViewState;

use shared::Shared;

/// The records of a SOW topic as a map that is kept current: by a query, by every
/// change behind it, and after a failover by the records as they come again. What
/// was deleted in between is removed then, and told as
/// [removed](crate::Removal::Absent).
///
/// ```
/// use amps_client::{Client, CommandError, SowView, ViewChange, ViewEvent};
/// use serde::Deserialize;
///
/// #[derive(Debug, PartialEq, Deserialize)]
/// struct Price {
///     symbol: String,
///     bid: f64,
/// }
///
/// # async fn example(client: Client) -> Result<(), CommandError> {
/// let prices: SowView<String, Price> =
///     SowView::of("prices").filter("/bid > 0").keyed_by(|price: &Price| price.symbol.clone()).open(&client).await?;
/// if let Some(acme) = prices.get("ACME") {
///     println!("{}", acme.bid);
/// }
/// let mut changes = prices.changes();
/// while let Some(event) = changes.next().await {
///     match event {
///         ViewEvent::Start { records, .. } => println!("{} prices", records.len()),
///         ViewEvent::Change(ViewChange::Updated { key, old, new }) => println!("{key}: {} to {}", old.bid, new.bid),
///         ViewEvent::Change(change) => println!("{change:?}"),
///         ViewEvent::State(state) => println!("{state:?}"),
///         _ => {}
///     }
/// }
/// # Ok(()) }
/// ```
///
/// A task on the client's runtime keeps it; reading it waits for nothing but
/// another record being put in. The task ends, and with it the subscription, when
/// the last clone of the view is dropped. A clone is the same view. The view holds
/// as many records as the topic and filter have; nothing else grows with them.
///
/// Its keys are the records' SOW keys ([`of`](Self::of)), or whatever
/// [`keyed_by`](SowViewBuilder::keyed_by) makes of their values. A record that
/// cannot be read is not shown, told as
/// [unreadable](crate::ViewChange::Unreadable) and counted; the view goes on.
pub struct SowView<K, V> {
    shared: Arc<Shared<K, V>>,
    task: Arc<Task>,
}

/// Ends with its last owner.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<K: Ord + Clone, V: PartialEq> SowView<K, V> {
    /// The record with this key, as it is now.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.read(|records| records.get(key).cloned())
    }

    /// All records as they are now, in order of their keys. It takes no copy, and
    /// stays as it is while the view goes on; the next change of the view then
    /// copies the map once, though not the values.
    pub fn records(&self) -> Records<K, V> {
        Arc::clone(self.shared.inside().view.records())
    }

    /// Looks at the records as they are now, without a copy. The view stands
    /// still meanwhile, and with it, before long, the connection: be quick, and do
    /// not use the view in there.
    pub fn read<T>(&self, look: impl FnOnce(&BTreeMap<K, Arc<V>>) -> T) -> T {
        look(self.shared.inside().view.records())
    }

    /// How many records there are in the view.
    pub fn len(&self) -> usize {
        self.read(BTreeMap::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Records that the server has and the view does not show, since they cannot
    /// be read.
    pub fn unreadable(&self) -> usize {
        self.shared.inside().view.unreadable()
    }

    /// Records that are not shown, since a newer one has the same key; none, if
    /// [`keyed_by`](SowViewBuilder::keyed_by) gives each record a key of its own.
    /// One comes out when the newer one leaves.
    pub fn hidden(&self) -> usize {
        self.shared.inside().view.hidden()
    }

    /// Whether the view is current, right now.
    pub fn state(&self) -> ViewState {
        self.shared.state()
    }

    /// Waits until the view is [current](ViewState::Current).
    ///
    /// # Errors
    /// [`CommandError`] says why it ended.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn current(&self) -> Result<(), CommandError> {
        self.shared.current().await
    }

    /// The records as they are now, then every change: a stream that begins with
    /// [`ViewEvent::Start`], and does so again for a listener that was too slow.
    pub fn changes(&self) -> ViewChanges<K, V> {
        ViewChanges::new(Arc::clone(&self.shared))
    }
}

impl<K, V> Clone for SowView<K, V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), task: Arc::clone(&self.task) }
    }
}

impl<K, V> fmt::Debug for SowView<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SowView").field("state", &self.shared.state()).finish_non_exhaustive()
    }
}
