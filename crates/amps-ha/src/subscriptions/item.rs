use std::ops::Range;

use amps_core::{Message, Messages, Uri};

use crate::error::CommandError;

/// Bounds of a subscription's queue. At either the reader stops until the
/// application takes something (policy `block`).
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Messages.
    pub messages: usize,
    /// Bytes of frames.
    pub bytes: usize,
}

impl Default for QueueLimits {
    /// 10,000 messages or 16 MiB.
    fn default() -> Self {
        Self { messages: 10_000, bytes: 16 << 20 }
    }
}

/// What a subscription's consumer gets, in order.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Item {
    /// A message.
    Message(Message),
    /// The records of a query follow.
    SnapshotBegin,
    /// All records of the query were delivered.
    SnapshotEnd,
    /// An acknowledgement the application asked for: `completed` behind the last
    /// message of a replay, `stats` behind the records of a query.
    Ack(Message),
    /// The connection was lost; what follows comes from this server. For a
    /// bookmark subscription nothing is missing in between; any other missed
    /// what was published meanwhile.
    Reconnected {
        /// The server.
        uri: Uri,
    },
    /// The server knows none of the bookmarks: messages may be missing.
    Gap {
        /// The server.
        uri: Uri,
    },
    /// Another server, which does not say whether it knows the bookmarks: it is
    /// too old, or the subscription began with a query.
    GapPossible {
        /// The server.
        uri: Uri,
    },
}

/// Why nothing more will come.
#[derive(Debug, Clone)]
pub enum EndCause {
    /// The query is complete.
    Complete,
    /// It failed.
    Failed(CommandError),
}

/// Counters of one subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Messages queued for the application.
    pub delivered: u64,
    /// Messages dropped because they were delivered or discarded before.
    pub duplicates: u64,
    /// Messages replaced by newer ones before they were read; the newer ones do
    /// not count as delivered again.
    pub conflated: u64,
}

/// What waits for a consumer: messages of one read, or something else.
#[derive(Debug, Clone)]
pub enum Waiting {
    /// Some of these messages.
    Messages(Messages, Range<usize>),
    /// An item that is not a message.
    Control(Item),
}

impl Waiting {
    /// How many items it is.
    pub fn len(&self) -> usize {
        match self {
            Self::Messages(_, range) => range.len(),
            Self::Control(_) => 1,
        }
    }

    /// Whether it is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of frames.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Messages(messages, range) => messages.span(range.clone()).len(),
            Self::Control(_) => 0,
        }
    }
}
