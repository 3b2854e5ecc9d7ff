use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
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
const LONGEST: usize = 65_000;

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1usize..4000).prop_map(Op::Publish),
        2 => (20_000..LONGEST).prop_map(Op::Publish),
        12 => Just(Op::Work),
        6 => (1usize..60_000, prop_oneof![2 => Just(1000), 1 => 0u16..1000]).prop_map(|(max, part)| Op::Write(max, part)),
        3 => Just(Op::Ack),
        4 => (0usize..8).prop_map(Op::Refuse),
        2 => Just(Op::Tell),
        2 => Just(Op::Reconnect),
        1 => Just(Op::Disconnect),
        1 => (any::<bool>(), 0usize..8).prop_map(|(power, extra)| Op::Crash(power, extra)),
        1 => Just(Op::Close),
    ]
}

/// What is under test.
#[derive(Debug, Clone, Copy)]
enum Kind {
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

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Disk(Durability::Memory)),
        Just(Kind::Disk(Durability::ProcessCrash)),
        Just(Kind::Disk(Durability::PowerLoss)),
        hybrid(),
    ]
}

fn hybrid() -> impl Strategy<Value = Kind> {
    (1usize..120_000, 1u64..40, 0u8..=100)
        .prop_map(|(bytes, messages, low)| MemoryPart::default().bytes(bytes).messages(messages).low_watermark(low))
        .prop_map(Kind::Hybrid)
}

struct World {
    kind: Kind,
    limits: Limits,
    kv: MemoryKv,
    store: SegmentStore,
    log: PublishLog,
    server: Server,
    online: bool,
    clock: u64,
    next_id: u64,
    /// Ids appended in this life, with their ordinals, not yet promised.
    pending: Vec<(u64, u64)>,
    /// All ids appended in this life.
    appended: Vec<(u64, u64)>,
    promised: Vec<u64>,
    /// Sequences and ids of refused messages that are not told yet, and whether
    /// the message has to be told too.
    refused: VecDeque<(u64, u64, bool)>,
    /// Ids the store has; what a kill of the process leaves.
    stored: Vec<u64>,
}

impl World {
    fn new(kind: Kind, server: Server) -> Self {
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

    fn apply(&mut self, op: Op) {
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

    fn restart(&mut self, kv: MemoryKv) {
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
    fn settle(&mut self) {
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

fn run(kind: Kind, server: Server, ops: Vec<Op>) {
    let mut world = World::new(kind, server);
    for op in ops {
        world.apply(op);
    }
    world.settle();
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rule 1 and 3: whatever dies, and wherever in the bytes, the server's
    /// log ends with each promised message once, in order.
    ///
    /// Covers 11.7.6#2, 20#22.
    #[test]
    fn nothing_promised_is_lost_doubled_or_reordered(
        kind in kind(),
        ops in prop::collection::vec(op(), 1..120),
    ) {
        run(kind, Server::default(), ops);
    }

    /// The same for hybrid logs alone: what the disk had is replayed, what was
    /// only in memory is gone without a trace after a kill, and without loss
    /// after a close.
    #[test]
    fn a_hybrid_log_keeps_its_order_over_the_border_and_loses_only_memory(
        kind in hybrid(),
        known in prop_oneof![3 => Just(0), 1 => CLOCK - 10..CLOCK + 5_000_000],
        ops in prop::collection::vec(op(), 1..160),
    ) {
        run(kind, Server::knowing(known), ops);
    }

    /// A name the servers remember with higher numbers than a fresh log gives.
    #[test]
    fn a_fresh_log_gets_above_what_the_server_knows(
        above in 0u64..5_000_000,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        run(Kind::Disk(Durability::PowerLoss), Server::knowing(CLOCK - 10 + above), ops);
    }

    /// An old copy of the store is put back: what is published afterwards is
    /// delivered all the same, once and in order.
    #[test]
    fn a_restored_copy_reuses_no_number(
        before in prop::collection::vec(op(), 1..60),
        between in prop::collection::vec(op(), 1..60),
        after in prop::collection::vec(op(), 1..60),
    ) {
        let mut world = World::new(Kind::Disk(Durability::PowerLoss), Server::default());
        before.into_iter().for_each(|op| world.apply(op));
        let backup = copy(&world.kv);
        between.into_iter().for_each(|op| world.apply(op));
        // What only the newer store knows is the copy's price.
        let delivered = world.server.ids();
        world.promised.retain(|id| delivered.contains(id));
        world.restart(backup);
        world.next_id += 1_000_000;
        let restored = world.next_id;
        after.into_iter().for_each(|op| world.apply(op));
        world.settle();
        let ids: Vec<_> = world.server.ids().into_iter().filter(|id| *id >= restored).collect();
        prop_assert!(ids.is_sorted_by(|a, b| a < b));
        for id in world.promised.iter().filter(|id| **id >= restored) {
            prop_assert!(ids.binary_search(id).is_ok(), "promised and lost: {}", id);
        }
    }
}
