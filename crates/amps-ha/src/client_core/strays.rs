use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use amps_core::Message;
use amps_core::connection::command_number;
use serde::Serialize;
use tokio::sync::broadcast;

use super::ClientCore;

/// How many messages a slow listener may be behind.
const BEHIND: usize = 1024;

/// Messages that reach no stream (AMPS developer guides, "Unexpected
/// Messages"): those nobody expected, and duplicates. Listeners get copies.
#[derive(Debug, Clone)]
pub struct Strays {
    /// Messages for subscriptions that never were, answers to commands that
    /// never were issued, failures that belong to no published message.
    pub unexpected: broadcast::Sender<Message>,
    /// Messages of bookmark subscriptions that were delivered or discarded
    /// before.
    pub duplicates: broadcast::Sender<Message>,
    counts: Arc<(AtomicU64, AtomicU64)>,
}

/// How many messages reached no stream, duplicates aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StrayCounts {
    /// Nobody ever asked for them.
    pub unexpected: u64,
    /// They came for a subscription or command that had ended: the rest of
    /// what was on its way.
    pub late: u64,
}

impl Default for Strays {
    fn default() -> Self {
        Self {
            unexpected: broadcast::Sender::new(BEHIND),
            duplicates: broadcast::Sender::new(BEHIND),
            counts: Arc::default(),
        }
    }
}

impl Strays {
    /// How many there were so far.
    pub fn counts(&self) -> StrayCounts {
        let (unexpected, late) = &*self.counts;
        StrayCounts { unexpected: unexpected.load(Ordering::Relaxed), late: late.load(Ordering::Relaxed) }
    }

    fn late(&self) {
        self.counts.1.fetch_add(1, Ordering::Relaxed);
    }

    fn unexpected(&self, message: &Message) {
        self.counts.0.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(?message, "an unexpected message");
        if self.unexpected.receiver_count() > 0 {
            let _ = self.unexpected.send(message.detached());
        }
    }
}

impl ClientCore {
    /// Tells of messages that reach no stream there.
    #[must_use]
    pub fn strays(mut self, strays: Strays) -> Self {
        self.strays = strays;
        self
    }

    /// How many messages reached no stream so far, duplicates aside.
    pub fn stray_counts(&self) -> StrayCounts {
        self.strays.counts()
    }

    /// A message or answer for the subscription or command `id`, which there
    /// is not, or not any more.
    pub(super) fn stray(&mut self, message: &Message, id: Option<&str>) {
        match id.is_some_and(|id| self.was_ours(id)) {
            true => self.strays.late(),
            false => self.strays.unexpected(message),
        }
    }

    /// Whether an id is one of a subscription or command of this client, ended or
    /// not.
    pub(super) fn was_ours(&self, id: &str) -> bool {
        self.subscriptions.was_issued(id) || command_number(id).is_some_and(|number| number < self.next_id)
    }

    /// A failure of something published that the log does not know, or has
    /// settled.
    pub(super) fn stray_failure(&mut self, ack: &Message, sequence: u64) {
        match self.log.peek(|log| log.is_sequenced() && sequence <= log.persisted_through()) {
            true => self.strays.late(),
            false => self.strays.unexpected(ack),
        }
    }
}
