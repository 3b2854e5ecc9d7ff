//! A subscriber that replaces its filter again and again.

use std::time::Duration;

use amps_ha::subscriptions::{Item, QueueLimits, Replacement, SubscriptionKind, SubscriptionSpec};
use rand::RngExt;

use super::check::{Logs, Violation};
use super::part::{Part, Turn};
use super::publisher::{KEYS, RECORDS, key_of, origin_of};
use crate::pair::Answer;
use crate::{Entered, Kill, Pair};

/// So long at most between two replacements.
const PAUSE: u64 = 4_000;

/// Wants the records of one key of the first publisher, now of this one, now of
/// that one.
pub(super) struct Chooser {
    client: usize,
    life: Option<Life>,
}

struct Life {
    entered: Entered,
    key: usize,
    /// Numbers from here on were published when the filter was in force.
    since: usize,
    asked: Option<(Answer, usize)>,
    next: Duration,
}

fn filter(key: usize) -> String {
    format!("/id = '{}'", name(key))
}

fn name(key: usize) -> String {
    format!("0-{key}")
}

impl Chooser {
    pub(super) fn new(client: usize) -> Self {
        Self { client, life: None }
    }
}

impl Part for Chooser {
    fn client(&self) -> usize {
        self.client
    }

    fn start(&mut self, pair: &mut Pair) {
        let mut spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, RECORDS);
        spec.filter = Some(filter(0));
        let entered = pair.enter(self.client, spec, QueueLimits::default());
        self.life = Some(Life { entered, key: 0, since: usize::MAX, asked: None, next: pair.elapsed() });
    }

    fn dies(&mut self, _: Kill) {
        self.life = None;
    }

    fn turn(&mut self, turn: &mut Turn<'_>) {
        let Some(life) = &mut self.life else { return };
        life.entered.take(turn.most);
        let pending = life.asked.as_ref().map(|(_, key)| *key);
        for item in life.entered.items.drain(..) {
            let Item::Message(message) = item else { continue };
            let body = String::from_utf8_lossy(message.data()).into_owned();
            let wanted = [Some(life.key), pending].into_iter().flatten().any(|key| name(key) == key_of(&body));
            if !wanted && origin_of(&body).1 >= life.since as u64 {
                let what = format!("c{}: {body} although {} is asked for", self.client, filter(life.key));
                turn.violations.push(Violation::new("the filter in force", what));
            }
        }
        if let Some(error) = life.entered.error.take() {
            turn.broken("streams stay open", format!("c{}: {error}", self.client));
        }
        let now = turn.pair.elapsed();
        if let Some((answer, key)) = &mut life.asked {
            match answer.try_recv() {
                Ok(Ok(())) => {
                    (life.key, life.since) = (*key, turn.publishers[0].accepted());
                    life.asked = None;
                    life.next = now + Duration::from_millis(turn.random.random_range(1..PAUSE));
                }
                Ok(Err(error)) => {
                    turn.violations.push(Violation::new("streams stay open", format!("c{}: {error}", self.client)));
                }
                Err(_) => {}
            }
        } else if now >= life.next && matches!(life.entered.answer(), Some(Ok(()))) {
            let key = turn.random.random_range(0..KEYS);
            let answer = turn.pair.replace(self.client, &life.entered, Replacement::new().filter(filter(key)));
            life.asked = Some((answer, key));
        }
    }

    fn is_settled(&mut self, _: &mut Pair, _: &Logs) -> bool {
        true
    }
}
