//! Parsing headers: this project's reader, and serde_json into borrowed fields.

use std::hint::black_box;

use amps_core::Message;
use bytes::Bytes;
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

/// Who parses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Parser {
    /// `Message::decode`.
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
        let frames = TYPICAL.map(|header| Bytes::from_static(header.as_bytes()));
        let rounds = self.count / TYPICAL.len() as u64;
        let size = TYPICAL.iter().map(|header| header.len()).sum::<usize>() / TYPICAL.len();
        let clocks = Clocks::start();
        for _ in 0..rounds {
            for frame in &frames {
                match self.parser {
                    Parser::Ours => {
                        let parsed = Message::decode(black_box(frame).clone());
                        black_box(parsed.map_err(|error| failed("parse a header", error))?);
                    }
                    Parser::Serde => {
                        let parsed = serde_json::from_slice::<Fields<'_>>(black_box(frame));
                        black_box(parsed.map_err(|error| failed("parse a header", error))?);
                    }
                }
            }
        }
        Ok(clocks.stop(rounds * TYPICAL.len() as u64, size))
    }
}

#[cfg(test)]
mod tests {
    use amps_core::Field;

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
