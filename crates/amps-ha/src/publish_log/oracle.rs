//! The log's promises against a server that does nothing but apply its own rule,
//! under operations in any order: see [`run`].

use std::collections::VecDeque;
use std::path::Path;

use amps_core::header::FrameWriter;
use amps_core::{Field, FrameDecoder, Message};
use bytes::BytesMut;

use super::*;
use crate::kv::{MemoryKv, SyncLevel};

/// Sequences of a fresh log begin here.
pub const CLOCK: u64 = 1_000_000;

#[derive(Debug, Clone)]
pub enum Op {
    /// Publish, padded to about this many bytes.
    Publish(usize),
    /// The store's thread gets to run one job, to its end.
    Work,
    /// The writer moves up to so many bytes; so many per mille of them arrive.
    Write(usize, u16),
    /// The server's persisted acknowledgement arrives.
    Ack,
    /// The server answers one of its latest messages with a failure.
    Refuse(usize),
    /// The connection's task tells of refused messages.
    Tell,
    /// The connection dies and the client logs on again.
    Reconnect,
    /// The connection dies and stays so for a while.
    Disconnect,
    /// The client's process is killed, or the machine's power fails, with so
    /// many unsynced writes on the disk all the same.
    Crash(bool, usize),
    /// The process ends as it should.
    Close,
}

/// No message is longer.
pub const LONGEST: usize = 65_000;

/// What is under test.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Disk(Durability),
    Hybrid(MemoryPart),
}

impl Kind {
    fn level(self) -> Durability {
        match self {
            Self::Disk(level) => level,
            Self::Hybrid(_) => Durability::Memory,
        }
    }

    fn open(self, kv: MemoryKv, limits: Limits, clock: u64) -> (SegmentStore, PublishLog) {
        match self {
            Self::Disk(level) => open(kv, level, limits, clock),
            Self::Hybrid(part) => open_hybrid(kv, part, limits, clock),
        }
    }
}

pub(super) struct World {
    kind: Kind,
    limits: Limits,
    pub(super) kv: MemoryKv,
    store: SegmentStore,
    log: PublishLog,
    pub(super) server: Server,
    online: bool,
    clock: u64,
    pub(super) next_id: u64,
    /// Ids appended in this life, with their ordinals, not yet promised.
    pending: Vec<(u64, u64)>,
    /// All ids appended in this life.
    appended: Vec<(u64, u64)>,
    pub(super) promised: Vec<u64>,
    /// Sequences and ids of refused messages that are not told yet, and whether
    /// the message has to be told too.
    refused: VecDeque<(u64, u64, bool)>,
    /// Ids the store has; what a kill of the process leaves.
    stored: Vec<u64>,
}

impl World {
    pub(super) fn new(kind: Kind, server: Server) -> Self {
        let limits = Limits { bytes: 1 << 20, resident_bytes: 20_000, ..Limits::default() };
        let kv = MemoryKv::new();
        let (store, log) = kind.open(kv.clone(), limits, CLOCK);
        Self {
            kind,
            limits,
            kv,
            store,
            log,
            server,
            online: false,
            clock: CLOCK,
            next_id: 0,
            pending: Vec::new(),
            appended: Vec::new(),
            promised: Vec::new(),
            refused: VecDeque::new(),
            stored: Vec::new(),
        }
    }

