use amps_core::Message;
use bytes::Bytes;

use super::meta::Meta;
use crate::kv::SyncLevel;

/// Work a [`PublishLog`](super::PublishLog) wants done in its store. One at a
/// time, in order.
#[derive(Debug)]
pub struct Job(pub(super) Work);

impl Job {
    /// What it is, for its span.
    pub(super) fn name(&self) -> &'static str {
        match &self.0 {
            Work::Commit(_) => "commit",
            Work::Sync(_) => "sync",
            Work::Load { .. } => "load",
            Work::ReadRefused { .. } => "read_refused",
            Work::Renumber(_) => "renumber",
        }
    }
}

#[derive(Debug)]
pub(super) enum Work {
    Commit(Commit),
    /// Makes what was committed survive.
    Sync(SyncLevel),
    Load {
        /// Keys of the values, in order.
        keys: Vec<u64>,
    },
    /// Refused messages, for whoever is to be told.
    ReadRefused {
        /// Key of the value.
        value: u64,
        /// Of the messages in it.
        sequences: Vec<u64>,
    },
    Renumber(Renumber),
}

/// A group of segments to store, and which values to remove.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) meta: Meta,
    pub(super) segments: Vec<StoredSegment>,
    /// Values of sequences below this go.
    pub(super) remove_below: Option<u64>,
    /// The last one brings its own sync.
    pub(super) sync: Option<SyncLevel>,
}

#[derive(Debug, Clone)]
pub(super) struct StoredSegment {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Last sequence of the value before, present or already removed.
    pub(super) previous_last: u64,
    pub(super) bytes: Bytes,
}

/// Copies entries to new numbers, then forgets the old ones, in a way that a
/// crash leaves one whole set.
#[derive(Debug, Clone)]
pub(super) struct Renumber {
    /// Values to copy, in order.
    pub(super) keys: Vec<u64>,
    /// Skip entries below this sequence; they are settled.
    pub(super) from: u64,
    /// Last sequence of the old numbering.
    pub(super) old_last: u64,
    /// The first new number.
    pub(super) start: u64,
    /// The record to write when all copies are there.
    pub(super) meta: Meta,
}

/// What a finished [`Job`] answers.
#[derive(Debug)]
pub struct JobDone(pub(super) Done);

#[derive(Debug)]
pub(super) enum Done {
    Committed,
    Synced,
    Loaded(Vec<(u64, Bytes)>),
    /// Refused messages by sequence; `None` when one cannot be read.
    ReadRefused(Vec<(u64, Option<Message>)>),
    /// Key and bytes of each new value.
    Renumbered(Vec<(u64, usize)>),
}
