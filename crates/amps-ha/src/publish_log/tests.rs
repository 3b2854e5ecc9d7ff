//! The log's rules, against a server that does nothing but apply its own:
//! a sequence at or below the highest seen is dropped.

mod capacity;
mod group;
mod hybrid;
mod oracle;
mod refused;
mod rules;

use bytes::{Bytes, BytesMut};
use std::path::Path;

use amps_core::frame::PREFIX_LEN;
use amps_core::header::FrameWriter;
use amps_core::{Field, FrameDecoder, Message};

use super::*;
use crate::kv::{Kv, MemoryKv, SyncLevel};

/// Sequences of a fresh log begin here.
const CLOCK: u64 = 1_000_000;

fn identity() -> Identity {
    Identity { client_name: "me".into(), message_type: "json".into(), protocol: "amps".into() }
}

fn limits() -> Limits {
    Limits::default()
}

fn append(log: &mut PublishLog, id: u64) -> Result<u64, AppendError> {
    let body = id.to_string();
    log.append(64 + body.len(), |sequence, out| encode(sequence, &body, out))
}

fn encode(sequence: Option<u64>, body: &str, out: &mut BytesMut) {
    let mut frame = FrameWriter::new(out, "p");
    if let Some(sequence) = sequence {
        frame = frame.number(Field::Sequence, sequence);
    }
    frame.text(Field::Topic, "t").finish(body.as_bytes());
}

fn open(kv: MemoryKv, level: Durability, limits: Limits, clock: u64) -> (SegmentStore, PublishLog) {
    let (store, recovered) = SegmentStore::open(Box::new(kv), Path::new("dir"), &identity(), clock).unwrap();
    (store, PublishLog::on_disk(limits, level, recovered))
}

fn open_hybrid(kv: MemoryKv, part: MemoryPart, limits: Limits, clock: u64) -> (SegmentStore, PublishLog) {
    let (store, recovered) = SegmentStore::open(Box::new(kv), Path::new("dir"), &identity(), clock).unwrap();
    (store, PublishLog::hybrid(limits, part, recovered))
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

/// Does everything the log wants done.
fn work(log: &mut PublishLog, store: &mut SegmentStore) {
    while let Some(job) = log.next_job() {
        log.job_done(store.run(&job));
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

/// A server's log and its rule.
#[derive(Default)]
struct Server {
    decoder: Option<FrameDecoder>,
    highest: u64,
    log: Vec<(u64, u64)>,
}

impl Server {
    fn knowing(highest: u64) -> Self {
        Self { highest, ..Self::default() }
    }

    fn disconnect(&mut self) {
        self.decoder = None;
    }

    fn receive(&mut self, bytes: &[u8]) {
        let decoder = self.decoder.get_or_insert_with(|| FrameDecoder::new(1 << 30));
        decoder.extend(bytes);
        while let Some(frame) = decoder.next_frame().unwrap() {
            let message = Message::decode(frame).unwrap();
            let sequence = message.sequence().unwrap();
            if sequence > self.highest {
                self.highest = sequence;
                let id = std::str::from_utf8(message.data()).unwrap().trim_end().parse().unwrap();
                self.log.push((sequence, id));
            }
        }
    }

    fn ids(&self) -> Vec<u64> {
        self.log.iter().map(|(_, id)| *id).collect()
    }
}

fn bodies(wire: &[u8]) -> Vec<Bytes> {
    segment::frames(wire)
        .map(|frame| Message::decode(Bytes::copy_from_slice(&frame[PREFIX_LEN..])).unwrap().data_bytes())
        .collect()
}
