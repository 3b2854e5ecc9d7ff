//! One decoded message: a frame and where its header's fields stand in it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::ack::{AckType, Status};
use crate::bookmark::Bookmark;
use crate::command::CommandOptions;
use crate::error::MessageError;
use crate::header::{self, Field};
use crate::messages::{Head, Messages, Run};
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
    pub(crate) fn from_wire(command: &[u8]) -> Self {
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

/// A message as it arrived. Cheap to clone: header and body stay where they
/// were received, together with what else came in the same read. To keep a few
/// messages for long, keep what [`detached`](Self::detached) answers.
#[derive(Clone)]
pub struct Message {
    run: Arc<Run>,
    index: u32,
}

impl Message {
    #[inline]
    pub(crate) fn new(run: Arc<Run>, index: u32) -> Self {
        Self { run, index }
    }

    /// Decodes a whole frame, its length prefix already taken off.
    ///
    /// For a [`MessageKind::Sow`] frame the body holds the records; see
    /// [`crate::batch::records`].
    ///
    /// # Errors
    /// [`MessageError`] says what rule the header breaks.
    pub fn decode(frame: Bytes) -> Result<Self, MessageError> {
        Ok(Self { run: Arc::new(Run::one(frame)?), index: 0 })
    }

    /// A copy that keeps nothing alive but itself.
    #[must_use]
    pub fn detached(&self) -> Self {
        let index = self.index as usize;
        Messages::from(Arc::clone(&self.run)).copy(index..index + 1).get(0)
    }

    #[inline]
    fn head(&self) -> &Head {
        self.run.head(self.index as usize)
    }

    /// The records of a batch.
    pub(crate) fn records(&self) -> Messages {
        Run::records(&self.run, self.index as usize).into()
    }

    /// What this message is.
    #[inline]
    pub fn kind(&self) -> MessageKind {
        self.run.kind(self.index as usize)
    }

    /// A field's value as it stands on the wire: quotes off, escapes still in.
    pub fn raw(&self, field: Field) -> Option<&str> {
        // The whole header was checked when it was decoded.
        std::str::from_utf8(self.raw_bytes(field)?).ok()
    }

    /// A field's bytes as they stand on the wire.
    #[inline]
    pub fn raw_bytes(&self, field: Field) -> Option<&[u8]> {
        self.run.raw_bytes(self.index as usize, field)
    }

    /// A field's value without escapes.
    pub fn text(&self, field: Field) -> Option<Cow<'_, str>> {
        self.raw(field).map(header::unescape)
    }

    /// A field's value as a number; `None` when absent or not a number.
    pub fn number(&self, field: Field) -> Option<u64> {
        self.raw(field)?.parse().ok()
    }

    /// Where a field's value stands in the frame; `None` also for what a record
    /// of a batch has from the batch.
    pub fn span(&self, field: Field) -> Option<Range<usize>> {
        let mut own = self.run.entries(self.index as usize).iter();
        own.find(|entry| entry.field == field).map(|entry| entry.range())
    }

    /// The topic.
    pub fn topic(&self) -> Option<Cow<'_, str>> {
        self.text(Field::Topic)
    }

    /// The body.
    #[inline]
    pub fn data(&self) -> &[u8] {
        &self.run.bytes[self.head().body()]
    }

    /// The body as a slice that keeps the receive buffer alive.
    pub fn data_bytes(&self) -> Bytes {
        self.run.bytes.slice(self.head().body())
    }

    /// The message's own bookmark, when it carries exactly one.
    pub fn bookmark(&self) -> Option<Bookmark> {
        self.run.bookmark(self.index as usize)
    }

    /// The number of the connection it came on, as its
    /// [decoder](crate::MessageDecoder::connection) was told; 0 otherwise. What
    /// a server leases to a client ends with the connection.
    pub fn connection(&self) -> u64 {
        self.run.connection
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

    /// When the server processed the message, as ISO 8601 with microseconds;
    /// only with the option `timestamp`.
    pub fn timestamp(&self) -> Option<&str> {
        self.raw(Field::Timestamp)
    }

    /// When the lease of a queue's message ends, as ISO 8601.
    pub fn lease_period(&self) -> Option<&str> {
        self.raw(Field::LeasePeriod)
    }

    /// What the publisher gave along, verbatim.
    pub fn correlation_id(&self) -> Option<Cow<'_, str>> {
        self.text(Field::CorrelationId)
    }

    /// The user the message was published by.
    pub fn user_id(&self) -> Option<Cow<'_, str>> {
        self.text(Field::UserId)
    }

    /// The id of the query a record or an ack belongs to.
    pub fn query_id(&self) -> Option<&str> {
        self.raw(Field::QueryId)
    }

    /// Records in this frame.
    pub fn batch_size(&self) -> Option<u64> {
        self.number(Field::BatchSize)
    }

    /// The number of this batch in its query's result.
    pub fn group_sequence(&self) -> Option<u64> {
        self.number(Field::GroupSequence)
    }

    /// In a `stats` ack: records that matched topic and filter.
    pub fn matches(&self) -> Option<u64> {
        self.number(Field::Matches)
    }

    /// In a `stats` ack: records that were compared.
    pub fn topic_matches(&self) -> Option<u64> {
        self.number(Field::TopicMatches)
    }

    /// In a `stats` ack: records that were sent.
    pub fn records_returned(&self) -> Option<u64> {
        self.number(Field::RecordsReturned)
    }

    /// In a `stats` ack: records that were removed.
    pub fn records_deleted(&self) -> Option<u64> {
        self.number(Field::RecordsDeleted)
    }

    /// In a `stats` ack: records that were new.
    pub fn records_inserted(&self) -> Option<u64> {
        self.number(Field::RecordsInserted)
    }

    /// In a `stats` ack: records that changed.
    pub fn records_updated(&self) -> Option<u64> {
        self.number(Field::RecordsUpdated)
    }

    /// The subscription an answer is about. For whom a message is say
    /// [`subscription_ids`](Self::subscription_ids).
    pub fn subscription_id(&self) -> Option<&str> {
        self.raw(Field::SubscriptionId)
    }

    /// Bytes of the body, where the server says so: of records in a batch always.
    pub fn message_length(&self) -> Option<u64> {
        self.number(Field::MessageLength)
    }

    /// A set of SOW keys, separated by commas.
    pub fn sow_keys(&self) -> Option<Cow<'_, str>> {
        self.text(Field::SowKeys)
    }

    /// A content filter.
    pub fn filter(&self) -> Option<Cow<'_, str>> {
        self.text(Field::Filter)
    }

    /// Options, such as the backlog that is granted to a subscription.
    pub fn options(&self) -> Option<CommandOptions> {
        self.text(Field::Options).map(|text| CommandOptions::from(&*text))
    }

    /// Lifetime in seconds; 0 is for ever.
    pub fn expiration(&self) -> Option<u64> {
        self.number(Field::Expiration)
    }

    /// At most so many records, or messages.
    pub fn top_n(&self) -> Option<u64> {
        self.number(Field::TopN)
    }

    /// The order of records.
    pub fn order_by(&self) -> Option<Cow<'_, str>> {
        self.text(Field::OrderBy)
    }

    /// The name of a client.
    pub fn client_name(&self) -> Option<Cow<'_, str>> {
        self.text(Field::ClientName)
    }

    /// The message type of a connection.
    pub fn message_type(&self) -> Option<Cow<'_, str>> {
        self.text(Field::MessageType)
    }

    /// A version: in the answer to a logon the server's.
    pub fn version(&self) -> Option<Cow<'_, str>> {
        self.text(Field::Version)
    }

    /// The password that the answer to a logon asks to log on again with. Never
    /// shown by `Debug`.
    pub fn password(&self) -> Option<Cow<'_, str>> {
        self.text(Field::Password)
    }

    /// The header as it stands on the wire, with whatever has no name here.
    pub fn header(&self) -> &str {
        let head = self.head();
        // The whole header was checked when it was decoded.
        std::str::from_utf8(&self.run.bytes[head.frame().start..head.body().start]).unwrap_or_default()
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

    /// Bytes of the frame.
    #[inline]
    pub fn size(&self) -> usize {
        self.head().len()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Message");
        out.field("kind", &self.kind());
        for entry in self.run.fields(self.index as usize) {
            match entry.field {
                Field::Password => out.field("Password", &"***"),
                field => out.field(&format!("{field:?}"), &self.raw(field).unwrap_or_default()),
            };
        }
        out.field("body_bytes", &self.data().len()).finish()
    }
}
