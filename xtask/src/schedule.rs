//! Which fault happens when. Chaos draws a schedule from a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// One thing done to one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9` the server that most clients use now, and remember it.
    KillServerInUse,
    /// Start every dead server again, on its data and port.
    RestartDeadServers,
    /// `kill -9` a server.
    KillServer(usize),
    /// Start a dead server again, on its data and port.
    RestartServer(usize),
    /// SIGSTOP a server: its connections stay open and nothing answers.
    PauseServer(usize),
    /// SIGCONT it.
    ResumeServer(usize),
    /// `kill -9` a publisher.
    KillPublisher(usize),
    /// Start it again on its store.
    RestartPublisher(usize),
    /// `kill -9` a subscriber.
    KillSubscriber(usize),
    /// Start it again on its bookmark store.
    RestartSubscriber(usize),
}

/// A fault and its time after the first message was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timed {
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
}

/// How many processes of each kind there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) servers: usize,
    pub(crate) publishers: usize,
    pub(crate) subscribers: usize,
}

/// A random schedule within `duration`, the same for the same seed.
///
/// Each process has its own chain of healthy and faulty times, so any number may
/// be down at once. In half of all schedules there is a moment at which every
/// server that runs is killed. A chain may end in a fault: healing what is left
/// is the engine's part.
pub(crate) fn random(seed: u64, duration: Duration, crowd: Crowd) -> Vec<Timed> {
    let mut rng = StdRng::seed_from_u64(seed);
    let blackout = rng.random_bool(0.5).then(|| duration.mul_f64(rng.random_range(0.3..0.8)));
    let mut all = Vec::new();
    for server in 0..crowd.servers {
        let chain = Chain { healthy: 3.0..10.0, faulty: 0.2..3.0, duration, forced: blackout };
        chain.extend(&mut rng, &mut all, |rng, forced| match !forced && rng.random_bool(0.3) {
            true => (Fault::PauseServer(server), Fault::ResumeServer(server)),
            false => (Fault::KillServer(server), Fault::RestartServer(server)),
        });
    }
    for publisher in 0..crowd.publishers {
        let chain = Chain { healthy: 3.0..12.0, faulty: 0.1..2.0, duration, forced: None };
        chain.extend(&mut rng, &mut all, |_, _| (Fault::KillPublisher(publisher), Fault::RestartPublisher(publisher)));
    }
    for subscriber in 0..crowd.subscribers {
        let chain = Chain { healthy: 3.0..12.0, faulty: 0.1..2.0, duration, forced: None };
        chain.extend(&mut rng, &mut all, |_, _| {
            (Fault::KillSubscriber(subscriber), Fault::RestartSubscriber(subscriber))
        });
    }
    all.sort_by_key(|timed| timed.at);
    all
}

/// Healthy and faulty times in turn; ranges in seconds.
struct Chain {
    healthy: std::ops::Range<f64>,
    faulty: std::ops::Range<f64>,
    duration: Duration,
    /// A healthy time ends here at the latest.
    forced: Option<Duration>,
}

impl Chain {
    fn extend(self, rng: &mut StdRng, all: &mut Vec<Timed>, pick: impl Fn(&mut StdRng, bool) -> (Fault, Fault)) {
        let mut now = Duration::ZERO;
        loop {
            let mut at = now + Duration::from_secs_f64(rng.random_range(self.healthy.clone()));
            let forced = self.forced.filter(|&forced| now < forced && forced <= at);
            at = forced.unwrap_or(at);
            if at >= self.duration {
                return;
            }
            let (fault, repair) = pick(rng, forced.is_some());
            all.push(Timed { at, fault });
            now = at + Duration::from_secs_f64(rng.random_range(self.faulty.clone()));
            if now >= self.duration {
                return;
            }
            all.push(Timed { at: now, fault: repair });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROWD: Crowd = Crowd { servers: 3, publishers: 3, subscribers: 2 };
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
        assert_eq!(random(7, MINUTE, CROWD), random(7, MINUTE, CROWD));
        assert_ne!(random(7, MINUTE, CROWD), random(8, MINUTE, CROWD));
    }

    #[test]
    fn faults_come_in_time_order_within_the_duration() {
        for seed in 0..200 {
            let schedule = random(seed, MINUTE, CROWD);
            assert!(!schedule.is_empty());
            assert!(schedule.is_sorted_by_key(|timed| timed.at));
            assert!(schedule.iter().all(|timed| timed.at < MINUTE));
        }
    }

    #[test]
    fn each_server_fails_and_recovers_in_turn() {
        for seed in 0..200 {
            let mut up = [true; CROWD.servers];
            for timed in random(seed, MINUTE, CROWD) {
                match timed.fault {
                    Fault::KillServer(s) | Fault::PauseServer(s) => assert!(std::mem::replace(&mut up[s], false)),
                    Fault::RestartServer(s) | Fault::ResumeServer(s) => assert!(!std::mem::replace(&mut up[s], true)),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn some_schedules_have_every_server_down_at_once_and_some_have_a_pause() {
        let mut blackouts = 0;
        let mut pauses = 0;
        for seed in 0..100 {
            let mut down = 0;
            for timed in random(seed, MINUTE, CROWD) {
                match timed.fault {
                    Fault::KillServer(_) => down += 1,
                    Fault::RestartServer(_) => down -= 1,
                    Fault::PauseServer(_) => pauses += 1,
                    _ => {}
                }
                blackouts += usize::from(down == CROWD.servers);
            }
        }
        assert!(blackouts > 0 && pauses > 0);
    }

    #[test]
    fn nobody_left_to_break_is_an_empty_schedule() {
        assert_eq!(random(1, MINUTE, Crowd { servers: 0, publishers: 0, subscribers: 0 }), []);
    }
}
