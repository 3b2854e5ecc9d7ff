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

/// Whether a view of deltas has the last record under each key.
///
/// A part is merged where it is published, and replicated as the whole record. Where
/// messages may be on one server only (`uneven`), one that lacks a part replicates a
/// record without its fields; the view of another, which had them, cannot be told
/// that they are gone, and keeps them.
pub(super) fn are_those_of(view: &Records, deltas: &[Delta], uneven: bool) -> bool {
    let last: BTreeMap<&str, &String> = deltas.iter().map(|delta| (key_of(&delta.whole), &delta.whole)).collect();
    let same = |(key, whole): (&&str, &&String)| match (view.get(*key), parsed(whole)) {
        (Some(Value::Object(view)), Value::Object(due)) if uneven => {
            due.iter().all(|(field, value)| view.get(field) == Some(value))
        }
        (view, due) => view == Some(&due),
    };
    last.len() == view.len() && last.iter().all(same)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_keeps_fields_it_cannot_be_told_of_only_where_servers_are_uneven() {
        let delta = |whole: &str| Delta { part: String::new(), whole: whole.to_owned() };
        let log = [delta(r#"{"id":"0-1","a":1}"#), delta(r#"{"id":"0-1","b":2}"#)];
        let view = |whole: &str| Records::from([("0-1".to_owned(), parsed(whole))]);
        for (record, even, uneven) in [
            (r#"{"id":"0-1","b":2}"#, true, true),
            (r#"{"id":"0-1","b":2,"a":1}"#, false, true),
            (r#"{"id":"0-1","b":1}"#, false, false),
            (r#"{"id":"0-1"}"#, false, false),
        ] {
            let found = [false, true].map(|uneven| are_those_of(&view(record), &log, uneven));
            assert_eq!(found, [even, uneven], "{record}");
        }
        let more = Records::from([("0-2".to_owned(), Value::Null)]);
        assert!(!are_those_of(&Records::new(), &log, true) && !are_those_of(&more, &log, true));
    }
}
