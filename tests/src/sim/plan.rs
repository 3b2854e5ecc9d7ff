//! What a seed stands for.

use std::fmt;
use std::time::Duration;

use amps_ha::publish_log::{Durability, MemoryPart};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::pair::Door;
use crate::{Kill, Store};

/// How long everything runs without faults at first, so that every subscription
/// has seen every publisher for longer than the resume overlap.
pub(super) const CALM: Duration = Duration::from_secs(12);

/// Everything about a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where it comes from; also the seed of the network and of the traffic.
    pub seed: u64,
    /// Who takes part.
    pub world: World,
    /// What goes wrong, in order of time.
    pub faults: Vec<Event>,
}

/// Who takes part, and how the network is.
#[derive(Debug, Clone)]
pub struct World {
    /// Servers, each linked to all others.
    pub servers: usize,
    /// Publishers, by their stores. They are the first clients.
    pub publishers: Vec<Store>,
    /// Subscribers with bookmarks and a bookmark store on a disk.
    pub subscribers: usize,
    /// Subscribers that keep the records of a SOW topic.
    pub viewers: usize,
    /// Messages of each publisher.
    pub messages: usize,
    /// For how long they publish.
    pub traffic: Duration,
    /// How long bytes travel, one way.
    pub latency: Duration,
    /// Bytes that fit between a writer and its reader.
    pub room: usize,
    /// Bytes a publisher with a disk keeps in memory.
    pub resident: usize,
    /// Messages that wait in a subscriber's queue at most.
    pub queue: usize,
}

impl World {
    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.publishers.len() + self.subscribers + self.viewers
    }

    /// The store of a client, if it publishes.
    pub fn store(&self, client: usize) -> Option<Store> {
        self.publishers.get(client).copied()
    }
}

/// One fault and its time, from the beginning.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

/// What can go wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// A client's connection breaks; bytes on their way are lost.
    Cut(usize),
    /// The next connection to a server breaks behind so many bytes to the client,
    /// or to the server.
    CutAfter(usize, Option<u64>, Option<u64>),
    /// A client's connection swallows everything and stays open.
    BlackHole(usize),
    /// A server's process dies, for so long.
    Crash(usize, Duration),
    /// A server refuses connections or leaves them unanswered, for so long.
    Door(usize, Door, Duration),
    /// Two servers do not reach each other, for so long.
    Partition(usize, usize, Duration),
    /// A client's process dies, or its machine; for so long.
    Kill(usize, Kill, Duration),
    /// A publisher's disk does nothing, for so long.
    HoldDisk(usize, Duration),
    /// A subscriber reads nothing, for so long.
    Lazy(usize, Duration),
    /// The network gets slow and narrow, for so long.
    Slow(Duration, usize, Duration),
    /// A client's wall clock is set back by so many seconds, or forth; its next
    /// life sees it.
    WallClock(usize, i64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(client) => write!(f, "c{client}: the connection breaks"),
            Self::CutAfter(server, Some(bytes), _) => {
                write!(f, "s{server}: the next connection breaks behind {bytes} bytes to the client")
            }
            Self::CutAfter(server, _, bytes) => {
                write!(f, "s{server}: the next connection breaks behind {} bytes to the server", bytes.unwrap_or(0))
            }
            Self::BlackHole(client) => write!(f, "c{client}: the connection swallows everything"),
            Self::Crash(server, down) => write!(f, "s{server}: dies for {down:?}"),
            Self::Door(server, Door::Silent, time) => write!(f, "s{server}: accepts nobody, silently, for {time:?}"),
            Self::Door(server, _, time) => write!(f, "s{server}: refuses connections for {time:?}"),
            Self::Partition(a, b, time) => write!(f, "s{a} and s{b}: do not reach each other for {time:?}"),
            Self::Kill(client, Kill::Process, down) => write!(f, "c{client}: killed for {down:?}"),
            Self::Kill(client, Kill::Power(extra), down) => {
                write!(f, "c{client}: loses power for {down:?}, {extra} unsynced writes survive")
            }
            Self::HoldDisk(client, time) => write!(f, "c{client}: the disk does nothing for {time:?}"),
            Self::Lazy(client, time) => write!(f, "c{client}: reads nothing for {time:?}"),
            Self::Slow(latency, room, time) => {
                write!(f, "network: {latency:?} one way and {room} bytes of room for {time:?}")
            }
            Self::WallClock(client, seconds) => write!(f, "c{client}: the wall clock jumps by {seconds} s"),
        }
    }
}

impl Plan {
    /// The plan of a seed. Each kind of fault is on or off as a whole, so that
    /// some plans have much of one kind and nothing of others.
    pub fn from_seed(seed: u64) -> Self {
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
        Self { seed, world, faults }
    }
}

fn world(random: &mut StdRng) -> World {
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
