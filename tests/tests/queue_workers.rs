//! Several workers on one queue, with virtual time: whatever happens to
//! connections, workers and the server, each message is worked through, and
//! never again once its acknowledgement is confirmed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use amps_core::{CommandOptions, Message};
use amps_ha::client_core::Request;
use amps_ha::subscriptions::{
    AckBatching, AckOption, Added, Item, QueueLimits, SubscriptionKind, SubscriptionQueue, SubscriptionSpec,
};
use amps_tests::pair::Answer;
use amps_tests::{ClientSetup, Entered, Kill, Pair};
use amps_testserver::{Config, Leasing, Link, QueueConfig};
use proptest::prelude::*;
use rand::RngExt;
use tokio::sync::oneshot;

const WORKERS: usize = 3;
const MESSAGES: usize = 60;

/// One life of a worker.
struct Worker {
    client: usize,
    entered: Entered,
    /// What it works on, until when.
    busy: Vec<(Instant, Message)>,
    /// Acknowledged, and not asked for yet whether the server has it.
    acknowledged: Vec<String>,
    /// Asked for.
    flush: Option<(Answer, Vec<String>)>,
}

/// What all workers did.
#[derive(Default)]
struct Ledger {
    begun: BTreeMap<String, usize>,
    confirmed: BTreeSet<String>,
    /// Acknowledged too late: not counted as done.
    refused: usize,
}

fn body(message: &Message) -> String {
    String::from_utf8_lossy(message.data()).into_owned()
}

impl Worker {
    fn start(pair: &mut Pair, client: usize) -> Self {
        let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "work");
        spec.options = CommandOptions::new().max_backlog(pair.random.random_range(1..=6));
        let size = pair.random.random_range(1..=8);
        let timeout = Some(Duration::from_millis(pair.random.random_range(1..=300)));
        let batching = AckBatching { size, timeout };
        let entered = pair.enter_acking(client, spec, QueueLimits::default(), batching);
        Self { client, entered, busy: Vec::new(), acknowledged: Vec::new(), flush: None }
    }

    fn queue(&self) -> &Arc<SubscriptionQueue> {
        &self.entered.queue
    }

    /// Takes messages, finishes some, asks whether the server has what was
    /// acknowledged. `slowest`: how long work takes at most.
    fn turn(&mut self, pair: &mut Pair, ledger: &mut Ledger, slowest: Duration, exact: bool) {
        if let Some((mut answer, asked)) = self.flush.take() {
            match answer.try_recv() {
                Ok(Ok(())) => ledger.confirmed.extend(asked),
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => {}
                Err(oneshot::error::TryRecvError::Empty) => self.flush = Some((answer, asked)),
            }
        }
        self.entered.take(10);
        for item in std::mem::take(&mut self.entered.items) {
            let Item::Message(message) = item else { continue };
            if !self.queue().with_acks(|acks| acks.is_leased(&message)) {
                continue;
            }
            let body = body(&message);
            let again = exact && ledger.confirmed.contains(&body);
            assert!(!again, "{body} is begun after its acknowledgement was confirmed: {}", pair.describe());
            *ledger.begun.entry(body).or_default() += 1;
            let time = slowest.mul_f64(pair.random.random_range(0.0..1.0));
            self.busy.push((pair.now + time, message));
        }
        let now = pair.now;
        let done: Vec<_> = self.busy.extract_if(.., |(until, _)| *until <= now).collect();
        for (_, message) in done {
            let option = match pair.random.random_range(0..10) {
                0 => Some(AckOption::Cancel),
                _ => None,
            };
            let added = self.queue().with_acks(|acks| acks.add(&message, option));
            if added == Added::Tell {
                pair.request(self.client, Request::Acks(Arc::clone(self.queue())));
            }
            match (added.is_taken(), option) {
                (true, None) => self.acknowledged.push(body(&message)),
                (true, Some(_)) => {}
                (false, _) => ledger.refused += 1,
            }
        }
        if self.flush.is_none() && pair.random.random_range(0..20) == 0 {
            let (reply, answer) = oneshot::channel();
            let queue = Some(Arc::clone(self.queue()));
            pair.request(self.client, Request::FlushAcks { queue, reply: reply.into() });
            self.flush = Some((answer, std::mem::take(&mut self.acknowledged)));
        }
    }
}

/// What the server counted, over its lives.
#[derive(Default)]
struct Counted {
    unleased: u64,
    violations: usize,
}

