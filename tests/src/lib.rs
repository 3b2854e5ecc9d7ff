//! Scenarios that cross the crates live in `tests/`; what they share is here.
//!
//! [`Pair`] is the main tool: clients and servers in one thread, joined by a
//! network of our own, with virtual time and one seed; [`sim`] runs whole systems
//! with it. [`targets`] is what is fuzzed, [`scripted`] a server that says what it is
//! told to.

#[cfg(doctest)]
mod documents;
pub mod pair;
pub mod peer;
pub mod scripted;
pub mod sim;
pub mod targets;
#[cfg(feature = "terminal")]
pub mod terminal;

pub use pair::{ClientSetup, Entered, Kill, Pair, Store};

/// How many cases a property test tries: `PROPTEST_CASES`, or so many.
pub fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}
