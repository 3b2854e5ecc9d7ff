#![doc = include_str!("../README.md")]
//!
//! # The way in
//!
//! [`run`] is the suite, [`Options`] says what to check and where, [`Topics`] what the
//! server has for it. A [`Finding`] is a [`Check`] and its [`Verdict`]. [`Args`] is the
//! command line of it. What it publishes to a topic with a transaction log stays in
//! that log.

mod args;
mod bench;
mod chapters;
mod check;
mod exchange;
mod judge;
mod query;
mod replay;
mod report;
mod survey;
mod topics;
mod wire;

use std::time::Duration;

use amps_core::Uri;

pub use args::Args;
pub use check::{Check, Need, Verdict};
pub use report::{Finding, Totals};
pub use topics::{Topics, TopicsError};

use bench::{Bench, Server};

/// What to check, and where.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The server.
    pub uri: Uri,
    /// The topics to use.
    pub topics: Topics,
    /// How long each answer may take. Default 5 s.
    pub timeout: Duration,
    /// Only these checks, or chapters; empty: all.
    pub only: Vec<String>,
}

impl Options {
    /// All checks of a server, on the default topics.
    pub fn new(uri: Uri) -> Self {
        Self { uri, topics: Topics::default(), timeout: Duration::from_secs(5), only: Vec::new() }
    }
}

/// Nobody to check: there is no server, or it does not let us in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot log on to {uri}: {reason}")]
#[non_exhaustive]
pub struct Unreachable {
    /// The connection string, with its password masked.
    pub uri: String,
    /// Why.
    pub reason: String,
}

/// Every check, in the order in which they run.
pub fn checks() -> impl Iterator<Item = &'static Check> {
    chapters::ALL.iter().flat_map(|checks| checks.iter())
}

/// Runs the checks one after the other, and shows each finding as it comes.
///
/// Every wait is bounded by the timeout, and a check by twelve of them and 15 s.
/// Cancelling leaves what the running check has published.
///
/// # Errors
/// [`Unreachable`] when the first logon fails. A server that is lost later makes
/// checks fail.
pub async fn run(options: &Options, mut each: impl FnMut(&Finding)) -> Result<Totals, Unreachable> {
    let server = Server::new(options);
    let survey = survey::look(&server).await.map_err(|reason| Unreachable { uri: options.uri.to_string(), reason })?;
    let mut totals = Totals::default();
    let wanted = |check: &&Check| options.only.is_empty() || options.only.iter().any(|name| check.is(name));
    for (number, check) in checks().enumerate().filter(|(_, check)| wanted(check)) {
        let verdict = match survey.lacks(check.needs) {
            Some(what) => Verdict::NotConfigured(what.to_owned()),
            None => Bench::new(&server, number + 1).judge(check).await,
        };
        let finding = Finding { check, verdict };
        totals.count(&finding.verdict);
        each(&finding);
    }
    Ok(totals)
}
