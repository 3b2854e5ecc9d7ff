//! One decoded message: a frame and where its header's fields stand in it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::ack::{AckType, Status};
use crate::bookmark::Bookmark;
use crate::error::MessageError;
use crate::header::{self, Entries, Entry, Field};
use crate::reason::Reason;

/// What a message is (AMPS Command Reference, "Messages from AMPS").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageKind {
    /// A published message.
    Publish,
    /// A delta publish.
    DeltaPublish,
    /// Records of a SOW query.
    Sow,
    /// A record that went out of focus.
    Oof,
    /// An acknowledgement.
    Ack,
    /// The start of a query's records.
    GroupBegin,
    /// The end of a query's records.
    GroupEnd,
    /// A heartbeat.
    Heartbeat,
    /// Client to server: logon.
    Logon,
    /// Client to server: subscribe.
    Subscribe,
    /// Client to server: delta_subscribe.
    DeltaSubscribe,
    /// Client to server: unsubscribe.
    Unsubscribe,
    /// Client to server: sow_and_subscribe.
    SowAndSubscribe,
    /// Client to server: sow_and_delta_subscribe.
    SowAndDeltaSubscribe,
    /// Client to server: sow_delete.
    SowDelete,
    /// Client to server: flush.
    Flush,
    /// A command this crate has no name for.
    Other,
}

impl MessageKind {
    fn from_wire(command: &[u8]) -> Self {
        match command {
            b"p" | b"publish" => Self::Publish,
            b"delta_publish" => Self::DeltaPublish,
            b"sow" => Self::Sow,
            b"oof" => Self::Oof,
            b"ack" => Self::Ack,
            b"group_begin" => Self::GroupBegin,
            b"group_end" => Self::GroupEnd,
            b"heartbeat" => Self::Heartbeat,
            b"logon" => Self::Logon,
            b"subscribe" => Self::Subscribe,
            b"delta_subscribe" => Self::DeltaSubscribe,
            b"unsubscribe" => Self::Unsubscribe,
            b"sow_and_subscribe" => Self::SowAndSubscribe,
            b"sow_and_delta_subscribe" => Self::SowAndDeltaSubscribe,
            b"sow_delete" => Self::SowDelete,
            b"flush" => Self::Flush,
            _ => Self::Other,
        }
    }
}

/// A message as it arrived. Cheap to clone: header and body are slices of the
/// receive buffer.
#[derive(Clone)]
pub struct Message {
    frame: Bytes,
    entries: Entries,
    kind: MessageKind,
    body: Range<u32>,
}

impl Message {
    /// Decodes a whole frame, its length prefix already taken off.
    ///
    /// For a [`MessageKind::Sow`] frame the body holds the records; see
    /// [`crate::batch::records`].
    ///
    /// # Errors
    /// [`MessageError`] says what rule the header breaks.
    pub fn decode(frame: Bytes) -> Result<Self, MessageError> {
        let (entries, end) = header::parse(&frame, 0)?;
        let command = entries.iter().find(|e| e.field == Field::Command).ok_or(MessageError::NoCommand)?;
        let kind = MessageKind::from_wire(&frame[command.start as usize..command.end as usize]);
        let body = end as u32..frame.len() as u32;
        Ok(Self { frame, entries, kind, body })
    }

    /// A record of a batch: the batch's fields, overlaid by the record's own.
    pub(crate) fn record(&self, own: Entries, body: Range<u32>) -> Self {
        const PER_RECORD: [Field; 6] = [
            Field::SowKey,
            Field::MessageLength,
            Field::CorrelationId,
            Field::Timestamp,
            Field::Bookmark,
            Field::BatchSize,
        ];
        let mut entries = own;
        for entry in &self.entries {
            let overlaid = entries.iter().any(|e| e.field == entry.field);
            let batch_only = PER_RECORD.contains(&entry.field) && entry.field != Field::Timestamp;
            if !overlaid && !batch_only {
                entries.push(*entry);
            }
        }
        Self { frame: self.frame.clone(), entries, kind: self.kind, body }
    }

    pub(crate) fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// What this message is.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// A field's value as it stands on the wire: quotes off, escapes still in.
    pub fn raw(&self, field: Field) -> Option<&str> {
        let Range { start, end } = self.span(field)?;
        // The whole header was checked when it was decoded.
        std::str::from_utf8(&self.frame[start..end]).ok()
    }

    /// A field's value without escapes.
    pub fn text(&self, field: Field) -> Option<Cow<'_, str>> {
        self.raw(field).map(header::unescape)
    }

    /// A field's value as a number; `None` when absent or not a number.
    pub fn number(&self, field: Field) -> Option<u64> {
        self.raw(field)?.parse().ok()
    }

    /// Where a field's value stands in the frame.
    pub fn span(&self, field: Field) -> Option<Range<usize>> {
        let Entry { start, end, .. } = *self.entries.iter().find(|e| e.field == field)?;
        Some(start as usize..end as usize)
    }

    /// The topic.
    pub fn topic(&self) -> Option<Cow<'_, str>> {
        self.text(Field::Topic)
    }

    /// The body.
    pub fn data(&self) -> &[u8] {
        &self.frame[self.body.start as usize..self.body.end as usize]
    }

    /// The body as a slice that keeps the receive buffer alive.
    pub fn data_bytes(&self) -> Bytes {
        self.frame.slice(self.body.start as usize..self.body.end as usize)
    }

    /// The message's own bookmark, when it carries exactly one.
    pub fn bookmark(&self) -> Option<Bookmark> {
        self.raw(Field::Bookmark)?.parse().ok()
    }

    /// The SOW key.
    pub fn sow_key(&self) -> Option<Cow<'_, str>> {
        self.text(Field::SowKey)
    }

    /// The command id.
    pub fn command_id(&self) -> Option<&str> {
        self.raw(Field::CommandId)
    }

    /// The publisher's sequence.
    pub fn sequence(&self) -> Option<u64> {
        self.number(Field::Sequence)
    }

    /// For an ack: its type.
    pub fn ack_type(&self) -> Option<AckType> {
        AckType::from_wire(self.raw(Field::AckType)?)
    }

    /// For an ack: its status. One without a status is a success.
    pub fn status(&self) -> Status {
        self.raw(Field::Status).map_or(Status::Success, Status::from_wire)
    }

    /// The reason of an ack or an out-of-focus message.
    pub fn reason(&self) -> Option<Reason> {
        self.text(Field::Reason).map(|text| Reason::from_wire(&text))
    }

    /// The ids of the subscriptions this message is for, from `sids` or
    /// `sub_id`.
    pub fn subscription_ids(&self) -> impl Iterator<Item = &str> {
        let ids = self.raw(Field::SubscriptionIds).or_else(|| self.raw(Field::SubscriptionId));
        ids.into_iter().flat_map(|ids| ids.split(',')).map(str::trim).filter(|id| !id.is_empty())
    }

    /// Bytes of the frame this message keeps alive.
    pub fn size(&self) -> usize {
        self.frame.len()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Message");
        out.field("kind", &self.kind);
        for entry in &self.entries {
            match entry.field {
                Field::Password => out.field("Password", &"***"),
                field => out.field(&format!("{field:?}"), &self.raw(field).unwrap_or_default()),
            };
        }
        out.field("body_bytes", &self.data().len()).finish()
    }
}
