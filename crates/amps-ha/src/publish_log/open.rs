use std::ops::ControlFlow;
use std::path::Path;

use amps_core::planted;

use super::disk::RESERVE;
use super::error::StoreError;
use super::meta::{FORMAT, Identity, Meta};
use super::store::{Head, LOG_FROM, LOG_TO, META_KEY, OLD_FIRST_PART, SegmentStore, split_key};
use crate::kv::{Kv, SyncLevel};

/// What a store held when it was opened.
#[derive(Debug)]
pub struct Recovered {
    pub(super) meta: Meta,
    pub(super) values: Vec<RecoveredValue>,
    pub(super) next_sequence: u64,
    /// How long a segment is at best.
    pub(super) segment_len: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct RecoveredValue {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) len: usize,
}

impl SegmentStore {
    /// Opens the store on `kv`, which lies in `dir` (named in errors), for
    /// `identity`. A new one numbers from `unix_nanos`.
    ///
    /// Checks every value: its checksum, and that it follows the one before.
    /// Values left over from a crash in the middle of a commit were never
    /// promised to anybody and are removed. Before this returns, numbers above
    /// everything that can have been sent are reserved on the disk.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the log was changed.
    pub fn open(
        kv: Box<dyn Kv>,
        dir: &Path,
        identity: &Identity,
        unix_nanos: u64,
    ) -> Result<(Self, Recovered), StoreError> {
        let mut store = Self::new(dir, kv);
        let meta = match store.kv.get(META_KEY)? {
            Some(json) => store.read_meta(&json, identity)?,
            None => store.new_meta(identity, unix_nanos)?,
        };
        let found = store.scan()?;
        let values = store.chain(&meta, found)?;
        let newest = values.last().map_or(0, |value| value.last);
        // After a crash any reserved number may have been sent.
        let known = match planted::is("sequence-reused") {
            true => meta.discarded_through,
            false => meta.reserved_through,
        };
        let next_sequence = meta.next_sequence.unwrap_or(known + 1).max(newest + 1);
        let meta = Meta {
            next_sequence: None,
            renumbering_above: None,
            reserved_through: (next_sequence + RESERVE).max(meta.reserved_through),
            ..meta
        };
        store.put_meta(&meta)?;
        store.kv.sync(SyncLevel::Power)?;
        let segment_len = store.segment_len();
        Ok((store, Recovered { meta, values, next_sequence, segment_len }))
    }

    fn read_meta(&self, json: &[u8], given: &Identity) -> Result<Meta, StoreError> {
        let damaged = |what: String| StoreError::Damaged { dir: self.dir.clone(), what };
        let found = version(json).map_err(|error| damaged(format!("its record is unreadable: {error}")))?;
        if found > FORMAT {
            return Err(StoreError::NewerFormat { dir: self.dir.clone(), found, known: FORMAT });
        }
        let mut meta: Meta =
            serde_json::from_slice(json).map_err(|error| damaged(format!("its record is unreadable: {error}")))?;
        if !meta.is_possible() {
            return Err(damaged("its record names a number that no message has".to_owned()));
        }
        let stored = &meta.identity;
        for (field, stored, given) in [
            ("client name", &stored.client_name, &given.client_name),
            ("protocol", &stored.protocol, &given.protocol),
            ("message type", &stored.message_type, &given.message_type),
        ] {
            // A client with a server chooser does not know the message type.
            let unknown = field == "message type" && (stored.is_empty() || given.is_empty());
            if stored != given && !unknown {
                return Err(StoreError::WrongIdentity {
                    dir: self.dir.clone(),
                    field,
                    stored: stored.clone(),
                    given: given.clone(),
                });
            }
        }
        if meta.identity.message_type.is_empty() {
            meta.identity.message_type.clone_from(&given.message_type);
        }
        Ok(meta)
    }

