//! Commands from client to server.

mod options;
mod rules;

use std::fmt;
use std::time::Duration;

use bytes::BytesMut;

use crate::ack::AckTypes;
use crate::bookmark::{Bookmark, BookmarkList, StartAt};
use crate::header::{Field, FrameWriter};

pub use options::{CommandOptions, Conflation, OPTIONS_MAX, Rate};
pub use rules::{BATCH_MAX, InvalidCommand};

/// The commands a client can send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CommandKind {
    /// First on every connection.
    Logon,
    /// A message.
    Publish,
    /// A part of a message, merged into the record of its key.
    DeltaPublish,
    /// Deletes records.
    SowDelete,
    /// A subscription, or a bookmark subscription when a bookmark is set.
    Subscribe,
    /// Ends subscriptions or queries.
    Unsubscribe,
    /// Answered once everything before it is processed.
    Flush,
    /// Starts or answers heartbeats.
    Heartbeat,
    /// A query.
    Sow,
    /// A query and the updates behind it.
    SowAndSubscribe,
    /// A subscription that gets only the fields that changed.
    DeltaSubscribe,
    /// A query, and behind it the fields that change.
    SowAndDeltaSubscribe,
}

impl CommandKind {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logon => "logon",
            Self::Publish => "p",
            Self::DeltaPublish => "delta_publish",
            Self::SowDelete => "sow_delete",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Flush => "flush",
            Self::Heartbeat => "heartbeat",
            Self::Sow => "sow",
            Self::SowAndSubscribe => "sow_and_subscribe",
            Self::DeltaSubscribe => "delta_subscribe",
            Self::SowAndDeltaSubscribe => "sow_and_delta_subscribe",
        }
    }
}

impl fmt::Display for CommandKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One command with its header fields and body.
///
/// Any field can be set; [`check`](Self::check) says whether a server would take
/// what was put together (AMPS Command Reference).
///
/// ```
/// use amps_core::{AckType, Command, CommandKind};
/// let mut wire = bytes::BytesMut::new();
/// Command::new(CommandKind::Subscribe).id("s1").topic("orders").acks(AckType::Processed).encode(&mut wire);
/// assert_eq!(&wire[4..], br#"{"c":"subscribe","cid":"s1","t":"orders","a":"processed"}"#);
///
/// let query = Command::new(CommandKind::Sow).topic("orders").filter("/qty > 100").batch_size(100);
/// assert!(query.check().is_ok());
/// assert!(query.sow_keys(["17"]).check().is_err(), "a filter and keys");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    kind: CommandKind,
    acks: AckTypes,
    fields: Vec<(Field, Value)>,
    body: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(u64),
}

impl Command {
    /// A command without any field.
    pub fn new(kind: CommandKind) -> Self {
        Self { kind, acks: AckTypes::NONE, fields: Vec::new(), body: Vec::new() }
    }

    /// A `sow_delete` on a topic, still without what it deletes. On a queue with
    /// [`bookmarks`](Self::bookmarks) it acknowledges messages (AMPS Command
    /// Reference, "sow_delete").
    ///
    /// ```
    /// use amps_core::{Bookmark, Command};
    /// let mut wire = bytes::BytesMut::new();
    /// let done = [3, 5].map(|sequence| Bookmark { publisher: 77, sequence });
    /// Command::sow_delete("work").bookmarks(done).encode(&mut wire);
    /// assert_eq!(&wire[4..], br#"{"c":"sow_delete","t":"work","bm":"77|3|,77|5|"}"#);
    /// ```
    pub fn sow_delete(topic: impl Into<String>) -> Self {
        Self::new(CommandKind::SowDelete).topic(topic)
    }

    /// Sets the bookmark to a list.
    #[must_use]
    pub fn bookmarks(self, bookmarks: impl IntoIterator<Item = Bookmark>) -> Self {
        self.text(Field::Bookmark, bookmarks.into_iter().collect::<BookmarkList>().to_string())
    }

    /// Sets where a replay starts, or which past is asked for.
    #[must_use]
    pub fn bookmark(self, start: impl Into<StartAt>) -> Self {
        self.text(Field::Bookmark, start.into().to_wire())
    }

    /// Sets the content filter.
    #[must_use]
    pub fn filter(self, filter: impl Into<String>) -> Self {
        self.text(Field::Filter, filter)
    }

    /// Sets the options.
    #[must_use]
    pub fn options(self, options: impl Into<CommandOptions>) -> Self {
        self.text(Field::Options, options.into().to_string())
    }

    /// Sets the subscription id.
    #[must_use]
    pub fn subscription_id(self, id: impl Into<String>) -> Self {
        self.text(Field::SubscriptionId, id)
    }

    /// Sets the query id.
    #[must_use]
    pub fn query_id(self, id: impl Into<String>) -> Self {
        self.text(Field::QueryId, id)
    }

    /// Sets the order of a query's records, such as `/price DESC,/id`.
    #[must_use]
    pub fn order_by(self, order: impl Into<String>) -> Self {
        self.text(Field::OrderBy, order)
    }

    /// Sets how many records are in one frame: 1 to [`BATCH_MAX`].
    #[must_use]
    pub fn batch_size(self, records: u64) -> Self {
        self.number(Field::BatchSize, records)
    }

