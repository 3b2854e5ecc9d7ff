//! Carries out a scenario: starts the processes, breaks them on schedule, heals
//! what is broken, waits until everything has arrived, and judges.
//!
//! One thread polls everything, every [`TICK`]. Nothing is waited for without a
//! limit.

mod cut_off;
mod evidence;
mod faults;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::consumer::{Consumer, QUEUE, QUEUED, Task};
use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::network::Network;
use crate::ports;
use crate::progress::Progress;
use crate::publisher::Publisher;
use crate::report::{Facts, Problem};
use crate::schedule::Timed;
use crate::server::Server;
use crate::setup::Setup;
use crate::story::{Sample, Story};
use crate::subscriber::Subscriber;
use crate::verdict::{self, Kind, Verdict};
use cut_off::{CUT_OFF, CutOff};
use evidence::Logs;

/// What everybody publishes to, but for the publisher of the queue.
const TOPIC: &str = "weather.hourly";
/// So many times slower is that one.
pub(crate) const SLOWER: u32 = 10;
/// How often processes and files are looked at.
const TICK: Duration = Duration::from_millis(20);
/// The wait for all servers to listen, and for the first delivery.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How often the evidence is judged while something is still missing.
const JUDGE_EVERY: Duration = Duration::from_millis(300);
/// Nothing more arrives for this long: a duplicate would have come by then.
const QUIET: Duration = Duration::from_millis(700);
/// More than that, and the run is given up.
const MOST_PROBLEMS: usize = 20;
/// The wait for subscribers to end when asked.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// What is to happen.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// `demo` or `chaos`.
    pub(crate) name: &'static str,
    /// The command line that does it again.
    pub(crate) again: String,
    pub(crate) seed: u64,
    pub(crate) input: Input,
    pub(crate) servers: usize,
    pub(crate) subscribers: usize,
    /// Views of the newest records.
    pub(crate) views: usize,
    /// Workers on a queue; what the last publisher publishes is in it.
    pub(crate) workers: usize,
    /// Messages a second of each publisher.
    pub(crate) rate: u32,
    /// Whether clients begin with different servers.
    pub(crate) spread: bool,
    /// Whether everybody reaches the servers over links that can be broken, and has
    /// a disk that can become slow.
    pub(crate) network: bool,
    /// Where to write a page that shows the run, if anywhere.
    pub(crate) page: Option<PathBuf>,
    /// The planted bug that is at work in the processes, or nothing, in a hunt for
    /// them: such a run may well fail, and says nothing.
    pub(crate) planted: Option<&'static str>,
    /// In time order, counted from the first delivery.
    pub(crate) faults: Vec<Timed>,
    /// Publishers take in no more lines after this time; without it they go on to
    /// the end of their input.
    pub(crate) stop_after: Option<Duration>,
    /// How long the rest may take once everything runs again.
    pub(crate) settle: Duration,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) facts: Facts,
}

impl Outcome {
    /// Whether every promise was kept.
    pub(crate) fn is_good(&self) -> bool {
        self.verdict.violations.is_empty() && self.facts.problems.is_empty()
    }
}

/// Runs the scenario. The files of a run that fails are kept and named, unless it
/// was to fail.
///
/// # Errors
/// When the run cannot be carried out.
pub(crate) fn run(scenario: &Scenario, amps: PathBuf) -> Result<Outcome, Failure> {
    let interrupt = Interrupt::listen()?;
    let dir = tempfile::Builder::new()
        .prefix(&format!("amps-{}-", scenario.name))
        .tempdir()
        .map_err(|error| Failure::new(format!("cannot make a temporary directory: {error}")))?;
    let outcome = Run::new(scenario, interrupt, amps, dir.path()).and_then(Run::carry_out);
    if scenario.planted.is_none() && !outcome.as_ref().is_ok_and(Outcome::is_good) {
        eprintln!("{} with seed {} failed; its files are in {}", scenario.name, scenario.seed, dir.keep().display());
        eprintln!("again: {}", scenario.again);
    }
    outcome
}

