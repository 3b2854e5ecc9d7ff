//! Values, and how they compare (AMPS User Guide, "AMPS Data Types" and
//! "Comparison Operators").

use std::borrow::Cow;
use std::cmp::Ordering;

/// One value: of a field, a literal, or a result.
///
/// There is no boolean type of its own: true is 1, false is 0.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    /// Missing, JSON null, or an empty string.
    Null,
    /// 64 bits, signed, or unsigned above the signed ones.
    Int(i128),
    Float(f64),
    /// Any bytes, at least one.
    Text(Cow<'a, [u8]>),
}

/// A value that counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Int(i128),
    Float(f64),
}

impl<'a> Value<'a> {
    /// The same value, with its own bytes.
    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Int(value) => Value::Int(value),
            Self::Float(value) => Value::Float(value),
            Self::Text(bytes) => Value::Text(Cow::Owned(bytes.into_owned())),
        }
    }

    /// A string; the empty one is NULL.
    pub(super) fn text(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::Null } else { Self::Text(bytes) }
    }

    pub(super) fn bool(value: bool) -> Self {
        Self::Int(value.into())
    }

    /// An integer result, a floating point number where 64 bits do not hold it.
    pub(super) fn int(value: i128) -> Self {
        if fits(value) { Self::Int(value) } else { Self::Float(value as f64) }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// As a number; `None` for NULL and for a string that is none.
    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Self::Null => None,
            Self::Int(value) => Some(Number::Int(*value)),
            Self::Float(value) => Some(Number::Float(*value)),
            Self::Text(bytes) => std::str::from_utf8(bytes).ok().and_then(Number::parse),
        }
    }

    /// As a string; NULL is the empty one.
    pub(super) fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Null => Cow::Borrowed(&[]),
            Self::Int(value) => Cow::Owned(value.to_string().into_bytes()),
            Self::Float(value) => Cow::Owned(format!("{value:?}").into_bytes()),
            Self::Text(bytes) => Cow::Borrowed(bytes),
        }
    }

    /// As a truth; `None` for NULL. A number other than 0 is true, a string is
    /// what its number is, and one that is no number is false.
    pub(super) fn truth(&self) -> Option<bool> {
        if self.is_null() {
            return None;
        }
        Some(self.number().is_some_and(|number| number.as_float().abs() > 0.0))
    }

    /// How two values compare; `None` when one is NULL or not a number: then
    /// no comparison holds. A string that meets a number is converted; one
    /// that cannot be is greater than any number.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Null, _) | (_, Self::Null) => None,
            (Self::Text(left), Self::Text(right)) => Some(left.cmp(right)),
            (left, right) => match (left.number(), right.number()) {
                (Some(left), Some(right)) => left.compare(right),
                (None, Some(number)) => number.is_number().then_some(Ordering::Greater),
                (Some(number), None) => number.is_number().then_some(Ordering::Less),
                (None, None) => None,
            },
        }
    }
}

impl Number {
    /// The whole text is a decimal number, with sign, fraction and exponent if
    /// need be.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.bytes().all(|c| c.is_ascii_digit() || b"+-.eE".contains(&c)) {
            let int = text.parse::<i128>().ok().filter(|int| fits(*int));
            return int.map(Self::Int).or_else(|| text.parse().ok().map(Self::Float));
        }
        None
    }

    pub(super) fn as_float(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    fn is_number(self) -> bool {
        !self.as_float().is_nan()
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(&right)),
            (left, right) => left.as_float().partial_cmp(&right.as_float()),
        }
    }
}

/// Whether an integer is one of 64 bits, signed or unsigned.
fn fits(value: i128) -> bool {
    (i64::MIN.into()..=u64::MAX.into()).contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value<'_> {
        Value::text(text.as_bytes())
    }

    #[test]
    fn strings_are_numbers_only_against_numbers() {
        for (left, right, order) in [
            (text("2"), Value::Int(10), Some(Ordering::Less)),
            (text("2"), text("10"), Some(Ordering::Greater)),
            (text("zebra"), Value::Int(10), Some(Ordering::Greater)),
            (Value::Float(10.0), text("zebra"), Some(Ordering::Less)),
            (Value::Int(2), Value::Float(2.0), Some(Ordering::Equal)),
            (text(""), Value::Int(0), None),
            (Value::Float(f64::NAN), Value::Int(0), None),
            (Value::Float(f64::NAN), text("zebra"), None),
        ] {
            assert_eq!(left.compare(&right), order, "{left:?} {right:?}");
        }
    }

    #[test]
    fn what_converts_to_a_number() {
        for (given, number) in [
            ("24", Some(24.0)),
            ("-2.5", Some(-2.5)),
            ("+1e3", Some(1000.0)),
            (".5", Some(0.5)),
            ("18446744073709551615", Some(18446744073709551615.0)),
            ("1x", None),
            (" 1", None),
            ("inf", None),
            ("nan", None),
            ("-", None),
            ("e", None),
        ] {
            assert_eq!(text(given).number().map(Number::as_float), number, "{given}");
        }
    }

    #[test]
    fn integers_beyond_64_bits_are_floating_point() {
        assert_eq!(Value::int(u64::MAX.into()), Value::Int(u64::MAX.into()));
        assert_eq!(Value::int(i128::from(u64::MAX) + 1), Value::Float(18446744073709551616.0));
    }
}
