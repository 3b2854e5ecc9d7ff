use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::event::{ConnectionSummary, Event};
use crate::publish_log::OnPublishGap;

/// Settings of a client that the core needs.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// The client name. Publishers keep it across restarts; it is part of
    /// every message's identity.
    pub name: String,
    /// Interval of heartbeats and how long silence is tolerated; `None` turns
    /// them off.
    pub heartbeat: Option<(Duration, Duration)>,
    /// How long a command waits for its answer: 10 s.
    pub command_timeout: Duration,
    /// Asks the server to conflate persisted acknowledgements over this time
    /// instead of its own default of 1 s.
    pub ack_conflation: Option<Duration>,
    /// Text that goes with each logon, for the server's log.
    pub logon_correlation: Option<String>,
    /// What to do at a server that lacks acknowledged messages.
    pub on_publish_gap: OnPublishGap,
    /// How long a server may take to open the transport, for a probe.
    pub connect_timeout: Duration,
    /// The longest frame accepted, in bytes.
    pub frame_limit: usize,
    /// How long a full queue may hold the reader back before commands that
    /// wait for an answer fail instead of hanging: 1 s.
    pub deadlock_after: Duration,
    /// Whether subscriptions outlive their connection. If not, their streams
    /// end with it.
    pub resubscribe: bool,
    /// Whether a subscription or query whose answer is awaited when the
    /// connection is lost is entered again on the next; if not, or if
    /// subscriptions do not outlive their connection, it is answered with
    /// [`CommandError::Disconnected`](crate::error::CommandError::Disconnected).
    pub retry: bool,
}

/// Where a core tells what happens.
#[derive(Debug, Clone)]
pub struct Outlets {
    /// Everything, in order.
    pub events: broadcast::Sender<Event>,
    /// Where things stand.
    pub summary: watch::Sender<ConnectionSummary>,
    /// Topic of the subscription whose full queue holds the reader back for
    /// longer than `deadlock_after`.
    pub stalled: watch::Sender<Option<Arc<str>>>,
}
