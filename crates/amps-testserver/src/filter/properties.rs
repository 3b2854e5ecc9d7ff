//! Properties of the whole: any text is read or refused, any expression reads
//! back from its own print, and evaluation agrees with the naive evaluator.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::expr::{Affix, Comparison, Expr, Path, Step};
use super::lexer::Literal;
use super::pattern::Pattern;
use super::scalar::Arithmetic;
use super::value::Value;
use super::{Filter, reference};
use crate::readings::Readings;

/// Small values that meet each other in every comparison.
fn literal() -> impl Strategy<Value = Expr> {
    let texts = select(&["x", "zebra", "1", "2.0", "-1", "zeb", ""][..]);
    prop_oneof![
        (0..4_i128).prop_map(Value::Int),
        select(&[0.5, 1.0, 2.0][..]).prop_map(Value::Float),
        texts.prop_map(|text| Value::text(text.as_bytes())),
        Just(Value::Null),
    ]
    .prop_map(Expr::Literal)
}

fn field() -> impl Strategy<Value = Expr> {
    let step = (select(&["a", "b", "c d"][..]), Just(None));
    (vec(step, 0..2), select(&["a", "b", "c d"][..]), proptest::option::of(0..3_u32)).prop_map(
        |(before, name, index)| {
            let steps = before.into_iter().chain([(name, index)]);
            Expr::Field(Path(steps.map(|(name, index)| Step { name: name.to_owned(), index }).collect()))
        },
    )
}

fn pattern() -> impl Strategy<Value = Pattern> {
    (select(&["^z", "x|1", r"(.)\1", "[0-9]$", "it's", "a\"b", r"\\", ""][..]), any::<bool>()).prop_map(
        |(source, raw)| {
            Pattern::new(
                Literal { value: source.as_bytes().to_vec(), source: source.to_owned(), raw },
                Readings::default(),
                0,
            )
            .unwrap()
        },
    )
}

fn boxed(expr: Expr) -> Box<Expr> {
    Box::new(expr)
}

/// Any expression but functions, which have tests of their own.
fn expr() -> impl Strategy<Value = Expr> {
    use Arithmetic as A;
    use Comparison as C;
    let comparisons = [C::Equal, C::NotEqual, C::Less, C::LessOrEqual, C::Greater, C::GreaterOrEqual];
    prop_oneof![literal(), field()].prop_recursive(5, 48, 4, move |inner| {
        let chain = |operators: &'static [A]| {
            let rest = vec((select(operators), inner.clone()), 1..3);
            (inner.clone(), rest).prop_map(|(first, rest)| Expr::Arithmetic(boxed(first), rest))
        };
        let several = || vec(inner.clone(), 1..4);
        prop_oneof![
            inner.clone().prop_map(|e| Expr::Negate(boxed(e))),
            chain(&[A::Add, A::Subtract]),
            chain(&[A::Multiply, A::Divide, A::Modulo]),
            (inner.clone(), select(comparisons.to_vec()), inner.clone()).prop_map(|(l, c, r)| Expr::Compare(
                boxed(l),
                c,
                boxed(r)
            )),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(v, l, h)| Expr::Between(Box::new([v, l, h]))),
            (inner.clone(), several()).prop_map(|(v, list)| Expr::In(boxed(v), list)),
            (inner.clone(), pattern()).prop_map(|(v, pattern)| Expr::Like(boxed(v), pattern)),
            (inner.clone(), select(&[Affix::Begins, Affix::Ends][..]), several())
                .prop_map(|(v, affix, list)| Expr::Affix(boxed(v), affix, list)),
            inner.clone().prop_map(|e| Expr::IsNull(boxed(e))),
            inner.clone().prop_map(|e| Expr::IsNan(boxed(e))),
            inner.clone().prop_map(|e| Expr::Not(boxed(e))),
            vec(inner.clone(), 2..4).prop_map(Expr::And),
            vec(inner.clone(), 2..4).prop_map(Expr::Or),
        ]
    })
}

/// Documents in which the fields above are often there.
fn document() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::json;
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        (-2..4_i64).prop_map(|value| json!(value)),
        select(&[0.5, 2.0][..]).prop_map(|value| json!(value)),
        select(&["x", "zebra", "1", "2.0", ""][..]).prop_map(|value| json!(value)),
    ];
    let value = leaf.prop_recursive(3, 24, 3, |inner| {
        let entry = (select(&["a", "b", "c d"][..]), inner.clone());
        prop_oneof![vec(inner, 0..4).prop_map(|items| json!(items)), vec(entry, 0..3).prop_map(object)]
    });
    vec((select(&["a", "b", "c d"][..]), value), 0..4).prop_map(object)
}

fn object(entries: Vec<(&str, serde_json::Value)>) -> serde_json::Value {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Texts that are nearly filters.
fn nearly() -> impl Strategy<Value = String> {
    let pieces: &[&str] = &[
        "/a",
        "/a/b",
        "/a[1]",
        "[/c d]",
        "1",
        "2.5",
        "1e9",
        "'x'",
        "\"y\"",
        r"'\x41\1'",
        "r'z'",
        "NULL",
        "=",
        "==",
        "!=",
        "<>",
        "<",
        "<=",
        ">",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "MOD",
        "(",
        ")",
        ",",
        "AND",
        "OR",
        "NOT",
        "IN",
        "BETWEEN",
        "LIKE",
        "BEGINS WITH",
        "ENDS WITH",
        "IS",
        "NAN",
        "CONCAT(",
        "IF(",
        "REGEXP_REPLACE(",
        "'",
        "[",
        "]",
        "\\",
        "é",
    ];
    (vec(select(pieces), 0..12), select(&["", " "][..])).prop_map(|(pieces, between)| pieces.join(between))
}

fn reads_or_refuses(text: &str) -> Result<(), TestCaseError> {
    match text.parse::<Filter>() {
        Ok(filter) => {
            let printed = filter.to_string();
            let read = printed.parse::<Filter>();
            prop_assert_eq!(read.as_ref(), Ok(&filter), "printed as {}", printed);
            filter.matches(br#"{"a":{"b":[1,"x"]},"c d":"zebra"}"#);
        }
        Err(error) => prop_assert!(error.at() <= text.len(), "{error}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        reads_or_refuses(&text)?;
    }

    #[test]
    fn any_text_that_is_nearly_a_filter_is_read_or_refused(text in nearly()) {
        reads_or_refuses(&text)?;
    }

    #[test]
    fn an_expression_reads_back_from_its_print(expr in expr()) {
        let printed = expr.to_string();
        let read = printed.parse::<Filter>();
        prop_assert_eq!(read, Ok(Filter { root: Arc::new(expr) }), "{}", printed);
    }

    #[test]
    fn evaluation_agrees_with_the_naive_evaluator(expr in expr(), document in document()) {
        let body = serde_json::to_vec(&document).unwrap();
        let expected = reference::matches(&expr, &document);
        let filter = Filter { root: Arc::new(expr) };
        prop_assert_eq!(filter.matches(&body), expected, "{}", filter);
    }
}
