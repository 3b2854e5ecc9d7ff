//! SOW batches: many records in one frame.
//!
//! Behind the batch header stand records, each a small header with the key
//! `k` and the body's length `l`, then the body. Bodies are skipped by that
//! length, never by looking for braces (AMPS Command Reference, "sow").

use crate::message::Message;
use crate::messages::{self, Messages};

/// The most records that are read of one frame; a server sends 10,000 at most.
pub const RECORDS_MAX: usize = messages::RECORDS_MAX;

/// The records of a SOW frame, each a message of its own that shares the
/// frame's bytes. They end in front of the first that is malformed, and behind
/// [`RECORDS_MAX`]; see [`Messages::error`].
pub fn records(batch: &Message) -> Messages {
    batch.records()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::error::MessageError;
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
        let records = records(&batch);
        assert_eq!(records.error(), None);
        let all: Vec<_> = records.into_iter().collect();
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
            let records = records(&decode(frame));
            assert!(records.is_empty(), "{frame}");
            assert!(matches!(records.error(), Some(MessageError::RecordLength { .. })), "{frame}");
        }
    }

    #[test]
    fn there_are_not_too_many_records() {
        let batch = |records: usize| {
            let frame = [r#"{"c":"sow"}"#, &r#"{"l":0}"#.repeat(records)].concat();
            Message::decode(frame.into()).unwrap()
        };
        let all = records(&batch(RECORDS_MAX));
        assert_eq!((all.len(), all.error()), (RECORDS_MAX, None));
        let more = records(&batch(RECORDS_MAX + 1));
        assert_eq!((more.len(), more.error()), (RECORDS_MAX, Some(&MessageError::TooManyRecords { max: RECORDS_MAX })));
    }

    /// The documents have times in the header of the batch, and say nothing of
    /// times and bookmarks of records: what a record says counts for it, what only
    /// the batch says counts for all, and a bookmark is of what it stands at.
    #[test]
    fn what_may_stand_at_the_batch_or_at_the_record_is_read_at_either() {
        let batch = decode(concat!(
            r#"{"c":"sow","t":"px","query_id":"q","bs":2,"ts":"20260101T000000Z","bm":"1|9|","sow_key":"0","msg_len":2}"#,
            r#"{"k":"1","l":2,"ts":"20260102T000000Z","bm":"1|5|"}{}{"k":"2","l":2}{}"#
        ));
        let records = records(&batch);
        assert_eq!((records.error(), records.len()), (None, 2));
        let [first, second] = [records.get(0), records.get(1)];
        assert_eq!((first.timestamp(), second.timestamp()), (Some("20260102T000000Z"), Some("20260101T000000Z")));
        assert_eq!((first.bookmark(), second.bookmark()), ("1|5|".parse().ok(), None));
        assert_eq!((first.sow_key().as_deref(), second.sow_key().as_deref()), (Some("1"), Some("2")));
    }

    #[test]
    fn records_with_like_headers_are_read_as_others() {
        let batch = decode(concat!(
            r#"{"c":"sow","t":"px","query_id":"q9","k":"not a record's"}"#,
            r#"{"k":"1234567","l":2}aa{"k":"1234568","l":2}bb{"k":"12345\"9","l":2}cc{"k":"1234569","l":3}ddd{"k":"1234570","l":3}ee"#
        ));
        let records = records(&batch);
        let read: Vec<_> = records
            .clone()
            .into_iter()
            .map(|r| (r.raw(Field::SowKey).unwrap().to_owned(), r.data().to_vec()))
            .collect();
        let expected = [("1234567", "aa"), ("1234568", "bb"), ("12345\\\"9", "cc"), ("1234569", "ddd")];
        assert_eq!(read, expected.map(|(key, data)| (key.to_owned(), data.as_bytes().to_vec())));
        assert_eq!(records.error(), Some(&MessageError::RecordLength { at: 151 }), "the last is cut off");
        assert_eq!(records.get(1).topic().as_deref(), Some("px"));
        assert_eq!(records.get(1).raw(Field::QueryId), Some("q9"));
    }
}
