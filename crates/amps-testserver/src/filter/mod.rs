//! Content filters: which messages somebody wants, by what is in them.
//!
//! A filter's text is read once into an [`Expr`] and evaluated over the fields
//! of each message (AMPS User Guide, "AMPS Expressions").

mod document;
mod error;
mod eval;
mod expr;
mod function;
mod lexer;
mod order;
mod parser;
mod pattern;
mod print;
mod projection;
mod scalar;
mod surroundings;
mod time;
mod value;

#[cfg(test)]
mod properties;
#[cfg(any(test, feature = "reference"))]
mod reference;

use std::fmt;
use std::sync::Arc;

pub(crate) use self::document::{Fields, Subject};
pub use self::error::FilterError;
use self::expr::Expr;
pub(crate) use self::order::Order;
pub(crate) use self::projection::Projection;
pub(crate) use self::surroundings::Surroundings;
use crate::readings::Readings;

/// The longest filter in bytes.
const TEXT_MAX: usize = 64 << 10;

/// How deep parentheses, function calls, `NOT` and signs may nest.
const DEPTH_MAX: usize = 64;

/// Operators and operands of one filter, together.
const NODES_MAX: usize = 4_096;

/// Values in the list of an `IN`, and parameters of a function.
const LIST_MAX: usize = 1_000;

/// A content filter, ready to be evaluated. A clone is the same filter, not a
/// copy.
///
/// The language is the one of the AMPS User Guide's chapter "AMPS
/// Expressions": identifiers such as `/order/qty`, numbers and strings,
/// arithmetic, comparisons, `IN`, `BETWEEN`, `LIKE`, `BEGINS WITH`,
/// `ENDS WITH`, `IS NULL`, `AND`, `OR`, `NOT` and functions. Times are in UTC.
/// `CLIENT_NAME` is the client that published a message, of a record its last.
/// Not there are `LAST_READ` and `VALUE_LOOKUP`, whose values this server has not.
///
/// Where the guide leaves a rule open, this is the reading taken here; a server
/// may be told another one for some ([`Readings`](crate::Readings)):
///
/// * A comparison with NULL is false, so its negation is true, as the guide has
///   it for `NOT IN`; no comparison with NaN holds.
/// * A value by itself is true when its number is not 0; a string that is no
///   number is false.
/// * `BETWEEN`, `BEGINS WITH` and `ENDS WITH` look at each element of an array,
///   as `=`, `LIKE` and `IN` do, and `NOT` at the whole. Arrays in arrays are
///   taken apart.
/// * Integers that leave 64 bits become floating point; an integer divided by 0
///   is NaN.
/// * In the pattern of a `LIKE` escapes are the regular expression's own; a raw
///   string is looked for as it is. A search that would take too long finds
///   nothing.
/// * `SUBSTR` counts a position below 1 as 1. NULL is the empty string where strings
///   are joined or replaced; `ARRAY_TO_STRING` joins by commas unless told otherwise.
/// * A time before 1970, a directive `STRFTIME` has not, and a text that does not fit
///   the format of `STRPTIME` give NULL.
/// * `-`, `.` and `:` are part of a name, as in XML; between values they need
///   spaces.
///
/// A text is at most 64 KiB long, nests at most 64 deep, has at most 4,096
/// parts and lists of at most 1,000 values. A string a function makes is NULL
/// when it is longer than 16 MiB.
///
/// ```
/// use amps_testserver::Filter;
/// let filter: Filter = "/qty > 10 AND /side = 'buy'".parse()?;
/// assert!(filter.matches(br#"{"side":"buy","qty":12}"#));
/// assert!(!filter.matches(br#"{"side":"buy"}"#));
///
/// let error = "/qty >".parse::<Filter>().unwrap_err();
/// assert_eq!(error.to_string(), "bad filter, byte 6: expected a value, found the end");
/// # Ok::<(), amps_testserver::FilterError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    root: Arc<Expr>,
}

impl Filter {
    /// Whether a JSON body matches: whether the filter is true for it, neither
    /// false nor NULL. A body that is no JSON has no fields.
    ///
    /// Functions about the message's surroundings see an empty topic, client and
    /// instance name.
    pub fn matches(&self, body: &[u8]) -> bool {
        self.accepts(&Subject::new("", "", body))
    }

    /// As [`matches`](Self::matches), by an evaluator to compare with. It knows
    /// no functions and no large numbers.
    #[cfg(feature = "reference")]
    #[doc(hidden)]
    pub fn matches_slowly(&self, document: &serde_json::Value) -> bool {
        reference::matches(&self.root, document)
    }

    /// Reads a filter as those readings have it.
    pub(crate) fn read(text: &str, readings: Readings) -> Result<Self, FilterError> {
        if text.len() > TEXT_MAX {
            return Err(FilterError::new(TEXT_MAX, format!("a filter has at most {TEXT_MAX} bytes")));
        }
        parser::parse(text, readings).map(|root| Self { root: Arc::new(root) })
    }

    /// Whether it says the same about a message at any time.
    pub(crate) fn is_deterministic(&self) -> bool {
        !self.root.contains(&|expr| matches!(expr, Expr::Call(function, _) if !function.is_deterministic()))
    }

    /// Whether a message matches.
    pub(crate) fn accepts(&self, message: &dyn Fields) -> bool {
        eval::is_true(&self.root, message)
    }
}

impl std::str::FromStr for Filter {
    type Err = FilterError;

    /// Reads a filter.
    ///
    /// # Errors
    /// The text is no filter, or is over one of the bounds; the error says
    /// what is wrong and at which byte.
    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::read(text, Readings::default())
    }
}

impl fmt::Display for Filter {
    /// The filter in one notation; it reads back as the same filter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}
