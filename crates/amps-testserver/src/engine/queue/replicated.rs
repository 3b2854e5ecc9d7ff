//! A queue on several instances (AMPS User Guide, "Replicated Queues").
//!
//! Each message has one owner, at first the instance a client published it to,
//! and nobody else delivers it. An instance whose subscriptions have room tells
//! the owners of messages that would fit what it would take over, and how much;
//! an owner hands over what no subscription of its own can take. That a message
//! left the queue, and that it has another owner, is written to the log, so it
//! survives a restart and reaches every instance behind the message itself.
//!
//! A message is never lost: while its owner is away it waits, unless
//! [proxied transfer](Engine::proxied_transfer) is on. It may be delivered more
//! than once: what an acknowledgement does elsewhere it does when it arrives
//! there, so an owner that returns can deliver what was acknowledged meanwhile,
//! and a publisher that repeats a message at another instance before the first
//! has passed it on gives it two owners. The greater of two [owners](Owner)
//! counts; when one instance asks another for a message, they find out what
//! each takes for its owner and settle it for all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use amps_core::header::FrameWriter;
use amps_core::{Bookmark, Field, Message, planted};

use super::change::{Change, Owner, TOPIC};
use super::deliver::Taker;
use crate::engine::connection::{Connection, Role};
use crate::engine::replicate::WANTS;
use crate::engine::{ConnId, Engine};
use crate::filter::Subject;
use crate::identity::unsequenced_publisher_id;
use crate::log::Entry;

/// So many messages of a queue one instance is asked for at once.
const ASKED_MAX: usize = 512;

/// Per queue: for how many messages there is room, and which would fit, in the
/// order of their delivery.
pub(in crate::engine) type Wants = BTreeMap<String, (u64, Vec<Wanted>)>;

/// A message that is asked for, and how often it was handed over before the one
/// who is asked got it, as far as the one who asks knows.
type Wanted = (Bookmark, u64);

impl Engine {
    /// Makes this instance take over messages of a queue whose owner has no
    /// link to it, or stops that. Answers whether there is such a queue.
    ///
    /// For when the owner is known to be gone: an owner that is alive, or comes
    /// back, may deliver them as well (AMPS User Guide, "Replicated Queues", and
    /// AMPS Configuration Guide, "Manage Queue Transfers"). Default: off.
    pub fn proxied_transfer(&mut self, now: Instant, queue: &str, on: bool) -> bool {
        self.advance(now);
        let found = self.queues.named(queue);
        if let Some(ix) = found {
            let queue = &mut self.queues.list[ix];
            (queue.proxied, queue.stirred) = (on, true);
        }
        self.end_turn();
        found.is_some()
    }

    /// Who owns a message as it comes into a queue, and whether that is this
    /// instance.
    pub(super) fn first_owner(&self, entry: &Entry) -> (Owner, bool) {
        let origin = if entry.direct { Some(&self.queues.own_name) } else { entry.origin.as_ref() };
        let name = origin.cloned().unwrap_or_default();
        let here = name == self.queues.own_name;
        (Owner { transfers: 0, name }, here)
    }

    /// Writes a change to the log. The caller makes it.
    pub(super) fn log_queue_change(&mut self, ix: usize, change: &Change) {
        let topic = format!("{TOPIC}{}", self.queues.list[ix].config.topic);
        let topic = self.topic(&topic);
        // Numbered by each life of the instance by itself: one that lost its log
        // makes changes before it has read again all of an earlier life's, and
        // with one numbering would drop those as duplicates.
        let life = format!("{} {}", self.config.name, self.config.incarnation);
        let publisher = self.log.intern(unsequenced_publisher_id(TOPIC, &life), TOPIC);
        let sequence = self.log.publisher(publisher).highest().max(self.config.incarnation) + 1;
        self.append(Entry {
            publisher,
            topic,
            sequence,
            direct: false,
            origin: None,
            sow_key: None,
            given_key: None,
            expiration: None,
            // Like a deletion it is passed on and replayed to nobody.
            deletes: Some(Box::default()),
            correlation_id: None,
            processed: self.processed_now(),
            body: change.to_string().into(),
        });
    }

    /// Makes the change at a position of the log, if there is one, that came
    /// from another instance or an earlier life.
    pub(in crate::engine) fn apply_queue_change(&mut self, position: usize) {
        let entry = self.log.entry(position);
        let Some(queue) = self.topics.get(entry.topic).name.strip_prefix(TOPIC) else { return };
        let Some((ix, change)) = self.queues.named(queue).zip(Change::parse(&entry.body)) else { return };
        let (Change::Done(bookmark) | Change::Owner(bookmark, _)) = change;
        let Some(position) = self.log.find(bookmark) else { return };
        match change {
            Change::Done(_) if planted::is("queue-done-elsewhere-ignored") => {}
            Change::Done(_) => {
                if let Some(holder) = self.queues.list[ix].remove(position) {
                    self.free(&holder);
                }
            }
            Change::Owner(_, owner) => {
                let here = owner.name == self.queues.own_name;
                self.queues.list[ix].hand_over(position, owner, here, self.now);
            }
        }
    }

    fn change_owner(&mut self, ix: usize, position: usize, owner: Owner) {
        let change = Change::Owner(self.log.bookmark(position), owner.clone());
        self.log_queue_change(ix, &change);
        let here = owner.name == self.queues.own_name;
        if here || !planted::is("queue-handed-over-and-kept") {
            self.queues.list[ix].hand_over(position, owner, here, self.now);
        }
    }

