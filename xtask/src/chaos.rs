//! `cargo xtask chaos`: the demo's engine with random faults.

use std::path::PathBuf;
use std::time::Duration;

use rand::RngExt;

use crate::Failure;
use crate::binary;
use crate::input::Input;
use crate::run::{self, Scenario};
use crate::schedule::{self, Crowd};
use crate::{reliability, store_kills};

/// Options of a chaos run.
#[derive(Debug, clap::Args)]
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
    /// Adds the figures to this file and writes the document beside it anew.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = reliability::FIGURES)]
    record: Option<PathBuf>,
}

/// Other chaos.
#[derive(Debug, clap::Subcommand)]
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
    if let Some(Only::Store(args)) = &args.only {
        return store_kills::store_kills(args);
    }
    let seed = args.seed.unwrap_or_else(|| rand::rng().random_range(0..1_000_000));
    let crowd = Crowd {
        servers: args.servers.into(),
        publishers: usize::from(args.publishers) + usize::from(args.workers > 0),
        subscribers: args.subscribers.into(),
        consumers: usize::from(args.views) + usize::from(args.workers),
    };
    // More than can be taken in: the rate and the time end it.
    let lines = (f64::from(args.rate) * args.duration.as_secs_f64()).ceil() as usize + 1;
    let scenario = Scenario {
        name: "chaos",
        again: args.again(seed),
        seed,
        input: Input::generate(crowd.publishers, lines)?,
        servers: crowd.servers,
        subscribers: crowd.subscribers,
        views: args.views.into(),
        workers: args.workers.into(),
        rate: args.rate,
        spread: true,
        network: true,
        page: Some(args.report.clone()),
        record: args.record.clone(),
        faults: schedule::random(seed, args.duration, crowd),
        stop_after: Some(args.duration),
        settle: Duration::from_secs(60),
    };
    let amps = binary::amps()?;
    eprintln!("chaos with seed {seed}: {} faults in {} s", scenario.faults.len(), args.duration.as_secs());
    run::run(&scenario, amps)
}

impl Args {
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
