//! A queue on several instances: who owns a message, who gets it, and what an
//! acknowledgement does elsewhere.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use amps_core::Bookmark;
use amps_testserver::{Leasing, QueueConfig};
use common::fabric::{Consumer, Fabric, message};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
const NONE: [u64; 0] = [];

fn work() -> QueueConfig {
    QueueConfig::new("work").max_per_subscription_backlog(5)
}

/// The sequences of what came.
fn received(fabric: &mut Fabric, consumer: &mut Consumer) -> Vec<u64> {
    fabric.received(consumer).into_iter().map(|bookmark| bookmark.sequence).collect()
}

fn done(fabric: &mut Fabric, consumer: &mut Consumer, sequences: &[u64]) {
    let messages: Vec<_> = sequences.iter().map(|sequence| message(0, *sequence)).collect();
    fabric.acknowledge(consumer, &messages, "");
}

#[test]
fn consumers_on_both_instances_drain_one_queue() {
    let mut fabric = Fabric::new(2, work());
    let mut consumers = [fabric.consumer(0, 2), fabric.consumer(1, 2)];
    fabric.publish(0, 20);
    let mut processed = Vec::new();
    let mut shares = [0, 0];
    for _ in 0..40 {
        fabric.settle();
        for (at, consumer) in consumers.iter_mut().enumerate() {
            let messages = fabric.received(consumer);
            shares[at] += messages.len();
            fabric.acknowledge(consumer, &messages, "");
            processed.extend(messages);
        }
    }
    processed.sort_unstable();
    assert_eq!(processed, (1..=20).map(|sequence| message(0, sequence)).collect::<Vec<_>>(), "each once");
    assert!(shares.iter().all(|share| *share >= 2), "{shares:?}");
    assert_eq!([fabric.depth(0), fabric.depth(1)], [(0, 0, 0); 2]);
}

#[test]
fn an_owner_serves_its_own_subscriptions_first_and_gives_away_the_rest() {
    let mut fabric = Fabric::new(2, work());
    let mut here = fabric.consumer(0, 2);
    let mut there = fabric.consumer(1, 1);
    fabric.publish(0, 5);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut here), [1, 2]);
    assert_eq!(received(&mut fabric, &mut there), [3]);
    assert_eq!([fabric.depth(0), fabric.depth(1)], [(2, 1, 2), (0, 4, 1)]);
    // Given back it stays where it is, until somebody else has room for it.
    let third = message(0, 3);
    fabric.acknowledge(&mut there, &[third], "cancel");
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut there), [3]);
    fabric.leave(there);
    done(&mut fabric, &mut here, &[1]);
    fabric.settle();
    let next = received(&mut fabric, &mut here);
    assert!(next == [3] || next == [4], "{next:?}");
    done(&mut fabric, &mut here, &[2, next[0]]);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut here).len(), 2);
}

#[test]
fn an_owner_that_dies_keeps_its_messages_and_comes_back_with_them() {
    let mut fabric = Fabric::new(2, work());
    let mut consumer = fabric.consumer(1, 1);
    fabric.publish(0, 4);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut consumer), [1]);
    fabric.crash(0);
    done(&mut fabric, &mut consumer, &[1]);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut consumer), NONE, "the others are not this instance's to deliver");
    assert_eq!(fabric.depth(1), (0, 3, 0), "but they are there");
    fabric.start(0);
    fabric.settle();
    for sequence in 2..=4 {
        assert_eq!(received(&mut fabric, &mut consumer), [sequence]);
        done(&mut fabric, &mut consumer, &[sequence]);
        fabric.settle();
    }
    // Nothing comes again, wherever it is asked for and after whatever restart.
    for node in [0, 1] {
        fabric.crash(node);
    }
    fabric.heal();
    fabric.settle();
    assert_eq!([fabric.depth(0), fabric.depth(1)], [(0, 0, 0); 2]);
}

#[test]
fn an_instance_that_was_given_messages_and_dies_has_them_when_it_is_back() {
    let mut fabric = Fabric::new(2, work());
    let mut there = fabric.consumer(1, 2);
    fabric.publish(0, 2);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut there), [1, 2]);
    done(&mut fabric, &mut there, &[1]);
    // Before the owner was told.
    fabric.crash(1);
    let mut here = fabric.consumer(0, 5);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut here), NONE);
    fabric.start(1);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut here), [2], "what was acknowledged is gone");
}

