//! Parsing headers: this project's reader, and serde_json into borrowed fields.

use std::hint::black_box;

use amps_core::MessageDecoder;
use amps_core::frame::MAX_FRAME_LEN;
use bytes::{BufMut, BytesMut};
use clap::Args;
use serde::Deserialize;

use super::clocks::Clocks;
use super::{Figures, failed};
use crate::Failure;

/// A published message, one of a bookmark subscription, an acknowledgement and
/// the answer to a logon.
pub(super) const TYPICAL: [&str; 4] = [
    r#"{"c":"p","s":1800000000000000123,"a":"persisted","t":"orders"}"#,
    r#"{"c":"p","t":"orders","sids":"4294967297","bm":"1394823848312345678|1800000000000001234|","ts":"20261123T060000.123456Z","k":"11281137042168291047"}"#,
    r#"{"c":"ack","a":"persisted","s":1800000000000000123,"status":"success"}"#,
    r#"{"c":"ack","cid":"1","a":"processed","status":"success","client_name":"orders-gateway-1","version":"5.3.5.0","s":1800000000000000123,"bm":"1394823848312345678|1800000000000001234|"}"#,
];

/// How many headers come in one read.
const READ: usize = 400;

/// Who parses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Parser {
    /// `MessageDecoder`, as the client does: the messages of a read at once.
    Ours,
    /// serde_json, into borrowed fields.
    Serde,
}

/// Options of the loop.
#[derive(Debug, Args)]
pub(crate) struct Headers {
    #[arg(long, value_enum)]
    pub(super) parser: Parser,
    #[arg(long)]
    pub(super) count: u64,
}

/// The fields of the typical headers; text without escapes can be borrowed.
#[derive(Debug, Default, PartialEq, Deserialize)]
struct Fields<'a> {
    c: &'a str,
    s: Option<u64>,
    a: Option<&'a str>,
    t: Option<&'a str>,
    sids: Option<&'a str>,
    bm: Option<&'a str>,
    ts: Option<&'a str>,
    k: Option<&'a str>,
    status: Option<&'a str>,
    cid: Option<&'a str>,
    client_name: Option<&'a str>,
    version: Option<&'a str>,
}

impl Headers {
    /// Each header in turn, until `count` are parsed.
    pub(super) fn run(&self) -> Result<Figures, Failure> {
        let frames: Vec<_> = TYPICAL.iter().cycle().take(READ).collect();
        let rounds = self.count / READ as u64;
        let size = frames.iter().map(|header| header.len()).sum::<usize>() / READ;
        let mut wire = BytesMut::new();
        for header in &frames {
            wire.put_u32(header.len() as u32);
            wire.put_slice(header.as_bytes());
        }
        let mut decoder = MessageDecoder::new(MAX_FRAME_LEN);
        let clocks = Clocks::start();
        for _ in 0..rounds {
            match self.parser {
                Parser::Ours => {
                    decoder.buffer_mut(wire.len()).extend_from_slice(black_box(&wire));
                    let parsed = decoder.next_messages().map_err(|error| failed("read a frame", error))?;
                    let parsed = parsed.filter(|messages| messages.len() == READ && messages.error().is_none());
                    black_box(parsed.ok_or_else(|| failed("parse a header", "it is no message"))?);
                }
                Parser::Serde => {
                    for frame in &frames {
                        let parsed = serde_json::from_slice::<Fields<'_>>(black_box(frame.as_bytes()));
                        black_box(parsed.map_err(|error| failed("parse a header", error))?);
                    }
                }
            }
        }
        Ok(clocks.stop(rounds * READ as u64, size))
    }
}

#[cfg(test)]
mod tests {
    use amps_core::{Field, Message};
    use bytes::Bytes;

    use super::*;

    #[test]
    fn both_read_the_same() {
        for header in TYPICAL {
            let fields: Fields<'_> = serde_json::from_str(header).unwrap();
            let message = Message::decode(Bytes::from_static(header.as_bytes())).unwrap();
            assert_eq!(message.raw(Field::Command), Some(fields.c));
            assert_eq!(message.sequence(), fields.s);
            for (field, value) in [
                (Field::AckType, fields.a),
                (Field::Topic, fields.t),
                (Field::SubscriptionIds, fields.sids),
                (Field::Bookmark, fields.bm),
                (Field::Timestamp, fields.ts),
                (Field::SowKey, fields.k),
                (Field::Status, fields.status),
                (Field::CommandId, fields.cid),
                (Field::ClientName, fields.client_name),
                (Field::Version, fields.version),
            ] {
                assert_eq!(message.raw(field), value, "{field:?} of {header}");
            }
        }
    }
}
