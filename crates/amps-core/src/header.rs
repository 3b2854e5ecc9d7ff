//! Header fields: one flat, JSON-like object in front of every body.
//!
//! Keys have a short and a long spelling and both occur on the wire
//! (AMPS Command Reference, "AMPS Protocol"); reading accepts either, writing
//! uses the first column of the table below. Unknown keys are skipped.

mod field;
mod form;
mod scan;
mod write;

pub use field::Field;
pub(crate) use form::Form;
pub(crate) use scan::{Entry, parse, unescape};
pub use write::FrameWriter;
