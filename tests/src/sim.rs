//! Whole systems from one seed: publishers, subscribers and servers of the real
//! code, a network, disks and a clock of our own, and faults of all kinds.
//!
//! A [`Plan`] is made from a seed before anything runs: the world, and every
//! fault with its time. Running it twice gives the same run. What happened is
//! held against ledgers kept outside the code under test: what was accepted and
//! promised, what each subscription was given in which life, what was discarded
//! and saved, what was done of a queue. After the last fault everything is healed
//! and has a bounded time to settle.

mod asker;
mod check;
mod chooser;
mod deltas;
mod fault;
mod first;
mod guests;
mod moves;
mod part;
mod pauser;
mod plan;
mod profile;
mod publisher;
mod ranger;
mod run;
mod setup;
mod shrink;
mod subscriber;
mod trouble;
mod viewer;
mod worker;

pub use check::Violation;
pub use fault::{DiskFault, Fault};
pub use plan::{Conflation, Event, Plan, World};
pub use profile::Profile;
pub use publisher::Mix;
pub use run::{Figures, Outcome, run};
pub use shrink::shrink;
