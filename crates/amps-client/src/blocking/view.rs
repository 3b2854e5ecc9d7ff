use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use super::runtime::Runtime;
use crate::any_error::Error;
use crate::sow_view;

/// The records of a SOW topic as a map that is kept current; see
/// [`SowView`](crate::SowView), whose methods that do not wait are there too.
///
/// ```no_run
/// # use amps_client::{Error, ViewEvent, blocking::{Client, SowView}};
/// #[derive(Debug, PartialEq, serde::Deserialize)]
/// struct Price {
///     bid: f64,
/// }
///
/// fn screen(client: &Client) -> Result<(), Error> {
///     let prices = SowView::<_, Price>::open(SowView::of("prices").filter("/bid > 0"), client)?;
///     println!("{} prices", prices.len());
///     for event in prices.changes() {
///         if let ViewEvent::Change(change) = event? {
///             println!("{change:?}");
///         }
///     }
///     Ok(())
/// }
/// ```
pub struct SowView<K, V> {
    view: sow_view::SowView<K, V>,
    runtime: Arc<Runtime>,
}

impl<V: serde::de::DeserializeOwned + 'static> SowView<String, V> {
    /// As [`SowView::of`](crate::SowView::of); give it to [`open`](Self::open) or
    /// [`start`](Self::start).
    pub fn of(topic: impl Into<String>) -> sow_view::SowViewBuilder<String, V> {
        sow_view::SowView::of(topic)
    }
}

impl<K, V> SowView<K, V>
where
    K: Ord + Clone + Send + Sync + 'static,
    V: PartialEq + Send + Sync + 'static,
{
    /// Begins the view and waits until all records are in it; see
    /// [`open`](crate::SowViewBuilder::open).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn open(builder: sow_view::SowViewBuilder<K, V>, client: &Client) -> Result<Self, Error> {
        let view = Self::start(builder, client)?;
        view.current()?;
        Ok(view)
    }

    /// Begins the view without waiting; see
    /// [`start`](crate::SowViewBuilder::start).
    ///
    /// # Errors
    /// [`Error::Command`], as there.
    pub fn start(builder: sow_view::SowViewBuilder<K, V>, client: &Client) -> Result<Self, Error> {
        Ok(Self { view: builder.start(client.as_async())?, runtime: Arc::clone(client.runtime()) })
    }
}

impl<K: Ord + Clone, V: PartialEq> SowView<K, V> {
    /// Waits until all records are in the view; see
    /// [`current`](crate::SowView::current).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn current(&self) -> Result<(), Error> {
        self.runtime.wait(self.view.current())
    }

    /// Everything that changes, behind a start with all records; see
    /// [`changes`](crate::SowView::changes).
    pub fn changes(&self) -> ViewChanges<K, V> {
        ViewChanges { changes: self.view.changes(), runtime: Arc::clone(&self.runtime) }
    }
}

impl<K, V> Deref for SowView<K, V> {
    type Target = sow_view::SowView<K, V>;

    fn deref(&self) -> &Self::Target {
        &self.view
    }
}

impl<K, V> Clone for SowView<K, V> {
    fn clone(&self) -> Self {
        Self { view: self.view.clone(), runtime: Arc::clone(&self.runtime) }
    }
}

impl<K, V> fmt::Debug for SowView<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(f)
    }
}

/// What changes in a view, in order: an iterator that waits for each event. See
/// [`ViewChanges`](crate::ViewChanges).
pub struct ViewChanges<K, V> {
    changes: sow_view::ViewChanges<K, V>,
    runtime: Arc<Runtime>,
}

impl<K: Ord + Clone, V: PartialEq> ViewChanges<K, V> {
    /// The next event, waiting for so long at most; `None` behind the last.
    ///
    /// # Errors
    /// [`Error::NothingYet`] when the time is over; [`Error::WouldDeadlock`].
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<sow_view::ViewEvent<K, V>>, Error> {
        self.runtime.wait_within(limit, self.changes.next())
    }
}

impl<K: Ord + Clone, V: PartialEq> Iterator for ViewChanges<K, V> {
    type Item = Result<sow_view::ViewEvent<K, V>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.wait_for(self.changes.next()).transpose()
    }
}

impl<K, V> fmt::Debug for ViewChanges<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.fmt(f)
    }
}
