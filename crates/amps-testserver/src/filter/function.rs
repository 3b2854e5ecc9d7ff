//! Functions (AMPS User Guide, "AMPS Functions").

use std::borrow::Cow;

use super::document::Fields;
use super::eval::{each, scalar};
use super::expr::Expr;
use super::scalar::{Arithmetic, negate};
use super::time;
use super::value::{Number, Value};

/// The longest string a function makes; a longer one is NULL.
const RESULT_MAX: usize = 16 << 20;

/// The radius of the earth in metres, for distances.
const EARTH: f64 = 6_371_008.8;

/// A function by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    ArrayCount,
    ArrayToString,
    CharValue,
    ClientName,
    Coalesce,
    Concat,
    Crc32,
    FalseValue,
    GeoDistance,
    If,
    InstanceName,
    Instr,
    InstrI,
    Lower,
    MessageSize,
    NanValue,
    RegexpMatch,
    RegexpReplace,
    Replace,
    Reverse,
    StrequalI,
    Strftime,
    Strptime,
    Substr,
    TopicName,
    TrueValue,
    UnixTimestamp,
    Upper,
}

use Function as F;

/// Each function with its name, the fewest and the most parameters.
const FUNCTIONS: [(F, &str, usize, usize); 29] = [
    (F::Abs, "ABS", 1, 1),
    (F::ArrayCount, "ARRAY_COUNT", 1, 1),
    (F::ArrayToString, "ARRAY_TO_STRING", 1, 2),
    (F::CharValue, "CHAR_VALUE", 1, 1),
    (F::ClientName, "CLIENT_NAME", 0, 0),
    (F::Coalesce, "COALESCE", 1, usize::MAX),
    (F::Concat, "CONCAT", 1, usize::MAX),
    (F::Crc32, "CRC32", 1, 1),
    (F::FalseValue, "FALSE_VALUE", 0, 0),
    (F::GeoDistance, "GEO_DISTANCE", 4, 4),
    (F::If, "IF", 3, 3),
    (F::InstanceName, "AMPS_INSTANCE_NAME", 0, 0),
    (F::Instr, "INSTR", 2, 2),
    (F::InstrI, "INSTR_I", 2, 2),
    (F::Lower, "LOWER", 1, 1),
    (F::MessageSize, "MESSAGE_SIZE", 0, 0),
    (F::NanValue, "NAN_VALUE", 0, 0),
    (F::RegexpMatch, "REGEXP_MATCH", 2, 2),
    (F::RegexpReplace, "REGEXP_REPLACE", 3, 3),
    (F::Replace, "REPLACE", 3, 3),
    (F::Reverse, "REVERSE", 1, 1),
    (F::StrequalI, "STREQUAL_I", 2, 2),
    (F::Strftime, "STRFTIME", 2, 2),
    (F::Strptime, "STRPTIME", 2, 2),
    (F::Substr, "SUBSTR", 2, 3),
    (F::TopicName, "TOPIC_NAME", 0, 0),
    (F::TrueValue, "TRUE_VALUE", 0, 0),
    (F::UnixTimestamp, "UNIX_TIMESTAMP", 0, 0),
    (F::Upper, "UPPER", 1, 1),
];

impl Function {
    /// The function of a name in upper case.
    pub(super) fn named(name: &str) -> Option<Self> {
        FUNCTIONS.iter().find(|(_, known, _, _)| *known == name).map(|(function, ..)| *function)
    }

