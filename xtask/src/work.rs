//! What every proof says in its last line, whatever it says besides.

use serde::Serialize;

/// The work done, and what came of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Work {
    /// Schedules that were drawn.
    pub(crate) seeds: u64,
    pub(crate) faults: u64,
    /// Processes killed, or crashed in the simulation.
    pub(crate) kills: u64,
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) out_of_order: u64,
    /// Promises broken, of these and other kinds.
    pub(crate) violations: u64,
}

/// Asserts that the last line of an output is one JSON object with all of it.
#[cfg(test)]
pub(crate) fn assert_ends_an_output(output: &str) {
    let last = output.lines().last().unwrap_or_default();
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(last).unwrap();
    let keys =
        ["seeds", "faults", "kills", "published", "delivered", "lost", "duplicated", "out_of_order", "violations"];
    for key in keys {
        assert!(object.get(key).is_some_and(serde_json::Value::is_u64), "{key} in {last}");
    }
}
