//! `cargo xtask sim`: whole systems in virtual time, one from each seed.

mod planted;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use amps_tests::sim::{Figures, Outcome, Plan, Profile, run, shrink};
use serde::Serialize;

use crate::work::Work;
use crate::{Failure, binary, reliability};

/// Options of the simulation.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seeds: 1,000 unless given; for each planted bug at most 20,000.
    #[arg(long, conflicts_with = "minutes", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// The first seed; one that is new every time unless given, 0 for planted bugs.
    #[arg(long)]
    from: Option<u64>,
    /// Which faults there are: all (unless given), calm, network, crash, disk, or
    /// first. Planted bugs are hunted with all but calm by turns.
    #[arg(long)]
    profile: Option<Profile>,
    /// Plants one bug after the other and says which rule sees it; fails if one
    /// is not seen.
    #[arg(long, conflicts_with = "minutes")]
    planted: bool,
    /// Plants only this one.
    #[arg(long, requires = "planted")]
    bug: Option<String>,
    /// Adds the figures to this file and writes the document beside it anew.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = reliability::FIGURES)]
    record: Option<PathBuf>,
    /// Runs for so long, in minutes, instead of a number of seeds.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    minutes: Option<u64>,
    /// Prints what happened, fault by fault and state by state.
    #[arg(long)]
    timeline: bool,
    /// How many run side by side; as many as there are cores unless given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// This is the program that was built for it.
    #[arg(long, hide = true)]
    built: bool,
}

#[derive(Default)]
struct Total {
    seeds: u64,
    figures: Figures,
    violations: Vec<(u64, Outcome)>,
}

/// The last line of the output.
#[derive(Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    work: Work,
    simulated_hours: f64,
    faults_by_kind: &'a BTreeMap<&'static str, u64>,
    acknowledged: u64,
    longest_recovery_s: f64,
}

/// Rules that are broken when something is lost.
const LOSS: &[&str] = &["no loss", "no gap", "no loss in a queue"];
/// When something comes twice.
const DUPLICATES: &[&str] = &["exactly once", "no duplicate", "discarded for good", "acknowledged for good"];
/// When something comes out of order.
const DISORDER: &[&str] = &["order", "order of delivery"];

/// How many failing seeds are looked at before it stops.
const ENOUGH: usize = 5;