#[test]
fn a_consumer_fails_over_with_a_lease() {
    let mut fabric = Fabric::new(2, work());
    let mut consumer = fabric.consumer(0, 2);
    fabric.publish(0, 2);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut consumer), [1, 2]);
    fabric.crash(0);
    let mut consumer = fabric.consumer(1, 2);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut consumer), NONE, "the owner may be alive");
    fabric.start(0);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut consumer), [1, 2], "leases do not outlive the owner");
    done(&mut fabric, &mut consumer, &[1, 2]);
    fabric.settle();
    assert_eq!([fabric.depth(0), fabric.depth(1)], [(0, 0, 0); 2]);
}

#[test]
fn proxied_transfer_takes_over_what_an_owner_that_is_gone_has() {
    let mut fabric = Fabric::new(2, work());
    let mut consumer = fabric.consumer(0, 2);
    fabric.publish(0, 3);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut consumer), [1, 2]);
    fabric.crash(0);
    let mut consumer = fabric.consumer(1, 2);
    let now = fabric.now;
    assert!(fabric.engine(1).proxied_transfer(now, "work", true));
    assert!(!fabric.engine(1).proxied_transfer(now, "nothing", true));
    assert_eq!(received(&mut fabric, &mut consumer), [1, 2], "as much as there is room for");
    assert_eq!(fabric.depth(1), (0, 1, 2));
    done(&mut fabric, &mut consumer, &[1]);
    assert_eq!(received(&mut fabric, &mut consumer), [3]);
    fabric.start(0);
    fabric.settle();
    assert_eq!(fabric.depth(0), (0, 2, 0), "told that 1 is gone and that it has lost the others");
    done(&mut fabric, &mut consumer, &[2, 3]);
    fabric.settle();
    assert_eq!([fabric.depth(0), fabric.depth(1)], [(0, 0, 0); 2]);
}

#[test]
fn an_acknowledgement_counts_wherever_it_is_given() {
    for (leasing, left) in [(Leasing::Sublet, (0, 0, 0)), (Leasing::Strict, (0, 0, 1))] {
        let mut fabric = Fabric::new(2, work().leasing(leasing));
        let mut here = fabric.consumer(0, 1);
        fabric.publish(0, 1);
        fabric.settle();
        assert_eq!(received(&mut fabric, &mut here), [1]);
        let mut there = fabric.consumer(1, 1);
        done(&mut fabric, &mut there, &[1]);
        fabric.settle();
        assert_eq!(fabric.depth(0), left, "{leasing:?}");
    }
}

#[test]
fn a_third_instance_gets_what_the_owner_passed_on() {
    let mut fabric = Fabric::new(3, work());
    fabric.partition(0, 2, true);
    fabric.publish(0, 2);
    fabric.settle();
    assert_eq!(fabric.depth(2), (0, 2, 0), "by way of B, and not B's");
    let mut consumer = fabric.consumer(2, 2);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut consumer), NONE, "only who is linked can be asked");
    fabric.partition(0, 2, false);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut consumer), [1, 2]);
    assert_eq!(fabric.depth(1), (0, 2, 0));
    done(&mut fabric, &mut consumer, &[1, 2]);
    fabric.settle();
    assert_eq!(fabric.depth(1), (0, 0, 0));
}

/// A message that its publisher repeats at a second instance has two owners.
fn twice_published() -> Fabric {
    let mut fabric = Fabric::new(3, work());
    fabric.partition(0, 1, true);
    fabric.partition(0, 2, true);
    fabric.publish(0, 1);
    fabric.repeat(0, 1);
    fabric.settle();
    assert_eq!([fabric.depth(0), fabric.depth(1), fabric.depth(2)], [(1, 0, 0), (1, 0, 0), (0, 1, 0)]);
    fabric
}

fn a_worker_at_c_does_it(mut fabric: Fabric) {
    let mut consumer = fabric.consumer(2, 1);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut consumer), [1]);
    done(&mut fabric, &mut consumer, &[1]);
    fabric.settle();
    assert_eq!([fabric.depth(0), fabric.depth(1), fabric.depth(2)], [(0, 0, 0); 3]);
}

