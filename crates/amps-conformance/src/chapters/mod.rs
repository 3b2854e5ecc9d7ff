//! The checks, one chapter a file.

mod bookmark;
mod delta;
mod filter;
mod frame;
mod heartbeat;
mod logon;
mod oof;
mod open_acks;
mod open_messages;
mod publish;
mod queue;
mod replay;
mod sequence;
mod sow;
mod sow_and_subscribe;
mod sow_delete;
mod subscribe;
mod topic;

use crate::check::Check;

/// Every chapter, in order.
pub(crate) const ALL: &[&[Check]] = &[
    logon::CHECKS,
    frame::CHECKS,
    publish::CHECKS,
    sequence::CHECKS,
    subscribe::CHECKS,
    filter::CHECKS,
    topic::CHECKS,
    sow::CHECKS,
    sow_and_subscribe::CHECKS,
    delta::CHECKS,
    oof::CHECKS,
    sow_delete::CHECKS,
    bookmark::CHECKS,
    replay::CHECKS,
    queue::CHECKS,
    heartbeat::CHECKS,
    open_acks::CHECKS,
    open_messages::CHECKS,
];
