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
