//! How things stand with a client: everything, for a person or a program.

mod show;

use std::fmt;
use std::time::{Duration, Instant};

use amps_ha::client_core::StrayCounts;
use amps_ha::event::ConnectionSummary;
use amps_ha::subscriptions::{Entered, QueueLook, QueueStats, SubscriptionKind};
use serde::{Serialize, Serializer};

use crate::client::Client;
use crate::health::{Health, HealthLimits, RecoveringAt, recovering_at};

/// How things stand with a client. See [`Client::report`].
///
/// Shown, it is some lines for a person; with serde, an object. Passwords are in
/// neither.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The client's name.
    pub client: String,
    /// Whether it does its work, and why not.
    pub health: Health,
    /// The connection, and attempts at one.
    pub connection: ConnectionReport,
    /// What is published.
    pub publishing: PublishingReport,
    /// Where bookmarks are kept, in words.
    pub bookmarks: String,
    /// Open streams, in the order they were made.
    pub subscriptions: Vec<SubscriptionReport>,
    /// Counters of all streams there ever were.
    pub streams: QueueStats,
    /// Messages that reached no stream.
    pub strays: StrayCounts,
    /// Calls of the application that wait for an answer, or for room.
    pub waiting: Vec<WaitingCall>,
    /// The last headers, the oldest first, if
    /// [`LastHeaders`](crate::LastHeaders) keeps them.
    pub last_headers: Vec<String>,
}

/// The connection of a client.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ConnectionReport {
    /// Connected and fully recovered.
    pub live: bool,
    /// For how long that is so, or is not.
    #[serde(rename = "for_seconds", serialize_with = "seconds")]
    pub lasting: Duration,
    /// The server it is connected to, or was last, or tried; its password masked.
    pub server: Option<String>,
    /// The server's version, while logged on.
    pub server_version: Option<String>,
    /// Which attempt that is since the last healthy connection, from 1.
    pub attempt: u64,
    /// What a recovery is at.
    pub recovering: Option<RecoveringAt>,
    /// How often the client recovered from the loss of a connection.
    pub reconnects: u64,
    /// Attempts that failed since the client last was live.
    pub failed: Vec<FailedAttempts>,
    /// The latest round trip of a small command.
    #[serde(rename = "round_trip_seconds", serialize_with = "maybe_seconds")]
    pub round_trip: Option<Duration>,
}

/// Attempts at one server that failed.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct FailedAttempts {
    /// The server, its password masked.
    pub server: String,
    /// How many.
    pub attempts: u64,
    /// Why the last did.
    pub cause: String,
}

/// What a client publishes.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct PublishingReport {
    /// Where messages are kept, in words.
    pub kept: String,
    /// How many were published in this process, with those an earlier one left.
    pub published: u64,
    /// Messages no server has acknowledged.
    pub unacknowledged: u64,
    /// Bytes of these.
    pub bytes: usize,
    /// The bound on them.
    pub bytes_bound: usize,
    /// The bound on messages; `u64::MAX` is none.
    pub messages_bound: u64,
    /// How old the oldest of them is, at most.
    #[serde(rename = "age_seconds", serialize_with = "maybe_seconds")]
    pub age: Option<Duration>,
    /// Bytes the store's disk has not taken yet.
    pub unstored: usize,
    /// The newest sequence that a server has acknowledged; 0 when none has.
    pub persisted_through: u64,
    /// How long the latest acknowledgement took that was timed, from handing the
    /// message to the connection.
    #[serde(rename = "ack_latency_seconds", serialize_with = "maybe_seconds")]
    pub ack_latency: Option<Duration>,
}

/// One open stream.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct SubscriptionReport {
    /// The subscription's [id](crate::Subscribe::id): topic and filter unless one
    /// was given.
    pub id: String,
    /// The topic.
    pub topic: String,
    /// The content filter.
    pub filter: Option<String>,
    /// How far it is.
    pub state: StreamState,
    /// It gets nothing until it is resumed.
    pub paused: bool,
    /// It is a query.
    pub is_query: bool,
    /// Events that wait, with those the application has taken and may still be at.
    pub depth: usize,
    /// Bytes of these.
    pub bytes: usize,
    /// For how long the queue is full, and the connection is not read for it.
    #[serde(rename = "full_seconds", serialize_with = "maybe_seconds")]
    pub full: Option<Duration>,
    /// For a bookmark subscription: messages that were received and not discarded.
    pub undiscarded: Option<usize>,
    /// How old the oldest of them is, at most.
    #[serde(rename = "undiscarded_age_seconds", serialize_with = "maybe_seconds")]
    pub undiscarded_age: Option<Duration>,
    /// Its counters.
    pub stats: QueueStats,
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StreamState {
    /// Waits for a connection.
    Waiting,
    /// The server is asked.
    Asked,
    /// The server confirmed it.
    Active,
    /// Nothing more comes.
    Ended,
}

