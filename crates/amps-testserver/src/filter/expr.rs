//! What a filter is made of.

use std::cmp::Ordering;

use super::function::Function;
use super::pattern::Pattern;
use super::scalar::Arithmetic;
use super::value::Value;

/// An expression. Chains of one operator are one node, so the depth is bounded
/// by how deep the text nests.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    Literal(Value<'static>),
    Field(Path),
    Call(Function, Vec<Self>),
    /// A parameter of a function, nowhere else.
    Pattern(Pattern),
    Negate(Box<Self>),
    /// The first operand, then operators of one precedence with theirs, from
    /// left to right.
    Arithmetic(Box<Self>, Vec<(Arithmetic, Self)>),
    Compare(Box<Self>, Comparison, Box<Self>),
    /// The value, the lower and the upper bound.
    Between(Box<[Self; 3]>),
    In(Box<Self>, Vec<Self>),
    Like(Box<Self>, Pattern),
    /// Some element is not like it.
    UnlikeSome(Box<Self>, Pattern),
    /// The one value of an expression, of an array its first element.
    First(Box<Self>),
    Affix(Box<Self>, Affix, Vec<Self>),
    IsNull(Box<Self>),
    IsNan(Box<Self>),
    /// A predicate that with a NULL operand is true or NULL.
    OrNull(Box<Self>),
    Not(Box<Self>),
    And(Vec<Self>),
    Or(Vec<Self>),
}

impl Expr {
    /// Whether a part of it, or all of it, is so.
    pub(super) fn contains(&self, is_so: &dyn Fn(&Self) -> bool) -> bool {
        let any = |parts: &[Self]| parts.iter().any(|part| part.contains(is_so));
        is_so(self)
            || match self {
                Self::Literal(_) | Self::Field(_) | Self::Pattern(_) => false,
                Self::Call(_, parts) | Self::And(parts) | Self::Or(parts) => any(parts),
                Self::Between(parts) => any(parts.as_slice()),
                Self::Arithmetic(first, rest) => {
                    first.contains(is_so) || rest.iter().any(|(_, part)| part.contains(is_so))
                }
                Self::Compare(left, _, right) => left.contains(is_so) || right.contains(is_so),
                Self::In(value, list) | Self::Affix(value, _, list) => value.contains(is_so) || any(list),
                Self::Negate(part)
                | Self::Not(part)
                | Self::IsNull(part)
                | Self::IsNan(part)
                | Self::OrNull(part)
                | Self::First(part)
                | Self::Like(part, _)
                | Self::UnlikeSome(part, _) => part.contains(is_so),
            }
    }
}

impl Expr {
    /// What a predicate compares.
    pub(super) fn operands(&self) -> Vec<&Self> {
        match self {
            Self::Compare(left, _, right) => vec![left, right],
            Self::Between(parts) => parts.iter().collect(),
            Self::In(value, list) | Self::Affix(value, _, list) => std::iter::once(&**value).chain(list).collect(),
            Self::Like(value, _) | Self::UnlikeSome(value, _) => vec![value],
            _ => Vec::new(),
        }
    }
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// Whether it holds for values in this order.
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// Which end of a string is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affix {
    Begins,
    Ends,
}

/// Where a field is in a message: at least one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(pub(super) Vec<Step>);

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) name: String,
    /// Only this element, counted from 0.
    pub(super) index: Option<u32>,
}
