//! What instances tell each other of a queue: entries of the log of their own,
//! which go where its messages go (AMPS User Guide, "Replicated Queues").

use std::fmt;
use std::sync::Arc;

use amps_core::Bookmark;

/// In front of the name of a queue: the topic of its changes. No client can
/// publish there.
pub(super) const TOPIC: &str = "/AMPS/Queue/";

/// Whether that is the topic of a queue's changes.
pub(crate) fn is_queue_change(topic: &str) -> bool {
    topic.starts_with(TOPIC)
}

/// The instance that may deliver a message. Of two the greater is the later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::engine) struct Owner {
    /// How often the message was handed over.
    pub(super) transfers: u64,
    /// The instance; empty where nobody knows.
    pub(super) name: Arc<str>,
}

impl Owner {
    /// The next one.
    pub(super) fn then(&self, name: &str) -> Self {
        Self { transfers: self.transfers + 1, name: name.into() }
    }
}

/// A change of one message of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// It left the queue for good.
    Done(Bookmark),
    /// It has another owner.
    Owner(Bookmark, Owner),
}

impl Change {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(bytes).ok()?.splitn(4, ' ');
        match (words.next()?, words.next()?.parse().ok()?, words.next(), words.next()) {
            ("done", bookmark, None, None) => Some(Self::Done(bookmark)),
            ("owner", bookmark, Some(transfers), Some(name)) => {
                Some(Self::Owner(bookmark, Owner { transfers: transfers.parse().ok()?, name: name.into() }))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(bookmark) => write!(f, "done {bookmark}"),
            Self::Owner(bookmark, Owner { transfers, name }) => write!(f, "owner {bookmark} {transfers} {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_reads_as_it_was_written() {
        let bookmark = Bookmark { publisher: 7, sequence: 3 };
        for (change, text) in [
            (Change::Done(bookmark), "done 7|3|"),
            (
                Change::Owner(bookmark, Owner { transfers: 2, name: "the other one".into() }),
                "owner 7|3| 2 the other one",
            ),
        ] {
            assert_eq!(change.to_string(), text);
            assert_eq!(Change::parse(text.as_bytes()), Some(change));
        }
        for text in ["", "done", "done x", "done 7|3| 1", "owner 7|3|", "owner 7|3| x B", "gone 7|3|"] {
            assert_eq!(Change::parse(text.as_bytes()), None, "{text}");
        }
    }
}