impl Counted {
    fn add(&mut self, pair: &mut Pair) {
        let stats = pair.server(0).stats();
        self.unleased += stats.unleased;
        self.violations += stats.violations.len();
    }
}

/// Works through the queue while connections are cut, workers killed and the
/// server crashes. Work takes longer than getting connected again, so that it
/// ends on another connection than it began on. `exact`: leases end with their connection only, so that
/// nobody works on what somebody else has.
fn work_through(seed: u64, queue: QueueConfig, slowest: Duration, exact: bool) -> Ledger {
    let config = Config::new("s0").ack_conflation(Duration::from_millis(20)).queue(queue);
    let mut pair = Pair::with_configs(seed, vec![config]);
    let publisher = pair.client(ClientSetup::new("publisher", [0]));
    for number in 0..MESSAGES {
        pair.publish_to(publisher, "work", number.to_string()).unwrap();
    }
    let mut workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let client = pair.client(ClientSetup::new(&format!("worker{number}"), [0]));
            Worker::start(&mut pair, client)
        })
        .collect();
    let (mut ledger, mut counted, mut down) = (Ledger::default(), Counted::default(), None);
    let mut troubles = pair.random.random_range(0..25);
    loop {
        let which = pair.random.random_range(0..WORKERS);
        let trouble = if troubles > 0 { pair.random.random_range(0..30) } else { usize::MAX };
        troubles -= usize::from(trouble < 4);
        match trouble {
            0 => drop(pair.cut(workers[which].client)),
            1 => {
                let at = pair.random.random_range(0..3_000);
                pair.cut_next(0, Some(at), None);
            }
            2 => {
                let client = workers[which].client;
                pair.kill(client, Kill::Process);
                pair.start_client(client);
                workers[which] = Worker::start(&mut pair, client);
            }
            3 if down.is_none() => {
                counted.add(&mut pair);
                pair.crash_server(0);
                down = Some(pair.now + Duration::from_millis(pair.random.random_range(0..3_000)));
            }
            _ => {}
        }
        if down.take_if(|until| *until <= pair.now).is_some() {
            pair.start_server(0);
        }
        for worker in &mut workers {
            worker.turn(&mut pair, &mut ledger, slowest, exact);
        }
        for _ in 0..pair.random.random_range(0..30) {
            pair.step();
        }
        let time = Duration::from_micros(pair.random.random_range(0..200_000));
        pair.run_for(time);
        let settled = pair.settled(publisher) && workers.iter().all(|worker| worker.busy.is_empty());
        if settled && down.is_none() {
            let depth = pair.server(0).queue("work").unwrap();
            if depth.available + depth.leased == 0 {
                break;
            }
        }
        assert!(pair.elapsed() < Duration::from_secs(3600), "no end: {}", pair.describe());
    }
    counted.add(&mut pair);
    assert_eq!(ledger.begun.len(), MESSAGES, "each is worked on: {}", pair.describe());
    assert_eq!(counted.violations, 0, "{}", pair.describe());
    if exact {
        assert_eq!(counted.unleased, 0, "only what a connection has leased is acknowledged on it: {}", pair.describe());
    }
    ledger
}

// `PROPTEST_CASES` of each. A failure prints the seed.
proptest! {
    #![proptest_config(ProptestConfig { cases: amps_tests::cases(50), failure_persistence: None, ..ProptestConfig::default() })]

    /// Leases end with their connections: nothing is acknowledged on a
    /// connection that does not have it, and nothing is begun once it is
    /// confirmed that it is done.
    #[test]
    fn workers_that_die_lose_nothing_and_do_nothing_twice_that_is_confirmed(seed: u64) {
        let queue = QueueConfig::new("work").leasing(Leasing::Strict).max_per_subscription_backlog(5);
        work_through(seed, queue, Duration::from_secs(3), true);
    }

    /// Leases also end by time, in the middle of the work.
    #[test]
    fn workers_slower_than_their_leases_get_through(seed: u64) {
        let lease = Duration::from_secs(1);
        let queue = QueueConfig::new("work").lease(lease).max_per_subscription_backlog(4);
        work_through(seed, queue, 2 * lease, false);
    }
}