    fn entry(self) -> &'static (Self, &'static str, usize, usize) {
        FUNCTIONS.iter().find(|(function, ..)| *function == self).expect("every function is in the table")
    }

    pub(super) fn name(self) -> &'static str {
        self.entry().1
    }

    /// Whether it takes that many parameters.
    pub(super) fn takes(self, count: usize) -> bool {
        let (_, _, fewest, most) = self.entry();
        (*fewest..=*most).contains(&count)
    }

    /// Which parameter is a regular expression.
    pub(super) fn pattern_parameter(self) -> Option<usize> {
        matches!(self, Self::RegexpMatch | Self::RegexpReplace).then_some(1)
    }

    /// Whether its value is that of its parameters alone.
    pub(super) fn is_deterministic(self) -> bool {
        self != Self::UnixTimestamp
    }

    /// Its value for a message. A function of one string is NULL for NULL.
    pub(super) fn call<'a>(self, parameters: &'a [Expr], fields: &'a dyn Fields) -> Value<'a> {
        let value = |ix: usize| parameters.get(ix).map_or(Value::Null, |parameter| scalar(parameter, fields));
        match self {
            Self::TrueValue => Value::bool(true),
            Self::FalseValue => Value::bool(false),
            Self::NanValue => Value::Float(f64::NAN),
            Self::MessageSize => Value::Int(fields.size() as i128),
            Self::TopicName => Value::text(fields.topic().as_bytes()),
            Self::ClientName => Value::text(fields.client().as_bytes()),
            Self::InstanceName => Value::text(fields.instance().as_bytes()),
            Self::If => value(if value(0).truth() == Some(true) { 1 } else { 2 }),
            Self::Coalesce => {
                let mut values = parameters.iter().map(|parameter| scalar(parameter, fields));
                values.find(|value| !value.is_null()).unwrap_or(Value::Null)
            }
            Self::Concat => {
                let parts: Vec<_> = parameters.iter().map(|parameter| scalar(parameter, fields)).collect();
                joined(parts.iter().map(Value::bytes), b"")
            }
            Self::ArrayCount => {
                let mut count = 0;
                each(&parameters[0], fields, &mut |_| {
                    count += 1;
                    false
                });
                Value::Int(count)
            }
            Self::ArrayToString => {
                let mut elements = Vec::new();
                each(&parameters[0], fields, &mut |element| {
                    elements.push(element);
                    false
                });
                let separator = if parameters.len() > 1 { value(1) } else { Value::text(b",".as_slice()) };
                joined(elements.iter().map(Value::bytes), &separator.bytes())
            }
            Self::Instr => position(&value(0).bytes(), &value(1).bytes()),
            Self::InstrI => position(&value(0).bytes().to_ascii_lowercase(), &value(1).bytes().to_ascii_lowercase()),
            Self::StrequalI => {
                let (left, right) = (value(0), value(1));
                Value::bool(!left.is_null() && left.bytes().eq_ignore_ascii_case(&right.bytes()))
            }
            Self::UnixTimestamp => Value::Float(fields.now() as f64 / 1e6),
            Self::Strftime => {
                let number = value(1).number().map(Number::as_float);
                let format = value(0).bytes().into_owned();
                let text = number.and_then(|number| time::format(std::str::from_utf8(&format).ok()?, number));
                text.filter(|text| text.len() <= RESULT_MAX).map_or(Value::Null, |text| Value::text(text.into_bytes()))
            }
            Self::Strptime => {
                let (text, format) = (value(0).bytes().into_owned(), value(1).bytes().into_owned());
                let texts = std::str::from_utf8(&text).ok().zip(std::str::from_utf8(&format).ok());
                let seconds = texts.and_then(|(text, format)| time::parse(text, format));
                seconds.map_or(Value::Null, |seconds| Value::Int(seconds.into()))
            }
            Self::GeoDistance => distance(&value(0), &value(1), &value(2), &value(3)),
            one => one.of_string(&value(0), &value(1), &value(2), parameters),
        }
    }

    /// Functions whose first parameter decides about NULL.
    fn of_string<'a>(
        self,
        first: &Value<'a>,
        second: &Value<'a>,
        third: &Value<'a>,
        parameters: &'a [Expr],
    ) -> Value<'a> {
        if first.is_null() {
            return Value::Null;
        }
        let bytes = first.bytes();
        match self {
            Self::Abs => match first.number() {
                Some(number) if number.as_float() < 0.0 => negate(first),
                Some(Number::Int(value)) => Value::Int(value),
                Some(Number::Float(value)) => Value::Float(value),
                None => Value::Float(f64::NAN),
            },
            Self::CharValue => match first.number() {
                Some(Number::Int(code)) => u8::try_from(code).map_or(Value::Null, |byte| Value::text(vec![byte])),
                _ => Value::Null,
            },
            Self::Crc32 => Value::Int(crc32fast::hash(&bytes).into()),
            Self::Upper => Value::text(bytes.to_ascii_uppercase()),
            Self::Lower => Value::text(bytes.to_ascii_lowercase()),
            Self::Reverse => Value::text(bytes.iter().rev().copied().collect::<Vec<_>>()),
            Self::Replace => joined(split(&bytes, &second.bytes()).into_iter().map(Cow::Borrowed), &third.bytes()),
            Self::Substr => substring(&bytes, second, if parameters.len() > 2 { Some(third) } else { None }),
            Self::RegexpMatch | Self::RegexpReplace => {
                let Some(Expr::Pattern(pattern)) = parameters.get(1) else { return Value::Null };
                let found = match self {
                    Self::RegexpMatch => pattern.find(&bytes),
                    _ => pattern.replace(&bytes, &third.bytes(), RESULT_MAX),
                };
                found.map_or(Value::Null, Value::text)
            }
            _ => Value::Null,
        }
    }
}

