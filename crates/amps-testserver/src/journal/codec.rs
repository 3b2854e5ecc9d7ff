//! Records as bytes: length, checksum, payload; numbers little-endian.

use bytes::{Buf, BufMut, Bytes};

use super::{JournalMessage, Record};

/// Length and checksum in front of every payload, in bytes.
pub(super) const HEAD: usize = 8;

const MESSAGE: u8 = 1;
const PROMISED: u8 = 2;
const DEQUEUED: u8 = 3;
const DIRECT: u8 = 1;
const CORRELATED: u8 = 2;
const DELETES: u8 = 4;
const TIMED: u8 = 8;
const KEYED: u8 = 16;
const EXPIRES: u8 = 32;
const ORIGIN: u8 = 64;

/// Appends a record to `out`.
pub(super) fn encode(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    out.put_slice(&[0; HEAD]);
    match record {
        Record::Message(message) => {
            out.put_u8(MESSAGE);
            out.put_u8(flags(message));
            out.put_u64_le(message.publisher);
            out.put_u64_le(message.sequence);
            put_text(out, &message.client_name);
            put_text(out, &message.topic);
            if let Some(id) = &message.correlation_id {
                put_text(out, id);
            }
            if let Some(keys) = &message.deletes {
                out.put_u32_le(keys.len() as u32);
                keys.iter().for_each(|key| out.put_u64_le(*key));
            }
            if let Some(processed) = message.processed {
                out.put_u64_le(processed);
            }
            if let Some(key) = &message.sow_key {
                put_text(out, key);
            }
            if let Some(seconds) = message.expiration {
                out.put_u64_le(seconds);
            }
            if let Some(instance) = &message.origin {
                put_text(out, instance);
            }
            out.put_slice(&message.body);
        }
        Record::Promised(position) => {
            out.put_u8(PROMISED);
            out.put_u64_le(*position);
        }
        Record::Dequeued { queue, publisher, sequence } => {
            out.put_u8(DEQUEUED);
            out.put_u64_le(*publisher);
            out.put_u64_le(*sequence);
            put_text(out, queue);
        }
    }
    let len = (out.len() - start - HEAD) as u32;
    let checksum = crc32fast::hash(&out[start + HEAD..]);
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4..start + HEAD].copy_from_slice(&checksum.to_le_bytes());
}

/// Which of the parts that not every message has are there.
fn flags(message: &JournalMessage) -> u8 {
    [
        (DIRECT, message.direct),
        (CORRELATED, message.correlation_id.is_some()),
        (DELETES, message.deletes.is_some()),
        (TIMED, message.processed.is_some()),
        (KEYED, message.sow_key.is_some()),
        (EXPIRES, message.expiration.is_some()),
        (ORIGIN, message.origin.is_some()),
    ]
    .into_iter()
    .fold(0, |flags, (flag, on)| flags | if on { flag } else { 0 })
}

/// What stands at the start of `bytes`.
pub(super) enum Decoded {
    /// A record and the bytes it takes.
    Record(Box<Record>, usize),
    /// Bytes that end inside a record.
    Short,
    /// A whole record of this many bytes that is not what was written.
    Damaged(usize),
}

/// Reads the record at the start of `bytes`.
pub(super) fn decode(bytes: &Bytes) -> Decoded {
    if bytes.len() < HEAD {
        return Decoded::Short;
    }
    let len = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    let checksum = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    if bytes.len() - HEAD < len {
        return Decoded::Short;
    }
    let payload = bytes.slice(HEAD..HEAD + len);
    if crc32fast::hash(&payload) != checksum {
        return Decoded::Damaged(HEAD + len);
    }
    match payload_of(payload) {
        Some(record) => Decoded::Record(Box::new(record), HEAD + len),
        None => Decoded::Damaged(HEAD + len),
    }
}

fn payload_of(mut payload: Bytes) -> Option<Record> {
    match payload.try_get_u8().ok()? {
        MESSAGE => {
            let flags = payload.try_get_u8().ok()?;
            let publisher = payload.try_get_u64_le().ok()?;
            let sequence = payload.try_get_u64_le().ok()?;
            let client_name = take_text(&mut payload)?;
            let topic = take_text(&mut payload)?;
            let correlation_id = if flags & CORRELATED != 0 { Some(take_text(&mut payload)?) } else { None };
            let deletes = if flags & DELETES != 0 { Some(take_keys(&mut payload)?) } else { None };
            let direct = flags & DIRECT != 0;
            let processed = if flags & TIMED != 0 { Some(payload.try_get_u64_le().ok()?) } else { None };
            let sow_key = if flags & KEYED != 0 { Some(take_text(&mut payload)?) } else { None };
            let expiration = if flags & EXPIRES != 0 { Some(payload.try_get_u64_le().ok()?) } else { None };
            let origin = if flags & ORIGIN != 0 { Some(take_text(&mut payload)?) } else { None };
            let body = payload;
            Some(Record::Message(JournalMessage {
                publisher,
                sequence,
                client_name,
                topic,
                correlation_id,
                direct,
                origin,
                processed,
                sow_key,
                expiration,
                deletes,
                body,
            }))
        }
        PROMISED => payload.try_get_u64_le().ok().map(Record::Promised),
        DEQUEUED => {
            let publisher = payload.try_get_u64_le().ok()?;
            let sequence = payload.try_get_u64_le().ok()?;
            Some(Record::Dequeued { queue: take_text(&mut payload)?, publisher, sequence })
        }
        _ => None,
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u32_le(text.len() as u32);
    out.put_slice(text.as_bytes());
}

fn take_text(bytes: &mut Bytes) -> Option<String> {
    let len = bytes.try_get_u32_le().ok()? as usize;
    if bytes.len() < len {
        return None;
    }
    String::from_utf8(bytes.split_to(len).to_vec()).ok()
}

fn take_keys(bytes: &mut Bytes) -> Option<Vec<u64>> {
    let count = bytes.try_get_u32_le().ok()? as usize;
    // Checked first: a length that is wrong must not ask for memory.
    if bytes.len() / 8 < count {
        return None;
    }
    Some((0..count).map(|_| bytes.get_u64_le()).collect())
}
