//! SOW batches.

use amps_core::{Field, Message, batch};
use bytes::Bytes;

/// Records stand one behind the other in the frame, each as long as it says,
/// and reading one alone is reading it among others.
pub(super) fn run(bytes: &[u8]) {
    let Ok(frame) = Message::decode(Bytes::copy_from_slice(bytes)) else { return };
    let records = batch::records(&frame);
    // The shortest is `{"l":0}`.
    assert!(records.len() <= frame.data().len() / 7);
    let mut rest = frame.data();
    for index in 0..records.len() {
        let record = records.get(index);
        super::header::touch(&record);
        let alone = batch::records(&shortened(&frame, rest));
        assert_eq!(record.data(), alone.get(0).data());
        assert_eq!(record.raw(Field::SowKey), alone.get(0).raw(Field::SowKey));
        assert_eq!(record.number(Field::MessageLength), Some(record.data().len() as u64));
        rest = &rest[record.size()..];
        if index == 64 {
            // Reading each alone is quadratic.
            return;
        }
    }
    assert!(records.len() <= batch::RECORDS_MAX);
    assert_eq!(records.error().is_none(), rest.is_empty(), "{:?}", records.error());
}

/// The batch, beginning at a later record.
fn shortened(frame: &Message, rest: &[u8]) -> Message {
    let bytes = [frame.header().as_bytes(), rest].concat();
    Message::decode(Bytes::from(bytes)).expect("the header is the same")
}
