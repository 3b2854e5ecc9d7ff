//! Records that expire (AMPS User Guide, "Message Expiration").
//!
//! Every instance does so by its own clock: nothing is logged or replicated.

use std::time::Instant;

use super::Engine;

impl Engine {
    /// Deletes the records whose time is over, and tells those who asked.
    pub(super) fn expire_records(&mut self) {
        let now = self.processed_now();
        for at in 0..self.sow.len() {
            let expired = self.sow[at].expire(now);
            if expired.is_empty() {
                continue;
            }
            let topic = self.topic_of_sow(at);
            for record in expired {
                self.deliver_deleted(topic, &record, "expired");
            }
        }
    }

    /// When the next record expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let at = self.sow.iter().filter_map(|sow| sow.next_end()).min()?;
        self.began.map(|_| self.instant_of(at))
    }
}
