use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amps_core::{Reason, UriError};
use amps_ha::error::Cause;
use amps_ha::publish_log::{AppendError, Full, StoreError};

use crate::codec::CodecError;

/// Why a client cannot be started. Nothing was changed on disk or network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A connection string.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// No server was given, and no chooser.
    #[error("no server: call `server` with a connection string such as tcp://localhost:9007/amps/json")]
    NoServer,
    /// The client name does not serve. It is part of every message's identity
    /// (AMPS Command Reference, "logon").
    #[error("the client name '{name}' {rule}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// Servers of one client speak one message type.
    #[error("the servers differ in message type: '{first}' and '{other}'")]
    MessageTypes {
        /// The first server's.
        first: String,
        /// Another one.
        other: String,
    },
    /// A setting is out of range, or two do not go together.
    #[error("{setting}: {rule}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// The publish store.
    #[error(transparent)]
    PublishStore(#[from] StoreError),
    /// The bookmark store.
    #[error("the bookmark store in {dir:?} cannot be opened: {source}")]
    BookmarkStore {
        /// Its directory.
        dir: PathBuf,
        /// Why.
        source: amps_ha::bookmarks::store::BookmarkStoreError,
    },
    /// The system gives no thread.
    #[error("cannot start a thread for a store: {0}")]
    Thread(std::io::Error),
    /// Called outside a tokio runtime.
    #[error("a client needs a tokio runtime with time and network enabled")]
    NoRuntime,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The client could not be started.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// None of the servers, within the time given. Each with its last error.
    #[error("no connection within {after:?}: {}", tried(.attempts))]
    TimedOut {
        /// The time given.
        after: Duration,
        /// Per server: attempts and the last error.
        attempts: Vec<(String, u64, Cause)>,
    },
    /// The client is connected already, and stays so.
    #[error("the client is connected already")]
    AlreadyConnected,
    /// The connection was lost, and nothing connects the client again by
    /// itself, since its disconnect handling was replaced.
    #[error("the connection was lost, and disconnect handling was replaced: {cause}")]
    Disconnected {
        /// The loss, or the handler's error.
        #[source]
        cause: Cause,
    },
    /// The reconnect strategy or the server chooser gave up.
    #[error("no connection: {cause}; {}", tried(.attempts))]
    GaveUp {
        /// What it said.
        #[source]
        cause: Cause,
        /// Per server: attempts and the last error.
        attempts: Vec<(String, u64, Cause)>,
    },
}

fn tried(attempts: &[(String, u64, Cause)]) -> String {
    if attempts.is_empty() {
        return "no attempt ended".to_owned();
    }
    let each: Vec<_> = attempts
        .iter()
        .map(|(uri, count, cause)| format!("{uri} ({count} attempt{}): {cause}", if *count == 1 { "" } else { "s" }))
        .collect();
    each.join("; ")
}

/// Why a message was not published, or not persisted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic is empty.
    #[error("a message needs a topic")]
    NoTopic,
    /// A server could not read it, and would close the connection over it.
    #[error("{what} {rule}")]
    Invalid {
        /// What.
        what: &'static str,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// The value cannot be said in the codec's format; nothing was published.
    #[error(transparent)]
    Body(#[from] CodecError),
    /// Larger than a server takes, or than the publish store's bound.
    #[error("a message of {len} bytes is over the bound of {bound} bytes")]
    TooLarge {
        /// Bytes of the frame.
        len: usize,
        /// The bound in bytes.
        bound: usize,
    },
    /// The publish store is full, and nothing was published. Room comes with
    /// the servers' acknowledgements.
    #[error(
        "the publish store is full: {0}; wait with `enqueue_wait` under `OnStoreFull::Block`, or raise the bound with `store_bound` or `store_bound_messages`"
    )]
    StoreFull(Full),
    /// Not connected, and there is no publish store.
    #[error("not connected, and there is no publish store to keep the message")]
    Disconnected {
        /// Why not, if disconnect handling was replaced: the loss, or the
        /// handler's error.
        #[source]
        cause: Option<Cause>,
    },
    /// The publish store failed; whether this message survives a crash is
    /// unknown. Restart the client on the store.
    #[error("the publish store failed: {0}")]
    StoreFailed(#[source] Arc<StoreError>),
    /// The store is full, and the acknowledgements that would make room wait
    /// behind a full subscription queue.
    #[error(
        "the publish store is full and its acknowledgements wait behind the full queue of the subscription to '{topic}'"
    )]
    WouldDeadlock {
        /// The topic of the subscription nobody reads.
        topic: String,
    },
    /// A server refused the message; it is settled and not sent again.
    #[error("the server refused the message: {0}")]
    Refused(Reason),
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

impl From<AppendError> for PublishError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::StoreFull(full) => Self::StoreFull(full),
            AppendError::TooLarge { len, bound } => Self::TooLarge { len, bound },
            AppendError::Disconnected => Self::Disconnected { cause: None },
            AppendError::StoreFailed(error) => Self::StoreFailed(error),
            _ => Self::Closed,
        }
    }
}
