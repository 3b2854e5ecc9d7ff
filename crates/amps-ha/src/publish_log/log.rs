use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use amps_core::frame::PREFIX_LEN;
use amps_core::{Field, Message, Reason};

use super::error::StoreError;
use super::meta::Meta;
use super::segment::{Body, SEGMENT_LEN, Segment, frames, offset_of};
use super::work::{Commit, Done, Job, JobDone, Renumber, StoredSegment, Work};
use super::{Durability, Recovered};
use crate::kv::SyncLevel;

/// How many numbers one reservation covers. At a million messages a second a
/// reservation is renewed, and synced, once a second.
pub(super) const RESERVE: u64 = 1 << 20;

/// How many bytes one group commit takes at most; what is left is the next.
const GROUP_LEN: usize = 8 * 1024 * 1024;

/// How many refused messages are remembered for receipts that ask later.
const REFUSALS: usize = 1024;

/// How many sequences may be settled ahead of an older, unsettled one.
const SETTLED_AHEAD: usize = 65_536;

/// Bounds of a log.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of unacknowledged frames.
    pub bytes: usize,
    /// Messages unacknowledged.
    pub messages: u64,
    /// With a disk store: bytes of frames kept in memory.
    pub resident_bytes: usize,
}

impl Default for Limits {
    /// 256 MiB, any number of messages, 8 MiB resident.
    fn default() -> Self {
        Self { bytes: 256 << 20, messages: u64::MAX, resident_bytes: 8 << 20 }
    }
}

/// Why a message was not appended. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The bound on unacknowledged messages is reached; room comes with the
    /// servers' acknowledgements.
    #[error("the publish store is full: {held} bytes unacknowledged, the bound is {bound}")]
    StoreFull {
        /// Bytes held.
        held: usize,
        /// The bound in bytes.
        bound: usize,
    },
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
    /// Set once the store has failed.
    pub failed: Option<Arc<StoreError>>,
    /// No more is accepted.
    pub closed: bool,
}

/// A message a server refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedWrite {
    /// Its sequence.
    pub sequence: u64,
    /// The server's reason.
    pub reason: Reason,
    /// The message as it was sent; `None` when only the disk has it.
    pub message: Option<(String, Bytes)>,
}

/// The publish log: bookkeeping only. See the [module](super).
#[derive(Debug)]
pub struct PublishLog {
    pub(super) limits: Limits,
    pub(super) level: Durability,
    pub(super) sequenced: bool,
    pub(super) online: bool,
    pub(super) segments: VecDeque<Segment>,
    pub(super) end: u64,
    pub(super) next_sequence: u64,
    pub(super) acked: u64,
    pub(super) sent: u64,
    /// Entries from here on were never handed to a socket by anybody.
    pub(super) unsent_from: u64,
    pub(super) bytes: usize,
    pub(super) resident: usize,
    settled_ahead: BTreeSet<u64>,
    refusals: VecDeque<(u64, Reason)>,
    pub(super) discarded_through: u64,
    pub(super) persisted_through: u64,
    pub(super) ever_logged_on: bool,
    pub(super) disk: Option<Disk>,
    closed: bool,
}

/// What the log knows about its store.
#[derive(Debug)]
pub(super) struct Disk {
    /// The record as last handed to the store.
    pub(super) meta: Meta,
    /// Everything below this ordinal is stored at the level.
    pub(super) stored: u64,
    /// Last sequence of the newest value handed to the store.
    pub(super) chain: u64,
    /// Values that may be removed.
    removals: Vec<u64>,
    /// Numbers up to here may be sent: reserved on the disk.
    reserved: u64,
    /// The disk says that anything in it may have been sent.
    pub(super) may_send: bool,
    /// The job that is out: ordinal its segments end at.
    out: Option<u64>,
    wanted: Option<u64>,
    pub(super) renumber: Option<Renumber>,
    failed: Option<Arc<StoreError>>,
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

    /// A log on what a [`SegmentStore`](super::SegmentStore) found.
    pub fn on_disk(limits: Limits, level: Durability, recovered: Recovered) -> Self {
        let mut log = Self::new(limits, level, true, recovered.next_sequence);
        let meta = recovered.meta;
        for value in recovered.values {
            let (first, count) = (log.end, value.last - value.first + 1);
            log.segments.push_back(Segment {
                first,
                count,
                first_sequence: value.first,
                taken: true,
                len: value.len,
                cut: 0,
                body: Body::Stored,
            });
            log.end += count;
            log.bytes += value.len;
        }
        log.discarded_through = meta.discarded_through;
        log.persisted_through = meta.persisted_through;
        log.ever_logged_on = meta.ever_logged_on;
        log.unsent_from = match meta.never_sent_from {
            Some(sequence) => log.ordinals_through(sequence.saturating_sub(1)),
            None => log.end,
        };
        log.disk = Some(Disk {
            stored: log.end,
            chain: log.segments.back().map_or(meta.discarded_through, Segment::last_sequence),
            removals: Vec::new(),
            reserved: meta.reserved_through,
            may_send: false,
            out: None,
            wanted: None,
            renumber: None,
            failed: None,
            meta: meta.clone(),
        });
        for sequence in &meta.settled {
            if let Some(ordinal) = log.ordinal_of(*sequence) {
                log.settled_ahead.insert(ordinal);
            }
        }
        log.advance(log.ordinals_through(meta.discarded_through));
        log.sent = log.acked;
        log
    }