    pub(super) fn apply(&mut self, op: Op) {
        match op {
            Op::Publish(len) => self.publish(len),
            Op::Work => {
                if let Some(job) = self.log.next_job() {
                    self.log.job_done(self.store.run(&job));
                }
            }
            Op::Write(max, part) => self.write(max, part),
            Op::Ack if self.online => self.log.acknowledged(self.server.highest),
            Op::Ack => {}
            Op::Refuse(latest) => self.refuse(latest),
            Op::Tell => self.tell(),
            Op::Reconnect => {
                self.disconnect();
                self.online = self.log.logged_on(self.server.highest, OnPublishGap::Refuse).is_ok();
            }
            Op::Disconnect => self.disconnect(),
            Op::Crash(power, extra) => {
                let level = if power { SyncLevel::Power } else { SyncLevel::Process };
                let own = self.kind.level();
                if power && own < Durability::PowerLoss || own == Durability::Memory {
                    // Nothing was promised to survive this; what was neither
                    // delivered nor stored is gone, without a trace.
                    let delivered = self.server.ids();
                    let stored = |id: &u64| !power && self.stored.contains(id);
                    self.promised.retain(|id| delivered.contains(id) || stored(id));
                }
                if power {
                    self.stored.clear();
                }
                let kv = self.kv.crash_keeping(level, extra);
                self.restart(kv);
            }
            Op::Close => {
                while let Some(job) = self.log.next_job() {
                    self.log.job_done(self.store.run(&job));
                }
                if let Some(job) = self.log.closing_job() {
                    self.log.job_done(self.store.run(&job));
                }
                self.note_promises();
                self.restart(self.kv.crash(SyncLevel::Power));
            }
        }
        self.note_promises();
    }

    fn refuse(&mut self, latest: usize) {
        let arrived = self.server.log.len().checked_sub(latest + 1).map(|at| self.server.log[at]);
        let Some((sequence, id)) = arrived.filter(|_| self.online) else { return };
        // What the server has is refused as a duplicate: nothing is lost.
        if self.log.refused(sequence, amps_core::Reason::Duplicate) {
            // A dozen of the longest are held in memory for those before them.
            self.refused.push_back((sequence, id, self.refused.len() < 12));
        }
    }

    /// Each is told once and in order, with its message.
    fn tell(&mut self) {
        while let Some(failed) = self.log.next_failed_write() {
            let (sequence, id, whole) = self.refused.pop_front().expect("told once");
            assert_eq!(failed.sequence, sequence);
            let told = failed.message.map(|message| String::from_utf8_lossy(message.data()).trim_end().to_owned());
            assert!(told == Some(id.to_string()) || (told.is_none() && !whole), "{sequence}: {told:?}, not {id}");
        }
    }

