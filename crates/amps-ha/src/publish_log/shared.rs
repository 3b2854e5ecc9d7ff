use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::BytesMut;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;
use tracing::{Span, debug_span};

use super::capacity::{Full, Limits, OnStoreFull, ResizeHandler, allows};
use super::log::{AppendError, Cursors, PublishLog};
use super::store::SegmentStore;
use super::work::Job;
use crate::ages::Ages;
use crate::event::Event;
use crate::measure::{Measure, Measures, Observer};

/// A [`PublishLog`] between its publishers, the connection's writer and the
/// store's thread.
///
/// One short lock; nothing waits, encodes much, or touches a disk under it.
#[derive(Debug)]
pub struct SharedLog {
    log: Mutex<State>,
    work: Condvar,
    cursors: watch::Sender<Cursors>,
    writer: Arc<Notify>,
    on_full: OnStoreFull,
    events: Option<broadcast::Sender<Event>>,
    /// The bounds the log began with: by so much they grow.
    step: Limits,
    /// What the last change left not stored, to look at without the lock.
    unstored: AtomicUsize,
    unstored_bound: usize,
    measures: Measures,
    span: Span,
}

#[derive(Debug)]
struct State {
    log: PublishLog,
    /// When messages came, by their ordinals.
    ages: Ages,
    /// The writer has nothing to do and wants to be woken.
    writer_idle: bool,
    store_idle: bool,
    /// Store what is left, note the next number, end.
    stop: bool,
}

impl SharedLog {
    /// Shares a log. `writer` is woken when there is something to send.
    pub fn new(log: PublishLog, writer: Arc<Notify>) -> Self {
        let cursors = watch::Sender::new(log.cursors());
        let step = log.limits;
        let (unstored, unstored_bound) = (AtomicUsize::new(log.unstored()), log.unstored_bound());
        let mut ages = Ages::default();
        // What an earlier life left is older; nobody knows how much.
        ages.note(0, 0, now());
        let state = State { log, ages, writer_idle: false, store_idle: false, stop: false };
        Self {
            log: Mutex::new(state),
            work: Condvar::new(),
            cursors,
            writer,
            on_full: OnStoreFull::Block,
            events: None,
            step,
            unstored,
            unstored_bound,
            measures: Measures::default(),
            span: Span::none(),
        }
    }

