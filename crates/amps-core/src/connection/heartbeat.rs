use std::time::{Duration, Instant};

/// When to send a heartbeat, and when the peer counts as dead.
///
/// Any traffic counts, in both directions: a busy connection sends no extra
/// beats, and any received byte is a sign of life (AMPS developer guides,
/// "Using a Heartbeat to Detect Disconnection"). Time only moves forward, so a
/// change of the wall clock has no effect.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    last_sent: Instant,
    last_received: Instant,
    reading: bool,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeartbeatDue {
    /// Nothing before [`Heartbeat::deadline`].
    Nothing,
    /// Nothing was sent for an interval: send a beat.
    Beat,
    /// Nothing was received for the timeout: the peer is gone.
    Dead,
}

impl Heartbeat {
    /// Starts at `now`. The timeout is at least the interval.
    pub fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        Self { interval, timeout: timeout.max(interval), last_sent: now, last_received: now, reading: true }
    }

    /// Bytes were written.
    pub fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Bytes were received.
    pub fn received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// Tells whether this side reads at all. While it does not (a full queue
    /// holds it back), silence says nothing about the peer and is not counted.
    pub fn reading(&mut self, reading: bool, now: Instant) {
        if reading && !self.reading {
            self.last_received = now;
        }
        self.reading = reading;
    }

    /// What is due at `now`. Calling it early or twice is harmless.
    #[must_use]
    pub fn due(&self, now: Instant) -> HeartbeatDue {
        if self.reading && now >= self.last_received + self.timeout {
            HeartbeatDue::Dead
        } else if now >= self.last_sent + self.interval {
            HeartbeatDue::Beat
        } else {
            HeartbeatDue::Nothing
        }
    }

    /// The next moment [`due`](Self::due) can answer something else. Changes
    /// after every other call.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let beat = self.last_sent + self.interval;
        if self.reading { beat.min(self.last_received + self.timeout) } else { beat }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn any_traffic_counts_and_silence_is_noticed() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(SECOND, 2 * SECOND, start);
        assert_eq!(beat.due(start + SECOND / 2), HeartbeatDue::Nothing);
        assert_eq!(beat.due(start + SECOND), HeartbeatDue::Beat);
        beat.sent(start + SECOND);
        beat.received(start + SECOND);
        assert_eq!(beat.deadline(), start + 2 * SECOND);
        assert_eq!(beat.due(start + 2 * SECOND), HeartbeatDue::Beat);
        assert_eq!(beat.due(start + 3 * SECOND), HeartbeatDue::Dead);
    }

    #[test]
    fn silence_while_not_reading_is_not_the_peers() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(SECOND, 2 * SECOND, start);
        beat.reading(false, start + SECOND);
        assert_eq!(beat.due(start + 60 * SECOND), HeartbeatDue::Beat, "beats go on");
        beat.reading(true, start + 60 * SECOND);
        beat.sent(start + 60 * SECOND);
        assert_eq!(beat.due(start + 60 * SECOND), HeartbeatDue::Nothing);
        assert_eq!(beat.due(start + 62 * SECOND), HeartbeatDue::Dead);
    }
}
