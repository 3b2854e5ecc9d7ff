use std::path::PathBuf;

use crate::kv::KvError;

/// Why a publish store cannot be opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The engine underneath failed.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The store was made for something else. Sequences belong to one client
    /// name and one kind of message; use another directory.
    #[error(
        "the publish store {dir} was made for {field} '{stored}' and is opened for '{given}': use the same {field} or another directory"
    )]
    WrongIdentity {
        /// The store's directory.
        dir: PathBuf,
        /// What differs.
        field: &'static str,
        /// The value in the store.
        stored: String,
        /// The value given now.
        given: String,
    },
    /// The store's contents contradict themselves. Nothing was changed; move
    /// the directory away to start empty, or restore it.
    #[error("the publish store {dir} is damaged: {what}; it was left as it is: move the directory away to start empty")]
    Damaged {
        /// The store's directory.
        dir: PathBuf,
        /// What was found.
        what: String,
    },
    /// Written by a newer version of this crate.
    #[error("the publish store {dir} has format {found}, newer than the {known} this version reads")]
    NewerFormat {
        /// The store's directory.
        dir: PathBuf,
        /// The version found.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
}

/// Why a log does not go on at a server that accepted the logon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogonRefused {
    /// The server lacks messages an earlier one had acknowledged. Publishing
    /// there would make it drop those for good when they are replicated to it
    /// late.
    #[error(
        "publish gap: the server knows this client up to sequence {server}, an earlier one acknowledged {acknowledged}"
    )]
    PublishGap {
        /// The sequence in this server's logon acknowledgement.
        server: u64,
        /// The highest sequence known to have been acknowledged.
        acknowledged: u64,
    },
    /// The server names a sequence that no message can have: above a quarter of
    /// what 64 bits hold. Numbers above it would run out.
    #[error(
        "the server knows this client's name up to sequence {server}, above which numbers would run out: publish under another name"
    )]
    ImpossibleSequence {
        /// The sequence in this server's logon acknowledgement.
        server: u64,
    },
    /// New numbers from an earlier logon are still being stored; try again.
    #[error("the publish store is still giving its messages new numbers")]
    Renumbering,
}

impl LogonRefused {
    /// A short name that stays the same.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::PublishGap { .. } => "publish_gap",
            Self::ImpossibleSequence { .. } => "impossible_sequence",
            Self::Renumbering => "renumbering",
        }
    }
}
