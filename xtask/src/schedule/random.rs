//! A random schedule.

use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::{Crowd, Disk, Fault, Path, Timed, Trouble};

/// Each has kinds of faults of its own.
const CHAPTER: Duration = Duration::from_secs(60);

/// Which kinds of faults a chapter has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinds {
    /// Some, by the seed.
    Drawn,
    /// All of them.
    All,
}

/// A random schedule within `duration`, the same for the same seed.
///
/// It goes in chapters of a minute. Each draws the kinds of faults it has, so
/// that some have much of one kind and nothing of others. Within a chapter each
/// process, and each client's network, has its own chain of healthy and faulty
/// times: any number may be faulty at once. In half of all chapters in which
/// servers are killed there is a moment at which every server that runs is.
pub(crate) fn random(seed: u64, duration: Duration, crowd: Crowd, kinds: Kinds) -> Vec<Timed> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut all = Vec::new();
    let mut begin = Duration::ZERO;
    while begin < duration {
        let end = (begin + CHAPTER).min(duration);
        Chapter { rng: &mut rng, all: &mut all, begin, end }.write(crowd, kinds);
        begin = end;
    }
    all.sort_by_key(|timed| timed.at);
    all
}

struct Chapter<'a> {
    rng: &'a mut StdRng,
    all: &'a mut Vec<Timed>,
    begin: Duration,
    end: Duration,
}

/// The ways one process can fail: the beginning and the end of each.
type Ways = Vec<(Fault, Fault)>;

