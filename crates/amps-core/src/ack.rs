//! Acknowledgements: their types and status.

use std::fmt;
use std::ops::{BitOr, Sub};

/// One kind of acknowledgement (AMPS Command Reference, "ack").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AckType {
    /// The command arrived.
    Received,
    /// The command was accepted or refused.
    Processed,
    /// The message, or everything up to a position, is durable.
    Persisted,
    /// The command, or its bounded part, is finished.
    Completed,
    /// Counters after the command finished.
    Stats,
}

impl AckType {
    const ALL: [Self; 5] = [Self::Received, Self::Processed, Self::Persisted, Self::Completed, Self::Stats];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Processed => "processed",
            Self::Persisted => "persisted",
            Self::Completed => "completed",
            Self::Stats => "stats",
        }
    }

    /// The type a word names.
    pub fn from_wire(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ack| ack.as_str() == word)
    }
}

impl fmt::Display for AckType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A set of acknowledgement types a command asks for.
///
/// ```
/// use amps_core::{AckType, AckTypes};
/// let acks = AckType::Processed | AckType::Completed;
/// assert_eq!(acks.to_string(), "processed,completed");
/// assert_eq!(AckTypes::from_wire("completed, processed"), acks);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct AckTypes(u8);

impl AckTypes {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// Reads a comma-separated list; unknown words are skipped.
    pub fn from_wire(list: &str) -> Self {
        list.split(',').filter_map(|word| AckType::from_wire(word.trim())).fold(Self::NONE, |set, ack| set | ack)
    }

    /// Whether nothing is asked for.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `ack` is in the set.
    pub fn contains(self, ack: AckType) -> bool {
        self.0 & bit(ack) != 0
    }

    /// The set without `ack`.
    #[must_use]
    pub fn without(self, ack: AckType) -> Self {
        Self(self.0 & !bit(ack))
    }
}

fn bit(ack: AckType) -> u8 {
    1 << ack as u8
}

impl BitOr for AckTypes {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Sub for AckTypes {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl From<AckType> for AckTypes {
    fn from(ack: AckType) -> Self {
        Self(bit(ack))
    }
}

impl BitOr<AckType> for AckTypes {
    type Output = Self;
    fn bitor(self, ack: AckType) -> Self {
        Self(self.0 | bit(ack))
    }
}

impl BitOr for AckType {
    type Output = AckTypes;
    fn bitor(self, ack: Self) -> AckTypes {
        AckTypes::from(self) | ack
    }
}

impl fmt::Display for AckTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for ack in AckType::ALL.into_iter().filter(|ack| self.contains(*ack)) {
            write!(f, "{separator}{}", ack.as_str())?;
            separator = ",";
        }
        Ok(())
    }
}

/// How a command went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// It did what was asked.
    Success,
    /// It did not; the ack carries a reason.
    Failure,
    /// Logon only: try again with the credentials in the ack.
    Retry,
}

impl Status {
    /// The status a word names; anything unknown counts as a failure.
    pub fn from_wire(word: &str) -> Self {
        match word {
            _ if word.eq_ignore_ascii_case("success") => Self::Success,
            _ if word.eq_ignore_ascii_case("retry") => Self::Retry,
            _ => Self::Failure,
        }
    }

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Retry => "retry",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
