//! How the program ends.

use std::fmt;
use std::process::ExitCode;

use crate::say::{self, Tone};

/// What the exit codes mean, for the help and the manual pages.
pub(crate) const CODES: &str = "\
Exit codes:
  0      what was asked for was done
  1      it failed, or not everything was acknowledged
  2      the command line, a profile or the environment is wrong; nothing was done
  3      `store`: damaged, or not all could be salvaged; `conformance`: no logon there
  128+N  ended by signal N before it was done; `subscribe` and its kin end with 0";

/// The end of a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    /// Everything asked for was done.
    Done,
    /// It was done, and the answer is no: something was not acknowledged.
    Incomplete,
    /// It was done, and the answer is: damaged, or not all could be salvaged.
    Damaged,
    /// A signal ended it before everything was done.
    Signal(i32),
    /// It was done, and says by itself how it ended.
    Code(ExitCode),
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        match end {
            End::Done => Self::SUCCESS,
            End::Incomplete => Self::FAILURE,
            End::Damaged => Self::from(3),
            End::Code(code) => code,
            // As a shell reports a program ended by a signal.
            End::Signal(signal) => u8::try_from(128 + signal).map_or(Self::FAILURE, Self::from),
        }
    }
}

/// A command that failed: what was tried, why it did not work, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    hints: Vec<String>,
    usage: bool,
}

impl Failure {
    pub(crate) fn new(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self { text: format!("{what}: {why}"), hints: Vec::new(), usage: false }
    }

    /// What was asked for cannot be, and nothing was done.
    pub(crate) fn usage(what: impl fmt::Display) -> Self {
        Self { text: what.to_string(), hints: Vec::new(), usage: true }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, what: impl Into<Option<String>>) -> Self {
        self.hints.extend(what.into());
        self
    }

    /// Tells of it on standard error.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("{} {self}", say::painted(Tone::Bad, "error:"));
        for hint in &self.hints {
            say::line(Tone::Hint, format_args!("  {}", hint.replace('\n', "\n  ")));
        }
        match self.usage {
            true => ExitCode::from(2),
            false => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
