mod look;
mod overflow;

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use amps_core::{Bookmark, Message, Messages, planted};
use tokio::sync::{Notify, broadcast};

use super::acks::{AckBatching, QueueAcks};
use super::conflation::{self, Conflation};
use super::item::{EndCause, Item, OnFull, QueueLimits, QueueStats, Waiting};
use crate::bookmarks::store::ChangeSource;
use crate::bookmarks::{BookmarkState, Bookmarks, Receipt};
use crate::error::CommandError;
pub use look::{About, QueueLook};

/// How many items a reader takes at a time, or the messages of one read.
const TAKE: usize = 256;

/// With so many items waiting, the consumer is behind: then a few messages of
/// a read that brought others too are copied out, or each would keep the whole
/// read alive.
const CROWDED: usize = 256;

/// Fewer bytes than this are a few messages.
const SMALL: usize = 16 * 1024;

/// So many discards wait at most.
const DISCARDS: usize = 256;

/// The bounded queue between the connection's reader and a subscription's
/// stream, with the subscription's bookmark state.
pub struct SubscriptionQueue {
    limits: QueueLimits,
    /// What becomes of messages there is no room for, and the topic, for an error.
    on_full: (OnFull, String),
    driver: Arc<Notify>,
    /// Copies of duplicates go there.
    duplicates: Option<broadcast::Sender<Message>>,
    has_bookmarks: bool,
    state: Mutex<State>,
    /// Locked after `state` where both are.
    discards: Mutex<Discards>,
    /// Acknowledgements of a queue's messages. Locked by itself.
    acks: Mutex<QueueAcks>,
    /// What it is for. Locked by itself.
    about: Mutex<About>,
}

/// What the application discarded and the bookmarks do not know yet. Apart, so
/// that discarding a message does not wait for a whole read to be queued.
#[derive(Default)]
struct Discards {
    waiting: Vec<Bookmark>,
    /// A bookmark store was told that there are changes for it to take.
    announced: bool,
}

struct State {
    waiting: VecDeque<Waiting>,
    /// It is complete with so many messages.
    most: u64,
    /// Set when newer messages take the place of older ones; each then waits
    /// by itself.
    conflation: Option<Conflation>,
    /// What waits: items and bytes of frames.
    held: (usize, usize),
    /// The same of what the reader took last and may still have.
    taken: (usize, usize),
    /// Those but for what [`Discards`] still holds.
    bookmarks: Option<Bookmarks>,
    /// Empty; its memory is swapped with that of [`Discards`].
    discards: Vec<Bookmark>,
    ended: Option<EndCause>,
    end_reported: bool,
    abandoned: bool,
    /// The connection's reader stopped for this queue.
    refused: bool,
    /// Since when it has never taken everything there was for it.
    full_since: Option<Instant>,
    waker: Option<Waker>,
    stats: QueueStats,
}

impl fmt::Debug for SubscriptionQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (items, bytes) = self.lock().held;
        f.debug_struct("SubscriptionQueue").field("items", &items).field("bytes", &bytes).finish()
    }
}

impl SubscriptionQueue {
    /// An empty queue. `driver` is woken when a full queue has room again.
    pub fn new(limits: QueueLimits, bookmarks: Option<Bookmarks>, driver: Arc<Notify>) -> Self {
        let has_bookmarks = bookmarks.is_some();
        let state = State {
            waiting: VecDeque::new(),
            most: u64::MAX,
            conflation: None,
            held: (0, 0),
            taken: (0, 0),
            bookmarks,
            discards: Vec::new(),
            ended: None,
            end_reported: false,
            abandoned: false,
            refused: false,
            full_since: None,
            waker: None,
            stats: QueueStats::default(),
        };
        Self {
            limits,
            on_full: Default::default(),
            driver,
            duplicates: None,
            has_bookmarks,
            state: Mutex::new(state),
            discards: Mutex::default(),
            acks: Mutex::default(),
            about: Mutex::default(),
        }
    }

    /// Ends it, complete, behind so many messages.
    #[must_use]
    pub fn at_most(self, messages: Option<u64>) -> Self {
        self.lock().most = messages.unwrap_or(u64::MAX);
        self
    }

