//! What waits to be sent on one connection, in order.

use std::collections::VecDeque;

use amps_core::Field;
use amps_core::header::FrameWriter;
use bytes::{BufMut, Bytes, BytesMut};

use super::wants::Wants;
use crate::sow::SowRecord;

/// About how many bytes one transmit holds, and how many a replay or query
/// produces at a time.
pub(super) const CHUNK_BYTES: usize = 64 << 10;

/// Frames ready to go, and query results still to be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    items: VecDeque<Item>,
}

#[derive(Debug)]
enum Item {
    Bytes(BytesMut),
    Query(Query),
}

impl Outbox {
    /// The buffer behind everything else.
    pub(super) fn tail(&mut self) -> &mut BytesMut {
        if !matches!(self.items.back(), Some(Item::Bytes(_))) {
            self.items.push_back(Item::Bytes(BytesMut::new()));
        }
        match self.items.back_mut() {
            Some(Item::Bytes(bytes)) => bytes,
            _ => unreachable!("the last item was just made a buffer"),
        }
    }

    /// Puts a query's result behind everything else.
    pub(super) fn query(&mut self, query: Query) {
        self.items.push_back(Item::Query(query));
    }

    /// Gives up the rest of queries with this id.
    pub(super) fn cancel_query(&mut self, id: &str) {
        for item in &mut self.items {
            if let Item::Query(query) = item
                && query.id == id
            {
                query.records.clear();
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.iter().all(|item| matches!(item, Item::Bytes(bytes) if bytes.is_empty()))
    }

    /// Whether a replay may go on: less than a chunk waits, and no query whose
    /// result has to go first.
    pub(super) fn takes_more(&self) -> bool {
        self.buffered() < CHUNK_BYTES && self.items.iter().all(|item| matches!(item, Item::Bytes(_)))
    }

    /// Bytes written and not yet taken.
    pub(super) fn buffered(&self) -> usize {
        self.items.iter().map(|item| if let Item::Bytes(bytes) = item { bytes.len() } else { 0 }).sum()
    }

    /// The next bytes to send.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        loop {
            match self.items.front_mut()? {
                Item::Bytes(bytes) => {
                    let taken = bytes.split_to(bytes.len().min(4 * CHUNK_BYTES)).freeze();
                    if bytes.is_empty() {
                        self.items.pop_front();
                    }
                    if !taken.is_empty() {
                        return Some(taken);
                    }
                }
                Item::Query(query) => {
                    let mut out = BytesMut::new();
                    while out.len() < CHUNK_BYTES && query.write_batch(&mut out) {}
                    if query.records.is_empty() {
                        self.items.pop_front();
                    }
                    if !out.is_empty() {
                        return Some(out.freeze());
                    }
                }
            }
        }
    }
}

/// The records of a query, taken when it was processed.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) id: String,
    /// Records with their topics, in the order they are sent.
    pub(super) records: VecDeque<(String, SowRecord)>,
    /// Records in one frame, at most.
    pub(super) batch_size: usize,
    /// What of the records.
    pub(super) wants: Wants,
}

impl Query {
    /// Writes one `sow` frame: records of one topic, up to the batch size
    /// (AMPS Command Reference, "sow"). Answers whether there was one.
    fn write_batch(&mut self, out: &mut BytesMut) -> bool {
        let Some((topic, _)) = self.records.front() else { return false };
        let topic = topic.clone();
        let mut body = BytesMut::new();
        let mut count = 0;
        let in_batch = self.wants.about.readings.first_record_in_batch;
        let first = self.records.front().map(|(_, record)| record).filter(|_| in_batch);
        let (key, time) = match first {
            Some(first) => (Some(first.key_text().into_owned()), self.wants.timestamp(first.processed)),
            None => (None, None),
        };
        let length = first.map(|first| self.wants.part(&topic, &first.body).len() as u64);
        while let Some((_, record)) = self.records.front().filter(|(t, _)| *t == topic) {
            if count == self.batch_size || (count > 0 && body.len() + record.body.len() > 16 * CHUNK_BYTES) {
                break;
            }
            write_record(&mut body, &topic, record, &self.wants);
            self.records.pop_front();
            count += 1;
        }
        let mut frame = FrameWriter::new(out, "sow")
            .text(Field::Topic, &topic)
            .text(Field::QueryId, &self.id)
            .number(Field::BatchSize, count as u64)
            .maybe(Field::SowKey, key.as_deref().filter(|_| self.wants.key))
            .maybe(Field::Timestamp, time.as_deref());
        if let Some(length) = length {
            frame = frame.number(Field::MessageLength, length);
        }
        frame.finish(&body);
        true
    }
}

fn write_record(out: &mut BytesMut, topic: &str, record: &SowRecord, wants: &Wants) {
    let body = wants.part(topic, &record.body);
    out.put_u8(b'{');
    if wants.key {
        // Characters of base64 only, nothing to escape.
        out.put_slice(format!("\"k\":\"{}\",", record.key_text()).as_bytes());
    }
    out.put_slice(format!("\"l\":{}", body.len()).as_bytes());
    if let Some(id) = &record.correlation_id {
        // Correlation ids hold base64 characters only, nothing to escape.
        let clean = id.chars().filter(|c| c.is_ascii_alphanumeric() || "+/=-_".contains(*c));
        out.put_slice(format!(",\"x\":\"{}\"", clean.collect::<String>()).as_bytes());
    }
    let own_time = !wants.about.readings.first_record_in_batch;
    if let Some(time) = wants.timestamp(record.processed).filter(|_| own_time) {
        out.put_slice(format!(",\"ts\":\"{time}\"").as_bytes());
    }
    out.put_u8(b'}');
    out.put_slice(&body);
}
