//! Commands from client to server.

mod options;

use std::fmt;

use bytes::BytesMut;

use crate::ack::AckTypes;
use crate::bookmark::Bookmark;
use crate::header::{Field, FrameWriter};

pub use options::{CommandOptions, Conflation, OPTIONS_MAX, Rate};

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

/// One command with its header fields and body.
///
/// A plain carrier: which fields a command takes is the protocol's rule
/// (AMPS Command Reference), checked by the typed builders above this crate.
///
/// ```
/// use amps_core::{AckType, Command, CommandKind};
/// let mut wire = bytes::BytesMut::new();
/// Command::new(CommandKind::Subscribe).id("s1").topic("orders").acks(AckType::Processed).encode(&mut wire);
/// assert_eq!(&wire[4..], br#"{"c":"subscribe","cid":"s1","t":"orders","a":"processed"}"#);
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
        let list: Vec<_> = bookmarks.into_iter().map(|bookmark| bookmark.to_string()).collect();
        self.text(Field::Bookmark, list.join(","))
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
