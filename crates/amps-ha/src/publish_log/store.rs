use std::path::{Path, PathBuf};

use amps_core::{Message, planted};
use bytes::{Bytes, BytesMut};

use super::error::StoreError;
use super::meta::{Meta, SEQUENCE_MAX};
use super::refused;
use super::segment::{frames, renumber};
use super::work::{Commit, Done, Job, JobDone, Renumber, StoredSegment, Work};
use crate::kv::{Kv, SyncLevel};

pub(super) const META_KEY: &[u8] = b"meta";
const LOG_PREFIX: u8 = b'p';
pub(super) const LOG_FROM: &[u8] = b"p";
pub(super) const LOG_TO: &[u8] = b"q";

/// Format version, count, first, last and previous last sequence, total bytes
/// of the frames, CRC-32 of everything else.
const HEAD_LEN: usize = 40;
/// A change of it is a change of [`FORMAT`](super::meta::FORMAT), which is what
/// an open goes by.
const VALUE_VERSION: u8 = 1;

/// Parts of a value are as long as the engine takes them. In older stores the
/// first, with its description, has so many bytes.
pub(super) const OLD_FIRST_PART: usize = 1024;

/// Where a publish log's segments are kept: packed values on an ordered
/// key-value seam. Does the log's [`Job`]s.
pub struct SegmentStore {
    pub(super) dir: PathBuf,
    pub(super) kv: Box<dyn Kv>,
}

impl std::fmt::Debug for SegmentStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentStore").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// The description in front of a value's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) previous_last: u64,
    pub(super) len: usize,
    crc: u32,
}

impl SegmentStore {
    pub(super) fn new(dir: &Path, kv: Box<dyn Kv>) -> Self {
        Self { dir: dir.to_owned(), kv }
    }

    /// Does one job.
    ///
    /// # Errors
    /// Hand the error to [`PublishLog::job_done`](super::PublishLog::job_done):
    /// the store is failed for good.
    pub fn run(&mut self, job: &Job) -> Result<JobDone, StoreError> {
        match &job.0 {
            Work::Commit(commit) => self.commit(commit).map(JobDone),
            Work::Sync(level) => {
                let synced = if planted::is("store-sync-skipped") { Ok(()) } else { self.kv.sync(*level) };
                if !planted::is("failed-sync-ignored") {
                    synced?;
                }
                Ok(JobDone(Done::Synced))
            }
            Work::Load { keys } => {
                let values = keys.iter().map(|key| Ok((*key, self.load(*key)?.1)));
                values.collect::<Result<_, StoreError>>().map(|values| JobDone(Done::Loaded(values)))
            }
            Work::ReadRefused { value, sequences } => {
                Ok(JobDone(Done::ReadRefused(self.read_refused(*value, sequences))))
            }
            Work::Renumber(job) => self.renumber(job).map(|values| JobDone(Done::Renumbered(values))),
        }
    }

    /// A message that cannot be read is told without itself; it is settled,
    /// and nothing is wrong with the others.
    fn read_refused(&self, value: u64, sequences: &[u64]) -> Vec<(u64, Option<Message>)> {
        match self.load(value) {
            Ok((head, bytes)) => refused::messages(head.first, &bytes, sequences),
            Err(error) => {
                tracing::warn!(%error, "refused messages cannot be read back and are told without themselves");
                sequences.iter().map(|sequence| (*sequence, None)).collect()
            }
        }
    }

    /// In an order of which every prefix is consistent: what is discarded,
    /// then what is new, then what goes.
    fn commit(&mut self, commit: &Commit) -> Result<Done, StoreError> {
        self.put_meta(&commit.meta)?;
        for segment in &commit.segments {
            self.put(segment)?;
        }
        if let Some(below) = commit.remove_below {
            self.kv.remove_range(&key(0, 0), &key(below, 0))?;
        }
        let Some(level) = commit.sync else { return Ok(Done::Committed) };
        self.kv.sync(level)?;
        Ok(Done::Synced)
    }

    fn renumber(&mut self, job: &Renumber) -> Result<Vec<(u64, usize)>, StoreError> {
        let mut marked = job.meta.clone();
        marked.renumbering_above = Some(job.old_last);
        marked.never_sent_from = Some(job.from);
        marked.discarded_through = job.from - 1;
        self.put_meta(&marked)?;
        self.kv.sync(SyncLevel::Power)?;
        let (mut next, mut previous_last) = (job.start, job.old_last);
        let mut values = Vec::new();
        for key in &job.keys {
            let (head, old) = self.load(*key)?;
            let mut bytes = BytesMut::with_capacity(old.len() + 64);
            let first = next;
            for (_, frame) in (head.first..).zip(frames(&old)).filter(|(sequence, _)| *sequence >= job.from) {
                renumber(frame, next, &mut bytes).ok_or_else(|| self.damaged(*key, "a frame without a sequence"))?;
                next += 1;
            }
            let segment = StoredSegment { first, last: next - 1, previous_last, bytes: bytes.freeze() };
            previous_last = segment.last;
            values.push((first, segment.bytes.len()));
            self.put(&segment)?;
        }
        self.kv.sync(SyncLevel::Power)?;
        self.put_meta(&job.meta)?;
        self.kv.sync(SyncLevel::Power)?;
        self.kv.remove_range(&key(0, 0), &key(job.start, 0))?;
        Ok(values)
    }

