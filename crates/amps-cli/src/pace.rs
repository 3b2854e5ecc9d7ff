//! `--rate`: so many messages a second.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A wait for the message's turn; without a rate, none.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Option<Duration>,
    next: Instant,
}

impl Pace {
    /// At most `rate` messages a second. A delay is not made up for.
    pub(crate) fn new(rate: Option<u32>) -> Self {
        Self { interval: rate.map(|rate| Duration::from_secs(1) / rate.max(1)), next: Instant::now() }
    }

    /// Waits for the next turn. May be dropped; the turn is then still to come.
    pub(crate) async fn wait(&mut self) {
        let Some(interval) = self.interval else { return };
        // The timer counts milliseconds: at high rates several turns are due at once.
        let now = Instant::now();
        if self.next > now + Duration::from_millis(1) {
            sleep_until(self.next).await;
        }
        self.next = self.next.max(now.checked_sub(BURST).unwrap_or(now)) + interval;
    }
}

/// Turns missed for longer than this are forgotten.
const BURST: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_and_a_stall_is_not_made_up_for() {
        let mut pace = Pace::new(Some(5_000));
        let began = Instant::now();
        for _ in 0..5_000 {
            pace.wait().await;
        }
        let took = began.elapsed();
        assert!((950..=1_050).contains(&took.as_millis()), "{took:?}");

        tokio::time::advance(Duration::from_secs(10)).await;
        let began = Instant::now();
        for _ in 0..5_000 {
            pace.wait().await;
        }
        assert!(began.elapsed() > Duration::from_millis(950), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_waits() {
        let mut pace = Pace::new(None);
        let began = Instant::now();
        pace.wait().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
