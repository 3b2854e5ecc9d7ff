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
