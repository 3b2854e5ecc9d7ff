use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use amps_core::{Reason, planted};

use super::Durability;
use super::capacity::{Full, Limits};
use super::disk::Disk;
use super::error::StoreError;
use super::refused::FailedWrites;
use super::segment::{Body, SEGMENT_LEN, Segment, frames, offset_of};
use super::spare::Spare;

/// How many refused messages are remembered for receipts that ask later.
const REFUSALS: usize = 1024;

/// How many losses are remembered for receipts that ask later.
const DROPS: usize = 64;

/// How many sequences may be settled ahead of an older, unsettled one.
const SETTLED_AHEAD: usize = 65_536;

/// Why a message was not appended. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The bound on unacknowledged messages is reached; room comes with the
    /// servers' acknowledgements.
    #[error("the publish store is full: {0}")]
    StoreFull(Full),
    /// The message alone is larger than the bound; it can never be accepted.
    #[error("a message of {len} bytes can never fit: the bound is {bound} bytes")]
    TooLarge {
        /// The frame's bytes.
        len: usize,
        /// The bound in bytes.
        bound: usize,
    },
    /// Without a publish store a message needs a connection.
    #[error("not connected, and there is no publish store to keep the message")]
    Disconnected,
    /// The store failed earlier and accepts nothing more.
    #[error("the publish store failed: {0}")]
    StoreFailed(Arc<StoreError>),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

/// A segment this long is written from where it is; the frames of shorter ones
/// are copied together, so that a write is worth its call.
const SHARED_LEN: usize = 32 * 1024;

/// How far the log is. Positions are ordinals: the number of messages ever
/// appended before one, in this process.
#[derive(Debug, Clone, Default)]
pub struct Cursors {
    /// Everything below is settled: acknowledged or refused.
    pub settled: u64,
    /// Everything below survives what the durability level names.
    pub durable: u64,
    /// Behind the newest message.
    pub end: u64,
    /// Unacknowledged bytes.
    pub bytes: usize,
    /// Of a hybrid log: bytes in memory.
    pub in_memory: usize,
    /// With any disk store: bytes that are not on the disk yet.
    pub unstored: usize,
    /// Set once the store has failed.
    pub failed: Option<Arc<StoreError>>,
    /// No more is accepted.
    pub closed: bool,
}

/// The publish log: bookkeeping only. See the [module](super).
#[derive(Debug)]
pub struct PublishLog {
    pub(super) limits: Limits,
    pub(super) level: Durability,
    pub(super) sequenced: bool,
    pub(super) online: bool,
    pub(super) segments: VecDeque<Segment>,
    pub(super) spare: Spare,
    pub(super) end: u64,
    pub(super) next_sequence: u64,
    pub(super) acked: u64,
    pub(super) sent: u64,
    /// Entries from here on were never handed to a socket by anybody.
    pub(super) unsent_from: u64,
    pub(super) bytes: usize,
    pub(super) resident: usize,
    /// Bytes of the segments no job has taken to the store.
    pub(super) untaken: usize,
    pub(super) settled_ahead: BTreeSet<u64>,
    refusals: VecDeque<(u64, Reason)>,
    pub(super) failed_writes: FailedWrites,
    dropped: VecDeque<Range<u64>>,
    pub(super) discarded_through: u64,
    pub(super) persisted_through: u64,
    pub(super) ever_logged_on: bool,
    pub(super) disk: Option<Disk>,
    closed: bool,
}

impl PublishLog {
    /// A log that gives out no sequences and keeps nothing: frames are freed
    /// when they are written.
    pub fn without_store(limits: Limits) -> Self {
        Self::new(limits, Durability::Memory, false, 1)
    }

    /// A log in memory. A fresh one numbers from the nanosecond clock, so that
    /// it never repeats an earlier life.
    pub fn in_memory(limits: Limits, unix_nanos: u64) -> Self {
        Self::new(limits, Durability::Memory, true, unix_nanos.max(1))
    }

