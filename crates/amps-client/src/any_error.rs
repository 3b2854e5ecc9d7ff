use std::time::Duration;

use amps_core::{BookmarkError, Field};
use amps_ha::error::{CommandError, MoveError};

use crate::error::{ConnectError, OpenError, PublishError};

/// Any error of this crate, for functions that call several kinds of things
/// and pass on what fails with `?`.
///
/// ```
/// # use amps_client::{Client, Error};
/// async fn announce(client: &Client) -> Result<(), Error> {
///     client.publish("status", "up").await?;
///     client.subscribe("orders").await?;
///     Ok(())
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A client cannot be started.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A message was not published, or not persisted.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A command has no result.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A command for [`Client::execute`](crate::Client::execute) has a header
    /// field that it does not take; nothing was sent.
    #[error("the {command} cannot have the field '{}': {rule}", field.key())]
    Field {
        /// The command.
        command: &'static str,
        /// The field.
        field: Field,
        /// The rule.
        rule: &'static str,
    },
    /// A planned move did not end at its server.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// A call of the [blocking](crate::blocking) client in async code: it would
    /// keep the thread from the work it waits for. Nothing was done.
    #[error(
        "a blocking call in async code would keep the thread from its work: call the async client, or make the call in `tokio::task::spawn_blocking`"
    )]
    WouldDeadlock,
    /// What a call of the [blocking](crate::blocking) client waited for has not
    /// come in time. Nothing is lost by it.
    #[error("nothing came within {after:?}")]
    NothingYet {
        /// How long it waited.
        after: Duration,
    },
}

/// Who has to act on an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller: the settings or the call are wrong.
    Usage,
    /// Nobody yet: there is no connection right now.
    Connection,
    /// Whoever reads the reason: the server would not do it.
    Refused,
    /// Nobody yet: something took too long, or there is no room.
    Busy,
    /// Whoever looks after the disk: a store failed.
    Store,
    /// Nobody: the client is closed.
    Closed,
}

impl From<BookmarkError> for Error {
    fn from(error: BookmarkError) -> Self {
        Self::Command(error.into())
    }
}

