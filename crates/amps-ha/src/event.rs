//! What a client tells about itself, in order.

use std::sync::Arc;

use amps_core::Uri;

use crate::error::Cause;
use crate::publish_log::FailedWrite;

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
pub struct StateChange {
    /// The new state.
    pub state: ConnectionState,
    /// The server it is about.
    pub uri: Option<Uri>,
    /// How many attempts were made since the client last was live.
    pub attempt: u64,
    /// Why, for `Disconnected` and `Shutdown`.
    pub cause: Option<Cause>,
}

/// One thing that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The connection's state changed.
    State(StateChange),
    /// An attempt failed, or a connection was lost; the next one follows.
    AttemptFailed {
        /// The server.
        uri: Uri,
        /// Which attempt since the client last was live, from 1.
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
    /// Messages published without a store were lost with the connection.
    Dropped {
        /// How many.
        messages: u64,
    },
    /// This listener was too slow and missed so many events.
    Missed(u64),
}
