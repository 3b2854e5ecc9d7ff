//! A naive evaluator, for comparison: every value is computed, lists are
//! compared pair by pair, and the logic is the documented table.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::expr::{Affix, Comparison, Expr, Step};
use super::scalar::Arithmetic;
use super::value::Value;

#[derive(Debug, Clone)]
enum Val {
    Null,
    Int(i128),
    Float(f64),
    Text(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Truth {
    True,
    False,
    Null,
}

pub(super) fn matches(expr: &Expr, document: &Json) -> bool {
    truth(&first(values(expr, document))) == Truth::True
}

fn first(values: Vec<Val>) -> Val {
    values.into_iter().next().unwrap_or(Val::Null)
}

fn values(expr: &Expr, document: &Json) -> Vec<Val> {
    let one = |expr: &Expr| first(values(expr, document));
    let all = |expr: &Expr| values(expr, document);
    let value = match expr {
        Expr::Literal(Value::Null) => Val::Null,
        Expr::Literal(Value::Int(value)) => Val::Int(*value),
        Expr::Literal(Value::Float(value)) => Val::Float(*value),
        Expr::Literal(Value::Text(bytes)) => Val::Text(String::from_utf8(bytes.to_vec()).unwrap()),
        Expr::Field(path) => return find(vec![document.clone()], &path.0),
        Expr::Negate(operand) => arithmetic(Arithmetic::Subtract, Val::Int(0), one(operand)),
        Expr::Arithmetic(left, rest) => {
            let mut left = one(left);
            for (operator, right) in rest {
                left = arithmetic(*operator, left, one(right));
            }
            left
        }
        Expr::Compare(left, comparison, right) => {
            let rights = all(right);
            let pairs = all(left).into_iter().flat_map(|l| rights.iter().map(move |r| (l.clone(), r.clone())));
            bool_value(pairs.into_iter().filter(|(l, r)| compare(l, *comparison, r)).count() > 0)
        }
        Expr::In(value, list) => {
            let others: Vec<_> = list.iter().flat_map(&all).collect();
            let equal = |v: &Val| others.iter().any(|other| compare(v, Comparison::Equal, other));
            bool_value(all(value).iter().any(equal))
        }
        Expr::Between(operands) => {
            let [value, low, high] = operands.as_ref();
            let (low, high) = (one(low), one(high));
            let inside =
                |v: &Val| compare(v, Comparison::GreaterOrEqual, &low) && compare(v, Comparison::LessOrEqual, &high);
            bool_value(all(value).iter().any(inside))
        }
        Expr::Like(value, pattern) => {
            let found = |v: &Val| !text(v).is_empty() && pattern.is_match(text(v).as_bytes());
            bool_value(all(value).iter().any(found))
        }
        Expr::Affix(value, affix, list) => {
            let wanted: Vec<_> = list.iter().map(|wanted| text(&one(wanted))).filter(|text| !text.is_empty()).collect();
            let fits = |v: &Val| {
                let have = text(v);
                wanted.iter().any(|wanted| match affix {
                    Affix::Begins => have.starts_with(wanted.as_str()),
                    Affix::Ends => have.ends_with(wanted.as_str()),
                })
            };
            bool_value(all(value).iter().any(fits))
        }
        Expr::IsNull(value) => bool_value(matches!(one(value), Val::Null)),
        Expr::IsNan(value) => bool_value(matches!(one(value), Val::Float(f) if f.is_nan())),
        Expr::Not(operand) => truth_value(match truth(&one(operand)) {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Null => Truth::Null,
        }),
        Expr::And(operands) => truth_value(operands.iter().map(|o| truth(&one(o))).reduce(and).unwrap()),
        Expr::Or(operands) => truth_value(operands.iter().map(|o| truth(&one(o))).reduce(or).unwrap()),
        Expr::Call(..) | Expr::Pattern(_) | Expr::OrNull(_) | Expr::UnlikeSome(..) | Expr::First(_) => {
            unreachable!("they have tests of their own")
        }
    };
    vec![value]
}

/// The documented table, row by row.
fn and(left: Truth, right: Truth) -> Truth {
    match (left, right) {
        (Truth::True, Truth::True) => Truth::True,
        (Truth::True, Truth::False) => Truth::False,
        (Truth::True, Truth::Null) => Truth::Null,
        (Truth::False, _) => Truth::False,
        (Truth::Null, _) => Truth::Null,
    }
}

fn or(left: Truth, right: Truth) -> Truth {
    match (left, right) {
        (Truth::True, _) => Truth::True,
        (Truth::False, Truth::True) => Truth::True,
        (Truth::False, Truth::False) => Truth::False,
        (Truth::False, Truth::Null) => Truth::Null,
        (Truth::Null, _) => Truth::Null,
    }
}

fn bool_value(value: bool) -> Val {
    Val::Int(value.into())
}

fn truth_value(truth: Truth) -> Val {
    match truth {
        Truth::True => Val::Int(1),
        Truth::False => Val::Int(0),
        Truth::Null => Val::Null,
    }
}

fn truth(value: &Val) -> Truth {
    match (value, number(value)) {
        (Val::Null, _) => Truth::Null,
        (_, Some(number)) if !number.is_nan() && number != 0.0 => Truth::True,
        _ => Truth::False,
    }
}

fn find(nodes: Vec<Json>, steps: &[Step]) -> Vec<Val> {
    let mut nodes: Vec<_> = nodes.into_iter().flat_map(flat).collect();
    for step in steps {
        nodes = nodes.iter().filter_map(|node| node.get(&step.name).cloned()).flat_map(flat).collect();
        if let Some(index) = step.index {
            nodes = nodes.into_iter().skip(index as usize).take(1).collect();
        }
    }
    nodes.into_iter().map(val).collect()
}

fn flat(node: Json) -> Vec<Json> {
    match node {
        Json::Array(items) => items.into_iter().flat_map(flat).collect(),
        other => vec![other],
    }
}

fn val(node: Json) -> Val {
    match node {
        Json::Bool(value) => bool_value(value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => Val::Int(value.into()),
            None => Val::Float(number.as_f64().unwrap()),
        },
        Json::String(text) if !text.is_empty() => Val::Text(text),
        _ => Val::Null,
    }
}

/// Only numbers without an exponent come up here.
fn number(value: &Val) -> Option<f64> {
    match value {
        Val::Null => None,
        Val::Int(value) => Some(*value as f64),
        Val::Float(value) => Some(*value),
        Val::Text(text) if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => text.parse().ok(),
        Val::Text(_) => None,
    }
}

fn text(value: &Val) -> String {
    match value {
        Val::Null => String::new(),
        Val::Int(value) => value.to_string(),
        Val::Float(value) => format!("{value:?}"),
        Val::Text(text) => text.clone(),
    }
}

fn compare(left: &Val, comparison: Comparison, right: &Val) -> bool {
    let order = match (left, right) {
        (Val::Null, _) | (_, Val::Null) => None,
        (Val::Text(left), Val::Text(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        _ => match (number(left), number(right)) {
            (Some(left), Some(right)) => left.partial_cmp(&right),
            (None, Some(right)) if !right.is_nan() => Some(Ordering::Greater),
            (Some(left), None) if !left.is_nan() => Some(Ordering::Less),
            _ => None,
        },
    };
    match (comparison, order) {
        (_, None) => false,
        (Comparison::Equal, Some(order)) => order == Ordering::Equal,
        (Comparison::NotEqual, Some(order)) => order != Ordering::Equal,
        (Comparison::Less, Some(order)) => order == Ordering::Less,
        (Comparison::LessOrEqual, Some(order)) => order != Ordering::Greater,
        (Comparison::Greater, Some(order)) => order == Ordering::Greater,
        (Comparison::GreaterOrEqual, Some(order)) => order != Ordering::Less,
    }
}

/// Numbers are small here: nothing overflows 64 bits and stays an integer.
fn arithmetic(operator: Arithmetic, left: Val, right: Val) -> Val {
    let integer = |value: &Val| match value {
        Val::Int(value) => Some(*value),
        Val::Text(text) => text.parse().ok(),
        _ => None,
    };
    if matches!(left, Val::Null) || matches!(right, Val::Null) {
        return Val::Null;
    }
    if let (Some(l), Some(r)) = (integer(&left), integer(&right)) {
        return match operator {
            Arithmetic::Add => Val::Int(l + r),
            Arithmetic::Subtract => Val::Int(l - r),
            Arithmetic::Multiply => Val::Int(l * r),
            Arithmetic::Divide if r != 0 => Val::Int(l / r),
            Arithmetic::Modulo if r != 0 => Val::Int(l - l / r * r),
            _ => Val::Float(f64::NAN),
        };
    }
    let (Some(l), Some(r)) = (number(&left), number(&right)) else { return Val::Float(f64::NAN) };
    Val::Float(match operator {
        Arithmetic::Add => l + r,
        Arithmetic::Subtract => l - r,
        Arithmetic::Multiply => l * r,
        Arithmetic::Divide => l / r,
        Arithmetic::Modulo => l % r,
    })
}
