use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use amps_core::{Bookmark, Message, Messages, Uri};
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

/// How many items a reader takes at a time.
const TAKE: usize = 256;

/// With so many items waiting, the consumer is behind: then a few messages of
/// a read that brought others too are copied out, or each would keep the whole
/// read alive.
const CROWDED: usize = 256;

/// Fewer bytes than this are a few messages.
const SMALL: usize = 16 * 1024;

/// What a reader gets.
pub type Taken = Result<Item, CommandError>;

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
    /// What the reader took last and may still have: items and bytes.
    taken: (usize, usize),
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
            taken: (0, 0),
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
        if state.is_over() {
            return Delivery::Gone;
        }
        let delivery = state.offer(now, &self.limits, message.size(), || message.bookmark(), || message.clone());
        wake(state);
        delivery
    }

    /// The same for messages that came one behind the other. Answers the first
    /// that found no room, the end of `range` when there was none.
    pub fn push_messages(&self, now: Instant, messages: &Messages, range: Range<usize>) -> usize {
        let mut state = self.lock();
        if state.is_over() {
            return range.end;
        }
        let crowded = state.items.len() >= CROWDED && messages.span(range.clone()).len() < SMALL;
        let copy = crowded.then(|| messages.copy(range.clone()));
        for index in range.clone() {
            let (from, at) = copy.as_ref().map_or((messages, index), |copy| (copy, index - range.start));
            if state.offer(now, &self.limits, from.size(at), || from.bookmark(at), || from.get(at)) == Delivery::Full {
                wake(state);
                return index;
            }
        }
        wake(state);
        range.end
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

    /// The next item, and in `more` some that follow; see [`QueueReader`].
    fn poll_take(&self, context: &mut Context<'_>, more: &mut VecDeque<Item>) -> Poll<Option<Taken>> {
        let mut state = self.lock();
        state.take(more);
        // Half empty, so that reader and consumer do not take turns for every
        // single message.
        let (items, bytes) = (state.items.len() + state.taken.0, state.bytes + state.taken.1);
        let room = items <= self.limits.messages / 2 && bytes <= self.limits.bytes / 2;
        if (room || items == 0) && std::mem::take(&mut state.refused) {
            self.driver.notify_one();
        }
        if let Some(item) = more.pop_front() {
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

    /// Items waiting, without those a reader has taken.
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

impl State {
    /// Nothing more is taken in.
    fn is_over(&self) -> bool {
        self.abandoned || self.ended.is_some()
    }

    fn offer(
        &mut self,
        now: Instant,
        limits: &QueueLimits,
        size: usize,
        bookmark: impl FnOnce() -> Option<Bookmark>,
        message: impl FnOnce() -> Message,
    ) -> Delivery {
        let (items, bytes) = (self.items.len() + self.taken.0, self.bytes + self.taken.1);
        if items > 0 && (items >= limits.messages || bytes + size > limits.bytes) {
            self.refused = true;
            return Delivery::Full;
        }
        if let Some(bookmarks) = &mut self.bookmarks
            && let Some(bookmark) = bookmark()
            && bookmarks.receive(now, bookmark) == Receipt::Duplicate
        {
            self.stats.duplicates += 1;
            return Delivery::Duplicate;
        }
        self.stats.delivered += 1;
        self.bytes += size;
        self.items.push_back(Item::Message(message()));
        Delivery::Queued
    }

    /// What was taken before is consumed; moves the next items to `more`,
    /// which is empty.
    fn take(&mut self, more: &mut VecDeque<Item>) {
        if self.items.len() <= TAKE {
            std::mem::swap(&mut self.items, more);
            self.taken = (more.len(), std::mem::take(&mut self.bytes));
            return;
        }
        more.extend(self.items.drain(..TAKE));
        let bytes = more.iter().map(|item| if let Item::Message(message) = item { message.size() } else { 0 }).sum();
        self.taken = (more.len(), bytes);
        self.bytes -= bytes;
    }
}

/// The consuming end of a [`SubscriptionQueue`]. There is one: it takes items
/// out some hundred at a time, so that a flood does not cost a lock a message.
/// They count as waiting until it comes back for more.
#[derive(Debug)]
pub struct QueueReader {
    queue: Arc<SubscriptionQueue>,
    taken: VecDeque<Item>,
}

impl QueueReader {
    /// The reader of `queue`.
    pub fn new(queue: Arc<SubscriptionQueue>) -> Self {
        Self { queue, taken: VecDeque::new() }
    }

    /// The queue.
    pub fn queue(&self) -> &Arc<SubscriptionQueue> {
        &self.queue
    }

    /// Items waiting.
    pub fn depth(&self) -> usize {
        self.taken.len() + self.queue.len()
    }

    /// The next item, in order; `None` behind the last. An error is the last
    /// but one answer.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Taken>> {
        match self.taken.pop_front() {
            Some(item) => Poll::Ready(Some(Ok(item))),
            None => self.queue.poll_take(context, &mut self.taken),
        }
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
