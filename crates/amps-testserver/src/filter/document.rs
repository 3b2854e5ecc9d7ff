//! Where a filter's fields come from: messages with a JSON body (AMPS User
//! Guide, "Identifiers" and "AMPS Data Types").

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt;

use amps_core::payload::{Composite, CompositeError, SEPARATOR, fix, nvfix};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::expr::{Path, Step};
use super::surroundings::About;
use super::value::Value;
use crate::log::{Entry, Log};
use crate::message_type::MessageType;
use crate::sow::SowRecord;

/// What a filter can ask a message.
pub(crate) trait Fields {
    /// Shows the values at a path, the elements of arrays one by one, until
    /// `see` answers true; whether it did.
    fn visit<'a>(&'a self, path: &Path, see: &mut dyn FnMut(Value<'a>) -> bool) -> bool;

    /// The message's topic.
    fn topic(&self) -> &str;

    /// The name of the instance.
    fn instance(&self) -> &str;

    /// The name of the client that published it; empty where nobody knows.
    fn client(&self) -> &str;

    /// Bytes of the body.
    fn size(&self) -> usize;

    /// The time, in microseconds since the beginning of 1970.
    fn now(&self) -> u64;
}

/// A message to be filtered. Its body is read when the first filter asks for a
/// field, and once.
#[derive(Debug)]
pub(crate) struct Subject<'m> {
    topic: &'m str,
    about: About<'m>,
    client: &'m str,
    body: &'m [u8],
    parsed: OnceCell<Json<'m>>,
}

impl<'m> Subject<'m> {
    pub(crate) fn new(about: impl Into<About<'m>>, topic: &'m str, body: &'m [u8]) -> Self {
        Self { topic, about: about.into(), client: "", body, parsed: OnceCell::new() }
    }

    /// Says which client published it.
    pub(crate) fn by(self, client: &'m str) -> Self {
        Self { client, ..self }
    }

    /// A record: its last message.
    pub(crate) fn record(about: impl Into<About<'m>>, topic: &'m str, record: &'m SowRecord) -> Self {
        Self::new(about, topic, &record.body).by(&record.client)
    }

    /// A message that was taken, with the log that knows its publisher.
    pub(crate) fn entry(about: impl Into<About<'m>>, topic: &'m str, entry: &'m Entry, log: &'m Log) -> Self {
        Self::new(about, topic, &entry.body).by(&log.publisher(entry.publisher).name)
    }
}

impl Fields for Subject<'_> {
    fn visit<'a>(&'a self, path: &Path, see: &mut dyn FnMut(Value<'a>) -> bool) -> bool {
        let root = self.parsed.get_or_init(|| Json::of(self.about.message_type(self.topic), self.body));
        root.visit(&path.0, &mut |element| see(element.value()))
    }

    fn topic(&self) -> &str {
        self.topic
    }

    fn instance(&self) -> &str {
        self.about.instance
    }

    fn client(&self) -> &str {
        self.client
    }

    fn size(&self) -> usize {
        self.body.len()
    }

    fn now(&self) -> u64 {
        self.about.now
    }
}

/// A JSON document, strings borrowed where nothing was escaped.
#[derive(Debug, Clone, PartialEq)]
enum Json<'m> {
    Null,
    Int(i128),
    Float(f64),
    Text(Cow<'m, str>),
    Array(Vec<Self>),
    Object(Vec<(Cow<'m, str>, Self)>),
}

impl<'m> Json<'m> {
    /// The fields of a message. One that is not what it should be has none.
    fn of(message_type: &MessageType, body: &'m [u8]) -> Self {
        let fields = match message_type {
            MessageType::Json => serde_json::from_slice(body).ok(),
            MessageType::Binary => None,
            MessageType::Nvfix => {
                let pairs =
                    nvfix(body, SEPARATOR).map(|pair| pair.map(|(tag, value)| (String::from_utf8_lossy(tag), value)));
                Self::of_pairs(pairs)
            }
            MessageType::Fix => Self::of_pairs(
                fix(body, SEPARATOR).map(|pair| pair.map(|(tag, value)| (tag.to_string().into(), value))),
            ),
            MessageType::CompositeLocal(types) => {
                let parts = Composite::parts(body).zip(types).enumerate().map(|(at, (part, part_type))| {
                    Ok::<_, CompositeError>((at.to_string().into(), Self::of(part_type, part?)))
                });
                parts.collect::<Result<_, _>>().ok().map(Self::Object)
            }
            MessageType::CompositeGlobal(types) => {
                let parts = Composite::parts(body).zip(types).map(|(part, part_type)| Ok(Self::of(part_type, part?)));
                let parts = parts.collect::<Result<Vec<_>, CompositeError>>().ok();
                parts.map(|parts| parts.into_iter().fold(Self::Object(Vec::new()), Self::with))
            }
        };
        fields.unwrap_or(Self::Object(Vec::new()))
    }

    /// Two documents as one: what both have is an array of both, objects field by
    /// field.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Object(mut fields), Self::Object(others)) => {
                let mut known = HashMap::new();
                for (at, (name, _)) in fields.iter().enumerate() {
                    // The first of a name is the one that counts.
                    known.entry(name.clone()).or_insert(at);
                }
                for (name, value) in others {
                    match known.get(&name) {
                        Some(at) => {
                            let own = std::mem::replace(&mut fields[*at].1, Self::Null);
                            fields[*at].1 = own.with(value);
                        }
                        None => fields.push((name, value)),
                    }
                }
                Self::Object(fields)
            }
            (Self::Array(mut items), other) => {
                items.push(other);
                Self::Array(items)
            }
            (own, other) => Self::Array(vec![own, other]),
        }
    }

    fn of_pairs<E>(pairs: impl Iterator<Item = Result<(Cow<'m, str>, &'m [u8]), E>>) -> Option<Self> {
        let fields = pairs.map(|pair| pair.map(|(tag, value)| (tag, Self::Text(String::from_utf8_lossy(value)))));
        fields.collect::<Result<_, _>>().ok().map(Self::Object)
    }
}

