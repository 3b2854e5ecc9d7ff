//! Expressions as text that reads back as the same expression.

use std::fmt::{Display, Formatter, Result, Write};

use super::expr::{Affix, Expr, Path};
use super::lexer::is_name;
use super::scalar::Arithmetic;
use super::value::Value;

/// How tightly expressions bind, from loosest to tightest. An operand that
/// binds looser than its place allows needs parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Level {
    Or,
    And,
    Not,
    Predicate,
    Sum,
    Product,
    Sign,
    Single,
}

impl Level {
    fn of(expr: &Expr) -> Self {
        match expr {
            Expr::Or(_) => Self::Or,
            Expr::And(_) => Self::And,
            Expr::Not(inner) if !has_negated_form(inner) => Self::Not,
            Expr::Arithmetic(_, rest) => match rest.first() {
                Some((Arithmetic::Add | Arithmetic::Subtract, _)) => Self::Sum,
                _ => Self::Product,
            },
            Expr::Negate(_) => Self::Sign,
            Expr::First(operand) => Self::of(operand),
            Expr::Literal(_) | Expr::Field(_) | Expr::Call(..) | Expr::Pattern(_) => Self::Single,
            _ => Self::Predicate,
        }
    }
}

/// Whether it is written with the `NOT` inside, as in `/a NOT IN (1)`.
fn has_negated_form(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Between(_) | Expr::In(..) | Expr::Like(..) | Expr::Affix(..) | Expr::IsNull(_) | Expr::IsNan(_)
    )
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Literal(value) => value.fmt(f),
            Self::Field(path) => path.fmt(f),
            Self::Call(function, parameters) => {
                f.write_str(function.name())?;
                list(f, parameters)
            }
            Self::Pattern(pattern) => pattern.fmt(f),
            Self::Negate(operand) => write!(f, "- {}", At(Level::Sign, operand)),
            Self::Arithmetic(first, rest) => {
                let level = if Level::of(self) == Level::Sum { Level::Product } else { Level::Sign };
                At(level, first).fmt(f)?;
                rest.iter()
                    .try_for_each(|(operator, operand)| write!(f, " {} {}", operator.symbol(), At(level, operand)))
            }
            Self::Compare(left, comparison, right) => {
                write!(f, "{} {} {}", At(Level::Sum, left), comparison.symbol(), At(Level::Sum, right))
            }
            // As they were written.
            Self::OrNull(inner) | Self::First(inner) => inner.fmt(f),
            Self::UnlikeSome(value, pattern) => write!(f, "{} NOT LIKE {pattern}", At(Level::Sum, value)),
            Self::Not(inner) if has_negated_form(inner) => predicate(f, inner, "NOT "),
            Self::Not(operand) => write!(f, "NOT {}", At(Level::Not, operand)),
            Self::And(operands) => joined(f, operands, " AND ", Level::Not),
            Self::Or(operands) => joined(f, operands, " OR ", Level::And),
            other => predicate(f, other, ""),
        }
    }
}

/// What can be negated inside.
fn predicate(f: &mut Formatter<'_>, expr: &Expr, not: &str) -> Result {
    match expr {
        Expr::Between(operands) => {
            let [value, low, high] = operands.each_ref().map(|operand| At(Level::Sum, operand));
            write!(f, "{value} {not}BETWEEN {low} AND {high}")
        }
        Expr::In(value, values) => {
            write!(f, "{} {not}IN ", At(Level::Sum, value))?;
            list(f, values)
        }
        Expr::Like(value, pattern) => write!(f, "{} {not}LIKE {pattern}", At(Level::Sum, value)),
        Expr::Affix(value, affix, values) => {
            let verb = if *affix == Affix::Begins { "BEGINS" } else { "ENDS" };
            write!(f, "{} {not}{verb} WITH ", At(Level::Sum, value))?;
            list(f, values)
        }
        Expr::IsNull(value) => write!(f, "{} IS {not}NULL", At(Level::Sum, value)),
        Expr::IsNan(value) => write!(f, "{} IS {not}NAN", At(Level::Sum, value)),
        _ => Ok(()),
    }
}

/// An operand at a place that takes what binds at least this tightly.
struct At<'a>(Level, &'a Expr);

impl Display for At<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if Level::of(self.1) < self.0 { write!(f, "({})", self.1) } else { self.1.fmt(f) }
    }
}

fn joined(f: &mut Formatter<'_>, operands: &[Expr], between: &str, level: Level) -> Result {
    for (ix, operand) in operands.iter().enumerate() {
        f.write_str(if ix == 0 { "" } else { between })?;
        At(level, operand).fmt(f)?;
    }
    Ok(())
}

fn list(f: &mut Formatter<'_>, values: &[Expr]) -> Result {
    f.write_char('(')?;
    joined(f, values, ", ", Level::Or)?;
    f.write_char(')')
}

impl Display for Value<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(bytes) => {
                f.write_char('\'')?;
                for byte in bytes.iter() {
                    match byte {
                        b'\'' | b'\\' => write!(f, "\\{}", *byte as char)?,
                        b' '..=b'~' => f.write_char(*byte as char)?,
                        other => write!(f, "\\x{other:02X}")?,
                    }
                }
                f.write_char('\'')
            }
        }
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let odd = self.0.iter().any(|step| !is_name(&step.name));
        if odd {
            f.write_char('[')?;
        }
        for (ix, step) in self.0.iter().enumerate() {
            write!(f, "/{}", step.name)?;
            if odd && ix + 1 == self.0.len() {
                f.write_char(']')?;
            }
            if let Some(index) = step.index {
                write!(f, "[{index}]")?;
            }
        }
        Ok(())
    }
}
