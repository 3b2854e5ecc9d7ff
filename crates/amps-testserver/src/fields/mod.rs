//! The fields of a message, whichever type it is of: for keys, for deltas and
//! for parts of it.

mod pairs;
mod parts;

use bytes::Bytes;
use serde_json::{Map, Value};

pub(crate) use self::pairs::Pairs;
use self::parts::{Parts, split};
use crate::delta::{changes, copy_path, merge};
use crate::message_type::MessageType;

/// The fields of one message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fields {
    Json(Value),
    Pairs(Pairs),
    /// Those of a composite message, part by part.
    Parts(Parts),
}

impl Fields {
    /// The fields of a message; `None` when it is not of its type, or one of a
    /// type of which nothing can be taken out or put in.
    pub(crate) fn read(message_type: &MessageType, body: &[u8]) -> Option<Self> {
        match message_type {
            MessageType::Json => serde_json::from_slice(body).ok().map(Self::Json),
            MessageType::Nvfix => Pairs::nvfix(body).map(Self::Pairs),
            MessageType::Fix => Pairs::fix(body).map(Self::Pairs),
            MessageType::CompositeLocal(types) => Parts::read(types, body).map(Self::Parts),
            MessageType::Binary | MessageType::CompositeGlobal(_) => None,
        }
    }

    /// The value at a path such as `/site/id`, or for pairs `/id`, as text. What
    /// is NULL has none.
    fn text(&self, path: &str) -> Option<String> {
        match self {
            Self::Json(value) => {
                let value = value.pointer(path).filter(|value| !value.is_null())?;
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                Some(text).filter(|text| !text.is_empty())
            }
            Self::Pairs(pairs) => pairs.text(path),
            Self::Parts(parts) => parts.text(path),
        }
    }

    /// Merges a delta: what it has replaces what was there, and what it has not
    /// stays (AMPS User Guide, "Incremental Message Updates").
    pub(crate) fn merge(&mut self, delta: Self) {
        match (self, delta) {
            (Self::Json(whole), Self::Json(delta)) => merge(whole, delta),
            (Self::Pairs(whole), Self::Pairs(delta)) => whole.merge(delta),
            (Self::Parts(whole), Self::Parts(delta)) => whole.merge(delta),
            // One topic has one type.
            (whole, delta) => *whole = delta,
        }
    }

    /// What it has that the one before it had not, or had otherwise; `None` when
    /// there is nothing. A delta cannot say that a field is gone.
    pub(crate) fn changes(&self, before: &Self) -> Option<Self> {
        match (before, self) {
            (Self::Json(before), Self::Json(now)) => changes(before, now).map(Self::Json),
            (Self::Pairs(before), Self::Pairs(now)) => now.changes(before).map(Self::Pairs),
            (Self::Parts(before), Self::Parts(now)) => now.changes(before).map(Self::Parts),
            (_, now) => Some(now.clone()),
        }
    }

    /// Copies what stands at a path into a part of it.
    pub(crate) fn copy_path(&self, path: &str, to: &mut Self) {
        match (self, to) {
            (Self::Json(from), Self::Json(to)) => copy_path(from, path, to),
            (Self::Pairs(from), Self::Pairs(to)) => from.copy_path(path, to),
            (Self::Parts(from), Self::Parts(to)) => from.copy_path(path, to),
            _ => {}
        }
    }

    /// A message like this one with nothing in it.
    pub(crate) fn emptied(&self) -> Self {
        match self {
            Self::Json(_) => Self::Json(Value::Object(Map::new())),
            Self::Pairs(_) => Self::Pairs(Pairs::default()),
            Self::Parts(parts) => Self::Parts(parts.emptied()),
        }
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Json(value) => value.as_object().is_some_and(Map::is_empty),
            Self::Pairs(pairs) => pairs.is_empty(),
            Self::Parts(parts) => parts.is_empty(),
        }
    }

    /// The part of it that is wanted, by names of fields from here on with
    /// whether what is there is wanted; `wanted` is what is said of all of it.
    /// `None` when it is nothing.
    pub(crate) fn part(&self, entries: &[(&[String], bool)], wanted: bool) -> Option<Self> {
        match self {
            Self::Json(value) => json_part(value, entries, wanted).map(Self::Json),
            Self::Pairs(pairs) => pairs.part(entries, wanted).map(Self::Pairs),
            Self::Parts(parts) => parts.part(entries, wanted).map(Self::Parts),
        }
    }

    /// The message with these fields.
    pub(crate) fn write(&self) -> Bytes {
        match self {
            Self::Json(value) => value.to_string().into(),
            Self::Pairs(pairs) => pairs.write().into(),
            Self::Parts(parts) => parts.write(),
        }
    }
}

