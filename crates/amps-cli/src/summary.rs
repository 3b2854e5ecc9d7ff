//! `--summary`: one line about what was done.

use std::fmt;

use serde::Serialize;

use crate::exit::Failure;
use crate::say;

/// The forms of `--summary`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Summary {
    /// No line.
    None,
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

impl Summary {
    /// The line, if there is to be one.
    ///
    /// # Errors
    /// When there is no JSON for it.
    pub(crate) fn line(self, what: &(impl Serialize + fmt::Display)) -> Result<Option<String>, Failure> {
        Ok(match self {
            Self::None => None,
            Self::Text => Some(what.to_string()),
            Self::Json => {
                let json = serde_json::to_string(what);
                Some(json.map_err(|error| Failure::new("cannot write the summary", error))?)
            }
        })
    }

    /// Prints the line on standard output.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub(crate) fn print(self, what: &(impl Serialize + fmt::Display)) -> Result<(), Failure> {
        self.line(what)?.map_or(Ok(()), |line| say::answer(format_args!("{line}")))
    }
}

/// Seconds, to the millisecond.
pub(crate) fn seconds(since: std::time::Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1_000.0).round() / 1_000.0
}

/// `1 message`, `2 messages`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
