//! Whole systems from one seed: publishers, subscribers and servers of the real
//! code, a network, disks and a clock of our own, and faults of all kinds.
//!
//! A [`Plan`] is made from a seed before anything runs: the world, and every
//! fault with its time. Running it twice gives the same run. What happened is
//! held against ledgers kept outside the code under test: what was accepted and
//! promised, what each subscription was given in which life, what was discarded
//! and saved. After the last fault everything is healed and has a bounded time
//! to settle.

mod check;
mod plan;
mod publisher;
mod run;
mod shrink;
mod subscriber;
mod viewer;

pub use check::Violation;
pub use plan::{Event, Fault, Plan, World};
pub use run::{Figures, Outcome, run};
pub use shrink::shrink;
