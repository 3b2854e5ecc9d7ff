//! Whether a client does its work, and why not.

mod show;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amps_core::{Reason, Uri};
use amps_ha::bookmarks::store::BookmarkStoreError;
use amps_ha::error::Cause;
use amps_ha::event::ConnectionSummary;
use amps_ha::measure::RecoveryPhase;
use amps_ha::publish_log::{LogonRefused, StoreError};
use amps_ha::subscriptions::QueueLook;
use serde::Serialize;

use crate::client::Client;
use crate::report::{seconds, text};
pub(crate) use show::{For, count, one_line};

/// How long a contested name is a reason.
const CONTESTED: Duration = Duration::from_secs(60);

/// Whether a client does its work, and if not, why. See [`Client::health`].
///
/// Shown, it is one line; with serde, an object.
///
/// ```
/// # use amps_client::{Client, HealthStatus};
/// fn is_ready(client: &Client) -> bool {
///     let health = client.health();
///     if health.status != HealthStatus::Ready {
///         eprintln!("{}: {health}", client.name());
///     }
///     health.status == HealthStatus::Ready
/// }
/// ```
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// The worst of the reasons.
    pub status: HealthStatus,
    /// Why it is not ready, the worst first.
    pub reasons: Vec<HealthReason>,
}

/// How well a client does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// Connected and fully recovered, and nothing is wrong.
    Ready,
    /// Connected and fully recovered, but something is wrong.
    Degraded,
    /// Not connected, or nothing can be published.
    Down,
}

/// A reason not to be ready.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthReason {
    /// The client is closed, or gave up for good, or its task has ended.
    Over {
        /// Why.
        #[serde(serialize_with = "text")]
        cause: Cause,
    },
    /// Not connected, and nothing connects it again by itself, since its
    /// disconnect handling was replaced.
    StaysDisconnected {
        /// For how long.
        #[serde(rename = "for_seconds", serialize_with = "seconds")]
        lasting: Duration,
        /// The loss, or the handler's error.
        #[serde(serialize_with = "text")]
        cause: Cause,
    },
    /// Not connected, or not recovered yet.
    NotConnected {
        /// For how long.
        #[serde(rename = "for_seconds", serialize_with = "seconds")]
        lasting: Duration,
        /// What recovery is at, for which server, and which attempt since the
        /// last healthy connection that is, from 1.
        recovering: Option<RecoveringAt>,
    },
    /// Attempts to connect failed since the client last was live.
    AttemptsFailed {
        /// The server, its password masked.
        server: String,
        /// How many.
        attempts: u64,
        /// Why the last did.
        #[serde(serialize_with = "text")]
        cause: Cause,
    },
    /// The client does not go on at a server that lacks messages another one had
    /// acknowledged.
    PublishGap {
        /// The server, its password masked.
        server: String,
        /// Up to where the server knows this client.
        known: u64,
        /// Up to where another one had acknowledged.
        acknowledged: u64,
    },
    /// The publish store failed: nothing is accepted any more.
    PublishStoreFailed {
        /// Why.
        #[serde(serialize_with = "text")]
        error: Arc<StoreError>,
    },
    /// The publish store is nearly full: publishers will wait, or be refused.
    PublishStoreNearlyFull {
        /// Bytes unacknowledged.
        bytes: usize,
        /// The bound on them.
        bytes_bound: usize,
        /// Messages unacknowledged.
        messages: u64,
        /// The bound on them; `u64::MAX` is none.
        messages_bound: u64,
    },
    /// The oldest unacknowledged message is there for long.
    UnacknowledgedOld {
        /// How many there are.
        messages: u64,
        /// How old the oldest is, at most.
        #[serde(rename = "age_seconds", serialize_with = "seconds")]
        age: Duration,
    },
    /// The bookmark store could not be written: what was discarded since may come
    /// again in a new process.
    BookmarkStoreFailed {
        /// Why.
        #[serde(serialize_with = "text")]
        error: BookmarkStoreError,
    },
    /// The queue of a subscription is full: nobody reads it, or not fast enough,
    /// and the connection is not read for it.
    QueueFull {
        /// The subscription's [id](crate::Subscribe::id).
        subscription: String,
        /// Its topic.
        topic: String,
        /// What waits in it.
        messages: usize,
        /// For how long it is full.
        #[serde(rename = "for_seconds", serialize_with = "seconds")]
        lasting: Duration,
    },
    /// Messages of a bookmark subscription are not discarded for long. Only if
    /// [`HealthLimits::undiscarded_age`] asks for it.
    UndiscardedOld {
        /// The subscription's [id](crate::Subscribe::id).
        subscription: String,
        /// How many there are.
        messages: usize,
        /// How old the oldest is, at most.
        #[serde(rename = "age_seconds", serialize_with = "seconds")]
        age: Duration,
    },
    /// A subscription that was active has ended, because a server refused it when
    /// it was entered again. Goes away when one like it is entered.
    SubscriptionRefused {
        /// Its topic.
        topic: String,
        /// Its filter.
        filter: Option<String>,
        /// The server, its password masked.
        #[serde(serialize_with = "text")]
        server: Uri,
        /// What the server said.
        #[serde(serialize_with = "text")]
        cause: Reason,
    },
    /// Another client probably uses the same name: a server closed several
    /// connections soon after their logons. A reason for a minute.
    NameContested {
        /// The server, its password masked.
        #[serde(serialize_with = "text")]
        server: Uri,
    },
}