    /// A message that is not read yet is replaced, at its place, by a newer one
    /// with the same SOW key. Not together with bookmarks.
    #[must_use]
    pub fn conflating(self, conflates: bool) -> Self {
        self.lock().conflation = conflates.then(Conflation::default);
        self
    }

    /// What becomes of messages there is no room for, in the queue of a
    /// subscription to this topic.
    #[must_use]
    pub fn when_full(mut self, on_full: OnFull, topic: &str) -> Self {
        self.on_full = (on_full, topic.to_owned());
        self
    }

    /// Sends copies of the messages that were delivered or discarded before
    /// there, while somebody listens.
    #[must_use]
    pub fn duplicates_to(mut self, duplicates: broadcast::Sender<Message>) -> Self {
        self.duplicates = Some(duplicates);
        self
    }

    /// Sends the acknowledgements of a queue's messages in such batches.
    #[must_use]
    pub fn ack_batching(mut self, batching: AckBatching) -> Self {
        self.acks = Mutex::new(QueueAcks::new(batching));
        self
    }

    /// Does something with the acknowledgements of a queue's messages.
    pub fn with_acks<T>(&self, act: impl FnOnce(&mut QueueAcks) -> T) -> T {
        act(&mut self.acks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues messages that came one behind the other, but not those that were
    /// delivered before. Answers the first there was no room for: keep it and
    /// stop reading, unless the queue [has ended](Self::has_ended). A larger message
    /// than the whole bound is let into an empty queue; a consumer that is gone takes
    /// everything.
    pub fn push_messages(&self, now: Instant, messages: &Messages, range: Range<usize>) -> usize {
        let mut state = self.lock();
        if state.is_over() {
            return range.end;
        }
        if state.conflation.is_some() {
            let end = state.conflate(&self.limits, messages, range.clone());
            self.full(now, &mut state, end < range.end);
            wake(state);
            return end;
        }
        if self.on_full.0 == OnFull::DropOldest {
            state.push(now, messages, range.clone(), false);
            state.drop_oldest(&self.limits);
            wake(state);
            return range.end;
        }
        let end = state.fitting(&self.limits, messages, range.clone());
        let is_full = end < range.end;
        if end > range.start {
            let listener = self.duplicates.as_ref().filter(|listener| listener.receiver_count() > 0);
            let duplicates = state.push(now, messages, range.start..end, listener.is_some());
            self.full(now, &mut state, is_full);
            wake(state);
            if let Some(listener) = listener {
                for message in duplicates {
                    let _ = listener.send(message);
                }
            }
        } else {
            self.full(now, &mut state, is_full);
            wake(state);
        }
        end
    }

    /// There was no room, if `is_full`: the reader stops, or this ends.
    fn full(&self, now: Instant, state: &mut State, is_full: bool) {
        match &self.on_full {
            (OnFull::End, topic) if is_full => {
                let error = CommandError::QueueFull { topic: topic.clone() };
                state.ended.get_or_insert(EndCause::Failed(error));
            }
            _ => state.note_refused(now, is_full),
        }
    }

    /// Whether nothing more is taken in.
    pub fn has_ended(&self) -> bool {
        self.lock().is_over()
    }

    /// Queues something that is not a message; there is always room for it. Of
    /// several reconnects in a row only the last is kept, so that a consumer
    /// who does not read costs no memory.
    pub fn push_control(&self, item: Item) {
        let mut state = self.lock();
        if state.is_over() {
            return;
        }
        if let (Item::Reconnected { .. }, Some(Waiting::Control(Item::Reconnected { .. }))) =
            (&item, state.waiting.back())
        {
            state.waiting.pop_back();
            state.held.0 -= 1;
        }
        state.append(Waiting::Control(item));
        if let Some(conflation) = &mut state.conflation {
            conflation.separate();
        }
        wake(state);
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
        state.waiting.clear();
        state.conflation = None;
        state.held = (0, 0);
        let refused = std::mem::take(&mut state.refused);
        drop(state);
        if refused {
            self.driver.notify_one();
        }
    }

    /// Moves the next items to `to`, which is empty and whose items are now
    /// consumed. For the one [`QueueReader`](super::QueueReader).
    pub(super) fn poll_take(
        &self,
        context: &mut Context<'_>,
        to: &mut VecDeque<Waiting>,
    ) -> Poll<Option<Result<(), CommandError>>> {
        let mut state = self.lock();
        state.take(to, self.on_full.0 == OnFull::DropOldest);
        // Half empty, so that reader and consumer do not take turns for every
        // single message.
        let (items, bytes) = state.size();
        let room = items <= self.limits.messages / 2 && bytes <= self.limits.bytes / 2;
        if (room || items == 0) && std::mem::take(&mut state.refused) {
            self.driver.notify_one();
        }
        if !to.is_empty() {
            return Poll::Ready(Some(Ok(())));
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

    /// Whether this is a bookmark subscription.
    pub fn has_bookmarks(&self) -> bool {
        self.has_bookmarks
    }

    /// Does something with the bookmark state, if this is a bookmark
    /// subscription.
    pub fn with_bookmarks<T>(&self, act: impl FnOnce(&mut Bookmarks) -> T) -> Option<T> {
        let mut state = self.lock();
        self.take_discards(&mut state);
        state.bookmarks.as_mut().map(act)
    }

    /// The application is done with a message; see [`Bookmarks::discard`].
    /// `announce` is called when a store has to be told that there are changes
    /// to [take](ChangeSource::take_changes): the first since it last took them.
    pub fn discard(&self, bookmark: Bookmark, announce: impl FnOnce()) {
        if !self.has_bookmarks {
            return;
        }
        let mut discards = self.lock_discards();
        discards.waiting.push(bookmark);
        if !std::mem::replace(&mut discards.announced, true) {
            // Under the lock, so that nobody who discards later finds the
            // store not told yet.
            announce();
        }
        let many = discards.waiting.len() >= DISCARDS;
        drop(discards);
        if many {
            self.take_discards(&mut self.lock());
        }
    }

    fn lock_discards(&self) -> MutexGuard<'_, Discards> {
        self.discards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_discards(&self, state: &mut State) {
        let mut discards = self.lock_discards();
        std::mem::swap(&mut discards.waiting, &mut state.discards);
        drop(discards);
        state.settle_discards();
    }

    /// Items waiting, without those a reader has taken.
    pub fn len(&self) -> usize {
        self.lock().held.0
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

impl ChangeSource for SubscriptionQueue {
    fn take_changes(&self) -> BookmarkState {
        // First, so that what is discarded from here on is announced again.
        self.lock_discards().announced = false;
        self.with_bookmarks(Bookmarks::take_changes).unwrap_or_default()
    }
}

impl State {
    fn settle_discards(&mut self) {
        for bookmark in self.discards.drain(..) {
            if let Some(bookmarks) = &mut self.bookmarks {
                bookmarks.discard(bookmark);
            }
        }
    }

    /// Whether there was more than fits.
    fn note_refused(&mut self, now: Instant, refused: bool) {
        self.refused |= refused;
        match refused {
            true => drop(self.full_since.get_or_insert(now)),
            false => self.full_since = None,
        }
    }

    /// Nothing more is taken in.
    fn is_over(&self) -> bool {
        self.abandoned || self.ended.is_some()
    }

    /// Items and bytes that count against the bounds.
    fn size(&self) -> (usize, usize) {
        (self.held.0 + self.taken.0, self.held.1 + self.taken.1)
    }

    /// The first of the messages there is no room for.
    fn fitting(&self, limits: &QueueLimits, messages: &Messages, range: Range<usize>) -> usize {
        if planted::is("queue-bound-ignored") {
            return range.end;
        }
        let (items, mut bytes) = self.size();
        let most = range.end.min(range.start + limits.messages.saturating_sub(items).max(usize::from(items == 0)));
        if bytes + messages.span(range.start..most).len() <= limits.bytes {
            return most;
        }
        let fits = |index: &usize| {
            let first = items == 0 && *index == range.start;
            bytes += messages.size(*index);
            first || bytes <= limits.bytes
        };
        range.start + (range.start..most).take_while(fits).count()
    }

    /// Answers copies of the duplicates, if they are wanted.
    fn push(&mut self, now: Instant, messages: &Messages, range: Range<usize>, wanted: bool) -> Vec<Message> {
        let copied = self.held.0 >= CROWDED && messages.span(range.clone()).len() < SMALL;
        let (messages, range) = match copied {
            true => (messages.copy(range.clone()), 0..range.len()),
            false => (messages.clone(), range),
        };
        let Some(bookmarks) = &mut self.bookmarks else {
            self.deliver(&messages, range);
            return Vec::new();
        };
        let is_duplicate = |index: &usize| {
            messages.bookmarks()[*index].is_some_and(|bookmark| bookmarks.receive(now, bookmark) == Receipt::Duplicate)
                && !planted::is("duplicates-delivered")
        };
        let duplicates: Vec<usize> = range.clone().filter(is_duplicate).collect();
        self.stats.duplicates += duplicates.len() as u64;
        let mut start = range.start;
        for index in &duplicates {
            self.deliver(&messages, start..*index);
            start = index + 1;
        }
        self.deliver(&messages, start..range.end);
        duplicates.into_iter().filter(|_| wanted).map(|index| messages.get(index).detached()).collect()
    }

    fn deliver(&mut self, messages: &Messages, mut range: Range<usize>) {
        let left = self.most - self.stats.delivered;
        if range.len() as u64 >= left {
            range.end = range.start + left as usize;
            self.ended.get_or_insert(EndCause::Complete);
        }
        if !range.is_empty() {
            self.stats.delivered += range.len() as u64;
            self.append(Waiting::Messages(messages.clone(), range));
        }
    }

    fn append(&mut self, waiting: Waiting) {
        self.held.0 += waiting.len();
        self.held.1 += waiting.bytes();
        self.waiting.push_back(waiting);
    }

    /// Queues messages one by one, in the place of older ones where there are
    /// such. Answers the first there was no room for.
    fn conflate(&mut self, limits: &QueueLimits, messages: &Messages, range: Range<usize>) -> usize {
        for index in range.clone() {
            let key = conflation::key(messages, index);
            let place = key.zip(self.conflation.as_ref()).and_then(|(key, conflation)| conflation.place(key));
            let (items, bytes) = self.size();
            let replaced = place.map_or(0, |place| self.waiting[place].bytes());
            let grown = bytes - replaced + messages.size(index);
            let fits = place.is_some() || items < limits.messages;
            // The only one that waits is let in whatever its size.
            let alone = items == usize::from(place.is_some());
            let room = alone || fits && grown <= limits.bytes;
            if !room {
                return index;
            }
            // Copied: one message is not to keep its whole read alive.
            let message = Waiting::Messages(messages.copy(index..index + 1), 0..1);
            match place {
                Some(_) if planted::is("conflation-keeps-older") => {}
                Some(place) => {
                    self.held.1 = self.held.1 - replaced + message.bytes();
                    self.waiting[place] = message;
                    self.stats.conflated += 1;
                }
                None => {
                    let place = self.waiting.len();
                    if let Some((key, conflation)) = key.zip(self.conflation.as_mut()) {
                        conflation.waits(key, place);
                    }
                    self.stats.delivered += 1;
                    self.append(message);
                }
            }
        }
        range.end
    }

    /// Takes what waits. What a reader has taken nothing replaces any more, and
    /// it is not dropped: one by one then.
    fn take(&mut self, to: &mut VecDeque<Waiting>, may_drop: bool) {
        self.taken = (0, 0);
        let most = if self.conflation.is_some() || may_drop { 1 } else { TAKE };
        while self.taken.0 < most
            && let Some(waiting) = self.waiting.pop_front()
        {
            let waiting = if may_drop { self.first_of(waiting) } else { waiting };
            if let Some(conflation) = &mut self.conflation {
                conflation.took(&waiting);
            }
            self.taken.0 += waiting.len();
            self.taken.1 += waiting.bytes();
            to.push_back(waiting);
        }
        self.held.0 -= self.taken.0;
        self.held.1 -= self.taken.1;
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
