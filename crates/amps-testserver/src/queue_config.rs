//! What a message queue is told at its start.

use std::time::Duration;

use crate::filter::Filter;

/// What happens to a message when it is delivered (AMPS User Guide, "Message
/// Queues").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Delivery {
    /// It is leased, and stays in the queue until it is acknowledged. When the
    /// lease ends before, it is delivered again.
    #[default]
    AtLeastOnce,
    /// It leaves the queue. Acknowledging it only makes room in the backlog.
    AtMostOnce,
}

/// Who may acknowledge a leased message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Leasing {
    /// Everybody who may read the queue.
    #[default]
    Sublet,
    /// The connection that holds the lease.
    Strict,
}

/// Who gets a message that several subscriptions could have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fairness {
    /// The one with the largest part of its backlog free.
    Proportional,
    /// The one whose last message is longest ago.
    RoundRobin,
}

/// A message queue: a view of a logged topic in which each message goes to one
/// subscriber.
///
/// ```
/// use std::time::Duration;
/// use amps_testserver::{Config, QueueConfig};
/// let work = QueueConfig::new("work").lease(Duration::from_secs(30)).max_per_subscription_backlog(10);
/// let config = Config::new("A").queue(work);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct QueueConfig {
    /// The queue's topic, literal.
    pub topic: String,
    /// The logged topic whose messages it holds, literal; what is published to
    /// the queue goes there. Default: the queue's own.
    pub underlying: String,
    /// What happens to a message when it is delivered. Default: at least once.
    pub delivery: Delivery,
    /// Who may acknowledge. Default: everybody who may read.
    pub leasing: Leasing,
    /// Who gets the next message. Default: proportional, or round robin when
    /// messages are delivered at most once.
    pub fairness: Option<Fairness>,
    /// How long a lease lasts. Default: until it is acknowledged.
    pub lease: Option<Duration>,
    /// Messages leased at once, over all subscriptions. Default: no limit.
    pub max_backlog: Option<u64>,
    /// Messages one subscription may have leased at once, whatever it asks for.
    /// Default 1.
    pub max_per_subscription_backlog: u64,
    /// How often a message is delivered at most. Default: no limit.
    pub max_deliveries: Option<u32>,
    /// How often a message is given back at most. Default: no limit.
    pub max_cancels: Option<u32>,
    /// How long a message that nobody has leased stays. A restart of the
    /// instance begins anew. Default: for ever.
    pub expiration: Option<Duration>,
    /// A path into the body, such as `/urgency`, where an unsigned number
    /// says what goes first: the highest. Without one it is 0. Default: the
    /// order of publication.
    pub priority: Option<String>,
    /// Messages that match this wait until all before them are acknowledged,
    /// and then go to every subscription, as nothing behind them does before.
    pub barrier: Option<Filter>,
}

impl QueueConfig {
    /// A queue with the defaults.
    pub fn new(topic: impl Into<String>) -> Self {
        let topic = topic.into();
        Self {
            underlying: topic.clone(),
            topic,
            delivery: Delivery::default(),
            leasing: Leasing::default(),
            fairness: None,
            lease: None,
            max_backlog: None,
            max_per_subscription_backlog: 1,
            max_deliveries: None,
            max_cancels: None,
            expiration: None,
            priority: None,
            barrier: None,
        }
    }

    /// Sets the logged topic whose messages it holds.
    #[must_use]
    pub fn underlying(mut self, topic: impl Into<String>) -> Self {
        self.underlying = topic.into();
        self
    }

    /// Messages leave the queue when they are delivered.
    #[must_use]
    pub fn at_most_once(mut self) -> Self {
        self.delivery = Delivery::AtMostOnce;
        self
    }

    /// Sets who may acknowledge.
    #[must_use]
    pub fn leasing(mut self, leasing: Leasing) -> Self {
        self.leasing = leasing;
        self
    }

    /// Sets who gets the next message.
    #[must_use]
    pub fn fairness(mut self, fairness: Fairness) -> Self {
        self.fairness = Some(fairness);
        self
    }

    /// Sets how long a lease lasts.
    #[must_use]
    pub fn lease(mut self, period: Duration) -> Self {
        self.lease = Some(period);
        self
    }

    /// Sets how many messages are leased at once, over all subscriptions.
    #[must_use]
    pub fn max_backlog(mut self, messages: u64) -> Self {
        self.max_backlog = Some(messages);
        self
    }

    /// Sets how many messages one subscription may have leased at once.
    #[must_use]
    pub fn max_per_subscription_backlog(mut self, messages: u64) -> Self {
        self.max_per_subscription_backlog = messages;
        self
    }

    /// Sets how often a message is delivered at most.
    #[must_use]
    pub fn max_deliveries(mut self, times: u32) -> Self {
        self.max_deliveries = Some(times);
        self
    }

    /// Sets how often a message is given back at most.
    #[must_use]
    pub fn max_cancels(mut self, times: u32) -> Self {
        self.max_cancels = Some(times);
        self
    }

    /// Sets how long a message that nobody has leased stays.
    #[must_use]
    pub fn expiration(mut self, lifetime: Duration) -> Self {
        self.expiration = Some(lifetime);
        self
    }

    /// Sets where in the body a message's priority stands.
    #[must_use]
    pub fn priority(mut self, path: impl Into<String>) -> Self {
        self.priority = Some(path.into());
        self
    }

    /// Sets which messages are barriers.
    #[must_use]
    pub fn barrier(mut self, filter: Filter) -> Self {
        self.barrier = Some(filter);
        self
    }

    pub(crate) fn fair(&self) -> Fairness {
        self.fairness.unwrap_or(match self.delivery {
            Delivery::AtLeastOnce => Fairness::Proportional,
            Delivery::AtMostOnce => Fairness::RoundRobin,
        })
    }
}
