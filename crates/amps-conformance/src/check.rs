//! One check, and what became of it.

use std::future::Future;
use std::pin::Pin;

use crate::bench::Bench;
use crate::judge::Stop;

/// One rule of the protocol, and how to see whether a server keeps to it.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its chapter and its own name, such as `sow/batches`.
    pub name: &'static str,
    /// The public document and page it comes from.
    pub source: &'static str,
    /// What the server has to have.
    pub needs: &'static [Need],
    pub(crate) run: Run,
}

pub(crate) type Run = for<'a> fn(&'a Bench<'a>) -> Running<'a>;
pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<Verdict, Stop>> + Send + 'a>>;

impl Check {
    /// Its chapter.
    pub fn chapter(&self) -> &'static str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// Whether it has this name, or is in the chapter of this name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name == name || self.chapter() == name
    }
}

/// What a server has to have for a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// The SOW topic.
    Sow,
    /// The SOW topic, in the transaction log.
    LoggedSow,
    /// The topic in the transaction log.
    Log,
    /// The queue.
    Queue,
}

/// What became of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The server does what the documents say.
    Pass,
    /// It does not.
    Fail {
        /// What the documents let expect.
        expected: String,
        /// What came instead.
        came: String,
        /// What was sent (`>`) and received (`<`), the last of it.
        exchange: Vec<String>,
    },
    /// What it needs is not there.
    NotConfigured(String),
    /// The documents leave it open; this is what the server did.
    Observed(String),
}

impl Verdict {
    /// In one word, or two.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail { .. } => "fail",
            Self::NotConfigured(_) => "not configured",
            Self::Observed(_) => "observed",
        }
    }
}

impl From<()> for Verdict {
    fn from((): ()) -> Self {
        Self::Pass
    }
}

impl From<String> for Verdict {
    fn from(what: String) -> Self {
        Self::Observed(what)
    }
}

/// A check: name, page, needs, and the function that carries it out. One that
/// answers nothing judges, one that answers a text reports.
macro_rules! check {
    ($name:literal, $source:expr, [$($need:ident),*], $run:expr) => {
        $crate::check::Check {
            name: $name,
            source: $source,
            needs: &[$($crate::check::Need::$need),*],
            run: |bench| Box::pin(async move { $run(bench).await.map($crate::check::Verdict::from) }),
        }
    };
}
pub(crate) use check;