/// Batches of three, and a second: seven acknowledgements are two batches at
/// once and one a second after.
///
/// Covers 8.2#1.
#[test]
fn seven_acknowledgements_are_three_and_three_at_once_and_one_a_second_later() {
    let queue = QueueConfig::new("work").max_per_subscription_backlog(10);
    let mut pair = Pair::with_configs(1, vec![Config::new("s0").queue(queue)]);
    let client = pair.client(ClientSetup::new("me", [0]));
    for number in 0..7 {
        pair.publish_to(client, "work", number.to_string()).unwrap();
    }
    let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "work");
    spec.options = CommandOptions::new().max_backlog(10);
    let batching = AckBatching { size: 3, timeout: Some(Duration::from_secs(1)) };
    let mut entered = pair.enter_acking(client, spec, QueueLimits::default(), batching);
    pair.run_until(Duration::from_secs(5), |_| {
        entered.take(10);
        entered.items.len() == 7
    });
    let begun = pair.now;
    for item in &entered.items {
        let Item::Message(message) = item else { panic!("{item:?}") };
        assert!(entered.queue.with_acks(|acks| acks.add(message, None)).is_taken());
    }
    pair.request(client, Request::Acks(Arc::clone(&entered.queue)));
    let sizes = |pair: &mut Pair| -> Vec<usize> {
        let commands = &pair.server(0).stats().commands;
        let acks = commands.iter().filter(|command| command.kind == amps_core::message::MessageKind::SowDelete);
        acks.map(|ack| ack.bookmark.as_deref().unwrap_or_default().split(',').count()).collect()
    };
    pair.run_for(Duration::from_millis(990));
    assert_eq!(sizes(&mut pair), [3, 3]);
    pair.run_until(Duration::from_secs(1), |pair| sizes(pair).len() == 3);
    assert_eq!(sizes(&mut pair), [3, 3, 1]);
    let passed = pair.now - begun;
    assert!((1000..1010).contains(&passed.as_millis()), "{passed:?}");
}

/// A consumer with room for one message, that finishes nothing by itself.
fn holder(pair: &mut Pair, client: usize) -> Entered {
    let spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "work");
    let entered = pair.enter_acking(client, spec, QueueLimits::default(), AckBatching::default());
    pair.run_live(client);
    entered
}

/// Finishes what there is, and says what that was.
fn finish(pair: &mut Pair, client: usize, entered: &mut Entered) -> Vec<String> {
    entered.take(10);
    let items: Vec<_> = entered.items.drain(..).collect();
    let messages =
        items.into_iter().filter_map(|item| if let Item::Message(message) = item { Some(message) } else { None });
    let messages: Vec<Message> = messages.collect();
    for message in &messages {
        entered.queue.with_acks(|acks| acks.add(message, None));
        pair.request(client, Request::Acks(Arc::clone(&entered.queue)));
    }
    pair.run_for(Duration::from_secs(2));
    messages.iter().map(|message| body(message)[..2].to_owned()).collect()
}

/// It hands a message over before it has read again that it gave another away
/// for good; found by seed 1000182 of the simulation.
#[test]
fn a_server_that_lost_its_log_learns_again_what_was_acknowledged() {
    let config = |own: usize| {
        let config = Config::new(format!("s{own}")).queue(QueueConfig::new("work")).incarnation(1_000_000);
        config.peer(format!("s{}", 1 - own), Link::Sync)
    };
    let mut pair = Pair::with_configs(1, vec![config(0), config(1)]);
    let here = pair.client(ClientSetup::new("here", [0]));
    let there = pair.client(ClientSetup::new("there", [1]));
    let publishers = [0, 1].map(|server| pair.client(ClientSetup::new(&format!("publisher{server}"), [server])));
    let publish = |pair: &mut Pair, from: usize, topic: &str, text: &str| {
        pair.publish_to(publishers[from], topic, format!("{text} {}", "x".repeat(20_000))).unwrap();
        pair.run_settled(publishers[from]);
    };
    let mut at_first = holder(&mut pair, here);
    publish(&mut pair, 0, "work", "m0");
    let mut at_second = holder(&mut pair, there);
    publish(&mut pair, 1, "work", "m1");
    publish(&mut pair, 1, "work", "m2");
    publish(&mut pair, 1, "pad", "p");
    assert_eq!(finish(&mut pair, there, &mut at_second), ["m1"]);
    pair.forget(there);
    pair.run_for(Duration::from_secs(1));
    pair.crash_server(1);
    assert_eq!(finish(&mut pair, here, &mut at_first), ["m0"]);
    pair.wipe_server(1);
    pair.run_for(Duration::from_secs(20));
    assert_eq!(finish(&mut pair, here, &mut at_first), ["m2"], "which the other hands over");
    for server in 0..2 {
        let depth = pair.server(server).queue("work").unwrap();
        assert_eq!(depth.available + depth.elsewhere + depth.leased, 0, "s{server}: {depth:?}");
    }
}
