use super::State;
use crate::subscriptions::{Item, QueueLimits, Waiting};

impl State {
    /// Drops messages, the oldest first, until those that wait are within the
    /// bounds; the newest one stays whatever its size. Where some are missing, an
    /// item says how many.
    pub(super) fn drop_oldest(&mut self, limits: &QueueLimits) {
        let mut controls = self.waiting.iter().filter(|waiting| matches!(waiting, Waiting::Control(_))).count();
        let mut at = 0;
        loop {
            let (messages, bytes) = (self.held.0 - controls, self.held.1);
            if messages <= 1 || messages <= limits.messages && bytes <= limits.bytes {
                return;
            }
            // Those in front of it were looked at before.
            while matches!(self.waiting.get(at), Some(Waiting::Control(_))) {
                at += 1;
            }
            let Some(oldest) = self.waiting.get_mut(at) else { return };
            let before = oldest.bytes();
            if let Waiting::Messages(_, range) = oldest {
                range.start += 1;
            }
            self.held = (self.held.0 - 1, self.held.1 - before + oldest.bytes());
            if oldest.is_empty() {
                self.waiting.remove(at);
            }
            self.stats.missed += 1;
            match at.checked_sub(1).and_then(|before| self.waiting.get_mut(before)) {
                Some(Waiting::Control(Item::Missed { messages })) => *messages += 1,
                _ => {
                    self.waiting.insert(at, Waiting::Control(Item::Missed { messages: 1 }));
                    self.held.0 += 1;
                    controls += 1;
                    at += 1;
                }
            }
        }
    }

    /// The first item of one that was taken from the front; the others go back
    /// there.
    pub(super) fn first_of(&mut self, waiting: Waiting) -> Waiting {
        match waiting {
            Waiting::Messages(messages, range) if range.len() > 1 => {
                let whole = Waiting::Messages(messages.clone(), range.clone()).bytes();
                let first = Waiting::Messages(messages.clone(), range.start..range.start + 1);
                let rest = Waiting::Messages(messages, range.start + 1..range.end);
                // What is between two frames is of neither.
                self.held.1 -= whole - first.bytes() - rest.bytes();
                self.waiting.push_front(rest);
                first
            }
            one => one,
        }
    }
}
