//! Looking at a store that may be damaged, and salvaging it.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::Path;

use bytes::Bytes;

use amps_core::frame::PREFIX_LEN;
use amps_core::{Field, Message};

use super::disk::RESERVE;
use super::error::StoreError;
use super::meta::{FORMAT, Identity, Meta};
use super::open::{Found, version};
use super::segment::frames;
use super::store::{Head, META_KEY, SegmentStore};
use super::work::StoredSegment;
use crate::kv::{Kv, SledFiles, SyncLevel};

/// What the records of a store said in the course of its life; fed by
/// [`SledFiles::read`](crate::kv::SledFiles::read).
///
/// Of a damaged store the newest record may be lost. What it counted never goes
/// down, so the highest that any record said is what is safe to go on from.
#[derive(Debug, Default)]
pub struct Records {
    newest: Option<Meta>,
    reserved_through: u64,
    discarded_through: u64,
    persisted_through: u64,
    unreadable: Option<String>,
    /// A version that this crate does not read.
    newer: Option<u32>,
}

impl Records {
    /// Takes an entry in; others than the store's record say nothing.
    pub fn note(&mut self, key: &[u8], value: &[u8]) {
        if key != META_KEY {
            return;
        }
        match serde_json::from_slice::<Meta>(value) {
            _ if newer(value).is_some() => self.newer = newer(value),
            Ok(meta) => {
                self.reserved_through = self.reserved_through.max(meta.reserved_through);
                self.discarded_through = self.discarded_through.max(meta.discarded_through);
                self.persisted_through = self.persisted_through.max(meta.persisted_through);
                self.newest = Some(meta);
            }
            Err(error) => self.unreadable = Some(error.to_string()),
        }
    }
}

/// A publish store's contents, as far as they are whole. Reads only.
#[derive(Debug)]
pub struct Examined {
    store: SegmentStore,
    records: Records,
    /// The newest record is certainly the last one written.
    current: bool,
    kept: Vec<Head>,
    problems: Vec<String>,
    lost: Vec<RangeInclusive<u64>>,
}

/// What a publish store holds. Sequences are those of messages; of a store
/// whose record is lost, what only that knows is missing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Contents {
    /// Whose it is.
    #[serde(flatten)]
    pub identity: Option<Identity>,
    /// Version of the format.
    pub format: Option<u32>,
    /// Messages that no server has acknowledged.
    pub messages: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Values they are packed in.
    pub values: usize,
    /// The oldest of them.
    pub first_sequence: Option<u64>,
    /// The newest of them.
    pub last_sequence: Option<u64>,
    /// Everything up to here is settled.
    pub discarded_through: u64,
    /// The highest that a server acknowledged as persisted.
    pub persisted_through: u64,
    /// Numbers up to here may have been given out.
    pub reserved_through: u64,
    /// The next number, of a store that was closed in good order.
    pub next_sequence: Option<u64>,
    /// Whether its client ever logged on.
    pub ever_logged_on: bool,
    /// From here on nothing was ever sent.
    pub never_sent_from: Option<u64>,
    /// How many were settled before older ones.
    pub settled_out_of_order: u64,
    /// Messages by topic.
    pub topics: BTreeMap<String, u64>,
}

/// What a [`salvage`](Examined::salvage) brought into the new store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// Messages.
    pub messages: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// The new store numbers from above here.
    pub reserved_through: u64,
}

impl Examined {
    /// Looks at the store in `files`, of which `records` took note.
    ///
    /// # Errors
    /// [`StoreError::Kv`] when it cannot be read at all;
    /// [`StoreError::NewerFormat`]. Damage is no error.
    pub fn new(files: SledFiles, records: Records) -> Result<Self, StoreError> {
        let dir = files.dir().to_owned();
        let current = files.is_current(META_KEY);
        let store = SegmentStore::new(&dir, Box::new(files));
        let mut examined = Self { store, records, current, kept: Vec::new(), problems: Vec::new(), lost: Vec::new() };
        examined.read_record()?;
        examined.read_values()?;
        Ok(examined)
    }