    pub(super) fn new(limits: Limits, level: Durability, sequenced: bool, next_sequence: u64) -> Self {
        Self {
            limits,
            level,
            sequenced,
            online: false,
            segments: VecDeque::new(),
            spare: Spare::new(SEGMENT_LEN),
            end: 0,
            next_sequence,
            acked: 0,
            sent: 0,
            unsent_from: 0,
            bytes: 0,
            resident: 0,
            untaken: 0,
            settled_ahead: BTreeSet::new(),
            refusals: VecDeque::new(),
            failed_writes: FailedWrites::default(),
            dropped: VecDeque::new(),
            discarded_through: 0,
            persisted_through: 0,
            ever_logged_on: false,
            disk: None,
            closed: false,
        }
    }

    /// Whether messages carry sequences and are kept until acknowledged.
    pub fn is_sequenced(&self) -> bool {
        self.sequenced
    }

    /// Appends one message of at most `len` bytes of frame, which `encode`
    /// writes with the sequence it is given (`None` without a store). Answers
    /// its ordinal.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was changed.
    pub fn append(&mut self, len: usize, encode: impl FnOnce(Option<u64>, &mut BytesMut)) -> Result<u64, AppendError> {
        self.admit(len)?;
        let fits = self
            .segments
            .back()
            .is_some_and(|tail| tail.has_room(len) && tail.first_sequence + tail.count == self.next_sequence);
        if !fits {
            if let Some(tail) = self.segments.back_mut() {
                tail.seal(&mut self.spare);
            }
            self.segments.push_back(Segment::open(self.end, self.next_sequence, self.spare.take(len)));
        }
        let tail = self.segments.back_mut().expect("a segment is open");
        let Body::Open(bytes) = &mut tail.body else { unreachable!("the newest segment is open") };
        bytes.truncate(tail.len);
        encode(self.sequenced.then_some(self.next_sequence), bytes);
        let grown = bytes.len() - tail.len;
        self.bytes += grown;
        self.resident += grown;
        self.untaken += grown;
        tail.len = bytes.len();
        tail.count += 1;
        let ordinal = self.end;
        self.end += 1;
        self.next_sequence += 1;
        Ok(ordinal)
    }

