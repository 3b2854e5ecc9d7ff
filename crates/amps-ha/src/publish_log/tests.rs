//! The log's rules, against a server that does nothing but apply its own:
//! a sequence at or below the highest seen is dropped.

mod capacity;
mod group;
mod histories;
mod hybrid;
mod refused;
mod rules;

use bytes::{Bytes, BytesMut};
use std::path::Path;

use amps_core::frame::PREFIX_LEN;
use amps_core::header::FrameWriter;
use amps_core::{Field, Message};

use super::logon::LEAP;
use super::oracle::{CLOCK, Server, encode, identity, open, open_hybrid, work};
use super::*;
use crate::kv::{Kv, MemoryKv, SyncLevel};

fn limits() -> Limits {
    Limits::default()
}

fn append(log: &mut PublishLog, id: u64) -> Result<u64, AppendError> {
    let body = id.to_string();
    log.append(64 + body.len(), |sequence, out| encode(sequence, &body, out))
}

/// A copy of everything in `kv`, as a backup of the directory would be.
fn copy(kv: &MemoryKv) -> MemoryKv {
    let mut copy = MemoryKv::new();
    kv.scan(b"", b"z", &mut |key, value| {
        copy.insert(key, value).unwrap();
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    copy.sync(SyncLevel::Power).unwrap();
    copy
}

/// Publishes the ids.
fn append_all(log: &mut PublishLog, ids: std::ops::Range<u64>) {
    for id in ids {
        append(log, id).unwrap();
    }
}

/// Every frame the log would send now: sequence and id.
fn drain(log: &mut PublishLog, store: Option<&mut SegmentStore>) -> Vec<(u64, u64)> {
    let mut server = Server::default();
    let mut store = store;
    loop {
        let mut wire = BytesMut::new();
        let count = log.fill(&mut wire, usize::MAX, u64::MAX);
        server.receive(&wire);
        if let Some(store) = &mut store {
            work(log, store);
        }
        if count == 0 && !log.has_more(u64::MAX) {
            return server.log;
        }
    }
}

fn bodies(wire: &[u8]) -> Vec<Bytes> {
    segment::frames(wire)
        .map(|frame| Message::decode(Bytes::copy_from_slice(&frame[PREFIX_LEN..])).unwrap().data_bytes())
        .collect()
}
