//! Scenarios that cross the crates live in `tests/`; what they share is here.
//!
//! [`Pair`] is the main tool: clients and servers in one thread, joined by a
//! network of our own, with virtual time and one seed.

pub mod pair;

pub use pair::{ClientSetup, Entered, Kill, Pair, Store};
