use std::sync::Arc;

use bytes::Bytes;

use super::capacity::Limits;
use super::error::StoreError;
use super::hybrid::Spill;
use super::log::PublishLog;
use super::meta::Meta;
use super::segment::{Body, Segment};
use super::work::{Commit, Done, Job, JobDone, Renumber, StoredSegment, Work};
use super::{Durability, Recovered};
use crate::kv::SyncLevel;

/// How many numbers one reservation covers. At a million messages a second a
/// reservation is renewed, and synced, once a second.
pub(super) const RESERVE: u64 = 1 << 20;

/// How many bytes one group commit takes at most; what is left is the next.
const GROUP_LEN: usize = 8 * 1024 * 1024;

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
    pub(super) removals: Vec<u64>,
    /// Numbers up to here may be sent: reserved on the disk.
    pub(super) reserved: u64,
    /// The disk says that anything in it may have been sent.
    pub(super) may_send: bool,
    /// The job that is out: ordinal its segments end at.
    out: Option<u64>,
    pub(super) wanted: Option<u64>,
    pub(super) renumber: Option<Renumber>,
    pub(super) failed: Option<Arc<StoreError>>,
    /// Only a hybrid log has it.
    pub(super) spill: Option<Spill>,
}

impl PublishLog {
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
            spill: None,
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
        let stored = self.segments.front().is_some_and(|oldest| oldest.taken);
        let until = self.spill_until().filter(|_| !closing).unwrap_or(u64::MAX);
        let disk = self.disk.as_mut()?;
        let mut segments = Vec::new();
        let (mut group, mut end) = (0, disk.stored);
        let first = self.segments.partition_point(|segment| segment.end() <= disk.stored);
        for segment in self.segments.range_mut(first..).filter(|segment| !segment.taken) {
            if segment.end() > until || (group >= GROUP_LEN && !closing) {
                break;
            }
            let Some(bytes) = segment.seal() else { continue };
            group += bytes.len();
            self.untaken -= bytes.len();
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
        // With nothing on the disk the record of a hybrid log says nothing new.
        let nothing_new = meta == disk.meta || (!power && disk.spill.is_some() && !stored);
        if segments.is_empty() && disk.removals.is_empty() && nothing_new && !(clears && self.online) {
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

    /// Bytes; the value that the writer has come to is always read.
    fn read_ahead(&self) -> usize {
        (self.limits.resident_bytes / 2).max(1)
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
    pub(super) fn evict(&mut self) {
        let Some(disk) = &self.disk else { return };
        let stored = disk.stored;
        let hybrid = disk.spill.is_some();
        let (most, mut goal, mut window) = match hybrid {
            // What the disk has is not kept, but for what the writer wants next.
            true => (self.untaken, self.untaken, if self.online { self.read_ahead() } else { 0 }),
            // Somewhat below the bound, so that the next pass is not due at once.
            false => (self.limits.resident_bytes, self.limits.resident_bytes / 4 * 3, self.read_ahead()),
        };
        if self.resident <= most {
            return;
        }
        for segment in &mut self.segments {
            if self.resident <= goal || segment.end() > stored {
                break;
            }
            if segment.end() > self.sent && window > 0 {
                window = window.saturating_sub(segment.len);
                goal += if hybrid { segment.resident() } else { 0 };
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
