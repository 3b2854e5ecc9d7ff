//! How the program ends.

use std::fmt;
use std::process::ExitCode;

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

/// A command that failed: what was tried, and why it did not work.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
