use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::{SubscriptionKind, SubscriptionQueue, SubscriptionSpec};
use crate::error::CommandError;

/// Low bits of an id: the slot. The rest is the slot's generation.
const SLOT_BITS: u32 = 32;

/// How far entering a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// Waits for a connection.
    No,
    /// The command is on its way; no answer yet.
    Asked,
    /// The server confirmed it.
    Yes,
}

/// Who waits for a confirmation, and until when.
type Waiting = (oneshot::Sender<Result<(), CommandError>>, Instant);

/// One subscription or query.
#[derive(Debug)]
pub struct Route {
    /// Its id on the wire: subscription id, query id and command id.
    pub id: u64,
    /// What was asked for.
    pub spec: SubscriptionSpec,
    /// Where its messages go.
    pub queue: Arc<SubscriptionQueue>,
    /// How far it is.
    pub entered: Entered,
    /// Who waits for the first confirmation, and until when.
    pub(crate) waiter: Option<Waiting>,
    /// Order of creation.
    pub serial: u64,
    /// It was active on an earlier connection.
    pub was_active: bool,
}

impl Route {
    /// Answers whoever waits for the confirmation. `false` when nobody does.
    pub(crate) fn answer(&mut self, result: Result<(), CommandError>) -> bool {
        self.waiter.take().is_some_and(|(waiter, _)| waiter.send(result).is_ok())
    }
}

/// All subscriptions and queries of a client. An id is an index into it.
#[derive(Debug, Default)]
pub struct Table {
    slots: Vec<Slot>,
    free: Vec<usize>,
    serial: u64,
}

#[derive(Debug, Default)]
struct Slot {
    generation: u64,
    route: Option<Route>,
}

impl Table {
    /// Adds one. Answers its id.
    pub(crate) fn insert(
        &mut self,
        spec: SubscriptionSpec,
        queue: Arc<SubscriptionQueue>,
        waiter: Option<Waiting>,
    ) -> u64 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let entry = &mut self.slots[slot];
        entry.generation += 1;
        let id = entry.generation << SLOT_BITS | slot as u64;
        let serial = self.serial;
        self.serial += 1;
        entry.route = Some(Route { id, spec, queue, entered: Entered::No, waiter, serial, was_active: false });
        id
    }

    /// The one an id names.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Route> {
        let slot = (id & ((1 << SLOT_BITS) - 1)) as usize;
        self.slots.get_mut(slot)?.route.as_mut().filter(|route| route.id == id)
    }

    /// The one a wire id names.
    pub fn by_wire_id(&mut self, id: &str) -> Option<&mut Route> {
        self.get_mut(id.parse().ok()?)
    }

    /// Takes one out.
    pub fn remove(&mut self, id: u64) -> Option<Route> {
        self.get_mut(id)?;
        let slot = (id & ((1 << SLOT_BITS) - 1)) as usize;
        self.free.push(slot);
        self.slots[slot].route.take()
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Route> {
        self.slots.iter_mut().filter_map(|slot| slot.route.as_mut())
    }

    /// Ids of the subscriptions, without queries, in order of creation.
    pub fn ids_in_order(&mut self) -> Vec<u64> {
        let mut ids: Vec<_> = self
            .iter_mut()
            .filter(|route| route.spec.kind != SubscriptionKind::Sow)
            .map(|route| (route.serial, route.id))
            .collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// The earliest moment somebody stops waiting for a confirmation.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let routes = self.slots.iter().filter_map(|slot| slot.route.as_ref());
        routes.filter_map(|route| Some(route.waiter.as_ref()?.1)).min()
    }
}
