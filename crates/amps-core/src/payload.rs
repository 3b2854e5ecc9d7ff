//! Bodies in the formats that AMPS adds to the usual ones (AMPS User Guide,
//! "Message Types"). A client never looks into a body by itself.

mod composite;
mod pairs;

pub use composite::{Composite, CompositeBuilder, CompositeError, PARTS_MAX, Parts};
pub use pairs::{FixBuilder, NvfixBuilder, PairError, Pairs, SEPARATOR, fix, nvfix};