/// Simulates. Says whether every promise was kept.
///
/// # Errors
/// When it cannot be carried out.
pub(crate) fn sim(args: &Args) -> Result<bool, Failure> {
    match args.built {
        false if args.planted => return Err(binary::become_planted()),
        false => return Err(binary::become_checked()),
        true if args.planted => return planted::hunt(args),
        true => {}
    }
    let from = args.from.unwrap_or_else(|| rand::random::<u32>().into());
    let until = args.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let end = if until.is_some() { u64::MAX } else { from.saturating_add(args.seeds.unwrap_or(1000)) };
    let (threads, profile) = (args.threads(), args.profile.unwrap_or_default());
    println!("{}", if until.is_some() { format!("seeds from {from}") } else { format!("seeds {from} to {}", end - 1) });
    // A panic is a finding of its seed, told with it.
    std::panic::set_hook(Box::new(|_| {}));
    let (next, total, stop) = (AtomicU64::new(from), Mutex::new(Total::default()), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && until.is_none_or(|until| Instant::now() < until) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let outcome = run(&Plan::of(profile, seed));
                    if args.timeline {
                        print_timeline(&outcome);
                    }
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    total.add(seed, outcome);
                    total.progress();
                    if total.violations.len() >= ENOUGH {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    for (seed, outcome) in &total.violations {
        explain(profile, *seed, outcome);
    }
    total.print()?;
    if let Some(file) = &args.record {
        reliability::record(file, "sim", &total.figures())?;
    }
    Ok(total.violations.is_empty())
}

impl Args {
    fn threads(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(cores, usize::from)
    }
}

impl Total {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.seeds += 1;
        let figures = &outcome.figures;
        for (kind, count) in &figures.faults {
            *self.figures.faults.entry(kind).or_default() += count;
        }
        self.figures.published += figures.published;
        self.figures.acknowledged += figures.acknowledged;
        self.figures.delivered += figures.delivered;
        self.figures.time += figures.time;
        self.figures.settling = self.figures.settling.max(figures.settling);
        if !outcome.violations.is_empty() {
            self.violations.push((seed, outcome));
        }
    }

    fn progress(&self) {
        let mut terminal = std::io::stderr();
        if terminal.is_terminal() && self.seeds.is_multiple_of(20) {
            let hours = self.figures.time.as_secs() / 3600;
            let _ = write!(terminal, "\r{} seeds, {hours} hours, {} violations", self.seeds, self.violations.len());
            let _ = terminal.flush();
        }
    }

    /// How many seeds broke one of these rules.
    fn broke(&self, rules: &[&str]) -> u64 {
        let broke = |outcome: &Outcome| outcome.violations.iter().any(|violation| rules.contains(&violation.rule));
        self.violations.iter().filter(|(_, outcome)| broke(outcome)).count() as u64
    }

    fn kills(&self) -> u64 {
        let kills = |kind: &str| kind.starts_with("client kill") || kind.starts_with("client power");
        self.figures.faults.iter().filter(|(kind, _)| kills(kind)).map(|(_, count)| count).sum()
    }

    fn server_kills(&self) -> u64 {
        let kinds = ["server crash", "server disk lost"];
        kinds.iter().filter_map(|kind| self.figures.faults.get(kind)).sum()
    }

    /// What is recorded.
    fn figures(&self) -> Vec<(String, u64)> {
        let Figures { faults, published, acknowledged, delivered, time, settling } = &self.figures;
        let mut figures: Vec<(String, u64)> = [
            ("seeds", self.seeds),
            ("simulated seconds", time.as_secs()),
            ("messages published", *published),
            ("messages acknowledged", *acknowledged),
            ("messages delivered", *delivered),
            ("client kills survived", self.kills()),
            ("server kills survived", self.server_kills()),
            ("seeds with loss", self.broke(LOSS)),
            ("seeds with duplicates", self.broke(DUPLICATES)),
            ("seeds out of order", self.broke(DISORDER)),
            ("violations", self.violations.len() as u64),
            ("longest recovery in milliseconds", settling.as_millis() as u64),
        ]
        .map(|(name, count)| (name.to_owned(), count))
        .into();
        figures.extend(faults.iter().map(|(kind, count)| (format!("{}{kind}", reliability::FAULT), *count)));
        figures
    }

    fn summary(&self) -> Summary<'_> {
        let Figures { faults, published, acknowledged, delivered, time, settling } = &self.figures;
        Summary {
            work: Work {
                seeds: self.seeds,
                faults: faults.values().sum(),
                kills: self.kills() + self.server_kills(),
                published: *published,
                delivered: *delivered,
                lost: self.broke(LOSS),
                duplicated: self.broke(DUPLICATES),
                out_of_order: self.broke(DISORDER),
                violations: self.violations.len() as u64,
            },
            simulated_hours: (time.as_secs_f64() / 360.0).round() / 10.0,
            faults_by_kind: faults,
            acknowledged: *acknowledged,
            longest_recovery_s: settling.as_secs_f64(),
        }
    }

    fn print(&self) -> Result<(), Failure> {
        for (kind, count) in &self.figures.faults {
            println!("{count:>9} {kind}");
        }
        let summary = self.summary();
        let Work { seeds, published, delivered, violations, .. } = &summary.work;
        println!(
            "{seeds} seeds, {} simulated hours, {published} published, {delivered} delivered, longest recovery {:.1} s, {violations} violations",
            summary.simulated_hours, summary.longest_recovery_s,
        );
        println!("{}", serde_json::to_string(&summary).map_err(|error| Failure::new(error.to_string()))?);
        Ok(())
    }
}

/// What broke, on as small a plan as breaks it, and how to see it again.
fn explain(profile: Profile, seed: u64, outcome: &Outcome) {
    println!("\nseed {seed}: {}", outcome.violations[0]);
    let whole = Plan::of(profile, seed);
    let small = shrink(&whole);
    println!("{:?}", small.world);
    println!("as small as it gets, {} of {} faults:", small.faults.len(), whole.faults.len());
    let again = run(&small);
    print_timeline(&again);
    for violation in &again.violations {
        println!("    {violation}");
    }
    println!("again: cargo xtask sim --profile {profile} --from {seed} --seeds 1 --timeline\n");
}

fn print_timeline(outcome: &Outcome) {
    for (at, what) in &outcome.timeline {
        println!("{:>9.3} s  {what}", at.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::work;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_last_line_tells_the_work_done() {
        let total = Total { seeds: 3, ..Total::default() };
        work::assert_ends_an_output(&serde_json::to_string(&total.summary()).unwrap());
    }

    /// What tries nothing would find nothing.
    #[test]
    fn no_run_is_empty() {
        for option in ["--seeds", "--minutes", "--threads"] {
            assert!(Line::try_parse_from(["sim", option, "0"]).is_err(), "{option}");
            assert_eq!(Line::try_parse_from(["sim", option, "1"]).unwrap().args.from, None);
        }
    }
}
