//! What a client tells about itself, in order.

mod show;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use amps_core::{Message, Uri};

use crate::bookmarks::store::BookmarkStoreError;
use crate::error::Cause;
use crate::measure::RecoveryPhase;
use crate::publish_log::FailedWrite;
use crate::subscriptions::FailedResubscribe;
use crate::user_code::{Panicked, UserError};
use crate::warning::ConfigWarning;

/// Connection states (AMPS developer guides, "Monitoring Connection State").
///
/// On a connection they come in this order: `Connected`, `LoggedOn`,
/// `HeartbeatInitiated`, `PublishReplayed`, `Resubscribed`; then, some time,
/// `Disconnected`. `Shutdown` is the last of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The transport is up.
    Connected,
    /// The server accepted the logon; recovery goes on.
    LoggedOn,
    /// The server confirmed heartbeats. Only with heartbeats on.
    HeartbeatInitiated,
    /// Everything that was in the publish store as of the logon has been sent.
    PublishReplayed,
    /// Every subscription is active again: the client has fully recovered.
    Resubscribed,
    /// The connection, or an attempt that got as far as `Connected`, is over.
    Disconnected,
    /// The client is closed, or gave up for good.
    Shutdown,
}

/// A change of the connection's state.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StateChange {
    /// The new state.
    pub state: ConnectionState,
    /// The server it is about.
    pub uri: Option<Uri>,
    /// Which attempt since the last healthy connection, from 1.
    pub attempt: u64,
    /// Why, for `Disconnected` and `Shutdown`.
    pub cause: Option<Cause>,
    /// When, by the monotonic clock.
    pub at: Instant,
}

/// One thing that happened. Shown it is text for a person.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The connection's state changed.
    State(StateChange),
    /// An attempt failed, or a connection was lost; the next one follows.
    AttemptFailed {
        /// The server.
        uri: Uri,
        /// Which attempt since the last healthy connection, from 1.
        attempt: u64,
        /// Why.
        cause: Cause,
    },
    /// A server refused a published message (AMPS developer guides, "Detecting
    /// Write Failures"). Reason `duplicate` means that it had it already.
    FailedWrite(Arc<FailedWrite>),
    /// A server knows this client with a higher sequence than it ever used:
    /// another client publishes under the same name, or the publish store is
    /// an old copy.
    SequenceAhead {
        /// The server.
        uri: Uri,
        /// Its sequence.
        sequence: u64,
    },
    /// A server closed several connections of this client soon after their
    /// logons. Another client probably uses the same name: of two with one
    /// name and one user a server keeps the newer (AMPS User Guide, "Client
    /// Names"). The client goes on, at growing intervals.
    NameContested {
        /// The server.
        uri: Uri,
        /// How many connections in a row, at least.
        kicks: usize,
        /// Within how long.
        within: Duration,
    },
    /// Something was asked for that may lose messages.
    Warning(ConfigWarning),
    /// A message handler failed or panicked; the message is not discarded, and
    /// the client goes on.
    HandlerFailed(Arc<HandlerFailed>),
    /// The bookmark store could not be written: what was discarded since may
    /// come again in a new process. A store on disk is failed for good; a
    /// recovery point adapter is asked again.
    BookmarkStoreFailed(BookmarkStoreError),
    /// Code of the application panicked; the client goes on.
    Panicked(Panicked),
    /// Messages published without a store were lost with the connection.
    Dropped {
        /// How many.
        messages: u64,
    },
    /// This listener was too slow and missed so many events.
    Missed(u64),
}

/// A message whose handler failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct HandlerFailed {
    /// The message.
    pub message: Message,
    /// What the handler answered; a [`Panicked`] if it panicked.
    pub error: UserError,
}

impl HandlerFailed {
    /// `message` was not handled because of `error`.
    pub fn new(message: Message, error: UserError) -> Self {
        Self { message, error }
    }
}

