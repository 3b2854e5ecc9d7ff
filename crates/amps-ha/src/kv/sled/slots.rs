//! Places for large values.
//!
//! sled keeps up to sixteen entries in a leaf. It writes a change as a
//! difference, and after ten of these, or when a leaf splits, the whole leaf:
//! large values that come in order are written five times. A slot is a leaf
//! with one value. The other entries in it are empty and stay for ever, so that
//! sled neither splits it nor merges it with others, and a value is written
//! once. Slots are used again, those freed last first.
//!
//! A place on the disk is given back only when a leaf is written anew, and then
//! sled also moves what is left in a segment that is half empty. So slots are
//! emptied at once, and their leaves are written anew only when a whole segment
//! of others has been emptied behind them: what is left in theirs is then next
//! to nothing.

use std::collections::VecDeque;

use sled::{Db, Error, IVec, Tree};

/// Nine of seventeen entries stay in the left leaf when one splits: slots that
/// are made in order, with nine entries each, get a leaf each.
const ENTRIES: u8 = 9;
/// The entry of a slot that holds the value.
const VALUE: u8 = 4;

/// A change to a leaf with ten differences writes the whole leaf: of so many
/// changes one always does that.
const CHANGES: u8 = 10;

/// sled's cache has so many shards. Each lets go of its values only when
/// sixty-four uses have gathered, and keeps the last one used.
const SHARDS: u32 = 256;
const USES: usize = 64;

#[derive(Debug)]
pub(super) struct Slots {
    tree: Tree,
    /// Slots in the tree. The last one shares its leaf with what may follow.
    made: u32,
    free: Vec<u32>,
    /// Emptied, with the bytes that are still on the disk; oldest first.
    emptied: VecDeque<(u32, usize)>,
    emptied_len: usize,
    segment: usize,
}

impl Slots {
    /// The slots of a store with segments of this size;
    /// [`set_used`](Self::set_used) has to follow.
    pub(super) fn open(db: &Db, segment: usize) -> Result<Self, Error> {
        let tree = db.open_tree("slots")?;
        // One that a crash left half made is made again.
        let made = tree.last()?.and_then(|(last, _)| split(&last)).map_or(0, |(slot, entry)| match entry {
            entry if entry + 1 < ENTRIES => slot,
            _ => slot + 1,
        });
        Ok(Self { tree, made, free: Vec::new(), emptied: VecDeque::new(), emptied_len: 0, segment })
    }

    /// Says which slots hold values. Answers whether that can be.
    pub(super) fn set_used(&mut self, mut used: Vec<u32>) -> bool {
        used.sort_unstable();
        let usable = self.made.saturating_sub(1);
        let sound = used.is_sorted_by(|a, b| a < b) && used.last().is_none_or(|last| *last < usable);
        self.free = (0..usable).rev().filter(|slot| used.binary_search(slot).is_err()).collect();
        sound
    }

    /// Puts a value into a slot that was free. The entry that names the slot
    /// comes behind it: after a crash in between, nothing uses the slot.
    pub(super) fn put(&mut self, value: &[u8]) -> Result<u32, Error> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.make()?,
        };
        self.tree.insert(key(slot, VALUE), value)?;
        self.used(slot)?;
        Ok(slot)
    }

    pub(super) fn get(&self, slot: u32) -> Result<Option<IVec>, Error> {
        let value = self.tree.get(key(slot, VALUE))?;
        self.used(slot)?;
        Ok(value)
    }

    /// Frees a slot that no entry names any more.
    pub(super) fn release(&mut self, slot: u32) -> Result<(), Error> {
        let value = self.tree.insert(key(slot, VALUE), &[0])?;
        let len = value.map_or(0, |value| value.len());
        self.emptied.push_back((slot, len));
        self.emptied_len += len;
        while let Some((slot, len)) =
            self.emptied.front().copied().filter(|(_, len)| self.emptied_len - len >= self.segment)
        {
            self.emptied.pop_front();
            self.emptied_len -= len;
            for change in 1..CHANGES {
                self.tree.insert(key(slot, VALUE), &[change])?;
            }
            self.free.push(slot);
        }
        Ok(())
    }

    /// Makes slots until one has a leaf of its own.
    fn make(&mut self) -> Result<u32, Error> {
        loop {
            for entry in 0..ENTRIES {
                self.tree.insert(key(self.made, entry), &[])?;
            }
            self.made += 1;
            if self.made > 1 {
                return Ok(self.made - 2);
            }
        }
    }

    /// With more values than its cache has shards, makes sled let go of others.
    fn used(&self, slot: u32) -> Result<(), Error> {
        if self.made > SHARDS {
            for _ in 0..USES {
                self.tree.contains_key(key(slot, 0))?;
            }
        }
        Ok(())
    }
}

fn key(slot: u32, entry: u8) -> [u8; 5] {
    let [a, b, c, d] = slot.to_be_bytes();
    [a, b, c, d, entry]
}

/// What a key in sled's file means: `Some` if it is of the slots, and then the
/// slot if it is the entry that holds the value.
pub(super) fn slot_of_key(key: &[u8]) -> Option<Option<u32>> {
    // Keys of callers begin with a letter.
    let (slot, entry) = split(key).filter(|(slot, entry)| *slot < 1 << 24 && *entry < ENTRIES)?;
    Some((entry == VALUE).then_some(slot))
}

fn split(key: &[u8]) -> Option<(u32, u8)> {
    let [a, b, c, d, entry] = *key else { return None };
    Some((u32::from_be_bytes([a, b, c, d]), entry))
}
