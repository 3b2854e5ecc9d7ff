//! Runs a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use amps_testserver::{Config, Link};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::check::{self, Logs, Violation};
use super::plan::{CALM, Event, Fault, Plan, World};
use super::publisher::{Publisher, RECORDS};
use super::subscriber::Subscriber;
use super::viewer::Viewer;
use crate::pair::Door;
use crate::{ClientSetup, Kill, Pair};

/// How often everybody has a turn.
const TURN: Duration = Duration::from_millis(50);
/// Within this time after the last fault everything settles: a few waits
/// before a reconnect (at most 20 s each), and the heartbeat (10 s).
const SETTLES: Duration = Duration::from_secs(180);

/// So many turns it stays settled.
const CALM_TURNS: u32 = 20;

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Faults that happened, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Messages accepted.
    pub published: u64,
    /// Messages given to subscribers, over all lives.
    pub delivered: u64,
    /// Virtual time.
    pub time: Duration,
    /// From the last fault's end until everything had settled.
    pub settling: Duration,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What it did.
    pub figures: Figures,
    /// What was broken, if anything was.
    pub violations: Vec<Violation>,
    /// What happened when: faults, and what clients told.
    pub timeline: Vec<(Duration, String)>,
}

/// Runs a plan until everything has settled or something is broken.
pub fn run(plan: &Plan) -> Outcome {
    let mut figures = Figures::default();
    let mut timeline = Vec::new();
    let caught = catch_unwind(AssertUnwindSafe(|| Run::new(plan).run(&mut figures, &mut timeline)));
    let violations = caught.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        vec![Violation::new("no panic", text.unwrap_or_default())]
    });
    timeline.sort_by_key(|(at, _)| *at);
    Outcome { figures, violations, timeline }
}

struct Run<'a> {
    plan: &'a Plan,
    pair: Pair,
    /// Apart from the network's, so that one fault less changes little else.
    random: StdRng,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    viewers: Vec<Viewer>,
    /// What ends when.
    ends: Vec<(Duration, Fault)>,
    /// Who reads nothing.
    lazy: BTreeSet<usize>,
    dead: BTreeSet<usize>,
    down: BTreeSet<usize>,
    violations: Vec<Violation>,
}

