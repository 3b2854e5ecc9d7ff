//! Aggregates: fields made of groups of messages (AMPS User Guide, "Aggregated
//! Subscriptions" and "Aggregate Functions").

use std::collections::{BTreeMap, BTreeSet};

use amps_core::payload::SEPARATOR;
use serde_json::{Map, Number as JsonNumber, Value as Json};

use super::error::FilterError;
use super::eval;
use super::expr::Expr;
use super::lexer::Kind;
use super::order;
use super::parser::Parser;
use super::scalar::Arithmetic;
use super::value::{Number, Value};
use super::{LIST_MAX, Subject};
use crate::fields::Pairs;
use crate::message_type::MessageType;

/// The longest projection or grouping in bytes (AMPS Command Reference, "sow").
const TEXT_MAX: usize = 64 << 10;

/// What an aggregate is made of: its fields, and by which fields of the messages
/// they are grouped.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Projection {
    columns: Vec<Column>,
    grouping: Vec<Expr>,
}

/// One field of the result.
#[derive(Debug, Clone, PartialEq)]
struct Column {
    /// Without one it is the value of the last message of the group.
    function: Option<Function>,
    operand: Expr,
    /// The steps of where it stands.
    name: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Any,
    Avg,
    Count,
    CountDistinct,
    Max,
    Min,
    Sum,
}

impl Function {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ANY" => Self::Any,
            "AVG" => Self::Avg,
            "COUNT" => Self::Count,
            "COUNT_DISTINCT" => Self::CountDistinct,
            "MAX" => Self::Max,
            "MIN" => Self::Min,
            "SUM" => Self::Sum,
            _ => return None,
        })
    }

    /// What a further value makes of what there was. NULL is passed over.
    fn add(self, before: Value<'static>, value: Value<'_>) -> Value<'static> {
        let value = value.into_owned();
        let first = before.is_null();
        match self {
            // They are counted beside it.
            Self::Count | Self::CountDistinct => before,
            Self::Any if first => value,
            Self::Any => before,
            // An average is summed here, and divided at the end.
            Self::Sum | Self::Avg if first => Arithmetic::Add.apply(&value, &Value::Int(0)).into_owned(),
            Self::Sum | Self::Avg => Arithmetic::Add.apply(&before, &value).into_owned(),
            Self::Max if first || order::compare(&value, &before).is_gt() => value,
            Self::Min if first || order::compare(&value, &before).is_lt() => value,
            Self::Max | Self::Min => before,
        }
    }
}

/// A column of a group while messages are added.
#[derive(Debug, Clone)]
struct Cell {
    value: Value<'static>,
    /// Values that were added.
    count: i128,
    /// Each of them once, where that counts.
    distinct: BTreeSet<Vec<u8>>,
}

impl Cell {
    fn add(&mut self, function: Function, value: Value<'_>) {
        self.count += 1;
        if function == Function::CountDistinct {
            self.distinct.insert(as_compared(&value));
        }
        let before = std::mem::replace(&mut self.value, Value::Null);
        self.value = function.add(before, value);
    }
}

/// A value as comparisons see it: a string that is a number is that number, and
/// whole numbers are integers.
fn as_compared(value: &Value<'_>) -> Vec<u8> {
    match value.number() {
        Some(Number::Int(int)) => int.to_string().into_bytes(),
        // Those that have no fraction and are exact.
        Some(Number::Float(float)) if float.fract().abs() <= 0.0 && float.abs() < 1e18 => {
            (float as i128).to_string().into_bytes()
        }
        Some(Number::Float(float)) => format!("{float:?}").into_bytes(),
        None => value.bytes().into_owned(),
    }
}

