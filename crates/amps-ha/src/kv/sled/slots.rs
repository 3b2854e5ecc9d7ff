//! Places for large values.
//!
//! sled keeps up to sixteen entries in a leaf. It writes a change as a
//! difference, and after ten of these, or when a leaf splits, the whole leaf:
//! large values that come in order are written five times. A slot is a leaf
//! with one value. The other entries in it are empty and stay for ever, so that
//! sled neither splits it nor merges it with others, and a value is written
//! once.
//!
//! A slot holds the key beside the value, and a number that grows with every
//! value put: what the slots hold is read once, at open, and no entry elsewhere
//! names a slot. Putting a value is then one operation of the engine, on a leaf
//! that is in its cache. Removing a range is one entry that says so; the slots
//! in it are only overwritten later. The lowest free slot is used first, so that
//! a few leaves change all the time and the others never do. sled would move
//! those about for ever if they shared segments.
//!
//! What is overwritten keeps its place on the disk until sled writes the leaf
//! anew, at the tenth change of it. So there is a bound on what is overwritten;
//! above it a slot is emptied, and written anew, before it is used again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use sled::{Db, Error, IVec, Tree};

/// Nine of seventeen entries stay in the left leaf when one splits: slots that
/// are made in order, with nine entries each, get a leaf each.
const ENTRIES: u8 = 9;
/// The entry of a slot that holds the value.
const VALUE: u8 = 4;
/// What keys of slots begin with; keys of callers begin with a letter.
const PREFIX: u8 = 1;

/// A change to a leaf that is written in so many parts writes the whole leaf.
const PARTS: u8 = 10;

/// How many bytes more than half of what all slots hold may be overwritten and
/// not yet given back.
const SLACK: usize = 32 << 20;

/// sled's cache has so many shards. Each lets go of its values only when
/// sixty-four uses have gathered, and keeps the last one used.
const SHARDS: usize = 256;
const USES: usize = 64;

/// The entry that says what was removed, in the tree of what is ours.
pub(super) const REMOVED_KEY: &str = "removed";

#[derive(Debug)]
pub(super) struct Slots {
    tree: Tree,
    /// Where [`Removed`] stands.
    own: Tree,
    slots: Vec<Slot>,
    free: BTreeSet<u32>,
    /// What a crash left half done, until [`settle`](Slots::settle).
    stale: Vec<u32>,
    by_key: BTreeMap<Vec<u8>, u32>,
    /// The number of the next value.
    next: u64,
    removed: Removed,
    /// Bytes in all slots, and how many were overwritten and are on the disk.
    held: usize,
    overwritten: usize,
    /// The next value, with what stands before it.
    buffer: Vec<u8>,
    /// By shard, the slot used last.
    used: RefCell<[u32; SHARDS]>,
}

#[derive(Debug)]
struct Slot {
    len: usize,
    /// In how many parts its leaf is on the disk.
    parts: u8,
    overwritten: usize,
}

/// Values with a number below `before` and a key in a range, which are gone.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) before: u64,
    pub(super) from: Vec<u8>,
    pub(super) to: Vec<u8>,
}

/// What stands in a slot before its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) number: u64,
    pub(super) key: Vec<u8>,
}

impl Slots {
    /// The slots of a store; [`settle`](Self::settle) has to follow. A value
    /// whose key `is_elsewhere` does not count: whichever of the two was to go,
    /// the other is what some prefix of the writes made.
    pub(super) fn open(
        db: &Db,
        own: &Tree,
        is_elsewhere: impl Fn(&[u8]) -> Result<bool, Error>,
    ) -> Result<Self, Error> {
        let removed = own.get(REMOVED_KEY)?.and_then(|bytes| Removed::read(&bytes)).unwrap_or_default();
        let mut slots = Self {
            tree: db.open_tree("values")?,
            own: own.clone(),
            slots: Vec::new(),
            free: BTreeSet::new(),
            stale: Vec::new(),
            by_key: BTreeMap::new(),
            next: removed.before.max(1),
            removed,
            held: 0,
            overwritten: 0,
            buffer: Vec::new(),
            used: RefCell::new([0; SHARDS]),
        };
        // The last one shares its leaf with what may follow.
        let made = slots.tree.last()?.and_then(|(last, _)| split(&last)).map_or(0, |(slot, _)| slot);
        let mut numbers = BTreeMap::new();
        for slot in 0..made {
            let value = slots.read(slot)?.unwrap_or_default();
            slots.held += value.len();
            slots.slots.push(Slot { len: value.len(), parts: 1, overwritten: 0 });
            slots.free.insert(slot);
            let Some(head) = Head::read(&value) else { continue };
            slots.next = slots.next.max(head.number + 1);
            if slots.removed.covers(&head) {
                continue;
            }
            let newer = numbers.get(&head.key).is_none_or(|number| *number < head.number);
            if !newer || is_elsewhere(&head.key)? {
                slots.stale.push(slot);
                continue;
            }
            slots.free.remove(&slot);
            numbers.insert(head.key.clone(), head.number);
            let older = slots.by_key.insert(head.key, slot);
            slots.stale.extend(older);
            slots.free.extend(older);
        }
        Ok(slots)
    }

