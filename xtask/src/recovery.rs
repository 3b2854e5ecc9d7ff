//! How long deliveries stood still around a fault.

/// A fault, and the longest standstill of a subscriber around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// When the fault was, in milliseconds of the Unix clock.
    pub(crate) at_ms: u64,
    /// The time between two deliveries in a row of one subscriber process, one
    /// before and one after the fault, in milliseconds; 0 if there are none.
    pub(crate) lasted_ms: u64,
}

/// Each of the `faults_ms`. `lives` holds the delivery times of each process;
/// all are in time order.
pub(crate) fn all_ms<'a>(lives: impl Iterator<Item = &'a [u64]> + Clone, faults_ms: &[u64]) -> Vec<Recovery> {
    let around = |times: &[u64], at: u64| {
        let after = times.partition_point(|time| *time < at);
        let before = times[..after].last()?;
        times.get(after).map(|after| after - before)
    };
    let recovery = |&at_ms: &u64| {
        let lasted_ms = lives.clone().filter_map(|times| around(times, at_ms)).max().unwrap_or(0);
        Recovery { at_ms, lasted_ms }
    };
    faults_ms.iter().map(recovery).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lasted(lives: &[&[u64]], faults: &[u64]) -> Vec<u64> {
        all_ms(lives.iter().copied(), faults).iter().map(|recovery| recovery.lasted_ms).collect()
    }

    #[test]
    fn only_pauses_around_a_fault_count() {
        let quiet_then_fault: &[u64] = &[0, 900, 1_000, 1_300, 1_310];
        assert_eq!(lasted(&[quiet_then_fault], &[1_100]), [300]);
        assert_eq!(lasted(&[quiet_then_fault], &[]), [0; 0]);
        assert_eq!(lasted(&[quiet_then_fault, &[1_000, 1_200]], &[950, 1_100, 2_000]), [100, 300, 0]);
    }

    #[test]
    fn the_time_between_two_lives_does_not_count() {
        let (first, second): (&[u64], &[u64]) = (&[0, 10], &[5_000, 5_020]);
        assert_eq!(lasted(&[first, second], &[4, 3_000, 5_010]), [10, 0, 20]);
    }
}
