//! Bookmarks wherever the application wants them.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;

use super::point::{read_point, write_point};
use super::{BookmarkState, BookmarkStore, BookmarkStoreError, ResumePoint};
use crate::user_code::{UserError, contain};

/// An error of a [`RecoveryPointAdapter`], of any type.
pub type AdapterError = Box<dyn Error + Send + Sync>;

/// Keeps recovery points where the application wants them: a database, a
/// table of its own, another service (AMPS developer guides, "Recovery Point
/// Adapter").
///
/// A recovery point is one line of text that says where a subscription resumes;
/// only the latest of each subscription matters. Calls come from one thread,
/// which is neither the application's nor the connection's: they may block. A
/// panic is contained and counts as an error.
pub trait RecoveryPointAdapter: Send + 'static {
    /// The latest recovery point of a subscription; `None` when there is none.
    ///
    /// # Errors
    /// It cannot be read. The subscription is then refused: without its point
    /// it would silently begin anew.
    fn recover(&mut self, subscription: &str) -> Result<Option<String>, AdapterError>;

    /// Replaces the recovery point of a subscription.
    ///
    /// # Errors
    /// It cannot be written: told as
    /// [`Event::BookmarkStoreFailed`](crate::event::Event::BookmarkStoreFailed),
    /// and tried again with the next update, or after a second.
    fn update(&mut self, subscription: &str, point: &str) -> Result<(), AdapterError>;

    /// Forgets a subscription.
    ///
    /// # Errors
    /// It cannot be forgotten.
    fn purge(&mut self, subscription: &str) -> Result<(), AdapterError>;
}

/// A [`BookmarkStore`] that keeps recovery points with an adapter. What is
/// discarded out of order is not kept: it comes again after a restart.
pub struct RecoveryPoints<A> {
    adapter: A,
    /// As of the latest change, of the subscriptions used in this life.
    known: BTreeMap<String, Point>,
    /// Those the adapter has not got yet.
    changed: BTreeSet<String>,
}

/// Where a subscription resumes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) base: Option<amps_core::Bookmark>,
    /// Floor and anchor of each publisher.
    pub(super) publishers: BTreeMap<u64, [Option<u64>; 2]>,
}

impl<A: RecoveryPointAdapter> RecoveryPoints<A> {
    /// Keeps recovery points with `adapter`.
    pub fn new(adapter: A) -> Self {
        Self { adapter, known: BTreeMap::new(), changed: BTreeSet::new() }
    }

    fn ask<T>(&mut self, call: impl FnOnce(&mut A) -> Result<T, AdapterError>) -> Result<T, BookmarkStoreError> {
        let Self { adapter, .. } = self;
        let answer = match contain("recovery point adapter", || call(adapter)) {
            Ok(answer) => answer.map_err(UserError::new),
            Err(panicked) => Err(UserError::new(panicked)),
        };
        answer.map_err(BookmarkStoreError::Adapter)
    }
}

impl<A> fmt::Debug for RecoveryPoints<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoveryPoints").field("changed", &self.changed).finish_non_exhaustive()
    }
}

impl<A: RecoveryPointAdapter> BookmarkStore for RecoveryPoints<A> {
    fn recover(&mut self, subscription: &str) -> Result<BookmarkState, BookmarkStoreError> {
        if !self.known.contains_key(subscription) {
            let text = self.ask(|adapter| adapter.recover(subscription))?;
            let point = text.as_deref().map(read_point).transpose()?.unwrap_or_default();
            self.known.insert(subscription.to_owned(), point);
        }
        let point = &self.known[subscription];
        Ok(ResumePoint::new(point.base, point.publishers.clone()).state())
    }

    fn save(&mut self, subscription: &str, changes: &BookmarkState) -> Result<(), BookmarkStoreError> {
        let known = self.known.entry(subscription.to_owned()).or_default();
        let before = known.clone();
        known.base = changes.base.or(known.base);
        known.publishers.extend(changes.publishers.iter().map(|(hash, state)| (*hash, [state.floor, state.anchor])));
        if *known != before {
            self.changed.insert(subscription.to_owned());
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), BookmarkStoreError> {
        let mut failed = Ok(());
        for subscription in self.changed.clone() {
            let text = self.known.get(&subscription).map(write_point).unwrap_or_default();
            match self.ask(|adapter| adapter.update(&subscription, &text)) {
                Ok(()) => drop(self.changed.remove(&subscription)),
                Err(error) => failed = Err(error),
            }
        }
        failed
    }

    fn purge(&mut self, subscription: &str) -> Result<(), BookmarkStoreError> {
        self.ask(|adapter| adapter.purge(subscription))?;
        self.changed.remove(subscription);
        self.known.insert(subscription.to_owned(), Point::default());
        Ok(())
    }
}