    /// A store without its record is new only if it holds nothing at all.
    fn new_meta(&self, identity: &Identity, unix_nanos: u64) -> Result<Meta, StoreError> {
        let mut empty = true;
        self.kv.scan(LOG_FROM, LOG_TO, &mut |_, _| {
            empty = false;
            ControlFlow::Break(())
        })?;
        if !empty {
            let what = "it holds messages but its record is missing".to_owned();
            return Err(StoreError::Damaged { dir: self.dir.clone(), what });
        }
        Ok(Meta {
            format: FORMAT,
            identity: identity.clone(),
            discarded_through: 0,
            persisted_through: 0,
            reserved_through: 0,
            ever_logged_on: false,
            next_sequence: Some(unix_nanos.max(1)),
            never_sent_from: Some(0),
            settled: Vec::new(),
            renumbering_above: None,
        })
    }

    /// Every value in the store: its head, or what is wrong with it.
    pub(super) fn scan(&self) -> Result<Vec<(u64, Found)>, StoreError> {
        let mut found: Vec<(u64, Found)> = Vec::new();
        let mut whole: Vec<u8> = Vec::new();
        let part_len = self.kv.max_value();
        let mut visit = |key: &[u8], chunk: &[u8]| {
            let Some((first, part)) = split_key(key) else {
                found.push((0, Found::Damaged("a key that is not ours")));
                return ControlFlow::Break(());
            };
            if part == 0 {
                whole.clear();
                found.push((first, Found::Incomplete));
            }
            whole.extend_from_slice(chunk);
            if let Some((key, last)) = found.last_mut().filter(|(key, _)| *key == first) {
                *last = Found::of(*key, &whole, part_len);
            } else {
                found.push((first, Found::Damaged("its beginning is missing")));
            }
            ControlFlow::Continue(())
        };
        self.kv.scan(LOG_FROM, LOG_TO, &mut visit)?;
        Ok(found)
    }

    /// Checks that the values form one chain from what is discarded on, and
    /// removes what a crash left over. Answers what is still to be settled.
    fn chain(&mut self, meta: &Meta, found: Vec<(u64, Found)>) -> Result<Vec<RecoveredValue>, StoreError> {
        let mut values: Vec<RecoveredValue> = Vec::new();
        let mut left_over = Vec::new();
        let count = found.len();
        for (index, (key, found)) in found.into_iter().enumerate() {
            if key <= meta.discarded_through
                && !matches!(&found, Found::Whole(head) if head.last > meta.discarded_through)
            {
                left_over.push(key);
                continue;
            }
            if meta.renumbering_above.is_some_and(|old_last| key > old_last) {
                left_over.push(key);
                continue;
            }
            let head = match found {
                Found::Whole(head) => head,
                // The commit that wrote it never finished.
                Found::Incomplete if index + 1 == count => {
                    left_over.push(key);
                    continue;
                }
                Found::Incomplete => return Err(self.damaged(key, "its end is missing")),
                Found::Damaged(what) => return Err(self.damaged(key, what)),
            };
            let follows = match values.last() {
                Some(previous) => head.previous_last == previous.last && head.first > previous.last,
                None => head.previous_last <= meta.discarded_through,
            };
            if !follows {
                return Err(self.damaged(key, "values before it are missing"));
            }
            values.push(RecoveredValue { first: head.first, last: head.last, len: head.len });
        }
        for key in left_over {
            self.remove(key)?;
        }
        Ok(values)
    }
}

/// The version of the format that a record names.
pub(super) fn version(record: &[u8]) -> serde_json::Result<u32> {
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
    }
    serde_json::from_slice::<Version>(record).map(|version| version.format)
}

pub(super) enum Found {
    Whole(Head),
    Incomplete,
    Damaged(&'static str),
}

impl Found {
    /// What `whole`, the parts of a value so far, amounts to. Every part but
    /// the last is `part_len` bytes long; the first may be an old one.
    fn of(key: u64, whole: &[u8], part_len: usize) -> Self {
        match Head::read(whole) {
            None => Self::Damaged("its description is unreadable"),
            Some(head)
                if whole.len() < head.whole_len()
                    && [0, OLD_FIRST_PART].iter().any(|first| whole.len() % part_len == first % part_len) =>
            {
                Self::Incomplete
            }
            Some(head) => match head.check(key, whole) {
                Ok(()) => Self::Whole(head),
                Err(what) => Self::Damaged(what),
            },
        }
    }
}
