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
    goal: Option<u64>,
    silent: bool,
}

impl Progress {
    /// Counts deliveries, up to `goal` if there is one.
    pub(crate) fn new(goal: Option<usize>) -> Self {
        let goal = goal.map(|goal| goal as u64);
        let (bar, template) = match goal {
            Some(goal) => (ProgressBar::new(goal), "{elapsed:>4} {wide_bar} {pos}/{len} delivered"),
            None => (ProgressBar::new_spinner(), "{elapsed:>4} {spinner} {pos} delivered"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let now = Instant::now();
        Self { bar, started: now, last: now, goal, silent: false }
    }

    /// Says nothing.
    pub(crate) fn silent() -> Self {
        let mut progress = Self::new(None);
        progress.bar = ProgressBar::hidden();
        progress.silent = true;
        progress
    }

    /// Notes how many messages were delivered by now.
    pub(crate) fn delivered(&mut self, count: usize) {
        self.bar.set_position(count as u64);
        if self.bar.is_hidden() && self.last.elapsed() >= EVERY {
            self.last = Instant::now();
            let goal = self.goal.map(|goal| format!(" of {goal}")).unwrap_or_default();
            self.say(&format!("{count}{goal} delivered"));
        }
    }

    /// Says that something happened.
    pub(crate) fn say(&self, what: &str) {
        if self.silent {
            return;
        }
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
