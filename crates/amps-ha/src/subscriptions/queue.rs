use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use amps_core::{Message, Uri};
use tokio::sync::Notify;

use crate::bookmarks::{Bookmarks, Receipt};
use crate::error::CommandError;

/// Bounds of a subscription's queue. At either the reader stops until the
/// application takes something (policy `block`).
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Messages.
    pub messages: usize,
    /// Bytes of frames.
    pub bytes: usize,
}

impl Default for QueueLimits {
    /// 10,000 messages or 16 MiB.
    fn default() -> Self {
        Self { messages: 10_000, bytes: 16 << 20 }
    }
}

/// What a subscription's consumer gets, in order.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Item {
    /// A message.
    Message(Message),
    /// The records of a query follow.
    SnapshotBegin,
    /// All records of the query were delivered.
    SnapshotEnd,
    /// The connection was lost; what follows comes from this server. For a
    /// bookmark subscription nothing is missing in between; any other missed
    /// what was published meanwhile.
    Reconnected {
        /// The server.
        uri: Uri,
    },
    /// The server knows none of the bookmarks: messages may be missing.
    Gap {
        /// The server.
        uri: Uri,
    },
    /// Another server, too old to say whether it knows the bookmarks.
    GapPossible {
        /// The server.
        uri: Uri,
    },
}

/// Why nothing more will come.
#[derive(Debug, Clone)]
pub enum EndCause {
    /// The query is complete.
    Complete,
    /// It failed.
    Failed(CommandError),
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It waits in the queue.
    Queued,
    /// It was delivered before, or discarded, and is dropped.
    Duplicate,
    /// The queue is full: keep it and stop reading.
    Full,
    /// Nobody listens any more.
    Gone,
}

/// Counters of one subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages queued for the application.
    pub delivered: u64,
    /// Messages dropped because they were delivered or discarded before.
    pub duplicates: u64,
}

/// The bounded queue between the connection's reader and a subscription's
/// stream, with the subscription's bookmark state.
pub struct SubscriptionQueue {
    limits: QueueLimits,
    driver: Arc<Notify>,
    state: Mutex<State>,
}

struct State {
    items: VecDeque<Item>,
    bytes: usize,
    bookmarks: Option<Bookmarks>,
    ended: Option<EndCause>,
    end_reported: bool,
    abandoned: bool,
    /// The reader stopped for this queue.
    refused: bool,
    waker: Option<Waker>,
    stats: QueueStats,
}

impl fmt::Debug for SubscriptionQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("SubscriptionQueue").field("items", &state.items.len()).field("bytes", &state.bytes).finish()
    }
}

impl SubscriptionQueue {
    /// An empty queue. `driver` is woken when a full queue has room again.
    pub fn new(limits: QueueLimits, bookmarks: Option<Bookmarks>, driver: Arc<Notify>) -> Self {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            bookmarks,
            ended: None,
            end_reported: false,
            abandoned: false,
            refused: false,
            waker: None,
            stats: QueueStats::default(),
        };
        Self { limits, driver, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message, unless it was delivered before or there is no room.
    /// A larger message than the whole bound is let into an empty queue.
    pub fn push_message(&self, now: Instant, message: &Message) -> Delivery {
        let mut state = self.lock();
        if state.abandoned || state.ended.is_some() {
            return Delivery::Gone;
        }
        let full = state.items.len() >= self.limits.messages || state.bytes + message.size() > self.limits.bytes;
        if full && !state.items.is_empty() {
            state.refused = true;
            return Delivery::Full;
        }
        if let (Some(bookmarks), Some(bookmark)) = (&mut state.bookmarks, message.bookmark())
            && bookmarks.receive(now, bookmark) == Receipt::Duplicate
        {
            state.stats.duplicates += 1;
            return Delivery::Duplicate;
        }
        state.stats.delivered += 1;
        state.bytes += message.size();
        state.items.push_back(Item::Message(message.clone()));
        wake(state);
        Delivery::Queued
    }

    /// Queues something that is not a message; there is always room for it. Of
    /// several reconnects in a row only the last is kept, so that a consumer
    /// who does not read costs no memory.
    pub fn push_control(&self, item: Item) -> Delivery {
        let mut state = self.lock();
        if state.abandoned || state.ended.is_some() {
            return Delivery::Gone;
        }
        if let (Item::Reconnected { .. }, Some(Item::Reconnected { .. })) = (&item, state.items.back()) {
            state.items.pop_back();
        }
        state.items.push_back(item);
        wake(state);
        Delivery::Queued
    }

    /// Nothing more will come. The first cause stays.
    pub fn end(&self, cause: EndCause) {
        let mut state = self.lock();
        state.ended.get_or_insert(cause);
        wake(state);
    }

    /// The consumer is gone.
    pub fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        state.items.clear();
        state.bytes = 0;
        let refused = std::mem::take(&mut state.refused);
        drop(state);
        if refused {
            self.driver.notify_one();
        }
    }

    /// The next item, in order; `None` behind the last. An error is the last
    /// but one answer.
    pub fn poll_next(&self, context: &mut Context<'_>) -> Poll<Option<Result<Item, CommandError>>> {
        let mut state = self.lock();
        if let Some(item) = state.items.pop_front() {
            if let Item::Message(message) = &item {
                state.bytes -= message.size();
            }
            // Half empty, so that reader and consumer do not take turns for
            // every single message.
            let room = state.items.len() <= self.limits.messages / 2 && state.bytes <= self.limits.bytes / 2;
            let resume = room && std::mem::take(&mut state.refused);
            drop(state);
            if resume {
                self.driver.notify_one();
            }
            return Poll::Ready(Some(Ok(item)));
        }
        match &state.ended {
            Some(EndCause::Failed(error)) if !state.end_reported => {
                let error = error.clone();
                state.end_reported = true;
                Poll::Ready(Some(Err(error)))
            }
            Some(_) => Poll::Ready(None),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Does something with the bookmark state, if this is a bookmark
    /// subscription.
    pub fn with_bookmarks<T>(&self, act: impl FnOnce(&mut Bookmarks) -> T) -> Option<T> {
        self.lock().bookmarks.as_mut().map(act)
    }

    /// Items waiting.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counters.
    pub fn stats(&self) -> QueueStats {
        self.lock().stats
    }
}

/// Wakes the consumer, outside the lock.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
