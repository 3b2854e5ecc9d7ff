//! `cargo xtask chaos`: the demo's engine with random faults.

mod planted;

use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;

use crate::Failure;
use crate::binary;
use crate::input::Input;
use crate::run::{self, Scenario};
use crate::schedule::{self, Crowd, Kinds};
use crate::{reliability, report, store_kills};

/// Options of a chaos run.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    only: Option<Only>,
    /// The schedule of faults; a random one if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// How long faults happen, in seconds, such as `30` or `30s`, or `5m`.
    #[arg(long, default_value = "30s", value_parser = duration)]
    duration: Duration,
    /// Servers, all linked with each other.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    servers: u8,
    /// Publishers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    publishers: u8,
    /// Subscribers.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=50))]
    subscribers: u8,
    /// Views of the newest records, each second one of a part of them.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=20))]
    views: u8,
    /// Workers on a queue, which has a publisher of its own, ten times slower than
    /// the others.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=20))]
    workers: u8,
    /// Messages a second of each publisher.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Where to write the page that shows the run.
    #[arg(long, value_name = "FILE", default_value = "target/chaos/report.html")]
    report: PathBuf,
    /// Builds everything with planted bugs, puts one after the other to work in the
    /// processes, and fails if one is not seen.
    #[arg(long)]
    planted: bool,
    /// Puts only this one to work; it may be any of those of the simulation.
    #[arg(long, requires = "planted")]
    bug: Option<String>,
    /// This is the program that was built for it.
    #[arg(long, hide = true)]
    built: bool,
    /// Adds the figures to this file and writes the document beside it anew.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = reliability::FIGURES)]
    record: Option<PathBuf>,
}

/// Other chaos.
#[derive(Debug, Clone, clap::Subcommand)]
enum Only {
    /// Kills a publisher on each kind of store, on one directory each: as it opens,
    /// as it delivers what an earlier life left, as it publishes.
    Store(store_kills::Args),
}

/// Runs chaos. Says whether every promise was kept.
///
/// # Errors
/// When it cannot be carried out.
pub(crate) fn chaos(args: &Args) -> Result<bool, Failure> {
    match &args.only {
        Some(Only::Store(args)) => return store_kills::store_kills(args),
        None if args.planted && !args.built => return Err(binary::become_planted_with_amps()),
        None if args.planted => return planted::hunt(args),
        None => {}
    }
    let scenario = args.scenario(args.seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000)), Kinds::Drawn)?;
    let amps = binary::amps()?;
    let seconds = args.duration.as_secs();
    eprintln!("chaos with seed {}: {} faults in {seconds} s", scenario.seed, scenario.faults.len());
    let outcome = run::run(&scenario, amps)?;
    if let Some(file) = &args.record {
        reliability::record(file, "chaos", &report::figures(&outcome.verdict, &outcome.facts))?;
    }
    print!("{}", report::render(&outcome.verdict, &outcome.facts));
    Ok(outcome.is_good())
}

impl Args {
    /// A run with this seed.
    fn scenario(&self, seed: u64, kinds: Kinds) -> Result<Scenario, Failure> {
        let queue = usize::from(self.workers > 0);
        let crowd = Crowd {
            servers: self.servers.into(),
            publishers: usize::from(self.publishers) + queue,
            subscribers: self.subscribers.into(),
            consumers: usize::from(self.views) + usize::from(self.workers),
        };
        // More than can be taken in: the rate and the time end it.
        let lines = (f64::from(self.rate) * self.duration.as_secs_f64()).ceil() as usize + 1;
        let mut each = vec![lines; self.publishers.into()];
        each.extend((0..queue).map(|_| lines / run::SLOWER as usize + 1));
        Ok(Scenario {
            name: "chaos",
            again: self.again(seed),
            seed,
            input: Input::generate(&each)?,
            servers: crowd.servers,
            subscribers: crowd.subscribers,
            views: self.views.into(),
            workers: self.workers.into(),
            rate: self.rate,
            spread: true,
            network: true,
            page: Some(self.report.clone()),
            planted: None,
            faults: schedule::random(seed, self.duration, crowd, kinds),
            stop_after: Some(self.duration),
            settle: Duration::from_secs(60),
        })
    }

    /// The command line of a run with this seed.
    fn again(&self, seed: u64) -> String {
        let Self { servers, publishers, subscribers, views, workers, rate, .. } = self;
        format!(
            "cargo xtask chaos --seed {seed} --duration {}s --servers {servers} --publishers {publishers} \
             --subscribers {subscribers} --views {views} --workers {workers} --rate {rate}",
            self.duration.as_secs_f64(),
        )
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60.0),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number * unit <= 86_400.0 => Ok(Duration::from_secs_f64(number * unit)),
        _ => Err(format!("{text:?} is no time up to a day; write 30s or 5m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_minutes() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "-1", "0", "1h", "inf", "NaN", "1e9"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
