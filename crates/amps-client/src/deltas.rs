//! Whole records out of deltas.

use std::collections::HashMap;

use amps_core::message::MessageKind;
use serde_json::Value;

use crate::subscribe::SubscriptionEvent;

/// Merges what a delta subscription got of an update into the record it had
/// (AMPS User Guide, "Delta Subscribe"): objects field by field, arrays as a
/// whole, and null as a value like others. A server says nothing about fields
/// that are gone: they stay.
///
/// ```
/// use serde_json::json;
/// let mut record = json!({"id": 1, "a": {"x": 1, "y": 2}, "l": [1, 2]});
/// amps_client::merge_delta(&mut record, json!({"id": 1, "a": {"y": 9}, "l": [3]}));
/// assert_eq!(record, json!({"id": 1, "a": {"x": 1, "y": 9}, "l": [3]}));
/// ```
pub fn merge_delta(record: &mut Value, delta: Value) {
    match (record, delta) {
        (Value::Object(record), Value::Object(delta)) => {
            for (name, value) in delta {
                match record.get_mut(&name) {
                    Some(old) => merge_delta(old, value),
                    None => drop(record.insert(name, value)),
                }
            }
        }
        (record, delta) => *record = delta,
    }
}

/// The records of one SOW topic with JSON bodies, kept current by the events of
/// a [delta subscription](crate::Subscribe::sow_and_deltas_of).
///
/// Subscribe with the option `oof`, or records that are deleted stay. Records
/// that come again after a reconnect take the place of all that were there, so
/// that what was missed is made good. A subscription without records at its
/// beginning has no such repair. As many records are held as the topic has.
/// [`SowView`](crate::SowView) does all of that by itself, with values.
///
/// ```no_run
/// # async fn example(client: amps_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use amps_client::{DeltaRecords, Subscribe};
/// let mut prices = client.subscribe(Subscribe::sow_and_deltas_of("prices").options("oof")).await?;
/// let mut records = DeltaRecords::new();
/// while let Some(event) = prices.next().await {
///     if let Some(key) = records.apply(&event?)? {
///         println!("{key}: {:?}", records.get(&key));
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct DeltaRecords {
    by_key: HashMap<String, Value>,
}

/// Why an event of a delta subscription cannot be applied. The records are as
/// they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// The topic has no SOW, or the option `no_sowkey` is set.
    #[error("a message without a SOW key: deltas need a SOW topic, and no option no_sowkey")]
    NoKey,
    /// The body is not JSON.
    #[error("the message for SOW key {key} is no JSON: {source}")]
    Json {
        /// The record's key.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl DeltaRecords {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Does what an event says: a record is set, changed or removed, or all are
    /// removed because they come again. Answers the key of the record.
    ///
    /// # Errors
    /// [`DeltaError`], when a message has no SOW key or is no JSON.
    pub fn apply(&mut self, event: &SubscriptionEvent) -> Result<Option<String>, DeltaError> {
        let message = match event {
            SubscriptionEvent::Message(message) => message,
            SubscriptionEvent::SnapshotBegin => {
                self.by_key.clear();
                return Ok(None);
            }
            _ => return Ok(None),
        };
        let key = message.sow_key().ok_or(DeltaError::NoKey)?.into_owned();
        if message.kind() == MessageKind::Oof {
            self.by_key.remove(&key);
            return Ok(Some(key));
        }
        let body = match serde_json::from_slice(message.data()) {
            Ok(body) => body,
            Err(source) => return Err(DeltaError::Json { key, source }),
        };
        match self.by_key.get_mut(&key) {
            Some(record) if message.kind() != MessageKind::Sow => merge_delta(record, body),
            _ => drop(self.by_key.insert(key.clone(), body)),
        }
        Ok(Some(key))
    }

    /// The record with this SOW key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.by_key.get(key)
    }

    /// All records with their SOW keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.by_key.iter().map(|(key, record)| (key.as_str(), record))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}
