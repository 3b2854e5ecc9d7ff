//! Which of one publisher's messages the application still has.

use std::collections::VecDeque;

/// Sequences received, in rising order, and which of them are discarded.
///
/// Receiving and discarding in order allocates nothing and touches only the
/// ends. A discarded sequence behind one that is not stays until it is reached;
/// of several in a row only the first and the last are kept for long, so that
/// memory follows what is not discarded.
#[derive(Debug, Default)]
pub(super) struct Pending {
    slots: VecDeque<Slot>,
    discarded: usize,
    /// How many discarded ones make it worth while to keep only the ends of
    /// rows.
    compact_at: usize,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    sequence: u64,
    discarded: bool,
}

impl Pending {
    /// Received; higher than all before.
    pub(super) fn push(&mut self, sequence: u64) {
        self.slots.push_back(Slot { sequence, discarded: false });
    }

    /// Discards and forgets the oldest if it is this one and the next is not
    /// discarded. `false`: nothing was done.
    pub(super) fn discard_first(&mut self, sequence: u64) -> bool {
        let is_first = self.slots.front().is_some_and(|slot| slot.sequence == sequence && !slot.discarded);
        let alone = is_first && self.slots.get(1).is_none_or(|next| !next.discarded);
        if alone {
            self.slots.pop_front();
        }
        alone
    }

    /// `false` if it was not there or is discarded already.
    pub(super) fn discard(&mut self, sequence: u64) -> bool {
        let index = match self.slots.front() {
            Some(first) if first.sequence == sequence => 0,
            _ => match self.slots.binary_search_by_key(&sequence, |slot| slot.sequence) {
                Ok(index) => index,
                Err(_) => return false,
            },
        };
        if std::mem::replace(&mut self.slots[index].discarded, true) {
            return false;
        }
        self.discarded += 1;
        if self.discarded > self.compact_at.max(64) && !self.slots[0].discarded {
            self.compact();
        }
        true
    }

    /// The oldest that is not discarded, once [`settle`](Self::settle) ran.
    pub(super) fn first(&self) -> Option<u64> {
        self.slots.front().map(|slot| slot.sequence)
    }

    /// Forgets the discarded ones in front of all others. Answers the last.
    pub(super) fn settle(&mut self) -> Option<u64> {
        let mut last = None;
        while let Some(slot) = self.slots.front().filter(|slot| slot.discarded) {
            last = Some(slot.sequence);
            self.slots.pop_front();
            self.discarded -= 1;
        }
        last
    }

    /// The last with everything before it discarded or among `also`, which rises.
    pub(super) fn done_through(&self, also: &[u64]) -> Option<u64> {
        let is_done = |slot: &&Slot| slot.discarded || also.binary_search(&slot.sequence).is_ok();
        self.slots.iter().take_while(is_done).last().map(|slot| slot.sequence)
    }

    /// The first and last of each row of discarded ones.
    pub(super) fn discarded(&self) -> Vec<(u64, u64)> {
        let mut rows: Vec<(u64, u64)> = Vec::new();
        let mut in_row = false;
        for slot in &self.slots {
            match rows.last_mut() {
                Some(row) if slot.discarded && in_row => row.1 = slot.sequence,
                _ if slot.discarded => rows.push((slot.sequence, slot.sequence)),
                _ => {}
            }
            in_row = slot.discarded;
        }
        rows
    }

    /// Keeps of each row of discarded ones the first and the last. Costs as
    /// much as there is, and is next due when about as many more are discarded.
    fn compact(&mut self) {
        let mut kept: VecDeque<Slot> = VecDeque::with_capacity(self.slots.len() - self.discarded / 2);
        for slot in self.slots.drain(..) {
            let len = kept.len();
            let inner = slot.discarded && len >= 2 && kept[len - 1].discarded && kept[len - 2].discarded;
            match kept.back_mut() {
                Some(last) if inner => *last = slot,
                _ => kept.push_back(slot),
            }
        }
        self.discarded = kept.iter().filter(|slot| slot.discarded).count();
        self.compact_at = kept.len() + 64;
        self.slots = kept;
    }

    /// How many are not discarded, and how many slots they take.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.slots.len() - self.discarded, self.slots.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a map of everything ever received.
        #[test]
        fn it_knows_what_is_discarded(steps in prop::collection::vec((any::<bool>(), 0u64..400), 0..1_500)) {
            let mut pending = Pending::default();
            let mut oracle: BTreeMap<u64, bool> = BTreeMap::new();
            let mut next = 0;
            for (receive, number) in steps {
                if receive {
                    next += 1 + number % 3;
                    pending.push(next);
                    oracle.insert(next, false);
                } else {
                    let was = oracle.get_mut(&number).is_some_and(|discarded| !std::mem::replace(discarded, true));
                    let first = pending.discard_first(number);
                    prop_assert_eq!(first || pending.discard(number), was);
                    let settled: Vec<_> = oracle.iter().take_while(|(_, gone)| **gone).map(|(at, _)| *at).collect();
                    settled.iter().for_each(|at| { oracle.remove(at); });
                    prop_assert!(!first || settled == [number]);
                    prop_assert_eq!(pending.settle(), settled.last().copied().filter(|_| !first));
                }
                let left = oracle.values().filter(|gone| !**gone).count();
                prop_assert_eq!(pending.first(), oracle.keys().next().copied());
                prop_assert_eq!(pending.sizes().0, left);
            }
            let mut rows: Vec<(u64, u64)> = Vec::new();
            let mut open = false;
            for (at, gone) in oracle {
                match rows.last_mut() {
                    Some(row) if gone && open => row.1 = at,
                    _ if gone => rows.push((at, at)),
                    _ => {}
                }
                open = gone;
            }
            prop_assert_eq!(pending.discarded(), rows);
        }
    }

    #[test]
    fn memory_follows_what_is_not_discarded() {
        for waiting in [1, 100] {
            let mut pending = Pending::default();
            // Each a row of its own, but for the last, which grows.
            for sequence in 0..100_000 {
                pending.push(sequence);
                if sequence >= 2 * waiting || sequence % 2 == 1 {
                    assert!(pending.discard(sequence));
                }
                assert_eq!(pending.settle(), None);
                assert!(pending.sizes().1 < 200 + 4 * waiting as usize, "{:?}", pending.sizes());
            }
            assert_eq!(pending.discarded().last(), Some(&(2 * waiting - 1, 99_999)));
        }
    }
}
