//! A publish store under a load that goes up and down for long: its file and
//! the memory it takes are bounded by the most that was ever unacknowledged,
//! not by the traffic.
//!
//! One test, since the count of bytes is the whole process's.

use std::alloc::System;
use std::path::Path;

use amps_core::Field;
use amps_core::header::FrameWriter;
use amps_ha::kv::{SledKv, SledOptions};
use amps_ha::publish_log::{Durability, Identity, Limits, OnPublishGap, PublishLog, SegmentStore};
use bytes::BytesMut;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const FIRST: u64 = 1_800_000_000_000_000_000;
const BODY: [u8; 1000] = [b' '; 1000];
/// The most that is unacknowledged at once, in bytes, by turns.
const UNACKNOWLEDGED: [usize; 6] = [40 << 20, 2 << 20, 20 << 20, 40 << 20, 1 << 20, 10 << 20];
const MOST: usize = 40 << 20;
/// That much memory at most, whatever is unacknowledged.
const LIVE: usize = 110 << 20;
/// What passes through before the next of them.
const THROUGH: usize = 60 << 20;
/// Bytes of a group.
const GROUP: usize = 1 << 20;
const TURNS: usize = 8;

fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

struct Publisher {
    log: PublishLog,
    store: SegmentStore,
    next: u64,
    acknowledged: u64,
    wire: BytesMut,
}

impl Publisher {
    fn open(dir: &Path) -> Self {
        let kv = SledKv::open(dir, &SledOptions::default()).unwrap();
        let identity = Identity { client_name: "me".into(), message_type: "json".into(), protocol: "amps".into() };
        let (store, recovered) = SegmentStore::open(Box::new(kv), dir, &identity, FIRST).unwrap();
        let log = PublishLog::on_disk(Limits::default(), Durability::ProcessCrash, recovered);
        let mut publisher = Self { log, store, next: FIRST, acknowledged: FIRST, wire: BytesMut::new() };
        publisher.log.logged_on(0, OnPublishGap::Refuse).unwrap();
        publisher.work();
        publisher
    }

    fn work(&mut self) {
        while let Some(job) = self.log.next_job() {
            self.log.job_done(self.store.run(&job));
        }
    }

    /// Publishes so many bytes, with so many unacknowledged.
    fn publish(&mut self, bytes: usize, unacknowledged: usize) {
        for _ in 0..bytes / GROUP {
            for _ in 0..GROUP / BODY.len() {
                let append = self.log.append(100 + BODY.len(), |sequence, out| {
                    let frame = FrameWriter::new(out, "p").number(Field::Sequence, sequence.unwrap());
                    frame.text(Field::Topic, "t").finish(&BODY);
                });
                append.unwrap();
                self.next += 1;
            }
            self.work();
            self.wire.clear();
            while self.log.fill(&mut self.wire, 1 << 20, u64::MAX) > 0 {
                self.wire.clear();
                self.work();
            }
            let acknowledged = self.next.saturating_sub((unacknowledged / BODY.len()) as u64).max(FIRST);
            if acknowledged > self.acknowledged {
                self.acknowledged = acknowledged;
                self.log.acknowledged(acknowledged - 1);
            }
        }
    }
}

/// Covers 11.7.6#3.
#[test]
fn file_and_memory_of_a_publish_store_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let file = || std::fs::metadata(dir.path().join("db")).unwrap().len() as usize;
    let mut publisher = Publisher::open(dir.path());
    let mut after = Vec::new();
    for _ in 0..TURNS {
        for unacknowledged in UNACKNOWLEDGED {
            publisher.publish(THROUGH, unacknowledged);
            println!(
                "{:>4} MB unacknowledged: file {:>4} MB, live {:>4} MB",
                unacknowledged >> 20,
                file() >> 20,
                live() >> 20
            );
            assert!(file() < 4 * MOST + (160 << 20), "the file has {} bytes", file());
            assert!(live() < LIVE, "{} bytes are in use", live());
            after.push((file(), live()));
        }
    }
    // It goes up and down, by where the engine found room; the first half is to
    // have seen the most of it.
    let most = |half: &[(usize, usize)]| {
        (half.iter().map(|(file, _)| *file).max().unwrap(), half.iter().map(|(_, live)| *live).max().unwrap())
    };
    let (first, second) = after.split_at(after.len() / 2);
    let (early, last) = (most(first), most(second));
    assert!(last.0 <= early.0 + (64 << 20), "the file grows: {after:?}");
    assert!(last.1 <= early.1 + (12 << 20), "memory grows: {after:?}");
}
