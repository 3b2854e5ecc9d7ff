use std::ops::{Add, Range};

use amps_core::{Message, Messages, Uri};
use serde::Serialize;

use crate::error::CommandError;

/// Bounds of a subscription's queue. What happens at either says [`OnFull`].
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

/// What becomes of messages for which a subscription's queue has no room, since
/// its stream is not read fast enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnFull {
    /// They wait, and everything else of the connection behind them: the client
    /// stops reading from the server until the stream is read. Nothing is lost.
    #[default]
    Block,
    /// The oldest that wait are dropped for them. [`Item::Missed`] stands where
    /// they were. Not for bookmark subscriptions, deltas and queues, of which every
    /// message counts.
    DropOldest,
    /// The subscription ends, behind what waits, with
    /// [`CommandError::QueueFull`]. With a bookmark store a bookmark subscription
    /// that is entered again goes on behind what was discarded.
    End,
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
    /// message of a replay, `stats` behind the records of a query. One that says
    /// that something failed has that [status](Message::status) and a reason.
    Ack(Message),
    /// Messages were dropped here, since the stream was not read:
    /// [`OnFull::DropOldest`].
    Missed {
        /// How many.
        messages: u64,
    },
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueueStats {
    /// Messages queued for the application.
    pub delivered: u64,
    /// Messages dropped because they were delivered or discarded before.
    pub duplicates: u64,
    /// Messages replaced by newer ones before they were read; the newer ones do
    /// not count as delivered again.
    pub conflated: u64,
    /// Of those delivered, messages that were dropped before they were read.
    pub missed: u64,
}

/// Those of two subscriptions together.
impl Add for QueueStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            delivered: self.delivered + other.delivered,
            duplicates: self.duplicates + other.duplicates,
            conflated: self.conflated + other.conflated,
            missed: self.missed + other.missed,
        }
    }
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
