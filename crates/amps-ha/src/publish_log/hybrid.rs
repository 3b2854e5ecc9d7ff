//! The newest messages in memory, the oldest on the disk.
//!
//! A hybrid log is a log on disk whose store takes segments only when too much
//! is in memory alone, from the oldest on, and stops at the low watermark. All
//! else is the same: order, reservation, replay across the border.

use amps_core::planted;

use super::log::PublishLog;
use super::segment::frames;
use super::{Durability, Limits, Recovered};

/// How much a hybrid store keeps in memory before the oldest goes to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPart {
    bytes: usize,
    messages: u64,
    low: u8,
}

impl Default for MemoryPart {
    /// 64 MiB, any number of messages; half of that as the low watermark.
    fn default() -> Self {
        Self { bytes: 64 << 20, messages: u64::MAX, low: 50 }
    }
}

impl MemoryPart {
    /// Bytes of unacknowledged messages in memory alone. What is on its way to
    /// or from the disk comes on top: at most as much again.
    #[must_use]
    pub fn bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// Messages in memory alone.
    #[must_use]
    pub fn messages(self, messages: u64) -> Self {
        Self { messages, ..self }
    }

    /// Once a bound is passed, messages go to the disk until those left in
    /// memory are at most so many per cent of it; 50 by default, at most 100.
    #[must_use]
    pub fn low_watermark(self, percent: u8) -> Self {
        Self { low: percent.min(100), ..self }
    }

    fn low_bytes(&self) -> usize {
        (self.bytes as u128 * u128::from(self.low) / 100) as usize
    }

    fn low_messages(&self) -> u64 {
        (u128::from(self.messages) * u128::from(self.low) / 100) as u64
    }

    /// Bytes in memory at which nothing more is accepted until the disk has
    /// taken some.
    pub(super) fn most(&self) -> usize {
        self.bytes.saturating_mul(2)
    }
}

/// The rule, and whether it is at work.
#[derive(Debug)]
pub(super) struct Spill {
    pub(super) part: MemoryPart,
    /// Above a bound and not yet at the low watermark.
    active: bool,
}

impl PublishLog {
    /// A log that keeps the newest in memory, and the oldest in what a
    /// [`SegmentStore`](super::SegmentStore) holds, at level
    /// [`Durability::Memory`].
    pub fn hybrid(limits: Limits, part: MemoryPart, recovered: Recovered) -> Self {
        let limits = Limits { resident_bytes: part.bytes, ..limits };
        let mut log = Self::on_disk(limits, Durability::Memory, recovered);
        if let Some(disk) = &mut log.disk {
            disk.spill = Some(Spill { part, active: false });
        }
        log
    }

    /// Cuts the segments so that those below the answered ordinal are what has
    /// to go to the disk now; `None` when the store takes whatever there is.
    pub(super) fn spill_until(&mut self) -> Option<u64> {
        let (part, active) = self.disk.as_ref()?.spill.as_ref().map(|spill| (spill.part, spill.active))?;
        let (most_bytes, most_messages) = match active {
            true => (part.low_bytes(), part.low_messages()),
            false => (part.bytes, part.messages),
        };
        let over = |(bytes, messages): (usize, u64)| bytes > most_bytes || messages > most_messages;
        let mut held = self.in_memory_alone();
        if over(held) {
            if planted::is("memory-part-dropped") {
                self.advance(self.end.saturating_sub(most_messages));
            }
            self.forget_settled();
            held = self.in_memory_alone();
        }
        if let Some(spill) = self.disk.as_mut().and_then(|disk| disk.spill.as_mut()) {
            spill.active = over(held);
        }
        if !over(held) {
            return Some(0);
        }
        let (mut bytes, mut messages) = held;
        let mut index = self.segments.partition_point(|segment| segment.taken);
        let done = |bytes: usize, messages: u64| bytes <= part.low_bytes() && messages <= part.low_messages();
        while let Some(segment) = self.segments.get(index) {
            if !done(bytes - segment.len, messages - segment.count) {
                bytes -= segment.len;
                messages -= segment.count;
                index += 1;
                continue;
            }
            // The border runs through this segment.
            let mut through = segment.first;
            for frame in frames(segment.bytes().unwrap_or_default()) {
                if done(bytes, messages) {
                    break;
                }
                bytes -= frame.len();
                messages -= 1;
                through += 1;
            }
            if through < segment.end()
                && let Some(front) = self.segments[index].split_front(through)
            {
                self.segments.insert(index, front);
            }
            return Some(through);
        }
        Some(self.end)
    }

    /// Bytes and messages that no job has taken to the store.
    fn in_memory_alone(&self) -> (usize, u64) {
        let first = self.segments.partition_point(|segment| segment.taken);
        let oldest = self.segments.get(first).map_or(self.end, |segment| segment.first).max(self.acked);
        (self.untaken, self.end - oldest)
    }

    /// Frees what is settled at the front of the oldest segment, if that is in
    /// memory alone: it need not go to the disk.
    fn forget_settled(&mut self) {
        let acked = self.acked;
        let Some(front) = self.segments.front_mut().filter(|front| !front.taken && front.first < acked) else { return };
        if let Some(settled) = front.split_front(acked) {
            self.bytes -= settled.len;
            self.resident -= settled.len;
            self.untaken -= settled.len;
        }
    }

    /// Whether an append gives the store something to do.
    pub(super) fn append_concerns_store(&self) -> bool {
        let Some(disk) = &self.disk else { return false };
        let Some(spill) = &disk.spill else { return true };
        let part = &spill.part;
        let stored = disk.stored.max(self.acked);
        self.untaken > part.bytes || self.end - stored > part.messages || self.wants_numbers()
    }

    /// A hybrid log gives memory back at once, not with the next job: there may
    /// be none for long.
    pub(super) fn evict_hybrid(&mut self) {
        if self.disk.as_ref().is_some_and(|disk| disk.spill.is_some()) {
            self.evict();
        }
    }

    /// Bytes in memory, and how many a hybrid log may have there; nothing and
    /// no bound for others.
    pub(super) fn in_memory_bound(&self) -> (usize, usize) {
        match self.disk.as_ref().and_then(|disk| disk.spill.as_ref()) {
            Some(spill) => (self.resident, spill.part.most()),
            None => (0, usize::MAX),
        }
    }
}
