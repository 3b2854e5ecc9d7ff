//! The place at which the newest message of each SOW key waits (AMPS developer
//! guides, "Client Side Conflation").

use std::collections::HashMap;

use amps_core::{Field, Messages};

use super::item::Waiting;

/// Where in a queue messages wait that newer ones may take the place of. Only of
/// what waits: its size is bounded with the queue.
#[derive(Debug, Default)]
pub(super) struct Conflation {
    /// By SOW key, counted from the first item there ever was.
    places: HashMap<Box<[u8]>, u64>,
    /// Items that left the queue at its front.
    gone: u64,
}

/// The SOW key by which one message may stand for another. A message leased
/// from a queue stands for itself.
pub(super) fn key(messages: &Messages, index: usize) -> Option<&[u8]> {
    let leased = messages.raw_bytes(index, Field::LeasePeriod).is_some();
    messages.raw_bytes(index, Field::SowKey).filter(|_| !leased)
}

impl Conflation {
    /// The index at which a message with this key waits.
    pub(super) fn place(&self, key: &[u8]) -> Option<usize> {
        self.places.get(key).map(|place| (place - self.gone) as usize)
    }

    /// A message with this key waits there.
    pub(super) fn waits(&mut self, key: &[u8], index: usize) {
        self.places.insert(key.into(), self.gone + index as u64);
    }

    /// What waits stays as it is: something follows that separates it from what
    /// comes behind.
    pub(super) fn separate(&mut self) {
        self.places.clear();
    }

    /// This left the queue at its front.
    pub(super) fn took(&mut self, waiting: &Waiting) {
        if let Waiting::Messages(messages, range) = waiting
            && let Some(key) = key(messages, range.start)
            && self.places.get(key) == Some(&self.gone)
        {
            self.places.remove(key);
        }
        self.gone += 1;
    }
}
