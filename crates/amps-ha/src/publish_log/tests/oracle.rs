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

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (1usize..4000).prop_map(Op::Publish),
        6 => Just(Op::Work),
        6 => (1usize..60_000, 0u16..=1000).prop_map(|(max, part)| Op::Write(max, part)),
        3 => Just(Op::Ack),
        2 => Just(Op::Reconnect),
        1 => Just(Op::Disconnect),
        1 => (any::<bool>(), 0usize..8).prop_map(|(power, extra)| Op::Crash(power, extra)),
        1 => Just(Op::Close),
    ]
}

struct World {
    level: Durability,
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
    promised: Vec<u64>,
}

impl World {
    fn new(level: Durability, server: Server) -> Self {
        let limits = Limits { bytes: 1 << 20, resident_bytes: 100_000, ..Limits::default() };
        let kv = MemoryKv::new();
        let (store, log) = open(kv.clone(), level, limits, CLOCK);
        Self {
            level,
            limits,
            kv,
            store,
            log,
            server,
            online: false,
            clock: CLOCK,
            next_id: 0,
            pending: Vec::new(),
            promised: Vec::new(),
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
            Op::Reconnect => {
                self.disconnect();
                self.online = self.log.logged_on(self.server.highest, OnPublishGap::Refuse).is_ok();
            }
            Op::Disconnect => self.disconnect(),
            Op::Crash(power, extra) => {
                let level = if power { SyncLevel::Power } else { SyncLevel::Process };
                if power && self.level < Durability::PowerLoss || self.level == Durability::Memory {
                    // Nothing was promised to survive this; what was not
                    // delivered is gone, and has to be gone without a trace.
                    let delivered = self.server.ids();
                    self.promised.retain(|id| delivered.contains(id));
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

    fn publish(&mut self, len: usize) {
        let body = format!("{:<len$}", self.next_id);
        match self.log.append(64 + body.len(), |sequence, out| encode(sequence, &body, out)) {
            Ok(ordinal) => {
                self.pending.push((self.next_id, ordinal));
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
        self.log.fill(&mut wire, max, u64::MAX);
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
        self.clock += 1;
        self.kv = kv;
        (self.store, self.log) = open(self.kv.clone(), self.level, self.limits, self.clock);
    }

    fn note_promises(&mut self) {
        let durable = self.log.cursors().durable;
        self.promised.extend(self.pending.extract_if(.., |(_, ordinal)| *ordinal < durable).map(|(id, _)| id));
    }

    /// Everything heals: the log must drain.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.note_promises();
            if !self.online {
                self.apply(Op::Reconnect);
            }
            work(&mut self.log, &mut self.store);
            self.write(usize::MAX, 1000);
            self.log.acknowledged(self.server.highest);
            let cursors = self.log.cursors();
            if cursors.settled == cursors.end && !self.log.has_more(u64::MAX) {
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

fn run(level: Durability, server: Server, ops: Vec<Op>) {
    let mut world = World::new(level, server);
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
    #[test]
    fn nothing_promised_is_lost_doubled_or_reordered(
        level in prop_oneof![Just(Durability::Memory), Just(Durability::ProcessCrash), Just(Durability::PowerLoss)],
        ops in prop::collection::vec(op(), 1..120),
    ) {
        run(level, Server::default(), ops);
    }

    /// A name the servers remember with higher numbers than a fresh log gives.
    #[test]
    fn a_fresh_log_gets_above_what_the_server_knows(
        above in 0u64..5_000_000,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        run(Durability::PowerLoss, Server::knowing(CLOCK - 10 + above), ops);
    }

    /// An old copy of the store is put back: what is published afterwards is
    /// delivered all the same, once and in order.
    #[test]
    fn a_restored_copy_reuses_no_number(
        before in prop::collection::vec(op(), 1..60),
        between in prop::collection::vec(op(), 1..60),
        after in prop::collection::vec(op(), 1..60),
    ) {
        let mut world = World::new(Durability::PowerLoss, Server::default());
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
