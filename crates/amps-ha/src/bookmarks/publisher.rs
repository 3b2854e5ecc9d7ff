//! One publisher of a bookmark subscription.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use amps_core::planted;

use super::pending::Pending;
use super::{PublisherState, Receipt};
use crate::ages::Ages;

/// How many positions of the last `overlap` are kept; more only sharpens where
/// a failover resumes.
const MARKS: u32 = 8;

#[derive(Debug, Default)]
pub(super) struct Publisher {
    /// Everything up to here was delivered in this life or discarded in an
    /// earlier one. On each server a publisher's sequences rise.
    seen: Option<u64>,
    /// The newest discarded sequence with everything below it discarded.
    discarded: Option<u64>,
    /// The newest sequence of a persisted acknowledgment.
    persisted: Option<u64>,
    /// Received in this life, from the oldest that is not discarded on.
    pending: Pending,
    /// Discarded in an earlier life above `discarded`: the first and last of
    /// each range.
    ahead: BTreeMap<u64, u64>,
    /// A sequence from which resuming on any server misses nothing.
    anchor: Option<u64>,
    /// The floor of an earlier life, while what lies above is still to come again.
    recovered: Option<u64>,
    /// Seen in an earlier life, with nothing discarded: it has no position.
    unplaced: bool,
    /// Positions newer than `anchor`, oldest first.
    marks: VecDeque<Mark>,
    /// When sequences came.
    ages: Ages,
    saved: bool,
    /// Since [`state`](Self::state) was last asked for.
    changed: bool,
}

/// A sequence that came at `last`, the newest of those since `first`.
#[derive(Debug)]
struct Mark {
    first: Instant,
    last: Instant,
    sequence: u64,
}

impl Publisher {
    pub(super) fn recovered(state: &PublisherState) -> Self {
        let mut ahead: BTreeMap<u64, u64> = BTreeMap::new();
        let mut ranges = if planted::is("discards-ahead-forgotten") { Vec::new() } else { state.ahead.clone() };
        ranges.sort_unstable();
        for (first, last) in ranges.into_iter().filter(|(_, last)| Some(*last) > state.floor) {
            // A store may hold a range and the one that replaced it.
            match ahead.last_entry() {
                Some(mut range) if first <= *range.get() => {
                    let end = last.max(*range.get());
                    range.insert(end);
                }
                _ => {
                    ahead.insert(first, last);
                }
            }
        }
        Self {
            seen: state.floor,
            discarded: state.floor,
            anchor: state.anchor,
            recovered: state.floor,
            unplaced: state.floor.is_none(),
            ahead,
            saved: true,
            ..Self::default()
        }
    }

    pub(super) fn receive(&mut self, sequence: u64) -> Receipt {
        if Some(sequence) <= self.seen || planted::is("duplicate-filter-by-half") && self.seen.is_some() {
            return Receipt::Duplicate;
        }
        self.seen = Some(sequence);
        let range = self.ahead.range(..=sequence).next_back();
        let discarded = range.is_some_and(|(_, last)| *last >= sequence);
        if !discarded {
            self.pending.push(sequence);
        }
        if !self.ahead.is_empty() {
            self.settle();
        }
        if discarded { Receipt::Duplicate } else { Receipt::New }
    }

    pub(super) fn discard(&mut self, sequence: u64) -> bool {
        if self.ahead.is_empty() && self.pending.discard_first(sequence) {
            // In order, as most do.
            self.discarded = self.discarded.max(Some(sequence));
            return true;
        }
        let discarded = self.pending.discard(sequence);
        if discarded {
            self.settle();
        }
        if planted::is("floor-passes-undiscarded") {
            self.discarded = self.discarded.max(Some(sequence));
        }
        discarded
    }

    /// Takes what nothing pending lies below into `discarded`.
    fn settle(&mut self) {
        self.discarded = self.discarded.max(self.pending.settle());
        while let Some((&first, &last)) = self.ahead.first_key_value() {
            if Some(first) > self.seen || self.pending.first().is_some_and(|pending| pending < first) {
                return;
            }
            self.ahead.remove(&first);
            self.discarded = self.discarded.max(Some(last));
            self.seen = self.seen.max(Some(last));
        }
    }

