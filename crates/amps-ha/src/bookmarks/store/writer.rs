//! The thread that writes a bookmark store.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{oneshot, watch};

use super::{BookmarkState, BookmarkStore, BookmarkStoreError, PublisherState};

/// Writes a [`BookmarkStore`] from one thread, with group commit: whatever is
/// saved while one commit runs is the next group. What changes twice before it
/// is written is written once, so what waits is bounded by the number of
/// subscriptions and publishers.
#[derive(Debug)]
pub struct BookmarkWriter {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    thread: Option<JoinHandle<()>>,
}

/// How far the thread is.
#[derive(Debug, Clone, Default)]
struct Progress {
    committed: u64,
    failed: Option<BookmarkStoreError>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    changes: BTreeMap<String, Changes>,
    questions: Vec<Question>,
    /// The number of the group that takes what is saved now.
    group: u64,
    busy: bool,
    closed: bool,
}

type Answer<T> = oneshot::Sender<Result<T, BookmarkStoreError>>;

#[derive(Debug)]
enum Question {
    Recover(String, Answer<BookmarkState>),
    Purge(String, Answer<()>),
}

/// Changes of one subscription, conflated.
#[derive(Debug, Default)]
struct Changes {
    base: Option<amps_core::Bookmark>,
    /// Publishers whose first entry must come before all floors.
    new: Vec<u64>,
    latest: BTreeMap<u64, PublisherState>,
}

/// A save on its way to the disk.
#[derive(Debug)]
#[must_use = "the save is durable only when `durable` returned Ok"]
pub struct Saved {
    group: u64,
    progress: watch::Receiver<Progress>,
}

impl Saved {
    /// Waits until the save survives what the store survives. Cancel safe: the
    /// save goes on.
    ///
    /// # Errors
    /// Why it never will; then it is open whether it does.
    pub async fn durable(mut self) -> Result<(), BookmarkStoreError> {
        let done = |progress: &Progress| progress.committed > self.group || progress.failed.is_some();
        let progress = self.progress.wait_for(done).await.map_err(|_| BookmarkStoreError::Closed)?;
        match &progress.failed {
            Some(error) if progress.committed <= self.group => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

impl BookmarkWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system starts no thread.
    pub fn start(store: impl BookmarkStore) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (sender, progress) = watch::channel(Progress::default());
        let of_thread = Arc::clone(&shared);
        let run = move || of_thread.run(store, &sender);
        let thread = thread::Builder::new().name("amps-bookmarks".to_owned()).spawn(run)?;
        Ok(Self { shared, progress, thread: Some(thread) })
    }

    /// Whether nothing waits and nothing is being written: the time to take the
    /// next changes of busy subscriptions.
    pub fn is_idle(&self) -> bool {
        let state = self.shared.lock();
        !state.busy && state.changes.is_empty()
    }

    /// Hands changes over. Never blocks on the disk. A failed store takes them
    /// too; [`Saved::durable`] then answers its error.
    pub fn save(&self, subscription: &str, changes: BookmarkState) -> Saved {
        let mut state = self.shared.lock();
        let group = state.group;
        if !state.closed {
            state.changes.entry(subscription.to_owned()).or_default().add(changes);
        }
        drop(state);
        self.shared.wake.notify_one();
        Saved { group, progress: self.progress.clone() }
    }

    /// What the store knows of a subscription, everything saved before included.
    ///
    /// # Errors
    /// The store cannot be read, or has failed before.
    pub async fn recover(&self, subscription: &str) -> Result<BookmarkState, BookmarkStoreError> {
        self.ask(|answer| Question::Recover(subscription.to_owned(), answer)).await
    }

    /// Forgets a subscription; returns when that is durable.
    ///
    /// # Errors
    /// The store cannot be written, or has failed before.
    pub async fn purge(&self, subscription: &str) -> Result<(), BookmarkStoreError> {
        self.ask(|answer| Question::Purge(subscription.to_owned(), answer)).await
    }

    /// Writes what is saved and ends the thread; blocks until that is done.
    /// Dropping does the same and only logs an error.
    ///
    /// # Errors
    /// The first error of the store.
    pub fn close(mut self) -> Result<(), BookmarkStoreError> {
        self.join()
    }

    async fn ask<T>(&self, question: impl FnOnce(Answer<T>) -> Question) -> Result<T, BookmarkStoreError> {
        let (answer, answered) = oneshot::channel();
        self.shared.lock().questions.push(question(answer));
        self.shared.wake.notify_one();
        answered.await.unwrap_or(Err(BookmarkStoreError::Closed))
    }

    fn join(&mut self) -> Result<(), BookmarkStoreError> {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            return Err(BookmarkStoreError::Closed);
        }
        self.progress.borrow().failed.clone().map_or(Ok(()), Err)
    }
}

impl Drop for BookmarkWriter {
    fn drop(&mut self) {
        if self.thread.is_some()
            && let Err(error) = self.join()
        {
            tracing::error!(%error, "the bookmark store could not be written to the end");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut store: impl BookmarkStore, progress: &watch::Sender<Progress>) {
        loop {
            let mut state = self.lock();
            state.busy = false;
            while state.changes.is_empty() && state.questions.is_empty() {
                if state.closed {
                    return;
                }
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let changes = std::mem::take(&mut state.changes);
            let questions = std::mem::take(&mut state.questions);
            let group = state.group;
            state.group += 1;
            state.busy = true;
            drop(state);

            let failed = progress.borrow().failed.clone();
            let result = failed.map_or_else(|| write(&mut store, changes), Err);
            progress.send_modify(|progress| match &result {
                Ok(()) => progress.committed = group + 1,
                Err(error) => progress.failed = Some(error.clone()),
            });
            for question in questions {
                question.answer(&mut store, result.clone());
            }
        }
    }
}

fn write(store: &mut impl BookmarkStore, changes: BTreeMap<String, Changes>) -> Result<(), BookmarkStoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    for (subscription, changes) in changes {
        store.save(&subscription, &changes.into_state())?;
    }
    store.commit()
}

impl Question {
    /// An asker that is gone does not mind.
    fn answer(self, store: &mut impl BookmarkStore, written: Result<(), BookmarkStoreError>) {
        match self {
            Self::Recover(subscription, answer) => {
                let _ = answer.send(written.and_then(|()| store.recover(&subscription)));
            }
            Self::Purge(subscription, answer) => {
                let purged = written.and_then(|()| store.purge(&subscription)).and_then(|()| store.commit());
                let _ = answer.send(purged);
            }
        }
    }
}

impl Changes {
    fn add(&mut self, changes: BookmarkState) {
        self.base = changes.base.or(self.base);
        for (publisher, state) in changes.publishers {
            if state == PublisherState::default() {
                self.new.push(publisher);
            } else {
                self.latest.insert(publisher, state);
            }
        }
    }

    fn into_state(self) -> BookmarkState {
        let new = self.new.into_iter().map(|publisher| (publisher, PublisherState::default()));
        BookmarkState { base: self.base, publishers: new.chain(self.latest).collect() }
    }
}
