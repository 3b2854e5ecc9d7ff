//! Which server to connect to next (AMPS developer guides, "High
//! Availability").
//!
//! AMPS does not tell a client of other servers: the list is the application's.
//! All servers of one client must be instances that replicate to each other
//! synchronously, or messages may be missed or lost at a failover (AMPS User
//! Guide, "Replication Best Practices").

mod gaps;
mod list;
mod primary;
mod weighted;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use amps_core::Uri;

use crate::authenticator::Authenticator;
use crate::error::Cause;

pub use gaps::RefuseGaps;
pub use list::ListChooser;
pub use primary::PrimaryChooser;
pub use weighted::WeightedChooser;

/// Chooses the server for each connection attempt.
///
/// Called from one task, never two calls at once, and no lock is held
/// meanwhile: it may use the client. It must not block. A panic is contained
/// and reported as an event; in [`current`](Self::current) it ends all
/// attempts.
pub trait ServerChooser: Send + 'static {
    /// The server to try now. The answer stays the same until a report. `None`
    /// ends all attempts, with the text of [`error`](Self::error).
    fn current(&mut self) -> Option<Server>;

    /// An attempt failed, or a connection was lost: once for each. Not called
    /// for a connection that the application gave up.
    fn report_failure(&mut self, report: &Report, cause: &Cause);

    /// A connection is fully recovered.
    fn report_success(&mut self, report: &Report);

    /// Why [`current`](Self::current) answered `None`.
    fn error(&self) -> String;

    /// Whether to go on at a server that has accepted the logon. If not, the
    /// attempt fails with [`Cause::NotAccepted`].
    fn accepts(&mut self, logon: &LogonInfo) -> bool {
        let _ = logon;
        true
    }

    /// A server to be preferred to the one the client has just recovered on,
    /// and how long to stay there before trying it. It is tried with a
    /// connection of its own first, again and again at this interval; only
    /// when it takes that does the client move, as by a planned move.
    fn better(&mut self, connected: &Uri) -> Option<(Server, Duration)> {
        let _ = connected;
        None
    }
}

/// A server, and how to authenticate there.
#[derive(Clone)]
pub struct Server {
    uri: Uri,
    authenticator: Option<Arc<dyn Authenticator>>,
}

impl Server {
    /// A server without an authenticator of its own.
    pub fn new(uri: Uri) -> Self {
        Self { uri, authenticator: None }
    }

    /// Authenticates there in this way, instead of the client's.
    #[must_use]
    pub fn authenticator(self, authenticator: Arc<dyn Authenticator>) -> Self {
        Self { authenticator: Some(authenticator), ..self }
    }

    /// Where it is.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Its authenticator, or else the client's.
    pub(crate) fn authenticator_or(&self, default: Option<&Arc<dyn Authenticator>>) -> Option<Arc<dyn Authenticator>> {
        self.authenticator.as_ref().or(default).map(Arc::clone)
    }
}

impl From<Uri> for Server {
    fn from(uri: Uri) -> Self {
        Self::new(uri)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// What became of an attempt.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// The server.
    pub uri: Uri,
    /// Which attempt since the last healthy connection, from 1.
    pub attempt: u64,
    /// How long its stages took.
    pub times: Times,
}

/// How long the stages of an attempt took; `None` for those it did not finish.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Times {
    /// Waiting before it.
    pub waited: Duration,
    /// Opening the transport.
    pub connect: Option<Duration>,
    /// Authentication and logon.
    pub logon: Option<Duration>,
    /// Heartbeat, replay and subscriptions.
    pub recovery: Option<Duration>,
    /// How long it was live.
    pub live: Option<Duration>,
}

/// What a server said when it accepted a logon.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogonInfo {
    /// The server.
    pub uri: Uri,
    /// Its version.
    pub version: Option<String>,
    /// The newest sequence of this client it has; 0 when it has none.
    pub sequence: u64,
    /// The newest sequence that any server has acknowledged.
    pub acknowledged: u64,
}

impl LogonInfo {
    /// Whether publishing there would open a gap: the server lacks messages
    /// that another one acknowledged, and would take them for duplicates when
    /// they are replicated to it later.
    pub fn is_publish_gap(&self) -> bool {
        self.sequence < self.acknowledged
    }
}

#[cfg(test)]
mod tests;
