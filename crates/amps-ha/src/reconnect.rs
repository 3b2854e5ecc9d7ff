//! How long to wait before the next connection attempt.
//!
//! A strategy decides nothing else: which server is next is the business of a
//! [`ServerChooser`](crate::server_chooser::ServerChooser). Time and the seed
//! of all randomness come from the caller.

mod exponential;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use exponential::ExponentialReconnect;

/// The default window within which clients that lost a server together spread
/// their first attempt.
pub const DEFAULT_LOSS_WINDOW: Duration = Duration::from_secs(1);

/// What a strategy is told about the attempt it is to delay.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AttemptContext<'a> {
    /// The server the attempt is for, as the chooser names it. The wait before
    /// it is this server's own: another one may be tried at once.
    pub uri: &'a str,
    /// The time of the question.
    pub now: Instant,
    /// This is the first attempt after a live connection was lost.
    pub after_loss: bool,
}

impl<'a> AttemptContext<'a> {
    /// An attempt to connect to `uri`, asked for at `now`.
    pub fn new(uri: &'a str, now: Instant) -> Self {
        Self { uri, now, after_loss: false }
    }

    /// Says whether it is the first attempt after a loss.
    pub fn after_loss(mut self, yes: bool) -> Self {
        self.after_loss = yes;
        self
    }
}

/// A strategy's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delay {
    /// Connect after this long.
    Wait(Duration),
    /// Do not connect any more.
    GiveUp {
        /// Why, for the error the user gets.
        reason: String,
    },
}

/// When to make the next connection attempt.
pub trait ReconnectStrategy: Send + 'static {
    /// The wait before the attempt. Asked once per attempt, just before it.
    fn next_delay(&mut self, context: &AttemptContext<'_>) -> Delay;

    /// A connection to `uri` proved healthy: forget the failures. Being
    /// connected is not enough, because a server that accepts and then closes
    /// would be tried in a busy loop.
    fn healthy(&mut self, uri: &str);
}

/// The same wait before every attempt.
#[derive(Debug)]
pub struct FixedReconnect {
    delay: Duration,
    give_up: GiveUpTimer,
    jitter: LossJitter,
}

impl FixedReconnect {
    /// Waits `delay` before each attempt to a server that failed since a
    /// connection was last healthy; the first attempt does not wait. `seed` is
    /// that of the window after a loss.
    pub fn new(delay: Duration, seed: u64) -> Self {
        Self { delay, give_up: GiveUpTimer::default(), jitter: LossJitter::new(seed) }
    }

    /// Gives up when asked this long after the first failed attempt without a
    /// healthy connection in between. Without it, never.
    pub fn max_retry_time(mut self, time: Duration) -> Self {
        self.give_up.limit = Some(time);
        self
    }

    /// Sets the window after a loss, [`DEFAULT_LOSS_WINDOW`] if not set.
    pub fn loss_window(mut self, window: Duration) -> Self {
        self.jitter.window = window;
        self
    }
}

impl ReconnectStrategy for FixedReconnect {
    fn next_delay(&mut self, context: &AttemptContext<'_>) -> Delay {
        let tried = self.give_up.tried(context.uri);
        if let Some(give_up) = self.give_up.check(context) {
            return give_up;
        }
        let delay = if tried { self.delay } else { Duration::ZERO };
        Delay::Wait(delay.max(self.jitter.wait(context)))
    }

    fn healthy(&mut self, _: &str) {
        self.give_up.reset();
    }
}

/// Spreads the first attempts after a loss over a window, so that the clients
/// of a server that died do not return in step.
#[derive(Debug)]
struct LossJitter {
    window: Duration,
    random: StdRng,
}

impl LossJitter {
    fn new(seed: u64) -> Self {
        Self { window: DEFAULT_LOSS_WINDOW, random: StdRng::seed_from_u64(seed) }
    }

    fn wait(&mut self, context: &AttemptContext<'_>) -> Duration {
        if context.after_loss { self.up_to(self.window) } else { Duration::ZERO }
    }

    /// Uniform, without the end.
    fn up_to(&mut self, end: Duration) -> Duration {
        let nanos = u64::try_from(end.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(if nanos == 0 { 0 } else { self.random.random_range(0..nanos) })
    }
}

/// Which servers were tried since a connection was last healthy, and since when.
#[derive(Debug, Default)]
struct GiveUpTimer {
    limit: Option<Duration>,
    since: Option<Instant>,
    tried: std::collections::BTreeSet<String>,
}

impl GiveUpTimer {
    fn tried(&self, uri: &str) -> bool {
        self.tried.contains(uri)
    }

    /// Counts from the first question that follows an attempt: that one failed.
    fn check(&mut self, context: &AttemptContext<'_>) -> Option<Delay> {
        if !self.tried.is_empty() {
            let since = *self.since.get_or_insert(context.now);
            let elapsed = context.now.saturating_duration_since(since);
            if self.limit.is_some_and(|limit| elapsed >= limit) {
                let tried: Vec<_> = self.tried.iter().map(String::as_str).collect();
                let reason = format!("no connection for {elapsed:.1?}, tried {}", tried.join(", "));
                return Some(Delay::GiveUp { reason });
            }
        }
        if !self.tried.contains(context.uri) {
            self.tried.insert(context.uri.to_owned());
        }
        None
    }

    fn reset(&mut self) {
        self.since = None;
        self.tried.clear();
    }
}

#[cfg(test)]
mod tests;