/// Parts with something between them; NULL when that is too long.
fn joined<'p>(parts: impl Iterator<Item = Cow<'p, [u8]>>, between: &[u8]) -> Value<'static> {
    let mut out = Vec::new();
    for (ix, part) in parts.enumerate() {
        if ix > 0 {
            out.extend_from_slice(between);
        }
        out.extend_from_slice(&part);
        if out.len() > RESULT_MAX {
            return Value::Null;
        }
    }
    Value::text(out)
}

/// Where a string begins in another, counted from 1; 0 when it does not.
fn position(hay: &[u8], needle: &[u8]) -> Value<'static> {
    if needle.is_empty() {
        return Value::Int(0);
    }
    Value::Int(memchr::memmem::find(hay, needle).map_or(0, |at| at as i128 + 1))
}

fn split<'h>(hay: &'h [u8], needle: &[u8]) -> Vec<&'h [u8]> {
    if needle.is_empty() {
        return vec![hay];
    }
    let mut parts = Vec::new();
    let mut from = 0;
    for at in memchr::memmem::find_iter(hay, needle) {
        parts.push(&hay[from..at]);
        from = at + needle.len();
    }
    parts.push(&hay[from..]);
    parts
}

/// From a position counted from 1, to the end or for a length.
fn substring(bytes: &[u8], start: &Value<'_>, length: Option<&Value<'_>>) -> Value<'static> {
    let whole = |value: &Value<'_>| value.number().map(|number| number.as_float() as i64);
    let Some(start) = whole(start) else { return Value::Null };
    let from = usize::try_from(start.saturating_sub(1)).unwrap_or(0).min(bytes.len());
    let length = match length.map(whole) {
        None => bytes.len(),
        Some(Some(length)) => usize::try_from(length).unwrap_or(0),
        Some(None) => return Value::Null,
    };
    let to = from.saturating_add(length).min(bytes.len());
    Value::text(bytes[from..to].to_vec())
}

/// Metres between two places, given by latitude and longitude in degrees.
fn distance(lat1: &Value<'_>, lon1: &Value<'_>, lat2: &Value<'_>, lon2: &Value<'_>) -> Value<'static> {
    // Subtracting nothing gives NULL or NaN where there is no number.
    let radians = |value: &Value<'_>| match Arithmetic::Subtract.apply(value, &Value::Int(0)) {
        Value::Null => None,
        other => other.number().map(|number| number.as_float().to_radians()),
    };
    let (Some(lat1), Some(lon1), Some(lat2), Some(lon2)) = (radians(lat1), radians(lon1), radians(lat2), radians(lon2))
    else {
        return Value::Null;
    };
    let half = |angle: f64| (angle / 2.0).sin().powi(2);
    let chord = half(lat2 - lat1) + lat1.cos() * lat2.cos() * half(lon2 - lon1);
    Value::Float(2.0 * EARTH * chord.sqrt().min(1.0).asin())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;

    #[test]
    fn every_function_is_found_by_its_name() {
        for (function, name, ..) in FUNCTIONS {
            assert_eq!(Function::named(name), Some(function));
            assert_eq!(function.name(), name);
        }
    }

    #[test]
    fn every_function_has_rows_in_the_table_of_filters() {
        let table = include_str!("../../tests/data/filters.tsv");
        for (_, name, ..) in FUNCTIONS {
            let call = format!("{name}(");
            let is_call = |expression: &str| {
                expression
                    .match_indices(&call)
                    .any(|(at, _)| !expression[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
            };
            let rows = table.lines().filter(|row| row.split('\t').nth(1).is_some_and(is_call)).count();
            assert!(rows >= 2, "{name} has {rows} rows");
        }
    }

    #[test]
    fn a_result_has_a_bound() {
        let body = format!(r#"{{"a":"{}"}}"#, "x".repeat(4096));
        let long = "y".repeat(5000);
        for (filter, matches) in [
            (format!("REPLACE(/a, 'x', '{long}') IS NULL"), true),
            (format!("REGEXP_REPLACE(/a, 'x', '{long}') IS NULL"), true),
            ("REPLACE(/a, 'x', 'yy') IS NULL".to_owned(), false),
            ("STRFTIME(REPLACE(/a, 'x', '%F'), 0) IS NULL".to_owned(), false),
            (format!("STRFTIME(REPLACE(/a, 'x', '{}'), 0) IS NULL", "%F".repeat(500)), true),
        ] {
            assert_eq!(filter.parse::<Filter>().unwrap().matches(body.as_bytes()), matches, "{}", &filter[..20]);
        }
    }
}
