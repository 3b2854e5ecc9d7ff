//! Aggregates: fields made of groups of messages (AMPS User Guide, "Aggregated
//! Subscriptions" and "Aggregate Functions").

use std::collections::BTreeMap;

use serde_json::{Map, Number as JsonNumber, Value as Json};

use super::error::FilterError;
use super::eval;
use super::expr::Expr;
use super::lexer::Kind;
use super::order;
use super::parser::Parser;
use super::scalar::Arithmetic;
use super::value::Value;
use super::{LIST_MAX, Subject};

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
    Avg,
    Count,
    Max,
    Min,
    Sum,
}

impl Function {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "AVG" => Self::Avg,
            "COUNT" => Self::Count,
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
            Self::Count => Arithmetic::Add.apply(&before, &Value::Int(1)).into_owned(),
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

    /// The groups of these messages, given in the order in which they were
    /// processed: what tells a group from others, and its fields as JSON.
    pub(crate) fn groups<'m>(&self, messages: impl Iterator<Item = Subject<'m>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let empty = vec![Cell { value: Value::Null, count: 0 }; self.columns.len()];
        let mut groups: BTreeMap<Vec<u8>, Vec<Cell>> = BTreeMap::new();
        for message in messages {
            let cells = groups.entry(self.group(&message)).or_insert_with(|| empty.clone());
            for (column, cell) in self.columns.iter().zip(cells) {
                let value = eval::scalar(&column.operand, &message);
                match column.function {
                    None => cell.value = value.into_owned(),
                    Some(_) if value.is_null() => {}
                    Some(function) => {
                        let before = if cell.count == 0 && function == Function::Count {
                            Value::Int(0)
                        } else {
                            cell.value.clone()
                        };
                        cell.value = function.add(before, value);
                        cell.count += 1;
                    }
                }
            }
        }
        groups.into_iter().map(|(key, cells)| (key, self.body(cells))).collect()
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

    fn body(&self, cells: Vec<Cell>) -> Vec<u8> {
        let mut body = Json::Object(Map::new());
        for (column, cell) in self.columns.iter().zip(cells) {
            let value = match (column.function, cell.count) {
                (Some(Function::Count), 0) => Value::Int(0),
                (Some(Function::Avg), count) if count > 0 => Arithmetic::Divide
                    .apply(&Arithmetic::Add.apply(&cell.value, &Value::Float(0.0)), &Value::Int(count))
                    .into_owned(),
                _ => cell.value,
            };
            put(&mut body, &column.name, json(&value));
        }
        body.to_string().into_bytes()
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
        projection.groups(messages).into_values().map(|body| String::from_utf8(body).unwrap()).collect()
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
            ("[MAX(/q) AS /q,MIN(/q) AS /m]", [r#"{"m":2,"q":4}"#, r#"{"m":10,"q":10}"#]),
            ("[/q AS /last]", [r#"{"last":null}"#, r#"{"last":10}"#]),
            ("[CONCAT(/c, ',') AS /k]", [r#"{"k":"a,"}"#, r#"{"k":"b,"}"#]),
        ] {
            assert_eq!(groups(projection, "[/c]", &bodies), expected, "{projection}");
        }
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
