//! How far a run is: a bar on a terminal, a few plain lines elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Without a terminal a line at most this often.
const EVERY: Duration = Duration::from_secs(5);

/// Writes to standard error.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    last: Instant,
    goal: u64,
}

impl Progress {
    /// Counts deliveries up to `goal`.
    pub(crate) fn new(goal: usize) -> Self {
        let bar = ProgressBar::new(goal as u64);
        if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} {wide_bar} {pos}/{len} delivered") {
            bar.set_style(style);
        }
        let now = Instant::now();
        Self { bar, started: now, last: now, goal: goal as u64 }
    }

    /// Notes how many messages were delivered by now.
    pub(crate) fn delivered(&mut self, count: usize) {
        self.bar.set_position(count as u64);
        if self.bar.is_hidden() && self.last.elapsed() >= EVERY {
            self.last = Instant::now();
            self.say(&format!("{count} of {} delivered", self.goal));
        }
    }

    /// Says that something happened.
    pub(crate) fn say(&self, what: &str) {
        let line = format!("{:6.2}s {what}", self.started.elapsed().as_secs_f64());
        match self.bar.is_hidden() {
            true => eprintln!("{line}"),
            false => self.bar.println(line),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
