//! How old the oldest of something numbered is, without a clock for each.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many marks are kept; then every second one goes.
const MARKS: usize = 64;

/// Between two marks at first; twice as much whenever marks have to go.
const STEP: Duration = Duration::from_millis(100);

/// Marks of when numbers that only rise were reached: what is asked for lies
/// behind one of them, and so is at most as old as that says. Off by a tenth of
/// a second, or by some hundredths of the greatest age there was lately.
#[derive(Debug)]
pub(crate) struct Ages {
    /// Nothing with this number or a higher one was there before then.
    marks: VecDeque<(u64, Instant)>,
    step: Duration,
}

impl Default for Ages {
    fn default() -> Self {
        Self { marks: VecDeque::new(), step: STEP }
    }
}

impl Ages {
    /// Nothing with the number `next` or a higher one is there at `now`, or it
    /// comes right now; and nothing below `oldest` is there any more. Cheap when a
    /// mark is not due.
    pub(crate) fn note(&mut self, next: u64, oldest: u64, now: Instant) {
        match self.marks.back_mut() {
            Some((number, at)) if *number == next => {
                *at = now;
                return;
            }
            Some((_, at)) if now < *at + self.step => return,
            _ => {}
        }
        self.forget_below(oldest);
        if self.marks.len() == MARKS {
            let mut odd = false;
            self.marks.retain(|_| {
                odd = !odd;
                odd
            });
            self.step *= 2;
        }
        self.marks.push_back((next, now));
    }

    /// Since when, at the earliest, what has the number `oldest` is there. Asked
    /// for lower numbers afterwards, it does not know.
    pub(crate) fn since(&mut self, oldest: u64) -> Option<Instant> {
        self.forget_below(oldest);
        self.marks.front().filter(|(number, _)| *number <= oldest).map(|(_, at)| *at)
    }

    fn forget_below(&mut self, oldest: u64) {
        while self.marks.get(1).is_some_and(|(number, _)| *number <= oldest) {
            self.marks.pop_front();
        }
        if self.marks.len() <= 1 {
            self.step = STEP;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TENTH: Duration = Duration::from_millis(100);

    #[test]
    fn what_comes_when_there_is_nothing_is_as_old_as_it_is() {
        let start = Instant::now();
        let mut ages = Ages::default();
        assert_eq!(ages.since(0), None);
        ages.note(0, 0, start);
        ages.note(0, 0, start + 50 * TENTH);
        assert_eq!(ages.since(0), Some(start + 50 * TENTH), "it came then");
        ages.note(1, 1, start + 70 * TENTH);
        assert_eq!(ages.since(1), Some(start + 70 * TENTH));
    }

    proptest! {
        /// Against the times of all of them.
        #[test]
        fn nothing_is_younger_than_told_and_not_much_older(
            steps in prop::collection::vec((0u64..400, 0u64..5), 1..600),
        ) {
            let start = Instant::now();
            let (mut ages, mut now, mut oldest) = (Ages::default(), start, 0);
            let (mut times, mut widest) = (Vec::new(), STEP);
            for (pause, settled) in steps {
                now += Duration::from_millis(pause);
                let next = times.len() as u64;
                ages.note(next, oldest, now);
                times.push(now);
                oldest = next.min(oldest + settled);
                let told = ages.since(oldest).expect("a mark before what is there");
                let true_age = now - times[oldest as usize];
                let told_age = now - told;
                prop_assert!(told_age >= true_age, "{told_age:?} told, {true_age:?}");
                // A mark is made at the first call after a step; two gaps become one when the step is doubled.
                widest = widest.max(ages.step);
                prop_assert!(told_age <= true_age + 5 * widest, "{told_age:?} told, {true_age:?}, step {widest:?}");
                prop_assert!(ages.marks.len() <= MARKS);
            }
        }
    }
}
