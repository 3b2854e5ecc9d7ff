use std::ops::Range;
use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::bookmark::{Bookmark, BookmarkReader};
use crate::error::MessageError;
use crate::frame::{FrameError, PREFIX_LEN, frame_len};
use crate::header::{self, Entry, Field, Form};
use crate::message::MessageKind;

/// What is decoded at once ends behind the frame in which it gets this long, and
/// no frame is longer; so places in it fit into 32 bits.
pub(super) const RUN_LEN: usize = (1 << 31) - PREFIX_LEN;

/// The most records of one batch, ten times what a server sends (AMPS User Guide,
/// "Batching Query Results"). The table takes several times the bytes of very
/// small records.
pub(crate) const RECORDS_MAX: usize = 100_000;

/// The table behind [`Messages`](super::Messages). A single message needs no
/// more than one allocation.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) bytes: Bytes,
    pub(super) heads: SmallVec<[Head; 1]>,
    groups: SmallVec<[Group; 1]>,
    /// Fields, by their place in the frame.
    pub(super) entries: SmallVec<[Entry; 10]>,
    /// Fields that the records of a batch have from it, by their place in
    /// `bytes`.
    common: Vec<Entry>,
    /// That of the last group, once it was wanted.
    form: Form,
    /// Of each message its bookmark, once somebody wanted all.
    bookmarks: OnceLock<Vec<Option<Bookmark>>>,
    pub(super) error: Option<MessageError>,
    /// The number of the connection they came on.
    pub(crate) connection: u64,
}

/// Where one message stands. The frame runs from `start` to `end`.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    start: u32,
    body: u32,
    end: u32,
    group: u32,
}

/// Messages one behind the other with headers of one form: they have the same
/// fields at the same places.
#[derive(Debug, Clone)]
struct Group {
    /// The message it begins with.
    first: u32,
    kind: MessageKind,
    entries: Range<u32>,
}

impl Head {
    /// Bytes of the frame, without its prefix.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    #[inline]
    pub(crate) fn frame(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    #[inline]
    pub(crate) fn body(&self) -> Range<usize> {
        self.body as usize..self.end as usize
    }
}

impl Run {
    /// Decodes the whole frames in `bytes`, prefixes included, into an empty
    /// table, and answers how long they are. What follows a frame that is no
    /// message is not looked at.
    ///
    /// # Errors
    /// When the first frame is longer than `limit`.
    pub(super) fn decode(&mut self, bytes: &[u8], limit: usize) -> Result<usize, FrameError> {
        let mut at = 0;
        while at < RUN_LEN
            && self.error.is_none()
            && let Some(len) = frame_len(&bytes[at..])
        {
            if len > PREFIX_LEN + limit {
                if at == 0 {
                    return Err(FrameError::TooLarge { len: len - PREFIX_LEN, limit });
                }
                break;
            }
            let (start, end) = (at + PREFIX_LEN, at + len);
            if end > bytes.len() {
                break;
            }
            // Empty frames are no-ops on this protocol.
            if end > start {
                self.error = self.message(bytes, start, end).err();
            }
            at = end;
        }
        Ok(at)
    }

    /// The message of one frame, its prefix already taken off.
    pub(crate) fn one(frame: Bytes) -> Result<Self, MessageError> {
        let mut run = Self::default();
        run.message(&frame, 0, frame.len())?;
        run.bytes = frame;
        Ok(run)
    }

    /// Adds the message whose frame, without prefix, stands there.
    #[inline]
    fn message(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), MessageError> {
        if let Some(before) = self.alike(bytes, start, end) {
            let body = start as u32 + (before.body - before.start);
            self.heads.push(Head { start: start as u32, body, end: end as u32, ..before });
            return Ok(());
        }
        self.read(&bytes[start..end], start as u32)
    }

    /// Adds the message of a frame that begins at `start`.
    #[inline(never)]
    fn read(&mut self, frame: &[u8], start: u32) -> Result<(), MessageError> {
        let first = self.entries.len();
        let mut kind = None;
        let body = header::parse(frame, 0, |entry| {
            if entry.field == Field::Command && kind.is_none() {
                kind = Some(MessageKind::from_wire(&frame[entry.range()]));
            }
            self.entries.push(entry);
        })?;
        let kind = kind.ok_or(MessageError::NoCommand)?;
        let (body, end) = (start + body as u32, start + frame.len() as u32);
        self.begin_group(kind, first);
        self.push(start, body, end);
        Ok(())
    }