impl Projection {
    /// Reads the values of the options `projection` and `grouping`, each with
    /// its brackets.
    ///
    /// # Errors
    /// One of them is no such list.
    pub(crate) fn parse(projection: &str, grouping: &str) -> Result<Self, FilterError> {
        let columns = list(projection, |parser| {
            let name = match parser.peek() {
                Kind::Word(word) => Function::named(word),
                _ => None,
            };
            let function = name.filter(|_| parser.next_is_symbol("("));
            let operand = match function {
                None => parser.expression()?,
                Some(_) => {
                    parser.take();
                    parser.symbol("(")?;
                    let operand = parser.expression()?;
                    parser.symbol(")")?;
                    operand
                }
            };
            let path = match (&operand, parser.takes_word("AS")) {
                (_, true) => match parser.take() {
                    Kind::Field(path) => path,
                    _ => return Err(parser.expected("an identifier such as /name")),
                },
                (Expr::Field(path), false) if function.is_none() => path.clone(),
                _ => return Err(parser.expected("AS and an identifier")),
            };
            let name = path.0.iter().map(|step| match step.index {
                None => Ok(step.name.clone()),
                Some(_) => Err(parser.expected("an identifier without an index")),
            });
            Ok(Column { function, operand, name: name.collect::<Result<_, _>>()? })
        })?;
        let grouping = list(grouping, |parser| match parser.take() {
            Kind::Field(path) => Ok(Expr::Field(path)),
            _ => Err(parser.expected("an identifier such as /name")),
        })?;
        Ok(Self { columns, grouping })
    }

    /// Whether there are messages of that type with these fields.
    pub(crate) fn fits(&self, message_type: &MessageType) -> bool {
        let one = |column: &Column, proper: fn(&str) -> bool| matches!(&column.name[..], [name] if proper(name));
        match message_type {
            MessageType::Json => true,
            MessageType::Nvfix => self.columns.iter().all(|column| one(column, |name| !name.contains(['=', '\x01']))),
            MessageType::Fix => {
                self.columns.iter().all(|column| one(column, |name| name.parse::<u32>().is_ok_and(|tag| tag > 0)))
            }
            _ => false,
        }
    }

    /// The groups of these messages, given in the order in which they were
    /// processed: what tells a group from others, and a message with its fields.
    pub(crate) fn groups<'m>(
        &self,
        messages: impl Iterator<Item = Subject<'m>>,
        message_type: &MessageType,
    ) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let empty = vec![Cell { value: Value::Null, count: 0, distinct: BTreeSet::new() }; self.columns.len()];
        let mut groups: BTreeMap<Vec<u8>, Vec<Cell>> = BTreeMap::new();
        for message in messages {
            let cells = groups.entry(self.group(&message)).or_insert_with(|| empty.clone());
            for (column, cell) in self.columns.iter().zip(cells) {
                let value = eval::scalar(&column.operand, &message);
                match column.function {
                    None => cell.value = value.into_owned(),
                    Some(_) if value.is_null() => {}
                    Some(function) => cell.add(function, value),
                }
            }
        }
        groups.into_iter().map(|(key, cells)| (key, self.body(cells, message_type))).collect()
    }

    /// The fields of the result that tell a group from others, as the paths of a
    /// key.
    pub(crate) fn key_paths(&self) -> String {
        let is_key = |column: &&Column| column.function.is_none() && self.grouping.contains(&column.operand);
        let paths = self.columns.iter().filter(is_key).map(|column| format!("/{}", column.name.join("/")));
        paths.collect::<Vec<_>>().join(",")
    }

    /// The group of a message.
    fn group(&self, message: &Subject<'_>) -> Vec<u8> {
        let mut key = Vec::new();
        for field in &self.grouping {
            let value = eval::scalar(field, message);
            let bytes = value.bytes();
            key.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            key.extend_from_slice(&bytes);
        }
        key
    }

    fn body(&self, cells: Vec<Cell>, message_type: &MessageType) -> Vec<u8> {
        let values = self.columns.iter().zip(cells).map(|(column, cell)| {
            let value = match (column.function, cell.count) {
                (Some(Function::Count), count) => Value::Int(count),
                (Some(Function::CountDistinct), _) => Value::Int(cell.distinct.len() as i128),
                (Some(Function::Avg), count) if count > 0 => Arithmetic::Divide
                    .apply(&Arithmetic::Add.apply(&cell.value, &Value::Float(0.0)), &Value::Int(count))
                    .into_owned(),
                _ => cell.value,
            };
            (&column.name, value)
        });
        if *message_type == MessageType::Json {
            let mut body = Json::Object(Map::new());
            values.for_each(|(name, value)| put(&mut body, name, json(&value)));
            return body.to_string().into_bytes();
        }
        // Nothing is the same as no value.
        let clean = |value: &Value<'_>| value.bytes().iter().copied().filter(|byte| *byte != SEPARATOR).collect();
        let pairs: Pairs = values.map(|(name, value)| (name.join("/"), clean(&value))).collect();
        pairs.write()
    }
}

