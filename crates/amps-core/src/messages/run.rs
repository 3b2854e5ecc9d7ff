use std::ops::Range;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::error::MessageError;
use crate::frame::{FrameError, PREFIX_LEN, frame_len};
use crate::header::{self, Entry, Field, Form};
use crate::message::MessageKind;

/// What is decoded at once ends behind the frame in which it gets this long;
/// places in it are 32 bits.
pub(super) const RUN_LEN: usize = 1 << 31;

/// The table behind [`Messages`](super::Messages). A single message needs no
/// more than one allocation.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) bytes: Bytes,
    pub(super) heads: SmallVec<[Head; 1]>,
    /// Fields, by their place in the frame. Messages with headers of one form
    /// share theirs.
    pub(super) entries: SmallVec<[Entry; 10]>,
    /// Fields that the records of a batch have from it, by their place in
    /// `bytes`.
    common: SmallVec<[Entry; 6]>,
    /// That of the message whose entries these are.
    form: Option<Range<u32>>,
    forms: Form,
    pub(super) error: Option<MessageError>,
}

/// Where one message stands. The frame runs from `start` to `end`.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    start: u32,
    body: u32,
    end: u32,
    entries: Range<u32>,
    pub(crate) kind: MessageKind,
    /// The header has the form of the one before.
    pub(super) alike: bool,
}

impl Head {
    /// Bytes of the frame, without its prefix.
    pub(crate) fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    pub(super) fn frame(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn body(&self) -> Range<usize> {
        self.body as usize..self.end as usize
    }

    fn header(&self) -> Range<usize> {
        self.start as usize..self.body as usize
    }

    fn entries(&self) -> Range<usize> {
        self.entries.start as usize..self.entries.end as usize
    }

    fn moved(&self, start: u32, entries: u32) -> Self {
        Self {
            start: self.start - start,
            body: self.body - start,
            end: self.end - start,
            entries: self.entries.start - entries..self.entries.end - entries,
            ..*self
        }
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
    fn message(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), MessageError> {
        if let Some(before) = self.alike(bytes, start, end) {
            let body = start as u32 + before.header().len() as u32;
            self.heads.push(Head { start: start as u32, body, end: end as u32, alike: true, ..before });
            return Ok(());
        }
        let frame = &bytes[start..end];
        let first = self.entries.len() as u32;
        let mut kind = None;
        let body = header::parse(frame, 0, |entry| {
            if entry.field == Field::Command && kind.is_none() {
                kind = Some(MessageKind::from_wire(&frame[entry.range()]));
            }
            self.entries.push(entry);
        })?;
        let kind = kind.ok_or(MessageError::NoCommand)?;
        let entries = first..self.entries.len() as u32;
        let (start, body, end) = (start as u32, (start + body) as u32, end as u32);
        self.heads.push(Head { start, body, end, entries, kind, alike: false });
        Ok(())
    }

    /// The message before, if the frame that begins at `start` has a header of
    /// the same form.
    fn alike(&mut self, bytes: &[u8], start: usize, end: usize) -> Option<Head> {
        let before = self.heads.last()?;
        let model = &bytes[before.header()];
        let header = bytes.get(start..start + model.len()).filter(|_| start + model.len() <= end)?;
        // Where this ends differently another length is likely.
        if header.last_chunk::<2>() != model.last_chunk::<2>() {
            return None;
        }
        if self.form.as_ref() != Some(&before.entries) {
            self.forms.set(model, &self.entries[before.entries()]);
            self.form = Some(before.entries.clone());
        }
        self.forms.fits(header, model).then(|| before.clone())
    }

    /// The records of the batch at `index`, as messages of their own.
    pub(crate) fn records(batch: &Self, index: usize) -> Self {
        let head = &batch.heads[index];
        let of_batch = batch.fields(index).filter(|entry| !PER_RECORD.contains(&entry.field)).collect();
        let mut run = Self { common: of_batch, ..Self::default() };
        // A first guess at how many there are; records are rarely shorter.
        run.heads.reserve((head.len() / 128).min(super::SPARE_ENTRIES));
        let bytes = &batch.bytes[..head.end as usize];
        let mut at = head.body as usize;
        while at < bytes.len() {
            match run.record(head, bytes, at) {
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
    fn record(&mut self, batch: &Head, bytes: &[u8], start: usize) -> Result<usize, MessageError> {
        if let Some(before) = self.alike(bytes, start, bytes.len()) {
            let body = start + before.header().len();
            let end = body + before.body().len();
            if end <= bytes.len() {
                self.heads.push(Head {
                    start: start as u32,
                    body: body as u32,
                    end: end as u32,
                    alike: true,
                    ..before
                });
                return Ok(end);
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
        let body = start - at + body;
        let end = body + len;
        let entries = first as u32..self.entries.len() as u32;
        let (start, body) = (start as u32, body as u32);
        self.heads.push(Head { start, body, end: end as u32, entries, kind: batch.kind, alike: false });
        Ok(end)
    }

    /// A copy of some messages that does not keep the bytes of the others
    /// alive.
    pub(super) fn copy(&self, range: Range<usize>) -> Self {
        let heads = &self.heads[range];
        let (Some(first), Some(last)) = (heads.first(), heads.last()) else { return Self::default() };
        let (start, end) = (first.start, last.end);
        let mut bytes = BytesMut::from(&self.bytes[start as usize..end as usize]);
        let common = self.common.iter().map(|entry| {
            let at = bytes.len() as u32;
            bytes.extend_from_slice(&self.bytes[entry.range()]);
            Entry { start: at, end: bytes.len() as u32, ..*entry }
        });
        let common = common.collect();
        let first_entry = first.entries.start;
        Self {
            bytes: bytes.freeze(),
            heads: heads.iter().map(|head| head.moved(start, first_entry)).collect(),
            entries: self.entries[first_entry as usize..last.entries.end as usize].into(),
            common,
            ..Self::default()
        }
    }

    pub(crate) fn head(&self, index: usize) -> &Head {
        &self.heads[index]
    }

    /// The known fields of a message, in their order on the wire, by their
    /// place in the frame; not those a record has from its batch.
    pub(crate) fn entries(&self, index: usize) -> &[Entry] {
        &self.entries[self.heads[index].entries()]
    }

    /// All of them, by their place in `bytes`.
    pub(crate) fn fields(&self, index: usize) -> impl Iterator<Item = Entry> {
        let (own, start) = (self.entries(index), self.heads[index].start);
        let common = self.common.iter().copied();
        let inherited = common.filter(|entry| own.iter().all(|own| own.field != entry.field));
        own.iter().map(move |entry| entry.at(start)).chain(inherited)
    }

    pub(crate) fn raw_bytes(&self, index: usize, field: Field) -> Option<&[u8]> {
        let head = &self.heads[index];
        let is = |entry: &&Entry| entry.field == field;
        match self.entries[head.entries()].iter().find(is) {
            Some(entry) => Some(&self.bytes[entry.at(head.start).range()]),
            None => self.common.iter().find(is).map(|entry| &self.bytes[entry.range()]),
        }
    }

    /// Makes it empty, keeping its memory.
    pub(super) fn clear(&mut self) {
        self.bytes = Bytes::new();
        self.heads.clear();
        self.entries.clear();
        self.common.clear();
        self.form = None;
        self.error = None;
    }
}

/// Fields that a batch's header has for itself, not for its records.
const PER_RECORD: [Field; 5] =
    [Field::SowKey, Field::MessageLength, Field::CorrelationId, Field::Bookmark, Field::BatchSize];
