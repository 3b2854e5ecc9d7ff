//! A fixed share of the simulation with every ordinary test run, and a few
//! seeds nobody has seen; `cargo xtask sim` runs more.

use amps_tests::sim::{Plan, run};

fn keeps_its_promises(seeds: std::ops::Range<u64>) {
    println!("seeds {seeds:?}");
    for seed in seeds {
        let outcome = run(&Plan::from_seed(seed));
        let violations: Vec<_> = outcome.violations.iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "cargo xtask sim --seeds 1 --from {seed}: {}", violations.join("; "));
    }
}

#[test]
fn whole_systems_keep_their_promises() {
    keeps_its_promises(0..40);
}

#[test]
fn whole_systems_of_fresh_seeds_keep_their_promises() {
    let from = rand::random::<u32>().into();
    keeps_its_promises(from..from + 10);
}

/// Seeds that found something, or that the checkers were wrong about.
#[test]
fn seeds_that_once_failed() {
    for seed in [1417, 1464, 1533, 14915] {
        keeps_its_promises(seed..seed + 1);
    }
}
