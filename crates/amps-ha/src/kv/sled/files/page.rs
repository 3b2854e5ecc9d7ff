//! The pages of sled's log that hold entries.

use std::collections::BTreeMap;

use super::super::INLINE;
use super::super::record::Cursor;
use super::super::slots::slot_of_key;

/// Values up to this length are kept in memory, others read when asked for.
const KEPT: usize = 4096;

/// A value, or where it stands in the file.
#[derive(Debug, Clone)]
pub(super) enum Held {
    Bytes(Vec<u8>),
    Place { offset: u64, len: usize },
}

impl Held {
    /// The first bytes of it, so many at most.
    pub(super) fn first(&self, most: usize) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(bytes[..most.min(bytes.len())].to_vec()),
            Self::Place { offset, len } => Self::Place { offset: *offset, len: most.min(*len) },
        }
    }

    /// What stands behind so many bytes of it.
    pub(super) fn behind(self, skip: usize) -> Self {
        match self {
            Self::Bytes(mut bytes) => Self::Bytes(bytes.split_off(skip.min(bytes.len()))),
            Self::Place { offset, len } => Self::Place { offset: offset + skip as u64, len: len.saturating_sub(skip) },
        }
    }
}

/// A leaf: what its keys begin with, and its entries with the position of the
/// record that wrote them.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) prefix: Vec<u8>,
    pub(super) entries: BTreeMap<Vec<u8>, (u64, Held)>,
}

impl Page {
    /// A leaf's image; `None` for anything else.
    pub(super) fn read(body: &[u8], place: u64, position: u64, watch: &mut dyn FnMut(&[u8], &[u8])) -> Option<Self> {
        let mut cursor = Cursor::new(body);
        // The next page, the page being merged, and whether it is.
        let (_next, _merging_child, _merging) = (cursor.number()?, cursor.number()?, cursor.byte()?);
        let prefix_len = usize::from(cursor.byte()?);
        let (lo, _hi) = (cursor.bytes()?, cursor.bytes()?);
        let mut page = Self { prefix: body[lo].get(..prefix_len)?.to_vec(), entries: BTreeMap::new() };
        if cursor.byte()? != 0 {
            return None;
        }
        let count = usize::try_from(cursor.number()?).ok()?;
        let keys: Vec<_> = (0..count).map_while(|_| cursor.bytes()).collect();
        for key in &keys {
            let value = cursor.bytes()?;
            page.set(&body[key.clone()], &body[value.clone()], place + value.start as u64, position, watch);
        }
        (keys.len() == count).then_some(page)
    }

    pub(super) fn change(&mut self, body: &[u8], place: u64, position: u64, watch: &mut dyn FnMut(&[u8], &[u8])) {
        let mut cursor = Cursor::new(body);
        let (kind, key) = (cursor.byte(), cursor.bytes());
        match (kind, key) {
            (Some(0), Some(key)) => {
                if let Some(value) = cursor.bytes() {
                    self.set(&body[key], &body[value.clone()], place + value.start as u64, position, watch);
                }
            }
            (Some(1), Some(key)) => drop(self.entries.remove(&body[key])),
            // Merging moves no entries.
            _ => {}
        }
    }

    fn set(&mut self, suffix: &[u8], value: &[u8], offset: u64, position: u64, watch: &mut dyn FnMut(&[u8], &[u8])) {
        let held = match value.len() <= KEPT + 1 {
            true => Held::Bytes(value.to_vec()),
            false => Held::Place { offset, len: value.len() },
        };
        let key = [&self.prefix[..], suffix].concat();
        if let [INLINE, value @ ..] = value
            && value.len() <= KEPT
            && slot_of_key(&key).is_none()
        {
            watch(&key, value);
        }
        self.entries.insert(suffix.to_vec(), (position, held));
    }
}