fn configs(world: &World) -> Vec<Config> {
    let name = |server: usize| format!("s{server}");
    let peers = |own: usize| (0..world.servers).filter(move |peer| *peer != own);
    let config = |own| Config::new(name(own)).ack_conflation(Duration::from_millis(20)).sow(RECORDS, "/id");
    (0..world.servers)
        .map(|own| peers(own).fold(config(own), |config, peer| config.peer(name(peer), Link::Sync)))
        .collect()
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan) -> Self {
        let world = &plan.world;
        let mut pair = Pair::with_configs(plan.seed, configs(world));
        pair.latency(world.latency);
        pair.room(world.room);
        let mut random = StdRng::seed_from_u64(plan.seed ^ 0x5eed);
        let servers: Vec<usize> = (0..world.servers).collect();
        for client in 0..world.clients() {
            let mut servers = servers.clone();
            servers.rotate_left(random.random_range(0..world.servers));
            let name = match client.checked_sub(world.publishers.len()) {
                None => format!("publisher{client}"),
                Some(_) => format!("reader{client}"),
            };
            let mut setup = ClientSetup::new(&name, servers).resident(world.resident);
            // A subscription may be entered while every server is down.
            setup.core.command_timeout = SETTLES;
            pair.client(match world.store(client) {
                Some(store) => setup.store(store),
                None => setup,
            });
        }
        let publishers = world.publishers.iter().enumerate().map(|(client, store)| Publisher::new(client, *store));
        let first = world.publishers.len();
        let subscribers =
            (first..first + world.subscribers).map(|client| Subscriber::new(&mut pair, client, world.queue));
        let subscribers = subscribers.collect();
        let viewers =
            (first + world.subscribers..world.clients()).map(|client| Viewer::new(&mut pair, client)).collect();
        Self {
            plan,
            pair,
            random,
            publishers: publishers.collect(),
            subscribers,
            viewers,
            ends: Vec::new(),
            lazy: BTreeSet::new(),
            dead: BTreeSet::new(),
            down: BTreeSet::new(),
            violations: Vec::new(),
        }
    }

    fn run(mut self, figures: &mut Figures, timeline: &mut Vec<(Duration, String)>) -> Vec<Violation> {
        let traffic_ends = CALM + self.plan.world.traffic;
        let mut faults = self.plan.faults.iter().peekable();
        while self.violations.is_empty() && self.pair.elapsed() < traffic_ends {
            let now = self.pair.elapsed();
            self.end_faults(now);
            while let Some(Event { fault, .. }) = faults.next_if(|event| event.at <= now) {
                if self.begin(fault) {
                    *figures.faults.entry(kind(fault)).or_default() += 1;
                    timeline.push((now, fault.to_string()));
                }
            }
            self.publish(now);
            self.turn(16);
            self.pair.run_for(TURN);
        }
        self.heal();
        let healed = self.pair.elapsed();
        timeline.push((healed, "everything is healed".to_owned()));
        // For a while, since whatever should not come must have time to come.
        let mut calm = 0;
        while self.violations.is_empty() && calm < CALM_TURNS {
            if self.pair.elapsed() > healed + SETTLES {
                let what = format!("not within {SETTLES:?}: {}", self.pair.describe());
                self.violations.push(Violation::new("everything settles", what));
            }
            self.pair.run_for(TURN);
            self.turn(1000);
            calm = if self.is_settled() { calm + 1 } else { 0 };
        }
        if self.violations.is_empty() {
            figures.settling = (self.pair.elapsed() - healed).saturating_sub(TURN * CALM_TURNS);
            self.check();
        }
        for client in 0..self.plan.world.clients() {
            let told: Vec<_> = self.pair.events(client).iter().map(|(_, event)| event.clone()).collect();
            if self.pair.lives(client) == 1 {
                self.violations.extend(check::events(&format!("c{client}"), &told));
            }
            timeline.extend(self.pair.told(client).map(|(at, event)| (at, format!("c{client} {event}"))));
        }
        figures.time = self.pair.elapsed();
        figures.published = self.publishers.iter().map(|publisher| publisher.accepted() as u64).sum();
        figures.delivered = self.subscribers.iter().map(|subscriber| subscriber.given).sum();
        self.violations
    }

    /// Everybody publishes evenly over the traffic's time, and once at first.
    fn publish(&mut self, now: Duration) {
        let World { messages, traffic, .. } = &self.plan.world;
        let share = now.saturating_sub(CALM).as_secs_f64() / traffic.as_secs_f64();
        let due = 1 + (share * *messages as f64) as usize;
        for publisher in &mut self.publishers {
            while !self.dead.contains(&publisher.client) && publisher.accepted() < due {
                let before = publisher.accepted();
                publisher.publish(&mut self.pair, &mut self.random);
                if publisher.accepted() == before {
                    break;
                }
            }
        }
    }

    fn turn(&mut self, most: usize) {
        for publisher in self.publishers.iter_mut().filter(|publisher| !self.dead.contains(&publisher.client)) {
            publisher.listen(&self.pair);
        }
        for subscriber in self.subscribers.iter_mut().filter(|subscriber| !self.lazy.contains(&subscriber.client)) {
            self.violations.extend(subscriber.turn(&mut self.random, most));
            self.violations.extend(subscriber.bounded());
        }
        for viewer in self.viewers.iter_mut().filter(|viewer| !self.lazy.contains(&viewer.client)) {
            self.violations.extend(viewer.turn(most));
        }
    }

    /// Does what a fault says, unless what it is about is gone already.
    fn begin(&mut self, fault: &Fault) -> bool {
        let now = self.pair.elapsed();
        let mut until = |time: &Duration| self.ends.push((now + *time, fault.clone()));
        match fault {
            Fault::Cut(client) if !self.dead.contains(client) => return self.pair.cut(*client),
            Fault::BlackHole(client) if !self.dead.contains(client) => return self.pair.black_hole(*client),
            Fault::CutAfter(server, to_client, to_server) => self.pair.cut_next(*server, *to_client, *to_server),
            Fault::Crash(server, time) if self.down.insert(*server) => {
                until(time);
                self.pair.crash_server(*server);
            }
            Fault::Door(server, door, time) => {
                until(time);
                self.pair.door(*server, *door);
            }
            Fault::Partition(a, b, time) => {
                until(time);
                self.pair.partition(*a, *b, true);
            }
            Fault::Kill(client, how, time) if self.dead.insert(*client) => {
                until(time);
                self.kill(*client, *how);
            }
            Fault::HoldDisk(client, time) => {
                until(time);
                self.pair.hold_store(*client, true);
            }
            Fault::Lazy(client, time) => {
                until(time);
                self.lazy.insert(*client);
            }
            Fault::Slow(latency, room, time) => {
                until(time);
                self.pair.latency(*latency);
                self.pair.room(*room);
            }
            Fault::WallClock(client, seconds) => {
                let nanos = self.pair.setup(*client).unix_nanos;
                self.pair.setup(*client).unix_nanos = nanos.saturating_add_signed(seconds * 1_000_000_000);
            }
            _ => return false,
        }
        true
    }

    fn kill(&mut self, client: usize, how: Kill) {
        for publisher in self.publishers.iter_mut().filter(|publisher| publisher.client == client) {
            publisher.dies(&self.pair, how);
        }
        for subscriber in self.subscribers.iter_mut().filter(|subscriber| subscriber.client == client) {
            subscriber.dies(how);
        }
        self.viewers.iter_mut().filter(|viewer| viewer.client == client).for_each(Viewer::dies);
        self.pair.kill(client, how);
    }

    fn end_faults(&mut self, now: Duration) {
        let (over, rest) = std::mem::take(&mut self.ends).into_iter().partition(|(at, _)| *at <= now);
        self.ends = rest;
        let over: Vec<(Duration, Fault)> = over;
        for (_, fault) in over {
            self.end(&fault);
        }
    }

    fn end(&mut self, fault: &Fault) {
        let World { latency, room, .. } = &self.plan.world;
        match fault {
            Fault::Crash(server, _) => {
                self.down.remove(server);
                self.pair.start_server(*server);
            }
            Fault::Door(server, ..) => self.pair.door(*server, Door::Open),
            Fault::Partition(a, b, _) => self.pair.partition(*a, *b, false),
            Fault::Kill(client, ..) => {
                self.dead.remove(client);
                self.pair.start_client(*client);
                let subscriber = self.subscribers.iter_mut().find(|subscriber| subscriber.client == *client);
                subscriber.into_iter().for_each(|subscriber| subscriber.start(&mut self.pair));
                let viewer = self.viewers.iter_mut().find(|viewer| viewer.client == *client);
                viewer.into_iter().for_each(|viewer| viewer.start(&mut self.pair));
            }
            Fault::HoldDisk(client, _) => self.pair.hold_store(*client, false),
            Fault::Lazy(client, _) => drop(self.lazy.remove(client)),
            Fault::Slow(..) => {
                self.pair.latency(*latency);
                self.pair.room(*room);
            }
            _ => {}
        }
    }

    fn heal(&mut self) {
        for (_, fault) in std::mem::take(&mut self.ends) {
            self.end(&fault);
        }
        for server in 0..self.plan.world.servers {
            self.pair.cut_next(server, None, None);
        }
    }

    fn is_settled(&mut self) -> bool {
        let live = (0..self.plan.world.clients()).all(|client| self.pair.is_live(client));
        let settled = self.publishers.iter().all(|publisher| self.pair.settled(publisher.client));
        if !live || !settled {
            return false;
        }
        let logs = Logs::read(&mut self.pair, self.plan.world.servers, &self.publishers);
        logs.level
            && self.subscribers.iter().all(|subscriber| subscriber.has(&logs.common))
            && self.viewers.iter().all(|viewer| viewer.is_level(&logs))
    }

    fn check(&mut self) {
        let servers = self.plan.world.servers;
        let logs = Logs::read(&mut self.pair, servers, &self.publishers);
        self.violations.extend(logs.check(&self.publishers));
        self.violations.extend(check::frames(&mut self.pair, servers));
        for subscriber in &self.subscribers {
            self.violations.extend(subscriber.check(&logs));
        }
        for viewer in &self.viewers {
            self.violations.extend(viewer.check(&logs));
        }
    }
}

fn kind(fault: &Fault) -> &'static str {
    match fault {
        Fault::Cut(_) => "cut",
        Fault::CutAfter(..) => "cut at a byte",
        Fault::BlackHole(_) => "black hole",
        Fault::Crash(..) => "server crash",
        Fault::Door(..) => "closed door",
        Fault::Partition(..) => "partition",
        Fault::Kill(_, Kill::Process, _) => "client kill",
        Fault::Kill(..) => "client power loss",
        Fault::HoldDisk(..) => "slow disk",
        Fault::Lazy(..) => "slow reader",
        Fault::Slow(..) => "slow network",
        Fault::WallClock(..) => "clock jump",
    }
}
