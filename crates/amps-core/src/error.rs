//! Why bytes are not a message.

/// Why a frame is not a message. The stream cannot be trusted afterwards.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The frame ends inside its header, or inside a record of a batch.
    #[error("the frame ends inside its header")]
    Truncated,
    /// The header breaks a rule of the syntax.
    #[error("malformed header at byte {at}: {rule}")]
    Syntax {
        /// Byte offset in the frame.
        at: usize,
        /// The rule.
        rule: &'static str,
    },
    /// The header is not UTF-8.
    #[error("the header is not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Byte offset in the frame.
        at: usize,
    },
    /// The header names no command.
    #[error("the header names no command")]
    NoCommand,
    /// A SOW batch has more records than are read: servers send at most 10,000.
    #[error("a SOW frame has more than {max} records")]
    TooManyRecords {
        /// The bound.
        max: usize,
    },
    /// A record of a SOW batch has no length, or one that leaves the frame.
    #[error("a SOW record at byte {at} has no valid length")]
    RecordLength {
        /// Byte offset in the frame.
        at: usize,
    },
}
