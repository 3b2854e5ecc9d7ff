//! One queue by itself: what is in it, and who holds what. Positions are those
//! of the messages in the log.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Instant;

use amps_core::planted;

use super::super::ConnId;
use super::change::Owner;
use crate::queue_config::{Delivery, QueueConfig};

/// Where a message stands among those that wait: by priority, then in order.
pub(super) type Place = (Reverse<u64>, usize);

/// The subscription that has a message leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) connection: ConnId,
    pub(super) subscription: String,
}

/// A message given to a subscription.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) holder: Holder,
    /// `None`: it lasts until it is acknowledged.
    pub(super) ends: Option<Instant>,
}

#[derive(Debug)]
struct Item {
    /// Who may deliver it, and whether that is this instance.
    owner: Owner,
    here: bool,
    priority: u64,
    deliveries: u32,
    cancels: u32,
    /// Since when nobody has had it leased; `None` until somebody told the time.
    waits_since: Option<Instant>,
}

/// The end of a lease without an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Its time was over, or its holder is gone.
    Broken,
    /// Its holder gave the message back.
    Cancelled,
}

/// A queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) config: QueueConfig,
    items: BTreeMap<usize, Item>,
    /// Those that nobody has leased, in the order in which they are delivered.
    available: BTreeSet<Place>,
    /// Those that another instance has to deliver.
    elsewhere: BTreeSet<Place>,
    /// Those of them that are for everybody, once all before them are gone.
    barriers: BTreeSet<usize>,
    leases: BTreeMap<usize, Lease>,
    /// Takes over what instances that cannot be reached own.
    pub(super) proxied: bool,
    /// Something may be deliverable that was not.
    pub(super) stirred: bool,
}

impl Queue {
    pub(super) fn new(config: QueueConfig) -> Self {
        Self {
            config,
            items: BTreeMap::new(),
            available: BTreeSet::new(),
            elsewhere: BTreeSet::new(),
            barriers: BTreeSet::new(),
            leases: BTreeMap::new(),
            proxied: false,
            stirred: false,
        }
    }

    /// Messages that are in it, leased or not.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Messages that are leased.
    pub(super) fn leased(&self) -> usize {
        self.leases.len()
    }

    /// The positions of all messages in it.
    pub(super) fn positions(&self) -> Vec<usize> {
        self.items.keys().copied().collect()
    }

