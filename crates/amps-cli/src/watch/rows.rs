//! The rows of the table: records, what they were, and their order.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amps_client::Records;

use super::columns::Column;
use super::record::{Record, compare};

/// So long a change is shown as new.
pub(super) const FRESH: Duration = Duration::from_secs(2);

/// The order of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) column: Column,
    pub(super) descending: bool,
}

impl FromStr for Sort {
    type Err = Infallible;

    /// A field, and `DESC` behind it for the other way round, as AMPS has it.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let (name, descending) = match text.trim().rsplit_once(char::is_whitespace) {
            Some((name, way)) if way.eq_ignore_ascii_case("desc") => (name, true),
            Some((name, way)) if way.eq_ignore_ascii_case("asc") => (name, false),
            _ => (text, false),
        };
        Ok(Self { column: name.trim().parse()?, descending })
    }
}

/// A record, and what it was before its latest change.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) record: Arc<Record>,
    old: Option<Arc<Record>>,
    changed: Option<Instant>,
}

/// How new a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    Settled,
    Changed,
    Inserted,
}

impl Row {
    /// How new what a column shows is.
    pub(super) fn age(&self, column: &Column, now: Instant) -> Age {
        let fresh = self.changed.is_some_and(|changed| now.saturating_duration_since(changed) < FRESH);
        match &self.old {
            _ if !fresh => Age::Settled,
            None => Age::Inserted,
            Some(old) if old.get(&column.path) == self.record.get(&column.path) => Age::Settled,
            Some(_) => Age::Changed,
        }
    }
}

/// All rows, by SOW key.
#[derive(Debug, Default)]
pub(super) struct Rows(BTreeMap<String, Row>);

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.0.values().map(|row| &*row.record)
    }

    /// These are all; what is another than before is new.
    pub(super) fn start(&mut self, records: &Records<String, Record>, now: Option<Instant>) {
        let mut before = std::mem::take(&mut self.0);
        for (key, record) in &**records {
            match before.remove(key) {
                Some(row) if Arc::ptr_eq(&row.record, record) => drop(self.0.insert(key.clone(), row)),
                Some(row) => self.insert(key.clone(), Some(row.record), Arc::clone(record), now),
                None => self.insert(key.clone(), None, Arc::clone(record), now),
            }
        }
    }

    /// Without a time it is not shown as new.
    pub(super) fn insert(&mut self, key: String, old: Option<Arc<Record>>, record: Arc<Record>, now: Option<Instant>) {
        self.0.insert(key, Row { record, old, changed: now });
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// So many rows from `first` on, in order. No more is sorted than is asked
    /// for.
    pub(super) fn page(&self, sort: Option<&Sort>, first: usize, count: usize) -> Vec<(&str, &Row)> {
        let rows = self.0.iter().map(|(key, row)| (key.as_str(), row));
        let Some(sort) = sort else { return rows.skip(first).take(count).collect() };
        let mut rows: Vec<_> = rows.collect();
        let end = first.saturating_add(count).min(rows.len());
        let order = |one: &(&str, &Row), other: &(&str, &Row)| order(sort, one, other);
        if end < rows.len() {
            rows.select_nth_unstable_by(end, order);
            rows.truncate(end);
        }
        rows.sort_unstable_by(order);
        rows.split_off(first.min(end))
    }
}

/// What is not there comes last either way.
fn order(sort: &Sort, one: &(&str, &Row), other: &(&str, &Row)) -> Ordering {
    let (left, right) = (one.1.record.get(&sort.column.path), other.1.record.get(&sort.column.path));
    let by_value = match compare(left, right) {
        ordering if sort.descending && left.is_some() && right.is_some() => ordering.reverse(),
        ordering => ordering,
    };
    by_value.then_with(|| one.0.cmp(other.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(body: &str) -> Arc<Record> {
        Arc::new(serde_json::from_str(body).unwrap())
    }

    #[test]
    fn a_page_is_a_part_of_all_rows_in_order() {
        let mut rows = Rows::default();
        for (key, body) in [("k1", r#"{"v":10}"#), ("k2", r#"{"v":9}"#), ("k3", "{}"), ("k4", r#"{"v":10}"#)] {
            rows.insert(key.to_owned(), None, record(body), None);
        }
        let keys = |sort: Option<&str>, first, count| {
            let sort = sort.map(|sort| sort.parse::<Sort>().unwrap());
            rows.page(sort.as_ref(), first, count).into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(None, 1, 2), ["k2", "k3"]);
        assert_eq!(keys(Some("v"), 0, 9), ["k2", "k1", "k4", "k3"]);
        assert_eq!(keys(Some("/v DESC"), 0, 9), ["k1", "k4", "k2", "k3"], "what is not there is last");
        for first in 0..5 {
            for count in 0..5 {
                let all = keys(Some("v"), 0, 9);
                let expected: Vec<_> = all.into_iter().skip(first).take(count).collect();
                assert_eq!(keys(Some("/v asc"), first, count), expected, "{first} {count}");
            }
        }
    }

    #[test]
    fn what_changed_is_new_for_a_while_cell_by_cell() {
        let (now, mut rows) = (Instant::now(), Rows::default());
        let [a, b]: [Column; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        let ages = |rows: &Rows, key: &str, at| {
            let page = rows.page(None, 0, 9);
            let (_, row) = page.iter().find(|(own, _)| *own == key).unwrap();
            (row.age(&a, at), row.age(&b, at))
        };
        let first = record(r#"{"a":1,"b":1}"#);
        rows.insert("1".to_owned(), None, Arc::clone(&first), Some(now));
        assert_eq!(ages(&rows, "1", now), (Age::Inserted, Age::Inserted));
        assert_eq!(ages(&rows, "1", now + FRESH), (Age::Settled, Age::Settled));
        rows.insert("1".to_owned(), Some(first), record(r#"{"a":1,"b":2}"#), Some(now));
        assert_eq!(ages(&rows, "1", now), (Age::Settled, Age::Changed));
        // All of them again: what is the same is no newer than it was.
        let same = Arc::clone(&rows.0["1"].record);
        let all = Arc::new(BTreeMap::from([("1".to_owned(), same), ("2".to_owned(), record("{}"))]));
        rows.start(&all, Some(now + FRESH));
        assert_eq!(ages(&rows, "1", now + FRESH), (Age::Settled, Age::Settled));
        assert_eq!(ages(&rows, "2", now + FRESH).0, Age::Inserted);
        rows.start(&Arc::default(), None);
        assert_eq!(rows.len(), 0);
    }
}
