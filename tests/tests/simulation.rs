//! A fixed share of the simulation, with every ordinary test run.

use amps_tests::sim::{Plan, run};

#[test]
fn whole_systems_keep_their_promises() {
    for seed in 0..100 {
        let outcome = run(&Plan::from_seed(seed));
        assert!(outcome.violations.is_empty(), "seed {seed}: {}", outcome.violations[0]);
    }
}
