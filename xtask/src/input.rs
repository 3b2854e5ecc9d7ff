//! What the publishers send: each line of each publisher's input, and the way
//! back from a message body to the line it came from.
//!
//! The verdict knows a message by its body alone, so every body must be there
//! once only. [`Input::new`] refuses anything else.

use std::collections::HashMap;

use crate::Failure;

/// One line of one publisher's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Line {
    /// Which publisher, counted from 0.
    pub(crate) publisher: usize,
    /// Which of its lines, counted from 0.
    pub(crate) number: usize,
}

/// The lines of every publisher.
#[derive(Debug)]
pub(crate) struct Input {
    publishers: Vec<Vec<String>>,
    by_body: HashMap<String, Line>,
}

impl Input {
    /// Takes each publisher's lines.
    ///
    /// # Errors
    /// When two lines are equal, since no verdict could tell them apart.
    pub(crate) fn new(publishers: Vec<Vec<String>>) -> Result<Self, Failure> {
        let mut by_body = HashMap::with_capacity(publishers.iter().map(Vec::len).sum());
        for (publisher, lines) in publishers.iter().enumerate() {
            for (number, body) in lines.iter().enumerate() {
                let line = Line { publisher, number };
                if let Some(other) = by_body.insert(body.clone(), line) {
                    return Err(Failure::new(format!("the input has the same line twice: {other:?} and {line:?}")));
                }
            }
        }
        Ok(Self { publishers, by_body })
    }

    /// Deals the lines of a text out to `publishers`, in turn.
    ///
    /// # Errors
    /// As for [`Input::new`].
    pub(crate) fn deal(text: &str, publishers: usize) -> Result<Self, Failure> {
        let mut dealt = vec![Vec::new(); publishers];
        for (index, line) in text.lines().enumerate() {
            dealt[index % publishers].push(line.to_owned());
        }
        Self::new(dealt)
    }

    /// Makes up so many lines for each publisher.
    ///
    /// # Errors
    /// Never in fact: each line holds its own number.
    pub(crate) fn generate(lines: &[usize]) -> Result<Self, Failure> {
        let line = |publisher, number| {
            let (key, warm) = (key(publisher, number), u8::from(is_warm(number)));
            format!(r#"{{"publisher":{publisher},"line":{number},"key":"{key}","warm":{warm}}}"#)
        };
        let lines = lines.iter().enumerate();
        Self::new(lines.map(|(publisher, &lines)| (0..lines).map(|number| line(publisher, number)).collect()).collect())
    }

    /// The lines of one publisher.
    pub(crate) fn lines(&self, publisher: usize) -> &[String] {
        &self.publishers[publisher]
    }

    /// How many publishers there are.
    pub(crate) fn publishers(&self) -> usize {
        self.publishers.len()
    }

    /// All lines of all publishers.
    pub(crate) fn total(&self) -> usize {
        self.publishers.iter().map(Vec::len).sum()
    }

    /// The line this body came from, or `None` when nobody sent it.
    pub(crate) fn find(&self, body: &[u8]) -> Option<Line> {
        self.by_body.get(std::str::from_utf8(body).ok()?).copied()
    }
}

/// Records of a publisher whose lines are made up.
pub(crate) const KEYS: usize = 20;

/// The record that a made up line is a new state of: one of [`KEYS`] of its
/// publisher, in turn.
fn key(publisher: usize, number: usize) -> String {
    format!("{publisher}-{}", number % KEYS)
}

/// Whether a made up line says so: each second state of every record.
pub(crate) fn is_warm(number: usize) -> bool {
    (number / KEYS).is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_dealt_in_turn_and_found_again() {
        let input = Input::deal("a\nb\nc\nd\n", 3).unwrap();
        assert_eq!(input.lines(0), ["a", "d"]);
        assert_eq!((input.publishers(), input.total()), (3, 4));
        assert_eq!(input.find(b"d"), Some(Line { publisher: 0, number: 1 }));
        assert_eq!(input.find(b"e"), None);
        assert_eq!(input.find(b"\xff"), None);
    }

    #[test]
    fn a_line_that_is_there_twice_is_refused() {
        assert!(Input::deal("a\nb\na\n", 2).is_err());
    }

    #[test]
    fn generated_lines_are_json_and_differ() {
        let input = Input::generate(&[50, 50]).unwrap();
        assert_eq!(input.total(), 100);
        assert!(serde_json::from_str::<serde_json::Value>(&input.lines(1)[7]).is_ok());
    }
}
