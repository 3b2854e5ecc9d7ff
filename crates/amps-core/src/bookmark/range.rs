//! Ranges of a transaction log.

use std::fmt;
use std::str::FromStr;

use super::{BookmarkError, StartAt};

/// A part of a transaction log, from one point to another.
///
/// On the wire `[begin:end]`; a round bracket leaves out the point beside it
/// (AMPS User Guide, "Replaying Messages with Bookmark Subscriptions"). Each
/// point is a bookmark, a list of them or a timestamp; of a list the earliest in
/// the server's log begins, and the latest ends. A time may lie in the future:
/// what is published by then belongs to it. Known to servers from 5.3.2 on.
///
/// ```
/// use amps_core::{Bookmark, BookmarkRange, StartAt};
/// let first = Bookmark { publisher: 7, sequence: 5 };
/// let noon = StartAt::Timestamp("20260301T120000Z".to_owned());
/// let morning = BookmarkRange::new(first, noon).exclude_end();
/// assert_eq!(morning.to_string(), "[7|5|:20260301T120000Z)");
/// assert_eq!("[7|5|:20260301T120000Z)".parse(), Ok(morning));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookmarkRange {
    begin: StartAt,
    includes_begin: bool,
    end: StartAt,
    includes_end: bool,
}

impl BookmarkRange {
    /// From `begin` to `end`, both included.
    pub fn new(begin: impl Into<StartAt>, end: impl Into<StartAt>) -> Self {
        Self { begin: begin.into(), includes_begin: true, end: end.into(), includes_end: true }
    }

    /// Leaves out the point it begins at.
    #[must_use]
    pub fn exclude_begin(mut self) -> Self {
        self.includes_begin = false;
        self
    }

    /// Leaves out the point it ends at.
    #[must_use]
    pub fn exclude_end(mut self) -> Self {
        self.includes_end = false;
        self
    }

    /// Where it begins.
    pub fn begin(&self) -> &StartAt {
        &self.begin
    }

    /// Whether that point is part of it.
    pub fn includes_begin(&self) -> bool {
        self.includes_begin
    }

    /// Where it ends.
    pub fn end(&self) -> &StartAt {
        &self.end
    }

    /// Whether that point is part of it.
    pub fn includes_end(&self) -> bool {
        self.includes_end
    }

    /// What is left of it behind another point.
    pub fn behind(&self, begin: StartAt) -> Self {
        Self { begin, includes_begin: false, ..self.clone() }
    }

    /// Whether a server can make sense of it.
    ///
    /// # Errors
    /// A point that is none, an end that is the start of the log or known to a
    /// bookmark store only, or a range within a range.
    pub fn check(&self) -> Result<(), BookmarkError> {
        let ends = matches!(self.end, StartAt::Bookmarks(_) | StartAt::Timestamp(_) | StartAt::Now);
        if !ends || matches!(self.begin, StartAt::Range(_)) {
            return Err(BookmarkError::new(&self.to_string()));
        }
        self.begin.check().and_then(|()| self.end.check())
    }
}

impl fmt::Display for BookmarkRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.includes_begin { '[' } else { '(' };
        let close = if self.includes_end { ']' } else { ')' };
        write!(f, "{open}{}:{}{close}", self.begin.to_wire(), self.end.to_wire())
    }
}

impl FromStr for BookmarkRange {
    type Err = BookmarkError;

    fn from_str(text: &str) -> Result<Self, BookmarkError> {
        read(text.trim()).filter(|range| range.check().is_ok()).ok_or_else(|| BookmarkError::new(text))
    }
}

fn read(text: &str) -> Option<BookmarkRange> {
    let includes_begin = text.starts_with('[');
    let includes_end = text.ends_with(']');
    let points = text.strip_prefix(['[', '('])?.strip_suffix([']', ')'])?;
    // No point has a colon in it, and no point is a range.
    let (begin, end) = points.split_once(':')?;
    let point = |text: &str| text.parse().ok().filter(|point| !matches!(point, StartAt::Range(_)));
    Some(BookmarkRange { begin: point(begin)?, includes_begin, end: point(end)?, includes_end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_and_writes() {
        for (text, wire) in [
            ("[1|5|:1|9|]", "[1|5|:1|9|]"),
            ("(1|5|:1|9|)", "(1|5|:1|9|)"),
            (" [1|5|,2|7|:1|9|,2|8|) ", "[1|5|,2|7|:1|9|,2|8|)"),
            ("(epoch:20260301T100000Z]", "(0:20260301T100000Z]"),
            ("[20260301T090000:20260301T100000)", "[20260301T090000:20260301T100000)"),
            ("[0|1|:20260301T100000)", "[0|1|:20260301T100000)"),
            ("[recent:now]", "[0:0|1|]"),
        ] {
            assert_eq!(text.parse::<BookmarkRange>().unwrap().to_string(), wire);
            assert_eq!(text.parse::<StartAt>().unwrap().to_wire(), wire, "as a start");
        }
    }

    /// Covers 10#2.
    #[test]
    fn anything_else_is_refused_with_the_text() {
        for text in [
            "[1|5|:1|9|",
            "1|5|:1|9|]",
            "[1|5|]",
            "[:1|9|]",
            "[1|5|:]",
            "[1|5|:0]",
            "[1|5|:recent]",
            "[1|5|:1|9|:1|10|]",
            "[[1|5|:1|6|]:1|9|]",
            "[20261301T000000:20260301T000000]",
            "[",
            "]",
            "[]",
        ] {
            let error = text.parse::<BookmarkRange>().unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
            assert!(text.parse::<StartAt>().is_err(), "{text}");
        }
        let point: StartAt = "1|5|".parse().unwrap();
        let nested: StartAt = BookmarkRange::new(point.clone(), point.clone()).into();
        for range in [
            BookmarkRange::new(nested.clone(), point.clone()),
            BookmarkRange::new(point.clone(), nested),
            BookmarkRange::new(point.clone(), StartAt::Epoch),
            BookmarkRange::new(point.clone(), StartAt::Timestamp("noon".to_owned())),
            BookmarkRange::new(StartAt::Timestamp("noon".to_owned()), point),
        ] {
            assert!(range.check().is_err(), "{range}");
            assert!(StartAt::from(range).check().is_err());
        }
    }
}
