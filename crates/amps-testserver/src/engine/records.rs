//! The records of SOW topics.

use std::sync::Arc;

use super::Engine;
use crate::log::Entry;
use crate::sow::SowRecord;

impl Engine {
    /// Keeps a published message in its SOW, if it has one; answers the record
    /// it takes the place of.
    pub(super) fn keep(&mut self, entry: &Entry) -> Option<SowRecord> {
        let (sow, key) = (self.topics.get(entry.topic).sow?, entry.sow_key?);
        let client = Arc::clone(&self.log.publisher(entry.publisher).name);
        let before = self.sow[sow].keep(key, entry, client);
        if let (Some(at), Some(_)) = (self.next_expiry(), self.now) {
            self.arm(at);
        }
        before
    }

    /// Deletes records; answers them with the number of their SOW.
    pub(super) fn delete(&mut self, keys: &[u64]) -> Vec<(usize, SowRecord)> {
        // A key is that of one record of one topic.
        let sows = self.sow.iter_mut().enumerate();
        sows.flat_map(|(at, sow)| sow.delete(keys).into_iter().map(move |record| (at, record))).collect()
    }

    pub(super) fn sow_key(&self, topic: u32, given: Option<&str>, body: &[u8]) -> Option<u64> {
        self.sow[self.topics.get(topic).sow?].key_of(given, body)
    }
}
