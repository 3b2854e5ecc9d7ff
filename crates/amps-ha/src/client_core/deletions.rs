//! Deletions of records whose counts somebody waits for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amps_core::{Message, Reason, Status};
use tokio::sync::oneshot;

use super::ClientCore;
use super::recovery::reason_of;

/// What a `sow_delete` found, as the server counts (AMPS Command Reference,
/// "sow_delete").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deleted {
    /// Records that were deleted, or messages of a queue that were acknowledged.
    pub records: u64,
    /// Records that the deletion named.
    pub matches: u64,
    /// Records in the topics it was for.
    pub topic_matches: u64,
}

impl Deleted {
    /// What a `stats` ack says.
    pub(super) fn counted(ack: &Message) -> Self {
        Self {
            records: ack.records_deleted().unwrap_or_default(),
            matches: ack.matches().unwrap_or_default(),
            topic_matches: ack.topic_matches().unwrap_or_default(),
        }
    }
}

/// What becomes of a deletion: its counts; `None` when the connection it was
/// sent on ended without them; why the server refused it.
pub type Counted = Result<Option<Deleted>, Reason>;

/// Those that wait, by a number of their own.
#[derive(Debug, Clone, Default)]
pub struct Deletions(Arc<Mutex<BTreeMap<u64, oneshot::Sender<Counted>>>>);

/// So many waiting ones, and those that nobody waits for any more are forgotten.
const SWEEP: usize = 1024;

impl Deletions {
    /// The command id of a deletion. Other commands have others, also those of
    /// an earlier process that come from the publish store.
    pub fn command_id(number: u64) -> String {
        format!("d{number}")
    }

    /// Somebody waits for the counts of this one: to be called before it is
    /// sent.
    pub fn expect(&self, number: u64) -> oneshot::Receiver<Counted> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.len() >= SWEEP {
            waiting.retain(|_, sender| !sender.is_closed());
        }
        waiting.insert(number, sender);
        receiver
    }

    /// No answer comes any more to what was sent.
    pub(super) fn lost(&self) {
        for (_, sender) in std::mem::take(&mut *self.lock()) {
            let _ = sender.send(Ok(None));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, oneshot::Sender<Counted>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientCore {
    /// Tells of the counts of deletions there.
    #[must_use]
    pub fn deletions(mut self, deletions: Deletions) -> Self {
        self.deletions = deletions;
        self
    }

    /// The counts of a deletion came, if that is what this is. Of one that was
    /// sent before, and again after a failover, nobody waits for them.
    pub(super) fn deletion_counted(&self, ack: &Message) -> bool {
        let number = ack.command_id().and_then(|id| id.strip_prefix('d')?.parse().ok());
        let Some(number) = number else { return false };
        let counted = match ack.status() {
            Status::Success => Ok(Some(Deleted::counted(ack))),
            _ => Err(reason_of(ack)),
        };
        if let Some(sender) = self.deletions.lock().remove(&number) {
            let _ = sender.send(counted);
        }
        true
    }
}