    fn new(limits: Limits, level: Durability, sequenced: bool, next_sequence: u64) -> Self {
        Self {
            limits,
            level,
            sequenced,
            online: false,
            segments: VecDeque::new(),
            end: 0,
            next_sequence,
            acked: 0,
            sent: 0,
            unsent_from: 0,
            bytes: 0,
            resident: 0,
            settled_ahead: BTreeSet::new(),
            refusals: VecDeque::new(),
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
        if self.closed {
            return Err(AppendError::Closed);
        }
        if let Some(error) = self.disk.as_ref().and_then(|disk| disk.failed.clone()) {
            return Err(AppendError::StoreFailed(error));
        }
        if !self.sequenced && !self.online {
            return Err(AppendError::Disconnected);
        }
        let bound = self.limits.bytes;
        if len > bound {
            return Err(AppendError::TooLarge { len, bound });
        }
        if self.bytes + len > bound || self.end - self.acked >= self.limits.messages {
            return Err(AppendError::StoreFull { held: self.bytes, bound });
        }
        let fits = self.segments.back().is_some_and(|tail| {
            matches!(tail.body, Body::Open(_))
                && tail.len + len <= SEGMENT_LEN
                && tail.first_sequence + tail.count == self.next_sequence
        });
        if !fits {
            if let Some(tail) = self.segments.back_mut() {
                tail.seal();
            }
            self.segments.push_back(Segment::open(self.end, self.next_sequence, len.max(SEGMENT_LEN)));
        }
        let tail = self.segments.back_mut().expect("a segment is open");
        let Body::Open(bytes) = &mut tail.body else { unreachable!("the newest segment is open") };
        encode(self.sequenced.then_some(self.next_sequence), bytes);
        self.bytes += bytes.len() - tail.len;
        self.resident += bytes.len() - tail.len;
        tail.len = bytes.len();
        tail.count += 1;
        let ordinal = self.end;
        self.end += 1;
        self.next_sequence += 1;
        Ok(ordinal)
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
            failed: self.disk.as_ref().and_then(|disk| disk.failed.clone()),
            closed: self.closed,
        }
    }

    fn durable(&self) -> u64 {
        match &self.disk {
            Some(disk) if self.level > Durability::Memory => disk.stored,
            Some(Disk { failed: Some(_), stored, .. }) => *stored,
            _ => self.end,
        }
    }

    /// Where the writer is.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Behind the newest message.
    pub fn end(&self) -> u64 {
        self.end
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
            let Some(bytes) = segment.bytes() else {
                if let Some(disk) = &mut self.disk {
                    disk.wanted = Some(segment.first);
                }
                break;
            };
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
        self.sent - start
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
        self.sent < self.sendable().min(until)
    }

    /// The bytes handed out so far are written. Without a store that frees
    /// them.
    pub fn written(&mut self) {
        if !self.sequenced {
            self.advance(self.sent);
        }
    }

    /// The connection is gone. Answers how many messages were dropped, which
    /// only happens without a store: those not written to their last byte, of
    /// which `unwritten` had been handed out.
    pub fn disconnected(&mut self, unwritten: u64) -> u64 {
        self.online = false;
        if self.sequenced {
            self.sent = self.acked;
            return 0;
        }
        let dropped = self.end - self.sent + unwritten;
        self.sent = self.end;
        self.advance(self.end);
        dropped
    }

    /// A persisted acknowledgement: everything up to `sequence` is settled.
    /// One that is late, or reaches beyond what was ever sent, does no more
    /// than it can.
    pub fn acknowledged(&mut self, sequence: u64) {
        if !self.sequenced {
            return;
        }
        let through = self.ordinals_through(sequence).min(self.unsent_from);
        let highest = through.checked_sub(1).and_then(|ordinal| self.sequence_of(ordinal));
        self.persisted_through = self.persisted_through.max(highest.unwrap_or(0));
        self.advance(through);
    }

