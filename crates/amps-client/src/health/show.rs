use std::fmt;
use std::time::Duration;

use super::{Health, HealthReason, RecoveringAt};

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons: Vec<_> = self.reasons.iter().map(|reason| one_line(&reason.to_string())).collect();
        match reasons.is_empty() {
            true => write!(f, "{}", self.status),
            false => write!(f, "{}: {}", self.status, reasons.join("; ")),
        }
    }
}

/// What servers and applications say may have more lines.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

/// A duration to a tenth, in its unit.
pub(crate) struct For(pub(crate) Duration);

impl fmt::Display for For {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1?}", self.0)
    }
}

/// So many, in one or several.
pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

impl fmt::Display for HealthReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over { cause } => write!(f, "the client is over: {cause}"),
            Self::StaysDisconnected { lasting, cause } => {
                write!(f, "not connected for {}, and nothing reconnects it: {cause}", For(*lasting))
            }
            Self::NotConnected { lasting, recovering } => {
                write!(f, "not connected for {}", For(*lasting))?;
                recovering.as_ref().map_or(Ok(()), |at| write!(f, ", {at}"))
            }
            Self::AttemptsFailed { server, attempts, cause } => {
                write!(f, "{} at {server} failed, the last: {cause}", count(*attempts, "attempt"))
            }
            Self::PublishGap { server, known, acknowledged } => {
                write!(f, "publish gap at {server}: it knows this client up to sequence {known}, ")?;
                write!(f, "another server acknowledged {acknowledged}")
            }
            Self::PublishStoreFailed { error } => write!(f, "the publish store failed: {error}"),
            Self::PublishStoreNearlyFull { bytes, bytes_bound, messages, messages_bound } => {
                write!(f, "the publish store is nearly full: {bytes} of {bytes_bound} bytes in ")?;
                f.write_str(&count(*messages, "message"))?;
                if *messages_bound < u64::MAX { write!(f, " of {messages_bound}") } else { Ok(()) }
            }
            Self::UnacknowledgedOld { messages, age } => {
                let are = if *messages == 1 { "is" } else { "are" };
                write!(f, "{} {are} unacknowledged, the oldest for {}", count(*messages, "message"), For(*age))
            }
            Self::BookmarkStoreFailed { error } => write!(f, "bookmarks are not kept: {error}"),
            Self::QueueFull { subscription, topic, messages, lasting } => {
                write!(f, "the queue of the subscription '{subscription}' to '{topic}' is full for {}", For(*lasting))?;
                write!(f, " with {}", count(*messages as u64, "message"))
            }
            Self::UndiscardedOld { subscription, messages, age } => {
                let messages = count(*messages as u64, "message");
                write!(f, "{messages} of the subscription '{subscription}' not discarded, the oldest for {}", For(*age))
            }
            Self::SubscriptionRefused { topic, filter, server, cause } => {
                write!(f, "the subscription to '{topic}'")?;
                filter.as_ref().map_or(Ok(()), |filter| write!(f, " with the filter '{filter}'"))?;
                write!(f, " has ended: {server} refused it: {cause}")
            }
            Self::NameContested { server } => {
                write!(f, "another client probably uses the same name at {server}")
            }
        }
    }
}

impl fmt::Display for RecoveringAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, server, attempt, lasting } = self;
        write!(f, "in {} of attempt {attempt} at {server} for {}", phase.as_str(), For(*lasting))
    }
}
