//! Many clients that lose one server at the same moment.

use super::*;

const CLIENTS: u64 = 10_000;

/// When clients dial each server again, in milliseconds after the loss, while
/// attempts fail at once until `dead_for` has passed.
fn attempts(servers: &[&str], dead_for: Duration) -> BTreeMap<String, Vec<u64>> {
    let lost = Instant::now();
    let mut by_server = BTreeMap::<String, Vec<u64>>::new();
    for seed in 0..CLIENTS {
        let chooser: ListChooser = servers.iter().map(|host| uri(host)).collect();
        let reconnect = Box::new(ExponentialReconnect::new(seed));
        let session = Session::new(SessionConfig::default(), Box::new(chooser), reconnect);
        let mut scene = Scene { session, now: lost - Duration::from_secs(60) };
        scene.session.start(scene.now);
        scene.reach("live");
        scene.wait(Duration::from_secs(60));
        scene.session.lost(lost, Cause::Closed);
        scene.actions();
        loop {
            if scene.session.attempt.is_none() {
                scene.next_deadline();
            }
            let at = scene.now - lost;
            let host = scene.session.uri().unwrap().host().to_owned();
            by_server.entry(host).or_default().push(u64::try_from(at.as_millis()).unwrap());
            if at >= dead_for {
                break;
            }
            scene.session.failed(scene.now, Cause::Closed);
            scene.actions();
        }
    }
    by_server
}

/// The most attempts within any 100 ms.
fn peak(attempts: &[u64]) -> usize {
    let mut buckets = BTreeMap::new();
    for at in attempts {
        *buckets.entry(at / 100).or_insert(0) += 1;
    }
    buckets.into_values().max().unwrap_or(0)
}

/// Covers 11.3#6, 20#10.
#[test]
fn ten_thousand_clients_that_lost_one_server_do_not_come_back_in_step() {
    for (servers, dead_for) in [
        (&["a"][..], Duration::ZERO),
        (&["a"], Duration::from_secs(30)),
        (&["a", "b"], Duration::ZERO),
        (&["a", "b", "c"], Duration::from_secs(5)),
    ] {
        for (server, attempts) in attempts(servers, dead_for) {
            let peak = peak(&attempts);
            assert!(peak < CLIENTS as usize / 4, "{server} of {servers:?}, dead for {dead_for:?}: {peak} in 100 ms");
        }
    }
}