/// A list in brackets.
fn list<T>(text: &str, mut item: impl FnMut(&mut Parser) -> Result<T, FilterError>) -> Result<Vec<T>, FilterError> {
    if text.len() > TEXT_MAX {
        return Err(FilterError::new(TEXT_MAX, format!("a projection has at most {TEXT_MAX} bytes")));
    }
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let inside = inside.ok_or_else(|| FilterError::new(0, "expected a list in brackets"))?;
    let mut parser = Parser::new(inside)?;
    let mut items = Vec::new();
    loop {
        if items.len() == LIST_MAX {
            return Err(parser.expected(&format!("at most {LIST_MAX} entries")));
        }
        items.push(item(&mut parser)?);
        if parser.peek() == &Kind::End {
            return Ok(items);
        }
        parser.symbol(",")?;
    }
}

fn put(body: &mut Json, steps: &[String], value: Json) {
    let (Some((last, above)), mut at) = (steps.split_last(), body) else { return };
    for step in above {
        if !at.is_object() {
            *at = Json::Object(Map::new());
        }
        let Json::Object(fields) = at else { return };
        at = fields.entry(step).or_insert_with(|| Json::Object(Map::new()));
    }
    if !at.is_object() {
        *at = Json::Object(Map::new());
    }
    if let Json::Object(fields) = at {
        fields.insert(last.clone(), value);
    }
}

