use std::collections::VecDeque;
use std::time::{Duration, Instant};

use amps_core::Uri;

/// So many kicks...
pub(super) const KICKS: usize = 3;
/// ...within so long look like a second client with the same name.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// How long a connection has to last then to count as healthy: longer than
/// another client with the default waits leaves it alone.
const CALM: Duration = Duration::from_secs(30);

/// Notices that another client seems to use the same name: the server closes
/// one connection after the other soon after its logon.
#[derive(Debug, Default)]
pub(super) struct NameGuard {
    uri: Option<Uri>,
    kicks: VecDeque<Instant>,
    contested: bool,
}

impl NameGuard {
    /// A server closed a connection after its logon. Whether that is to be told.
    pub(super) fn kicked(&mut self, now: Instant, uri: &Uri) -> bool {
        if self.uri.as_ref() != Some(uri) {
            self.uri = Some(uri.clone());
            self.kicks.clear();
        }
        self.kicks.push_back(now);
        while self.kicks.front().is_some_and(|at| *at + WINDOW < now) {
            self.kicks.pop_front();
        }
        let told = self.kicks.len() >= KICKS;
        if told {
            self.kicks.clear();
            self.contested = true;
        }
        told
    }

    /// A connection was live for this long.
    pub(super) fn lasted(&mut self, live: Option<Duration>) {
        if live.is_some_and(|live| live >= CALM) {
            *self = Self::default();
        }
    }

    /// How long a connection has to be live to count as healthy. Two clients
    /// that kick each other at intervals of that length would otherwise find
    /// themselves healthy in between, and begin anew.
    pub(super) fn healthy_after(&self, usual: Duration) -> Duration {
        if self.contested { usual.max(CALM) } else { usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(host: &str) -> Uri {
        format!("tcp://{host}:9007/amps/json").parse().unwrap()
    }

    #[test]
    fn three_kicks_of_one_server_within_ten_seconds_are_told() {
        let start = Instant::now();
        let kicks = |kicks: &[(u64, &str)]| {
            let mut guard = NameGuard::default();
            let told: Vec<_> =
                kicks.iter().map(|(at, host)| guard.kicked(start + Duration::from_secs(*at), &uri(host))).collect();
            (told, guard.contested)
        };
        assert_eq!(kicks(&[(0, "a"), (5, "a"), (10, "a")]), (vec![false, false, true], true));
        assert_eq!(kicks(&[(0, "a"), (5, "a"), (11, "a"), (12, "a")]), (vec![false, false, false, true], true));
        assert_eq!(kicks(&[(0, "a"), (1, "a"), (2, "b"), (3, "a")]), (vec![false; 4], false), "another server");
        assert_eq!(kicks(&[(0, "a"), (1, "a"), (2, "a"), (3, "a")]).0, [false, false, true, false], "told once");
    }

    #[test]
    fn a_name_is_contested_until_a_connection_lasted() {
        let (usual, start) = (Duration::from_secs(5), Instant::now());
        let mut guard = NameGuard::default();
        assert_eq!(guard.healthy_after(usual), usual);
        for _ in 0..KICKS {
            guard.kicked(start, &uri("a"));
        }
        assert_eq!(guard.healthy_after(usual), CALM);
        assert_eq!(guard.healthy_after(2 * CALM), 2 * CALM);
        for short in [None, Some(CALM - Duration::from_millis(1))] {
            guard.lasted(short);
            assert_eq!(guard.healthy_after(usual), CALM, "{short:?}");
        }
        guard.lasted(Some(CALM));
        assert_eq!(guard.healthy_after(usual), usual);
    }
}