    /// The next message has the entries from `first` on.
    fn begin_group(&mut self, kind: MessageKind, first: usize) {
        let entries = first as u32..self.entries.len() as u32;
        self.groups.push(Group { first: self.heads.len() as u32, kind, entries });
        self.form.clear();
    }

    fn push(&mut self, start: u32, body: u32, end: u32) {
        let group = self.groups.len() as u32 - 1;
        self.heads.push(Head { start, body, end, group });
    }

    /// The message before, if the frame from `start` to `end` has a header of
    /// the same form.
    #[inline(always)]
    fn alike(&mut self, bytes: &[u8], start: usize, end: usize) -> Option<Head> {
        let before = self.heads.last()?.clone();
        let model = &bytes[before.start as usize..before.body as usize];
        let header = bytes[start..end].get(..model.len())?;
        if header == model {
            return Some(before);
        }
        // Where this ends differently another length is likely.
        if header.last_chunk::<2>() != model.last_chunk::<2>() {
            return None;
        }
        if self.form.is_clear() {
            self.form.set(model, &self.entries[span(&self.groups[before.group as usize].entries)]);
        }
        self.form.fits(header, model).then_some(before)
    }

    /// The records of the batch at `index`, as messages of their own.
    pub(crate) fn records(batch: &Self, index: usize) -> Self {
        let head = &batch.heads[index];
        let of_batch = batch.fields(index).filter(|entry| !PER_RECORD.contains(&entry.field)).collect();
        let mut run = Self { common: of_batch, connection: batch.connection, ..Self::default() };
        // A first guess at how many there are; records are rarely shorter.
        run.heads.reserve((head.len() / 128).min(super::SPARE_ENTRIES));
        let bytes = &batch.bytes[..head.end as usize];
        let mut at = head.body as usize;
        while at < bytes.len() {
            if run.heads.len() == RECORDS_MAX {
                run.error = Some(MessageError::TooManyRecords { max: RECORDS_MAX });
                break;
            }
            match run.record(head, batch.kind(index), bytes, at) {
                Ok(end) => at = end,
                Err(error) => {
                    run.error = Some(error);
                    break;
                }
            }
        }
        run.bytes = batch.bytes.clone();
        run
    }

    /// Adds the record that begins at `start` in the bytes up to its batch's
    /// end, and answers where the next one does.
    fn record(&mut self, batch: &Head, kind: MessageKind, bytes: &[u8], start: usize) -> Result<usize, MessageError> {
        if let Some(before) = self.alike(bytes, start, bytes.len()) {
            // The length stands in the header.
            let step = start as u32 - before.start;
            let (body, end) = (before.body + step, before.end + step);
            if end <= batch.end {
                self.heads.push(Head { start: start as u32, body, end, ..before });
                return Ok(end as usize);
            }
        }
        let frame = &bytes[batch.start as usize..];
        let at = start - batch.start as usize;
        let first = self.entries.len();
        let mut len = None;
        let body = header::parse(frame, at, |entry| {
            if entry.field == Field::MessageLength && len.is_none() {
                len = Some(entry);
            }
            self.entries.push(entry.behind(at as u32));
        })?;
        let len = len
            .and_then(|entry| std::str::from_utf8(&frame[entry.range()]).ok()?.parse::<usize>().ok())
            .filter(|len| *len <= frame.len() - body)
            .ok_or(MessageError::RecordLength { at })?;
        let body = batch.start as usize + body;
        self.begin_group(kind, first);
        self.push(start as u32, body as u32, (body + len) as u32);
        Ok(body + len)
    }

