//! What of a message is wanted: which header fields, and which part of its body.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use amps_core::Field;
use bytes::Bytes;

use crate::filter::Surroundings;
use crate::select::Select;
use crate::timestamp::{iso8601, iso8601_extended};

/// What a subscription or a query wants of its messages.
#[derive(Debug, Clone, Default)]
pub(super) struct Wants {
    pub(super) bookmark: bool,
    pub(super) key: bool,
    /// When this instance processed them.
    pub(super) timestamp: bool,
    /// All of the body without a list.
    pub(super) select: Option<Arc<Select>>,
    /// How the instance reads the documents, and what messages are written in.
    pub(super) about: Arc<Surroundings>,
}

impl Wants {
    /// What both want: several subscriptions of a connection get one message,
    /// which has all that any of them asks for (AMPS User Guide, "Delta
    /// Subscribe").
    pub(super) fn join(&mut self, other: &Self) {
        self.bookmark |= other.bookmark;
        self.key |= other.key;
        self.timestamp |= other.timestamp;
        if self.select != other.select {
            self.select = None;
        }
    }

    /// The time in microseconds as text, if it is wanted.
    pub(super) fn timestamp(&self, processed: u64) -> Option<String> {
        self.timestamp.then(|| self.time(Duration::from_micros(processed)))
    }

    /// A time since the beginning of 1970 as text.
    pub(super) fn time(&self, since_1970: Duration) -> String {
        match self.about.readings.extended_times {
            true => iso8601_extended(since_1970),
            false => iso8601(since_1970),
        }
    }

    /// The field with the ids of the subscriptions a message is for.
    pub(super) fn ids_field(&self, ids: &str) -> Field {
        match self.about.readings.sub_id_for_one && !ids.contains(',') {
            true => Field::SubscriptionId,
            false => Field::SubscriptionIds,
        }
    }

    /// The part that is wanted of a message of that topic.
    pub(super) fn part<'b>(&self, topic: &str, body: &'b Bytes) -> Cow<'b, [u8]> {
        match &self.select {
            None => Cow::Borrowed(body),
            Some(select) => select.cut(self.about.message_type(topic), body),
        }
    }
}