    /// `queue_wants`: what the other end of a link would take over.
    pub(in crate::engine) fn take_wants(&mut self, id: ConnId, message: &Message) -> Option<()> {
        let queue = message.topic()?.into_owned();
        let room = message.number(Field::TopN)?;
        let wanted = parse_wanted(std::str::from_utf8(message.data()).ok()?)?;
        if let Some(ix) = self.queues.named(&queue) {
            for (bookmark, transfers) in &wanted {
                self.settle_owner(ix, *bookmark, *transfers);
            }
            let Role::Destination(destination) = &mut self.connections.get_mut(&id)?.role else { return None };
            destination.wants.insert(queue, (room, wanted));
            self.queues.list[ix].stirred = true;
        }
        Some(())
    }

    /// Another instance takes this one for the owner of a message since it was
    /// handed over that often. The greater of its claim and what is known here
    /// is made known to all. A hand-over is known to all by its own entry.
    fn settle_owner(&mut self, ix: usize, bookmark: Bookmark, transfers: u64) {
        let Some(position) = self.log.find(bookmark) else { return };
        let Some(known) = self.queues.list[ix].owner(position).cloned() else { return };
        let claimed = Owner { transfers, name: self.queues.own_name.clone() };
        if claimed > known {
            self.change_owner(ix, position, claimed);
        } else if claimed < known && known.transfers == 0 {
            self.log_queue_change(ix, &Change::Owner(bookmark, known));
        }
    }

    /// Hands over what nobody here can take to those who asked for it.
    pub(super) fn hand_over_wanted(&mut self, ix: usize) {
        let topic = self.queues.list[ix].config.topic.clone();
        let links: Vec<ConnId> = self.connections.keys().copied().collect();
        for id in links {
            let Some((peer, (mut room, messages))) = self.connections.get_mut(&id).and_then(|c| wanted(c, &topic))
            else {
                continue;
            };
            for (bookmark, _) in messages {
                let Some(position) = self.log.find(bookmark).filter(|_| room > 0) else { continue };
                let Some(owner) = self.queues.list[ix].handable(position).map(|owner| owner.then(&peer)) else {
                    continue;
                };
                self.change_owner(ix, position, owner);
                room -= 1;
            }
            if let Some(Role::Destination(destination)) = self.connections.get_mut(&id).map(|c| &mut c.role)
                && let Some((left, _)) = destination.wants.get_mut(&topic)
            {
                *left = room;
            }
        }
    }

    /// Tells owners what of theirs could be delivered here, and takes it over
    /// where that is to be done without asking.
    pub(super) fn ask_owners(&mut self, ix: usize, takers: &[Taker]) {
        let mut asks = self.could_take(ix, takers);
        let topic = self.queues.list[ix].config.topic.clone();
        let mut changed = Vec::new();
        for (id, connection) in &mut self.connections {
            let Role::Source(source) = &mut connection.role else { continue };
            let ask = asks.remove(source.name()).unwrap_or_default();
            let before = source.asked.get(&topic);
            if before == Some(&ask) || before.is_none() && ask.1.is_empty() {
                continue;
            }
            let list: String = ask.1.iter().map(|(bookmark, transfers)| format!("{bookmark} {transfers}\n")).collect();
            FrameWriter::new(connection.outbox.tail(), WANTS)
                .text(Field::Topic, &topic)
                .number(Field::TopN, ask.0)
                .finish(list.as_bytes());
            source.asked.insert(topic.clone(), ask);
            changed.push(*id);
        }
        changed.into_iter().for_each(|id| self.mark(id));
        if self.queues.list[ix].proxied || planted::is("queue-taken-from-unlinked") {
            // Those whose owners are not linked.
            for (room, messages) in asks.into_values() {
                for (bookmark, _) in messages.into_iter().take(room as usize) {
                    let Some(position) = self.log.find(bookmark) else { continue };
                    let name = self.queues.own_name.clone();
                    let Some(owner) = self.queues.list[ix].owner(position).map(|owner| owner.then(&name)) else {
                        continue;
                    };
                    self.change_owner(ix, position, owner);
                }
            }
        }
    }

    /// What could be delivered here and is not this instance's, by owner.
    fn could_take(&self, ix: usize, takers: &[Taker]) -> BTreeMap<Arc<str>, (u64, Vec<Wanted>)> {
        let queue = &self.queues.list[ix];
        let mut asks = BTreeMap::<Arc<str>, (u64, Vec<Wanted>)>::new();
        let room: u64 = takers.iter().map(Taker::room).sum();
        if takers.is_empty() || !(room > 0 && queue.has_room() || queue.has_barriers()) {
            return asks;
        }
        for (position, owner) in queue.elsewhere() {
            if !queue.passes(position) {
                continue;
            }
            let message = Subject::entry(&self.about, &queue.config.topic, self.log.entry(position), &self.log);
            let able = |taker: &Taker| (taker.room() > 0 || queue.is_barrier(position)) && taker.accepts(&message);
            if takers.iter().any(able) {
                let (most, messages) = asks.entry(owner.name.clone()).or_default();
                *most = room.max(1);
                if messages.len() < ASKED_MAX {
                    messages.push((self.log.bookmark(position), owner.transfers));
                }
            }
        }
        asks
    }
}

/// The body of `queue_wants`: a bookmark and a number on each line.
fn parse_wanted(text: &str) -> Option<Vec<Wanted>> {
    let line = |line: &str| {
        let (bookmark, transfers) = line.split_once(' ')?;
        Some((bookmark.parse().ok()?, transfers.parse().ok()?))
    };
    text.lines().map(line).collect()
}

/// Who is at the other end of a link, and what it would take over of a queue.
fn wanted(connection: &mut Connection, topic: &str) -> Option<(String, (u64, Vec<Wanted>))> {
    let open = connection.close.is_none();
    let Role::Destination(destination) = &mut connection.role else { return None };
    let wants = destination.wants.get(topic).filter(|(room, _)| open && *room > 0)?.clone();
    Some((destination.name().to_owned(), wants))
}
