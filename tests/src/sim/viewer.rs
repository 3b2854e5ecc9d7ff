//! A subscriber that keeps the records of a SOW topic.

use std::collections::BTreeMap;

use amps_core::message::MessageKind;
use amps_ha::subscriptions::{AckBatching, Item, QueueLimits, SubscriptionKind, SubscriptionSpec};

use super::check::{Logs, Violation};
use super::publisher::{RECORDS, key_of};
use crate::{Entered, Pair};

/// A view, across its lives.
pub(super) struct Viewer {
    pub(super) client: usize,
    entered: Option<Entered>,
    records: BTreeMap<String, String>,
}

impl Viewer {
    pub(super) fn new(pair: &mut Pair, client: usize) -> Self {
        let mut viewer = Self { client, entered: None, records: BTreeMap::new() };
        viewer.start(pair);
        viewer
    }

    pub(super) fn start(&mut self, pair: &mut Pair) {
        let mut spec = SubscriptionSpec::new(SubscriptionKind::SowAndSubscribe, RECORDS);
        spec.options = "oof".into();
        self.entered = Some(pair.enter_with(self.client, spec, QueueLimits::default(), AckBatching::default(), None));
    }

    pub(super) fn dies(&mut self) {
        self.entered = None;
        self.records.clear();
    }

    /// Brings the view up to what waits.
    pub(super) fn turn(&mut self, most: usize) -> Vec<Violation> {
        let Some(entered) = &mut self.entered else { return Vec::new() };
        entered.take(most);
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
        let error = entered.error.take();
        error.map(|error| Violation::new("streams stay open", format!("viewer: {error}"))).into_iter().collect()
    }

    /// Whether the view is that of a server.
    pub(super) fn is_level(&self, logs: &Logs) -> bool {
        logs.has_view(&self.records)
    }

    pub(super) fn check(&self, logs: &Logs) -> Option<Violation> {
        let what = || format!("the view is that of no server: {:?}", self.records);
        (!self.is_level(logs)).then(|| Violation::new("the view converges", what()))
    }
}
