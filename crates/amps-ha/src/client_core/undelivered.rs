use std::collections::VecDeque;

use crate::subscriptions::{Item, Waiting};

/// Received and not yet in a queue, each with the subscription it is for: what
/// a full queue refused, and what came behind it while recovery had to go on.
#[derive(Debug, Default)]
pub(super) struct Undelivered {
    waiting: VecDeque<(u64, Waiting)>,
    items: usize,
}

impl Undelivered {
    /// How many items there are.
    pub(super) fn len(&self) -> usize {
        self.items
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items == 0
    }

    pub(super) fn push(&mut self, subscription: u64, waiting: Waiting) {
        if !waiting.is_empty() {
            self.items += waiting.len();
            self.waiting.push_back((subscription, waiting));
        }
    }

    pub(super) fn push_control(&mut self, subscription: u64, item: Item) {
        self.push(subscription, Waiting::Control(item));
    }

    pub(super) fn front(&self) -> Option<&(u64, Waiting)> {
        self.waiting.front()
    }

    /// So many items of the front are delivered, or all of them go.
    pub(super) fn take_front(&mut self, items: usize) {
        let Some((_, front)) = self.waiting.front_mut() else { return };
        self.items -= items;
        match front {
            Waiting::Messages(_, range) if items < range.len() => range.start += items,
            _ => {
                self.waiting.pop_front();
            }
        }
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(u64, &Waiting) -> bool) {
        self.waiting.retain(|(id, waiting)| keep(*id, waiting));
        self.items = self.waiting.iter().map(|(_, waiting)| waiting.len()).sum();
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