impl Json<'_> {
    /// What it counts as by itself. An object has no value of its own.
    fn value(&self) -> Value<'_> {
        match self {
            Self::Null | Self::Array(_) | Self::Object(_) => Value::Null,
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Text(text) => Value::text(text.as_bytes()),
        }
    }

    /// The first field of that name, as a server sees it that reads no further
    /// than it must.
    fn field(&self, name: &str) -> Option<&Self> {
        let Self::Object(fields) = self else { return None };
        fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn visit<'a>(&'a self, steps: &[Step], see: &mut dyn FnMut(&'a Self) -> bool) -> bool {
        let indexed = steps.iter().enumerate().find_map(|(at, step)| Some((at, step.index?)));
        let Some((at, index)) = indexed else { return self.elements(steps, see) };
        let (mut before, mut found) = (index, None);
        self.elements(&steps[..=at], &mut |element| {
            if before == 0 {
                found = Some(element);
            }
            before = before.saturating_sub(1);
            found.is_some()
        });
        found.is_some_and(|element| element.visit(&steps[at + 1..], see))
    }

    /// Everything at a path, through arrays of any depth, in order.
    fn elements<'a>(&'a self, steps: &[Step], see: &mut dyn FnMut(&'a Self) -> bool) -> bool {
        match (self, steps.split_first()) {
            (Self::Array(items), _) => items.iter().any(|item| item.elements(steps, see)),
            (other, None) => see(other),
            (other, Some((step, rest))) => other.field(&step.name).is_some_and(|field| field.elements(rest, see)),
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Int(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Int(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some((key, value)) = entries.next_entry()? {
            if let Json::Text(name) = key {
                fields.push((name, value));
            }
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(body: &str, steps: &[(&str, Option<u32>)]) -> Vec<String> {
        let steps = steps.iter().map(|(name, index)| Step { name: (*name).to_owned(), index: *index }).collect();
        let subject = Subject::new("", "", body.as_bytes());
        let mut found = Vec::new();
        subject.visit(&Path(steps), &mut |value| {
            found.push(value.to_string());
            false
        });
        found
    }

    #[test]
    fn arrays_are_taken_apart_and_objects_have_no_value() {
        let body = r#"{"C":[{"k":1},{"k":[2,[3]]},{},{"k":{"x":4}}],"b":true,"b":7,"e":[],"t":"é"}"#;
        for (steps, values) in [
            (&[("C", None), ("k", None)][..], &["1", "2", "3", "NULL"][..]),
            (&[("C", None), ("k", Some(1))], &["2"]),
            (&[("C", Some(1)), ("k", None)], &["2", "3"]),
            (&[("C", Some(1)), ("k", Some(1))], &["3"]),
            (&[("C", Some(9)), ("k", None)], &[]),
            (&[("C", Some(2))], &["NULL"]),
            (&[("b", None)], &["1"]),
            (&[("b", Some(0))], &["1"]),
            (&[("b", Some(1))], &[]),
            (&[("e", None)], &[]),
            (&[("t", None)], &[r"'\xC3\xA9'"]),
            (&[("missing", None), ("k", None)], &[]),
        ] {
            assert_eq!(found(body, steps), values, "{steps:?}");
        }
    }

    /// Those of `composite-global`.
    #[test]
    fn parts_with_one_name_for_all_are_one_document() {
        let part = |body: &'static str| serde_json::from_str::<Json<'_>>(body).unwrap();
        let joined = part(r#"{"id":1,"a":{"x":1,"y":[2]},"t":"s"}"#).with(part(r#"{"id":2,"a":{"y":3,"z":4},"n":5}"#));
        assert_eq!(joined, part(r#"{"id":[1,2],"a":{"x":1,"y":[2,3],"z":4},"t":"s","n":5}"#));
        let joined = part(r#"{"id":1,"id":7}"#).with(part(r#"{"id":[2,3]}"#)).with(part(r#"{"id":null}"#));
        assert_eq!(joined.field("id"), Some(&part("[1,[2,3],null]")));
    }

    #[test]
    fn what_is_no_json_has_no_fields() {
        for body in ["", "no json", r#"{"a":1"#, r#"{"a":1} {"#, "7"] {
            assert!(found(body, &[("a", None)]).is_empty(), "{body}");
        }
    }
}
