//! A record as it is shown: the fields of a JSON object, in their order.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// What a body that is no object is called.
const BODY: &str = "body";

/// The fields of a record. A body that is no object is one field.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Record(Vec<(String, Value)>);

impl Record {
    /// The names of its fields.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The value at a path.
    pub(super) fn get(&self, path: &[String]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let field = self.0.iter().find(|(name, _)| name == first).map(|(_, value)| value);
        rest.iter().try_fold(field?, |value, step| match value {
            Value::Array(values) => values.get(step.parse::<usize>().ok()?),
            value => value.get(step),
        })
    }

    fn set(&mut self, name: String, value: Value) {
        match self.0.iter_mut().find(|(own, _)| *own == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Fields)
    }
}

struct Fields;

impl Fields {
    fn body<E>(value: impl Into<Value>) -> Result<Record, E> {
        Ok(Record(vec![(BODY.to_owned(), value.into())]))
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = Record;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
        let mut record = Record::default();
        while let Some((name, value)) = map.next_entry()? {
            record.set(name, value);
        }
        Ok(record)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Record, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element::<Value>()? {
            values.push(value);
        }
        Self::body(values)
    }

    fn visit_str<E>(self, text: &str) -> Result<Record, E> {
        Self::body(text)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Record, E> {
        Self::body(number)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Record, E> {
        Self::body(number)
    }

    fn visit_f64<E>(self, number: f64) -> Result<Record, E> {
        Self::body(number)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Record, E> {
        Self::body(truth)
    }

    fn visit_unit<E>(self) -> Result<Record, E> {
        Self::body(Value::Null)
    }
}

/// A value on one line. What would move the cursor of a terminal, or worse, is
/// written as an escape.
pub(super) fn text(value: Option<&Value>) -> String {
    let raw: Cow<'_, str> = match value {
        None => return String::new(),
        Some(Value::String(text)) => text.into(),
        Some(other) => other.to_string().into(),
    };
    printable(&raw)
}

/// The same of any text.
pub(super) fn printable(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    for character in raw.chars() {
        match character.is_control() {
            true => text.extend(character.escape_default()),
            false => text.push(character),
        }
    }
    text
}

/// The order of values: numbers, texts, the rest; what is not there comes last.
pub(super) fn compare(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        _ => 3,
    };
    match (one, other) {
        (Some(Value::Number(one)), Some(Value::Number(other))) => match (one.as_i128(), other.as_i128()) {
            (Some(one), Some(other)) => one.cmp(&other),
            _ => one.as_f64().unwrap_or_default().total_cmp(&other.as_f64().unwrap_or_default()),
        },
        (Some(Value::String(one)), Some(Value::String(other))) => one.cmp(other),
        (Some(Value::Bool(one)), Some(Value::Bool(other))) => one.cmp(other),
        (Some(one), Some(other)) => rank(one).cmp(&rank(other)),
        (one, other) => one.is_none().cmp(&other.is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(body: &str) -> Record {
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn fields_keep_their_order_and_the_last_of_a_name_counts() {
        let record = record(r#"{"symbol":"A","bid":1.50,"legs":[{"qty":7}],"symbol":"B"}"#);
        assert_eq!(record.names().collect::<Vec<_>>(), ["symbol", "bid", "legs"]);
        let get = |path: &str| record.get(&path.split('/').map(str::to_owned).collect::<Vec<_>>()).cloned();
        assert_eq!(
            (get("symbol"), get("legs/0/qty"), get("legs/1"), get("no")),
            (Some(json!("B")), Some(json!(7)), None, None)
        );
    }

    #[test]
    fn a_body_that_is_no_object_is_a_field() {
        for body in ["5", "-5", "1.5", r#""text""#, "true", "null", "[1,2]"] {
            let value: Value = serde_json::from_str(body).unwrap();
            assert_eq!(record(body), Record(vec![("body".to_owned(), value)]), "{body}");
        }
    }

    #[test]
    fn nothing_that_is_shown_moves_the_cursor() {
        assert_eq!(text(Some(&json!("a\u{1b}[2Jb\nc"))), "a\\u{1b}[2Jb\\nc");
        assert_eq!(text(Some(&json!({"a": "\n"}))), r#"{"a":"\n"}"#);
        assert_eq!((text(None), text(Some(&Value::Null))), (String::new(), "null".to_owned()));
    }

    #[test]
    fn numbers_come_by_size_and_what_is_not_there_comes_last() {
        let mut values =
            [None, Some(json!("b")), Some(json!(10)), Some(json!(9.5)), Some(json!("a")), Some(json!(true))];
        values.sort_by(|one, other| compare(one.as_ref(), other.as_ref()));
        let sorted = [Some(json!(9.5)), Some(json!(10)), Some(json!("a")), Some(json!("b")), Some(json!(true)), None];
        assert_eq!(values, sorted);
    }
}
