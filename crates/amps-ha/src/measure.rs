//! What a client measures of itself, told as it happens: attempts, losses,
//! phases of recovery, round trips.
//!
//! The core tells, and counts nothing that nobody asks for; where it goes is an
//! [`Observer`]'s business. What stands and does not happen, such as the depth
//! of a queue, is looked at instead. None of it is told once a message.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use amps_core::Uri;
use serde::Serialize;
use tracing::{Span, info_span};

use crate::error::Cause;

/// The span of a whole client, `amps.client`. It lasts as long as the client, and
/// so is no part of whatever the client is made in.
pub fn client_span(name: &str) -> Span {
    info_span!(parent: None, "amps.client", client = name)
}

/// One thing that was measured.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Measure<'a> {
    /// An attempt to connect ended: the client is live, or it failed. Told once
    /// for each.
    Attempt {
        /// The server.
        server: &'a Uri,
        /// Why it failed, if it did.
        failed: Option<&'a Cause>,
    },
    /// A live connection was lost.
    Lost {
        /// The server.
        server: &'a Uri,
        /// Why.
        cause: &'a Cause,
        /// How long nothing had been received when that was noticed: at most so
        /// long it took. Only with heartbeats on.
        silence: Option<Duration>,
    },
    /// A phase of recovery ended, successful or not.
    Phase {
        /// Which.
        phase: RecoveryPhase,
        /// How long it took.
        took: Duration,
    },
    /// The client is live. The phases since the recovery began took as long
    /// together.
    Recovered {
        /// What it recovered from.
        reason: RecoveryReason,
        /// Since the loss was noticed, or since it began to connect.
        took: Duration,
    },
    /// The server answered the command that starts heartbeats: the round trip of
    /// a small command, once for each connection.
    RoundTrip {
        /// The server.
        server: &'a Uri,
        /// From the command to its answer.
        took: Duration,
    },
    /// A message was acknowledged as persisted. Told of one message at a time,
    /// the next only after it.
    Acknowledged {
        /// Since it was handed to the connection.
        took: Duration,
    },
    /// The publish store did a piece of work: it wrote, synced, or read back.
    Stored {
        /// How long it took.
        took: Duration,
    },
}

/// A phase of recovery, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecoveryPhase {
    /// Waits before the attempt, as the reconnect strategy says.
    Wait,
    /// Opens the transport.
    Connect,
    /// Authenticates and logs on.
    Logon,
    /// Starts heartbeats. Only with heartbeats on.
    Heartbeat,
    /// Sends what was in the publish log as of the logon.
    Replay,
    /// Enters the subscriptions.
    Resubscribe,
}

impl RecoveryPhase {
    /// All of them, in order.
    pub const ALL: [Self; 6] =
        [Self::Wait, Self::Connect, Self::Logon, Self::Heartbeat, Self::Replay, Self::Resubscribe];

    /// Its name in metrics and reports, which stays the same.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Connect => "connect",
            Self::Logon => "logon",
            Self::Heartbeat => "heartbeat",
            Self::Replay => "replay",
            Self::Resubscribe => "resubscribe",
        }
    }
}

/// Why a client recovers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecoveryReason {
    /// It connects for the first time, or again because it was told to.
    Start,
    /// A live connection was lost.
    Loss,
    /// It moves to another server as planned.
    Move,
}

impl RecoveryReason {
    /// Its name in metrics and spans, which stays the same.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Loss => "loss",
            Self::Move => "move",
        }
    }
}

/// Where measures go.
///
/// Called from the client's task, and from the publish store's thread, with no
/// lock held; it must not block.
pub trait Observer: Send + Sync + 'static {
    /// Something was measured.
    fn measured(&self, measure: &Measure<'_>);
}

/// An observer, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Measures(pub(crate) Option<Arc<dyn Observer>>);

impl Measures {
    pub(crate) fn tell(&self, measure: &Measure<'_>) {
        if let Some(observer) = &self.0 {
            observer.measured(measure);
        }
    }

    /// Whether anybody wants to know.
    pub(crate) fn wanted(&self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Debug for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Measures").field(&self.wanted()).finish()
    }
}
