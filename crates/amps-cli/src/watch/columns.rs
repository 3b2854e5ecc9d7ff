//! Which fields are shown, and in which order.

use std::collections::HashSet;
use std::convert::Infallible;
use std::str::FromStr;

use serde_json::Value;

use super::record::{Record, text};

/// So many fields are found by themselves at most.
const FOUND_MAX: usize = 64;
/// So many records are looked at for a field that names them.
const SAMPLE: usize = 1_000;

/// A field, by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) title: String,
    pub(super) path: Vec<String>,
}

impl Column {
    fn field(name: &str) -> Self {
        Self { title: name.to_owned(), path: vec![name.to_owned()] }
    }
}

impl FromStr for Column {
    type Err = Infallible;

    /// A name, or a path with a slash before each step.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.strip_prefix('/') {
            Some(path) => Self { title: path.to_owned(), path: path.split('/').map(str::to_owned).collect() },
            None => Self::field(text),
        })
    }
}

/// The columns of a table.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    fields: Vec<Column>,
    /// They are those of the records, not of somebody's choice.
    found: bool,
    /// The one that names records is in front.
    settled: bool,
    pub(super) sow_key: bool,
}

impl Columns {
    /// These, or if there are none, those that records have.
    pub(super) fn new(given: Vec<Column>, sow_key: bool) -> Self {
        Self { found: given.is_empty(), settled: !given.is_empty(), fields: given, sow_key }
    }

    pub(super) fn fields(&self) -> &[Column] {
        &self.fields
    }

    /// A record may have fields that none had before.
    pub(super) fn see(&mut self, record: &Record) {
        if !self.found || self.fields.len() >= FOUND_MAX {
            return;
        }
        for name in record.names() {
            if self.fields.len() < FOUND_MAX && !self.fields.iter().any(|column| column.title == name) {
                self.fields.push(Column::field(name));
            }
        }
    }

    /// All records are there for the first time: the field that names them comes
    /// first. Columns do not change their places afterwards.
    pub(super) fn settle<'r>(&mut self, records: impl Iterator<Item = &'r Record>) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let sample: Vec<_> = records.take(SAMPLE).collect();
        self.settled = !sample.is_empty();
        let rank = |place: &usize| {
            let column = &self.fields[*place];
            let text = sample.first().is_some_and(|record| matches!(record.get(&column.path), Some(Value::String(_))));
            (!looks_like_a_key(&column.title), !text, *place)
        };
        let naming = (0..self.fields.len()).filter(|place| names(&self.fields[*place], &sample));
        if let Some(place) = naming.min_by_key(rank) {
            let key = self.fields.remove(place);
            self.fields.insert(0, key);
        }
    }
}

/// Whether each record has another text or whole number there.
fn names(column: &Column, records: &[&Record]) -> bool {
    let mut seen = HashSet::new();
    records.iter().all(|record| match record.get(&column.path) {
        Some(Value::Number(number)) if number.is_f64() => false,
        value @ Some(Value::String(_) | Value::Number(_)) => seen.insert(text(value)),
        _ => false,
    })
}

/// Whether one of these words is its name, or the last word in it: `orderId`, but
/// not `bid`.
fn looks_like_a_key(name: &str) -> bool {
    ["id", "key", "symbol", "name"].iter().any(|word| {
        let split = name.len().checked_sub(word.len()).and_then(|at| name.split_at_checked(at));
        split.is_some_and(|(before, last)| {
            last.eq_ignore_ascii_case(word)
                && (!before.ends_with(char::is_alphanumeric) || last.starts_with(char::is_uppercase))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(columns: &Columns) -> Vec<&str> {
        columns.fields().iter().map(|column| column.title.as_str()).collect()
    }

    fn found(bodies: &[&str]) -> Columns {
        let records: Vec<Record> = bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
        let mut columns = Columns::new(Vec::new(), false);
        records.iter().for_each(|record| columns.see(record));
        columns.settle(records.iter());
        columns
    }

    #[test]
    fn the_field_that_names_the_records_comes_first() {
        let columns =
            found(&[r#"{"bid":1,"venue":"X","symbol":"A"}"#, r#"{"bid":2,"venue":"X","symbol":"B","more":1}"#]);
        assert_eq!(titles(&columns), ["symbol", "bid", "venue", "more"]);
        let columns = found(&[r#"{"ask":1.5,"order":"a"}"#, r#"{"ask":2.5,"order":"b"}"#]);
        assert_eq!(titles(&columns), ["order", "ask"]);
        let columns = found(&[r#"{"bid":1,"text":"a","orderId":1}"#, r#"{"bid":2,"text":"b","orderId":2}"#]);
        assert_eq!(titles(&columns), ["orderId", "bid", "text"]);
        let columns = found(&[r#"{"bid":1,"text":"a"}"#, r#"{"bid":2,"text":"b"}"#]);
        assert_eq!(titles(&columns), ["text", "bid"], "rather than a number");
        let columns = found(&[r#"{"bid":1,"id":[1]}"#, r#"{"bid":1,"id":[2]}"#]);
        assert_eq!(titles(&columns), ["bid", "id"], "nothing does");
    }

    #[test]
    fn columns_stay_where_they_are_and_new_ones_come_behind() {
        let mut columns = found(&[r#"{"bid":1,"symbol":"A"}"#]);
        columns.see(&serde_json::from_str(r#"{"id":1,"symbol":"A"}"#).unwrap());
        columns.settle(std::iter::empty());
        assert_eq!(titles(&columns), ["symbol", "bid", "id"]);
        let many: Vec<_> = (0..100).map(|n| format!(r#""f{n}":1"#)).collect();
        columns.see(&serde_json::from_str(&format!("{{{}}}", many.join(","))).unwrap());
        assert_eq!(columns.fields().len(), FOUND_MAX);
    }

    #[test]
    fn columns_that_were_asked_for_are_those() {
        let given: Vec<Column> = ["bid", "/legs/0/qty"].iter().map(|text| text.parse().unwrap()).collect();
        let mut columns = Columns::new(given, true);
        columns.see(&serde_json::from_str(r#"{"id":1}"#).unwrap());
        columns.settle(std::iter::empty());
        assert_eq!(titles(&columns), ["bid", "legs/0/qty"]);
    }
}
