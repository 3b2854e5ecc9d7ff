//! Regular expressions of `LIKE` and of functions (AMPS User Guide, "LIKE
//! Operator" and "Regular Expressions").

use std::fmt;
use std::fmt::Write;

use fancy_regex::Regex;

use super::error::FilterError;
use super::lexer::Literal;
use crate::pcre;
use crate::readings::Readings;

/// A regular expression as a filter names it.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    literal: Literal,
    regex: Regex,
}

impl Pattern {
    /// Escapes are the expression's own, so `'C\+\+'` looks for `C++`; a raw
    /// string is looked for as it is.
    pub(super) fn new(literal: Literal, readings: Readings, at: usize) -> Result<Self, FilterError> {
        let text = match std::str::from_utf8(&literal.value) {
            _ if literal.raw && readings.raw_patterns => literal.source.clone(),
            Ok(value) if !literal.raw && readings.escaped_patterns => value.to_owned(),
            _ => translated(&literal),
        };
        match pcre::compile(&text) {
            Ok(regex) => Ok(Self { literal, regex }),
            Err(error) => Err(FilterError::new(at, format!("not a regular expression: {error}"))),
        }
    }

    /// Whether it is found anywhere in a string.
    pub(super) fn is_match(&self, subject: &[u8]) -> bool {
        pcre::finds(&self.regex, subject)
    }

    /// The first match.
    pub(super) fn find(&self, subject: &[u8]) -> Option<Vec<u8>> {
        let found = self.regex.find(subject).ok()??;
        Some(subject[found.range()].to_vec())
    }

    /// A string with every match replaced; `None` when it gets longer than that.
    pub(super) fn replace(&self, subject: &[u8], replacement: &[u8], length_max: usize) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut copied = 0;
        for found in self.regex.find_iter(subject) {
            let found = found.ok()?.range();
            out.extend_from_slice(&subject[copied..found.start]);
            out.extend_from_slice(replacement);
            copied = found.end;
            if out.len() > length_max {
                return None;
            }
        }
        out.extend_from_slice(&subject[copied..]);
        Some(out)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (&self.literal.source, self.literal.raw) == (&other.literal.source, other.literal.raw)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = &self.literal.source;
        if self.literal.raw {
            let quote = if source.contains('\'') { '"' } else { '\'' };
            return write!(f, "r{quote}{source}{quote}");
        }
        write!(f, "'{}'", source.replace('\'', "\\'"))
    }
}

/// The expression for a literal: a raw one stands for itself, and three octal
/// digits become two hexadecimal ones, the only escape of string literals that
/// expressions here lack.
fn translated(literal: &Literal) -> String {
    let source = &literal.source;
    if literal.raw {
        return fancy_regex::escape(source).into_owned();
    }
    let mut out = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some((before, behind)) = rest.split_once('\\') {
        out.push_str(before);
        let octal = behind.get(..3).filter(|digits| digits.bytes().all(|c| c.is_ascii_digit()));
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\x{byte:02x}");
                rest = &behind[3..];
            }
            None => {
                let length = behind.chars().next().map_or(0, char::len_utf8);
                out.push('\\');
                out.push_str(&behind[..length]);
                rest = &behind[length..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn pattern(source: &str, raw: bool) -> Result<Pattern, FilterError> {
        let literal = Literal { value: source.as_bytes().to_vec(), source: source.to_owned(), raw };
        Pattern::new(literal, Readings::default(), 7)
    }

    #[test]
    fn a_search_that_would_not_end_finds_nothing_in_bounded_time() {
        let started = Instant::now();
        let subject = vec![b'a'; 200];
        assert!(!pattern(r"^(a|aa)+\1?!$", false).unwrap().is_match(&subject));
        assert!(!pattern(r"^(?:(?=a)a+)+$(?<!a)", false).unwrap().is_match(&subject));
        // Without a bound these would take longer than the universe is old.
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn an_expression_that_would_fill_the_memory_is_refused() {
        assert_eq!(pattern("((a{1000}){1000}){1000}", false).unwrap_err().at(), 7);
    }

    #[test]
    fn bytes_not_characters() {
        assert!(pattern("^..$", false).unwrap().is_match("é".as_bytes()));
        assert!(pattern("é", false).unwrap().is_match("café".as_bytes()));
        assert_eq!(pattern("é", true).unwrap().replace("éa".as_bytes(), b"x", 9), Some(b"xa".to_vec()));
        assert!(pattern(r"\101\x42", false).unwrap().is_match(b"AB"));
    }
}
