//! Publishing is appending to a log.
//!
//! The publish store is an ordered log of already encoded frames, and the
//! connection's writer is a reader of that log:
//!
//! ```text
//! append -------------> [ discarded | sent, unacknowledged | not sent yet ]
//!                                   ^acked            ^sent   ^durable   ^end
//! ```
//!
//! * [`PublishLog`] is the log and its cursors: no thread, no clock, no disk.
//! * [`job`](PublishLog::next_job)s are what it wants done on disk;
//!   [`SegmentStore`] does them on the ordered key-value seam
//!   [`Kv`](crate::kv::Kv).
//! * [`SharedLog`] puts it between publishers, writer and store thread.
//!
//! Order on the wire is the order of the log, always: nothing else ever writes
//! what carries a sequence. A reconnect moves the `sent` cursor back; there is
//! no separate replay.

mod capacity;
mod disk;
mod error;
mod hybrid;
mod log;
mod logon;
mod meta;
mod open;
#[cfg(any(test, feature = "oracles"))]
#[doc(hidden)]
pub mod oracle;
mod read_back;
mod refused;
mod rescue;
mod segment;
mod shared;
mod spare;
mod store;
#[cfg(test)]
mod tests;
mod work;

pub use capacity::{Full, Limits, OnStoreFull, Resize, ResizeHandler};
pub use error::{LogonRefused, StoreError};
pub use hybrid::MemoryPart;
pub use log::{AppendError, Cursors, PublishLog};
pub use logon::{LogonReport, OnPublishGap};
pub use meta::Identity;
pub use open::Recovered;
pub use refused::FailedWrite;
pub use rescue::{Contents, Examined, Records, Salvaged};
pub use shared::{SharedLog, StoreThread};
pub use store::SegmentStore;
pub use work::{Job, JobDone};

/// What a publish survives once it has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Appended in memory: survives the failure of servers and networks.
    Memory,
    /// Handed to the operating system: also survives `kill -9` of the client.
    ProcessCrash,
    /// On the disk (fsync, by group commit): also survives the machine.
    PowerLoss,
}
