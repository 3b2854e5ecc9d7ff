//! Consumers of a queue, and the ledger they share.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amps_core::{CommandOptions, Message};
use amps_ha::client_core::Request;
use amps_ha::subscriptions::{AckBatching, AckOption, Added, Item, QueueLimits, SubscriptionKind, SubscriptionSpec};
use amps_testserver::{Leasing, QueueConfig};
use rand::RngExt;
use tokio::sync::oneshot;

use super::check::{Logs, Violation};
use super::part::{Part, Turn};
use crate::pair::Answer;
use crate::{Entered, Kill, Pair};

/// The queue's topic.
pub(super) const WORK: &str = "work";
/// How long work takes at most, in milliseconds: longer than getting connected
/// again, so that some ends on another connection than it began on.
const SLOWEST: u64 = 3_000;

/// Leases end with their connections only, and a message is acknowledged by who
/// has its lease.
pub(super) fn config() -> QueueConfig {
    QueueConfig::new(WORK).leasing(Leasing::Strict).max_per_subscription_backlog(5)
}

/// What all consumers did.
#[derive(Default)]
pub(super) struct Ledger {
    begun: BTreeSet<String>,
    /// The server has said that it has the acknowledgement.
    confirmed: BTreeSet<String>,
}

pub(super) struct Worker {
    client: usize,
    ledger: Rc<RefCell<Ledger>>,
    life: Option<Life>,
    given: u64,
}

struct Life {
    entered: Entered,
    /// What it works on, until when.
    busy: Vec<(Instant, Message)>,
    /// Acknowledged, and not asked for yet whether the server has it.
    acknowledged: Vec<String>,
    /// Asked for.
    flush: Option<(Answer, Vec<String>)>,
}

impl Worker {
    pub(super) fn new(client: usize, ledger: &Rc<RefCell<Ledger>>) -> Self {
        Self { client, ledger: Rc::clone(ledger), life: None, given: 0 }
    }
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(message.data()).into_owned()
}

impl Part for Worker {
    fn client(&self) -> usize {
        self.client
    }

    fn start(&mut self, pair: &mut Pair) {
        let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, WORK);
        spec.options = CommandOptions::new().max_backlog(pair.random.random_range(1..=6));
        let timeout = Some(Duration::from_millis(pair.random.random_range(1..=300)));
        let batching = AckBatching { size: pair.random.random_range(1..=8), timeout };
        let entered = pair.enter_acking(self.client, spec, QueueLimits::default(), batching);
        self.life = Some(Life { entered, busy: Vec::new(), acknowledged: Vec::new(), flush: None });
    }

    fn dies(&mut self, _: Kill) {
        self.life = None;
    }

    fn turn(&mut self, turn: &mut Turn<'_>) {
        let Some(life) = &mut self.life else { return };
        let mut ledger = self.ledger.borrow_mut();
        if let Some((mut answer, asked)) = life.flush.take() {
            match answer.try_recv() {
                Ok(Ok(())) => ledger.confirmed.extend(asked),
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => {}
                Err(oneshot::error::TryRecvError::Empty) => life.flush = Some((answer, asked)),
            }
        }
        let queue = Arc::clone(&life.entered.queue);
        life.entered.take(turn.most);
        if let Some(error) = life.entered.error.take() {
            turn.broken("streams stay open", format!("c{}: {error}", self.client));
        }
        for item in life.entered.items.drain(..) {
            let Item::Message(message) = item else { continue };
            self.given += 1;
            // Its connection may be gone already.
            if !queue.with_acks(|acks| acks.is_leased(&message)) {
                continue;
            }
            let body = text(&message);
            if ledger.confirmed.contains(&body) {
                turn.broken("acknowledged for good", format!("c{}: {body} was given again", self.client));
            }
            ledger.begun.insert(body);
            let slowest = if turn.healed { SLOWEST / 30 } else { SLOWEST };
            let time = Duration::from_millis(turn.random.random_range(0..slowest));
            life.busy.push((turn.pair.now + time, message));
        }
        let now = turn.pair.now;
        for (_, message) in life.busy.extract_if(.., |(until, _)| *until <= now) {
            let option = turn.random.random_bool(0.1).then_some(AckOption::Cancel);
            let added = queue.with_acks(|acks| acks.add(&message, option));
            if added == Added::Tell {
                turn.pair.request(self.client, Request::Acks(Arc::clone(&queue)));
            }
            if added.is_taken() && option.is_none() {
                life.acknowledged.push(text(&message));
            }
        }
        if life.flush.is_none() && turn.random.random_bool(0.05) {
            let (reply, answer) = oneshot::channel();
            turn.pair.request(self.client, Request::FlushAcks { queue: Some(queue), reply: reply.into() });
            life.flush = Some((answer, std::mem::take(&mut life.acknowledged)));
        }
    }

    fn is_settled(&mut self, pair: &mut Pair, _: &Logs) -> bool {
        let depth = pair.server(0).queue(WORK).unwrap_or_default();
        depth.available + depth.leased == 0
    }

    fn check(&self, logs: &Logs) -> Vec<Violation> {
        let ledger = self.ledger.borrow();
        let never = logs.work.iter().find(|body| !ledger.begun.contains(*body));
        never.map(|body| Violation::new("no loss in a queue", format!("nobody was given {body}"))).into_iter().collect()
    }

    fn given(&self) -> u64 {
        self.given
    }
}