    /// Empties slots that hold what does not count, before anything is written.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        std::mem::take(&mut self.stale).into_iter().try_for_each(|slot| self.empty(slot))
    }

    /// Keys are in order.
    pub(super) fn keys(&self, from: &[u8], to: &[u8]) -> Vec<Vec<u8>> {
        self.by_key.range(from.to_vec()..to.to_vec()).map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        self.by_key.contains_key(key)
    }

    /// Shows `to` a value.
    pub(super) fn get<T>(&self, key: &[u8], to: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Error> {
        let Some(slot) = self.by_key.get(key) else { return Ok(None) };
        let value = self.read(*slot)?.unwrap_or_default();
        Ok(value.get(Head::len(key)..).map(to))
    }

    /// Puts a value, in parts, in the place of the one its key may have.
    pub(super) fn put(&mut self, key: &[u8], parts: &[&[u8]]) -> Result<(), Error> {
        let slot = match self.free.pop_first() {
            Some(slot) => slot,
            None => self.make()?,
        };
        if self.overwritten > self.held / 2 + SLACK {
            self.write_anew(slot)?;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        Head::write(self.next, key, &mut buffer);
        parts.iter().for_each(|part| buffer.extend_from_slice(part));
        self.next += 1;
        let written = self.write(slot, &buffer);
        self.buffer = buffer;
        written?;
        if let Some(old) = self.by_key.insert(key.to_vec(), slot) {
            self.empty(old)?;
            self.free.insert(old);
        }
        Ok(())
    }

    /// Removes a value, if there is one.
    pub(super) fn remove(&mut self, key: &[u8]) -> Result<(), Error> {
        if let Some(slot) = self.by_key.remove(key) {
            self.empty(slot)?;
            self.free.insert(slot);
        }
        Ok(())
    }

    /// What a crash before its end makes of putting a value again.
    #[cfg(test)]
    pub(super) fn forget(&mut self, key: &[u8]) -> Option<u32> {
        self.by_key.remove(key)
    }

    /// Removes the values with `from <= key < to`.
    pub(super) fn remove_range(&mut self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let Some((key, _)) = self.first(from, to) else { return Ok(()) };
        let all_of_it = from <= self.removed.from.as_slice() && to >= self.removed.to.as_slice();
        if self.removed.before > 0 && !all_of_it {
            // There is one entry, and it says something else.
            self.remove(&key)?;
            while let Some((key, _)) = self.first(from, to) {
                self.remove(&key)?;
            }
            return Ok(());
        }
        self.removed = Removed { before: self.next, from: from.to_vec(), to: to.to_vec() };
        self.own.insert(REMOVED_KEY, self.removed.write())?;
        while let Some((key, slot)) = self.first(from, to) {
            self.by_key.remove(&key);
            self.free.insert(slot);
        }
        Ok(())
    }

    /// The first value with `from <= key < to`.
    fn first(&self, from: &[u8], to: &[u8]) -> Option<(Vec<u8>, u32)> {
        let range = (Bound::Included(from), Bound::Excluded(to));
        self.by_key.range::<[u8], _>(range).next().map(|(key, slot)| (key.clone(), *slot))
    }

    /// Makes slots until one has a leaf of its own, just written anew.
    fn make(&mut self) -> Result<u32, Error> {
        let slot = self.slots.len() as u32;
        // The first time, this makes the next one too. What a crash left half
        // made is made again.
        for slot in [slot, slot + 1] {
            for entry in 0..ENTRIES {
                if !self.tree.contains_key(key(slot, entry))? {
                    self.tree.insert(key(slot, entry), &[])?;
                }
            }
        }
        self.slots.push(Slot { len: 0, parts: 1, overwritten: 0 });
        Ok(slot)
    }

    /// Makes sled forget, in the end, what was in this slot before.
    fn write_anew(&mut self, slot: u32) -> Result<(), Error> {
        // A leaf that sled has moved meanwhile is in fewer parts than noted: of
        // ten changes one always writes it.
        for change in 0..PARTS {
            self.write(slot, &[change])?;
        }
        let state = &mut self.slots[slot as usize];
        self.overwritten -= std::mem::take(&mut state.overwritten);
        state.parts = 1;
        Ok(())
    }

    fn empty(&mut self, slot: u32) -> Result<(), Error> {
        self.write(slot, &[])
    }

    fn write(&mut self, slot: u32, value: &[u8]) -> Result<(), Error> {
        self.tree.insert(key(slot, VALUE), value)?;
        self.used(slot)?;
        let state = &mut self.slots[slot as usize];
        self.held = self.held + value.len() - state.len;
        if state.parts >= PARTS {
            self.overwritten -= std::mem::take(&mut state.overwritten);
            state.parts = 1;
        } else {
            self.overwritten += state.len;
            state.overwritten += state.len;
            state.parts += 1;
        }
        state.len = value.len();
        Ok(())
    }

    fn read(&self, slot: u32) -> Result<Option<IVec>, Error> {
        let value = self.tree.get(key(slot, VALUE))?;
        self.used(slot)?;
        Ok(value)
    }

    /// When another slot of a shard was used before, makes sled let go of that.
    fn used(&self, slot: u32) -> Result<(), Error> {
        let before = std::mem::replace(&mut self.used.borrow_mut()[slot as usize % SHARDS], slot);
        if before != slot && (before as usize >= SHARDS || slot as usize >= SHARDS) {
            for _ in 0..USES {
                self.tree.contains_key(key(slot, 0))?;
            }
        }
        Ok(())
    }
}

impl Removed {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (before, bytes) = bytes.split_first_chunk()?;
        let (from, bytes) = bytes.split_first_chunk()?;
        let (from, to) = bytes.split_at_checked(usize::from(u16::from_be_bytes(*from)))?;
        Some(Self { before: u64::from_be_bytes(*before), from: from.to_vec(), to: to.to_vec() })
    }

    fn write(&self) -> Vec<u8> {
        let from_len = self.from.len() as u16;
        [&self.before.to_be_bytes()[..], &from_len.to_be_bytes(), &self.from, &self.to].concat()
    }

    pub(super) fn covers(&self, head: &Head) -> bool {
        head.number < self.before && self.from <= head.key && head.key < self.to
    }
}

