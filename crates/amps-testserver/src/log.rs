//! The transaction log in memory, with what finds positions in it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use amps_core::{Bookmark, planted};
use bytes::Bytes;

/// A publisher's place in [`Log`]'s table.
pub(crate) type PublisherIx = u32;

/// One logged message, or deletion of records. Positions count from 0 in log
/// order.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) publisher: PublisherIx,
    pub(crate) topic: u32,
    pub(crate) sequence: u64,
    /// Published here by a client, so that persisted waits for sync peers.
    pub(crate) direct: bool,
    /// The instance it was published to, where it was another one that is known.
    pub(crate) origin: Option<Arc<str>>,
    pub(crate) sow_key: Option<u64>,
    /// The key as its publisher gave it, where publishers do.
    pub(crate) given_key: Option<Arc<str>>,
    /// How long its record lives, in seconds, if its publisher said so; 0 is for
    /// ever.
    pub(crate) expiration: Option<u64>,
    /// Of a `sow_delete`: the keys of the records it deleted.
    pub(crate) deletes: Option<Box<[u64]>>,
    pub(crate) correlation_id: Option<Box<str>>,
    /// When this instance took it, in microseconds since the beginning of 1970.
    pub(crate) processed: u64,
    pub(crate) body: Bytes,
}

/// A publisher and where its messages are.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    /// Sequences and their positions; both strictly increasing.
    index: Vec<(u64, usize)>,
    /// The highest sequence seen on a topic that is not logged.
    unlogged: u64,
}

impl Publisher {
    /// The highest logged sequence, 0 without any.
    pub(crate) fn highest(&self) -> u64 {
        self.index.last().map_or(0, |(sequence, _)| *sequence)
    }

    /// The highest sequence seen: anything at or below it is a duplicate
    /// (AMPS User Guide, "Message Sequence Numbers").
    pub(crate) fn seen(&self) -> u64 {
        self.highest().max(self.unlogged)
    }

    /// Notes a sequence that is not logged.
    pub(crate) fn note_unlogged(&mut self, sequence: u64) {
        self.unlogged = self.unlogged.max(sequence);
    }

    /// The position of the first message above `sequence`.
    fn first_above(&self, sequence: u64) -> Option<usize> {
        let at = self.index.partition_point(|(s, _)| *s <= sequence);
        self.index.get(at).map(|(_, position)| *position)
    }
}

/// The transaction log.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: Vec<Entry>,
    publishers: Vec<Publisher>,
    by_id: HashMap<u64, PublisherIx>,
    /// Names of instances messages came from.
    instances: BTreeSet<Arc<str>>,
    bytes: usize,
}

impl Log {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all bodies.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn entry(&self, position: usize) -> &Entry {
        &self.entries[position]
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn publishers(&self) -> &[Publisher] {
        &self.publishers
    }

    pub(crate) fn publisher(&self, ix: PublisherIx) -> &Publisher {
        &self.publishers[ix as usize]
    }

    pub(crate) fn publisher_mut(&mut self, ix: PublisherIx) -> &mut Publisher {
        &mut self.publishers[ix as usize]
    }

    /// The publisher's place in the table, made when it is new.
    pub(crate) fn intern(&mut self, id: u64, name: &str) -> PublisherIx {
        *self.by_id.entry(id).or_insert_with(|| {
            self.publishers.push(Publisher { id, name: name.into(), index: Vec::new(), unlogged: 0 });
            (self.publishers.len() - 1) as PublisherIx
        })
    }

    /// The name of an instance, kept once.
    pub(crate) fn instance(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.instances.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.instances.insert(name.clone());
        name
    }

    /// Appends behind the last entry and answers the position. The caller has
    /// dropped duplicates: per publisher, sequences only grow.
    pub(crate) fn push(&mut self, entry: Entry) -> usize {
        let position = self.entries.len();
        let publisher = &mut self.publishers[entry.publisher as usize];
        debug_assert!(entry.sequence > publisher.highest() || planted::is("server-keeps-duplicates"));
        publisher.index.push((entry.sequence, position));
        self.bytes += entry.body.len();
        self.entries.push(entry);
        position
    }

    /// How many messages were processed by a time, in microseconds since the
    /// beginning of 1970.
    pub(crate) fn processed_by(&self, micros: u64) -> usize {
        self.entries.partition_point(|entry| entry.processed <= micros)
    }

    /// When the last message was processed.
    pub(crate) fn last_processed(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.processed)
    }

    /// The bookmark of the entry at `position`.
    pub(crate) fn bookmark(&self, position: usize) -> Bookmark {
        let entry = &self.entries[position];
        Bookmark { publisher: self.publisher(entry.publisher).id, sequence: entry.sequence }
    }

    /// The position of exactly this message.
    pub(crate) fn find(&self, bookmark: Bookmark) -> Option<usize> {
        let index = &self.publishers[*self.by_id.get(&bookmark.publisher)? as usize].index;
        let at = index.binary_search_by_key(&bookmark.sequence, |(sequence, _)| *sequence).ok()?;
        Some(index[at].1)
    }

    /// The position of the first message of a publisher from that one on, and
    /// whether it is that one; `None` when the log does not go so far.
    pub(crate) fn first_from(&self, bookmark: Bookmark) -> Option<(usize, bool)> {
        let index = &self.publishers[*self.by_id.get(&bookmark.publisher)? as usize].index;
        let at = index.partition_point(|(sequence, _)| *sequence < bookmark.sequence);
        index.get(at).map(|(sequence, position)| (*position, *sequence == bookmark.sequence))
    }

    /// The first position holding something above what `known` holds per
    /// publisher id; the log's end when there is none.
    pub(crate) fn first_unknown(&self, known: &HashMap<u64, u64>) -> usize {
        let above = |p: &Publisher| p.first_above(known.get(&p.id).copied().unwrap_or(0));
        self.publishers.iter().filter_map(above).min().unwrap_or(self.len())
    }

    /// The highest sequence of a publisher up to which everything is
    /// persisted, when sync peers hold the log before `replicated`.
    ///
    /// What a client published here counts from then on; what a peer sent
    /// counts at once.
    pub(crate) fn persisted(&self, ix: PublisherIx, replicated: usize) -> u64 {
        self.first_unpersisted(ix, replicated).map_or_else(|| self.publisher(ix).highest(), |(before, _)| before)
    }

    /// The first sequence of a publisher that is not persisted, with the last
    /// logged one before it (0 without any) in front.
    pub(crate) fn first_unpersisted(&self, ix: PublisherIx, replicated: usize) -> Option<(u64, u64)> {
        let index = &self.publisher(ix).index;
        let from = index.partition_point(|(_, position)| *position < replicated);
        let at = from + index[from..].iter().position(|(_, position)| self.entries[*position].direct)?;
        Some((if at == 0 { 0 } else { index[at - 1].0 }, index[at].0))
    }
}
