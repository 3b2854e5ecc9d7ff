//! SOW batches: many records in one frame.
//!
//! Behind the batch header stand records, each a small header with the key
//! `k` and the body's length `l`, then the body. Bodies are skipped by that
//! length, never by looking for braces (AMPS Command Reference, "sow").

use crate::error::MessageError;
use crate::message::Message;

/// The records of a SOW frame, each a message of its own that shares the
/// frame's bytes.
///
/// # Errors
/// The iterator ends behind the first [`MessageError`].
pub fn records(batch: &Message) -> impl Iterator<Item = Result<Message, MessageError>> + use<> {
    let records = batch.records();
    let error = records.error().cloned().map(Err);
    (0..records.len()).map(move |index| Ok(records.get(index))).chain(error)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::header::Field;

    fn decode(frame: &'static str) -> Message {
        Message::decode(Bytes::from_static(frame.as_bytes())).unwrap()
    }

    #[test]
    fn records_are_split_by_length_not_by_braces() {
        let batch = decode(concat!(
            r#"{"c":"sow","t":"px","query_id":"q9","bs":2,"ts":"20260101T000000"}"#,
            r#"{"k":"111","l":8,"x":"a"}{"id":1}{"k":"222","l":18}{"id":2,"q":"a}b"}"#
        ));
        let all: Vec<_> = records(&batch).map(Result::unwrap).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].data(), br#"{"id":1}"#);
        assert_eq!(all[1].data(), br#"{"id":2,"q":"a}b"}"#);
        assert_eq!(all[1].sow_key().as_deref(), Some("222"));
        assert_eq!(all[1].topic().as_deref(), Some("px"));
        assert_eq!(all[1].raw(Field::Timestamp), Some("20260101T000000"));
        assert_eq!(all[1].raw(Field::CorrelationId), None, "a record inherits nothing from the one before");
    }

    #[test]
    fn a_record_without_a_valid_length_is_an_error_and_the_end() {
        for frame in [r#"{"c":"sow"}{"k":"1"}{}"#, r#"{"c":"sow"}{"k":"1","l":3}{}"#, r#"{"c":"sow"}{"l":-1}{}"#] {
            let all: Vec<_> = records(&decode(frame)).collect();
            assert!(matches!(all[..], [Err(MessageError::RecordLength { .. })]), "{frame}");
        }
    }
}
