use std::sync::Arc;

use super::capacity::Limits;
use super::error::StoreError;
use super::hybrid::Spill;
use super::log::PublishLog;
use super::meta::Meta;
use super::segment::{Body, Segment};
use super::spare::Spare;
use super::work::{Commit, Done, Job, JobDone, Renumber, StoredSegment, Work};
use super::{Durability, Recovered};
use crate::kv::SyncLevel;

/// How many numbers one reservation covers. At a million messages a second a
/// reservation is renewed, and synced, once a second.
pub(super) const RESERVE: u64 = 1 << 20;

/// How many bytes one group commit takes at most; what is left is the next.
const GROUP_LEN: usize = 2 << 20;

/// What comes while a group is written joins it as long as it is smaller than
/// this, in so many steps at most. A larger one is worth a sync of its own.
const JOINED_LEN: usize = 256 << 10;
const JOINS: u32 = 16;

/// Settled values are removed with the next group, or when there are so many
/// bytes of them, or of them so many.
const REMOVE_LEN: usize = 4 << 20;
const REMOVE_VALUES: usize = 256;

/// How many runs of sequences that were settled out of order are noted. What
/// is not is sent again after a crash, which the server's own rule makes
/// harmless.
const SETTLED_RUNS: usize = 1024;

/// What the log knows about its store.
#[derive(Debug)]
pub(super) struct Disk {
    /// The record as last handed to the store.
    pub(super) meta: Meta,
    /// Everything below this ordinal is stored at the level.
    pub(super) stored: u64,
    /// Last sequence of the newest value handed to the store.
    pub(super) chain: u64,
    /// Values below this sequence may be removed: so many, of so many bytes.
    pub(super) remove_below: u64,
    removable: (usize, usize),
    /// Numbers up to here may be sent: reserved on the disk.
    pub(super) reserved: u64,
    /// The disk says that anything in it may have been sent.
    pub(super) may_send: bool,
    /// A job is out.
    out: bool,
    /// What is written and not synced.
    group: Option<Group>,
    /// Bytes that are read back, if the writer wants so much, before more are
    /// stored: twice as many as were stored last, so that a writer that fell
    /// behind catches up.
    pub(super) owed: usize,
    pub(super) renumber: Option<Renumber>,
    pub(super) failed: Option<Arc<StoreError>>,
    /// Only a hybrid log has it.
    pub(super) spill: Option<Spill>,
}

/// What one sync is for.
#[derive(Debug)]
struct Group {
    /// Ordinal behind the last message in it.
    end: u64,
    bytes: usize,
    commits: u32,
    level: SyncLevel,
}

impl Disk {
    /// Everything in a stored segment is settled.
    pub(super) fn discard(&mut self, segment: &Segment) {
        let (values, bytes) = self.removable;
        self.removable = (values + 1, bytes + segment.len);
        self.remove_below = segment.last_sequence() + 1;
    }

    fn may_remove(&self) -> bool {
        self.removable.0 >= REMOVE_VALUES || self.removable.1 >= REMOVE_LEN
    }
}

