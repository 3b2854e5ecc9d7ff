//! Waits that grow with every failure, on the `backoff` crate.
//!
//! Only its arithmetic is used. Its time limit (on by default), its own random
//! numbers and its clock are switched off: time and seed are the caller's.

use std::collections::BTreeMap;
use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::exponential::ExponentialBackoff;
use backoff::{ExponentialBackoffBuilder, SystemClock};

use super::{AttemptContext, Delay, GiveUpTimer, LossJitter, ReconnectStrategy};

/// Each failed attempt to a server doubles the wait before the next one to it.
///
/// The state is per server: a server not tried since a connection was last
/// healthy waits zero, so the first round over a list of servers is quick. The
/// wait within the window after a loss stands for the first wait as well.
///
/// ```
/// use amps_ha::reconnect::ExponentialReconnect;
/// use std::time::Duration;
///
/// let strategy = ExponentialReconnect::new(42).cap(Duration::from_secs(5));
/// ```
#[derive(Debug)]
pub struct ExponentialReconnect {
    initial: Duration,
    cap: Duration,
    factor: f64,
    jitter: f64,
    give_up: GiveUpTimer,
    random: LossJitter,
    servers: BTreeMap<String, ExponentialBackoff<SystemClock>>,
}

impl ExponentialReconnect {
    /// The defaults: 200 ms, doubled up to 20 s, a jitter of 1.0, a window of
    /// 1 s after a loss, never giving up. Equal seeds give equal waits.
    pub fn new(seed: u64) -> Self {
        Self {
            initial: Duration::from_millis(200),
            cap: Duration::from_secs(20),
            factor: 2.0,
            jitter: 1.0,
            give_up: GiveUpTimer::default(),
            random: LossJitter::new(seed),
            servers: BTreeMap::new(),
        }
    }

    /// Sets the wait after the first failure.
    pub fn initial(mut self, delay: Duration) -> Self {
        self.initial = delay;
        self
    }

    /// Sets the longest wait, jitter included.
    pub fn cap(mut self, delay: Duration) -> Self {
        self.cap = delay;
        self
    }

    /// Sets what each failure multiplies the wait by; below 1, or no number, is
    /// taken as 1.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor.max(1.0);
        self
    }

    /// Sets the random extra of each wait, in multiples of the initial one;
    /// negative, or no number, is taken as 0.
    pub fn jitter(mut self, multiples: f64) -> Self {
        self.jitter = multiples.max(0.0);
        self
    }

    /// Sets the window after a loss, [`DEFAULT_LOSS_WINDOW`](super::DEFAULT_LOSS_WINDOW)
    /// if not set.
    pub fn loss_window(mut self, window: Duration) -> Self {
        self.random.window = window;
        self
    }

    /// Gives up when asked this long after the first failed attempt without a
    /// healthy connection in between. Without it, never.
    pub fn max_retry_time(mut self, time: Duration) -> Self {
        self.give_up.limit = Some(time);
        self
    }

    fn backoff(&mut self, uri: &str) -> Duration {
        let Some(backoff) = self.servers.get_mut(uri) else {
            let first = ExponentialBackoffBuilder::new()
                .with_initial_interval(self.initial.min(self.cap))
                .with_multiplier(self.factor)
                .with_max_interval(self.cap)
                .with_randomization_factor(0.0)
                .with_max_elapsed_time(None)
                .build();
            self.servers.insert(uri.to_owned(), first);
            return Duration::ZERO;
        };
        // It rounds up by up to one nanosecond.
        let base = backoff.next_backoff().unwrap_or(self.cap).min(self.cap);
        let extra = Duration::try_from_secs_f64(self.initial.as_secs_f64() * self.jitter).unwrap_or(self.cap);
        base.saturating_add(self.random.up_to(extra)).min(self.cap)
    }
}

impl ReconnectStrategy for ExponentialReconnect {
    fn next_delay(&mut self, context: &AttemptContext<'_>) -> Delay {
        if let Some(give_up) = self.give_up.check(context) {
            return give_up;
        }
        let backoff = self.backoff(context.uri);
        let spread = self.random.wait(context);
        if backoff.is_zero() && !spread.is_zero() {
            // It stands for the first wait too. With both, the second attempts
            // of many clients would fall among the first of the others.
            self.backoff(context.uri);
        }
        Delay::Wait(backoff.max(spread))
    }

    fn healthy(&mut self, _: &str) {
        self.servers.clear();
        self.give_up.reset();
    }
}
