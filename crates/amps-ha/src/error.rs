//! What goes wrong, by who has to act: [`Cause`] ends a connection or an
//! attempt and is dealt with by the next one; [`CommandError`] is the answer
//! to one command.

use std::sync::Arc;
use std::time::Duration;

use amps_core::{BookmarkError, FrameError, MessageError, Reason, Uri};

use crate::bookmarks::store::BookmarkStoreError;
use crate::publish_log::LogonRefused;
use crate::user_code::{Panicked, UserError};

/// Why a connection, or an attempt at one, ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// No connection could be opened: refused, unreachable, no such host.
    #[error("cannot connect: {0}")]
    Connect(#[source] Arc<std::io::Error>),
    /// No connection within the connect timeout.
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    /// The server accepted the connection and did not answer the logon.
    #[error("no answer to the logon within {0:?}")]
    LogonTimeout(Duration),
    /// The server refused the logon.
    #[error("the server refused the logon: {0}")]
    LogonRefused(Reason),
    /// The server asked for other credentials more often than is answered.
    #[error("the server asked for other credentials more than {0} times")]
    TooManyChallenges(u32),
    /// The authenticator answered with an error.
    #[error("the authenticator failed: {0}")]
    Authenticator(#[source] UserError),
    /// The authenticator did not answer.
    #[error("no answer of the authenticator within {0:?}")]
    AuthenticatorTimeout(Duration),
    /// The server chooser would not go on at this server.
    #[error("the server chooser did not accept the server after its logon")]
    NotAccepted,
    /// The server refused to send heartbeats.
    #[error("the server refused heartbeats: {0}")]
    HeartbeatRefused(Reason),
    /// Nothing was received for the heartbeat timeout.
    #[error("nothing received for {0:?}")]
    HeartbeatTimeout(Duration),
    /// The server took nothing of what was to be sent for the heartbeat
    /// timeout, whatever it may have sent itself.
    #[error("the server took nothing for {0:?}")]
    WriteTimeout(Duration),
    /// The server did not confirm the subscriptions in time.
    #[error("the server did not confirm all subscriptions within {0:?}")]
    ResubscribeTimeout(Duration),
    /// The server refused a subscription for a reason that may pass.
    #[error("the server refused the subscription to '{topic}': {reason}")]
    ResubscribeRefused {
        /// The topic.
        topic: String,
        /// The server's reason.
        reason: Reason,
    },
    /// The publish log does not go on at this server.
    #[error(transparent)]
    PublishLog(#[from] LogonRefused),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// Reading or writing failed.
    #[error("the connection failed: {0}")]
    Io(#[source] Arc<std::io::Error>),
    /// What the server sent cannot be split into frames.
    #[error("the server sent a corrupt stream: {0}")]
    Frame(#[from] FrameError),
    /// What the server sent is not a message.
    #[error("the server sent a corrupt message: {0}")]
    Message(#[from] MessageError),
    /// The application closed the client.
    #[error("the client was closed")]
    ByUser,
    /// The application moved the client to this server.
    #[error("the client was moved to {0}")]
    Moved(Uri),
    /// The application's disconnect handler failed.
    #[error("the disconnect handler failed: {0}")]
    DisconnectHandler(#[source] UserError),
    /// Code of the application panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// No more attempts: the reconnect strategy or the server chooser gave up.
    #[error("gave up: {0}")]
    GaveUp(String),
}

impl Cause {
    /// A short name of what it is, for metrics and spans. It stays the same, and
    /// says nothing of the application's own texts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::ConnectTimeout(_) => "connect_timeout",
            Self::LogonTimeout(_) => "logon_timeout",
            Self::LogonRefused(_) => "logon_refused",
            Self::TooManyChallenges(_) => "too_many_challenges",
            Self::Authenticator(_) => "authenticator",
            Self::AuthenticatorTimeout(_) => "authenticator_timeout",
            Self::NotAccepted => "not_accepted",
            Self::HeartbeatRefused(_) => "heartbeat_refused",
            Self::HeartbeatTimeout(_) => "heartbeat_timeout",
            Self::WriteTimeout(_) => "write_timeout",
            Self::ResubscribeTimeout(_) => "resubscribe_timeout",
            Self::ResubscribeRefused { .. } => "resubscribe_refused",
            Self::PublishLog(refused) => refused.name(),
            Self::Closed => "closed",
            Self::Io(_) => "io",
            Self::Frame(_) => "frame",
            Self::Message(_) => "message",
            Self::ByUser => "by_user",
            Self::Moved(_) => "moved",
            Self::DisconnectHandler(_) => "disconnect_handler",
            Self::Panicked(_) => "panicked",
            Self::GaveUp(_) => "gave_up",
        }
    }

    /// Whether the server would not have these credentials, or this user.
    pub fn is_auth_failure(&self) -> bool {
        matches!(self, Self::LogonRefused(Reason::AuthFailure | Reason::NotEntitled) | Self::TooManyChallenges(_))
    }

    /// Whether the peer ended the connection, or something in between did.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self, Self::Closed | Self::Io(_))
    }
}

/// Why a planned move did not end at its server. The client goes on, connected
/// or connecting as its chooser says.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// The attempt there failed.
    #[error("cannot move to {uri}: {cause}")]
    Failed {
        /// The server.
        uri: Uri,
        /// Why.
        #[source]
        cause: Cause,
    },
    /// Another move began meanwhile.
    #[error("another move began meanwhile")]
    Superseded,
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

/// Why a command has no result.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The server refused it.
    #[error("the server refused the {command} on '{topic}': {reason}")]
    Refused {
        /// The command.
        command: &'static str,
        /// Its topic; empty when it has none.
        topic: String,
        /// The server's reason.
        reason: Reason,
    },
    /// No answer within the command timeout.
    #[error("no answer to the {command} within {after:?}")]
    TimedOut {
        /// The command.
        command: &'static str,
        /// The timeout.
        after: Duration,
    },
    /// The connection was lost before the answer; whether the server acted is
    /// unknown. Issue the command again.
    #[error("the connection was lost before the answer")]
    Disconnected,
    /// Not connected, and nothing connects the client again by itself, since
    /// its disconnect handling was replaced.
    #[error("not connected, and disconnect handling was replaced: {cause}")]
    NotConnected {
        /// Why the connection ended, or why the handler failed.
        #[source]
        cause: Cause,
    },
    /// The answer is behind messages nobody takes: the queue of a subscription
    /// with policy `block` is full. Read from that stream, or do not wait for
    /// commands in the task that reads it.
    #[error("the answer waits behind the full queue of the subscription to '{topic}'")]
    WouldDeadlock {
        /// The topic of the subscription nobody reads.
        topic: String,
    },
    /// The stream was not read fast enough, and was to end then
    /// ([`OnFull::End`](crate::subscriptions::OnFull::End)).
    #[error("the subscription to '{topic}' ended: its queue is full, since it was not read fast enough")]
    QueueFull {
        /// The topic.
        topic: String,
    },
    /// The result was cut short by a malformed record.
    #[error("the server sent a corrupt record: {0}")]
    Corrupt(#[from] MessageError),
    /// Another bookmark subscription of this client has the same id, so that
    /// the two would discard each other's messages. Give each an id of its own.
    #[error("a bookmark subscription with the id '{id}' is open already: give each an id of its own")]
    IdInUse {
        /// The id.
        id: String,
    },
    /// The subscription is to start nowhere.
    #[error(transparent)]
    InvalidStart(#[from] BookmarkError),
    /// No server would take it as it is; it was not sent.
    #[error("the {command} on '{topic}' cannot be: {rule}")]
    Invalid {
        /// The command.
        command: &'static str,
        /// Its topic.
        topic: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The subscription has ended.
    #[error("the subscription has ended")]
    SubscriptionEnded,
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
    /// The bookmark store failed: what was discarded may come again.
    #[error("the bookmark store failed: {0}")]
    BookmarkStore(#[from] BookmarkStoreError),
}