    fn read_record(&mut self) -> Result<(), StoreError> {
        let record = self.store.kv.get(META_KEY)?;
        match &record {
            Some(json) => self.records.note(META_KEY, json),
            None => self.problems.push("its record is missing".to_owned()),
        }
        if let (Some(_), Some(error)) = (&record, self.records.unreadable.take()) {
            self.problems.push(format!("its record is unreadable: {error}"));
        }
        match self.records.newer {
            Some(found) => Err(StoreError::NewerFormat { dir: self.store.dir.clone(), found, known: FORMAT }),
            None => Ok(()),
        }
    }

    /// As an open does, but past what is damaged.
    fn read_values(&mut self) -> Result<(), StoreError> {
        let discarded = self.records.discarded_through;
        let copies_above = self.records.newest.as_ref().and_then(|meta| meta.renumbering_above);
        let found = self.store.scan()?;
        let newest = found.last().map(|(key, _)| *key);
        let mut through = discarded;
        for (key, found) in found {
            let settled = key <= discarded && !matches!(&found, Found::Whole(head) if head.last > discarded);
            if settled || copies_above.is_some_and(|old_last| key > old_last) {
                continue;
            }
            match found {
                Found::Whole(head) if self.kept.last().is_some_and(|last| head.first <= last.last) => {
                    self.problems.push(format!("the value of sequence {key}: another holds it too"));
                }
                Found::Whole(head) => {
                    if head.previous_last > through {
                        self.lost.push(through + 1..=head.previous_last);
                    }
                    through = head.last;
                    self.kept.push(head);
                }
                // The commit that wrote it never finished.
                Found::Incomplete if Some(key) == newest => {}
                Found::Incomplete => self.problems.push(format!("the value of sequence {key}: its end is missing")),
                Found::Damaged(what) => self.problems.push(format!("the value of sequence {key}: {what}")),
            }
        }
        if let Some(next) = self.exact_end()
            && next > through + 1
        {
            self.lost.push(through + 1..=next - 1);
        }
        let lost = self.lost.iter().map(|range| format!("sequences {} to {} are missing", range.start(), range.end()));
        self.problems.extend(lost);
        Ok(())
    }

    /// The next number, if the store says so itself.
    fn exact_end(&self) -> Option<u64> {
        self.records.newest.as_ref().filter(|_| self.current).and_then(|meta| meta.next_sequence)
    }

    /// What contradicts a whole store, in words, the first found first.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Sequences that were stored and are not readable. A range may hold numbers
    /// that no message ever had.
    pub fn lost(&self) -> &[RangeInclusive<u64>] {
        &self.lost
    }

    /// Whether nothing in it is of a publish store.
    pub fn is_empty(&self) -> bool {
        self.records.newest.is_none() && self.kept.is_empty()
    }

    /// Whether it still knows whose it is.
    pub fn knows_identity(&self) -> bool {
        self.records.newest.is_some()
    }

    /// The newest message that is whole.
    pub fn last_sequence(&self) -> Option<u64> {
        self.kept.last().map(|head| head.last)
    }

    /// Whether what its record says is the last that was written. If not, more
    /// may be acknowledged, or stored, than it says.
    pub fn record_is_current(&self) -> bool {
        self.current
    }

    /// Whether it is certain that nothing came behind the last message: the
    /// store was closed in good order.
    pub fn end_is_certain(&self) -> bool {
        self.exact_end().is_some()
    }

    /// What it holds. Reads every message.
    ///
    /// # Errors
    /// When the files can no longer be read.
    pub fn contents(&self) -> Result<Contents, StoreError> {
        let meta = self.records.newest.as_ref();
        let mut contents = Contents {
            identity: meta.map(|meta| meta.identity.clone()),
            format: meta.map(|meta| meta.format),
            messages: 0,
            bytes: 0,
            values: self.kept.len(),
            first_sequence: None,
            last_sequence: None,
            discarded_through: self.records.discarded_through,
            persisted_through: self.records.persisted_through,
            reserved_through: self.records.reserved_through,
            next_sequence: self.exact_end(),
            ever_logged_on: meta.is_some_and(|meta| meta.ever_logged_on),
            never_sent_from: meta.and_then(|meta| meta.never_sent_from),
            settled_out_of_order: meta
                .map_or(0, |meta| meta.settled.iter().map(|(first, last)| last - first + 1).sum()),
            topics: BTreeMap::new(),
        };
        self.each_frame(&mut |sequence, frame| {
            let message = Message::decode(Bytes::copy_from_slice(&frame[PREFIX_LEN..])).ok();
            let topic = message.as_ref().and_then(|message| message.text(Field::Topic));
            *contents.topics.entry(topic.unwrap_or_default().into_owned()).or_default() += 1;
            contents.messages += 1;
            contents.bytes += frame.len() as u64;
            contents.first_sequence.get_or_insert(sequence);
            contents.last_sequence = Some(sequence);
            ControlFlow::Continue(())
        })?;
        Ok(contents)
    }

