//! The table of filters: each expression with its source and what it must be.

use std::collections::HashSet;

use amps_testserver::Filter;

const TABLE: &str = include_str!("data/filters.tsv");

#[test]
fn every_row_of_the_table_is_what_the_documents_say() {
    let mut wrong = Vec::new();
    let mut seen = HashSet::new();
    for (ix, row) in TABLE.lines().enumerate().filter(|(_, row)| !row.starts_with('#')) {
        let columns: Vec<_> = row.split('\t').collect();
        let [source, expression, body, expected] = columns[..] else { panic!("row {}: not four columns", ix + 1) };
        assert!(seen.insert((expression, body)), "row {}: twice in the table: {expression}", ix + 1);
        let found = match expression.parse::<Filter>() {
            Ok(filter) => filter.matches(body.as_bytes()).to_string(),
            Err(_) => "error".to_owned(),
        };
        if found != expected {
            wrong.push(format!("row {} ({source}): {expression} is {found}, not {expected}", ix + 1));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen.len() >= 300, "{} rows", seen.len());
}
