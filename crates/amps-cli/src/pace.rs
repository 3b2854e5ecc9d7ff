//! `--rate`: so many messages a second.

use std::str::FromStr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Messages a second, more than none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate(f64);

impl Rate {
    fn interval(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.0)
    }
}

impl From<u32> for Rate {
    /// At least one.
    fn from(rate: u32) -> Self {
        Self(f64::from(rate.max(1)))
    }
}

impl FromStr for Rate {
    type Err = String;

    /// Also less than one, such as 0.25 for one message in four seconds.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            Ok(rate) if (1e-6..=1e9).contains(&rate) => Ok(Self(rate)),
            _ => Err(format!("{text:?} is no rate: expected messages a second, such as 1000 or 0.25")),
        }
    }
}

/// A wait for the message's turn; without a rate, none.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Option<Duration>,
    next: Instant,
}

impl Pace {
    /// At most `rate` messages a second. A delay is not made up for.
    pub(crate) fn new(rate: Option<Rate>) -> Self {
        Self { interval: rate.map(Rate::interval), next: Instant::now() }
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
        let mut pace = Pace::new(Some(5_000.into()));
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
    async fn a_rate_may_be_less_than_one() {
        let mut pace = Pace::new(Some("0.25".parse().unwrap()));
        let began = Instant::now();
        for _ in 0..3 {
            pace.wait().await;
        }
        assert_eq!(began.elapsed().as_secs(), 8);
        for bad in ["0", "-1", "NaN", "inf", "x"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_waits() {
        let mut pace = Pace::new(None);
        let began = Instant::now();
        pace.wait().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
