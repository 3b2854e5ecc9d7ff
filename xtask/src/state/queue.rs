//! A queue drained by three workers of which one is killed in the midst of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use amps_client::{Client, PublishStore};
use amps_testserver::{QueueConfig, TestServer};

use super::{Watch, lines, start};
use crate::Failure;
use crate::output::shorten;

const QUEUE: &str = "orders";
const ORDERS: usize = 3_000;
const WORKERS: usize = 3;
/// The second worker dies when so many orders were handed out.
const KILL_AT: usize = 1_000;
const VICTIM: usize = 1;
/// A worker ends when nothing came for so many seconds.
const IDLE: &str = "2";
const LIMIT: Duration = Duration::from_secs(60);

/// What came of the queue.
#[derive(Debug, Default)]
pub(super) struct Drained {
    pub(super) orders: usize,
    /// For each worker: the orders it got, and those whose acknowledgement the
    /// server confirmed to it.
    pub(super) workers: Vec<Worker>,
    /// What the server still has.
    pub(super) left: usize,
    pub(super) verdict: Verdict,
}

/// The ledger of one worker.
#[derive(Debug, Default)]
pub(super) struct Worker {
    pub(super) killed: bool,
    /// Every delivery.
    pub(super) got: Vec<String>,
    /// Those that it was through with, before it acknowledged them.
    pub(super) done: Vec<String>,
    /// Those whose acknowledgement the server confirmed.
    pub(super) acked: BTreeSet<String>,
}

/// Judged from the ledgers and the server's queue.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// Nobody processed them to the end.
    pub(super) lost: Vec<String>,
    /// They were processed twice, or delivered again, although they were
    /// acknowledged, or nobody died who had them.
    pub(super) twice: Vec<String>,
    /// The worker that died had them, unacknowledged, and another got them.
    pub(super) again: Vec<String>,
}

impl Drained {
    pub(super) fn is_good(&self) -> bool {
        self.left == 0 && self.verdict.lost.is_empty() && self.verdict.twice.is_empty()
    }
}

pub(super) fn story(text: &str, dir: &Path, watch: &mut Watch) -> Result<Drained, Failure> {
    let orders: Vec<&str> = text.lines().take(ORDERS).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("cannot start the runtime: {error}")))?;
    let failed = |what: &str, error: &dyn std::fmt::Display| Failure::new(format!("{what}: {error}"));
    let queue = QueueConfig::new(QUEUE).lease(Duration::from_secs(60)).max_per_subscription_backlog(20);
    let server = runtime
        .block_on(TestServer::builder().name("Q").queue(queue).start())
        .map_err(|error| failed("cannot start a server", &error))?;
    let uri = server.uri();
    runtime.block_on(async {
        let client = Client::builder("gateway").server(&*uri).publish_store(PublishStore::Memory).connect();
        let client = client.await.map_err(|error| failed("cannot connect", &error))?;
        for order in &orders {
            client.publish(QUEUE, *order).await.map_err(|error| failed("cannot publish", &error))?;
        }
        client.flush().await.map_err(|error| failed("the orders are not persisted", &error))?;
        client.close(Duration::from_secs(1)).await;
        Ok(())
    })?;
    watch.say(&format!("{ORDERS} orders are in the queue"));

    let mut workers = Vec::new();
    for index in 0..WORKERS {
        let (name, ledger) = (format!("worker-{}", index + 1), ledger(dir, index));
        let ledger = ledger.to_string_lossy();
        let arguments =
            ["worker", "--name", &name, "--server", &uri, "--topic", QUEUE, "--ledger", &ledger, "--idle", IDLE];
        workers.push(start(&name, dir, &arguments)?);
    }
    let got = || (0..WORKERS).map(|index| Ok(read(dir, index)?.got.len())).sum::<Result<usize, Failure>>();
    if !watch.until(LIMIT, || Ok(got()? >= KILL_AT))? {
        return Err(Failure::new("the workers do not work"));
    }
    workers.remove(VICTIM).kill();
    watch.say(&format!("killed worker-{}", VICTIM + 1));
    // The others end when nothing comes any more.
    let ended = watch.until(LIMIT, || {
        let mut all = true;
        for worker in &mut workers {
            match worker.ended()? {
                Some(status) if !status.success() => return Err(worker.unexpected(status)),
                ended => all &= ended.is_some(),
            }
        }
        Ok(all)
    })?;
    if !ended {
        return Err(Failure::new("the workers do not end in time"));
    }
    let depth = runtime.block_on(server.wait_for_queue(QUEUE, |_| true));
    let mut workers = (0..WORKERS).map(|index| read(dir, index)).collect::<Result<Vec<_>, _>>()?;
    workers[VICTIM].killed = true;
    let verdict = judge(&orders, &workers);
    runtime.block_on(server.stop());
    Ok(Drained { orders: orders.len(), workers, left: depth.available + depth.leased + depth.elsewhere, verdict })
}

