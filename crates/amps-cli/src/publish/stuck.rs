//! Acknowledgements that no longer come.

use std::time::{Duration, Instant};

/// How long nothing may be acknowledged before that is told.
pub(super) const STUCK: Duration = Duration::from_secs(5);

/// Notices that acknowledgements no longer come.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    /// How many messages waited, and since when it has been so many.
    since: Option<(u64, Instant)>,
    told: bool,
}

impl Stuck {
    /// Takes in how many messages wait, `None` while there is no connection; `true`
    /// once, when that has not changed for [`STUCK`].
    pub(super) fn is_it(&mut self, waiting: Option<u64>, now: Instant) -> bool {
        let Some(waiting) = waiting.filter(|waiting| *waiting > 0) else {
            self.since = None;
            return false;
        };
        match self.since {
            Some((before, since)) if before == waiting => {
                let tells = !self.told && now - since >= STUCK;
                self.told |= tells;
                tells
            }
            _ => {
                self.since = Some((waiting, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_that_stay_away_are_noticed_once() {
        let (mut stuck, now) = (Stuck::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        assert!(!stuck.is_it(Some(3), now) && !stuck.is_it(Some(3), at(4)));
        assert!(!stuck.is_it(Some(2), at(5)), "one came");
        assert!(!stuck.is_it(None, at(9)) && !stuck.is_it(Some(2), at(11)), "no connection");
        assert!(stuck.is_it(Some(2), at(16)));
        assert!(!stuck.is_it(Some(2), at(30)), "told already");
    }
}
