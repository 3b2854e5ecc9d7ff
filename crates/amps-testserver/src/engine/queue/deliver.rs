//! Messages of queues on their way to subscriptions, and leases that end.

use std::sync::Arc;
use std::time::Instant;

use amps_core::planted;

use super::super::content::write_leased;
use super::super::topics::Recipients;
use super::super::wants::Wants;
use super::super::{ConnId, Engine};
use super::Backlog;
use super::state::{End, Holder, Lease};
use crate::faults::Access;
use crate::filter::{Filter, Subject};
use crate::queue_config::{Delivery, Fairness};

/// A subscription that could get a message.
pub(super) struct Taker {
    holder: Holder,
    backlog: Backlog,
    wants: Wants,
    own: Option<Filter>,
    entitled: Option<Filter>,
}

impl Taker {
    pub(super) fn accepts(&self, message: &Subject<'_>) -> bool {
        [&self.own, &self.entitled].into_iter().flatten().all(|filter| filter.accepts(message))
    }

    /// So many more messages it may have leased.
    pub(super) fn room(&self) -> u64 {
        let most = if planted::is("queue-backlog-ignored") { u64::MAX } else { self.backlog.most };
        most.saturating_sub(self.backlog.leased)
    }

    fn has_room(&self) -> bool {
        self.room() > 0
    }
}

impl Engine {
    /// Called at the end of every turn: delivers what the turn made
    /// deliverable.
    pub(in crate::engine) fn serve_queues(&mut self) {
        let Some(now) = self.now.filter(|_| !self.queues.list.is_empty()) else { return };
        loop {
            let generation = self.topics.generation();
            if std::mem::replace(&mut self.queues.seen, generation) != generation {
                self.end_orphaned(now);
                self.queues.list.iter_mut().for_each(|queue| queue.stirred = true);
            }
            let Some(ix) = self.queues.list.iter().position(|queue| queue.stirred) else { return };
            self.queues.list[ix].stirred = false;
            self.serve(ix, now);
            if let Some(at) = self.queues.list[ix].deadline() {
                self.arm(at);
            }
        }
    }

    /// Called when time passed: ends leases and messages whose time is over.
    pub(in crate::engine) fn queues_due(&mut self, now: Instant) {
        for ix in 0..self.queues.list.len() {
            let over = self.queues.list[ix].leases_where(|lease| lease.ends.is_some_and(|ends| ends <= now));
            self.break_leases(ix, &over, now);
            for position in self.queues.list[ix].expired(now) {
                self.dequeue(ix, position);
            }
        }
    }

    /// Ends the leases of subscriptions that are gone.
    fn end_orphaned(&mut self, now: Instant) {
        for ix in 0..self.queues.list.len() {
            let connections = &self.connections;
            let gone = |Lease { holder, .. }: &Lease| {
                let subscriptions = connections.get(&holder.connection).map(|connection| &connection.subscriptions);
                subscriptions.is_none_or(|all| all.iter().all(|s| s.id != holder.subscription || s.backlog.is_none()))
            };
            let orphaned = self.queues.list[ix].leases_where(gone);
            self.break_leases(ix, &orphaned, now);
        }
    }

    fn break_leases(&mut self, ix: usize, positions: &[usize], now: Instant) {
        for position in positions {
            let holder = self.queues.list[ix].holder(*position).flatten().cloned();
            let keeps = self.queues.list[ix].end_lease(*position, End::Broken, now);
            if let Some(holder) = holder {
                self.free(&holder);
            }
            if !keeps {
                self.dequeue(ix, *position);
            }
        }
    }

    /// Delivers what can be delivered of a queue, here or elsewhere.
    fn serve(&mut self, ix: usize, now: Instant) {
        let mut takers = self.takers(ix);
        if !takers.is_empty() {
            self.deliver_queued(ix, &mut takers, now);
        }
        self.hand_over_wanted(ix);
        self.ask_owners(ix, &takers);
    }