struct Run<'a> {
    scenario: &'a Scenario,
    interrupt: Interrupt,
    setup: Setup,
    network: Option<Network>,
    servers: Vec<Server>,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    consumers: Vec<Consumer>,
    /// The server that the others do not wait for, if there is one.
    cut_off: Option<CutOff>,
    /// What the servers have logged by now.
    logs: Logs,
    story: Story,
    /// Each server has listened, so that each has a journal.
    begun: bool,
    /// The first message was delivered: what fails now is a finding.
    flows: bool,
    progress: Progress,
    faults: BTreeMap<&'static str, usize>,
    kills: usize,
    /// When servers were killed or paused, in milliseconds of the Unix clock.
    fault_times_ms: Vec<u64>,
    /// What did not go as it should, and when; each makes the run a failure.
    problems: Vec<Problem>,
    /// How long it took until nothing was missing, once nothing was broken any more.
    settled: Option<Duration>,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, interrupt: Interrupt, amps: PathBuf, dir: &Path) -> Result<Self, Failure> {
        let ports = ports::free(scenario.servers)?;
        let publishers = scenario.input.publishers();
        let consumers = publishers + scenario.subscribers;
        let clients = consumers + scenario.views + scenario.workers;
        let network = scenario.network.then(|| Network::start(&ports, clients)).transpose()?;
        let setup = Setup {
            amps,
            dir: dir.to_owned(),
            ports,
            client_ports: network.as_ref().map(Network::client_ports).unwrap_or_default(),
            peer_ports: network.as_ref().map(Network::peer_ports).unwrap_or_default(),
            topic: TOPIC,
            queued: (scenario.workers > 0).then_some(QUEUED),
            rate: scenario.rate,
            heartbeat: 1,
            spread: scenario.spread,
            slow_disks: scenario.network,
            planted: scenario.planted,
        };
        let server = |index| {
            let server = Server::new(index);
            let server = if scenario.views > 0 { server.sow(format!("{TOPIC}:/key")) } else { server };
            if scenario.workers > 0 { server.queue(format!("{QUEUE}={QUEUED}")) } else { server }
        };
        let servers: Vec<_> = (0..scenario.servers).map(server).collect();
        let publisher = |index| match Publisher::new(index) {
            last if scenario.workers > 0 && index + 1 == publishers => last.to(QUEUED, SLOWER),
            other => other,
        };
        let view = |index| (Task::View { warm: index % 2 == 1 }, index);
        let tasks = (0..scenario.views).map(view).chain((0..scenario.workers).map(|index| (Task::Work, index)));
        // What is taken in for a time has no goal.
        let goal = scenario.stop_after.is_none().then(|| scenario.input.total() * scenario.subscribers);
        Ok(Self {
            scenario,
            interrupt,
            logs: Logs::new(&servers, &setup, publishers),
            setup,
            network,
            servers,
            publishers: (0..publishers).map(publisher).collect(),
            subscribers: (0..scenario.subscribers).map(|index| Subscriber::new(index, publishers + index)).collect(),
            consumers: (consumers..)
                .zip(tasks)
                .map(|(client, (task, index))| Consumer::new(task, index, client))
                .collect(),
            cut_off: None,
            story: Story::new(),
            begun: false,
            flows: false,
            progress: if scenario.planted.is_some() { Progress::silent() } else { Progress::new(goal) },
            faults: BTreeMap::new(),
            kills: 0,
            fault_times_ms: Vec::new(),
            problems: Vec::new(),
            settled: None,
        })
    }

    fn carry_out(mut self) -> Result<Outcome, Failure> {
        self.start()?;
        self.break_things()?;
        self.heal()?;
        self.settle()?;
        self.stop_subscribers()?;
        self.judge()
    }

    fn start(&mut self) -> Result<(), Failure> {
        for server in &mut self.servers {
            server.start(&self.setup)?;
        }
        if !self.wait(START_LIMIT, |run| Ok(run.servers.iter().all(Server::listens)))? {
            return Err(Failure::new("the servers do not listen in time"));
        }
        self.begun = true;
        for subscriber in &mut self.subscribers {
            subscriber.start(&self.setup)?;
        }
        for consumer in &mut self.consumers {
            consumer.start(&self.setup)?;
        }
        for publisher in &mut self.publishers {
            publisher.publish(&self.setup, &self.scenario.input, 0)?;
        }
        if !self.wait(START_LIMIT, |run| Ok(run.delivered() > 0))? {
            return Err(Failure::new("no message was delivered in time"));
        }
        self.flows = true;
        self.progress.say("messages flow");
        Ok(())
    }

    fn break_things(&mut self) -> Result<(), Failure> {
        let clock = Instant::now();
        for timed in &self.scenario.faults {
            if self.wait(timed.at.saturating_sub(clock.elapsed()), |run| Ok(run.has_problems()))? {
                return Ok(());
            }
            self.apply(timed.fault)?;
        }
        if let Some(end) = self.scenario.stop_after {
            self.wait(end.saturating_sub(clock.elapsed()), |run| Ok(run.has_problems()))?;
        }
        Ok(())
    }

    /// Ends every fault, and the intake of new lines if there is a time for that.
    fn heal(&mut self) -> Result<(), Failure> {
        if let Some(network) = &self.network {
            network.mend_all();
        }
        self.take_back();
        for server in 0..self.servers.len() {
            self.servers[server].resume();
            self.restart_server(server)?;
        }
        for publisher in &mut self.publishers {
            publisher.pause(false);
            publisher.free_disk(&self.setup)?;
            if self.scenario.stop_after.is_some() {
                publisher.stop();
            }
        }
        for subscriber in &mut self.subscribers {
            subscriber.pause(false);
            subscriber.start(&self.setup)?;
        }
        for consumer in &mut self.consumers {
            consumer.pause(false);
            consumer.start(&self.setup)?;
        }
        self.quicken_disks();
        // Whoever is cut off is so until it is level.
        self.story.end_all(CUT_OFF);
        self.progress.say("no more faults");
        Ok(())
    }

    /// Waits until nothing is missing anywhere, and then until nothing moves. A
    /// process that ends now by itself is not started again: the rest is not waited
    /// for.
    fn settle(&mut self) -> Result<(), Failure> {
        let mut limit = self.scenario.settle;
        if self.scenario.stop_after.is_none() {
            limit += self.intake();
        }
        let (problems, mut judged): (_, Option<Instant>) = (self.problems.len(), None);
        let began = Instant::now();
        let settled = self.wait(limit, |run| {
            if run.problems.len() > problems {
                return Ok(true);
            }
            if !run.publishers.iter().all(Publisher::is_done) || judged.is_some_and(|last| last.elapsed() < JUDGE_EVERY)
            {
                return Ok(false);
            }
            judged = Some(Instant::now());
            // The whole judgement is dear: first what is cheap.
            run.read_logs()?;
            let required = run.required();
            let published: usize = required.iter().sum();
            let all = run.subscribers.iter().all(|subscriber| subscriber.distinct() >= published);
            Ok(all
                && run.cut_off.is_none()
                && run.consumers_lack(&required).is_empty()
                && run.servers.iter().all(Server::listens)
                && verdict::judge(&run.evidence()?).count(Kind::Lost) == 0)
        })?;
        match settled {
            true if self.problems.len() == problems => self.settled = Some(began.elapsed()),
            true => {}
            false => self.problem(format!("{} s after the last fault: {}", limit.as_secs(), self.unsettled())),
        }
        let mut still = (self.delivered(), Instant::now());
        self.wait(STOP_LIMIT, |run| {
            if still.0 != run.delivered() {
                still = (run.delivered(), Instant::now());
            }
            Ok(still.1.elapsed() >= QUIET)
        })?;
        Ok(())
    }

    /// What is still missing.
    fn unsettled(&self) -> String {
        let mut late: Vec<String> = Vec::new();
        let publishers = self.publishers.iter().filter(|publisher| !publisher.is_done());
        late.extend(publishers.map(|publisher| format!("{} has not delivered all", publisher.name())));
        let servers = (0..self.servers.len()).filter(|&server| !self.servers[server].listens());
        late.extend(servers.map(|server| format!("{} does not listen", self.server(server))));
        if let Some(cut_off) = &self.cut_off {
            late.push(format!("{} is not level with the others", self.server(cut_off.server())));
        }
        let required = self.required();
        let published: usize = required.iter().sum();
        let subscribers = self.subscribers.iter().filter(|subscriber| subscriber.distinct() < published);
        late.extend(subscribers.map(|s| format!("{} lacks {}", s.name(), published - s.distinct())));
        match self.consumers_lack(&required).len() {
            0 => {}
            wrong => late.push(format!("{wrong} records or messages of the queue are not as they should be")),
        }
        if late.is_empty() {
            late.push("some server lacks messages".to_owned());
        }
        late.join(", ")
    }

    fn stop_subscribers(&mut self) -> Result<(), Failure> {
        for subscriber in &self.subscribers {
            subscriber.stop();
        }
        let input = &self.scenario.input;
        let end = Instant::now() + STOP_LIMIT;
        loop {
            self.interrupt.check()?;
            let ended: Vec<_> = self.subscribers.iter_mut().map(|subscriber| subscriber.ended(input)).collect();
            let mut all = true;
            for ended in ended {
                match ended {
                    Ok(ended) => all &= ended,
                    Err(failure) => self.problem(failure.to_string()),
                }
            }
            if all {
                return Ok(());
            }
            if Instant::now() >= end {
                self.problem(format!("a subscriber did not end within {} s of SIGTERM", STOP_LIMIT.as_secs()));
                return Ok(());
            }
            thread::sleep(TICK);
        }
    }

    /// Calls `done` every tick, after everything was polled, until it says yes
    /// (then so does this) or `limit` is over.
    fn wait(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&mut Self) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let end = Instant::now() + limit;
        loop {
            self.interrupt.check()?;
            self.poll()?;
            if done(self)? {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            thread::sleep(TICK);
        }
    }

    fn poll(&mut self) -> Result<(), Failure> {
        let input = &self.scenario.input;
        let mut failed: Vec<Failure> = self.servers.iter_mut().filter_map(|server| server.poll().err()).collect();
        failed.extend(self.subscribers.iter_mut().filter_map(|subscriber| subscriber.poll(input).err()));
        failed.extend(self.consumers.iter_mut().filter_map(|consumer| consumer.poll(input).err()));
        failed.extend(self.publishers.iter_mut().filter_map(|publisher| publisher.poll(&self.setup).err()));
        for failure in failed {
            // Before anything was broken, and when nothing works any more.
            if !self.flows || self.problems.len() >= MOST_PROBLEMS {
                return Err(failure);
            }
            self.problem(failure.to_string());
        }
        self.poll_cut_off()?;
        for index in 0..self.publishers.len() {
            if self.publishers[index].is_drained() {
                self.go_on(index)?;
            }
        }
        if self.begun && self.story.is_due() {
            self.sample()?;
        }
        self.progress.delivered(self.subscribers.iter().map(Subscriber::distinct).sum());
        Ok(())
    }

    /// Notes how far everybody is.
    fn sample(&mut self) -> Result<(), Failure> {
        self.read_logs()?;
        let published = self.promised();
        let promised: usize = published.iter().sum();
        let consumed = self.consumers.iter().map(|consumer| consumer.updates() + consumer.given());
        self.story.sample(Sample {
            at: self.story.now(),
            published,
            delivered: self.subscribers.iter().map(Subscriber::distinct).chain(consumed).collect(),
            unacknowledged: promised.saturating_sub(self.logs.fewest()),
        });
        Ok(())
    }

    /// A publisher whose store is empty goes on behind its last line.
    fn go_on(&mut self, index: usize) -> Result<(), Failure> {
        self.read_logs()?;
        let next = self.required()[index];
        let publisher = &mut self.publishers[index];
        publisher.publish(&self.setup, &self.scenario.input, next)?;
        let name = publisher.name();
        if !publisher.is_done() {
            self.progress.say(&format!("{name} goes on at line {}", next + 1));
        }
        Ok(())
    }

    fn problem(&mut self, what: String) {
        self.progress.say(&what);
        self.problems.push(Problem { at: self.story.now(), what });
    }

    fn has_problems(&self) -> bool {
        !self.problems.is_empty()
    }

    /// All deliveries, repeated ones too.
    fn delivered(&self) -> usize {
        self.subscribers.iter().map(Subscriber::deliveries).sum()
    }

    /// How long taking in the whole input needs at the given rate.
    fn intake(&self) -> Duration {
        let longest = (0..self.scenario.input.publishers()).map(|p| self.scenario.input.lines(p).len()).max();
        Duration::from_secs_f64(longest.unwrap_or(0) as f64 / f64::from(self.scenario.rate.max(1)))
    }
}