    /// Shows every message that is neither settled nor lost to `visit`, in
    /// order: its sequence and its frame, length prefix included.
    ///
    /// # Errors
    /// When the files can no longer be read.
    pub fn each_frame(&self, visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        for head in &self.kept {
            let (_, bytes) = self.store.load(head.first)?;
            for (sequence, frame) in (head.first..).zip(frames(&bytes)) {
                let settled = sequence <= self.records.discarded_through || self.is_settled(sequence);
                if !settled && visit(sequence, frame).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Shows the same messages, decoded; one that cannot be is passed over.
    ///
    /// # Errors
    /// When the files can no longer be read.
    pub fn each_message(&self, visit: &mut dyn FnMut(u64, &Message) -> ControlFlow<()>) -> Result<(), StoreError> {
        self.each_frame(&mut |sequence, frame| {
            let message = Message::decode(Bytes::copy_from_slice(&frame[PREFIX_LEN..]));
            message.map_or(ControlFlow::Continue(()), |message| visit(sequence, &message))
        })
    }

    fn is_settled(&self, sequence: u64) -> bool {
        let mut runs = self.records.newest.iter().flat_map(|meta| &meta.settled);
        runs.any(|(first, last)| (*first..=*last).contains(&sequence))
    }

    /// Writes what is whole into a new store on `into`, byte for byte, with the
    /// same numbers. `identity` is for a store whose record is lost.
    ///
    /// The new store gives out numbers above every one that this store may have
    /// given out, as far as any of its records says, and above `unix_nanos`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when nothing says whose the store is; else when
    /// reading or writing fails. What was written then is no store.
    pub fn salvage(
        &self,
        into: Box<dyn Kv>,
        dir: &Path,
        identity: Option<Identity>,
        unix_nanos: u64,
    ) -> Result<Salvaged, StoreError> {
        let known = self.records.newest.as_ref();
        let identity = known.map(|meta| meta.identity.clone()).or(identity).ok_or_else(|| StoreError::Damaged {
            dir: self.store.dir.clone(),
            what: "its record is lost, and with it the client name".to_owned(),
        })?;
        let newest = self.kept.last().map_or(0, |head| head.last);
        let reserved_through = self.records.reserved_through.max(newest).max(unix_nanos) + RESERVE;
        let meta = Meta {
            format: FORMAT,
            identity,
            discarded_through: self.records.discarded_through,
            persisted_through: self.records.persisted_through,
            reserved_through,
            // What is not known to be unsent may have been sent.
            ever_logged_on: known.is_none_or(|meta| meta.ever_logged_on),
            never_sent_from: known.and_then(|meta| meta.never_sent_from),
            next_sequence: None,
            settled: known.map(|meta| meta.settled.clone()).unwrap_or_default(),
            renumbering_above: None,
        };
        let mut new = SegmentStore::new(dir, into);
        let mut salvaged = Salvaged { messages: 0, bytes: 0, reserved_through };
        let mut previous_last = meta.discarded_through;
        for head in &self.kept {
            let (_, bytes) = self.store.load(head.first)?;
            salvaged.messages += (head.first..=head.last)
                .filter(|sequence| *sequence > meta.discarded_through && !self.is_settled(*sequence))
                .count() as u64;
            salvaged.bytes += bytes.len() as u64;
            new.put(&StoredSegment { first: head.first, last: head.last, previous_last, bytes })?;
            previous_last = head.last;
        }
        // Without its record there is no store yet.
        new.put_meta(&meta)?;
        new.kv.sync(SyncLevel::Power)?;
        Ok(salvaged)
    }
}

/// The version a record names, if it is newer than what this crate reads.
fn newer(record: &[u8]) -> Option<u32> {
    version(record).ok().filter(|found| *found > FORMAT)
}