#[test]
fn an_owner_that_lost_its_disk_sends_on_who_asks_it() {
    let mut fabric = twice_published();
    // B reads it again from A.
    fabric.partition(1, 2, true);
    fabric.lose(1);
    fabric.partition(0, 1, false);
    fabric.start(1);
    fabric.settle();
    fabric.heal();
    fabric.settle();
    assert_eq!([fabric.depth(0), fabric.depth(1), fabric.depth(2)], [(1, 0, 0), (0, 1, 0), (0, 1, 0)]);
    a_worker_at_c_does_it(fabric);
}

#[test]
fn a_message_that_each_takes_for_the_others_has_an_owner_again() {
    let mut fabric = Fabric::new(3, work());
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        fabric.partition(a, b, true);
    }
    fabric.publish(0, 1);
    fabric.repeat(0, 1);
    // C has it from A; A, without its disk, has it from B, and then B from C.
    for (from, to) in [(0, 2), (1, 0), (2, 1)] {
        if to != 2 {
            fabric.lose(to);
            fabric.start(to);
        }
        fabric.partition(from, to, false);
        fabric.settle();
        fabric.partition(from, to, true);
    }
    fabric.heal();
    fabric.settle();
    assert_eq!([fabric.depth(0), fabric.depth(1), fabric.depth(2)], [(0, 1, 0); 3]);
    a_worker_at_c_does_it(fabric);
}

#[test]
fn of_two_owners_the_later_stays_when_somebody_asks() {
    let mut fabric = twice_published();
    fabric.heal();
    fabric.settle();
    let mut consumer = fabric.consumer(2, 1);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut consumer), [1]);
    assert_eq!([fabric.depth(0), fabric.depth(1)], [(0, 1, 0); 2]);
    done(&mut fabric, &mut consumer, &[1]);
    fabric.settle();
    assert_eq!([fabric.depth(0), fabric.depth(1), fabric.depth(2)], [(0, 0, 0); 3]);
}

#[test]
fn delivered_at_most_once_it_leaves_every_instance() {
    let queue = QueueConfig::new("work").at_most_once();
    let mut fabric = Fabric::new(2, queue);
    fabric.publish(0, 2);
    let mut consumer = fabric.consumer(1, 1);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut consumer), [1]);
    fabric.crash(1);
    fabric.heal();
    fabric.settle();
    assert_eq!([fabric.depth(0), fabric.depth(1)], [(1, 0, 0), (0, 1, 0)]);
}

#[test]
fn only_its_owner_lets_a_message_expire() {
    let mut fabric = Fabric::new(2, work().expiration(5 * SECOND));
    fabric.publish(0, 1);
    fabric.settle();
    fabric.partition(0, 1, true);
    fabric.tick(6 * SECOND);
    fabric.tick(SECOND);
    assert_eq!([fabric.depth(0), fabric.depth(1)], [(0, 0, 0), (0, 1, 0)]);
    fabric.partition(0, 1, false);
    fabric.settle();
    assert_eq!(fabric.depth(1), (0, 0, 0));
}

/// What instances tell each other is in the log and is nobody's message.
#[test]
fn subscriptions_do_not_see_what_instances_tell_each_other() {
    let mut fabric = Fabric::new(2, work());
    let mut consumer = fabric.consumer(1, 2);
    fabric.publish(0, 2);
    fabric.settle();
    assert_eq!(received(&mut fabric, &mut consumer), [1, 2]);
    done(&mut fabric, &mut consumer, &[1, 2]);
    fabric.settle();
    for node in [0, 1] {
        assert_eq!(fabric.engine(node).log().len(), 2);
        assert!(fabric.engine(node).stats().logged > 2);
        let now = fabric.now;
        let mut bench = common::Bench { engine: std::mem::replace(fabric.engine(node), other()), now };
        let mut wire = bench.logon("audit");
        let all = common::subscribe("1", ".*", amps_core::AckTypes::NONE);
        bench.send(&wire, all.text(amps_core::Field::Bookmark, "0"));
        assert_eq!(bench.drain(&mut wire).len(), 2);
    }
}

