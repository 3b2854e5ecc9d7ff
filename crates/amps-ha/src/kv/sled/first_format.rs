//! Large values as the first format kept them: the entry names a slot, and that
//! holds nothing but the value.

use std::collections::BTreeSet;

use sled::{Db, Error};

use super::slots::Slots;

const TREE: &str = "slots";
const ENTRIES: u8 = 9;
const VALUE: u8 = 4;
/// What the first byte of an entry says whose value is in a slot.
const IN_SLOT: u8 = 1;

/// Brings what is in the slots of the first format into those of this one.
/// After a crash it is simply done again: an entry stays until its value is
/// there. `false` when a value is missing, or two entries name the same.
pub(super) fn convert(db: &Db, slots: &mut Slots) -> Result<bool, Error> {
    if !db.tree_names().iter().any(|name| name == TREE.as_bytes()) {
        return Ok(true);
    }
    let tree = db.open_tree(TREE)?;
    let mut used = BTreeSet::new();
    let mut large = Vec::new();
    for entry in db.iter() {
        let (key, entry) = entry?;
        if let Some(slot) = slot_of(&entry) {
            if !used.insert(slot) {
                return Ok(false);
            }
            large.push((key, slot));
        }
    }
    for (key, slot) in large {
        let Some(value) = tree.get([&slot.to_be_bytes()[..], &[VALUE]].concat())? else { return Ok(false) };
        slots.put(&key, &[&value])?;
        db.remove(&key)?;
    }
    Ok(true)
}

/// Gives the places of the first format back.
pub(super) fn forget(db: &Db) -> Result<(), Error> {
    db.drop_tree(TREE).map(drop)
}

/// The slot an entry names.
pub(super) fn slot_of(entry: &[u8]) -> Option<u32> {
    match *entry {
        [IN_SLOT, a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

/// As [`slot_of_key`](super::slots::slot_of_key).
pub(super) fn slot_of_key(key: &[u8]) -> Option<Option<u32>> {
    let [0, b, c, d, entry] = *key else { return None };
    (entry < ENTRIES).then_some((entry == VALUE).then_some(u32::from_be_bytes([0, b, c, d])))
}
