//! The order of query results (AMPS Command Reference, "sow").

use std::cmp::Ordering;

use super::error::FilterError;
use super::expr::Expr;
use super::lexer::{self, Kind};
use super::value::Value;
use super::{Subject, TEXT_MAX, eval};

/// Fields at most.
const FIELDS_MAX: usize = 64;

/// An order such as `/price DESC, /id`.
///
/// Up or down, nothing comes before numbers, and numbers before strings; going
/// down is the whole order backwards. What is equal stays in the order it was
/// in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order(Vec<(Expr, Direction)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// What a message is ordered by.
#[derive(Debug)]
pub(crate) struct Place<'o> {
    order: &'o Order,
    values: Vec<Value<'static>>,
}

impl std::str::FromStr for Order {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        if text.len() > TEXT_MAX {
            return Err(FilterError::new(TEXT_MAX, format!("an order has at most {TEXT_MAX} bytes")));
        }
        let mut fields = Vec::new();
        let mut tokens = lexer::tokens(text)?.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let Kind::Field(path) = token.kind else {
                return Err(FilterError::new(token.at, "expected an identifier such as /name"));
            };
            if fields.len() == FIELDS_MAX {
                return Err(FilterError::new(token.at, format!("an order has at most {FIELDS_MAX} fields")));
            }
            let direction = match tokens.peek().map(|token| &token.kind) {
                Some(Kind::Word(word)) if word == "DESC" => Some(Direction::Down),
                Some(Kind::Word(word)) if word == "ASC" => Some(Direction::Up),
                _ => None,
            };
            if direction.is_some() {
                tokens.next();
            }
            fields.push((Expr::Field(path), direction.unwrap_or(Direction::Up)));
            match tokens.next() {
                None => break,
                Some(token) if token.kind == Kind::End => break,
                Some(token) if token.kind == Kind::Symbol(",") => {}
                Some(token) => return Err(FilterError::new(token.at, "expected ASC, DESC, ',' or the end")),
            }
        }
        Ok(Self(fields))
    }
}

impl Order {
    /// Where a message belongs.
    pub(crate) fn place(&self, message: &Subject<'_>) -> Place<'_> {
        let values = self.0.iter().map(|(field, _)| eval::scalar(field, message).into_owned());
        Place { order: self, values: values.collect() }
    }
}

impl Place<'_> {
    /// Which of two comes first.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let both = self.values.iter().zip(&other.values).zip(&self.order.0);
        both.map(|((own, other), (_, direction))| match direction {
            Direction::Up => compare(own, other),
            Direction::Down => compare(other, own),
        })
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
    }
}

/// Unlike a filter's comparison one in which everything has its place.
pub(super) fn compare(left: &Value<'_>, right: &Value<'_>) -> Ordering {
    let rank = |value: &Value<'_>| match value {
        Value::Null => 0,
        Value::Int(_) | Value::Float(_) => 1,
        Value::Text(_) => 2,
    };
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        // Both zeros are the integer's.
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right).unwrap_or_else(|| left.total_cmp(right)),
        (Value::Int(left), Value::Float(right)) => exactly(*left, *right),
        (Value::Float(left), Value::Int(right)) => exactly(*right, *left).reverse(),
        (left, right) => rank(left).cmp(&rank(right)),
    }
}

/// An integer beside a number that is none, without rounding.
fn exactly(int: i128, float: f64) -> Ordering {
    let whole = float.trunc();
    int.cmp(&(whole as i128)).then_with(|| 0.0_f64.total_cmp(&(float - whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(order: &str, bodies: &[&str]) -> Vec<String> {
        let order: Order = order.parse().unwrap();
        let mut bodies: Vec<_> =
            bodies.iter().map(|body| (order.place(&Subject::new("", "", body.as_bytes())), *body)).collect();
        bodies.sort_by(|(left, _), (right, _)| left.compare(right));
        bodies.into_iter().map(|(_, body)| body.to_owned()).collect()
    }

    #[test]
    fn bounds() {
        let long = |n: usize| format!("/a{}", " ".repeat(n - 2)).parse::<Order>();
        assert!(long(TEXT_MAX).is_ok());
        assert_eq!(long(TEXT_MAX + 1).unwrap_err().at(), TEXT_MAX);
        let fields = |n: usize| vec!["/a"; n].join(",").parse::<Order>();
        assert!(fields(FIELDS_MAX).is_ok() && fields(FIELDS_MAX + 1).is_err());
    }

    #[test]
    fn nothing_then_numbers_then_strings() {
        let bodies = [
            r#"{"a":"b"}"#,
            r#"{"a":"10"}"#,
            r#"{"a":9}"#,
            r#"{"a":-1.5}"#,
            r#"{"b":0}"#,
            r#"{"a":18446744073709551615}"#,
            r#"{"a":1e3}"#,
            r#"{"a":9.5}"#,
        ];
        let up = [4, 3, 2, 7, 6, 5, 1, 0].map(|ix: usize| bodies[ix]);
        assert_eq!(sorted("/a", &bodies), up);
        assert_eq!(sorted("/a asc", &bodies), up);
        let down: Vec<_> = up.into_iter().rev().collect();
        assert_eq!(sorted("/a DESC", &bodies), down);
    }

    #[test]
    fn the_first_field_that_differs_decides() {
        let bodies = [r#"{"a":1,"b":{"c":1}}"#, r#"{"a":2,"b":{"c":1}}"#, r#"{"a":1,"b":{"c":2}}"#, r#"{"a":2}"#];
        let order = |order| {
            sorted(order, &bodies).iter().map(|body| bodies.iter().position(|b| b == body).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(order("/a, /b/c DESC"), [2, 0, 1, 3]);
        assert_eq!(order("/b/c DESC,/a DESC"), [2, 1, 0, 3]);
        assert_eq!(order("/missing"), [0, 1, 2, 3], "as it was");
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for text in ["", "a", "/a,", "/a UP", "/a DESC ASC", "/a /b", "/a + 1", "'a'", ",", "/a DESC,,/b", "/"] {
            assert!(text.parse::<Order>().is_err(), "{text}");
        }
        assert!(["/a"; FIELDS_MAX].join(",").parse::<Order>().is_ok());
        assert!(["/a"; FIELDS_MAX + 1].join(",").parse::<Order>().is_err());
    }

    #[test]
    fn numbers_are_compared_without_rounding() {
        let odd = (1_i128 << 53) + 1;
        assert_eq!(exactly(odd, (1_i64 << 53) as f64), Ordering::Greater);
        assert_eq!(exactly(odd, (1_i64 << 54) as f64), Ordering::Less);
        assert_eq!(exactly(1, 1.5), Ordering::Less);
        assert_eq!(exactly(-1, -1.5), Ordering::Greater);
        assert_eq!(exactly(3, 3.0), Ordering::Equal);
        assert_eq!(exactly(0, -0.0), Ordering::Equal);
    }
}
