use std::collections::BTreeMap;
use std::time::Instant;

/// Commands that wait for an acknowledgement, by command id.
///
/// Ids are numbers here; on the wire a letter stands in front, so that they
/// never meet a subscription's. They rise, so the map is in order of issue.
#[derive(Debug)]
pub struct PendingAcks<T> {
    waiting: BTreeMap<u64, (Option<Instant>, T)>,
}

impl<T> Default for PendingAcks<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new() }
    }
}

/// The id on the wire.
pub fn command_id(id: u64) -> String {
    format!("c{id}")
}

/// The number of an id on the wire; `None` if it is none of a command.
pub fn command_number(id: &str) -> Option<u64> {
    id.strip_prefix('c')?.parse().ok()
}

impl<T> PendingAcks<T> {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Remembers a command; without a deadline it waits for as long as the
    /// connection lives.
    pub fn insert(&mut self, id: u64, deadline: Option<Instant>, waiter: T) {
        self.waiting.insert(id, (deadline, waiter));
    }

    /// Takes the command a wire id names; `None` for an answer nobody waits
    /// for any more.
    pub fn take(&mut self, id: &str) -> Option<T> {
        self.waiting.remove(&command_number(id)?).map(|(_, waiter)| waiter)
    }

    /// Takes one command whose deadline has passed, with its id.
    pub fn expired(&mut self, now: Instant) -> Option<(u64, T)> {
        let id =
            self.waiting.iter().find(|(_, (deadline, _))| deadline.is_some_and(|at| at <= now)).map(|(id, _)| *id)?;
        self.waiting.remove(&id).map(|(_, waiter)| (id, waiter))
    }

    /// The earliest deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|(deadline, _)| *deadline).min()
    }

    /// Takes those that `which` names, with their ids, in order of issue.
    pub fn extract(&mut self, which: impl Fn(&T) -> bool) -> Vec<(u64, T)> {
        let all = std::mem::take(&mut self.waiting);
        let (taken, left): (BTreeMap<_, _>, _) = all.into_iter().partition(|(_, (_, waiter))| which(waiter));
        self.waiting = left;
        taken.into_iter().map(|(id, (_, waiter))| (id, waiter)).collect()
    }

    /// Takes everything, in order of issue: the connection is gone.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.waiting).into_values().map(|(_, waiter)| waiter)
    }
}