impl Head {
    /// Bytes of the longest.
    pub(super) const MOST: usize = 10 + crate::kv::MAX_KEY;

    pub(super) const fn len(key: &[u8]) -> usize {
        10 + key.len()
    }

    fn write(number: u64, key: &[u8], to: &mut Vec<u8>) {
        to.extend_from_slice(&number.to_be_bytes());
        to.extend_from_slice(&(key.len() as u16).to_be_bytes());
        to.extend_from_slice(key);
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (number, bytes) = bytes.split_first_chunk()?;
        let (len, bytes) = bytes.split_first_chunk()?;
        let key = bytes.get(..usize::from(u16::from_be_bytes(*len)))?;
        Some(Self { number: u64::from_be_bytes(*number), key: key.to_vec() })
    }
}

fn key(slot: u32, entry: u8) -> [u8; 5] {
    let [_, b, c, d] = slot.to_be_bytes();
    [PREFIX, b, c, d, entry]
}

/// What a key in sled's file means: `Some` if it is of the slots, and then the
/// slot if it is the entry that holds the value.
pub(super) fn slot_of_key(key: &[u8]) -> Option<Option<u32>> {
    let (slot, entry) = split(key)?;
    Some((entry == VALUE).then_some(slot))
}

fn split(key: &[u8]) -> Option<(u32, u8)> {
    let [PREFIX, b, c, d, entry] = *key else { return None };
    Some((u32::from_be_bytes([0, b, c, d]), entry))
}