    /// A server refused one message: it is settled all the same, so that it is
    /// not replayed for ever. `None` when it was settled before.
    pub fn refused(&mut self, sequence: u64, reason: Reason) -> Option<FailedWrite> {
        let ordinal = self.ordinal_of(sequence)?;
        let known = ordinal < self.acked || ordinal >= self.unsent_from || self.settled_ahead.contains(&ordinal);
        if known {
            return None;
        }
        let message = self.message(ordinal);
        if reason == Reason::Duplicate {
            self.persisted_through = self.persisted_through.max(sequence);
        } else {
            if self.refusals.len() == REFUSALS {
                self.refusals.pop_front();
            }
            self.refusals.push_back((ordinal, reason.clone()));
        }
        // Beyond the bound the message stays unsettled and is sent again,
        // which the server's own rule makes harmless.
        if self.settled_ahead.len() < SETTLED_AHEAD || ordinal == self.acked {
            self.settled_ahead.insert(ordinal);
        }
        self.advance(self.acked);
        Some(FailedWrite { sequence, reason, message })
    }

    /// Why the message at `ordinal` was refused, if it was and it is among the
    /// newest 1,024 that were.
    pub fn refusal(&self, ordinal: u64) -> Option<&Reason> {
        self.refusals.iter().find(|(refused, _)| *refused == ordinal).map(|(_, reason)| reason)
    }

    fn message(&self, ordinal: u64) -> Option<(String, Bytes)> {
        let segment = self.segment_at(ordinal)?;
        let frame = frames(segment.bytes()?).nth((ordinal - segment.first) as usize)?;
        let message = Message::decode(Bytes::copy_from_slice(&frame[PREFIX_LEN..])).ok()?;
        Some((message.text(Field::Topic)?.into_owned(), message.data_bytes()))
    }

