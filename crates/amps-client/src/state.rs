use amps_ha::event::{ConnectionSummary, StateChange};
use tokio::sync::watch;

/// The latest connection state, to be looked at or waited for (AMPS developer
/// guides, "Monitoring Connection State").
///
/// However slow whoever watches is, it holds nothing up and sees the latest;
/// states in between may go unseen. [`Events`](crate::Events) has them all.
#[derive(Debug, Clone)]
pub struct StateWatch {
    pub(crate) summary: watch::Receiver<ConnectionSummary>,
    /// How many changes were seen.
    pub(crate) seen: u64,
}

impl StateWatch {
    /// The latest change; `None` before the first.
    pub fn latest(&mut self) -> Option<StateChange> {
        let summary = self.summary.borrow();
        self.seen = summary.changes;
        summary.latest.clone()
    }

    /// Waits for a change that was not seen yet; `None` once the client is
    /// gone.
    ///
    /// # Cancel safety
    /// Safe: the change is seen by the next call.
    pub async fn changed(&mut self) -> Option<StateChange> {
        let seen = self.seen;
        let latest = self.summary.wait_for(|summary| summary.changes > seen).await.ok()?;
        self.seen = latest.changes;
        latest.latest.clone()
    }
}
