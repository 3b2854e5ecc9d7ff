//! `cargo xtask chaos store`: one publisher on each kind of store, killed again
//! and again on one directory: while it opens, while it delivers what an earlier
//! life left, while it publishes.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use amps_testserver::journal::JournalReader;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use crate::input::Input;
use crate::interrupt::Interrupt;
use crate::ports;
use crate::progress::Progress;
use crate::publisher::Publisher;
use crate::server::Server;
use crate::setup::Setup;
use crate::verdict::{self, Evidence, Kind, ServerLog};
use crate::work::Work;
use crate::{Failure, binary, events, reliability, server_log};

/// How often the process is looked at.
const TICK: Duration = Duration::from_millis(2);
/// The wait for the server, and for everything to be delivered in the end.
const LIMIT: Duration = Duration::from_secs(60);
/// Lines a second: more than is acknowledged at once.
const RATE: u32 = 5_000;
/// More lines than a life publishes on average.
const LINES_A_KILL: usize = 1_500;

/// Options of the kills.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Kills of each kind of store.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kills: u32,
    /// When they happen; a random one if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Adds the figures to this file and writes the document beside it anew.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = reliability::FIGURES)]
    record: Option<PathBuf>,
}

/// A store, as `amps publish` names it.
struct Store {
    name: &'static str,
    spec: &'static str,
    options: &'static [&'static str],
    /// Whether what was promised survives the process.
    survives: bool,
}

const STORES: [Store; 3] = [
    Store { name: "sled, power loss", spec: "sled:DIR", options: &["--durability", "power-loss"], survives: true },
    Store {
        name: "sled, process crash",
        spec: "sled:DIR",
        options: &["--durability", "process-crash"],
        survives: true,
    },
    // Its newest messages are in memory: an application sends them again.
    Store { name: "hybrid", spec: "hybrid:DIR", options: &[], survives: false },
];

/// What became of one store.
#[derive(Debug, Default)]
struct Outcome {
    kills: usize,
    /// Kills before the client had connected.
    opening: usize,
    published: usize,
    /// Different lines that the server has.
    logged: usize,
    lost: usize,
    duplicated: usize,
    out_of_order: usize,
    first: Vec<String>,
}

/// The last line of standard output.
#[derive(Debug, Default, Serialize)]
struct Summary {
    #[serde(flatten)]
    work: Work,
    seed: u64,
    seconds: f64,
}

/// Kills, and says whether every promise was kept.
///
/// # Errors
/// When it cannot be carried out; a store that does not open is such an error.
pub(crate) fn store_kills(args: &Args) -> Result<bool, Failure> {
    let seed = args.seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    eprintln!("kills of stores with seed {seed}");
    let started = Instant::now();
    let interrupt = Interrupt::listen()?;
    let amps = binary::amps()?;
    let mut figures = Vec::new();
    let mut work = Work { seeds: 1, ..Work::default() };
    println!(
        "{:<20} {:>6} {:>8} {:>10} {:>5} {:>10} {:>12}",
        "store", "kills", "opening", "published", "lost", "duplicated", "out of order"
    );
    for store in &STORES {
        let dir = tempfile::Builder::new()
            .prefix("amps-kills-")
            .tempdir()
            .map_err(|error| Failure::new(format!("cannot make a temporary directory: {error}")))?;
        let run = Kills::new(store, args.kills as usize, seed, amps.clone(), dir.path(), &interrupt)?;
        let outcome = run.carry_out();
        if outcome.as_ref().map_or(true, |outcome| !outcome.first.is_empty()) {
            eprintln!("{} with seed {seed} failed; its files are in {}", store.name, dir.keep().display());
        }
        let outcome = outcome?;
        for violation in &outcome.first {
            println!("{violation}");
        }
        let Outcome { kills, opening, published, logged, lost, duplicated, out_of_order, .. } = outcome;
        println!(
            "{:<20} {kills:>6} {opening:>8} {published:>10} {lost:>5} {duplicated:>10} {out_of_order:>12}",
            store.name
        );
        figures.push((format!("kills survived, {}", store.name), kills as u64));
        figures.push((format!("of them as it opened, {}", store.name), opening as u64));
        work.faults += kills as u64;
        work.kills += kills as u64;
        work.published += published as u64;
        work.delivered += logged as u64;
        work.lost += lost as u64;
        work.duplicated += duplicated as u64;
        work.out_of_order += out_of_order as u64;
    }
    work.violations = work.lost + work.duplicated + work.out_of_order;
    figures.extend(
        [
            ("messages published", work.published),
            ("messages lost", work.lost),
            ("messages duplicated", work.duplicated),
            ("messages out of order", work.out_of_order),
        ]
        .map(|(name, count)| (name.to_owned(), count)),
    );
    let seconds = (started.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    if let Some(file) = &args.record {
        reliability::record(file, "chaos store", &figures)?;
    }
    let good = work.violations == 0;
    println!("{}", serde_json::to_string(&Summary { work, seed, seconds }).unwrap_or_default());
    Ok(good)
}

struct Kills<'a> {
    store: &'a Store,
    count: usize,
    random: StdRng,
    interrupt: &'a Interrupt,
    input: Input,
    setup: Setup,
    server: Server,
    journal: JournalReader,
    /// What the server has logged by now.
    log: ServerLog,
    publisher: Publisher,
    progress: Progress,
    outcome: Outcome,
}

