//! Subscriptions: what to enter again after a disconnect, and the queues in
//! which their messages wait.

mod queue;
mod spec;
mod table;
#[cfg(test)]
mod tests;

pub use queue::{Delivery, EndCause, Item, QueueLimits, QueueReader, QueueStats, SubscriptionQueue, Taken};
pub use spec::{OnUnknownBookmark, SubscriptionKind, SubscriptionSpec};
pub use table::{Entered, Route, Table};
