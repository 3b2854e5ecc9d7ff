//! Runs a plan.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::check::{self, Logs, Violation};
use super::moves::Moves;
use super::part::{Part, Turn};
use super::plan::{CALM, Event, Plan, World};
use super::publisher::Publisher;
use super::setup;
use super::trouble::Trouble;
use super::worker::WORK;
use crate::Pair;

/// How often everybody has a turn.
const TURN: Duration = Duration::from_millis(50);
/// Within this time after the last fault everything settles: a few waits
/// before a reconnect (at most 20 s each), and the heartbeat (10 s).
pub(super) const SETTLES: Duration = Duration::from_secs(180);

/// So many turns it stays settled.
const CALM_TURNS: u32 = 20;

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Faults that happened, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Messages accepted.
    pub published: u64,
    /// Messages the servers have acknowledged.
    pub acknowledged: u64,
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

/// Everything there is while a plan runs.
pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    pub(super) pair: Pair,
    /// Apart from the network's, so that one fault less changes little else.
    random: StdRng,
    pub(super) publishers: Vec<Publisher>,
    pub(super) parts: Vec<Box<dyn Part>>,
    pub(super) trouble: Trouble,
    pub(super) moves: Moves,
    pub(super) violations: Vec<Violation>,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut random = StdRng::seed_from_u64(plan.seed ^ 0x5eed);
        let mut pair = setup::pair(plan, &mut random);
        let World { publishers, mix, .. } = &plan.world;
        let publishers = publishers.iter().enumerate().map(|(client, store)| Publisher::new(client, *store, *mix));
        let mut parts = setup::parts(plan);
        parts.iter_mut().for_each(|part| part.start(&mut pair));
        Self {
            plan,
            pair,
            random,
            publishers: publishers.collect(),
            parts,
            trouble: Trouble::default(),
            moves: Moves::default(),
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
                    *figures.faults.entry(fault.kind()).or_default() += 1;
                    timeline.push((now, fault.to_string()));
                }
            }
            self.publish(now);
            self.turn(16, false);
            self.pair.run_for(TURN);
        }
        self.heal();
        let healed = self.pair.elapsed();
        timeline.push((healed, "everything is healed".to_owned()));
        // For a while, since whatever should not come must have time to come.
        let (mut calm, mut seen) = (0, None);
        while self.violations.is_empty() && calm < CALM_TURNS {
            if self.pair.elapsed() > healed + SETTLES {
                let depths = (0..self.pair.servers()).map(|server| self.pair.server(server).queue(WORK));
                let depths: Vec<_> = depths.collect();
                let what = format!("not within {SETTLES:?}: queues {depths:?}, {}", self.pair.describe());
                // What exactly is missing comes first.
                self.check();
                self.violations.push(Violation::new("everything settles", what));
            }
            self.pair.run_for(TURN);
            self.turn(1000, true);
            calm = if self.is_settled(&mut seen) { calm + 1 } else { 0 };
        }
        if self.violations.is_empty() {
            figures.settling = (self.pair.elapsed() - healed).saturating_sub(TURN * CALM_TURNS);
            self.check();
        }
        for client in 0..self.plan.world.clients() {
            self.check_events(client);
            timeline.extend(self.pair.told(client).map(|(at, event)| (at, format!("c{client} {event}"))));
        }
        figures.time = self.pair.elapsed();
        figures.published = self.publishers.iter().map(|publisher| publisher.accepted() as u64).sum();
        figures.acknowledged = self.publishers.iter().map(Publisher::acknowledged).sum();
        figures.delivered = self.parts.iter().map(|part| part.given()).sum();
        self.violations
    }

    /// Everybody publishes evenly over the traffic's time, and once at first.
    fn publish(&mut self, now: Duration) {
        let World { messages, traffic, .. } = &self.plan.world;
        let share = now.saturating_sub(CALM).as_secs_f64() / traffic.as_secs_f64();
        let due = 1 + (share * *messages as f64) as usize;
        for publisher in &mut self.publishers {
            while self.trouble.runs(publisher.client) && publisher.accepted() < due {
                let before = publisher.accepted();
                publisher.publish(&mut self.pair, &mut self.random);
                if publisher.accepted() == before {
                    break;
                }
            }
        }
    }

    /// Everybody does something; readers take so many items at most.
    fn turn(&mut self, most: usize, healed: bool) {
        for publisher in self.publishers.iter_mut().filter(|publisher| self.trouble.runs(publisher.client)) {
            publisher.listen(&self.pair);
            self.violations.extend(publisher.over(self.plan.world.bound));
        }
        let Self { pair, random, publishers, violations, .. } = self;
        let (faultless, emptied) = (self.plan.faults.is_empty(), !self.trouble.gone.is_empty());
        let mut turn = Turn { pair, random, publishers, most, healed, faultless, emptied, violations: Vec::new() };
        for part in self.parts.iter_mut().filter(|part| self.trouble.reads(part.client())) {
            part.turn(&mut turn);
        }
        violations.append(&mut turn.violations);
        for client in 0..self.plan.world.clients() {
            self.violations.extend(check::paced(&format!("c{client}"), self.pair.attempts(client)));
        }
        self.violations.extend(self.moves.listen(&self.pair));
        self.stop_full();
        self.resync();
    }

    fn logs(&mut self) -> Logs {
        Logs::read(&mut self.pair, self.plan.world.servers, &self.publishers, &self.trouble.gone)
    }

    /// `seen`: the logs as they were read last, and how long they were. Reading
    /// them costs most.
    fn is_settled(&mut self, seen: &mut Option<(Vec<usize>, Logs)>) -> bool {
        let live = (0..self.plan.world.clients()).all(|client| self.pair.is_live(client));
        let settled = self.publishers.iter().all(|publisher| self.pair.settled(publisher.client));
        if !live || !settled || self.trouble.resyncs() || self.moves.are_open() {
            return false;
        }
        let long: Vec<_> = (0..self.pair.servers()).map(|server| self.pair.server(server).stats().logged).collect();
        let same = seen.take_if(|(before, _)| *before == long);
        let (_, logs) = seen.insert(same.unwrap_or_else(|| (long, self.logs())));
        logs.level && self.parts.iter_mut().all(|part| part.is_settled(&mut self.pair, logs))
    }

    fn check(&mut self) {
        let logs = self.logs();
        self.violations.extend(logs.check(&self.publishers));
        for server in 0..self.plan.world.servers {
            self.violations.extend(check::server(&mut self.pair, server));
        }
        self.violations.extend(self.moves.check());
        for part in &self.parts {
            self.violations.extend(part.check(&logs));
        }
    }

    /// What a client told, life by life.
    fn check_events(&mut self, client: usize) {
        let told: Vec<_> = self.pair.events(client).iter().map(|(_, event)| event.clone()).collect();
        let name = format!("c{client}");
        let mut begun = 0;
        for end in self.trouble.deaths(client).chain([told.len()]) {
            self.violations.extend(check::events(&name, &told[begun..end], self.plan.world.mix.refused));
            begun = end;
        }
        if self.plan.faults.is_empty() && self.violations.is_empty() {
            self.violations.extend(check::calm(&name, &told));
        }
    }
}
