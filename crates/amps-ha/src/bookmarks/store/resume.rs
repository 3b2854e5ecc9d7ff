//! Where a subscription resumes, as a value the application keeps itself.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use amps_core::Bookmark;

use super::adapter::Point;
use super::point::{read_point, write_point};
use super::{BookmarkState, BookmarkStoreError, PublisherState};

/// Where a bookmark subscription resumes, to be stored by the application together
/// with what it made of the messages before: in one transaction, so that each
/// message has its effect exactly once.
///
/// As text it is one line of ASCII, the same that a
/// [`RecoveryPointAdapter`](super::RecoveryPointAdapter) gets: some forty bytes for
/// each publisher that was ever seen. The default, and empty text, is a
/// subscription nothing is known of.
///
/// ```
/// use amps_ha::bookmarks::store::ResumePoint;
/// let point: ResumePoint = "1 17:4:-".parse()?;
/// assert_eq!(point.to_string(), "1 17:4:-");
/// assert_eq!("".parse::<ResumePoint>()?, ResumePoint::default());
/// # Ok::<(), amps_ha::bookmarks::store::BookmarkStoreError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResumePoint(Point);

impl ResumePoint {
    /// `base` of a subscription that started at NOW; floor and anchor of each
    /// publisher.
    pub(in crate::bookmarks) fn new(base: Option<Bookmark>, publishers: BTreeMap<u64, [Option<u64>; 2]>) -> Self {
        Self(Point { base, publishers })
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What a subscription [recovers](super::super::Bookmarks::recovered) from.
    pub fn state(&self) -> BookmarkState {
        let publishers = self.0.publishers.iter().map(|(hash, [floor, anchor])| {
            (*hash, PublisherState { floor: *floor, anchor: *anchor, ahead: Vec::new() })
        });
        BookmarkState { base: self.0.base, publishers: publishers.collect() }
    }
}

impl fmt::Display for ResumePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() { Ok(()) } else { f.write_str(&write_point(&self.0)) }
    }
}

impl FromStr for ResumePoint {
    type Err = BookmarkStoreError;

    fn from_str(text: &str) -> Result<Self, BookmarkStoreError> {
        if text.is_empty() { Ok(Self::default()) } else { read_point(text).map(Self) }
    }
}
