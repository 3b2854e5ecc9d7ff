//! Settings that lose messages, or will not do what was probably meant.

use std::time::Duration;

use amps_core::Uri;

/// A combination of settings that works, and may surprise.
///
/// A client is built all the same; it logs each warning, and
/// [`Display`](std::fmt::Display) says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigWarning {
    /// Publishing goes on at servers that lack acknowledged messages. With
    /// servers that replicate asynchronously these messages are lost.
    #[error(
        "publishing continues at a server that lacks acknowledged messages: unless all servers replicate synchronously, such messages are lost at a failover; use `OnPublishGap::Refuse`"
    )]
    ContinuesOverPublishGap,
    /// Without heartbeats a frozen server or a cut cable goes unnoticed for
    /// minutes.
    #[error("without heartbeats a frozen server or a cut cable goes unnoticed for minutes; call `heartbeat`")]
    NoHeartbeat,
    /// One late beat ends the connection.
    #[error(
        "a heartbeat timeout of {timeout:?} with an interval of {interval:?}: one late beat ends the connection; make it twice the interval"
    )]
    TightHeartbeat {
        /// The interval.
        interval: Duration,
        /// The timeout.
        timeout: Duration,
    },
    /// A server is in the list twice.
    #[error("{uri} is in the list of servers twice")]
    DuplicateServer {
        /// The server.
        uri: Uri,
    },
    /// A client that changes its user at a failover may find its own name in
    /// use.
    #[error(
        "the connection strings name different users, '{first}' and '{other}': a server that still holds the name for one refuses it to the other"
    )]
    UsersDiffer {
        /// The first server's.
        first: String,
        /// Another one.
        other: String,
    },
    /// A store on disk belongs to a name, and this one looks like another one
    /// in every process.
    #[error(
        "the client name '{name}' looks different in every process, and the next one could not open the store; give it a name that stays"
    )]
    UnstableName {
        /// The name.
        name: String,
    },
    /// What is in the publish store when the connection is lost is not sent
    /// until somebody connects the client again.
    #[error(
        "disconnect handling is replaced and there is a publish store: what it holds waits until somebody calls `reconnect`"
    )]
    StoreWithoutRecovery,
    /// A bookmark subscription that is to go on where the last process stopped
    /// has no store that would remember it: each process begins with the whole
    /// log.
    #[error(
        "the subscription to '{topic}' starts at the most recent bookmark, and the bookmark store forgets it with the process: each process replays the whole log; use `BookmarkStore::sled`"
    )]
    BookmarksForgotten {
        /// The topic.
        topic: String,
    },
}