impl Error {
    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Open(error) | Self::Connect(ConnectError::Open(error)) => match error {
                OpenError::PublishStore(_) | OpenError::BookmarkStore { .. } => ErrorKind::Store,
                _ => ErrorKind::Usage,
            },
            Self::Connect(ConnectError::AlreadyConnected) => ErrorKind::Usage,
            Self::Connect(ConnectError::GaveUp { .. }) => ErrorKind::Closed,
            Self::Connect(_) => ErrorKind::Connection,
            Self::Publish(error) => match error {
                PublishError::NoTopic
                | PublishError::Invalid { .. }
                | PublishError::Body(_)
                | PublishError::TooLarge { .. } => ErrorKind::Usage,
                PublishError::StoreFull(_) | PublishError::WouldDeadlock { .. } => ErrorKind::Busy,
                PublishError::Disconnected { .. } => ErrorKind::Connection,
                PublishError::StoreFailed(_) => ErrorKind::Store,
                PublishError::Refused(_) => ErrorKind::Refused,
                PublishError::Closed => ErrorKind::Closed,
            },
            Self::Command(error) => match error {
                CommandError::TimedOut { .. } | CommandError::WouldDeadlock { .. } | CommandError::QueueFull { .. } => {
                    ErrorKind::Busy
                }
                CommandError::Disconnected | CommandError::NotConnected { .. } | CommandError::Corrupt(_) => {
                    ErrorKind::Connection
                }
                CommandError::IdInUse { .. }
                | CommandError::InvalidStart(_)
                | CommandError::Invalid { .. }
                | CommandError::SubscriptionEnded => ErrorKind::Usage,
                CommandError::Closed => ErrorKind::Closed,
                CommandError::BookmarkStore(_) => ErrorKind::Store,
                // Also what this crate has no name for: the server's word.
                _ => ErrorKind::Refused,
            },
            Self::Field { .. } => ErrorKind::Usage,
            Self::Move(MoveError::Closed) => ErrorKind::Closed,
            Self::Move(_) => ErrorKind::Connection,
            Self::WouldDeadlock => ErrorKind::Usage,
            Self::NothingYet { .. } => ErrorKind::Busy,
        }
    }

    /// Whether the same call may succeed later, without anybody changing
    /// anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Publish(PublishError::Refused(reason)) | Self::Command(CommandError::Refused { reason, .. }) => {
                !reason.is_permanent()
            }
            error => matches!(error.kind(), ErrorKind::Connection | ErrorKind::Busy),
        }
    }

    /// Whether it is about the connection.
    pub fn is_connection(&self) -> bool {
        matches!(self.kind(), ErrorKind::Connection)
    }

    /// Whether it is the answer to a command.
    pub fn is_command(&self) -> bool {
        matches!(self, Self::Command(_))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io;

    use amps_core::Reason;
    use amps_ha::error::Cause;

    use super::*;
    use crate::codec::{CodecError, Json};

    /// Covers 5.1#1.
    #[test]
    fn every_error_says_who_has_to_act_and_whether_to_try_again() {
        let after = Duration::from_secs(1);
        let refused = |reason| CommandError::Refused { command: "subscribe", topic: "t".into(), reason };
        let lost = || Cause::Io(io::Error::from(io::ErrorKind::ConnectionReset).into());
        for (error, kind, retryable) in [
            (OpenError::NoServer.into(), ErrorKind::Usage, false),
            (ConnectError::from(OpenError::NoRuntime).into(), ErrorKind::Usage, false),
            (ConnectError::AlreadyConnected.into(), ErrorKind::Usage, false),
            (ConnectError::TimedOut { after, attempts: Vec::new() }.into(), ErrorKind::Connection, true),
            (ConnectError::Disconnected { cause: lost() }.into(), ErrorKind::Connection, true),
            (ConnectError::GaveUp { cause: Cause::ByUser, attempts: Vec::new() }.into(), ErrorKind::Closed, false),
            (PublishError::NoTopic.into(), ErrorKind::Usage, false),
            (PublishError::from(CodecError::encoding(&Json, "odd")).into(), ErrorKind::Usage, false),
            (PublishError::Disconnected { cause: None }.into(), ErrorKind::Connection, true),
            (PublishError::WouldDeadlock { topic: "t".into() }.into(), ErrorKind::Busy, true),
            (PublishError::Refused(Reason::NotEntitled).into(), ErrorKind::Refused, false),
            (PublishError::Refused(Reason::Unknown("odd".into())).into(), ErrorKind::Refused, true),
            (PublishError::Closed.into(), ErrorKind::Closed, false),
            (refused(Reason::BadFilter).into(), ErrorKind::Refused, false),
            (refused(Reason::Unknown("odd".into())).into(), ErrorKind::Refused, true),
            (CommandError::TimedOut { command: "flush", after }.into(), ErrorKind::Busy, true),
            (CommandError::QueueFull { topic: "t".into() }.into(), ErrorKind::Busy, true),
            (CommandError::Disconnected.into(), ErrorKind::Connection, true),
            (CommandError::NotConnected { cause: lost() }.into(), ErrorKind::Connection, true),
            (CommandError::IdInUse { id: "a".into() }.into(), ErrorKind::Usage, false),
            (CommandError::Invalid { command: "sow", topic: "t".into(), rule: "no" }.into(), ErrorKind::Usage, false),
            (CommandError::SubscriptionEnded.into(), ErrorKind::Usage, false),
            (Error::Field { command: "sow", field: Field::Sequence, rule: "no" }, ErrorKind::Usage, false),
            (CommandError::Closed.into(), ErrorKind::Closed, false),
            (MoveError::Superseded.into(), ErrorKind::Connection, true),
            (MoveError::Closed.into(), ErrorKind::Closed, false),
            (Error::WouldDeadlock, ErrorKind::Usage, false),
            (Error::NothingYet { after }, ErrorKind::Busy, true),
        ] {
            let error: Error = error;
            assert_eq!((error.kind(), error.is_retryable()), (kind, retryable), "{error:?}");
            assert_eq!(error.is_connection(), kind == ErrorKind::Connection, "{error:?}");
            assert_eq!(error.is_command(), matches!(error, Error::Command(_)));
        }
        let error = Error::from(CommandError::NotConnected { cause: lost() });
        let mut sources = Vec::new();
        let mut next = error.source();
        while let Some(source) = next {
            sources.push(source.to_string());
            next = source.source();
        }
        assert_eq!(sources, ["the connection failed: connection reset", "connection reset"]);
    }
}
