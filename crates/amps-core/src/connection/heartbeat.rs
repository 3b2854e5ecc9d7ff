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
    /// Since when something waits to be written, without progress.
    writing_since: Option<Instant>,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeartbeatDue {
    /// Nothing before [`Heartbeat::deadline`].
    Nothing,
    /// Nothing was sent for an interval: send a beat.
    Beat,
    /// Nothing was received for the timeout: the peer is gone.
    Silent,
    /// The peer took nothing for the timeout, though there is something to
    /// write: it is gone, whatever it still sends.
    Stuck,
}

impl Heartbeat {
    /// Starts at `now`. The timeout is at least the interval.
    pub fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        Self {
            interval,
            timeout: timeout.max(interval),
            last_sent: now,
            last_received: now,
            reading: true,
            writing_since: None,
        }
    }

    /// Bytes were written.
    pub fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Tells, at each start of writing and at each progress, whether there is
    /// more to write.
    pub fn writing(&mut self, now: Instant, more: bool) {
        self.writing_since = more.then_some(now);
    }

    /// Bytes were received.
    pub fn received(&mut self, now: Instant) {
        self.last_received = now;
    }

    /// How long nothing was received, of the time this side reads.
    pub fn silence(&self, now: Instant) -> Duration {
        if self.reading { now.saturating_duration_since(self.last_received) } else { Duration::ZERO }
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
            HeartbeatDue::Silent
        } else if self.writing_since.is_some_and(|since| now >= since + self.timeout) {
            HeartbeatDue::Stuck
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
        let silent = self.reading.then_some(self.last_received + self.timeout);
        let stuck = self.writing_since.map(|since| since + self.timeout);
        silent.into_iter().chain(stuck).fold(self.last_sent + self.interval, Instant::min)
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
        assert_eq!(beat.due(start + 3 * SECOND), HeartbeatDue::Silent);
    }

    #[test]
    fn a_peer_that_takes_nothing_is_noticed_whatever_it_sends() {
        let start = Instant::now();
        let mut beat = Heartbeat::new(SECOND, 2 * SECOND, start);
        beat.writing(start + SECOND, true);
        beat.received(start + 2 * SECOND);
        beat.sent(start + 2 * SECOND);
        assert_eq!(beat.due(start + 2 * SECOND), HeartbeatDue::Nothing);
        beat.writing(start + 2 * SECOND, true);
        beat.received(start + 4 * SECOND);
        assert_eq!(beat.due(start + 4 * SECOND), HeartbeatDue::Stuck);
        beat.writing(start + 4 * SECOND, false);
        beat.sent(start + 4 * SECOND);
        assert_eq!(beat.due(start + 5 * SECOND), HeartbeatDue::Beat);
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
        assert_eq!(beat.due(start + 62 * SECOND), HeartbeatDue::Silent);
    }
}
