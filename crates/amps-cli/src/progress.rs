//! A bar on a terminal; elsewhere nothing but events.

use std::fmt::Write;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// Counts persisted messages. Clones are the same bar.
#[derive(Debug, Clone)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Draws on standard error if that is a terminal.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::no_length();
        if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} {pos} of {msg} persisted, {rate}") {
            // Digits after the point would only flicker. Writing to a bar does not fail.
            let rate = |state: &ProgressState, out: &mut dyn Write| {
                let _ = write!(out, "{:.0}/s", state.per_sec());
            };
            bar.set_style(style.with_key("rate", rate));
        }
        bar.set_message("0");
        Self(bar)
    }

    /// Shows how many of `published` messages are persisted.
    pub(crate) fn show(&self, persisted: u64, published: u64) {
        if !self.0.is_hidden() {
            self.0.set_message(published.to_string());
            self.0.set_position(persisted);
        }
    }

    /// Writes a line to standard error, above the bar if there is one.
    pub(crate) fn say(&self, text: &str) {
        match self.0.is_hidden() {
            true => eprintln!("{text}"),
            false => self.0.println(text),
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}
