use serde::{Deserialize, Serialize};

/// What a publish store belongs to. All servers of a client share it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The client name: the publisher, as the servers know it.
    pub client_name: String,
    /// The message type, such as `json`; empty when the server decides.
    pub message_type: String,
    /// The protocol: `amps`.
    pub protocol: String,
}

/// Version of what [`Meta`] and the values look like on disk.
pub(super) const FORMAT: u32 = 1;

/// No sequence is above this: half of what there are, as far as the clock in
/// nanoseconds goes. What says more was not written by a log.
pub(super) const SEQUENCE_MAX: u64 = u64::MAX / 2;

/// What a log remembers beside its frames; one record in the store, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) format: u32,
    #[serde(flatten)]
    pub(super) identity: Identity,
    /// Everything up to here is settled; its values may be removed.
    pub(super) discarded_through: u64,
    /// The highest sequence a server acknowledged as persisted.
    pub(super) persisted_through: u64,
    /// Numbers up to here may have been sent, whatever the log holds.
    pub(super) reserved_through: u64,
    /// Whether this log ever logged on.
    pub(super) ever_logged_on: bool,
    /// Entries from here on were never sent: they were stored without a
    /// connection. Cleared, and synced, before anything is sent.
    pub(super) never_sent_from: Option<u64>,
    /// Set by a clean close: the next number, exactly.
    pub(super) next_sequence: Option<u64>,
    /// Settled above `discarded_through`, out of order: first and last of each
    /// run.
    pub(super) settled: Vec<(u64, u64)>,
    /// While entries get new numbers: values above this are copies in the
    /// making and are removed at open.
    pub(super) renumbering_above: Option<u64>,
}

impl Meta {
    /// Whether its numbers can be a log's.
    pub(super) fn is_possible(&self) -> bool {
        let numbers = [self.discarded_through, self.persisted_through, self.reserved_through];
        let maybe = [self.never_sent_from, self.next_sequence, self.renumbering_above];
        let settled = self.settled.iter().flat_map(|(first, last)| [*first, *last]);
        numbers.into_iter().chain(maybe.into_iter().flatten()).chain(settled).all(|number| number <= SEQUENCE_MAX)
    }
}
