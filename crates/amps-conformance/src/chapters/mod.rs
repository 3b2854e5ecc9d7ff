//! The checks, one chapter a file.

mod filter;
mod logon;
mod publish;
mod sequence;
mod subscribe;
mod topic;

use crate::check::Check;

/// Every chapter, in order.
pub(crate) const ALL: &[&[Check]] = &[
    logon::CHECKS,
    publish::CHECKS,
    sequence::CHECKS,
    subscribe::CHECKS,
    filter::CHECKS,
    topic::CHECKS,
];
