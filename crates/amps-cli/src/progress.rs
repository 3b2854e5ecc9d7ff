//! A line that shows how far something is, on a terminal; elsewhere nothing but
//! events.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::say::{self, Tone};

/// How often what moves by itself is drawn.
const TICK: Duration = Duration::from_millis(200);

/// Counts. Clones are the same line. Drawn on standard error if that is a
/// terminal.
#[derive(Debug, Clone)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Messages that are published, and how many of them are persisted. With the
    /// input's length, in bytes, also how much of it is taken in.
    pub(crate) fn publishing(input_bytes: Option<u64>) -> Self {
        match input_bytes.filter(|bytes| *bytes > 0) {
            Some(bytes) => {
                let bar = Self::styled(ProgressBar::new(bytes), "{elapsed:>4} [{bar:24}] {percent:>3}% {msg}");
                bar.message("0 published, 0 persisted");
                bar
            }
            None => Self::styled(ProgressBar::no_length(), "{elapsed:>4} {msg}"),
        }
    }

    /// Messages that come. Nothing is drawn where they are printed to a terminal.
    pub(crate) fn receiving() -> Self {
        match io::stdout().is_terminal() {
            true => Self(ProgressBar::hidden()),
            false => Self::styled(ProgressBar::no_length(), "{elapsed:>4} {pos} messages, {rate}"),
        }
    }

    /// Something that takes its time, without a number.
    pub(crate) fn working(what: &'static str) -> Self {
        let bar = Self::styled(ProgressBar::no_length(), "{spinner} {elapsed:>4} {msg}");
        bar.message(what);
        if !bar.0.is_hidden() {
            bar.0.enable_steady_tick(TICK);
        }
        bar
    }

    fn styled(bar: ProgressBar, template: &str) -> Self {
        if let Ok(style) = ProgressStyle::with_template(template) {
            // Digits after the point would only flicker. Writing to a bar does not fail.
            let rate = |state: &ProgressState, out: &mut dyn Write| {
                let _ = write!(out, "{:.0}/s", state.per_sec());
            };
            bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
        }
        Self(bar)
    }

    fn message(&self, text: impl Into<std::borrow::Cow<'static, str>>) {
        self.0.set_message(text);
    }

    /// Shows how many messages are published and persisted, and how many bytes of
    /// the input are taken in.
    pub(crate) fn show(&self, published: u64, persisted: u64, input_bytes: u64) {
        if !self.0.is_hidden() {
            self.0.set_message(format!("{published} published, {persisted} persisted"));
            self.0.set_position(input_bytes);
        }
    }

    /// Shows how many messages have come.
    pub(crate) fn count(&self, messages: u64) {
        self.0.set_position(messages);
    }

    /// Writes a line to standard error, above the progress if it is drawn.
    pub(crate) fn say(&self, tone: Tone, text: &str) {
        match self.0.is_hidden() {
            true => say::line(tone, text),
            false => self.0.println(say::painted(tone, text)),
        }
    }

    /// Takes the line away.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}
