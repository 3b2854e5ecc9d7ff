//! The thread that writes a bookmark store.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tracing::{Span, debug_span};

use super::{BookmarkState, BookmarkStore, BookmarkStoreError};

/// Between two commits that nobody waits for.
const PAUSE: Duration = Duration::from_millis(10);

/// How long after an error that may pass a store is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How a [`BookmarkWriter`] works.
pub struct WriterOptions {
    /// Between two commits that nobody waits for: 10 ms.
    pub pause: Duration,
    /// Told of every error of the store, from the writer's thread: nothing.
    pub on_error: Box<dyn FnMut(&BookmarkStoreError) + Send>,
    /// Spans of the store's work are within this one: none.
    pub within: Span,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { pause: PAUSE, on_error: Box::new(|_| {}), within: Span::none() }
    }
}

impl std::fmt::Debug for WriterOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriterOptions").field("pause", &self.pause).finish_non_exhaustive()
    }
}

/// Where the changes of a subscription are, until the writer is ready for
/// them.
pub trait ChangeSource: Send + Sync {
    /// What changed since the last call.
    fn take_changes(&self) -> BookmarkState;
}

/// Writes a [`BookmarkStore`] from one thread, with group commit: whatever
/// changes while one commit runs is the next group. What changes twice before
/// it is written is written once. While nobody waits for a commit there is one
/// every ten milliseconds at most. An error that may pass
/// ([`BookmarkStoreError::is_temporary`]) is tried again with the next changes,
/// or after a second; any other fails the store for good.
#[derive(Debug)]
pub struct BookmarkWriter {
    changes: Changes,
    thread: Option<JoinHandle<()>>,
}

/// Tells a [`BookmarkWriter`] which subscriptions changed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Changes {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
}

/// How far the thread is.
#[derive(Debug, Clone, Default)]
struct Progress {
    committed: u64,
    failed: Option<BookmarkStoreError>,
    /// The last write did not succeed.
    trouble: Option<BookmarkStoreError>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    changed: Vec<(Arc<str>, Arc<dyn ChangeSource>)>,
    questions: Vec<Question>,
    /// The number of the group that takes what changes now.
    group: u64,
    /// Somebody waits for what changed.
    wanted: bool,
    closed: bool,
    /// Something changed that no group takes any more.
    missed: bool,
}

impl State {
    /// Something is to be done without a pause.
    fn is_urgent(&self) -> bool {
        !self.questions.is_empty() || (!self.changed.is_empty() && (self.wanted || self.closed))
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("group", &self.group).field("closed", &self.closed).finish_non_exhaustive()
    }
}

type Answer<T> = oneshot::Sender<Result<T, BookmarkStoreError>>;

#[derive(Debug)]
enum Question {
    Recover(String, Answer<BookmarkState>),
    Purge(String, Answer<()>),
}

/// Changes on their way to the disk.
#[derive(Debug)]
#[must_use = "they are durable only when `durable` returned Ok"]
pub struct Saved {
    /// How many groups have to be committed.
    groups: u64,
    progress: watch::Receiver<Progress>,
}

