//! Where bookmark subscriptions start, and where those to a range of the log end
//! (AMPS User Guide, "Replaying Messages with Bookmark Subscriptions").
//!
//! The guide leaves open what happens at an end that the log does not hold yet.
//! Here it is waited for, as a time in the future is: a server a subscription
//! fails over to may be behind.

use amps_core::{BookmarkList, BookmarkRange, Message, StartAt};

use super::options::{NotFound, Options};
use super::subscribe::bookmark;
use super::{ConnId, Engine};
use crate::log::Log;
use crate::timestamp::{parse_fractional, parse_iso8601};
use crate::topic::TopicPattern;

/// Where a bookmark subscription starts.
#[derive(Debug, Clone)]
pub(super) struct Start {
    pub(super) cursor: usize,
    /// Messages processed before this are not for it, in microseconds since the
    /// beginning of 1970.
    pub(super) from: u64,
    pub(super) until: Option<Until>,
}

impl Start {
    /// At that position, without an end.
    pub(super) fn at(cursor: usize) -> Self {
        Self { cursor, from: 0, until: None }
    }
}

/// Where a bookmark subscription ends.
#[derive(Debug, Clone)]
pub(super) enum Until {
    /// Before that position.
    Position(usize),
    /// With messages processed from that time on, in microseconds since the
    /// beginning of 1970.
    Time(u64),
    /// At the last of these messages.
    Messages { list: BookmarkList, included: bool },
}

impl Until {
    /// The position before which it ends, as far as the log goes, and whether
    /// that stays so.
    pub(super) fn limit(&self, log: &Log, now: u64) -> (usize, bool) {
        match self {
            Self::Position(position) => (*position, true),
            Self::Time(time) => (time.checked_sub(1).map_or(0, |before| log.processed_by(before)), now >= *time),
            Self::Messages { list, included } => {
                let behind = |(position, is_it): (usize, bool)| position + usize::from(is_it && *included);
                let ends = list.as_slice().iter().map(|bookmark| log.first_from(*bookmark).map(behind));
                let last = ends.collect::<Option<Vec<_>>>().and_then(|ends| ends.into_iter().max());
                last.map_or((log.len(), false), |last| (last, true))
            }
        }
    }

    /// When it ends, if that is a time after `now`.
    pub(super) fn due(&self, now: u64) -> Option<u64> {
        if let Self::Time(time) = self { Some(*time).filter(|time| *time > now) } else { None }
    }
}

impl Engine {
    /// Where a bookmark subscription starts; `None` without a bookmark.
    pub(super) fn start_of_replay(
        &mut self,
        id: ConnId,
        message: &Message,
        pattern: &TopicPattern,
        options: &Options,
    ) -> Result<Option<Start>, &'static str> {
        let Some(text) = bookmark(message) else {
            // A replaced one goes on from where it was.
            let replaced = self.replaced(id, message).filter(|_| options.replace);
            let replay = replaced.and_then(|subscription| subscription.replay.as_ref());
            return Ok(replay.map(|replay| Start {
                cursor: replay.cursor,
                from: replay.from,
                until: replay.until.clone(),
            }));
        };
        if let TopicPattern::Literal(name) = pattern {
            let topic = self.topic(name);
            if !self.topics.get(topic).logged {
                return Err("invalid topic");
            }
        }
        let start = self.point(&text)?;
        if *start.begin() == StartAt::Now && options.top_n.is_some() {
            return Err("invalid options");
        }
        match &start {
            StartAt::Range(range) => self.start_of_range(range, options.not_found).map(Some),
            point => self.behind(point, options.not_found).map(|cursor| Some(Start::at(cursor))),
        }
    }

    /// Reads the bookmark of a command.
    pub(super) fn point(&self, text: &str) -> Result<StartAt, &'static str> {
        let text = text.trim();
        if self.config.readings.fractions_in_bookmarks && parse_fractional(text).is_some() {
            return Ok(StartAt::Timestamp(text.to_owned()));
        }
        text.parse().map_err(|_| "invalid bookmark")
    }

    /// The position behind a point of the log; of a time, of the first message of
    /// that time or after it.
    fn behind(&self, point: &StartAt, not_found: NotFound) -> Result<usize, &'static str> {
        let end = self.log.len();
        match point {
            StartAt::Epoch => Ok(0),
            StartAt::Now => Ok(end),
            StartAt::Bookmarks(list) => {
                let earliest = list.as_slice().iter().filter_map(|bookmark| self.log.find(*bookmark)).min();
                match (earliest, not_found) {
                    (Some(position), _) => Ok(position + 1),
                    (None, NotFound::Now) => Ok(end),
                    (None, NotFound::Epoch) => Ok(0),
                    (None, NotFound::Fail) => Err("bookmark not found"),
                }
            }
            StartAt::Timestamp(time) => {
                let time = parse_fractional(time).or_else(|| parse_iso8601(time)).ok_or("invalid bookmark")?;
                Ok(time.checked_sub(1).map_or(0, |before| self.log.processed_by(before)))
            }
            _ => Err("invalid bookmark"),
        }
    }

    fn start_of_range(&self, range: &BookmarkRange, not_found: NotFound) -> Result<Start, &'static str> {
        let mut start = Start::at(self.behind(range.begin(), not_found)?);
        match range.begin() {
            StartAt::Timestamp(time) => {
                start.from = parse_iso8601(time).ok_or("invalid bookmark")? + u64::from(!range.includes_begin());
            }
            StartAt::Bookmarks(list) if range.includes_begin() => {
                let known = list.as_slice().iter().any(|bookmark| self.log.find(*bookmark).is_some());
                start.cursor -= usize::from(known);
            }
            // The last message of the log.
            StartAt::Now if range.includes_begin() => start.cursor = start.cursor.saturating_sub(1),
            _ => {}
        }
        let included = range.includes_end();
        start.until = Some(match range.end() {
            StartAt::Now => Until::Position(self.log.len().saturating_sub(usize::from(!included))),
            StartAt::Timestamp(time) => {
                Until::Time(parse_iso8601(time).ok_or("invalid bookmark")? + u64::from(included))
            }
            StartAt::Bookmarks(list) => Until::Messages { list: list.clone(), included },
            _ => return Err("invalid bookmark"),
        });
        Ok(start)
    }
}
