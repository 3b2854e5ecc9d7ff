//! What is wrong with a filter's text.

use std::error::Error;
use std::fmt;

/// Why a text is no filter, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    at: usize,
    what: String,
}

impl FilterError {
    pub(super) fn new(at: usize, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }

    /// The byte of the text where it goes wrong; the text's length when
    /// something is missing at its end.
    pub fn at(&self) -> usize {
        self.at
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad filter, byte {}: {}", self.at, self.what)
    }
}

impl Error for FilterError {}
