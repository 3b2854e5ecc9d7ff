//! Message queues (AMPS User Guide, "Message Queues"): which message goes to
//! which subscription, for how long, and what takes it out.

mod acknowledge;
mod change;
mod deliver;
mod replicated;
mod state;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use amps_core::planted;

use self::change::Change;
pub(crate) use self::change::is_queue_change;
pub(super) use self::replicated::Wants;
use self::state::Queue;
use super::interest::Terms;
use super::{ConnId, Engine};
use crate::config::Config;
use crate::faults::{Access, Right};
use crate::fields::Values;
use crate::filter::{Filter, Subject};
use crate::journal::Record;
use crate::log::Entry;
use crate::message_type::MessageType;
use crate::sow::SowRecord;
use crate::topic::TopicPattern;

/// How full a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct QueueDepth {
    /// Messages nobody has leased.
    pub available: usize,
    /// Messages that another instance has to deliver.
    pub elsewhere: usize,
    /// Messages that are leased.
    pub leased: usize,
}

/// A subscription's part in the queues it matches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backlog {
    /// So many messages may be leased at once.
    pub(super) most: u64,
    /// So many are.
    pub(super) leased: u64,
    /// The number of its last message among all that queues delivered.
    pub(super) served: u64,
}

/// All queues of an instance.
#[derive(Debug)]
pub(super) struct Queues {
    list: Vec<Queue>,
    /// The instance's.
    own_name: Arc<str>,
    /// Messages that were delivered so far.
    served: u64,
    /// Subscriptions as of the last look.
    seen: u64,
}

impl Queues {
    /// The queues of a configuration.
    ///
    /// # Errors
    /// One that cannot be.
    pub(super) fn new(config: &Config) -> io::Result<Self> {
        let invalid = |queue: &str, rule: &str| {
            let text = format!("the queue '{queue}' {rule}");
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        };
        for (at, queue) in config.queues.iter().enumerate() {
            if !config.topic_log.iter().any(|pattern| pattern.is_match(&queue.underlying)) {
                return invalid(&queue.topic, "needs the topic it is made of in the transaction log");
            }
            if config.queues[..at].iter().any(|other| other.topic == queue.topic) {
                return invalid(&queue.topic, "is there twice");
            }
            if config.sow.iter().any(|sow| sow.topic == queue.topic) {
                return invalid(&queue.topic, "cannot be a SOW topic as well");
            }
            if queue.priority.as_ref().is_some_and(|path| !path.starts_with('/')) {
                return invalid(&queue.topic, "has a priority that does not start with '/'");
            }
        }
        let list = config.queues.iter().cloned().map(Queue::new).collect();
        Ok(Self { list, own_name: config.name.as_str().into(), served: 0, seen: 0 })
    }

    /// Something changed that may make messages of any deliverable.
    pub(super) fn stir(&mut self) {
        self.list.iter_mut().for_each(|queue| queue.stirred = true);
    }

    /// The queue of that topic.
    fn named(&self, topic: &str) -> Option<usize> {
        self.list.iter().position(|queue| queue.config.topic == topic)
    }

    /// Whether that is the topic of a queue.
    pub(super) fn is_queue(&self, topic: &str) -> bool {
        self.named(topic).is_some()
    }

    /// Whether a pattern matches a queue.
    pub(super) fn matched(&self, pattern: &TopicPattern) -> bool {
        self.list.iter().any(|queue| pattern.matches(&queue.config.topic))
    }

    /// The topic a queue is made of.
    pub(super) fn underlying(&self, topic: &str) -> Option<&str> {
        self.named(topic).map(|ix| self.list[ix].config.underlying.as_str())
    }

    /// What a subscription to that is granted of the backlog it asks for;
    /// `None` when there are no queues in it.
    pub(super) fn granted(&self, pattern: &TopicPattern, asked: Option<u64>) -> Option<u64> {
        let matched = self.list.iter().filter(|queue| pattern.matches(&queue.config.topic));
        let most = matched.map(|queue| queue.config.max_per_subscription_backlog).min()?;
        Some(asked.unwrap_or(1).min(most))
    }

    /// When a lease or a message's life next ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.list.iter().filter_map(Queue::deadline).min()
    }
}

