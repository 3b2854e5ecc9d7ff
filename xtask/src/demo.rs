//! `cargo xtask demo`: one fixed story with real data, real processes and
//! `kill -9`.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::input::Input;
use crate::run::{self, Scenario};
use crate::schedule::{Fault, Timed};
use crate::{Failure, binary, report, state};

/// Real readings, one JSON object a line.
const DATA: &str = "crates/amps-client/examples/data/hourly-temperature.ndjson";
const PUBLISHERS: usize = 3;

/// The story, in milliseconds after the first delivery.
const STORY: [(u64, Fault); 6] = [
    (2_000, Fault::KillServerInUse),
    (4_000, Fault::RestartDeadServers),
    (6_000, Fault::KillServerInUse),
    (7_000, Fault::KillPublisher(1)),
    (8_000, Fault::RestartPublisher(1)),
    (9_000, Fault::RestartDeadServers),
];
/// Each time moves by up to this much, by the seed.
const JITTER_MS: u64 = 900;

/// Options of the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Moves the times of the kills.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Records kept current through the deaths of their servers, and a queue
    /// drained while a worker dies, instead.
    #[arg(long)]
    state: bool,
}

/// Runs the demo. Says whether every promise was kept.
///
/// # Errors
/// When it cannot be carried out.
pub(crate) fn demo(args: &Args) -> Result<bool, Failure> {
    if args.state {
        return state::demo();
    }
    let path = binary::workspace().join(DATA);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
    let scenario = Scenario {
        name: "demo",
        again: format!("cargo xtask demo --seed {}", args.seed),
        seed: args.seed,
        input: Input::deal(&text, PUBLISHERS)?,
        servers: 3,
        subscribers: 2,
        views: 0,
        workers: 0,
        rate: 400,
        spread: false,
        network: false,
        page: None,
        planted: None,
        faults: story(args.seed),
        stop_after: None,
        settle: Duration::from_secs(20),
    };
    let outcome = run::run(&scenario, binary::amps()?)?;
    print!("{}", report::render(&outcome.verdict, &outcome.facts));
    Ok(outcome.is_good())
}

fn story(seed: u64) -> Vec<Timed> {
    let mut rng = StdRng::seed_from_u64(seed);
    let jittered = |(at, fault)| Timed { at: Duration::from_millis(at + rng.random_range(0..JITTER_MS)), fault };
    STORY.map(jittered).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_keeps_its_order_with_every_seed() {
        for seed in 0..100 {
            assert!(story(seed).is_sorted_by_key(|timed| timed.at));
        }
        assert_ne!(story(1), story(2));
        assert_eq!(story(1), story(1));
    }

    #[test]
    fn the_data_has_17518_different_lines() {
        let text = std::fs::read_to_string(binary::workspace().join(DATA)).unwrap();
        assert_eq!(Input::deal(&text, PUBLISHERS).unwrap().total(), 17_518);
    }
}
