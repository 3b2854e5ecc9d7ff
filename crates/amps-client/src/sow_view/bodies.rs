//! Records as values: read as they are, or made of deltas first.

use std::collections::HashMap;

use amps_core::Message;
use amps_core::message::MessageKind;
use amps_ha::subscriptions::Item;
use amps_ha::user_code::{UserError, contain};
use amps_ha::view::{Removal, Step};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::codec::{Codec, CodecError, Json};
use crate::deltas::merge_delta;

/// Makes keys and values of a subscription's messages.
pub(super) struct Reader<K, V> {
    pub(super) bodies: Box<dyn Bodies<V>>,
    pub(super) key: Box<KeyOf<K, V>>,
}

/// The key of a record, of its SOW key and its value.
pub(super) type KeyOf<K, V> = dyn Fn(&str, &V) -> K + Send;

impl<K, V> Reader<K, V> {
    /// What an item does to the view, if anything.
    pub(super) fn step<'a>(&mut self, item: &'a Item) -> Option<Step<'a, K, V>> {
        match item {
            Item::SnapshotBegin => self.bodies.start_over(),
            Item::Message(message) if Removal::told_by(message).is_some() => self.bodies.forget(message),
            _ => {}
        }
        Step::of(item, |message| {
            let read = contain("reading of a record", || {
                let value = self.bodies.read(message)?;
                Ok(((self.key)(&message.sow_key().unwrap_or_default(), &value), value))
            });
            read.unwrap_or_else(|panicked| Err(UserError::new(panicked)))
        })
    }
}

/// Makes values of bodies.
pub(super) trait Bodies<V>: Send {
    /// The value of a record, or of what it became.
    fn read(&mut self, message: &Message) -> Result<V, UserError>;

    /// This record is gone.
    fn forget(&mut self, _: &Message) {}

    /// All records follow.
    fn start_over(&mut self) {}
}

/// Bodies that are whole records.
pub(super) struct Whole<C>(pub(super) C);

impl<V: DeserializeOwned, C: Codec + Send> Bodies<V> for Whole<C> {
    fn read(&mut self, message: &Message) -> Result<V, UserError> {
        self.0.decode(message.data()).map_err(UserError::new)
    }
}

/// JSON bodies that are merged into the records that are there.
#[derive(Default)]
pub(super) struct Merged {
    /// By topic and SOW key; `None` where there is no knowing what the server
    /// has, until it sends the whole.
    records: HashMap<String, HashMap<String, Option<Value>>>,
}

impl<V: DeserializeOwned> Bodies<V> for Merged {
    fn read(&mut self, message: &Message) -> Result<V, UserError> {
        let (Some(topic), Some(sow_key)) = (message.topic(), message.sow_key()) else {
            return Err(UserError::new("a message without a SOW key: there is nothing to merge it with"));
        };
        let records = self.records.entry(topic.into_owned()).or_default();
        let body = serde_json::from_slice(message.data()).map_err(|error| CodecError::decoding(&Json, error));
        let record = match (records.remove(&*sow_key), body) {
            (_, Err(error)) => Err(UserError::new(error)),
            (Some(Some(mut record)), Ok(delta)) if message.kind() != MessageKind::Sow => {
                merge_delta(&mut record, delta);
                Ok(record)
            }
            (Some(None), Ok(_)) if message.kind() != MessageKind::Sow => {
                Err(UserError::new("a change to a record that could not be read"))
            }
            (_, Ok(whole)) => Ok(whole),
        };
        let value = record.as_ref().map_err(Clone::clone).and_then(|record| {
            V::deserialize(record).map_err(|error| UserError::new(CodecError::decoding(&Json, error)))
        });
        records.insert(sow_key.into_owned(), record.ok());
        value
    }

    fn forget(&mut self, message: &Message) {
        let records = message.topic().and_then(|topic| self.records.get_mut(&*topic));
        if let (Some(records), Some(sow_key)) = (records, message.sow_key()) {
            records.remove(&*sow_key);
        }
    }

    fn start_over(&mut self) {
        self.records.clear();
    }
}