/// What a recovery is at.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RecoveringAt {
    /// The phase.
    pub phase: RecoveryPhase,
    /// The server, its password masked.
    #[serde(serialize_with = "text")]
    pub server: Uri,
    /// Which attempt since the last healthy connection, from 1.
    pub attempt: u64,
    /// For how long it is in this phase.
    #[serde(rename = "for_seconds", serialize_with = "seconds")]
    pub lasting: Duration,
}

/// From when on something is a reason not to be ready.
///
/// ```
/// # use std::time::Duration;
/// # use amps_client::{Client, HealthLimits};
/// # fn example(client: Client) {
/// let strict = HealthLimits::new().unacknowledged_age(Duration::from_secs(5));
/// println!("{}", client.health_within(&strict));
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct HealthLimits {
    store_part: f64,
    unacknowledged_age: Duration,
    undiscarded_age: Option<Duration>,
    queue_full: Duration,
}

impl Default for HealthLimits {
    fn default() -> Self {
        Self {
            store_part: 0.9,
            unacknowledged_age: Duration::from_secs(30),
            undiscarded_age: None,
            queue_full: Duration::from_secs(1),
        }
    }
}

impl HealthLimits {
    /// The usual ones.
    pub fn new() -> Self {
        Self::default()
    }

    /// The publish store is nearly full with this part of its bound, in bytes or
    /// messages; 0.9 by default.
    pub fn store_part(self, part: f64) -> Self {
        Self { store_part: part, ..self }
    }

    /// Unacknowledged messages are old at this age; 30 s by default.
    pub fn unacknowledged_age(self, age: Duration) -> Self {
        Self { unacknowledged_age: age, ..self }
    }

    /// Messages that are not discarded are old at this age; never by default,
    /// since a subscription without a bookmark store need not discard.
    pub fn undiscarded_age(self, age: Duration) -> Self {
        Self { undiscarded_age: Some(age), ..self }
    }

    /// A queue may be full for so long: a consumer that is slower than the server
    /// now and then is as it should be. A second by default.
    pub fn queue_full(self, lasting: Duration) -> Self {
        Self { queue_full: lasting, ..self }
    }
}

impl Client {
    /// Whether the client does its work, and why not: for health endpoints.
    ///
    /// Waits for nothing, and answers whatever became of the client and its
    /// runtime. Costs a look at the publish store and at each open stream.
    pub fn health(&self) -> Health {
        self.health_within(&HealthLimits::default())
    }

    /// As [`health`](Self::health), with other limits.
    pub fn health_within(&self, limits: &HealthLimits) -> Health {
        let now = tokio::time::Instant::now().into_std();
        let streams = self.inner.listing.look().0;
        self.judge(now, limits, &streams)
    }