    /// Sets how many records, or messages of a replay, there are at most.
    #[must_use]
    pub fn top_n(self, count: u64) -> Self {
        self.number(Field::TopN, count)
    }

    /// Sets the keys of the records that are asked for, or deleted.
    #[must_use]
    pub fn sow_keys<T: AsRef<str>>(self, keys: impl IntoIterator<Item = T>) -> Self {
        let keys: Vec<_> = keys.into_iter().map(|key| key.as_ref().to_owned()).collect();
        self.text(Field::SowKeys, keys.join(","))
    }

    /// Sets the key of the record that is published.
    #[must_use]
    pub fn sow_key(self, key: impl Into<String>) -> Self {
        self.text(Field::SowKey, key)
    }

    /// Sets opaque text that goes with a message.
    #[must_use]
    pub fn correlation_id(self, id: impl Into<String>) -> Self {
        self.text(Field::CorrelationId, id)
    }

    /// Sets how long the record lives, rounded up to seconds; zero is for ever.
    #[must_use]
    pub fn expiration(self, lifetime: Duration) -> Self {
        self.number(Field::Expiration, lifetime.as_secs() + u64::from(lifetime.subsec_nanos() > 0))
    }

    /// Sets the publisher's number of what is written.
    #[must_use]
    pub fn sequence(self, sequence: u64) -> Self {
        self.number(Field::Sequence, sequence)
    }

    /// The kind.
    pub fn kind(&self) -> CommandKind {
        self.kind
    }

    /// Sets the command id.
    #[must_use]
    pub fn id(self, id: impl Into<String>) -> Self {
        self.text(Field::CommandId, id)
    }

    /// Sets the topic.
    #[must_use]
    pub fn topic(self, topic: impl Into<String>) -> Self {
        self.text(Field::Topic, topic)
    }

    /// Sets the acknowledgements asked for.
    #[must_use]
    pub fn acks(mut self, acks: impl Into<AckTypes>) -> Self {
        self.acks = acks.into();
        self
    }

    /// Sets a string field; a second call replaces the first.
    #[must_use]
    pub fn text(mut self, field: Field, value: impl Into<String>) -> Self {
        self.set(field, Value::Text(value.into()));
        self
    }

    /// Sets a string field if there is a value.
    #[must_use]
    pub fn maybe(self, field: Field, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.text(field, value),
            None => self,
        }
    }

    /// Sets a number field; a second call replaces the first.
    #[must_use]
    pub fn number(mut self, field: Field, value: u64) -> Self {
        self.set(field, Value::Number(value));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// A string field's value.
    pub fn get(&self, field: Field) -> Option<&str> {
        self.fields.iter().find_map(|(f, value)| match value {
            Value::Text(text) if *f == field => Some(text.as_str()),
            _ => None,
        })
    }

    /// A number field's value, or that of a string field of digits.
    pub fn get_number(&self, field: Field) -> Option<u64> {
        self.fields.iter().find(|(f, _)| *f == field).and_then(|(_, value)| match value {
            Value::Number(number) => Some(*number),
            Value::Text(text) => text.parse().ok(),
        })
    }

    /// The fields that are set.
    pub fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        self.fields.iter().map(|(field, _)| *field)
    }

    /// The acknowledgements asked for.
    pub fn requested_acks(&self) -> AckTypes {
        self.acks
    }

    /// The body.
    pub fn data(&self) -> &[u8] {
        &self.body
    }

    /// Appends the command as one frame to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut frame = FrameWriter::new(out, self.kind.as_str());
        for (field, value) in &self.fields {
            frame = match value {
                Value::Text(text) => frame.text(*field, text),
                Value::Number(number) => frame.number(*field, *number),
            };
        }
        if !self.acks.is_empty() {
            frame = frame.text(Field::AckType, &self.acks.to_string());
        }
        frame.finish(&self.body);
    }

    fn set(&mut self, field: Field, value: Value) {
        match self.fields.iter_mut().find(|(f, _)| *f == field) {
            Some((_, old)) => *old = value,
            None => self.fields.push((field, value)),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Command");
        out.field("kind", &self.kind);
        for (field, value) in &self.fields {
            match value {
                _ if *field == Field::Password => out.field("Password", &"***"),
                Value::Text(text) => out.field(&format!("{field:?}"), text),
                Value::Number(number) => out.field(&format!("{field:?}"), number),
            };
        }
        out.field("acks", &self.acks.to_string()).field("body_bytes", &self.body.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ack::AckType;

    #[test]
    fn a_password_is_sent_but_never_shown() {
        let logon = Command::new(CommandKind::Logon)
            .text(Field::UserId, "me")
            .text(Field::Password, "hunter2")
            .acks(AckType::Processed);
        assert!(!format!("{logon:?}").contains("hunter2"));
        let mut wire = BytesMut::new();
        logon.encode(&mut wire);
        let message = crate::Message::decode(wire.freeze().slice(4..)).unwrap();
        assert_eq!(message.raw(Field::Password), Some("hunter2"));
        assert!(!format!("{message:?}").contains("hunter2"));
    }
}
