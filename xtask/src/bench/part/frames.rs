//! The frames on the wire, the same as the client's.

use amps_core::command::{Command, CommandKind};
use amps_core::header::{Field, FrameWriter};
use amps_core::{AckType, Message};
use bytes::BytesMut;

/// One write call takes so much.
pub(super) const WRITE_LEN: usize = 64 * 1024;
/// The topic of all messages.
pub(super) const TOPIC: &str = "bench";
/// The client begins with the time in nanoseconds, which has as many digits.
pub(super) const FIRST_SEQUENCE: u64 = 1_800_000_000_000_000_000;

/// The key of a record.
pub(super) const KEY: &str = "11281137042168291047";
/// The microseconds in a time; no other number has these digits.
pub(super) const MICROS: &str = "707070";

/// The header of a message on its way to a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Header {
    /// Command, topic and subscription.
    Short,
    /// Also bookmark, timestamp and key.
    Long,
}

/// A JSON object of exactly so many bytes.
pub(super) fn body(size: usize) -> Vec<u8> {
    let mut body = b"{\"n\":".to_vec();
    body.resize(size.max(16) - 2, b' ');
    body.extend_from_slice(b"0}");
    body
}

/// A message as a client publishes it.
pub(super) fn publish(out: &mut BytesMut, sequence: Option<u64>, body: &[u8]) {
    FrameWriter::publish(out, TOPIC, sequence).finish(body);
}

/// The bytes of such a frame with a sequence.
pub(in crate::bench) fn publish_len(size: usize) -> usize {
    let mut out = BytesMut::new();
    publish(&mut out, Some(FIRST_SEQUENCE), &body(size));
    out.len()
}

/// A message as a server sends it to a subscription. The publisher stands in the
/// bookmark of the long header, with [`FIRST_SEQUENCE`]; [`MICROS`] in its time.
pub(super) fn deliver(out: &mut BytesMut, header: Header, publisher: &str, subscription: &str, body: &[u8]) {
    let mut frame = FrameWriter::new(out, "p").text(Field::Topic, TOPIC).text(Field::SubscriptionIds, subscription);
    if header == Header::Long {
        frame = frame
            .text(Field::Bookmark, &format!("{publisher}|{FIRST_SEQUENCE}|"))
            .text(Field::Timestamp, &format!("20261123T060000.{MICROS}Z"))
            .text(Field::SowKey, KEY);
    }
    frame.finish(body);
}

/// Records of a query in one frame, each with [`KEY`].
pub(super) fn records(out: &mut BytesMut, query: &str, batch: u64, body: &[u8]) {
    let mut record = format!("{{\"k\":\"{KEY}\",\"l\":{}}}", body.len()).into_bytes();
    record.extend_from_slice(body);
    FrameWriter::new(out, "sow")
        .text(Field::Topic, TOPIC)
        .text(Field::QueryId, query)
        .number(Field::BatchSize, batch)
        .finish(&record.repeat(batch as usize));
}

/// A flush.
pub(super) fn flush(out: &mut BytesMut) {
    Command::new(CommandKind::Flush).id("1").acks(AckType::Completed).encode(out);
}

/// A subscription to all messages.
pub(super) fn subscribe(out: &mut BytesMut) {
    let command = Command::new(CommandKind::Subscribe).id("1").text(Field::SubscriptionId, "1");
    command.topic(TOPIC).acks(AckType::Processed).encode(out);
}

/// A query for all records, so many in a frame.
pub(super) fn query(out: &mut BytesMut, batch: u64) {
    let command = Command::new(CommandKind::Sow).id("1").text(Field::QueryId, "1").topic(TOPIC);
    command.number(Field::BatchSize, batch).acks(AckType::Processed | AckType::Completed).encode(out);
}

/// The answer to a command.
pub(super) fn answer(out: &mut BytesMut, command: &Message, ack: AckType) {
    FrameWriter::new(out, "ack")
        .maybe(Field::CommandId, command.command_id())
        .maybe(Field::SubscriptionId, command.raw(Field::SubscriptionId))
        .text(Field::AckType, ack.as_str())
        .text(Field::Status, "success")
        .finish(b"");
}

/// Everything up to `sequence` is persisted.
pub(super) fn persisted(out: &mut BytesMut, sequence: u64) {
    FrameWriter::new(out, "ack")
        .text(Field::AckType, "persisted")
        .number(Field::Sequence, sequence)
        .text(Field::Status, "success")
        .finish(b"");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_of_their_size() {
        for size in [16, 128, 1_000] {
            let body = body(size);
            assert_eq!(body.len(), size);
            assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        }
    }

    #[test]
    fn a_long_header_has_what_a_short_one_lacks() {
        for (header, there) in [(Header::Short, false), (Header::Long, true)] {
            let mut wire = BytesMut::new();
            deliver(&mut wire, header, "1", "7", &body(128));
            let message = Message::decode(wire.freeze().slice(4..)).unwrap();
            assert_eq!(message.subscription_ids().collect::<Vec<_>>(), ["7"]);
            assert_eq!(message.bookmark().is_some(), there);
            assert_eq!(message.sow_key().is_some(), there);
            assert_eq!(message.data().len(), 128);
        }
    }
}
