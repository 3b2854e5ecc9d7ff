//! A subscriber that keeps the records of a SOW topic.

use std::collections::BTreeMap;

use amps_core::message::MessageKind;
use amps_core::{CommandOptions, command};
use amps_ha::subscriptions::{AckBatching, Item, QueueLimits, SubscriptionKind, SubscriptionSpec};

use super::check::{Logs, Violation};
use super::part::{Part, Turn};
use super::plan::Conflation;
use super::publisher::{RECORDS, key_of};
use crate::{Entered, Kill, Pair};

/// A view, across its lives.
pub(super) struct Viewer {
    client: usize,
    entered: Option<Entered>,
    records: BTreeMap<String, String>,
    conflation: Conflation,
}

impl Viewer {
    pub(super) fn new(client: usize, conflation: Conflation) -> Self {
        Self { client, entered: None, records: BTreeMap::new(), conflation }
    }
}

impl Part for Viewer {
    fn client(&self) -> usize {
        self.client
    }

    fn start(&mut self, pair: &mut Pair) {
        let mut spec = SubscriptionSpec::new(SubscriptionKind::SowAndSubscribe, RECORDS);
        spec.options = match self.conflation {
            Conflation::Server(time) => CommandOptions::from("oof").conflation(command::Conflation::Interval(time)),
            _ => "oof".into(),
        };
        spec.conflates = self.conflation == Conflation::Client;
        self.entered = Some(pair.enter_with(self.client, spec, QueueLimits::default(), AckBatching::default(), None));
    }

    fn dies(&mut self, _: Kill) {
        self.entered = None;
        self.records.clear();
    }

    /// Brings the view up to what waits.
    fn turn(&mut self, turn: &mut Turn<'_>) {
        let Some(entered) = &mut self.entered else { return };
        entered.take(turn.most);
        for item in entered.items.drain(..) {
            match item {
                Item::SnapshotBegin => self.records.clear(),
                Item::Message(message) => {
                    let body = String::from_utf8_lossy(message.data()).into_owned();
                    let key = key_of(&body).to_owned();
                    match message.kind() {
                        MessageKind::Oof => self.records.remove(&key),
                        _ => self.records.insert(key, body),
                    };
                }
                _ => {}
            }
        }
        if let Some(error) = entered.error.take() {
            turn.broken("streams stay open", format!("viewer: {error}"));
        }
    }

    /// Whether the view is that of a server.
    fn is_settled(&mut self, _: &mut Pair, logs: &Logs) -> bool {
        logs.has_view(&self.records)
    }

    fn check(&self, logs: &Logs) -> Vec<Violation> {
        let what = || format!("the view is that of no server: {:?}", self.records);
        let converged = logs.has_view(&self.records);
        (!converged).then(|| Violation::new("the view converges", what())).into_iter().collect()
    }
}
