//! Content filters: an expression, and which of some messages it matches.

use amps_core::{AckType, Field};

use crate::bench::{Bench, publish, subscribe};
use crate::check::{Check, check};
use crate::judge::{Judged, equal, refused};

/// Checks that a filter matches those of the messages, by their places from 1.
macro_rules! filters {
    ($($name:literal, $page:literal, $filter:literal, [$($body:literal),+], [$($matched:literal),*];)+) => {
        &[
            $(check!(
                $name,
                concat!("AMPS User Guide, \"", $page, "\""),
                [],
                |bench| matches(bench, $filter, &[$($body),+], &[$($matched),*])
            ),)+
            check!("filter/bad", "AMPS Command Reference, \"subscribe\"", [], bad),
            check!("filter/bad-ends-nothing-else", "AMPS Command Reference, \"subscribe\"", [], bad_ends_nothing_else),
        ]
    };
}

pub(super) const CHECKS: &[Check] = filters! {
    "filter/equal-number", "Comparison Operators", "/a = 2", [r#""a":1"#, r#""a":2"#, r#""a":2.0"#, r#""b":2"#], [2, 3];
    "filter/equal-string", "Comparison Operators", "/a = 'x'", [r#""a":"x""#, r#""a":"X""#, r#""a":"xx""#], [1];
    "filter/not-equal", "Comparison Operators", "/a != 2", [r#""a":1"#, r#""a":2"#, r#""b":1"#], [1];
    "filter/order-of-numbers", "Comparison Operators", "/a > 9 AND /a <= 11", [r#""a":9"#, r#""a":10"#, r#""a":11"#, r#""a":12"#], [2, 3];
    "filter/number-against-string", "Comparison Operators", "/a > 9", [r#""a":"10""#, r#""a":"8""#], [1];
    "filter/and-or-not", "AMPS Expressions", "NOT (/a = 1) AND (/b = 1 OR /b = 2)", [r#""a":1,"b":1"#, r#""a":2,"b":2"#, r#""a":2,"b":3"#], [2];
    "filter/in", "Comparison Operators", "/a IN ('x', 'y', 3)", [r#""a":"x""#, r#""a":"z""#, r#""a":3"#], [1, 3];
    "filter/not-in", "Comparison Operators", "/a NOT IN (1, 2)", [r#""a":1"#, r#""a":3"#], [2];
    "filter/between", "Comparison Operators", "/a BETWEEN 2 AND 4", [r#""a":1"#, r#""a":2"#, r#""a":4"#, r#""a":5"#], [2, 3];
    "filter/like", "LIKE Operator", "/a LIKE '^b[0-9]+'", [r#""a":"b12""#, r#""a":"xb12""#, r#""a":"b""#], [1];
    "filter/like-anywhere", "LIKE Operator", "/a LIKE 'mid'", [r#""a":"amidst""#, r#""a":"MID""#], [1];
    "filter/like-ignoring-case", "LIKE Operator", "/a LIKE '(?i)mid'", [r#""a":"AMIDST""#, r#""a":"m""#], [1];
    "filter/begins-with", "AMPS Expressions", "/a BEGINS WITH ('ab', 'cd')", [r#""a":"abc""#, r#""a":"xab""#, r#""a":"cd""#], [1, 3];
    "filter/ends-with", "AMPS Expressions", "/a ENDS WITH ('ab')", [r#""a":"xab""#, r#""a":"abx""#], [1];
    "filter/is-null", "NULL, NaN and IS NULL", "/a IS NULL", [r#""a":null"#, r#""b":1"#, r#""a":"""#, r#""a":0"#], [1, 2, 3];
    "filter/is-not-null", "NULL, NaN and IS NULL", "/a IS NOT NULL", [r#""a":null"#, r#""a":0"#], [2];
    "filter/nested", "Identifiers", "/a/b/c = 1", [r#""a":{"b":{"c":1}}"#, r#""a":{"c":1}"#], [1];
    "filter/any-of-an-array", "Working with Arrays", "/a = 2", [r#""a":[1,2]"#, r#""a":[1,3]"#, r#""a":[]"#], [1];
    "filter/subscript", "Working with Arrays", "/a[1] = 2", [r#""a":[1,2]"#, r#""a":[2,1]"#], [1];
    "filter/arithmetic", "Arithmetic Operators", "/a * 2 + 1 = 7", [r#""a":3"#, r#""a":4"#], [1];
    "filter/division", "Arithmetic Operators", "/a / 2 = 1.5", [r#""a":3.0"#, r#""a":4"#], [1];
    "filter/functions", "AMPS Functions", "INSTR(/a, 'bc') = 2 AND UPPER(/b) = 'X'", [r#""a":"abc","b":"x""#, r#""a":"bca","b":"x""#], [1];
    "filter/substr", "AMPS Functions", "SUBSTR(/a, 3) = 'cdef'", [r#""a":"abcdef""#, r#""a":"cdef""#], [1];
    "filter/double-quotes", "String Literals", "/a = \"it's\"", [r#""a":"it's""#, r#""a":"its""#], [1];
    "filter/brace-in-a-string", "String Literals", "/a = 'x}y'", [r#""a":"x}y""#, r#""a":"x""#], [1];
    "filter/bytes-beyond-ascii", "AMPS Data Types", "/a = 'gr\u{fc}n'", [r#""a":"grün""#, r#""a":"grun""#], [1];
};

/// Publishes these and one that shows that all of them were seen.
async fn matches(bench: &Bench<'_>, filter: &str, bodies: &[&str], matched: &[i64]) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    wire.done(subscribe(&topic).text(Field::Filter, format!("/fence = 1 OR ({filter})"))).await?;
    for (n, fields) in (1..).zip(bodies) {
        wire.send(&publish(&topic, bench.body("x", &format!(r#""fence":0,"n":{n},{fields}"#)))).await?;
    }
    wire.send(&publish(&topic, bench.body("x", r#""fence":1,"n":0"#))).await?;
    let mut numbers = Vec::new();
    while numbers.last() != Some(&0) {
        numbers.push(bench.number(&wire.message().await?)?);
    }
    numbers.pop();
    equal(format!("{filter} matches"), numbers, matched.to_vec())
}

async fn bad(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    for filter in ["/a = ", "/a ==== 1", "(/a = 1", "/a = 1 AND", "'"] {
        let command = subscribe(&bench.plain("a")).text(Field::Filter, filter);
        refused(&wire.ask(command, AckType::Processed).await?, &format!("{filter} is no filter"))?;
    }
    Ok(())
}

async fn bad_ends_nothing_else(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    wire.done(subscribe(&topic)).await?;
    wire.ask(subscribe(&topic).text(Field::Filter, "/a = "), AckType::Processed).await?;
    wire.send(&publish(&topic, bench.body("x", r#""n":1"#))).await?;
    equal("the other subscription's message", bench.number(&wire.message().await?)?, 1)
}
