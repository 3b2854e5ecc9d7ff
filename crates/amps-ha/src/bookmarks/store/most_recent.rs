use super::{BookmarkState, BookmarkStore, BookmarkStoreError};

/// Keeps of each subscription only where it resumes, and nothing of what was
/// discarded ahead of that: a few bytes for each publisher, whatever the order
/// of discards. After a restart everything behind the most recent bookmarks
/// comes again.
#[derive(Debug)]
pub struct MostRecentOnly<S>(S);

impl<S: BookmarkStore> MostRecentOnly<S> {
    /// Keeps that in `store`.
    pub fn new(store: S) -> Self {
        Self(store)
    }

    /// The store underneath, in its present state.
    pub fn into_inner(self) -> S {
        self.0
    }
}

impl<S: BookmarkStore> BookmarkStore for MostRecentOnly<S> {
    fn recover(&mut self, subscription: &str) -> Result<BookmarkState, BookmarkStoreError> {
        self.0.recover(subscription)
    }

    fn save(&mut self, subscription: &str, changes: &BookmarkState) -> Result<(), BookmarkStoreError> {
        let mut changes = changes.clone();
        for (_, publisher) in &mut changes.publishers {
            publisher.ahead.clear();
        }
        self.0.save(subscription, &changes)
    }

    fn commit(&mut self) -> Result<(), BookmarkStoreError> {
        self.0.commit()
    }

    fn purge(&mut self, subscription: &str) -> Result<(), BookmarkStoreError> {
        self.0.purge(subscription)
    }
}
