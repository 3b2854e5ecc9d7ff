//! What an expression is for a message.

use super::document::Fields;
use super::expr::{Affix, Expr};
use super::scalar::negate;
use super::value::Value;

/// Whether a filter matches: only what is true does.
pub(super) fn is_true(expr: &Expr, fields: &dyn Fields) -> bool {
    scalar(expr, fields).truth() == Some(true)
}

/// The one value of an expression. An array counts as its first element, an
/// empty one as NULL (AMPS User Guide, "Working with Arrays").
pub(super) fn scalar<'a>(expr: &'a Expr, fields: &'a dyn Fields) -> Value<'a> {
    match expr {
        Expr::Literal(value) => value.clone(),
        Expr::Field(path) => {
            let mut first = Value::Null;
            fields.visit(path, &mut |value| {
                first = value;
                true
            });
            first
        }
        Expr::Call(function, parameters) => function.call(parameters, fields),
        Expr::Pattern(_) => Value::Null,
        Expr::First(operand) => scalar(operand, fields),
        Expr::Negate(operand) => negate(&scalar(operand, fields)),
        Expr::Arithmetic(first, rest) => rest
            .iter()
            .fold(scalar(first, fields), |left, (operator, right)| operator.apply(&left, &scalar(right, fields))),
        Expr::Not(operand) => match scalar(operand, fields).truth() {
            Some(truth) => Value::bool(!truth),
            None => Value::Null,
        },
        Expr::OrNull(predicate) => {
            let is_null = |operand: &&Expr| scalar(operand, fields).is_null();
            match holds(predicate, fields) {
                false if predicate.operands().iter().any(is_null) => Value::Null,
                holds => Value::bool(holds),
            }
        }
        Expr::And(operands) => chain(operands, fields, true),
        Expr::Or(operands) => chain(operands, fields, false),
        predicate => Value::bool(holds(predicate, fields)),
    }
}

/// `AND` goes on while operands are true, `OR` while they are false. A NULL on
/// the left ends either, so this is not symmetric (AMPS User Guide, "NULL, NaN
/// and IS NULL").
fn chain<'a>(operands: &'a [Expr], fields: &'a dyn Fields, goes_on: bool) -> Value<'a> {
    for operand in operands {
        match scalar(operand, fields).truth() {
            None => return Value::Null,
            Some(truth) if truth != goes_on => return Value::bool(truth),
            Some(_) => {}
        }
    }
    Value::bool(goes_on)
}

/// Whether a predicate holds. They look at every element of an array, one that
/// fits is enough; with NULL none holds.
fn holds(expr: &Expr, fields: &dyn Fields) -> bool {
    match expr {
        Expr::Compare(left, comparison, right) => each(left, fields, &mut |left| {
            each(right, fields, &mut |right| left.compare(&right).is_some_and(|order| comparison.holds(order)))
        }),
        Expr::In(value, values) => each(value, fields, &mut |value| {
            values.iter().any(|other| {
                each(other, fields, &mut |other| value.compare(&other).is_some_and(std::cmp::Ordering::is_eq))
            })
        }),
        Expr::Between(operands) => {
            let [value, low, high] = operands.as_ref();
            let (low, high) = (scalar(low, fields), scalar(high, fields));
            each(value, fields, &mut |value| {
                value.compare(&low).is_some_and(std::cmp::Ordering::is_ge)
                    && value.compare(&high).is_some_and(std::cmp::Ordering::is_le)
            })
        }
        Expr::Like(value, pattern) => {
            each(value, fields, &mut |value| !value.is_null() && pattern.is_match(&value.bytes()))
        }
        Expr::UnlikeSome(value, pattern) => {
            each(value, fields, &mut |value| !value.is_null() && !pattern.is_match(&value.bytes()))
        }
        Expr::Affix(value, affix, values) => each(value, fields, &mut |value| {
            let bytes = value.bytes();
            let mut wanted = values.iter().map(|wanted| scalar(wanted, fields));
            wanted.any(|wanted| {
                !wanted.is_null()
                    && match affix {
                        Affix::Begins => bytes.starts_with(&wanted.bytes()),
                        Affix::Ends => bytes.ends_with(&wanted.bytes()),
                    }
            })
        }),
        Expr::IsNull(value) => scalar(value, fields).is_null(),
        Expr::IsNan(value) => matches!(scalar(value, fields), Value::Float(number) if number.is_nan()),
        other => scalar(other, fields).truth() == Some(true),
    }
}

/// Shows the values of an expression, the elements of an array one by one,
/// until `see` answers true; whether it did.
pub(super) fn each<'a>(expr: &'a Expr, fields: &'a dyn Fields, see: &mut dyn FnMut(Value<'a>) -> bool) -> bool {
    match expr {
        Expr::Field(path) => fields.visit(path, see),
        other => see(scalar(other, fields)),
    }
}

#[cfg(test)]
mod tests {
    use crate::filter::{DEPTH_MAX, Filter};

    /// As many calls inside each other as a text can ask for, in a test's small
    /// stack.
    #[test]
    fn the_deepest_filter_is_evaluated() {
        let text = format!("{}1{}", "0 OR 1 AND 1 = 0 + 1 * (".repeat(DEPTH_MAX), ")".repeat(DEPTH_MAX));
        assert!(text.parse::<Filter>().unwrap().matches(b"{}"));
        let negated = format!("{}0", "NOT ".repeat(DEPTH_MAX));
        assert!(!negated.parse::<Filter>().unwrap().matches(b"{}"));
    }
}