impl Saved {
    /// Waits until they survive what the store survives.
    ///
    /// # Errors
    /// Why it never will; then it is open whether it does.
    ///
    /// # Cancel safety
    /// Safe: writing goes on.
    pub async fn durable(mut self) -> Result<(), BookmarkStoreError> {
        let done = |progress: &Progress| progress.committed >= self.groups || progress.failed.is_some();
        let progress = self.progress.wait_for(done).await.map_err(|_| BookmarkStoreError::Closed)?;
        match &progress.failed {
            Some(error) if progress.committed < self.groups => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

impl Changes {
    /// A subscription changed. Never blocks on the disk. Say it once, until its
    /// changes are taken, and only once they are there to be taken.
    pub fn announce(&self, subscription: &Arc<str>, source: Arc<dyn ChangeSource>) {
        let mut state = self.shared.lock();
        if state.closed {
            state.missed = true;
            return;
        }
        state.changed.push((Arc::clone(subscription), source));
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Everything that changed so far; it is written at once.
    pub fn so_far(&self) -> Saved {
        let mut state = self.shared.lock();
        if !state.changed.is_empty() {
            state.wanted = true;
            self.shared.wake.notify_one();
        }
        let groups = match (state.missed, state.changed.is_empty()) {
            (true, _) => u64::MAX,
            (false, true) => state.group,
            (false, false) => state.group + 1,
        };
        Saved { groups, progress: self.progress.clone() }
    }
}

impl BookmarkWriter {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system starts no thread.
    pub fn start(store: impl BookmarkStore) -> std::io::Result<Self> {
        Self::start_with(store, WriterOptions::default())
    }

    /// Starts the thread with other settings.
    ///
    /// # Errors
    /// The operating system starts no thread.
    pub fn start_with(store: impl BookmarkStore, options: WriterOptions) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (sender, progress) = watch::channel(Progress::default());
        let of_thread = Arc::clone(&shared);
        let run = move || of_thread.run(store, options, &sender);
        let thread = thread::Builder::new().name("amps-bookmarks".to_owned()).spawn(run)?;
        Ok(Self { changes: Changes { shared, progress }, thread: Some(thread) })
    }

    /// Where to tell what changed; outlives the writer, and then fails.
    pub fn changes(&self) -> Changes {
        self.changes.clone()
    }

    /// What the store knows of a subscription, everything announced before included.
    ///
    /// # Errors
    /// The store cannot be read, or has failed before.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn recover(&self, subscription: &str) -> Result<BookmarkState, BookmarkStoreError> {
        self.ask(|answer| Question::Recover(subscription.to_owned(), answer)).await
    }

    /// Forgets a subscription; returns when that is durable.
    ///
    /// # Errors
    /// The store cannot be written, or has failed before.
    ///
    /// # Cancel safety
    /// A dropped call may have forgotten it, as a whole, or not.
    pub async fn purge(&self, subscription: &str) -> Result<(), BookmarkStoreError> {
        self.ask(|answer| Question::Purge(subscription.to_owned(), answer)).await
    }

    /// Why the last write did not succeed, if it did not.
    pub fn trouble(&self) -> Option<BookmarkStoreError> {
        self.changes.progress.borrow().trouble.clone()
    }

    /// Writes what changed and ends the thread; blocks until that is done.
    /// Dropping does the same and only logs an error.
    ///
    /// # Errors
    /// The first error of the store.
    pub fn close(mut self) -> Result<(), BookmarkStoreError> {
        self.join()
    }

    async fn ask<T>(&self, question: impl FnOnce(Answer<T>) -> Question) -> Result<T, BookmarkStoreError> {
        let (answer, answered) = oneshot::channel();
        self.changes.shared.lock().questions.push(question(answer));
        self.changes.shared.wake.notify_one();
        answered.await.unwrap_or(Err(BookmarkStoreError::Closed))
    }

    fn join(&mut self) -> Result<(), BookmarkStoreError> {
        self.changes.shared.lock().closed = true;
        self.changes.shared.wake.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            return Err(BookmarkStoreError::Closed);
        }
        self.changes.progress.borrow().failed.clone().map_or(Ok(()), Err)
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

    fn run(&self, mut store: impl BookmarkStore, mut options: WriterOptions, progress: &watch::Sender<Progress>) {
        let mut changed = Vec::new();
        let mut next = Instant::now();
        // When what failed is tried again; once more at the end.
        let mut retry: Option<(Instant, BookmarkStoreError)> = None;
        let mut last = false;
        loop {
            let mut state = self.lock();
            loop {
                let again_at = retry.as_ref().map(|(at, _)| *at);
                let due = if state.changed.is_empty() { again_at } else { Some(next) };
                let pause = due.map(|due| due.saturating_duration_since(Instant::now()));
                if state.is_urgent() || pause.is_some_and(|pause| pause.is_zero()) {
                    break;
                }
                if state.closed {
                    if last || retry.is_none() {
                        drop(state);
                        if let Some((_, error)) = retry {
                            progress.send_modify(|progress| progress.failed = Some(error));
                        }
                        return;
                    }
                    last = true;
                    break;
                }
                state = match pause {
                    None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                    Some(pause) => self.wake.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0,
                };
            }
            state.wanted = false;
            std::mem::swap(&mut changed, &mut state.changed);
            let questions = std::mem::take(&mut state.questions);
            let group = state.group;
            state.group += 1;
            drop(state);

            let failed = progress.borrow().failed.clone();
            let failed_before = failed.is_some();
            let again = retry.take().is_some();
            let write = || {
                if changed.is_empty() && !again {
                    return Ok(());
                }
                let span = debug_span!(parent: &options.within, "amps.bookmark_store", subscriptions = changed.len());
                span.in_scope(|| write(&mut store, &mut changed))
            };
            let result = failed.map_or_else(write, Err);
            changed.clear();
            next = Instant::now() + options.pause;
            if let Err(error) = &result
                && !failed_before
            {
                (options.on_error)(error);
                retry = error.is_temporary().then(|| (Instant::now() + RETRY, error.clone()));
            }
            progress.send_modify(|progress| {
                progress.trouble = result.as_ref().err().cloned();
                match &result {
                    Ok(()) => progress.committed = group + 1,
                    Err(error) if error.is_temporary() => {}
                    Err(error) => progress.failed = Some(error.clone()),
                }
            });
            // What is known in memory is good enough to answer from.
            let written = result.or_else(|error| if error.is_temporary() { Ok(()) } else { Err(error) });
            for question in questions {
                question.answer(&mut store, written.clone());
            }
        }
    }
}

fn write(
    store: &mut impl BookmarkStore,
    changed: &mut Vec<(Arc<str>, Arc<dyn ChangeSource>)>,
) -> Result<(), BookmarkStoreError> {
    for (subscription, source) in changed.drain(..) {
        store.save(&subscription, &source.take_changes())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_written_before_the_disk_failed_is_durable() {
        let failed = Some(BookmarkStoreError::Closed);
        let (_keep, progress) = watch::channel(Progress { committed: 2, failed, trouble: None });
        for (groups, durable) in [(1, true), (2, true), (3, false)] {
            assert_eq!(Saved { groups, progress: progress.clone() }.durable().await.is_ok(), durable, "{groups}");
        }
    }
}
