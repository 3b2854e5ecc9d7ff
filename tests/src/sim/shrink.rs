//! Makes a failing plan small.

use super::{Plan, run};

/// The same plan with as few faults and messages as still break the same rule.
pub fn shrink(plan: &Plan) -> Plan {
    let Some(rule) = broken_rule(plan) else { return plan.clone() };
    let fails = |plan: &Plan| broken_rule(plan) == Some(rule);
    let mut best = plan.clone();
    let mut size = best.faults.len();
    while size > 0 {
        let mut start = 0;
        while start < best.faults.len() {
            let mut smaller = best.clone();
            smaller.faults.drain(start..(start + size).min(best.faults.len()));
            if fails(&smaller) {
                best = smaller;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    for messages in [1, 5, 20, 50] {
        let mut smaller = best.clone();
        smaller.world.messages = messages;
        if messages < best.world.messages && fails(&smaller) {
            best = smaller;
            break;
        }
    }
    best
}

fn broken_rule(plan: &Plan) -> Option<&'static str> {
    run(plan).violations.first().map(|violation| violation.rule)
}
