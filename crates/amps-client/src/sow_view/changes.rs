use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use amps_ha::view::{Change, Records};
use futures_core::Stream;

use super::shared::{Shared, lock};
use super::state::ViewState;

/// What happens to a [`SowView`](crate::SowView), in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum ViewEvent<K, V> {
    /// What follows changes these records. The first event of all, and again when
    /// this listener was too slow: then these take the place of what it had.
    Start {
        /// All records.
        records: Records<K, V>,
        /// How the view stands.
        state: ViewState,
        /// Events that were left out before this.
        missed: u64,
    },
    /// A record changed.
    Change(Change<K, V>),
    /// The view stands otherwise.
    State(ViewState),
}

impl<K: Clone, V> Clone for ViewEvent<K, V> {
    fn clone(&self) -> Self {
        match self {
            Self::Start { records, state, missed } => {
                Self::Start { records: Arc::clone(records), state: state.clone(), missed: *missed }
            }
            Self::Change(change) => Self::Change(change.clone()),
            Self::State(state) => Self::State(state.clone()),
        }
    }
}

impl<K: Clone, V> From<&Change<K, V>> for ViewEvent<K, V> {
    fn from(change: &Change<K, V>) -> Self {
        Self::Change(change.clone())
    }
}

/// What waits for one listener.
pub(super) struct Listener<K, V> {
    waiting: VecDeque<ViewEvent<K, V>>,
    bound: usize,
    /// Events that were not kept for it. While there are such, none are.
    missed: u64,
    ended: bool,
    waker: Option<Waker>,
}

impl<K, V> Listener<K, V> {
    /// Answers who has to be woken.
    pub(super) fn push(&mut self, events: impl IntoIterator<Item = ViewEvent<K, V>>) -> Option<Waker> {
        for event in events {
            self.ended |= matches!(&event, ViewEvent::State(state) if state.is_ended());
            if self.missed == 0 && self.waiting.len() < self.bound {
                self.waiting.push_back(event);
            } else {
                let kept = self.waiting.drain(..).filter(|event| !matches!(event, ViewEvent::Start { .. }));
                self.missed += 1 + kept.count() as u64;
            }
        }
        self.waker.take()
    }
}

/// The changes of a [`SowView`](crate::SowView), from when it was
/// [asked for](crate::SowView::changes). A [`Stream`] that ends with the view.
///
/// So many events wait for a listener at most as
/// [`listener_bound`](crate::SowViewBuilder::listener_bound) says. One that falls
/// further behind holds nothing up: it gets [`ViewEvent::Start`] again, with the
/// records as they then are and how many events that leaves out.
pub struct ViewChanges<K, V> {
    shared: Arc<Shared<K, V>>,
    listener: Arc<Mutex<Listener<K, V>>>,
}

impl<K: Ord + Clone, V: PartialEq> ViewChanges<K, V> {
    pub(super) fn new(shared: Arc<Shared<K, V>>) -> Self {
        let mut inside = shared.inside_mut();
        let state = shared.state();
        let ended = state.is_ended();
        let start = ViewEvent::Start { records: Arc::clone(inside.view.records()), state, missed: 0 };
        let waiting = VecDeque::from([start]);
        let listener = Listener { waiting, bound: shared.bound(), missed: 0, ended, waker: None };
        let listener = Arc::new(Mutex::new(listener));
        inside.listeners.push(Arc::clone(&listener));
        drop(inside);
        Self { shared, listener }
    }

    /// The next event; `None` behind the last.
    ///
    /// # Cancel safety
    /// Safe: no event is lost.
    pub async fn next(&mut self) -> Option<ViewEvent<K, V>> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &Context<'_>) -> Poll<Option<ViewEvent<K, V>>> {
        let mut listener = lock(&self.listener);
        if let Some(event) = listener.waiting.pop_front() {
            return Poll::Ready(Some(event));
        }
        if listener.missed > 0 {
            // In order of locks.
            drop(listener);
            let inside = self.shared.inside();
            let missed = std::mem::take(&mut lock(&self.listener).missed);
            let (records, state) = (Arc::clone(inside.view.records()), self.shared.state());
            return Poll::Ready(Some(ViewEvent::Start { records, state, missed }));
        }
        if listener.ended {
            return Poll::Ready(None);
        }
        listener.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<K: Ord + Clone, V: PartialEq> Stream for ViewChanges<K, V> {
    type Item = ViewEvent<K, V>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(context)
    }
}

impl<K, V> fmt::Debug for ViewChanges<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = lock(&self.listener).waiting.len();
        f.debug_struct("ViewChanges").field("waiting", &waiting).finish_non_exhaustive()
    }
}
