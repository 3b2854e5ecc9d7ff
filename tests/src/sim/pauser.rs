//! A client that pauses its subscriptions and resumes them, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use amps_core::StartAt;
use amps_ha::client_core::Flow;
use amps_ha::subscriptions::Item;
use rand::RngExt;

use super::check::Logs;
use super::part::{Part, Turn};
use super::publisher::{PLAIN, RECORDS, origin_of};
use crate::pair::Answer;
use crate::{Entered, Kill, Pair};

/// So long at most between two changes, in milliseconds.
const PAUSE: u64 = 6_000;

/// Two subscriptions from the beginning, that stop and go on together.
pub(super) struct Pauser {
    client: usize,
    life: Option<Life>,
    given: u64,
}

struct Life {
    entered: Vec<Entered>,
    given: BTreeSet<String>,
    /// The last number of each publisher in each of them.
    last: BTreeMap<(usize, usize), u64>,
    /// Paused, and when that was confirmed every publisher had so many messages.
    paused: Option<Vec<usize>>,
    asked: Option<(Answer, bool)>,
    next: Duration,
}

impl Pauser {
    pub(super) fn new(client: usize) -> Self {
        Self { client, life: None, given: 0 }
    }
}

impl Part for Pauser {
    fn client(&self) -> usize {
        self.client
    }

    fn start(&mut self, pair: &mut Pair) {
        let entered = [PLAIN, RECORDS].map(|topic| pair.subscribe_from(self.client, topic, StartAt::Epoch));
        self.life = Some(Life {
            entered: entered.into(),
            given: BTreeSet::new(),
            last: BTreeMap::new(),
            paused: None,
            asked: None,
            next: pair.elapsed(),
        });
    }

    fn dies(&mut self, _: Kill) {
        self.life = None;
    }

    fn turn(&mut self, turn: &mut Turn<'_>) {
        let Some(life) = &mut self.life else { return };
        self.given += life.take(self.client, turn);
        life.change(self.client, turn);
    }

    /// Whether they go on, and were given everything.
    fn is_settled(&mut self, _: &mut Pair, logs: &Logs) -> bool {
        let Some(life) = &self.life else { return false };
        life.paused.is_none() && life.asked.is_none() && logs.common.is_subset(&life.given)
    }

    fn given(&self) -> u64 {
        self.given
    }
}

impl Life {
    /// Takes what waits; answers how much that was.
    fn take(&mut self, client: usize, turn: &mut Turn<'_>) -> u64 {
        let mut count = 0;
        for (index, entered) in self.entered.iter_mut().enumerate() {
            entered.take(turn.most);
            for item in entered.items.drain(..) {
                let Item::Message(message) = item else { continue };
                count += 1;
                let body = String::from_utf8_lossy(message.data()).into_owned();
                let (publisher, number) = origin_of(&body);
                let publisher: usize = publisher.parse().unwrap_or_default();
                let since = self.paused.as_ref().and_then(|accepted| accepted.get(publisher));
                if since.is_some_and(|since| number >= *since as u64) {
                    turn.broken("paused is paused", format!("c{client}: {body} although paused"));
                }
                if self.last.insert((index, publisher), number).is_some_and(|before| before > number) {
                    turn.broken("order of delivery", format!("c{client}: {body} came behind a newer one"));
                }
                if !self.given.insert(body.clone()) {
                    turn.broken("no duplicate", format!("c{client}: {body} came twice in one life"));
                }
                if let Some(bookmark) = message.bookmark() {
                    entered.queue.discard(bookmark, || {});
                }
            }
            if let Some(error) = entered.error.take() {
                turn.broken("streams stay open", format!("c{client}: {error}"));
            }
        }
        count
    }

    /// Pauses or resumes when it is time; in the end only resumes.
    fn change(&mut self, client: usize, turn: &mut Turn<'_>) {
        let now = turn.pair.elapsed();
        if let Some((answer, pauses)) = &mut self.asked {
            match answer.try_recv() {
                Ok(Ok(())) => {
                    let accepted = || turn.publishers.iter().map(super::publisher::Publisher::accepted).collect();
                    self.paused = pauses.then(accepted);
                    self.asked = None;
                    self.next = now + Duration::from_millis(turn.random.random_range(1..PAUSE));
                }
                Ok(Err(error)) => turn.broken("streams stay open", format!("c{client}: {error}")),
                Err(_) => {}
            }
            return;
        }
        let entered = self.entered.iter_mut().all(|entered| matches!(entered.answer(), Some(Ok(()))));
        let pauses = self.paused.is_none();
        if entered && (now >= self.next && !turn.healed || turn.healed && !pauses) {
            let flow = if pauses { Flow::Pause } else { Flow::Resume };
            // What comes from now on may come.
            self.paused = None;
            let both: Vec<&Entered> = self.entered.iter().collect();
            self.asked = Some((turn.pair.flow(client, flow, &both), pauses));
        }
    }
}