    /// A copy of some messages that does not keep the bytes of the others
    /// alive.
    pub(super) fn copy(&self, range: Range<usize>) -> Self {
        let from = range.start;
        let heads = &self.heads[range];
        let (Some(first), Some(last)) = (heads.first(), heads.last()) else { return Self::default() };
        let (start, group) = (first.start, first.group);
        let mut bytes = BytesMut::from(&self.bytes[start as usize..last.end as usize]);
        let common = self.common.iter().map(|entry| {
            let at = bytes.len() as u32;
            bytes.extend_from_slice(&self.bytes[entry.range()]);
            Entry { start: at, end: bytes.len() as u32, ..*entry }
        });
        let common = common.collect();
        let heads = heads.iter().map(|head| Head {
            start: head.start - start,
            body: head.body - start,
            end: head.end - start,
            group: head.group - group,
        });
        let of_groups = &self.groups[group as usize..=last.group as usize];
        let (Some(begin), Some(end)) = (of_groups.first(), of_groups.last()) else { return Self::default() };
        let entries = begin.entries.start..end.entries.end;
        let groups = of_groups.iter().map(|group| Group {
            first: (group.first as usize).saturating_sub(from) as u32,
            entries: group.entries.start - entries.start..group.entries.end - entries.start,
            ..*group
        });
        Self {
            bytes: bytes.freeze(),
            heads: heads.collect(),
            groups: groups.collect(),
            entries: self.entries[span(&entries)].into(),
            common,
            connection: self.connection,
            ..Self::default()
        }
    }

    #[inline]
    pub(crate) fn head(&self, index: usize) -> &Head {
        &self.heads[index]
    }

    #[inline]
    fn group(&self, index: usize) -> &Group {
        &self.groups[self.heads[index].group as usize]
    }

    #[inline]
    pub(crate) fn kind(&self, index: usize) -> MessageKind {
        self.group(index).kind
    }

    /// The first message behind `index` that is not known to be of the same
    /// kind and for the same subscriptions.
    pub(super) fn alike_until(&self, index: usize) -> usize {
        let next = self.groups.get(self.heads[index].group as usize + 1);
        next.map_or(self.heads.len(), |group| group.first as usize)
    }

    /// The known fields of a message, in their order on the wire, by their
    /// place in the frame; not those a record has from its batch.
    pub(crate) fn entries(&self, index: usize) -> &[Entry] {
        &self.entries[span(&self.group(index).entries)]
    }

    /// All of them, by their place in `bytes`.
    pub(crate) fn fields(&self, index: usize) -> impl Iterator<Item = Entry> {
        let (own, start) = (self.entries(index), self.heads[index].start);
        let common = self.common.iter().copied();
        let inherited = common.filter(|entry| own.iter().all(|own| own.field != entry.field));
        own.iter().map(move |entry| entry.at(start)).chain(inherited)
    }

    pub(crate) fn raw_bytes(&self, index: usize, field: Field) -> Option<&[u8]> {
        let is = |entry: &&Entry| entry.field == field;
        match self.entries(index).iter().find(is) {
            Some(entry) => Some(&self.bytes[entry.at(self.heads[index].start).range()]),
            None => self.common.iter().find(is).map(|entry| &self.bytes[entry.range()]),
        }
    }

    /// The bookmark of a message, when it carries exactly one.
    #[inline]
    pub(crate) fn bookmark(&self, index: usize) -> Option<Bookmark> {
        match self.bookmarks.get() {
            Some(bookmarks) => bookmarks[index],
            None => Bookmark::from_bytes(self.raw_bytes(index, Field::Bookmark)?),
        }
    }

    /// Those of all of them.
    pub(super) fn bookmarks(&self) -> &[Option<Bookmark>] {
        self.bookmarks.get_or_init(|| {
            let mut reader = BookmarkReader::default();
            let mut bookmarks = Vec::with_capacity(self.heads.len());
            for (heads, entries) in self.groups() {
                let entry = entries.iter().find(|entry| entry.field == Field::Bookmark);
                bookmarks.extend(heads.iter().map(|head| reader.read(&self.bytes[entry?.at(head.start).range()])));
            }
            bookmarks
        })
    }

    /// The messages of each group, and their fields.
    fn groups(&self) -> impl Iterator<Item = (&[Head], &[Entry])> {
        let ends = self.groups.iter().skip(1).map(|group| group.first as usize).chain([self.heads.len()]);
        let groups = self.groups.iter().zip(ends);
        groups.map(|(group, end)| (&self.heads[group.first as usize..end], &self.entries[span(&group.entries)]))
    }

    /// Makes it empty, keeping its memory.
    pub(super) fn clear(&mut self) {
        self.bytes = Bytes::new();
        self.heads.clear();
        self.groups.clear();
        self.entries.clear();
        self.common.clear();
        self.form.clear();
        self.bookmarks.take();
        self.error = None;
    }
}

/// Fields that a batch's header has for itself, not for its records.
const PER_RECORD: [Field; 5] =
    [Field::SowKey, Field::MessageLength, Field::CorrelationId, Field::Bookmark, Field::BatchSize];

fn span(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}
