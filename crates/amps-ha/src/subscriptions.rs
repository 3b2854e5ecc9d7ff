//! Subscriptions: what to enter again after a disconnect, and the queues in
//! which their messages wait.

mod acks;
#[cfg(test)]
mod acks_tests;
mod conflation;
#[cfg(test)]
mod conflation_tests;
mod item;
#[cfg(test)]
mod overflow_tests;
mod queue;
mod reader;
mod refused;
mod rules;
mod spec;
mod table;
#[cfg(test)]
mod tests;

pub use acks::{ACK_BATCH_MAX, ACK_TIMEOUT, AckBatch, AckBatching, AckOption, Added, QueueAcks};
pub use item::{EndCause, Item, OnFull, QueueLimits, QueueStats, Waiting};
pub use queue::{About, QueueLook, SubscriptionQueue};
pub use reader::QueueReader;
pub use refused::{FailedResubscribe, FailedResubscribeHandler, OnFailedResubscribe};
pub use spec::{OnUnknownBookmark, Replacement, SubscriptionKind, SubscriptionSpec};
pub(crate) use table::Markers;
pub use table::{Entered, Replacing, Route, Table};