    /// The first message nobody has leased behind another, in the order of their
    /// delivery.
    pub(super) fn next_available(&self, after: Option<Place>) -> Option<Place> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.available.range((after, Bound::Unbounded)).next().copied()
    }

    /// The messages nobody has leased, in the order of their delivery.
    pub(super) fn available(&self) -> impl Iterator<Item = usize> {
        self.available.iter().map(|(_, position)| *position)
    }

    /// Messages that another instance has to deliver and that are not leased
    /// here, in the order of their delivery, each with its owner.
    pub(super) fn elsewhere(&self) -> impl Iterator<Item = (usize, &Owner)> {
        self.elsewhere.iter().filter_map(|(_, position)| Some((*position, &self.items.get(position)?.owner)))
    }

    /// How many there are of those.
    pub(super) fn elsewhere_len(&self) -> usize {
        self.elsewhere.len()
    }

    /// The owner of a message.
    pub(super) fn owner(&self, position: usize) -> Option<&Owner> {
        self.items.get(&position).map(|item| &item.owner)
    }

    /// The owner of a message that could be handed over now.
    pub(super) fn handable(&self, position: usize) -> Option<&Owner> {
        let item = self.items.get(&position)?;
        let free = self.available.contains(&(Reverse(item.priority), position)) && self.passes(position);
        free.then_some(&item.owner)
    }

    /// A message has another owner, unless a later one is known already.
    pub(super) fn hand_over(&mut self, position: usize, owner: Owner, here: bool, now: Option<Instant>) {
        let Some(item) = self.items.get_mut(&position).filter(|item| item.owner < owner) else { return };
        item.owner = owner;
        if std::mem::replace(&mut item.here, here) != here {
            item.waits_since = now;
            self.settle_place(position);
        }
        self.stirred = true;
    }

    /// Puts a message that nobody has leased where it belongs.
    fn settle_place(&mut self, position: usize) {
        let Some(item) = self.items.get(&position) else { return };
        let place = (Reverse(item.priority), position);
        self.available.remove(&place);
        self.elsewhere.remove(&place);
        if !self.leases.contains_key(&position) {
            let list = if item.here { &mut self.available } else { &mut self.elsewhere };
            list.insert(place);
        }
    }

    /// Whether messages wait that are for everybody.
    pub(super) fn has_barriers(&self) -> bool {
        !self.barriers.is_empty()
    }

    /// Who has a message leased; `None` when it is not here.
    pub(super) fn holder(&self, position: usize) -> Option<Option<&Holder>> {
        self.items.get(&position)?;
        Some(self.leases.get(&position).map(|lease| &lease.holder))
    }

    /// A message was logged.
    pub(super) fn add(
        &mut self,
        position: usize,
        priority: u64,
        barrier: bool,
        owner: (Owner, bool),
        now: Option<Instant>,
    ) {
        let (owner, here) = owner;
        self.items.insert(position, Item { owner, here, priority, deliveries: 0, cancels: 0, waits_since: now });
        self.settle_place(position);
        if barrier {
            self.barriers.insert(position);
        }
        self.stirred = true;
    }

    /// Whether a message is a barrier.
    pub(super) fn is_barrier(&self, position: usize) -> bool {
        self.barriers.contains(&position)
    }

    /// Whether a message may be delivered now, as far as barriers go.
    pub(super) fn passes(&self, position: usize) -> bool {
        match self.barriers.first() {
            Some(barrier) if position == *barrier => {
                self.items.first_key_value().is_some_and(|(first, _)| first == barrier)
            }
            Some(barrier) => position < *barrier,
            None => true,
        }
    }

    /// Whether one more message may be leased.
    pub(super) fn has_room(&self) -> bool {
        self.config.max_backlog.is_none_or(|most| (self.leases.len() as u64) < most)
    }

    /// Gives a message to a subscription; answers when the lease ends.
    pub(super) fn lease(&mut self, position: usize, holder: Holder, now: Instant) -> Option<Instant> {
        let once = self.config.delivery == Delivery::AtMostOnce;
        let ends = self.config.lease.filter(|_| !once).map(|period| now + period);
        let item = self.items.get_mut(&position)?;
        item.deliveries += 1;
        self.leases.insert(position, Lease { holder, ends });
        self.settle_place(position);
        ends
    }

    /// Takes a message out; answers whose lease that ends.
    pub(super) fn remove(&mut self, position: usize) -> Option<Holder> {
        let item = self.items.remove(&position)?;
        self.available.remove(&(Reverse(item.priority), position));
        self.elsewhere.remove(&(Reverse(item.priority), position));
        self.barriers.remove(&position);
        // Room in a backlog, or the last one before a barrier.
        self.stirred = true;
        self.leases.remove(&position).map(|lease| lease.holder)
    }

    /// Ends a lease. `false`: the message may not be delivered again and has to
    /// be removed.
    pub(super) fn end_lease(&mut self, position: usize, end: End, now: Instant) -> bool {
        let Some(item) = self.items.get_mut(&position).filter(|_| self.leases.remove(&position).is_some()) else {
            return true;
        };
        self.stirred = true;
        item.waits_since = Some(now);
        item.cancels += u32::from(end == End::Cancelled);
        let over = |count: u32, most: Option<u32>| most.is_some_and(|most| count >= most);
        let cancelled = self.config.max_cancels.is_some_and(|most| item.cancels > most);
        let once = self.config.delivery == Delivery::AtMostOnce;
        let keeps = !once && !cancelled && !over(item.deliveries, self.config.max_deliveries);
        if keeps && !planted::is("queue-lease-never-ends") {
            self.settle_place(position);
        }
        keeps
    }

    /// Has a lease that ends by time end then.
    pub(super) fn extend(&mut self, position: usize, until: Instant) {
        if let Some(ends) = self.leases.get_mut(&position).and_then(|lease| lease.ends.as_mut()) {
            *ends = until;
        }
    }

    /// Leases for which that holds.
    pub(super) fn leases_where(&self, holds: impl Fn(&Lease) -> bool) -> Vec<usize> {
        self.leases.iter().filter(|(_, lease)| holds(lease)).map(|(position, _)| *position).collect()
    }

    /// Messages that nobody had leased for longer than they live.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<usize> {
        let Some(lifetime) = self.config.expiration else { return Vec::new() };
        let mut expired = Vec::new();
        for (position, item) in &mut self.items {
            let since = *item.waits_since.get_or_insert(now);
            if item.here && !self.leases.contains_key(position) && since + lifetime <= now {
                expired.push(*position);
            }
        }
        expired
    }

    /// When a lease or a message's life next ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let leases = self.leases.values().filter_map(|lease| lease.ends).min();
        let waiting = self.config.expiration.and_then(|lifetime| {
            let since = self.available().filter_map(|position| self.items.get(&position)?.waits_since);
            since.min().map(|since| since + lifetime)
        });
        leases.into_iter().chain(waiting).min()
    }
}
