//! Records made of deltas: in a subscriber's view, and in the servers' logs.

use std::collections::BTreeMap;

use amps_core::message::MessageKind;
use amps_ha::subscriptions::{Item, QueueLimits, SubscriptionKind, SubscriptionSpec};
use serde_json::Value;

use super::check::{Logs, Violation};
use super::part::{Part, Turn};
use super::publisher::{DELTAS, key_of};
use crate::{Entered, Kill, Pair};

/// Records by their keys.
pub(super) type Records = BTreeMap<String, Value>;

/// A view of the deltas' topic that gets deltas itself, across its lives.
pub(super) struct DeltaViewer {
    client: usize,
    entered: Option<Entered>,
    records: Records,
}

impl DeltaViewer {
    pub(super) fn new(client: usize) -> Self {
        Self { client, entered: None, records: Records::new() }
    }
}

impl Part for DeltaViewer {
    fn client(&self) -> usize {
        self.client
    }

    fn start(&mut self, pair: &mut Pair) {
        let mut spec = SubscriptionSpec::new(SubscriptionKind::SowAndDeltaSubscribe, DELTAS);
        spec.options = "oof".into();
        self.entered = Some(pair.enter(self.client, spec, QueueLimits::default()));
    }

    fn dies(&mut self, _: Kill) {
        self.entered = None;
        self.records.clear();
    }

    fn turn(&mut self, turn: &mut Turn<'_>) {
        let Some(entered) = &mut self.entered else { return };
        entered.take(turn.most);
        for item in entered.items.drain(..) {
            match item {
                Item::SnapshotBegin => self.records.clear(),
                Item::Message(message) => {
                    let body = String::from_utf8_lossy(message.data()).into_owned();
                    match self.records.get_mut(key_of(&body)) {
                        Some(record) if message.kind() != MessageKind::Sow => merge(record, &body),
                        _ => drop(self.records.insert(key_of(&body).to_owned(), parsed(&body))),
                    }
                }
                _ => {}
            }
        }
        if let Some(error) = entered.error.take() {
            turn.broken("streams stay open", format!("c{}: {error}", self.client));
        }
    }

    fn is_settled(&mut self, _: &mut Pair, logs: &Logs) -> bool {
        logs.has_records(&self.records)
    }

    fn check(&self, logs: &Logs) -> Vec<Violation> {
        let what = || format!("c{}: the records are those of no server: {:?}", self.client, self.records);
        let converged = logs.has_records(&self.records);
        (!converged).then(|| Violation::new("deltas converge", what())).into_iter().collect()
    }
}

/// One message of the deltas' topic.
pub(super) struct Delta {
    /// What was published.
    pub(super) part: String,
    /// What the server made of it.
    pub(super) whole: String,
}

/// In a server's log each is merged with all before it.
pub(super) fn whole(server: usize, deltas: &[Delta]) -> Option<Violation> {
    let mut records = Records::new();
    for Delta { part, whole } in deltas {
        let record = records.entry(key_of(part).to_owned()).or_insert(Value::Null);
        merge(record, part);
        if *record != parsed(whole) {
            let what = format!("s{server} made {whole} of {part} where {record} is due");
            return Some(Violation::new("deltas add up", what));
        }
    }
    None
}

/// The last record under each key.
pub(super) fn records(deltas: &[Delta]) -> Records {
    let whole = deltas.iter().map(|delta| &delta.whole);
    whole
        .map(|whole| (key_of(whole).to_owned(), whole))
        .collect::<BTreeMap<_, _>>()
        .into_iter()
        .map(|(key, whole)| (key, parsed(whole)))
        .collect()
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_default()
}

/// All bodies here are flat.
fn merge(record: &mut Value, part: &str) {
    match (record.as_object_mut(), parsed(part)) {
        (Some(fields), Value::Object(part)) => fields.extend(part),
        (_, part) => *record = part,
    }
}
