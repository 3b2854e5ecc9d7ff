//! Consumers of a queue, and the ledger they share.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
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

/// Messages one consumer has leased at once, at most.
const BACKLOG: u64 = 5;

/// Leases end with their connections only, and a message is acknowledged by who
/// has its lease.
pub(super) fn config() -> QueueConfig {
    QueueConfig::new(WORK).leasing(Leasing::Strict).max_per_subscription_backlog(BACKLOG)
}

/// What all consumers did.
#[derive(Default)]
pub(super) struct Ledger {
    begun: BTreeSet<String>,
    /// What a server has said that it has the acknowledgement of, and which.
    confirmed: BTreeMap<String, BTreeSet<usize>>,
    /// Who works on what, on which of its connections.
    held: BTreeMap<String, Hold>,
    /// What was given back.
    returned: BTreeSet<String>,
}

/// A lease, from the side of who has it: a client and the number of its
/// connection.
#[derive(PartialEq, Eq)]
struct Hold(usize, usize);

impl Hold {
    fn of(pair: &Pair, client: usize) -> Self {
        Self(client, pair.attempts(client).len())
    }

    /// Whether nothing happened that could have ended it.
    fn holds(&self, pair: &Pair) -> bool {
        *self == Self::of(pair, self.0) && pair.is_connected(self.0)
    }
}

impl Ledger {
    /// A message was given to a consumer: may it have been?
    fn given(&mut self, turn: &mut Turn<'_>, client: usize, body: &str) {
        let at = turn.pair.server_at(client);
        let hold = Hold::of(turn.pair, client);
        // A server whose disk was lost has forgotten what was acknowledged; and
        // two servers own what was published to both of them.
        let owned_once = !turn.emptied && turn.publishers.iter().any(|publisher| publisher.went_to_one(body));
        // What came before its server died, or the connection did, may be read when
        // somebody else has had it since.
        let fresh = !turn.emptied && turn.pair.is_connected(client);
        if let Some(servers) = self.confirmed.get(body).filter(|_| fresh)
            && (owned_once || servers.iter().any(|server| Some(*server) == at))
        {
            turn.broken("acknowledged for good", format!("c{client}: {body} was given again"));
        }
        let other = self.held.get(body).filter(|other| **other != hold && other.holds(turn.pair));
        if let Some(Hold(holder, _)) = other.filter(|_| owned_once && hold.holds(turn.pair)) {
            turn.broken("one lease at a time", format!("c{client}: {body} was given while c{holder} has it"));
        }
        let again = !self.begun.insert(body.to_owned());
        if again && !self.returned.remove(body) && turn.faultless {
            turn.broken("given once", format!("c{client}: {body} was given again without a reason"));
        }
        self.held.insert(body.to_owned(), hold);
    }
}

pub(super) struct Worker {
    client: usize,
    ledger: Rc<RefCell<Ledger>>,
    life: Option<Life>,
    given: u64,
}

struct Life {
    entered: Entered,
    backlog: u64,
    /// What it works on, until when.
    busy: Vec<(Instant, Message)>,
    /// Acknowledged, and not asked for yet whether the server has it.
    acknowledged: Vec<String>,
    /// Asked for, at which server.
    flush: Option<(Answer, Vec<String>, Option<usize>)>,
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
        let asked = pair.random.random_range(1..=6);
        spec.options = CommandOptions::new().max_backlog(asked);
        let timeout = Some(Duration::from_millis(pair.random.random_range(1..=300)));
        let batching = AckBatching { size: pair.random.random_range(1..=8), timeout };
        let entered = pair.enter_acking(self.client, spec, QueueLimits::default(), batching);
        let backlog = asked.min(BACKLOG);
        self.life = Some(Life { entered, backlog, busy: Vec::new(), acknowledged: Vec::new(), flush: None });
    }

    fn dies(&mut self, _: Kill) {
        self.life = None;
    }

    fn turn(&mut self, turn: &mut Turn<'_>) {
        let Some(life) = &mut self.life else { return };
        let mut ledger = self.ledger.borrow_mut();
        if let Some((mut answer, asked, server)) = life.flush.take() {
            match answer.try_recv() {
                Ok(Ok(())) => {
                    for body in asked {
                        ledger.confirmed.entry(body).or_default().extend(server);
                    }
                }
                Ok(Err(_)) | Err(oneshot::error::TryRecvError::Closed) => {}
                Err(oneshot::error::TryRecvError::Empty) => life.flush = Some((answer, asked, server)),
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
            ledger.given(turn, self.client, &text(&message));
            let slowest = if turn.healed { SLOWEST / 30 } else { SLOWEST };
            let time = Duration::from_millis(turn.random.random_range(0..slowest));
            life.busy.push((turn.pair.now + time, message));
        }
        // What two servers own may leave the queue while it is worked on.
        let counts = |message: &Message| {
            let body = text(message);
            let went_to_one = turn.publishers.iter().any(|publisher| publisher.went_to_one(&body));
            went_to_one && !turn.emptied && queue.with_acks(|acks| acks.is_leased(message))
        };
        let leased = life.busy.iter().filter(|(_, message)| counts(message)).count();
        if leased as u64 > life.backlog {
            turn.broken("bounded backlog", format!("c{}: {leased} messages leased of {}", self.client, life.backlog));
        }
        let now = turn.pair.now;
        for (_, message) in life.busy.extract_if(.., |(until, _)| *until <= now) {
            let option = turn.random.random_bool(0.1).then_some(AckOption::Cancel);
            let added = queue.with_acks(|acks| acks.add(&message, option));
            if added == Added::Tell {
                turn.pair.request(self.client, Request::Acks(Arc::clone(&queue)));
            }
            let body = text(&message);
            let hold = Hold::of(turn.pair, self.client);
            if ledger.held.get(&body) == Some(&hold) {
                ledger.held.remove(&body);
            }
            match option {
                Some(_) => drop(ledger.returned.insert(body)),
                None if added.is_taken() => life.acknowledged.push(body),
                None => {}
            }
        }
        if life.flush.is_none() && turn.random.random_bool(0.05) {
            let (reply, answer) = oneshot::channel();
            turn.pair.request(self.client, Request::FlushAcks { queue: Some(queue), reply: reply.into() });
            let server = turn.pair.server_at(self.client);
            life.flush = Some((answer, std::mem::take(&mut life.acknowledged), server));
        }
    }

    fn is_settled(&mut self, pair: &mut Pair, logs: &Logs) -> bool {
        (0..pair.servers()).all(|server| {
            let depth = pair.server(server).queue(WORK).unwrap_or_default();
            depth.leased == 0 && depth.available + depth.elsewhere <= logs.stray_work
        })
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