    pub(super) fn put_meta(&mut self, meta: &Meta) -> Result<(), StoreError> {
        let encode = |meta: &Meta| serde_json::to_vec(meta).expect("a plain record serializes");
        let mut json = encode(meta);
        if json.len() > self.kv.max_value() {
            // What is left out is sent again after a crash, which the server's
            // own rule makes harmless.
            let mut fitting = meta.clone();
            while json.len() > self.kv.max_value() && !fitting.settled.is_empty() {
                fitting.settled.truncate(fitting.settled.len() / 2);
                json = encode(&fitting);
            }
        }
        Ok(self.kv.insert(META_KEY, &json)?)
    }

    /// The store underneath, in its present state.
    pub fn into_kv(self) -> Box<dyn Kv> {
        self.kv
    }

    pub(super) fn put(&mut self, segment: &StoredSegment) -> Result<(), StoreError> {
        let mut head = [0; HEAD_LEN];
        head[0] = VALUE_VERSION;
        for (at, number) in [(4, segment.first), (12, segment.last), (20, segment.previous_last)] {
            head[at..at + 8].copy_from_slice(&number.to_be_bytes());
        }
        head[28..36].copy_from_slice(&(segment.bytes.len() as u64).to_be_bytes());
        let crc = checksum(&head[..HEAD_LEN - 4], &segment.bytes);
        head[36..].copy_from_slice(&crc.to_be_bytes());
        let (frames, rest) = segment.bytes.split_at(segment.bytes.len().min(self.segment_len()));
        self.kv.insert_parts(&key(segment.first, 0), &[&head, frames])?;
        for (part, chunk) in (1..).zip(rest.chunks(self.kv.max_value())) {
            self.kv.insert(&key(segment.first, part), chunk)?;
        }
        Ok(())
    }

    /// How many bytes of frames are best stored as one.
    pub(super) fn segment_len(&self) -> usize {
        self.kv.max_value() - HEAD_LEN
    }

    pub(super) fn remove(&mut self, first: u64) -> Result<(), StoreError> {
        Ok(self.kv.remove_range(&key(first, 0), &key(first + 1, 0))?)
    }

    pub(super) fn load(&self, first: u64) -> Result<(Head, Bytes), StoreError> {
        let mut whole = BytesMut::with_capacity(self.kv.max_value() + OLD_FIRST_PART);
        self.kv.scan(&key(first, 0), &key(first + 1, 0), &mut |_, chunk| {
            whole.extend_from_slice(chunk);
            std::ops::ControlFlow::Continue(())
        })?;
        let whole = whole.freeze();
        let head = Head::read(&whole).ok_or_else(|| self.damaged(first, "its description is unreadable"))?;
        head.check(first, &whole).map_err(|what| self.damaged(first, what))?;
        Ok((head, whole.slice(HEAD_LEN..)))
    }

    pub(super) fn damaged(&self, first: u64, what: &str) -> StoreError {
        StoreError::Damaged { dir: self.dir.clone(), what: format!("the value of sequence {first}: {what}") }
    }
}

impl Head {
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let head = value.first_chunk::<HEAD_LEN>().filter(|head| head[0] == VALUE_VERSION)?;
        let number = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let crc = u32::from_be_bytes(head[36..40].try_into().expect("four bytes"));
        let len = usize::try_from(number(28)).ok()?;
        Some(Self { first: number(4), last: number(12), previous_last: number(20), len, crc })
    }

    /// Bytes of the whole value: description and frames.
    pub(super) fn whole_len(&self) -> usize {
        HEAD_LEN.saturating_add(self.len)
    }

    pub(super) fn check(&self, key: u64, whole: &[u8]) -> Result<(), &'static str> {
        if whole.len() != self.whole_len() {
            return Err("its length is wrong");
        }
        if self.crc != checksum(&whole[..HEAD_LEN - 4], &whole[HEAD_LEN..]) {
            return Err("its checksum is wrong");
        }
        if self.first != key || self.last < self.first {
            return Err("it stands under another's key");
        }
        // Every message takes a byte at least.
        if self.last > SEQUENCE_MAX || self.last - self.first >= self.len as u64 {
            return Err("it names more messages than it can hold");
        }
        Ok(())
    }
}

fn checksum(head: &[u8], frames: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(frames);
    crc.finalize()
}

fn key(first: u64, part: u32) -> [u8; 13] {
    let mut key = [LOG_PREFIX; 13];
    key[1..9].copy_from_slice(&first.to_be_bytes());
    key[9..].copy_from_slice(&part.to_be_bytes());
    key
}

/// The sequence and part a key of the log names.
pub(super) fn split_key(key: &[u8]) -> Option<(u64, u32)> {
    let key: &[u8; 13] = key.try_into().ok()?;
    Some((u64::from_be_bytes(key[1..9].try_into().ok()?), u32::from_be_bytes(key[9..].try_into().ok()?)))
}