fn ledger(dir: &Path, worker: usize) -> PathBuf {
    dir.join(format!("worker-{}.ledger", worker + 1))
}

fn read(dir: &Path, worker: usize) -> Result<Worker, Failure> {
    let mut read = Worker::default();
    for line in lines(&ledger(dir, worker))? {
        match line.split_once(' ') {
            Some(("got", order)) => read.got.push(order.to_owned()),
            Some(("done", order)) => read.done.push(order.to_owned()),
            Some(("acked", order)) => _ = read.acked.insert(order.to_owned()),
            _ => return Err(Failure::new(format!("{line:?} is no entry of a ledger"))),
        }
    }
    Ok(read)
}

/// From the ledgers alone: what a server or a client lost or gave out twice, both
/// may not know of.
fn judge(orders: &[&str], workers: &[Worker]) -> Verdict {
    let mut deliveries: BTreeMap<&str, Vec<&Worker>> = BTreeMap::new();
    for worker in workers {
        for order in &worker.got {
            deliveries.entry(order).or_default().push(worker);
        }
    }
    let mut verdict = Verdict::default();
    for order in orders {
        let holders = deliveries.remove(order).unwrap_or_default();
        let done = workers.iter().flat_map(|worker| &worker.done).filter(|done| done == order).count();
        // Who died had it, and no acknowledgement of it was confirmed.
        let may_come_again = |worker: &&&Worker| worker.killed && !worker.acked.contains(*order);
        let had = holders.iter().filter(may_come_again).count();
        match (done, holders.len()) {
            (0, _) => verdict.lost.push((*order).to_owned()),
            (_, 1) => {}
            (_, 2) if had == 1 => verdict.again.push((*order).to_owned()),
            _ => verdict.twice.push((*order).to_owned()),
        }
    }
    // What nobody ordered.
    verdict.twice.extend(deliveries.keys().map(|order| shorten(order)));
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(orders: &[&str]) -> Vec<String> {
        orders.iter().map(|order| (*order).to_owned()).collect()
    }

    /// A worker that was through with all it got.
    fn worker(killed: bool, got: &[&str], acked: &[&str]) -> Worker {
        Worker { killed, got: owned(got), done: owned(got), acked: owned(acked).into_iter().collect() }
    }

    #[test]
    fn what_a_dead_worker_had_may_come_again_unless_it_was_acknowledged() {
        let orders = ["a", "b", "c", "d"];
        let dead = worker(true, &["a", "b", "c"], &["a"]);
        let verdict = judge(&orders, &[dead, worker(false, &["c", "d"], &["c", "d"])]);
        assert_eq!(verdict, Verdict { again: vec!["c".into()], ..Verdict::default() });

        let dead = worker(true, &["a"], &["a"]);
        let verdict = judge(&orders[..1], &[dead, worker(false, &["a"], &["a"])]);
        assert_eq!(verdict.twice, ["a"], "it was acknowledged");
    }

    /// The server took it from the dead worker and gave it to nobody.
    #[test]
    fn what_a_dead_worker_was_not_through_with_and_nobody_got_again_is_lost() {
        let dead = || Worker { done: owned(&["a"]), ..worker(true, &["a", "b", "c"], &["a"]) };
        let verdict = judge(&["a", "b", "c"], &[dead(), worker(false, &["c"], &["c"])]);
        assert_eq!(verdict, Verdict { lost: owned(&["b"]), again: owned(&["c"]), ..Verdict::default() });
    }

    #[test]
    fn lost_orders_and_those_that_two_living_workers_got_are_seen() {
        let verdict = judge(&["a", "b"], &[worker(false, &["a"], &["a"]), worker(false, &["a", "x"], &[])]);
        assert_eq!((verdict.lost, verdict.twice), (owned(&["b"]), owned(&["a", "x"])));
        let verdict = judge(&["a"], &[worker(false, &["a", "a"], &["a"])]);
        assert_eq!(verdict.twice, ["a"], "one worker got it twice");
        let verdict =
            judge(&["a"], &[worker(true, &["a"], &[]), worker(false, &["a"], &[]), worker(false, &["a"], &[])]);
        assert_eq!(verdict.twice, ["a"], "one died, and two got it");
        let drained = |left, verdict| Drained { left, verdict, ..Drained::default() };
        assert!(drained(0, Verdict::default()).is_good() && !drained(1, Verdict::default()).is_good());
        assert!(!drained(0, Verdict { lost: owned(&["a"]), ..Verdict::default() }).is_good());
    }
}