/// The values in a message, for keys and the like. Those of the parts of a
/// composite message that has one name for the fields of all are the first part's
/// that has one.
#[derive(Debug)]
pub(crate) struct Values(Vec<Fields>);

impl Values {
    /// `None` when a message has no fields.
    pub(crate) fn read(message_type: &MessageType, body: &[u8]) -> Option<Self> {
        let MessageType::CompositeGlobal(types) = message_type else {
            return Fields::read(message_type, body).map(|fields| Self(vec![fields]));
        };
        let (parts, _) = split(types.len(), body)?;
        let parts = types.iter().zip(parts).filter_map(|(part_type, part)| Self::read(part_type, part));
        Some(Self(parts.flat_map(|values| values.0).collect()))
    }

    /// The value at a path as text. What is NULL has none.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        self.0.iter().find_map(|fields| fields.text(path))
    }
}

/// What the longest path that fits says of a message or a part of it, from what
/// is said of all of it.
fn said(entries: &[(&[String], bool)], wanted: bool) -> bool {
    entries.iter().find(|(steps, _)| steps.is_empty()).map_or(wanted, |(_, wanted)| *wanted)
}

/// What is said of what is below a step.
fn below<'e>(entries: &[(&'e [String], bool)], step: &str) -> Vec<(&'e [String], bool)> {
    let below = |(steps, wanted): &(&'e [String], bool)| {
        let (first, rest) = steps.split_first()?;
        (first == step).then_some((rest, *wanted))
    };
    entries.iter().filter_map(below).collect()
}

fn json_part(value: &Value, entries: &[(&[String], bool)], wanted: bool) -> Option<Value> {
    let wanted = said(entries, wanted);
    if entries.iter().all(|(steps, _)| steps.is_empty()) {
        return wanted.then(|| value.clone());
    }
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter_map(|(name, field)| {
                json_part(field, &below(entries, name), wanted).map(|part| (name.clone(), part))
            });
            let kept: Map<_, _> = kept.collect();
            (wanted || !kept.is_empty()).then_some(Value::Object(kept))
        }
        // Paths go through arrays.
        Value::Array(items) => {
            let kept: Vec<_> = items.iter().filter_map(|item| json_part(item, entries, wanted)).collect();
            (wanted || !kept.is_empty()).then_some(Value::Array(kept))
        }
        other => wanted.then(|| other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_values() {
        let global = MessageType::CompositeGlobal(vec![MessageType::Json, MessageType::Binary, MessageType::Nvfix]);
        for (message_type, body, path, value) in [
            (MessageType::Json, r#"{"site":{"id":7}}"#, "/site/id", Some("7")),
            (MessageType::Json, r#"{"id":null}"#, "/id", None),
            (MessageType::Json, r#"{"id":""}"#, "/id", None),
            (MessageType::Nvfix, "id=a=b|side=buy|", "/id", Some("a=b")),
            (MessageType::Nvfix, "id=|side=buy", "/id", None),
            (MessageType::Nvfix, "id=1|", "/site/id", None),
            (MessageType::Fix, "35=D|38=100|", "/38", Some("100")),
            (MessageType::Fix, "35=D|", "/38", None),
            (global.clone(), "\0\0\0\x08{\"id\":1}\0\0\0\x01x\0\0\0\x05id=2|", "/id", Some("1")),
            (global.clone(), "\0\0\0\x02{}\0\0\0\x01x\0\0\0\x05id=2|", "/id", Some("2")),
            (global.clone(), "\0\0\0\x02{}\0\0\0\x01x\0\0\0\x05id=2|", "/0/id", None),
        ] {
            let body = body.replace('|', "\x01");
            let values = Values::read(&message_type, body.as_bytes()).unwrap();
            assert_eq!(values.text(path).as_deref(), value, "{body}");
        }
        for (message_type, body) in [
            (MessageType::Json, "{"),
            (MessageType::Nvfix, "no pairs"),
            (MessageType::Fix, "side=buy|"),
            (MessageType::Binary, "{}"),
            (MessageType::CompositeLocal(vec![MessageType::Json]), "{}"),
            (global, "{}"),
        ] {
            assert!(Values::read(&message_type, body.as_bytes()).is_none(), "{body}");
        }
    }
}
