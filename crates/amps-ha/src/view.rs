//! The records of a SOW topic, kept current by what a subscription to them
//! yields.
//!
//! [`View`] is the bookkeeping alone: [`Step`]s in, [`Change`]s out. It reads no
//! bodies and waits for nothing; whoever has the stream makes steps of its items.

mod change;
#[cfg(test)]
mod oracle;
mod records;
#[cfg(test)]
mod tests;

pub use change::{Change, Removal};
pub use records::{Records, Step, View};