    fn publish(&mut self, len: usize) {
        let body = format!("{:<len$}", self.next_id);
        match self.log.append(64 + body.len(), |sequence, out| encode(sequence, &body, out)) {
            Ok(ordinal) => {
                self.pending.push((self.next_id, ordinal));
                self.appended.push((self.next_id, ordinal));
                self.next_id += 1;
            }
            Err(AppendError::StoreFull(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn write(&mut self, max: usize, part: u16) {
        if !self.online {
            return;
        }
        let mut wire = BytesMut::new();
        // As the writer does: a long segment whole, the rest copied.
        match self.log.share(u64::MAX) {
            Some(segment) => wire.extend_from_slice(&segment),
            None => _ = self.log.fill(&mut wire, max, u64::MAX),
        }
        let arrived = wire.len() * usize::from(part) / 1000;
        self.server.receive(&wire[..arrived]);
        if arrived < wire.len() {
            self.disconnect();
        }
    }

    fn disconnect(&mut self) {
        self.log.disconnected(0);
        self.server.disconnect();
        self.online = false;
    }

    pub(super) fn restart(&mut self, kv: MemoryKv) {
        self.server.disconnect();
        self.online = false;
        self.pending.clear();
        self.appended.clear();
        self.refused.clear();
        self.clock += 1;
        self.kv = kv;
        (self.store, self.log) = self.kind.open(self.kv.clone(), self.limits, self.clock);
    }

    fn note_promises(&mut self) {
        let durable = self.log.cursors().durable;
        self.promised.extend(self.pending.extract_if(.., |(_, ordinal)| *ordinal < durable).map(|(id, _)| id));
        let taken = |ordinal: u64| self.log.segment_at(ordinal).is_none_or(|segment| segment.taken);
        let stored = self.log.disk.as_ref().map_or(0, |disk| disk.stored);
        let appended = self.appended.extract_if(.., |(_, ordinal)| *ordinal < stored && taken(*ordinal));
        self.stored.extend(appended.map(|(id, _)| id));
        if let Kind::Hybrid(part) = self.kind {
            // One message may go beyond, and one value that the writer reads.
            let most = part.most() + LONGEST + LONGEST.max(segment::SEGMENT_LEN);
            assert!(self.log.resident_bytes() <= most, "{} > {most}", self.log.resident_bytes());
        }
    }

    /// Everything heals: the log must drain.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            self.note_promises();
            if !self.online {
                self.apply(Op::Reconnect);
            }
            work(&mut self.log, &mut self.store);
            self.tell();
            self.write(usize::MAX, 1000);
            self.log.acknowledged(self.server.highest);
            let cursors = self.log.cursors();
            if cursors.settled == cursors.end && !self.log.has_more(u64::MAX) && self.refused.is_empty() {
                assert_eq!(cursors.bytes, 0);
                assert_eq!(self.log.resident_bytes(), 0);
                return;
            }
        }
        panic!("the log does not drain: {:?}", self.log.cursors());
    }

    fn check(&self) {
        let ids = self.server.ids();
        assert!(ids.is_sorted_by(|a, b| a < b), "out of order or twice: {ids:?}");
        for id in &self.promised {
            assert!(ids.binary_search(id).is_ok(), "promised and lost: {id} not in {ids:?}");
        }
    }
}

/// A history from its beginning to its end: each promised message is in the
/// server's log once and in order, of a server that knew the name up to `known`.
pub fn run(kind: Kind, known: u64, ops: impl IntoIterator<Item = Op>) {
    let mut world = World::new(kind, Server::knowing(known));
    for op in ops {
        world.apply(op);
    }
    world.settle();
    world.check();
}

pub(super) fn identity() -> Identity {
    Identity { client_name: "me".into(), message_type: "json".into(), protocol: "amps".into() }
}

pub(super) fn encode(sequence: Option<u64>, body: &str, out: &mut BytesMut) {
    let mut frame = FrameWriter::new(out, "p");
    if let Some(sequence) = sequence {
        frame = frame.number(Field::Sequence, sequence);
    }
    frame.text(Field::Topic, "t").finish(body.as_bytes());
}

pub(super) fn open(kv: MemoryKv, level: Durability, limits: Limits, clock: u64) -> (SegmentStore, PublishLog) {
    let (store, recovered) = SegmentStore::open(Box::new(kv), Path::new("dir"), &identity(), clock).unwrap();
    (store, PublishLog::on_disk(limits, level, recovered))
}

pub(super) fn open_hybrid(kv: MemoryKv, part: MemoryPart, limits: Limits, clock: u64) -> (SegmentStore, PublishLog) {
    let (store, recovered) = SegmentStore::open(Box::new(kv), Path::new("dir"), &identity(), clock).unwrap();
    (store, PublishLog::hybrid(limits, part, recovered))
}

/// Does everything the log wants done.
pub(super) fn work(log: &mut PublishLog, store: &mut SegmentStore) {
    while let Some(job) = log.next_job() {
        log.job_done(store.run(&job));
    }
}

/// A server's log and its rule.
#[derive(Default)]
pub(super) struct Server {
    decoder: Option<FrameDecoder>,
    pub(super) highest: u64,
    pub(super) log: Vec<(u64, u64)>,
}

impl Server {
    pub(super) fn knowing(highest: u64) -> Self {
        Self { highest, ..Self::default() }
    }

    pub(super) fn disconnect(&mut self) {
        self.decoder = None;
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
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

    pub(super) fn ids(&self) -> Vec<u64> {
        self.log.iter().map(|(_, id)| *id).collect()
    }
}