    fn deliver_queued(&mut self, ix: usize, takers: &mut [Taker], now: Instant) {
        let topic = self.queues.list[ix].config.topic.clone();
        let mut place = None;
        while let Some(next) = self.queues.list[ix].next_available(place) {
            place = Some(next);
            let position = next.1;
            let queue = &self.queues.list[ix];
            let taken = queue.has_room() && takers.iter().any(Taker::has_room);
            if !taken && !queue.has_barriers() {
                break;
            }
            if !queue.passes(position) || !taken && !queue.is_barrier(position) {
                continue;
            }
            let entry = self.log.entry(position);
            let (body, client) = (entry.body.clone(), Arc::clone(&self.log.publisher(entry.publisher).name));
            let instance = self.about.clone();
            let message = Subject::new(&instance, &topic, &body).by(&client);
            if queue.is_barrier(position) {
                for taker in takers.iter().filter(|taker| taker.accepts(&message)) {
                    self.send_queued(&taker.holder, &topic, position, &taker.wants, None);
                }
                self.dequeue(ix, position);
                continue;
            }
            let able = takers.iter_mut().filter(|taker| taker.has_room() && taker.accepts(&message));
            let Some(taker) = fairest(able, queue.config.fair()) else { continue };
            self.queues.served += 1;
            (taker.backlog.leased, taker.backlog.served) = (taker.backlog.leased + 1, self.queues.served);
            let (holder, backlog, wants) = (taker.holder.clone(), taker.backlog, taker.wants.clone());
            if let Some(own) = self.backlog(holder.connection, &holder.subscription) {
                *own = backlog;
            }
            if self.queues.list[ix].config.delivery == Delivery::AtMostOnce {
                self.journal_dequeued(ix, position);
            }
            let ends = self.queues.list[ix].lease(position, holder.clone(), now);
            self.send_queued(&holder, &topic, position, &wants, ends);
        }
    }

    /// The subscriptions of a queue.
    fn takers(&mut self, ix: usize) -> Vec<Taker> {
        let topic = self.queues.list[ix].config.topic.clone();
        let number = self.topic(&topic);
        let mut takers = Vec::new();
        for (id, connection) in self.connections.iter_mut().filter(|(_, connection)| connection.close.is_none()) {
            let (whose, subscriptions) = connection.readers();
            for subscription in subscriptions {
                let Some(backlog) = subscription.backlog else { continue };
                let right =
                    |name: &str, pattern: &_| self.faults.right(whose, Access::Read, name, pattern, &self.about);
                if !subscription.matches(number, &topic, right) {
                    continue;
                }
                let terms = subscription.terms(number);
                takers.push(Taker {
                    holder: Holder { connection: *id, subscription: subscription.id.clone() },
                    backlog,
                    // By its bookmark a message is acknowledged.
                    wants: Wants { bookmark: true, ..subscription.wants.clone() },
                    own: terms.own.cloned(),
                    entitled: terms.entitled.cloned(),
                });
            }
        }
        takers
    }

    fn send_queued(&mut self, holder: &Holder, topic: &str, position: usize, wants: &Wants, ends: Option<Instant>) {
        let lease = ends.map(|at| self.wall_clock(at));
        let bookmark = Some(self.log.bookmark(position));
        let entry = self.log.entry(position);
        let id: ConnId = holder.connection;
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| connection.close.is_none()) else {
            return;
        };
        let mut to = Recipients::default();
        to.add(&holder.subscription, wants);
        write_leased(connection.outbox.tail(), topic, &to, entry.into(), bookmark, entry.processed, lease);
        self.mark(id);
        self.limit_outbox(id);
    }
}

fn fairest<'t>(able: impl Iterator<Item = &'t mut Taker>, fairness: Fairness) -> Option<&'t mut Taker> {
    able.min_by(|a, b| {
        let (a, b) = (a.backlog, b.backlog);
        // Which fraction is smaller, without dividing.
        let used = (u128::from(a.leased) * u128::from(b.most)).cmp(&(u128::from(b.leased) * u128::from(a.most)));
        let waited = a.served.cmp(&b.served);
        match fairness {
            Fairness::Proportional => used.then(waited),
            Fairness::RoundRobin => waited,
        }
    })
}