    /// Settles everything below `through`, and what is settled behind it.
    pub(super) fn advance(&mut self, through: u64) {
        let mut acked = self.acked.max(through);
        self.settled_ahead = self.settled_ahead.split_off(&acked);
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
            if let (Some(disk), true) = (&mut self.disk, front.taken) {
                disk.removals.push(front.first_sequence);
            }
            self.segments.pop_front();
        }
        if let Some(disk) = &mut self.disk {
            // What is settled before it was stored need not be stored.
            disk.stored = disk.stored.max(acked);
        }
    }

    fn segment_at(&self, ordinal: u64) -> Option<&Segment> {
        let index = self.segments.partition_point(|segment| segment.end() <= ordinal);
        self.segments.get(index).filter(|segment| segment.first <= ordinal)
    }

    pub(super) fn sequence_of(&self, ordinal: u64) -> Option<u64> {
        self.segment_at(ordinal).map(|segment| segment.sequence_of(ordinal))
    }

    fn ordinal_of(&self, sequence: u64) -> Option<u64> {
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

    /// The next thing to do in the store. Nothing while a job is out, after a
    /// failure, or without a disk store. Changes after every other call.
    #[must_use]
    pub fn next_job(&mut self) -> Option<Job> {
        let disk = self.disk.as_mut()?;
        if disk.out.is_some() || disk.failed.is_some() {
            return None;
        }
        if let Some(renumber) = disk.renumber.clone() {
            disk.out = Some(0);
            return Some(Job(Work::Renumber(renumber)));
        }
        if let Some(wanted) = disk.wanted.take() {
            let keys = self.load_keys(wanted);
            if !keys.is_empty() {
                self.disk.as_mut()?.out = Some(0);
                return Some(Job(Work::Load { keys }));
            }
        }
        self.commit(false)
    }

    /// The last job of a clean close: what is left, and the exact next number.
    pub fn closing_job(&mut self) -> Option<Job> {
        let disk = self.disk.as_ref()?;
        if disk.out.is_some() || disk.failed.is_some() || disk.renumber.is_some() {
            return None;
        }
        self.commit(true)
    }

    fn commit(&mut self, closing: bool) -> Option<Job> {
        let settled: Vec<u64> = self.settled_ahead.iter().filter_map(|ordinal| self.sequence_of(*ordinal)).collect();
        let unsent = self.sequence_of(self.unsent_from).unwrap_or(self.next_sequence);
        let disk = self.disk.as_mut()?;
        let mut segments = Vec::new();
        let (mut group, mut end) = (0, disk.stored);
        let first = self.segments.partition_point(|segment| segment.end() <= disk.stored);
        for segment in self.segments.range_mut(first..).filter(|segment| !segment.taken) {
            if group >= GROUP_LEN && !closing {
                break;
            }
            let Some(bytes) = segment.seal() else { continue };
            group += bytes.len();
            segment.taken = true;
            let last = segment.last_sequence();
            segments.push(StoredSegment { first: segment.first_sequence, last, previous_last: disk.chain, bytes });
            disk.chain = last;
            end = segment.end();
        }
        let mut meta = disk.meta.clone();
        if meta.reserved_through < self.next_sequence + RESERVE / 2 {
            meta.reserved_through = self.next_sequence + RESERVE;
        }
        meta.ever_logged_on = self.ever_logged_on;
        if self.online {
            meta.never_sent_from = None;
        } else if !segments.is_empty() {
            // Stored without a connection: stays unsent until the disk says
            // otherwise, which the next logon waits for.
            meta.never_sent_from = meta.never_sent_from.or(Some(unsent));
        }
        disk.may_send &= meta.never_sent_from.is_none();
        meta.next_sequence = closing.then_some(self.next_sequence);
        let clears = meta.never_sent_from.is_none() && !disk.may_send;
        let power = meta.reserved_through != disk.reserved || (clears && self.online) || closing;
        meta.discarded_through = self.discarded_through;
        meta.persisted_through = self.persisted_through;
        meta.settled = settled;
        if segments.is_empty() && disk.removals.is_empty() && meta == disk.meta && !(clears && self.online) {
            return None;
        }
        let sync = match self.level {
            _ if power => Some(SyncLevel::Power),
            _ if segments.is_empty() => None,
            Durability::PowerLoss => Some(SyncLevel::Power),
            Durability::ProcessCrash | Durability::Memory => Some(SyncLevel::Process),
        };
        disk.meta = meta.clone();
        disk.out = Some(end);
        let removals = std::mem::take(&mut disk.removals);
        Some(Job(Work::Commit(Commit { meta, segments, removals, sync })))
    }

    /// The stored segment that holds `wanted` and those behind it, as much as
    /// may be read ahead.
    fn load_keys(&self, wanted: u64) -> Vec<u64> {
        let index = self.segments.partition_point(|segment| segment.end() <= wanted);
        let mut room = self.read_ahead();
        let mut keys = Vec::new();
        for segment in self.segments.range(index..) {
            if !matches!(segment.body, Body::Stored) || (room < segment.len && !keys.is_empty()) {
                break;
            }
            room = room.saturating_sub(segment.len);
            keys.push(segment.first_sequence);
        }
        keys
    }

    fn read_ahead(&self) -> usize {
        self.limits.resident_bytes / 2
    }

    /// A job is done, or failed: then the log accepts and sends nothing past
    /// what was durable before.
    pub fn job_done(&mut self, result: Result<JobDone, StoreError>) {
        let Some(disk) = &mut self.disk else { return };
        let end = disk.out.take();
        match result {
            Err(error) => disk.failed = Some(Arc::new(error)),
            Ok(JobDone(Done::Committed)) => {
                disk.stored = disk.stored.max(end.unwrap_or(0));
                disk.reserved = disk.meta.reserved_through;
                disk.may_send = disk.meta.never_sent_from.is_none();
                self.evict();
            }
            Ok(JobDone(Done::Loaded(values))) => self.loaded(values),
            Ok(JobDone(Done::Renumbered(values))) => {
                if let Some(renumber) = disk.renumber.take() {
                    disk.reserved = renumber.meta.reserved_through;
                    disk.may_send = false;
                    disk.meta = renumber.meta;
                }
                self.renumbered(values);
            }
        }
    }

    fn loaded(&mut self, values: Vec<(u64, Bytes)>) {
        for (key, bytes) in values {
            // It may have been settled or renumbered meanwhile.
            if let Ok(index) = self.segments.binary_search_by_key(&key, |segment| segment.first_sequence) {
                let segment = &mut self.segments[index];
                if matches!(segment.body, Body::Stored) {
                    self.resident += bytes.len();
                    segment.body = Body::Sealed(bytes);
                }
            }
        }
        self.evict();
    }

    /// Gives back memory when there is too much in use: first what was sent,
    /// then the oldest that the writer will not reach soon.
    fn evict(&mut self) {
        if self.resident <= self.limits.resident_bytes {
            return;
        }
        let stored = self.disk.as_ref().map_or(0, |disk| disk.stored);
        // Somewhat below the bound, so that the next pass is not due at once.
        let goal = self.limits.resident_bytes / 4 * 3;
        let mut window = self.read_ahead();
        for segment in &mut self.segments {
            if self.resident <= goal || segment.end() > stored {
                break;
            }
            if segment.end() > self.sent && window > 0 {
                window = window.saturating_sub(segment.len);
            } else if segment.taken && matches!(segment.body, Body::Sealed(_)) {
                segment.body = Body::Stored;
                self.resident -= segment.len;
            }
        }
    }

    /// Bytes of frames in memory.
    pub fn resident_bytes(&self) -> usize {
        self.resident
    }
}
