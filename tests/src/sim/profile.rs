//! Which faults a plan may have.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::fault::{DiskFault, Fault};
use super::first;
use super::plan::{CALM, Conflation, Event, Plan, World};
use super::publisher::Mix;
use crate::Kill;
use crate::pair::Door;

/// Which faults a plan may have, and who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// Every kind of fault.
    #[default]
    All,
    /// None.
    Calm,
    /// Connections, links and readers.
    Network,
    /// Processes, machines and clocks.
    Crash,
    /// Publishers' disks, and the crashes that show what is on them.
    Disk,
    /// The kinds there were at first, without queues, queries and deletions. Its
    /// seeds mean what they meant then.
    First,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::All, Self::Calm, Self::Network, Self::Crash, Self::Disk, Self::First];

    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Calm => "calm",
            Self::Network => "network",
            Self::Crash => "crash",
            Self::Disk => "disk",
            Self::First => "first",
        }
    }

    fn kinds(self) -> &'static [Kind] {
        use Kind::*;
        match self {
            Self::All => &[
                Cut,
                CutToClient,
                CutToServer,
                BlackHole,
                OneWay,
                Crash,
                Wipe,
                Full,
                Freeze,
                Move,
                Refuses,
                Silent,
                Slams,
                Partition,
                Mute,
                Refuse,
                Die,
                Pause,
                HoldDisk,
                DiskFails,
                Lazy,
                Slow,
                WallClock,
                ServerClock,
            ],
            Self::Network => &[
                Cut,
                CutToClient,
                CutToServer,
                BlackHole,
                OneWay,
                Move,
                Refuses,
                Silent,
                Slams,
                Partition,
                Mute,
                Refuse,
                Lazy,
                Slow,
            ],
            Self::Crash => &[Cut, Crash, Wipe, Full, Freeze, Move, Die, Pause, WallClock, ServerClock],
            Self::Disk => &[Cut, Crash, Full, Die, HoldDisk, DiskFails],
            Self::Calm | Self::First => &[],
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|profile| profile.name() == text);
        found.ok_or_else(|| format!("no such profile; there are {}", names()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cut,
    CutToClient,
    CutToServer,
    BlackHole,
    OneWay,
    Crash,
    Wipe,
    Full,
    Freeze,
    Move,
    Refuses,
    Silent,
    Slams,
    Partition,
    Mute,
    Refuse,
    Die,
    Pause,
    HoldDisk,
    DiskFails,
    Lazy,
    Slow,
    WallClock,
    ServerClock,
}

/// The plan of a seed in any profile but the first. Each kind of fault is on or
/// off as a whole, so that some plans have much of one kind and nothing of others.
pub(super) fn plan(profile: Profile, seed: u64) -> Plan {
    let mut random = StdRng::seed_from_u64(seed);
    let world = world(&mut random);
    let kinds: Vec<Kind> = profile.kinds().iter().copied().filter(|_| random.random_bool(0.4)).collect();
    let count = if kinds.is_empty() { 0 } else { random.random_range(1..=14) };
    let mut faults: Vec<_> = (0..count)
        .map(|_| {
            let at = CALM + world.traffic.mul_f64(random.random_range(0.0..1.0));
            let kind = kinds[random.random_range(0..kinds.len())];
            Event { at, fault: fault(&mut random, &world, kind) }
        })
        .collect();
    faults.sort_by_key(|event| event.at);
    Plan { seed, profile, world, faults }
}

fn world(random: &mut StdRng) -> World {
    let mut world = first::world(random);
    let mut some = |most: usize| if random.random_bool(0.4) { random.random_range(1..=most) } else { 0 };
    world.workers = some(3);
    (world.askers, world.choosers) = (some(1), some(1));
    world.guests = some(1) > 0;
    (world.pausers, world.rangers, world.delta_viewers) = (some(1), some(1), some(1));
    let (deletions, refused, deltas) = (some(1) > 0, some(1) > 0, world.delta_viewers > 0);
    world.mix = Mix { deletions, refused, work: world.workers > 0, deltas };
    world.conflation = match some(2) {
        0 => Conflation::None,
        1 => Conflation::Server(Duration::from_millis(random.random_range(1..2_000))),
        _ => Conflation::Client,
    };
    if random.random_bool(0.3) {
        world.jitter = Duration::from_millis(random.random_range(1..200));
    }
    match random.random_range(0..10) {
        0 => world.bound.0 = random.random_range(1_000..10_000),
        1 => world.bound.1 = random.random_range(1..30),
        _ => {}
    }
    world
}

fn fault(random: &mut StdRng, world: &World, kind: Kind) -> Fault {
    let client = random.random_range(0..world.clients());
    let publisher = random.random_range(0..world.publishers.len());
    let reader = random.random_range(world.publishers.len()..world.clients());
    let server = random.random_range(0..world.servers);
    let other = (server + random.random_range(1..world.servers.max(2))) % world.servers;
    let death = match random.random_bool(0.5) {
        true => Kill::Power(random.random_range(0..20)),
        false => Kill::Process,
    };
    let jump = random.random_range(-100_000_000..100_000_000);
    let bytes = Some(random.random_range(0..5_000));
    // Mostly short, sometimes an outage.
    let most = if random.random_bool(0.2) { 60_000 } else { 10_000 };
    let time = Duration::from_millis(random.random_range(1..most));
    match kind {
        Kind::Cut => Fault::Cut(client),
        Kind::CutToClient => Fault::CutAfter(server, bytes, None),
        Kind::CutToServer => Fault::CutAfter(server, None, bytes),
        Kind::BlackHole => Fault::BlackHole(client),
        Kind::OneWay => Fault::OneWay(client, random.random_bool(0.5)),
        Kind::Crash => Fault::Crash(server, time),
        Kind::Full => Fault::Full(server, random.random_range(0..30), random.random_range(0..4), time),
        Kind::Freeze => Fault::Freeze(server, time),
        Kind::Move => Fault::Move(client, server),
        // Without a peer nobody has what the disk had.
        Kind::Wipe if world.servers > 1 => Fault::Wipe(server, time),
        Kind::Refuses => Fault::Door(server, Door::Refuses, time),
        Kind::Silent => Fault::Door(server, Door::Silent, time),
        Kind::Slams => Fault::Door(server, Door::Slams, time),
        Kind::Partition if world.servers > 1 => Fault::Partition(server, other, time),
        Kind::Mute if world.servers > 1 => Fault::Mute(server, other),
        Kind::Refuse => Fault::Refuse(server, time),
        Kind::Wipe | Kind::Partition | Kind::Mute => Fault::Crash(server, time),
        // More often those who have something to lose.
        Kind::Die => match random.random_range(0..3) {
            0 => Fault::Kill(publisher, death, time),
            1 => Fault::Kill(world.publishers.len() + random.random_range(0..world.subscribers), death, time),
            _ => Fault::Kill(client, death, time),
        },
        Kind::Pause => Fault::Pause(client, time),
        Kind::HoldDisk => Fault::HoldDisk(publisher, time),
        Kind::DiskFails => {
            let operation = random.random_range(1..10);
            let fault = if random.random_bool(0.5) { DiskFault::Write(operation) } else { DiskFault::Sync(operation) };
            Fault::DiskFails(publisher, fault, death, time)
        }
        Kind::Lazy => Fault::Lazy(reader, time),
        Kind::Slow => {
            let latency = Duration::from_millis(random.random_range(1..400));
            Fault::Slow(latency, random.random_range(200..5_000), time.min(Duration::from_secs(5)))
        }
        Kind::WallClock => Fault::WallClock(publisher, jump),
        Kind::ServerClock => Fault::ServerClock(server, jump),
    }
}
