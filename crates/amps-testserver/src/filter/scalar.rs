//! Arithmetic (AMPS User Guide, "Arithmetic Operators").

use super::value::{Number, Value};

/// An arithmetic operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Arithmetic {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }

    /// NULL with anything is NULL, what is no number with anything is NaN.
    /// Two integers give an integer, except where it does not fit.
    pub(super) fn apply(self, left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
        if left.is_null() || right.is_null() {
            return Value::Null;
        }
        match (left.number(), right.number()) {
            (Some(Number::Int(left)), Some(Number::Int(right))) => self.integers(left, right),
            (Some(left), Some(right)) => Value::Float(self.floats(left.as_float(), right.as_float())),
            _ => Value::Float(f64::NAN),
        }
    }

    fn integers(self, left: i128, right: i128) -> Value<'static> {
        let result = match self {
            Self::Add => left.checked_add(right),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
            // No integer is the quotient of a division by zero.
            Self::Divide | Self::Modulo if right == 0 => return Value::Float(f64::NAN),
            Self::Divide => left.checked_div(right),
            // Keeps the sign of the left operand.
            Self::Modulo => left.checked_rem(right),
        };
        result.map_or_else(|| Value::Float(self.floats(left as f64, right as f64)), Value::int)
    }

    fn floats(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Modulo => left % right,
        }
    }
}

/// A value with its sign turned.
pub(super) fn negate(value: &Value<'_>) -> Value<'static> {
    Arithmetic::Subtract.apply(&Value::Int(0), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_stay_integers_until_they_do_not_fit() {
        let max = Value::Int(u64::MAX.into());
        assert_eq!(Arithmetic::Divide.apply(&Value::Int(7), &Value::Int(-2)), Value::Int(-3));
        assert_eq!(Arithmetic::Modulo.apply(&Value::Int(-7), &Value::Int(3)), Value::Int(-1));
        assert_eq!(Arithmetic::Add.apply(&max, &Value::Int(1)), Value::Float(18446744073709551616.0));
        assert_eq!(
            Arithmetic::Multiply.apply(&max, &max),
            Value::Float(18446744073709551615.0 * 18446744073709551615.0)
        );
        assert_eq!(Arithmetic::Divide.apply(&Value::Int(1), &Value::text(b"5.0".as_slice())), Value::Float(0.2));
    }

    #[test]
    fn null_and_not_a_number_poison() {
        let nan = Value::Float(f64::NAN);
        assert_eq!(Arithmetic::Add.apply(&Value::Null, &nan), Value::Null);
        for (left, right) in [(&nan, &Value::Int(1)), (&Value::text(b"x".as_slice()), &Value::Int(1))] {
            assert!(matches!(Arithmetic::Add.apply(left, right), Value::Float(f) if f.is_nan()));
        }
        assert!(matches!(Arithmetic::Modulo.apply(&Value::Int(1), &Value::Int(0)), Value::Float(f) if f.is_nan()));
        assert_eq!(negate(&Value::Null), Value::Null);
        assert_eq!(negate(&Value::Int(3)), Value::Int(-3));
    }
}
