//! The first profile: as it was when the first seeds were pinned, and stays.

use std::time::Duration;

use amps_ha::publish_log::{Durability, Limits, MemoryPart};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Profile;
use super::fault::Fault;
use super::plan::{CALM, Conflation, Event, Plan, World};
use super::publisher::Mix;
use crate::pair::Door;
use crate::{Kill, Store};

pub(super) fn plan(seed: u64) -> Plan {
    let mut random = StdRng::seed_from_u64(seed);
    let world = world(&mut random);
    let kinds: Vec<u32> = (0..KINDS).filter(|_| random.random_bool(0.5)).collect();
    let count = if kinds.is_empty() { 0 } else { random.random_range(1..=14) };
    let mut faults: Vec<_> = (0..count)
        .map(|_| {
            let at = CALM + world.traffic.mul_f64(random.random_range(0.0..1.0));
            let kind = kinds[random.random_range(0..kinds.len())];
            Event { at, fault: fault(&mut random, &world, kind) }
        })
        .collect();
    faults.sort_by_key(|event| event.at);
    Plan { seed, profile: Profile::First, world, faults }
}

/// Who takes part, without what came later.
pub(super) fn world(random: &mut StdRng) -> World {
    let stores = [
        Store::Memory,
        Store::Disk(Durability::PowerLoss),
        Store::Disk(Durability::ProcessCrash),
        Store::Hybrid(MemoryPart::default().messages(20)),
    ];
    let publishers = (0..random.random_range(1..=3)).map(|_| stores[random.random_range(0..stores.len())]).collect();
    World {
        servers: random.random_range(1..=3),
        publishers,
        subscribers: random.random_range(1..=2),
        viewers: random.random_range(0..=1),
        askers: 0,
        choosers: 0,
        workers: 0,
        pausers: 0,
        rangers: 0,
        delta_viewers: 0,
        conflation: Conflation::None,
        jitter: Duration::ZERO,
        bound: (Limits::default().bytes, Limits::default().messages),
        guests: false,
        mix: Mix::default(),
        messages: random.random_range(20..=150),
        traffic: Duration::from_secs(random.random_range(5..=30)),
        latency: Duration::from_micros([50, 500, 5_000][random.random_range(0..3)]),
        room: [2_000, 20_000, 256_000][random.random_range(0..3)],
        resident: [4_000, 8 << 20][random.random_range(0..2)],
        queue: [3, 50, 10_000][random.random_range(0..3)],
    }
}

const KINDS: u32 = 12;

fn fault(random: &mut StdRng, world: &World, kind: u32) -> Fault {
    let client = random.random_range(0..world.clients());
    let publisher = random.random_range(0..world.publishers.len());
    let reader = random.random_range(world.publishers.len()..world.clients());
    let server = random.random_range(0..world.servers);
    let mut time = |most: u64| Duration::from_millis(random.random_range(1..most));
    match kind {
        0 => Fault::Cut(client),
        1 => Fault::CutAfter(server, Some(random.random_range(0..5_000)), None),
        2 => Fault::CutAfter(server, None, Some(random.random_range(0..5_000))),
        3 => Fault::BlackHole(client),
        4 => Fault::Crash(server, time(15_000)),
        5 => Fault::Door(server, Door::Refuses, time(15_000)),
        6 => Fault::Door(server, Door::Silent, time(15_000)),
        7 if world.servers > 1 => {
            let other = (server + random.random_range(1..world.servers)) % world.servers;
            Fault::Partition(server, other, Duration::from_millis(random.random_range(1..4_000)))
        }
        8 => {
            let power = random.random_bool(0.5).then(|| Kill::Power(random.random_range(0..20)));
            let down = Duration::from_millis(random.random_range(1..10_000));
            Fault::Kill(client, power.unwrap_or(Kill::Process), down)
        }
        9 => Fault::HoldDisk(publisher, time(5_000)),
        10 => Fault::Lazy(reader, time(10_000)),
        11 => Fault::WallClock(client, random.random_range(-100_000_000..100_000_000)),
        _ => {
            let latency = Duration::from_millis(random.random_range(1..400));
            Fault::Slow(latency, random.random_range(200..5_000), Duration::from_millis(random.random_range(1..5_000)))
        }
    }
}