fn json(value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
            (Ok(value), _) => value.into(),
            (_, Ok(value)) => value.into(),
            _ => Json::Null,
        },
        Value::Float(value) => JsonNumber::from_f64(*value).map_or(Json::Null, Json::Number),
        Value::Text(bytes) => String::from_utf8_lossy(bytes).into_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(projection: &str, grouping: &str, bodies: &[&str]) -> Vec<String> {
        let projection = Projection::parse(projection, grouping).unwrap();
        let messages = bodies.iter().map(|body| Subject::new("", "", body.as_bytes()));
        projection
            .groups(messages, &MessageType::Json)
            .into_values()
            .map(|body| String::from_utf8(body).unwrap())
            .collect()
    }

    #[test]
    fn bounds() {
        let long = |n: usize| Projection::parse("[/a]", &format!("[/a{}]", " ".repeat(n - 4)));
        assert!(long(TEXT_MAX).is_ok());
        assert_eq!(long(TEXT_MAX + 1).unwrap_err().at(), TEXT_MAX);
        let fields = |n: usize| Projection::parse("[/a]", &format!("[{}]", vec!["/a"; n].join(",")));
        assert!(fields(LIST_MAX).is_ok() && fields(LIST_MAX + 1).is_err());
    }

    #[test]
    fn each_function_passes_over_what_is_missing() {
        let bodies = [
            r#"{"c":"a","q":2,"p":1.5,"s":"x"}"#,
            r#"{"c":"a","q":4,"p":2,"s":7,"n":null}"#,
            r#"{"c":"b","q":10,"p":3}"#,
            r#"{"c":"a"}"#,
        ];
        for (projection, expected) in [
            ("[/c,SUM(/q) AS /t]", [r#"{"c":"a","t":6}"#, r#"{"c":"b","t":10}"#]),
            ("[SUM(/q * /p) AS /x/y]", [r#"{"x":{"y":11.0}}"#, r#"{"x":{"y":30}}"#]),
            ("[AVG(/q) AS /a]", [r#"{"a":3.0}"#, r#"{"a":10.0}"#]),
            ("[COUNT(/q) AS /n]", [r#"{"n":2}"#, r#"{"n":1}"#]),
            ("[COUNT(/n) AS /n]", [r#"{"n":0}"#, r#"{"n":0}"#]),
            ("[SUM(/n) AS /n]", [r#"{"n":null}"#, r#"{"n":null}"#]),
            ("[MIN(/s) AS /s]", [r#"{"s":7}"#, r#"{"s":null}"#]),
            ("[MAX(/s) AS /s]", [r#"{"s":"x"}"#, r#"{"s":null}"#]),
            ("[ANY(/q) AS /q]", [r#"{"q":2}"#, r#"{"q":10}"#]),
            ("[ANY(/n) AS /n]", [r#"{"n":null}"#, r#"{"n":null}"#]),
            ("[COUNT_DISTINCT(/q % 2) AS /n]", [r#"{"n":1}"#, r#"{"n":1}"#]),
            ("[COUNT_DISTINCT(/s) AS /n]", [r#"{"n":2}"#, r#"{"n":0}"#]),
            ("[MAX(/q) AS /q,MIN(/q) AS /m]", [r#"{"m":2,"q":4}"#, r#"{"m":10,"q":10}"#]),
            ("[/q AS /last]", [r#"{"last":null}"#, r#"{"last":10}"#]),
            ("[CONCAT(/c, ',') AS /k]", [r#"{"k":"a,"}"#, r#"{"k":"b,"}"#]),
        ] {
            assert_eq!(groups(projection, "[/c]", &bodies), expected, "{projection}");
        }
    }

    /// AMPS User Guide, "Aggregate Functions": as comparisons convert them.
    #[test]
    fn what_is_equal_is_not_distinct() {
        let bodies = [r#"{"v":2}"#, r#"{"v":2.0}"#, r#"{"v":"2"}"#, r#"{"v":"x"}"#, r#"{"v":"X"}"#, r#"{"v":-0.0}"#];
        let more = [r#"{"v":0}"#, r#"{"v":null}"#, "{}"];
        let bodies: Vec<_> = bodies.into_iter().chain(more).collect();
        assert_eq!(groups("[COUNT_DISTINCT(/v) AS /n,COUNT(/v) AS /all]", "[/c]", &bodies), [r#"{"all":7,"n":4}"#]);
    }

    #[test]
    fn a_result_is_of_its_messages_type() {
        for (projection, nvfix, fix) in [
            ("[/35,SUM(/38) AS /38]", true, true),
            ("[/35 AS /kind]", true, false),
            ("[/35 AS /0]", true, false),
            ("[/35 AS /a/b]", false, false),
            ("[/35 AS [/a=b]]", false, false),
        ] {
            let projection = Projection::parse(projection, "[/35]").unwrap();
            assert_eq!(projection.fits(&MessageType::Nvfix), nvfix, "{projection:?}");
            assert_eq!(projection.fits(&MessageType::Fix), fix, "{projection:?}");
            assert!(projection.fits(&MessageType::Json) && !projection.fits(&MessageType::Binary));
        }
        let projection = Projection::parse("[/35,SUM(/38) AS /38,MAX(/9) AS /9]", "[/35]").unwrap();
        let messages = [r#"{"35":"D","38":1}"#, r#"{"35":"D","38":2}"#];
        let messages = messages.iter().map(|body| Subject::new("", "", body.as_bytes()));
        let groups = projection.groups(messages, &MessageType::Fix);
        assert_eq!(groups.into_values().collect::<Vec<_>>(), [b"35=D\x0138=3\x019=\x01"]);
    }

    #[test]
    fn values_are_told_apart_wherever_they_end() {
        let bodies = [r#"{"a":"x\u0000y","b":"z","v":1}"#, r#"{"a":"x","b":"y\u0000z","v":2}"#];
        assert_eq!(groups("[SUM(/v) AS /v]", "[/a,/b]", &bodies).len(), 2);
    }

    #[test]
    fn the_key_of_a_group_is_what_it_is_grouped_by() {
        let projection = Projection::parse("[/c AS /kind/name,SUM(/v) AS /v,/x]", "[/c,/d]").unwrap();
        assert_eq!(projection.key_paths(), "/kind/name");
    }

    #[test]
    fn what_is_no_projection_is_refused() {
        for (projection, grouping) in [
            ("[SUM(/q)]", "[/c]"),
            ("[SUM(/q) AS /t", "[/c]"),
            ("/q", "[/c]"),
            ("[]", "[/c]"),
            ("[/q,]", "[/c]"),
            ("[/q AS /a[1]]", "[/c]"),
            ("[/q AS 5]", "[/c]"),
            ("[MEDIAN(/q) AS /t]", "[/c]"),
            ("[1 + SUM(/q) AS /t]", "[/c]"),
            ("[/q]", "[]"),
            ("[/q]", "[1]"),
        ] {
            assert!(Projection::parse(projection, grouping).is_err(), "{projection} {grouping}");
        }
    }
}