    /// Whether messages are accepted at all, however much room there is.
    pub(super) fn accepts(&self) -> Result<(), AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        if let Some(error) = self.disk.as_ref().and_then(|disk| disk.failed.clone()) {
            return Err(AppendError::StoreFailed(error));
        }
        if !self.sequenced && !self.online {
            return Err(AppendError::Disconnected);
        }
        Ok(())
    }

    /// Accepts nothing more.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// How far the log is.
    pub fn cursors(&self) -> Cursors {
        Cursors {
            settled: self.acked,
            durable: self.durable(),
            end: self.end,
            bytes: self.bytes,
            in_memory: self.in_memory_bound().0,
            unstored: self.unstored(),
            failed: self.disk.as_ref().and_then(|disk| disk.failed.clone()),
            closed: self.closed,
        }
    }

    fn durable(&self) -> u64 {
        match &self.disk {
            Some(disk) if self.level > Durability::Memory && !planted::is("promise-before-durable") => disk.stored,
            _ => self.end,
        }
    }

    /// Where the writer is.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Everything below is settled.
    pub fn settled(&self) -> u64 {
        self.acked
    }

    /// The bounds there are now.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Behind the newest message.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The newest sequence that a server has acknowledged; 0 when none has.
    pub fn persisted_through(&self) -> u64 {
        self.persisted_through
    }

    /// The number the next message gets.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Moves frames from `sent` on into `out`, in order, until `out` holds
    /// about `max` bytes or the entry `until` is reached. Answers how many
    /// frames. Never goes past what is durable, reserved and resident.
    pub fn fill(&mut self, out: &mut BytesMut, max: usize, until: u64) -> u64 {
        let limit = self.sendable().min(until);
        let start = self.sent;
        let mut index = self.segments.partition_point(|segment| segment.end() <= self.sent);
        while self.sent < limit && out.len() < max {
            let segment = &self.segments[index];
            // What only the disk has is being read.
            let Some(bytes) = segment.bytes() else { break };
            let whole = self.sent == segment.first && limit >= segment.end();
            let end = limit.min(segment.end());
            if whole && self.settled_ahead.range(segment.first..end).next().is_none() {
                out.extend_from_slice(bytes);
            } else {
                let skip = offset_of(bytes, self.sent - segment.first);
                for (ordinal, frame) in (self.sent..end).zip(frames(&bytes[skip..])) {
                    if !self.settled_ahead.contains(&ordinal) {
                        out.extend_from_slice(frame);
                    }
                }
            }
            self.sent = end;
            index += 1;
        }
        self.unsent_from = self.unsent_from.max(self.sent);
        self.evict_hybrid();
        self.sent - start
    }

    /// A whole segment of at least 32 KiB, if that is what comes next and lies
    /// below `until`: what [`fill`](Self::fill) would copy.
    pub fn share(&mut self, until: u64) -> Option<Bytes> {
        let limit = self.sendable().min(until);
        let index = self.segments.partition_point(|segment| segment.end() <= self.sent);
        let segment = self.segments.get_mut(index)?;
        let whole = segment.first == self.sent && segment.end() <= limit && segment.resident() >= SHARED_LEN;
        if !whole || self.settled_ahead.range(segment.first..segment.end()).next().is_some() {
            return None;
        }
        let bytes = segment.seal(&mut self.spare)?;
        self.sent = segment.end();
        self.unsent_from = self.unsent_from.max(self.sent);
        self.evict_hybrid();
        Some(bytes)
    }

    /// The first ordinal that may not be sent yet.
    fn sendable(&self) -> u64 {
        let Some(disk) = &self.disk else { return self.end };
        if !disk.may_send || disk.renumber.is_some() {
            return self.sent;
        }
        self.durable().min(self.ordinals_through(disk.reserved)).max(self.sent)
    }

    /// Whether [`fill`](Self::fill) has something to give up to `until`.
    pub fn has_more(&self, until: u64) -> bool {
        self.sent < self.durable() && self.sent < self.sendable().min(until)
    }

    /// The bytes handed out so far are written. Without a store that frees
    /// them.
    pub fn written(&mut self) {
        if !self.sequenced || planted::is("discarded-when-sent") {
            self.advance(self.sent);
        }
    }

    /// The connection is about to be left: without a store nothing more is
    /// taken, since nothing would keep it.
    pub fn leaving(&mut self) {
        self.online &= self.sequenced;
    }

    /// The connection is gone. Answers how many messages were dropped, which
    /// only happens without a store: those not written to their last byte, of
    /// which `unwritten` had been handed out.
    pub fn disconnected(&mut self, unwritten: u64) -> u64 {
        self.online = false;
        if self.sequenced {
            self.sent = self.acked;
            self.evict_hybrid();
            return 0;
        }
        let dropped = self.end - self.sent + unwritten;
        if dropped > 0 {
            if self.dropped.len() == DROPS {
                self.dropped.pop_front();
            }
            self.dropped.push_back(self.end - dropped..self.end);
        }
        self.sent = self.end;
        self.advance(self.end);
        dropped
    }

    /// Whether the message at `ordinal` was dropped with a connection, in one
    /// of the last 64 losses. Only happens without a store.
    pub fn was_dropped(&self, ordinal: u64) -> bool {
        self.dropped.iter().any(|range| range.contains(&ordinal))
    }

    /// A persisted acknowledgement: everything up to `sequence` is settled.
    /// One that is late, or reaches beyond what was ever sent, does no more
    /// than it can.
    pub fn acknowledged(&mut self, sequence: u64) {
        if !self.sequenced {
            return;
        }
        let sequence = sequence + u64::from(planted::is("cumulative-ack-off-by-one"));
        let through = self.ordinals_through(sequence).min(self.unsent_from);
        let highest = through.checked_sub(1).and_then(|ordinal| self.sequence_of(ordinal));
        self.persisted_through = self.persisted_through.max(highest.unwrap_or(0));
        self.advance(through);
    }

    /// A server refused one message: it is settled all the same, so that it is
    /// not replayed for ever, and is a
    /// [`next_failed_write`](Self::next_failed_write). `false` when it was
    /// settled before.
    pub fn refused(&mut self, sequence: u64, reason: Reason) -> bool {
        let Some(ordinal) = self.ordinal_of(sequence) else { return false };
        let known = ordinal < self.acked || ordinal >= self.unsent_from || self.settled_ahead.contains(&ordinal);
        if known || planted::is("failed-write-kept") {
            return false;
        }
        if reason == Reason::Duplicate {
            self.persisted_through = self.persisted_through.max(sequence);
        } else {
            if self.refusals.len() == REFUSALS {
                self.refusals.pop_front();
            }
            self.refusals.push_back((ordinal, reason.clone()));
        }
        self.note_failed_write(ordinal, sequence, reason);
        // Beyond the bound the message stays unsettled and is sent again,
        // which the server's own rule makes harmless.
        if self.settled_ahead.len() < SETTLED_AHEAD || ordinal == self.acked {
            self.settled_ahead.insert(ordinal);
        }
        self.advance(self.acked);
        true
    }

    /// Why the message at `ordinal` was refused, if it was and it is among the
    /// newest 1,024 that were.
    pub fn refusal(&self, ordinal: u64) -> Option<&Reason> {
        self.refusals.iter().find(|(refused, _)| *refused == ordinal).map(|(_, reason)| reason)
    }

    /// Settles everything below `through`, and what is settled behind it.
    pub(super) fn advance(&mut self, through: u64) {
        let mut acked = self.acked.max(through);
        if self.settled_ahead.first().is_some_and(|first| *first < acked) {
            self.settled_ahead = self.settled_ahead.split_off(&acked);
        }
        while self.settled_ahead.remove(&acked) {
            acked += 1;
        }
        if let Some(sequence) = acked.checked_sub(1).and_then(|last| self.sequence_of(last)) {
            self.discarded_through = self.discarded_through.max(sequence);
        }
        self.acked = acked;
        self.sent = self.sent.max(acked);
        while let Some(front) = self.segments.front()
            && front.end() <= acked
        {
            self.bytes -= front.len;
            self.resident -= front.resident();
            self.untaken -= if front.taken { 0 } else { front.len };
            if let (Some(disk), true) = (&mut self.disk, front.taken) {
                disk.discard(front);
            }
            if let Some(Segment { body: Body::Sealed(bytes), .. }) = self.segments.pop_front() {
                self.spare.put_back(bytes);
            }
        }
        if let Some(disk) = &mut self.disk {
            // What is settled before it was stored need not be stored.
            disk.stored = disk.stored.max(acked);
        }
    }

    pub(super) fn segment_at(&self, ordinal: u64) -> Option<&Segment> {
        let index = self.segments.partition_point(|segment| segment.end() <= ordinal);
        self.segments.get(index).filter(|segment| segment.first <= ordinal)
    }

    pub(super) fn sequence_of(&self, ordinal: u64) -> Option<u64> {
        self.segment_at(ordinal).map(|segment| segment.sequence_of(ordinal))
    }

    pub(super) fn ordinal_of(&self, sequence: u64) -> Option<u64> {
        let through = self.ordinals_through(sequence);
        through.checked_sub(1).filter(|ordinal| self.sequence_of(*ordinal) == Some(sequence))
    }

    /// The ordinal behind the last entry numbered at or below `sequence`.
    pub(super) fn ordinals_through(&self, sequence: u64) -> u64 {
        let index = self.segments.partition_point(|segment| segment.first_sequence <= sequence);
        let Some(segment) = index.checked_sub(1).and_then(|index| self.segments.get(index)) else {
            return self.segments.front().map_or(self.end, |front| front.first);
        };
        segment.first + (sequence - segment.first_sequence + 1).min(segment.count)
    }
}