impl PublishLog {
    /// A log on what a [`SegmentStore`](super::SegmentStore) found.
    pub fn on_disk(limits: Limits, level: Durability, recovered: Recovered) -> Self {
        let mut log = Self::new(limits, level, true, recovered.next_sequence);
        log.spare = Spare::new(recovered.segment_len);
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
            remove_below: 0,
            removable: (0, 0),
            reserved: meta.reserved_through,
            may_send: false,
            out: false,
            group: None,
            owed: 0,
            renumber: None,
            failed: None,
            spill: None,
            meta: meta.clone(),
        });
        for (first, last) in &meta.settled {
            let ordinals = log.ordinals_through(first - 1)..log.ordinals_through(*last);
            log.settled_ahead.extend(ordinals);
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
        if disk.out || disk.failed.is_some() {
            return None;
        }
        if let Some(group) = &disk.group {
            let (level, full) = (group.level, group.bytes >= JOINED_LEN || group.commits > JOINS);
            // What came while the group was written joins it.
            if !full
                && disk.renumber.is_none()
                && self.untaken > 0
                && let Some(job) = self.commit(false)
            {
                return Some(job);
            }
            self.disk.as_mut()?.out = true;
            return Some(Job(Work::Sync(level)));
        }
        if let Some((value, sequences)) = self.failed_writes.wanted() {
            disk.out = true;
            return Some(Job(Work::ReadRefused { value, sequences }));
        }
        if let Some(renumber) = disk.renumber.clone() {
            // Its copies replace the values that are still to be read.
            if self.failed_writes.first_value().is_some() {
                return None;
            }
            disk.out = true;
            return Some(Job(Work::Renumber(renumber)));
        }
        let owed = disk.owed > 0;
        let keys = self.to_read();
        if (keys.is_empty() || !owed)
            && let Some(job) = self.commit(false)
        {
            return Some(job);
        }
        if keys.is_empty() {
            return None;
        }
        self.disk.as_mut()?.out = true;
        Some(Job(Work::Load { keys }))
    }

    /// Whether [`next_job`](Self::next_job) may have something to give. Says
    /// so a little too often.
    pub(super) fn wants_store(&self) -> bool {
        let Some(disk) = &self.disk else { return false };
        !disk.out
            && disk.failed.is_none()
            && (disk.renumber.is_some()
                || self.failed_writes.wanted().is_some()
                || self.removes()
                || (self.online && !disk.may_send)
                || self.append_concerns_store() && self.untaken > 0
                || self.wants_numbers()
                || !self.to_read().is_empty())
    }

    /// Whether it is time to remove settled values. Not while a refused message
    /// is to be read from one.
    fn removes(&self) -> bool {
        self.disk.as_ref().is_some_and(Disk::may_remove) && self.may_remove()
    }

    fn may_remove(&self) -> bool {
        let below = self.disk.as_ref().map_or(0, |disk| disk.remove_below);
        self.failed_writes.first_value().is_none_or(|value| value >= below)
    }

    /// Whether it is time to reserve more numbers.
    pub(super) fn wants_numbers(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.meta.reserved_through < self.next_sequence + RESERVE / 2)
    }

    /// Bytes the disk does not have yet.
    pub(super) fn unstored(&self) -> usize {
        let disk = self.disk.as_ref();
        disk.map_or(0, |disk| self.untaken + disk.group.as_ref().map_or(0, |group| group.bytes))
    }

    /// How many bytes may be on their way to the disk before publishers that
    /// can wait do so. A hybrid log has a bound of its own.
    pub(super) fn unstored_bound(&self) -> usize {
        match self.disk.as_ref().is_some_and(|disk| disk.spill.is_none()) {
            true => self.limits.resident_bytes / 2,
            false => usize::MAX,
        }
    }

    /// What is settled above what is discarded, as runs.
    fn settled_runs(&self) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for sequence in self.settled_ahead.iter().filter_map(|ordinal| self.sequence_of(*ordinal)) {
            let full = runs.len() == SETTLED_RUNS;
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == sequence => *last = sequence,
                _ if full => break,
                _ => runs.push((sequence, sequence)),
            }
        }
        runs
    }

    /// The last job of a clean close: what is left, and the exact next number.
    pub fn closing_job(&mut self) -> Option<Job> {
        let disk = self.disk.as_ref()?;
        if disk.out || disk.failed.is_some() || disk.renumber.is_some() || disk.group.is_some() {
            return None;
        }
        self.commit(true)
    }

    fn commit(&mut self, closing: bool) -> Option<Job> {
        let settled = self.settled_runs();
        let unsent = self.sequence_of(self.unsent_from).unwrap_or(self.next_sequence);
        let wants_numbers = self.wants_numbers();
        let (removes, may_remove) = (self.removes(), self.may_remove());
        let until = self.spill_until().filter(|_| !closing).unwrap_or(u64::MAX);
        let disk = self.disk.as_mut()?;
        let mut segments = Vec::new();
        let (mut bytes_taken, mut end) = (0, disk.stored);
        let first = self.segments.partition_point(|segment| segment.end() <= disk.stored);
        for segment in self.segments.range_mut(first..).filter(|segment| !segment.taken) {
            if segment.end() > until || (bytes_taken >= GROUP_LEN && !closing) {
                break;
            }
            let Some(bytes) = segment.seal(&mut self.spare) else { continue };
            bytes_taken += bytes.len();
            self.untaken -= bytes.len();
            segment.taken = true;
            let last = segment.last_sequence();
            segments.push(StoredSegment { first: segment.first_sequence, last, previous_last: disk.chain, bytes });
            disk.chain = last;
            end = segment.end();
        }
        let mut meta = disk.meta.clone();
        if wants_numbers {
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
        // What was settled meanwhile can wait: the servers know it.
        let reason = power || removes;
        if segments.is_empty() && (disk.group.is_some() || !reason) {
            return None;
        }
        let sync = match self.level {
            _ if power => Some(SyncLevel::Power),
            _ if segments.is_empty() => None,
            Durability::PowerLoss => Some(SyncLevel::Power),
            Durability::ProcessCrash | Durability::Memory => Some(SyncLevel::Process),
        };
        disk.meta = meta.clone();
        disk.out = true;
        if let Some(level) = sync {
            let group = disk.group.get_or_insert(Group { end, bytes: 0, commits: 0, level });
            *group = Group {
                end,
                bytes: group.bytes + bytes_taken,
                commits: group.commits + 1,
                level: group.level.max(level),
            };
            disk.owed = group.bytes * 2;
        }
        let removable = if may_remove { std::mem::take(&mut disk.removable) } else { (0, 0) };
        let remove_below = (removable.0 > 0 || closing && may_remove).then_some(disk.remove_below);
        Some(Job(Work::Commit(Commit { meta, segments, remove_below, sync: sync.filter(|_| closing) })))
    }

    /// A job is done, or failed: then the log accepts and sends nothing past
    /// what was durable before.
    pub fn job_done(&mut self, result: Result<JobDone, StoreError>) {
        let Some(disk) = &mut self.disk else { return };
        disk.out = false;
        match result {
            Err(error) => {
                disk.failed = Some(Arc::new(error));
                self.failed_writes.give_up();
            }
            Ok(JobDone(Done::Committed)) => {}
            Ok(JobDone(Done::Synced)) => {
                disk.stored = disk.stored.max(disk.group.take().map_or(0, |group| group.end));
                disk.reserved = disk.meta.reserved_through;
                disk.may_send = disk.meta.never_sent_from.is_none();
                self.evict();
            }
            Ok(JobDone(Done::Loaded(values))) => self.loaded(values),
            Ok(JobDone(Done::ReadRefused(messages))) => self.failed_writes.found(messages),
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
}
