//! Lines for people, on standard error; answers, on standard output.
//!
//! Colours are there on a terminal only, and not when `NO_COLOR` is set.

use std::fmt;
use std::io::{self, Write};
use std::sync::LazyLock;

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};

use crate::exit::Failure;

/// What a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// It goes on as wished.
    Good,
    /// It goes on, but something is not as wished.
    Warning,
    /// Something was lost, or did not work.
    Bad,
    /// What to do about it.
    Hint,
}

/// Whether standard error takes colours.
pub(crate) fn has_colours() -> bool {
    static COLOURS: LazyLock<bool> =
        LazyLock::new(|| anstream::AutoStream::choice(&io::stderr()) != ColorChoice::Never);
    *COLOURS
}

/// The text in the colour of its tone, if there are colours.
pub(crate) fn painted(tone: Tone, text: impl fmt::Display) -> String {
    let style = match tone {
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Warning => AnsiColor::Yellow.on_default(),
        Tone::Bad => AnsiColor::Red.on_default().bold(),
        Tone::Hint => Style::new().dimmed(),
    };
    match has_colours() {
        true => format!("{style}{text}{style:#}"),
        false => text.to_string(),
    }
}

/// Writes a line to standard error.
pub(crate) fn line(tone: Tone, text: impl fmt::Display) {
    eprintln!("{}", painted(tone, text));
}

/// Writes an answer to standard output. That nobody reads it is no failure.
///
/// # Errors
/// What standard output reports.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to standard output", error))
        }
        _ => Ok(()),
    }
}

/// [`print()`] for one line.
///
/// # Errors
/// As there.
pub(crate) fn answer(line: fmt::Arguments<'_>) -> Result<(), Failure> {
    print(&format!("{line}\n"))
}