/// A call that waits.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct WaitingCall {
    /// Which: `subscribe`, `flush`, `publish` for room in the store, and so on.
    pub call: &'static str,
    /// Its topic or server; empty when it has none.
    pub topic: String,
    /// For how long.
    #[serde(rename = "for_seconds", serialize_with = "seconds")]
    pub lasting: Duration,
}

impl Client {
    /// How things stand with the client, as far as it knows without asking
    /// anybody: for a person, and for whoever looks for what went wrong.
    ///
    /// Waits for nothing, and answers whatever became of the client and its
    /// runtime. Each part is as of its own moment: they may differ by what
    /// happens meanwhile.
    ///
    /// ```
    /// # fn example(client: amps_client::Client) {
    /// eprintln!("{}", client.report());
    /// # }
    /// ```
    pub fn report(&self) -> Report {
        let now = tokio::time::Instant::now().into_std();
        let (looks, streams) = self.inner.listing.look();
        let health = self.judge(now, &HealthLimits::default(), &looks);
        let summary = self.inner.state.borrow().clone();
        let call = |(call, topic, lasting)| WaitingCall { call, topic, lasting };
        let headers = self.inner.headers.as_ref();
        Report {
            client: self.name().to_owned(),
            health,
            connection: connection(now, &summary),
            publishing: self.publishing(now, summary.ack_latency),
            bookmarks: self.inner.kept_in.bookmarks.clone(),
            subscriptions: looks.into_iter().map(|(id, look)| subscription(now, &id, look)).collect(),
            streams,
            strays: self.stray_counts(),
            waiting: self.inner.waits.list().into_iter().map(call).collect(),
            last_headers: headers.iter().flat_map(|headers| headers.list()).map(|seen| seen.to_string()).collect(),
        }
    }

    /// [`report`](Self::report) as text.
    pub fn dump(&self) -> String {
        self.report().to_string()
    }

    pub(crate) fn publishing(&self, now: Instant, ack_latency: Option<Duration>) -> PublishingReport {
        let log = &self.inner.log;
        let since = log.unsettled_since();
        log.peek(|log| {
            let (cursors, limits) = (log.cursors(), log.limits());
            PublishingReport {
                kept: self.inner.kept_in.published.clone(),
                published: cursors.end,
                unacknowledged: cursors.end - cursors.settled,
                bytes: cursors.bytes,
                bytes_bound: limits.bytes,
                messages_bound: limits.messages,
                age: since.map(|since| now.saturating_duration_since(since)),
                unstored: cursors.unstored,
                persisted_through: log.persisted_through(),
                ack_latency,
            }
        })
    }
}

fn connection(now: Instant, summary: &ConnectionSummary) -> ConnectionReport {
    let latest = summary.latest.as_ref();
    let recovering = recovering_at(now, summary);
    let server = recovering.as_ref().map(|at| &at.server).or_else(|| latest.and_then(|latest| latest.uri.as_ref()));
    let attempt = recovering.as_ref().map(|at| at.attempt).or_else(|| latest.map(|latest| latest.attempt));
    let failed = |(server, attempts, cause): (_, _, amps_ha::error::Cause)| FailedAttempts {
        server,
        attempts,
        cause: cause.to_string(),
    };
    ConnectionReport {
        live: summary.live,
        lasting: summary.since.map(|since| now.saturating_duration_since(since)).unwrap_or_default(),
        server: server.map(ToString::to_string),
        server_version: summary.server_version.clone(),
        attempt: attempt.unwrap_or_default(),
        recovering,
        reconnects: summary.reconnects,
        failed: summary.attempts().into_iter().map(failed).collect(),
        round_trip: summary.round_trip,
    }
}

pub(crate) fn subscription(now: Instant, id: &str, look: QueueLook) -> SubscriptionReport {
    let age = |since: Instant| now.saturating_duration_since(since);
    let state = match look.about.entered {
        _ if look.ended => StreamState::Ended,
        Some(Entered::Yes) => StreamState::Active,
        Some(Entered::Asked) => StreamState::Asked,
        Some(Entered::No) | None => StreamState::Waiting,
    };
    SubscriptionReport {
        id: id.to_owned(),
        topic: look.about.topic,
        filter: look.about.filter,
        state,
        paused: look.about.paused,
        is_query: look.about.kind == Some(SubscriptionKind::Sow),
        depth: look.items,
        bytes: look.bytes,
        full: look.full_since.map(age),
        undiscarded: look.undiscarded.map(|(messages, _)| messages),
        undiscarded_age: look.undiscarded.and_then(|(_, since)| since).map(age),
        stats: look.stats,
    }
}

/// With serde as a number of seconds.
pub(crate) fn seconds<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(duration.as_secs_f64())
}

fn maybe_seconds<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(to)
}

/// With serde as what it shows.
pub(crate) fn text<S: Serializer>(value: &impl fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}
