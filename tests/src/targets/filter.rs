//! Filters of the test server.

use amps_testserver::Filter;
use arbitrary::{Result, Unstructured};
use serde_json::{Map, Value, json};

/// The first line is a filter, the rest a body. Any text is a filter or an error
/// at one of its bytes; a filter is printed as one that reads the same, and any
/// body is looked at without harm.
pub(super) fn text(bytes: &[u8]) {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let Some(Ok(text)) = lines.next().map(std::str::from_utf8) else { return };
    let filter = match text.parse::<Filter>() {
        Ok(filter) => filter,
        Err(error) => return assert!(error.at() <= text.len(), "{error}"),
    };
    let printed = filter.to_string();
    assert_eq!(printed.parse().as_ref(), Ok(&filter), "printed as {printed}");
    let body = lines.next().unwrap_or_default();
    assert_eq!(filter.matches(body), filter.matches(body));
}

/// A filter and a document made of bytes: the evaluator agrees with a slow one
/// that computes every value and compares pair by pair.
pub(super) fn value(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let Ok(document) = object(&mut bytes, 0) else { return };
    let Ok(text) = expression(&mut bytes, 0) else { return };
    let filter: Filter = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let body = document.to_string();
    assert_eq!(filter.matches(body.as_bytes()), filter.matches_slowly(&document), "{text} over {body}");
}

const NAMES: [&str; 3] = ["a", "b", "c d"];
const DEPTH: u8 = 4;

fn expression(bytes: &mut Unstructured<'_>, depth: u8) -> Result<String> {
    if depth == DEPTH || bytes.is_empty() {
        return leaf(bytes);
    }
    let inner = |bytes: &mut Unstructured<'_>| expression(bytes, depth + 1).map(|text| format!("({text})"));
    let list = |bytes: &mut Unstructured<'_>| {
        let count = bytes.int_in_range(1..=3)?;
        (0..count).map(|_| inner(bytes)).collect::<Result<Vec<_>>>().map(|list| list.join(","))
    };
    Ok(match bytes.int_in_range(0..=16u8)? {
        0..=2 => leaf(bytes)?,
        3 => format!("- {}", expression(bytes, depth + 1).map(|text| format!("({text})"))?),
        4 | 5 => chain(bytes, depth, &["+", "-", "*", "/", "%", "MOD"])?,
        6..=8 => chain(bytes, depth, &["=", "!=", "<", "<=", ">", ">="])?,
        9 => chain(bytes, depth, &["AND"])?,
        10 => chain(bytes, depth, &["OR"])?,
        11 => format!("NOT ({})", expression(bytes, depth + 1)?),
        12 => {
            let (value, list) = (leaf(bytes)?, list(bytes)?);
            format!("{value} {} ({list})", bytes.choose(&["IN", "NOT IN", "BEGINS WITH", "ENDS WITH"])?)
        }
        13 => format!("{} BETWEEN {} AND {}", inner(bytes)?, inner(bytes)?, inner(bytes)?),
        14 => format!("{} IS {}", inner(bytes)?, bytes.choose(&["NULL", "NOT NULL", "NAN"])?),
        15 => format!(
            "{} LIKE {}",
            inner(bytes)?,
            bytes.choose(&["'^z'", "'x|1'", r"'(.)\1'", "'[0-9]$'", "r'.'", "''"])?
        ),
        _ => inner(bytes)?,
    })
}

/// Two of them; chains of one operator are the printer's business.
fn chain(bytes: &mut Unstructured<'_>, depth: u8, operators: &[&str]) -> Result<String> {
    let operator = *bytes.choose(operators)?;
    Ok(format!("({}) {operator} ({})", expression(bytes, depth + 1)?, expression(bytes, depth + 1)?))
}

fn leaf(bytes: &mut Unstructured<'_>) -> Result<String> {
    Ok(match bytes.int_in_range(0..=5u8)? {
        0 => (*bytes.choose(&["NULL", "0.5", "1.0", "2.0"])?).to_owned(),
        1 => bytes.int_in_range(0..=3)?.to_string(),
        2 => (*bytes.choose(&["'x'", "'zebra'", "'1'", "'2.0'", "'-1'", "'zeb'", "''"])?).to_owned(),
        _ => {
            let steps = bytes.int_in_range(1..=2)?;
            let path: Result<Vec<_>> = (0..steps).map(|_| bytes.choose(&NAMES).copied()).collect();
            let index = if bytes.ratio(1, 4u8)? { format!("[{}]", bytes.int_in_range(0..=2)?) } else { String::new() };
            let path = path?.iter().map(|name| format!("/{name}")).collect::<String>();
            format!("[{path}]{index}")
        }
    })
}

fn object(bytes: &mut Unstructured<'_>, depth: u8) -> Result<Value> {
    let count = bytes.int_in_range(0..=3)?;
    let fields: Result<Map<_, _>> =
        (0..count).map(|_| Ok(((*bytes.choose(&NAMES)?).to_owned(), any(bytes, depth + 1)?))).collect();
    fields.map(Value::Object)
}

fn any(bytes: &mut Unstructured<'_>, depth: u8) -> Result<Value> {
    Ok(match bytes.int_in_range(0..=if depth == DEPTH { 4u8 } else { 6 })? {
        0 => Value::Null,
        1 => json!(bytes.arbitrary::<bool>()?),
        2 => json!(bytes.int_in_range(-2..=3)?),
        3 => json!(bytes.choose(&[0.5, 2.0])?),
        4 => json!(bytes.choose(&["x", "zebra", "1", "2.0", ""])?),
        5 => object(bytes, depth)?,
        _ => {
            let count = bytes.int_in_range(0..=3)?;
            let items: Result<Vec<_>> = (0..count).map(|_| any(bytes, depth + 1)).collect();
            json!(items?)
        }
    })
}
