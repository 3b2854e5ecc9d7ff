//! What happens to a client, in words.

use std::fmt;

use super::{ConnectionState, Event, HandlerFailed, StateChange};

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connected => "connected",
            Self::LoggedOn => "logged on",
            Self::HeartbeatInitiated => "heartbeat initiated",
            Self::PublishReplayed => "publish replayed",
            Self::Resubscribed => "resubscribed",
            Self::Disconnected => "disconnected",
            Self::Shutdown => "shut down",
        })
    }
}

/// The state, the server and the cause.
impl fmt::Display for StateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.state)?;
        if let Some(uri) = &self.uri {
            write!(f, " {uri}")?;
        }
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for HandlerFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message handler failed: {}", self.error)
    }
}

/// For a person, without the message's body; a program matches the variants.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(change) => write!(f, "{change}"),
            Self::AttemptFailed { uri, attempt, cause } => write!(f, "attempt {attempt} at {uri} failed: {cause}"),
            Self::FailedWrite(failed) => write!(f, "refused message {}: {}", failed.sequence, failed.reason),
            Self::SequenceAhead { uri, sequence } => write!(
                f,
                "{uri} knows this client name with sequence {sequence}, which it never used: is there another client \
                 of this name, or is the store an old copy?"
            ),
            Self::NameContested { uri, .. } => write!(
                f,
                "{uri} keeps closing the connection soon after the logon: does another client use this name? Give \
                 each its own"
            ),
            Self::Warning(warning) => write!(f, "{warning}"),
            Self::HandlerFailed(failed) => write!(f, "{failed}"),
            Self::BookmarkStoreFailed(error) => write!(f, "the bookmark store failed: {error}"),
            Self::Panicked(panicked) => write!(f, "{panicked}"),
            Self::Dropped { messages } => {
                write!(f, "lost {messages} messages with the connection: there is no store")
            }
            Self::Missed(events) => write!(f, "{events} events not shown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::error::Cause;

    #[test]
    fn an_event_says_what_happened_where_and_why() {
        let uri = || "tcp://trader:secret@a:9007/amps/json".parse().unwrap();
        let (state, cause) = (ConnectionState::Disconnected, Some(Cause::Closed));
        let lost = StateChange { state, uri: Some(uri()), attempt: 1, cause, at: Instant::now() };
        let failed = Event::AttemptFailed { uri: uri(), attempt: 2, cause: Cause::Closed };
        for (event, text) in [
            (Event::State(lost), "disconnected tcp://trader:***@a:9007/amps/json: the server closed the connection"),
            (failed, "attempt 2 at tcp://trader:***@a:9007/amps/json failed: the server closed the connection"),
            (Event::Dropped { messages: 3 }, "lost 3 messages with the connection: there is no store"),
        ] {
            assert_eq!(event.to_string(), text);
        }
    }
}
