//! How long deliveries stood still around a fault.

/// The longest time between two deliveries in a row of one subscriber process,
/// one before and one after a fault, in milliseconds. `lives` holds the delivery
/// times of each process; deliveries are in time order.
pub(crate) fn longest_ms<'a>(lives: impl IntoIterator<Item = &'a [u64]>, faults_ms: &[u64]) -> u64 {
    let spans_fault = |pair: &&[u64]| faults_ms.iter().any(|fault| (pair[0]..=pair[1]).contains(fault));
    let longest = |times: &[u64]| times.windows(2).filter(spans_fault).map(|pair| pair[1] - pair[0]).max();
    lives.into_iter().filter_map(longest).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::longest_ms;

    #[test]
    fn only_pauses_around_a_fault_count() {
        let quiet_then_fault: &[u64] = &[0, 900, 1_000, 1_300, 1_310];
        assert_eq!(longest_ms([quiet_then_fault], &[1_100]), 300);
        assert_eq!(longest_ms([quiet_then_fault], &[]), 0);
    }

    #[test]
    fn the_time_between_two_lives_does_not_count() {
        let (first, second): (&[u64], &[u64]) = (&[0, 10], &[5_000, 5_020]);
        assert_eq!(longest_ms([first, second], &[4, 3_000, 5_010]), 20);
    }
}
