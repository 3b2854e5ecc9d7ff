/// Low bits of an id: the slot. The rest is the slot's generation.
const SLOT_BITS: u32 = 32;

/// Who gets the messages of a subscription.
///
/// Ids are ours and come back from the server with each message, so finding a
/// subscription is an index, not a search. An id names one subscription for
/// ever: a late message for one that ended reaches nobody, least of all its
/// successor in the slot.
///
/// ```
/// use amps_core::connection::Router;
/// let mut router = Router::default();
/// let orders = router.insert(|id| (id, "orders"));
/// assert_eq!(router.by_wire_id(&orders.to_string()), Some(&mut (orders, "orders")));
/// router.remove(orders);
/// let prices = router.insert(|id| (id, "prices"));
/// assert_ne!(prices, orders);
/// assert_eq!(router.get_mut(orders), None);
/// ```
#[derive(Debug)]
pub struct Router<T> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u64,
    route: Option<T>,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Router<T> {
    /// Adds what `make` makes of its id. Answers the id.
    pub fn insert(&mut self, make: impl FnOnce(u64) -> T) -> u64 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, route: None });
            self.slots.len() - 1
        });
        let entry = &mut self.slots[slot];
        entry.generation += 1;
        let id = entry.generation << SLOT_BITS | slot as u64;
        entry.route = Some(make(id));
        id
    }

    /// The one an id names.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        let slot = self.slots.get_mut(slot_of(id))?;
        slot.route.as_mut().filter(|_| slot.generation == id >> SLOT_BITS)
    }

    /// The one an id on the wire names.
    pub fn by_wire_id(&mut self, id: &str) -> Option<&mut T> {
        self.get_mut(id.parse().ok()?)
    }

    /// Whether an id was ever given out, whatever became of its route.
    pub fn was_issued(&self, id: u64) -> bool {
        let generation = id >> SLOT_BITS;
        self.slots.get(slot_of(id)).is_some_and(|slot| (1..=slot.generation).contains(&generation))
    }

    /// Takes one out.
    pub fn remove(&mut self, id: u64) -> Option<T> {
        self.get_mut(id)?;
        self.free.push(slot_of(id));
        self.slots[slot_of(id)].route.take()
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.route.as_ref())
    }

    /// All of them, in no particular order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|slot| slot.route.as_mut())
    }
}

fn slot_of(id: u64) -> usize {
    (id & ((1 << SLOT_BITS) - 1)) as usize
}