impl Engine {
    /// How full a queue is; `None` when there is none of that topic.
    pub fn queue(&self, topic: &str) -> Option<QueueDepth> {
        let queue = &self.queues.list[self.queues.named(topic)?];
        let (leased, elsewhere) = (queue.leased(), queue.elsewhere_len());
        Some(QueueDepth { available: queue.len() - leased - elsewhere, elsewhere, leased })
    }

    /// The messages of queues that nobody has leased: how many there are, and
    /// those that match. Looking does not take them.
    pub(super) fn browse_queues(
        &self,
        id: ConnId,
        pattern: &TopicPattern,
        own: Option<&Filter>,
    ) -> (u64, Vec<(String, SowRecord)>) {
        let (mut waiting, mut found) = (0, Vec::new());
        for queue in self.queues.list.iter().filter(|queue| pattern.matches(&queue.config.topic)) {
            let topic = &queue.config.topic;
            let right = self.right(id, Access::Read, topic, pattern);
            if right == Right::None {
                continue;
            }
            let entitled = right.filter();
            let terms = Terms { own, entitled: entitled.as_ref() };
            for position in queue.available() {
                waiting += 1;
                let entry = self.log.entry(position);
                if terms.accept(&Subject::entry(&self.about, topic, entry, &self.log)) {
                    let client = Arc::clone(&self.log.publisher(entry.publisher).name);
                    let (key, correlation_id) = (position as u64, entry.correlation_id.clone());
                    let (processed, body) = (entry.processed, entry.body.clone());
                    let (given_key, expires) = (None, None);
                    let number = key;
                    let record = SowRecord { key, given_key, client, correlation_id, processed, number, expires, body };
                    found.push((topic.clone(), record));
                }
            }
        }
        (waiting, found)
    }

    /// A message was logged at that position: queues made of its topic hold it.
    pub(super) fn enqueue(&mut self, position: usize) {
        if self.queues.list.is_empty() {
            return;
        }
        let entry = self.log.entry(position);
        let owner = self.first_owner(entry);
        let topic = &self.topics.get(entry.topic).name;
        for queue in self.queues.list.iter_mut().filter(|queue| queue.config.underlying == **topic) {
            if entry.deletes.is_none() {
                let message_type = self.about.message_type(&queue.config.topic);
                let priority = queue.config.priority.as_deref().map_or(0, |path| priority(message_type, entry, path));
                let subject = Subject::entry(&self.about, &queue.config.topic, entry, &self.log);
                let barrier = queue.config.barrier.as_ref().is_some_and(|filter| filter.accepts(&subject));
                queue.add(position, priority, barrier, owner.clone(), self.now);
            }
        }
    }

    /// What the journal has of a message that left a queue. A queue that is not
    /// configured any more is passed over.
    pub(super) fn recover_dequeued(&mut self, queue: &str, bookmark: amps_core::Bookmark) {
        if let (Some(ix), Some(position)) = (self.queues.named(queue), self.log.find(bookmark)) {
            self.queues.list[ix].remove(position);
        }
    }

    /// Takes a message out of a queue for good.
    fn dequeue(&mut self, ix: usize, position: usize) {
        self.journal_dequeued(ix, position);
        if let Some(holder) = self.queues.list[ix].remove(position) {
            self.free(&holder);
        }
    }

    fn journal_dequeued(&mut self, ix: usize, position: usize) {
        let bookmark = self.log.bookmark(position);
        if planted::is("queue-dequeue-not-kept") {
            return;
        }
        if !self.config.peers.is_empty() {
            return self.log_queue_change(ix, &Change::Done(bookmark));
        }
        let queue = self.queues.list[ix].config.topic.clone();
        self.journal.append(&Record::Dequeued { queue, publisher: bookmark.publisher, sequence: bookmark.sequence });
        self.uncommitted = true;
    }

    /// A subscription has one message less.
    fn free(&mut self, holder: &state::Holder) {
        if let Some(backlog) = self.backlog(holder.connection, &holder.subscription) {
            backlog.leased = backlog.leased.saturating_sub(1);
        }
    }

    fn backlog(&mut self, connection: ConnId, subscription: &str) -> Option<&mut Backlog> {
        let subscriptions = &mut self.connections.get_mut(&connection)?.subscriptions;
        subscriptions.iter_mut().find(|s| s.id == subscription)?.backlog.as_mut()
    }
}

fn priority(message_type: &MessageType, entry: &Entry, path: &str) -> u64 {
    let value = Values::read(message_type, &entry.body).and_then(|values| values.text(path));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}