fn other() -> amps_testserver::Engine {
    amps_testserver::Engine::new(amps_testserver::Config::new("X"), Box::new(amps_testserver::NoJournal)).unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Publish(usize, u64),
    Consume(usize, u64),
    Leave(usize),
    Acknowledge(usize, usize),
    Cancel(usize),
    Crash(usize),
    Start(usize),
    Partition(usize, usize, bool),
    Carry(usize),
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..3usize;
    prop_oneof![
        3 => (node.clone(), 1..4u64).prop_map(|(node, count)| Step::Publish(node, count)),
        3 => (node.clone(), 1..4u64).prop_map(|(node, backlog)| Step::Consume(node, backlog)),
        1 => (0..8usize).prop_map(Step::Leave),
        6 => (0..8usize, 1..4usize).prop_map(|(consumer, count)| Step::Acknowledge(consumer, count)),
        1 => (0..8usize).prop_map(Step::Cancel),
        1 => node.clone().prop_map(Step::Crash),
        2 => node.clone().prop_map(Step::Start),
        1 => (node.clone(), node, any::<bool>()).prop_map(|(a, b, on)| Step::Partition(a, b, on)),
        20 => (0..32usize).prop_map(Step::Carry),
        3 => Just(Step::Tick),
    ]
}

/// Consumers that check what they are given.
struct Workers {
    fabric: Fabric,
    consumers: Vec<Consumer>,
    acknowledged: BTreeSet<Bookmark>,
}

impl Workers {
    fn look(&mut self) {
        for consumer in &mut self.consumers {
            for bookmark in self.fabric.received(consumer) {
                assert!(!self.acknowledged.contains(&bookmark), "{bookmark} was acknowledged");
            }
        }
        let mut held = BTreeSet::new();
        for bookmark in self.consumers.iter().flat_map(|consumer| &consumer.held) {
            assert!(held.insert(*bookmark), "{bookmark} is with two consumers");
        }
    }

    fn acknowledge(&mut self, consumer: usize, count: usize, options: &str) {
        let consumer = &mut self.consumers[consumer];
        let some: Vec<_> = consumer.held.iter().copied().take(count).collect();
        if !some.is_empty() {
            self.fabric.acknowledge(consumer, &some, options);
            self.acknowledged.extend(some.into_iter().filter(|_| options.is_empty()));
        }
    }

    fn take(&mut self, step: &Step) {
        let count = self.consumers.len();
        match *step {
            Step::Publish(node, messages) if self.fabric.is_up(node) => self.fabric.publish(node, messages),
            Step::Consume(node, backlog) if self.fabric.is_up(node) && count < 8 => {
                let consumer = self.fabric.consumer(node, backlog);
                self.consumers.push(consumer);
            }
            Step::Leave(consumer) if consumer < count => {
                let consumer = self.consumers.swap_remove(consumer);
                self.fabric.leave(consumer);
            }
            Step::Acknowledge(consumer, messages) if consumer < count => self.acknowledge(consumer, messages, ""),
            Step::Cancel(consumer) if consumer < count => self.acknowledge(consumer, 1, "cancel"),
            Step::Crash(node) => {
                self.fabric.crash(node);
                self.consumers.retain(|consumer| consumer.node != node);
            }
            Step::Start(node) => self.fabric.start(node),
            Step::Partition(a, b, on) if a != b => self.fabric.partition(a, b, on),
            Step::Carry(choice) => drop(self.fabric.carry(choice)),
            Step::Tick => self.fabric.tick(SECOND / 5),
            _ => {}
        }
        self.look();
    }

    /// Everything heals, and the work is done.
    fn finish(&mut self) {
        self.fabric.heal();
        for node in 0..3 {
            let consumer = self.fabric.consumer(node, 3);
            self.consumers.push(consumer);
        }
        let published = self.fabric.published();
        for _ in 0..200 {
            self.fabric.settle();
            self.look();
            for consumer in 0..self.consumers.len() {
                self.acknowledge(consumer, usize::MAX, "");
            }
            if self.acknowledged == published {
                break;
            }
        }
        assert_eq!(self.acknowledged, published, "nothing is lost");
        self.fabric.settle();
        self.look();
        for node in 0..3 {
            assert_eq!(self.fabric.depth(node), (0, 0, 0), "at {node}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Every message is acknowledged once and never with two consumers, whatever
    /// crashes, restarts and is cut off.
    #[test]
    fn each_message_is_processed_once(steps in prop::collection::vec(step(), 1..120)) {
        let (consumers, acknowledged) = (Vec::new(), BTreeSet::new());
        let mut workers = Workers { fabric: Fabric::new(3, work()), consumers, acknowledged };
        steps.iter().for_each(|step| workers.take(step));
        workers.finish();
    }
}