    pub(crate) fn judge(&self, now: Instant, limits: &HealthLimits, streams: &[(Arc<str>, QueueLook)]) -> Health {
        let mut reasons = Vec::new();
        let summary = self.inner.state.borrow().clone();
        connection(&mut reasons, now, &summary);
        self.publish_store(&mut reasons, now, limits);
        if let Some(error) = self.inner.bookmark_store().and_then(|store| store.trouble()) {
            reasons.push(HealthReason::BookmarkStoreFailed { error });
        }
        for (id, look) in streams.iter().filter(|(_, look)| !look.ended) {
            stream(&mut reasons, now, limits, id, look);
        }
        reasons.extend(summary.refused.iter().map(|refused| HealthReason::SubscriptionRefused {
            topic: refused.topic.clone(),
            filter: refused.filter.clone(),
            server: refused.uri.clone(),
            cause: refused.reason.clone(),
        }));
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.status()));
        let status = reasons.first().map_or(HealthStatus::Ready, HealthReason::status);
        Health { status, reasons }
    }

    fn publish_store(&self, reasons: &mut Vec<HealthReason>, now: Instant, limits: &HealthLimits) {
        let log = &self.inner.log;
        let since = log.unsettled_since();
        let (cursors, bounds, kept) = log.peek(|log| (log.cursors(), log.limits(), log.is_sequenced()));
        if let Some(error) = cursors.failed {
            reasons.push(HealthReason::PublishStoreFailed { error });
        }
        let messages = cursors.end - cursors.settled;
        let part = |have: f64, bound: f64| have >= bound * limits.store_part;
        if kept && (part(cursors.bytes as f64, bounds.bytes as f64) || part(messages as f64, bounds.messages as f64)) {
            reasons.push(HealthReason::PublishStoreNearlyFull {
                bytes: cursors.bytes,
                bytes_bound: bounds.bytes,
                messages,
                messages_bound: bounds.messages,
            });
        }
        let age = since.map(|since| now.saturating_duration_since(since));
        if let Some(age) = age.filter(|age| *age >= limits.unacknowledged_age) {
            reasons.push(HealthReason::UnacknowledgedOld { messages, age });
        }
    }
}

fn connection(reasons: &mut Vec<HealthReason>, now: Instant, summary: &ConnectionSummary) {
    let age = |since: Instant| now.saturating_duration_since(since);
    if let Some(cause) = &summary.over {
        reasons.push(HealthReason::Over { cause: cause.clone() });
        return;
    }
    if !summary.live {
        let lasting = summary.since.map(age).unwrap_or_default();
        reasons.push(match &summary.down {
            Some(cause) => HealthReason::StaysDisconnected { lasting, cause: cause.clone() },
            None => HealthReason::NotConnected { lasting, recovering: recovering_at(now, summary) },
        });
    }
    for (server, attempts, cause) in summary.attempts() {
        reasons.push(match cause {
            Cause::PublishLog(LogonRefused::PublishGap { server: known, acknowledged }) => {
                HealthReason::PublishGap { server, known, acknowledged }
            }
            cause => HealthReason::AttemptsFailed { server, attempts, cause },
        });
    }
    if let Some((server, _)) = summary.contested.as_ref().filter(|(_, at)| age(*at) < CONTESTED) {
        reasons.push(HealthReason::NameContested { server: server.clone() });
    }
}

pub(crate) fn recovering_at(now: Instant, summary: &ConnectionSummary) -> Option<RecoveringAt> {
    let recovering = summary.recovering.as_ref()?;
    let lasting = now.saturating_duration_since(recovering.since);
    Some(RecoveringAt {
        phase: recovering.phase,
        server: recovering.server.clone(),
        attempt: recovering.attempt,
        lasting,
    })
}

fn stream(reasons: &mut Vec<HealthReason>, now: Instant, limits: &HealthLimits, id: &Arc<str>, look: &QueueLook) {
    let age = |since: Instant| now.saturating_duration_since(since);
    if let Some(lasting) = look.full_since.map(age).filter(|lasting| *lasting >= limits.queue_full) {
        let (subscription, topic, messages) = (id.to_string(), look.about.topic.clone(), look.items);
        reasons.push(HealthReason::QueueFull { subscription, topic, messages, lasting });
    }
    if let (Some((messages, Some(since))), Some(limit)) = (look.undiscarded, limits.undiscarded_age)
        && age(since) >= limit
    {
        let subscription = id.to_string();
        reasons.push(HealthReason::UndiscardedOld { subscription, messages, age: age(since) });
    }
}

impl Health {
    /// Whether the client does its work, and nothing is wrong.
    pub fn is_ready(&self) -> bool {
        self.status == HealthStatus::Ready
    }
}

impl HealthReason {
    /// How bad it is.
    pub fn status(&self) -> HealthStatus {
        match self {
            Self::Over { .. }
            | Self::StaysDisconnected { .. }
            | Self::NotConnected { .. }
            | Self::PublishStoreFailed { .. } => HealthStatus::Down,
            _ => HealthStatus::Degraded,
        }
    }
}

impl HealthStatus {
    /// Its name: `ready`, `degraded` or `down`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for HealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
