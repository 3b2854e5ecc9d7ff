//! The open streams of a client, for whoever looks at it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amps_ha::subscriptions::{QueueLook, QueueStats, SubscriptionQueue};

/// The queues of all open streams.
#[derive(Debug, Default)]
pub(crate) struct Listing(Mutex<Streams>);

#[derive(Debug, Default)]
struct Streams {
    next: u64,
    open: BTreeMap<u64, (Arc<str>, Arc<SubscriptionQueue>)>,
    /// The counters of those that were dropped.
    dropped: QueueStats,
}

impl Listing {
    /// Adds the queue of a stream, for as long as what this answers lives.
    pub(crate) fn add(self: &Arc<Self>, id: Arc<str>, queue: Arc<SubscriptionQueue>) -> Listed {
        let mut streams = self.lock();
        let number = streams.next;
        streams.next += 1;
        streams.open.insert(number, (id, queue));
        Listed { listing: Arc::clone(self), number }
    }

    /// How things stand with each, in order of creation, by its id; and the
    /// counters of all there ever were.
    pub(crate) fn look(&self) -> (Vec<(Arc<str>, QueueLook)>, QueueStats) {
        let streams = self.lock();
        let (open, dropped) = (streams.open.values().cloned().collect::<Vec<_>>(), streams.dropped);
        // Each queue has a lock of its own.
        drop(streams);
        let looks: Vec<_> = open.into_iter().map(|(id, queue)| (id, queue.look())).collect();
        let total = looks.iter().fold(dropped, |total, (_, look)| total + look.stats);
        (looks, total)
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a queue on the list.
#[derive(Debug)]
pub(crate) struct Listed {
    listing: Arc<Listing>,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut streams = self.listing.lock();
        if let Some((_, queue)) = streams.open.remove(&self.number) {
            streams.dropped = streams.dropped + queue.stats();
        }
    }
}