impl Chapter<'_> {
    fn write(&mut self, crowd: Crowd, which: Kinds) {
        let Crowd { servers, publishers, subscribers, consumers } = crowd;
        let clients = publishers + subscribers + consumers;
        let mut kinds = [which == Kinds::All; 10];
        while kinds == [false; 10] {
            kinds = std::array::from_fn(|_| self.rng.random_bool(0.6));
        }
        let [kills, pauses, client_kills, client_pauses, disks, links, peers, names, slow, cut_off] = kinds;
        if kills && self.rng.random_bool(0.25) {
            self.roll(servers);
        } else {
            let blackout = kills && self.rng.random_bool(0.5);
            let blackout =
                blackout.then(|| self.begin + (self.end - self.begin).mul_f64(self.rng.random_range(0.3..0.8)));
            for server in 0..servers {
                let kill = (Fault::KillServer(server), Fault::RestartServer(server));
                let pause = (Fault::PauseServer(server), Fault::ResumeServer(server));
                self.chain(&[(kills, kill), (kills, kill), (pauses, pause)], 3.0..10.0, 0.2..3.0, blackout);
            }
        }
        for publisher in 0..publishers {
            let kill = (Fault::KillPublisher(publisher), Fault::RestartPublisher(publisher));
            let pause = (Fault::PausePublisher(publisher), Fault::ResumePublisher(publisher));
            let disk = (Fault::FillDisk(publisher), Fault::FreeDisk(publisher));
            self.chain(&[(client_kills, kill), (client_pauses, pause), (disks, disk)], 3.0..12.0, 0.1..4.0, None);
        }
        for subscriber in 0..subscribers {
            let kill = (Fault::KillSubscriber(subscriber), Fault::RestartSubscriber(subscriber));
            let pause = (Fault::PauseSubscriber(subscriber), Fault::ResumeSubscriber(subscriber));
            self.chain(&[(client_kills, kill), (client_pauses, pause)], 3.0..12.0, 0.1..4.0, None);
        }
        for consumer in 0..consumers {
            let kill = (Fault::KillConsumer(consumer), Fault::RestartConsumer(consumer));
            let pause = (Fault::PauseConsumer(consumer), Fault::ResumeConsumer(consumer));
            self.chain(&[(client_kills, kill), (client_pauses, pause)], 3.0..12.0, 0.1..4.0, None);
        }
        if slow {
            let clients = (0..publishers).map(Disk::Publisher).chain((0..subscribers).map(Disk::Subscriber));
            for disk in (0..servers).map(Disk::Server).chain(clients) {
                let most = if matches!(disk, Disk::Server(_)) { 100 } else { 500 };
                let way = (Fault::SlowDisk(disk, self.rng.random_range(5..most)), Fault::QuickDisk(disk));
                self.chain(&[(true, way)], 4.0..20.0, 0.5..6.0, None);
            }
        }
        if cut_off && servers > 1 {
            self.cut_off(servers);
        }
        if links {
            for client in 0..clients {
                self.break_links(|rng| Path::Client {
                    client,
                    server: rng.random_bool(0.6).then(|| rng.random_range(0..servers)),
                });
            }
        }
        if peers {
            for (a, b) in (0..servers).flat_map(|a| (0..a).map(move |b| (a, b))) {
                self.break_links(|_| Path::Peers(a, b));
            }
        }
        if names {
            for client in 0..clients {
                self.take_name(client);
            }
        }
    }

    /// A process breaks in one of the ways that are on, and is mended, again and
    /// again. Whatever it does at `forced`, it fails the first way then.
    fn chain(
        &mut self,
        ways: &[(bool, (Fault, Fault))],
        healthy: Range<f64>,
        faulty: Range<f64>,
        forced: Option<Duration>,
    ) {
        let ways: Ways = ways.iter().filter(|(on, _)| *on).map(|(_, way)| *way).collect();
        if ways.is_empty() {
            return;
        }
        let mut now = self.begin;
        loop {
            let mut at = now + self.seconds(healthy.clone());
            let forced = forced.filter(|&forced| now < forced && forced <= at);
            at = forced.unwrap_or(at);
            let way = if forced.is_some() { ways.first() } else { ways.choose(self.rng) };
            let Some((fault, end)) = way.filter(|_| at < self.end) else { return };
            now = self.add(at, *fault, *end, faulty.clone());
        }
    }

    /// Servers go down one after another, for so long that the one before is back.
    fn roll(&mut self, servers: usize) {
        let mut now = self.begin + self.seconds(1.0..4.0);
        for server in (0..servers).cycle() {
            if now >= self.end || servers == 0 {
                return;
            }
            now = self.add(now, Fault::KillServer(server), Fault::RestartServer(server), 0.2..2.0);
            now += self.seconds(0.5..3.0);
        }
    }

    /// One server after another, any of them, is left behind by the others.
    fn cut_off(&mut self, servers: usize) {
        let mut now = self.begin;
        loop {
            let at = now + self.seconds(4.0..15.0);
            if at >= self.end {
                return;
            }
            let server = self.rng.random_range(0..servers);
            now = self.add(at, Fault::CutOff(server), Fault::TakeBack(server), 1.0..6.0);
        }
    }

    fn break_links(&mut self, path: impl Fn(&mut StdRng) -> Path) {
        let mut now = self.begin;
        loop {
            let at = now + self.seconds(2.0..10.0);
            if at >= self.end {
                return;
            }
            let path = path(self.rng);
            let trouble = match self.rng.random_range(0..9) {
                0 => Trouble::Cut,
                1 => Trouble::CutAfter(self.rng.random_range(1..20_000)),
                2 => Trouble::Refused,
                3 => Trouble::Stalled,
                4 => Trouble::StalledThere,
                5 => Trouble::StalledBack,
                6 => Trouble::Swallowed,
                7 => Trouble::Narrow(self.rng.random_range(1_000..100_000)),
                _ => Trouble::Split,
            };
            now = self.add(at, Fault::Break(path, trouble), Fault::Mend(path), 0.2..5.0);
        }
    }

    /// Not so often that the client would take it for a fight.
    fn take_name(&mut self, client: usize) {
        let mut at = self.begin + self.seconds(2.0..30.0);
        while at < self.end {
            self.all.push(Timed { at, fault: Fault::TakeName(client) });
            at += self.seconds(15.0..40.0);
        }
    }

    /// Adds a fault and its end, which comes in this chapter; answers when.
    fn add(&mut self, at: Duration, fault: Fault, end: Fault, faulty: Range<f64>) -> Duration {
        let over = (at + self.seconds(faulty)).min(self.end);
        self.all.extend([Timed { at, fault }, Timed { at: over, fault: end }]);
        over
    }

    fn seconds(&mut self, range: Range<f64>) -> Duration {
        Duration::from_secs_f64(self.rng.random_range(range))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const CROWD: Crowd = Crowd { servers: 3, publishers: 3, subscribers: 2, consumers: 3 };
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
        assert_eq!(random(7, MINUTE, CROWD, Kinds::Drawn), random(7, MINUTE, CROWD, Kinds::Drawn));
        assert_ne!(random(7, MINUTE, CROWD, Kinds::Drawn), random(8, MINUTE, CROWD, Kinds::Drawn));
    }

    #[test]
    fn faults_come_in_time_order_within_the_duration() {
        for seed in 0..200 {
            let schedule = random(seed, MINUTE, CROWD, Kinds::Drawn);
            assert!(!schedule.is_empty());
            assert!(schedule.is_sorted_by_key(|timed| timed.at));
            assert!(schedule.iter().all(|timed| timed.at <= MINUTE));
        }
    }

    #[test]
    fn each_server_fails_and_recovers_in_turn_and_chapters_end_whole() {
        for seed in 0..200 {
            let mut up = [true; CROWD.servers];
            for timed in random(seed, 3 * MINUTE, CROWD, Kinds::Drawn) {
                match timed.fault {
                    Fault::KillServer(s) | Fault::PauseServer(s) => assert!(std::mem::replace(&mut up[s], false)),
                    Fault::RestartServer(s) | Fault::ResumeServer(s) => assert!(!std::mem::replace(&mut up[s], true)),
                    _ => {}
                }
            }
            assert_eq!(up, [true; CROWD.servers]);
        }
    }

    #[test]
    fn an_hour_has_every_kind_of_fault_and_every_server_down_at_once() {
        let mut kinds = HashSet::new();
        let (mut down, mut blackouts) = (0, 0);
        for timed in random(3, 60 * MINUTE, CROWD, Kinds::Drawn) {
            kinds.insert(match timed.fault {
                Fault::Break(Path::Client { .. }, trouble) => format!("link {:?}", std::mem::discriminant(&trouble)),
                fault => format!("{:?}", std::mem::discriminant(&fault)),
            });
            match timed.fault {
                Fault::KillServer(_) => down += 1,
                Fault::RestartServer(_) => down -= 1,
                _ => {}
            }
            blackouts += usize::from(down == CROWD.servers);
        }
        // Faults and ends of processes, trouble between servers, and nine of clients.
        assert_eq!(kinds.len(), 25 + 9, "{kinds:?}");
        assert!(blackouts > 0);
    }

    #[test]
    fn a_short_schedule_of_all_kinds_kills_every_process() {
        let schedule = random(0, MINUTE / 2, CROWD, Kinds::All);
        let kinds: HashSet<_> = schedule.iter().map(|timed| std::mem::discriminant(&timed.fault)).collect();
        for fault in [Fault::KillServer(0), Fault::KillPublisher(0), Fault::KillSubscriber(0), Fault::KillConsumer(0)] {
            assert!(kinds.contains(&std::mem::discriminant(&fault)), "{fault:?}");
        }
    }

    #[test]
    fn nobody_left_to_break_is_an_empty_schedule() {
        assert_eq!(
            random(1, MINUTE, Crowd { servers: 0, publishers: 0, subscribers: 0, consumers: 0 }, Kinds::Drawn),
            []
        );
    }
}