/// Where the connection stands, and what became of the attempts so far.
#[derive(Debug, Clone, Default)]
pub struct ConnectionSummary {
    /// Connected and fully recovered.
    pub live: bool,
    /// Set once there will be no more connections.
    pub over: Option<Cause>,
    /// How often the client recovered from the loss of a connection.
    pub reconnects: u64,
    /// How many connections ended, those too that never got live. Behind each a
    /// subscription that goes on is told that it is
    /// [`Reconnected`](crate::subscriptions::Item::Reconnected), or behind a few
    /// of them once.
    pub losses: u64,
    /// The latest change of state.
    pub latest: Option<StateChange>,
    /// How many there were.
    pub changes: u64,
    /// The version the server told when it accepted the logon; `None` while
    /// not logged on.
    pub server_version: Option<String>,
    /// The number that stands for the client's name in bookmarks, once a server told
    /// it.
    pub name_hash: Option<u64>,
    /// Set while the client is disconnected and stays so, since its disconnect
    /// handling was replaced: why.
    pub down: Option<Cause>,
    /// How often that began.
    pub downs: u64,
    /// Since when `live` is what it is.
    pub since: Option<Instant>,
    /// What recovery is at; `None` when none goes on.
    pub recovering: Option<Recovering>,
    /// Subscriptions that were active and ended, because a server refused them
    /// when they were entered again: the newest 16 that were not made anew.
    pub refused: VecDeque<FailedResubscribe>,
    /// Another client probably uses the same name: at which server, and when that
    /// was noticed last.
    pub contested: Option<(Uri, Instant)>,
    /// The latest round trip of a small command.
    pub round_trip: Option<Duration>,
    /// How long the latest acknowledgement took that was timed.
    pub ack_latency: Option<Duration>,
    was_live: bool,
    attempts: BTreeMap<String, (u64, Cause)>,
}

/// What a recovery is at.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Recovering {
    /// The phase.
    pub phase: RecoveryPhase,
    /// The server.
    pub server: Uri,
    /// Which attempt since the last healthy connection, from 1.
    pub attempt: u64,
    /// Since when it is in this phase.
    pub since: Instant,
}

/// So many refused subscriptions are remembered.
const REFUSED: usize = 16;

impl ConnectionSummary {
    pub(crate) fn note(&mut self, event: &Event) {
        match event {
            Event::State(change) => self.note_state(change),
            Event::AttemptFailed { uri, cause, .. } => {
                let tried = self.attempts.entry(uri.to_string()).or_insert_with(|| (0, cause.clone()));
                *tried = (tried.0 + 1, cause.clone());
            }
            Event::NameContested { uri, .. } => {
                self.contested = self.latest.as_ref().map(|latest| (uri.clone(), latest.at));
            }
            _ => {}
        }
    }

    fn note_state(&mut self, change: &StateChange) {
        self.latest = Some(change.clone());
        self.changes += 1;
        match change.state {
            ConnectionState::Resubscribed => {
                self.since = Some(change.at);
                self.reconnects += u64::from(self.was_live);
                (self.live, self.was_live) = (true, true);
                self.attempts.clear();
            }
            ConnectionState::Disconnected => {
                self.ends(change.at);
                self.losses += 1;
                self.server_version = None;
                // To be moved is no loss.
                self.was_live &= !matches!(change.cause, Some(Cause::Moved(_)));
            }
            ConnectionState::Shutdown => {
                self.ends(change.at);
                self.over = change.cause.clone();
            }
            _ => {}
        }
    }

    fn ends(&mut self, at: Instant) {
        if std::mem::take(&mut self.live) {
            self.since = Some(at);
        }
    }

    /// A subscription that was active was refused, and has ended.
    pub(crate) fn note_refused(&mut self, refused: FailedResubscribe) {
        if self.refused.len() == REFUSED {
            self.refused.pop_front();
        }
        self.refused.push_back(refused);
    }

    /// A subscription to this topic, with this filter, is active.
    pub(crate) fn note_entered(&mut self, topic: &str, filter: Option<&str>) {
        self.refused.retain(|refused| refused.topic != topic || refused.filter.as_deref() != filter);
    }

    /// Per server: attempts since the client last was live, and the last error.
    pub fn attempts(&self) -> Vec<(String, u64, Cause)> {
        self.attempts.iter().map(|(uri, (count, cause))| (uri.clone(), *count, cause.clone())).collect()
    }
}