    /// All that is discarded above `discarded`: ranges, ascending and apart.
    fn discarded_ahead(&self) -> Vec<(u64, u64)> {
        let mut all = self.pending.discarded();
        if !self.ahead.is_empty() {
            all.extend(self.ahead.iter().map(|(first, last)| (*first, *last)));
            all.sort_unstable();
        }
        let mut ranges: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match ranges.last_mut() {
                Some(range) if first <= range.1 => range.1 = range.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        ranges
    }

    /// The floor never names a sequence that was not a message, because a server
    /// may not know that: below a pending one, it falls back to the newest
    /// discarded.
    pub(super) fn floor(&self) -> Option<u64> {
        if planted::is("resume-from-received") {
            return self.seen;
        }
        let persisted = self.persisted.filter(|at| self.pending.first().is_none_or(|pending| *at < pending));
        self.discarded.max(persisted)
    }

    /// Whether the floor moved.
    pub(super) fn persisted(&mut self, sequence: u64) -> bool {
        let floor = self.floor();
        if floor <= self.seen {
            // Kept, should the new one have to wait for a discard.
            self.discarded = floor;
        }
        self.persisted = self.persisted.max(Some(sequence));
        self.floor() != floor
    }

    /// Nothing up to `sequence` is wanted.
    pub(super) fn skip_through(&mut self, sequence: u64) {
        self.seen = self.seen.max(Some(sequence));
    }

    /// The subscription's position passed `sequence` at `now`.
    pub(super) fn mark(&mut self, now: Instant, sequence: u64, drained: Option<Instant>, overlap: Duration) {
        if self.marks.back().is_some_and(|mark| mark.sequence >= sequence) {
            return;
        }
        let full = self.marks.len() >= MARKS as usize + 2;
        // Of one read.
        if let Some(mark) = self.marks.back_mut().filter(|mark| mark.last == now) {
            mark.sequence = sequence;
            return;
        }
        if Some(sequence) > self.seen {
            self.ages.note(sequence, self.pending.first().unwrap_or(sequence), now);
        }
        match self.marks.back_mut() {
            Some(mark) if full || now.saturating_duration_since(mark.first) < overlap / MARKS => {
                mark.last = mark.last.max(now);
                mark.sequence = sequence;
            }
            _ => self.marks.push_back(Mark { first: now, last: now, sequence }),
        }
        self.promote(drained, overlap);
    }

    /// Since when the oldest that is not discarded is there, at the earliest.
    pub(super) fn undiscarded_since(&mut self) -> Option<Instant> {
        self.ages.since(self.pending.first()?)
    }

    /// Makes the newest mark that is older than the overlap the anchor.
    pub(super) fn promote(&mut self, drained: Option<Instant>, overlap: Duration) {
        let Some(drained) = drained else { return };
        while self.marks.front().is_some_and(|mark| mark.last + overlap <= drained) {
            let Some(mark) = self.marks.pop_front() else { return };
            self.anchor = self.anchor.max(Some(mark.sequence));
            self.unplaced = false;
            if self.recovered <= Some(mark.sequence) {
                self.recovered = None;
            }
        }
    }

    /// Where to resume on another server.
    pub(super) fn resume_from(&self) -> Option<u64> {
        match (self.anchor, self.recovered) {
            (Some(anchor), Some(recovered)) => Some(anchor.min(recovered)),
            (anchor, recovered) => anchor.or(recovered),
        }
    }

    pub(super) fn is_unplaced(&self) -> bool {
        self.unplaced
    }

    pub(super) fn is_anchored(&self) -> bool {
        self.anchor.is_some()
    }

    pub(super) fn state(&mut self, drained: Option<Instant>, overlap: Duration) -> PublisherState {
        self.changed = false;
        self.promote(drained, overlap);
        let floor = self.floor();
        let ahead = self.discarded_ahead().into_iter().filter(|(_, last)| Some(*last) > floor);
        PublisherState { floor, anchor: self.anchor, ahead: ahead.collect() }
    }

    /// Floor and anchor as they will be when these sequences, which rise, are
    /// discarded too.
    pub(super) fn point(&mut self, done: &[u64], drained: Option<Instant>, overlap: Duration) -> [Option<u64>; 2] {
        self.promote(drained, overlap);
        [self.floor().max(self.pending.done_through(done)), self.anchor]
    }

    /// Whether it was not marked as changed before.
    pub(super) fn set_changed(&mut self) -> bool {
        !std::mem::replace(&mut self.changed, true)
    }

    pub(super) fn is_saved(&self) -> bool {
        self.saved
    }

    /// Answers what it was before.
    pub(super) fn set_saved(&mut self) -> bool {
        std::mem::replace(&mut self.saved, true)
    }
}

#[cfg(test)]
impl Publisher {
    /// How many pending sequences, ranges and marks there are.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.pending.sizes().0, self.discarded_ahead().len(), self.marks.len())
    }
}
