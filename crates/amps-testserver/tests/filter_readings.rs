//! Filters at servers that read the documents in other ways.

mod common;

use amps_core::{AckTypes, Field};
use amps_testserver::{Config, Readings};
use common::*;

/// Whether a subscription with a filter gets a message at a server that reads the
/// documents so.
fn gets(change: fn(&mut Readings), filter: &str, body: &str) -> bool {
    let mut config = Config::new("A");
    change(&mut config.readings);
    let mut bench = bench(config);
    let (publisher, mut wire) = (bench.logon("p"), bench.logon("s"));
    bench.send(&wire, subscribe("s", "t", AckTypes::NONE).text(Field::Filter, filter));
    bench.send(&publisher, publish("t", 1).body(body.to_owned()));
    bench.drain(&mut wire).len() == 1
}

#[test]
fn null_is_what_the_server_is_told_it_is() {
    for (filter, usual, other) in [
        ("/missing = 1", false, false),
        ("/a = 2", true, true),
        ("/missing = 1 OR /a = 2", true, false),
        ("/a = 2 OR /missing = 1", true, true),
        ("NOT /missing = 1", true, false),
        ("/missing NOT IN (1, 2)", true, false),
        ("/missing NOT LIKE 'x'", true, false),
        ("/a NOT BETWEEN 5 AND 9", true, true),
        ("/a NOT BETWEEN /missing AND 9", true, false),
        ("/missing NOT BEGINS WITH ('x')", true, false),
        ("/missing IS NULL", true, true),
        ("NOT /missing IS NOT NULL", true, true),
    ] {
        assert_eq!(gets(|_| {}, filter, r#"{"a":2}"#), usual, "{filter}");
        assert_eq!(gets(|readings| readings.null_predicates = true, filter, r#"{"a":2}"#), other, "{filter}");
    }
}

#[test]
fn arrays_are_looked_at_as_the_server_is_told() {
    type Change = fn(&mut Readings);
    let by_element: Change = |readings| readings.not_like_by_element = true;
    let by_first: Change = |readings| readings.between_by_first = true;
    for (change, filter, body, usual, other) in [
        (by_element, "/v NOT LIKE 'x'", r#"{"v":["x","y"]}"#, false, true),
        (by_element, "/v NOT LIKE 'x'", r#"{"v":["x","xx"]}"#, false, false),
        (by_element, "/v NOT LIKE 'x'", r#"{"v":["y","z"]}"#, true, true),
        (by_element, "/v NOT LIKE 'x'", r#"{"v":"x"}"#, false, false),
        (by_element, "/v NOT LIKE 'x'", r#"{}"#, true, true),
        (by_element, "/v LIKE 'x'", r#"{"v":["x","y"]}"#, true, true),
        (by_element, "/v NOT IN ('x')", r#"{"v":["x","y"]}"#, false, false),
        (by_first, "/v BETWEEN 2 AND 3", r#"{"v":[1,2]}"#, true, false),
        (by_first, "/v BETWEEN 2 AND 3", r#"{"v":[2,9]}"#, true, true),
        (by_first, "/v NOT BETWEEN 2 AND 3", r#"{"v":[1,2]}"#, false, true),
        (by_first, "/v BETWEEN 2 AND 3", r#"{}"#, false, false),
    ] {
        assert_eq!(gets(|_| {}, filter, body), usual, "{filter} {body}");
        assert_eq!(gets(change, filter, body), other, "{filter} {body}");
    }
}

#[test]
fn patterns_are_read_as_the_server_is_told() {
    type Change = fn(&mut Readings);
    let raw: Change = |readings| readings.raw_patterns = true;
    let escaped: Change = |readings| readings.escaped_patterns = true;
    for (change, filter, value, expected) in [
        ((|_| {}) as Change, r"/a LIKE r'a.c'", "abc", false),
        (|_| {}, r"/a LIKE r'a.c'", "a.c", true),
        (raw, r"/a LIKE r'a.c'", "abc", true),
        (raw, r"/a LIKE r'^\d$'", "7", true),
        (|_| {}, r"/a LIKE '^C\+$'", "C+", true),
        (escaped, r"/a LIKE '^C\+$'", "C+", false),
        (escaped, r"/a LIKE '^C\+$'", "CCC", true),
        (escaped, r"/a LIKE '^C\\+$'", "C+", true),
    ] {
        assert_eq!(gets(change, filter, &format!(r#"{{"a":"{value}"}}"#)), expected, "{filter} {value}");
    }
}