impl<'a> Kills<'a> {
    fn new(
        store: &'a Store,
        count: usize,
        seed: u64,
        amps: PathBuf,
        dir: &Path,
        interrupt: &'a Interrupt,
    ) -> Result<Self, Failure> {
        let setup = Setup {
            amps,
            dir: dir.to_owned(),
            ports: ports::free(1)?,
            client_ports: Vec::new(),
            peer_ports: Vec::new(),
            topic: "kills",
            queued: None,
            rate: RATE,
            heartbeat: 1,
            spread: false,
            slow_disks: false,
            planted: None,
        };
        let server = Server::new(0);
        Ok(Self {
            store,
            count,
            random: StdRng::seed_from_u64(seed),
            interrupt,
            input: Input::generate(&[LINES_A_KILL * count + 10_000])?,
            journal: JournalReader::new(&server.data(&setup)),
            log: ServerLog { name: "the server".to_owned(), entries: Vec::new() },
            setup,
            server,
            publisher: Publisher::new(0).store(store.spec, store.options),
            progress: Progress::new(None),
            outcome: Outcome::default(),
        })
    }

    fn carry_out(mut self) -> Result<Outcome, Failure> {
        self.server.start(&self.setup)?;
        self.wait(LIMIT, "the server does not listen", |run| run.server.listens())?;
        self.publisher.publish(&self.setup, &self.input, 0)?;
        while self.outcome.kills < self.count {
            self.one_life()?;
        }
        self.server.start(&self.setup)?;
        self.publisher.restart(&self.setup)?;
        self.publisher.stop();
        self.wait(LIMIT, "what is stored is not delivered", |run| run.publisher.is_done())?;
        self.judge()
    }

    /// Some die as they open, most as they deliver or publish, some live long. The
    /// server is away for one in eight, so that much is stored.
    fn one_life(&mut self) -> Result<(), Failure> {
        let most = [30, 300, 300, 1_000][self.random.random_range(0..4)];
        let life = Duration::from_millis(self.random.random_range(0..most));
        if self.random.random_ratio(1, 8) {
            self.server.kill();
        } else {
            self.server.start(&self.setup)?;
        }
        let end = Instant::now() + life;
        while Instant::now() < end {
            self.poll()?;
            thread::sleep(TICK);
        }
        // One that has published everything is not killed.
        if self.publisher.kill() {
            self.outcome.kills += 1;
            let connected = self
                .publisher
                .event_files(&self.setup)
                .last()
                .is_some_and(|file| !events::connections(file).is_empty());
            self.outcome.opening += usize::from(!connected);
            if self.outcome.kills.is_multiple_of(100) {
                self.progress.say(&format!("{}: {} kills", self.store.name, self.outcome.kills));
            }
        } else if self.publisher.is_done() {
            return Err(Failure::new("the input came to its end before the last kill"));
        }
        self.publisher.restart(&self.setup)
    }

    fn poll(&mut self) -> Result<(), Failure> {
        self.interrupt.check()?;
        self.server.poll()?;
        self.publisher.poll(&self.setup)?;
        if self.publisher.is_drained() {
            self.read_log()?;
            let next = verdict::required(&[self.promised()], std::slice::from_ref(&self.log))[0];
            self.publisher.publish(&self.setup, &self.input, next)?;
        }
        Ok(())
    }

    fn promised(&self) -> usize {
        if self.store.survives { self.publisher.promised() } else { 0 }
    }

    fn read_log(&mut self) -> Result<(), Failure> {
        server_log::read_on(&mut self.journal, &mut self.log, &self.input, &[self.publisher.name()])
    }

    fn wait(&mut self, limit: Duration, late: &str, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let end = Instant::now() + limit;
        while !done(self) {
            if Instant::now() > end {
                return Err(Failure::new(format!("{}: {late} within {} s", self.store.name, limit.as_secs())));
            }
            self.poll()?;
            thread::sleep(TICK);
        }
        Ok(())
    }

    fn judge(mut self) -> Result<Outcome, Failure> {
        self.read_log()?;
        let evidence = Evidence {
            promised: vec![self.promised()],
            servers: vec![std::mem::take(&mut self.log)],
            subscribers: Vec::new(),
        };
        let verdict = verdict::judge(&evidence);
        self.outcome.published = verdict.published;
        self.outcome.logged = verdict.persisted;
        self.outcome.lost = verdict.count(Kind::Lost);
        self.outcome.duplicated = verdict.count(Kind::Duplicated);
        self.outcome.out_of_order = verdict.count(Kind::OutOfOrder);
        self.outcome.first = verdict.violations.iter().take(5).map(ToString::to_string).collect();
        Ok(self.outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work;

    #[test]
    fn the_last_line_tells_the_work_done() {
        let summary = Summary { work: Work { kills: 7, ..Work::default() }, seed: 1, seconds: 0.5 };
        let line = serde_json::to_string(&summary).unwrap();
        work::assert_ends_an_output(&line);
        assert!(line.contains(r#""kills":7"#), "{line}");
    }
}