    /// Tells `observer` how long the store takes.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.measures = Measures(Some(observer));
        self
    }

    /// Spans of the store's work are within this one.
    #[must_use]
    pub fn within(mut self, span: Span) -> Self {
        self.span = span;
        self
    }

    /// What happens when a message finds the log full; nothing but an error by
    /// default.
    #[must_use]
    pub fn on_full(mut self, policy: OnStoreFull) -> Self {
        self.on_full = policy;
        self
    }

    /// Tells of a resize handler that panics there.
    #[must_use]
    pub fn events(mut self, events: broadcast::Sender<Event>) -> Self {
        self.events = Some(events);
        self
    }

    /// Whether who finds the log full is to wait for room.
    pub fn waits(&self, full: &Full) -> bool {
        match self.on_full {
            OnStoreFull::Block => true,
            OnStoreFull::Reject => false,
            OnStoreFull::Resize(_) => full.waits_for_disk(),
        }
    }

    /// Whether who can wait is to wait until the disk has taken more: until
    /// [`Cursors::unstored`] is at most what this answers. Only the disk makes
    /// room here, whatever the connection does, and a store that fails says so.
    pub fn waits_for_disk(&self) -> Option<usize> {
        (self.unstored.load(Ordering::Relaxed) > self.unstored_bound).then_some(self.unstored_bound)
    }

    /// Appends a message; see [`PublishLog::append`].
    ///
    /// # Errors
    /// See [`PublishLog::append`].
    pub fn append(&self, len: usize, encode: impl FnOnce(Option<u64>, &mut BytesMut)) -> Result<u64, AppendError> {
        let mut state = match &self.on_full {
            OnStoreFull::Resize(handler) => self.lock_with_room(len, handler),
            _ => self.lock(),
        };
        let settled = state.log.settled();
        let ordinal = state.log.append(len, encode)?;
        if ordinal == settled {
            // The only one there is. Otherwise the writer notes when they come.
            state.ages.note(ordinal, settled, now());
        }
        let wake_writer = state.writer_idle && state.log.has_more(u64::MAX);
        let wake_store = state.store_idle && state.log.append_concerns_store();
        state.writer_idle &= !wake_writer;
        state.store_idle &= !wake_store;
        self.unstored.store(state.log.unstored(), Ordering::Relaxed);
        drop(state);
        if wake_writer {
            self.writer.notify_one();
        }
        if wake_store {
            self.work.notify_one();
        }
        Ok(ordinal)
    }

    /// Lets the log grow to take `len` bytes more, if `handler` allows it.
    fn lock_with_room(&self, len: usize, handler: &ResizeHandler) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while let Some(resize) = state.log.growth(len, &self.step) {
            drop(state);
            let allowed = allows(handler, &resize).unwrap_or_else(|panicked| {
                if let Some(events) = &self.events {
                    let _ = events.send(Event::Panicked(panicked));
                }
                false
            });
            state = self.lock();
            if !allowed {
                break;
            }
            state.log.grow(&resize);
        }
        state
    }

    /// Takes what is to be sent. `act` also answers whether that was nothing:
    /// then the writer is woken by the next message, and not before, so that
    /// publishers do not knock while it is at work.
    pub fn take<T>(&self, act: impl FnOnce(&mut PublishLog) -> (T, bool)) -> T {
        self.change(|state| {
            let (result, idle) = act(&mut state.log);
            state.writer_idle = idle;
            state.note_age();
            result
        })
    }

    /// Does something to the log: afterwards the store's thread and everybody
    /// who waits for a cursor learn what changed.
    pub fn with<T>(&self, act: impl FnOnce(&mut PublishLog) -> T) -> T {
        self.change(|state| act(&mut state.log))
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = act(&mut state);
        let wake_store = state.store_idle && state.log.wants_store();
        state.store_idle &= !wake_store;
        let cursors = state.log.cursors();
        drop(state);
        if wake_store {
            self.work.notify_one();
        }
        self.publish(cursors);
        result
    }

    /// Looks at the log.
    pub fn peek<T>(&self, look: impl FnOnce(&PublishLog) -> T) -> T {
        look(&self.lock().log)
    }

    /// Since when the oldest message is there that is not settled, at the
    /// earliest. Messages of an earlier life count from the opening of the store.
    pub fn unsettled_since(&self) -> Option<std::time::Instant> {
        let mut state = self.lock();
        state.note_age();
        let (settled, end) = (state.log.settled(), state.log.end());
        let since = state.ages.since(settled);
        since.filter(|_| settled < end)
    }

    /// Follows the cursors.
    pub fn watch(&self) -> watch::Receiver<Cursors> {
        self.cursors.subscribe()
    }

    fn publish(&self, cursors: Cursors) {
        self.unstored.store(cursors.unstored, Ordering::Relaxed);
        self.cursors.send_if_modified(|old| {
            let changed = old.settled != cursors.settled
                || old.durable != cursors.durable
                || old.in_memory > cursors.in_memory
                || old.unstored > cursors.unstored
                || old.failed.is_some() != cursors.failed.is_some()
                || old.closed != cursors.closed;
            *old = cursors;
            changed
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The only foreign code under this lock encodes a frame; what it left
        // half done in a panic, the next append cuts off.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measured<T>(&self, job: &Job, work: impl FnOnce() -> T) -> T {
        let began = now();
        let span = debug_span!(parent: &self.span, "amps.store", work = job.name());
        let result = span.in_scope(work);
        self.measures.tell(&Measure::Stored { took: now().saturating_duration_since(began) });
        result
    }

    /// The store thread's life: one job after another, each outside the lock.
    fn run(&self, mut store: SegmentStore) {
        loop {
            let mut state = self.lock();
            let (job, last) = loop {
                if let Some(job) = state.log.next_job() {
                    break (job, false);
                }
                if state.stop {
                    match state.log.closing_job() {
                        Some(job) => break (job, true),
                        None => return,
                    }
                }
                state.store_idle = true;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            drop(state);
            let result = self.measured(&job, || store.run(&job));
            if let Err(error) = &result {
                tracing::error!(%error, "the publish store failed; nothing past what was durable is promised or sent");
            }
            // So that nobody but the log holds its frames.
            drop(job);
            let mut state = self.lock();
            state.log.job_done(result);
            let wake = state.writer_idle && state.log.has_more(u64::MAX);
            state.writer_idle &= !wake;
            let tell = state.log.has_failed_write();
            let cursors = state.log.cursors();
            drop(state);
            self.publish(cursors);
            if wake || tell {
                self.writer.notify_one();
            }
            if last {
                return;
            }
        }
    }
}

impl State {
    fn note_age(&mut self) {
        self.ages.note(self.log.end(), self.log.settled(), now());
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// The thread that owns a [`SegmentStore`].
///
/// Dropping it stores what is left, then ends the thread; that blocks, as
/// [`close`](Self::close) does, which is the same by a name.
#[derive(Debug)]
pub struct StoreThread {
    log: Arc<SharedLog>,
    thread: Option<JoinHandle<()>>,
}

impl StoreThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(log: Arc<SharedLog>, store: SegmentStore) -> std::io::Result<Self> {
        let shared = Arc::clone(&log);
        let thread =
            std::thread::Builder::new().name("amps-publish-store".to_owned()).spawn(move || shared.run(store))?;
        Ok(Self { log, thread: Some(thread) })
    }

    /// Stores what is left and closes the store. Blocks until that is done.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for StoreThread {
    fn drop(&mut self) {
        self.log.lock().stop = true;
        self.log.work.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the publish store's thread panicked");
        }
    }
}
