//! Headers, beside serde_json.

use std::fmt;

use amps_core::{Field, Message};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// Anything is a message or an error. What is a flat JSON object with a command
/// is a message, and its fields are those that serde_json reads.
pub(super) fn run(bytes: &[u8]) {
    let message = Message::decode(Bytes::copy_from_slice(bytes));
    if let Ok(message) = &message {
        touch(message);
    }
    let mut json = serde_json::Deserializer::from_slice(bytes).into_iter::<Flat<'_>>();
    let Some(Ok(Flat(fields))) = json.next() else { return };
    let first = |field: Field| {
        let found = fields.iter().find(|(key, _)| Field::from_key(key.as_bytes()) == Some(field));
        found.map(|(_, value)| value)
    };
    if first(Field::Command).is_none() || fields.len() > 256 {
        return assert!(message.is_err());
    }
    let message = message.unwrap_or_else(|error| panic!("serde_json reads it: {error}"));
    assert_eq!(message.header().len(), json.byte_offset(), "where the body begins");
    assert_eq!(message.data(), &bytes[json.byte_offset()..]);
    for field in Field::ALL {
        match first(*field) {
            Some(Value::String(text)) => assert_eq!(message.text(*field).as_deref(), Some(text.as_str()), "{field:?}"),
            Some(Value::Number(number)) => assert_eq!(message.number(*field), number.as_u64(), "{field:?}"),
            Some(_) => assert!(message.raw(*field).is_some(), "{field:?}"),
            None => assert_eq!(message.raw(*field), None, "{field:?}"),
        }
    }
}

/// Asks for everything there is to ask for.
pub(super) fn touch(message: &Message) {
    for field in Field::ALL {
        let _ = (message.raw(*field), message.text(*field), message.number(*field), message.span(*field));
    }
    let _ = (message.bookmark(), message.reason(), message.status(), message.ack_type(), format!("{message:?}"));
    let _ = message.options().map(|options| options.check());
    let _ = message.detached();
    assert!(message.subscription_ids().count() <= message.size());
}

/// An object without objects or lists in it, and without escapes in its keys.
struct Flat<'a>(Vec<(&'a str, Value)>);

impl<'de> Deserialize<'de> for Flat<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Flat<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a flat object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Flat<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((key, value)) = map.next_entry::<&str, Value>()? {
                    if value.is_object() || value.is_array() {
                        return Err(serde::de::Error::custom("not flat"));
                    }
                    fields.push((key, value));
                }
                Ok(Flat(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}
