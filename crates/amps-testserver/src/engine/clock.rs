//! The time as it is told, and when something is next due.

use std::time::{Duration, Instant};

use super::Engine;
use super::replicate::Peer;

impl Engine {
    pub(super) fn advance(&mut self, now: Instant) {
        let first = self.began.is_none();
        self.began.get_or_insert(now);
        self.now = Some(self.now.map_or(now, |last| last.max(now)));
        self.about.set_now(self.micros_now());
        if first {
            // Records of an earlier life expire too.
            self.arm_all();
        }
    }

    /// The latest time anybody told.
    pub(super) fn now(&self) -> Instant {
        self.now.expect("a connection exists only after a call that told the time")
    }

    /// A time as one since the beginning of 1970.
    pub(super) fn wall_clock(&self, at: Instant) -> Duration {
        self.config.wall_clock + at.saturating_duration_since(self.began.unwrap_or(at))
    }

    /// The latest time anybody told, as microseconds since the beginning of
    /// 1970.
    pub(super) fn micros_now(&self) -> u64 {
        self.now.map_or(self.config.wall_clock, |now| self.wall_clock(now)).as_micros() as u64
    }

    /// A time in microseconds since the beginning of 1970.
    pub(super) fn instant_of(&self, micros: u64) -> Instant {
        let from_start = Duration::from_micros(micros).saturating_sub(self.config.wall_clock);
        self.began.unwrap_or_else(|| self.now()) + from_start
    }

    /// The latest time anybody told, as microseconds since the beginning of
    /// 1970; never before the last message of the log.
    pub(super) fn processed_now(&self) -> u64 {
        self.micros_now().max(self.log.last_processed())
    }

    pub(super) fn arm(&mut self, at: Instant) {
        self.timeout = Some(self.timeout.map_or(at, |timeout| timeout.min(at)));
    }

    pub(super) fn arm_all(&mut self) {
        let connections = self.connections.values().filter_map(|connection| connection.deadline(&self.config));
        let peers = self.peers.iter().filter_map(Peer::deadline);
        let earliest = connections.chain(peers).chain(self.queues.deadline());
        let earliest = earliest.chain(self.next_expiry()).chain(self.next_release()).min();
        if let Some(at) = earliest {
            self.arm(at);
        }
    }
}
