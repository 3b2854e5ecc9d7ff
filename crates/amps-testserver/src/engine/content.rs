//! Messages and records as they are told to clients.

use std::borrow::Cow;
use std::time::Duration;

use amps_core::header::FrameWriter;
use amps_core::{Bookmark, Field};
use bytes::{Bytes, BytesMut};

use super::topics::Recipients;
use crate::log::Entry;
use crate::sow::{SowRecord, key_text};

/// One publish message to a client.
pub(super) fn write_message(
    out: &mut BytesMut,
    topic: &str,
    to: &Recipients,
    content: Content<'_>,
    bookmark: Option<Bookmark>,
    processed: u64,
) {
    write_leased(out, topic, to, content, bookmark, processed, None);
}

/// The same of a queue, with the time when its lease ends.
pub(super) fn write_leased(
    out: &mut BytesMut,
    topic: &str,
    to: &Recipients,
    content: Content<'_>,
    bookmark: Option<Bookmark>,
    processed: u64,
    lease: Option<Duration>,
) {
    let wants = &to.wants;
    let Content { key, correlation_id, body } = content;
    let bookmark = bookmark.filter(|_| wants.bookmark).map(|bookmark| bookmark.to_string());
    let key = key.filter(|_| wants.key);
    FrameWriter::new(out, if wants.about.readings.long_publish { "publish" } else { "p" })
        .text(Field::Topic, topic)
        .text(wants.ids_field(&to.sids), &to.sids)
        .maybe(Field::Bookmark, bookmark.as_deref())
        .maybe(Field::SowKey, key.as_deref())
        .maybe(Field::CorrelationId, correlation_id)
        .maybe(Field::LeasePeriod, lease.map(|end| wants.time(end)).as_deref())
        .maybe(Field::Timestamp, wants.timestamp(processed).as_deref())
        .finish(&wants.part(topic, body));
}

/// What a message or a record is told by.
pub(super) struct Content<'r> {
    pub(super) key: Option<Cow<'r, str>>,
    pub(super) correlation_id: Option<&'r str>,
    pub(super) body: &'r Bytes,
}

/// The same, kept.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    key: Option<Box<str>>,
    correlation_id: Option<Box<str>>,
    pub(super) body: Bytes,
}

impl<'r> From<&'r Stored> for Content<'r> {
    fn from(stored: &'r Stored) -> Self {
        let key = stored.key.as_deref().map(Cow::Borrowed);
        Self { key, correlation_id: stored.correlation_id.as_deref(), body: &stored.body }
    }
}

impl From<Content<'_>> for Stored {
    fn from(content: Content<'_>) -> Self {
        let Content { key, correlation_id, body } = content;
        Self { key: key.map(|key| key.into()), correlation_id: correlation_id.map(Into::into), body: body.clone() }
    }
}

impl From<&Entry> for Stored {
    fn from(entry: &Entry) -> Self {
        Content::from(entry).into()
    }
}

impl From<&SowRecord> for Stored {
    fn from(record: &SowRecord) -> Self {
        Content::from(record).into()
    }
}

impl<'r> From<&'r Entry> for Content<'r> {
    fn from(entry: &'r Entry) -> Self {
        let key = entry.sow_key.map(|key| key_text(key, entry.given_key.as_deref()));
        Self { key, correlation_id: entry.correlation_id.as_deref(), body: &entry.body }
    }
}

impl<'r> From<&'r SowRecord> for Content<'r> {
    fn from(record: &'r SowRecord) -> Self {
        Self { key: Some(record.key_text()), correlation_id: record.correlation_id.as_deref(), body: &record.body }
    }
}

/// Tells subscriptions that a record is no longer what they asked for: its key,
/// correlation id and body (AMPS Command Reference, "oof").
pub(super) fn write_out_of_focus(
    out: &mut BytesMut,
    topic: &str,
    to: &Recipients,
    reason: &str,
    record: Content<'_>,
    processed: u64,
) {
    let Content { key, correlation_id, body } = record;
    let body = to.wants.part(topic, body);
    FrameWriter::new(out, "oof")
        .text(Field::Topic, topic)
        .maybe(Field::SowKey, key.as_deref())
        .text(to.wants.ids_field(&to.sids), &to.sids)
        .text(Field::Reason, reason)
        .maybe(Field::CorrelationId, correlation_id)
        .maybe(Field::Timestamp, to.wants.timestamp(processed).as_deref())
        .number(Field::MessageLength, body.len() as u64)
        .finish(&body);
}
