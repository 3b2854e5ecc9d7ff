//! Queries of what the records of a topic were (AMPS User Guide, "Historical
//! SOW Queries"). The transaction log is all the history there is.

use std::borrow::Cow;
use std::sync::Arc;

use amps_core::message::MessageKind;
use amps_core::{Message, StartAt};

use super::Engine;
use super::subscribe::{bookmark, is_now};
use crate::sow::SowTopic;
use crate::sow_config::History;
use crate::timestamp::{parse_fractional, parse_iso8601};
use crate::topic::TopicPattern;

/// The state a query asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Then {
    /// The log's length then.
    pub(super) position: usize,
    /// How long ago that was, in microseconds; `None` for now.
    age: Option<u64>,
}

impl Engine {
    /// The state that a query with a bookmark is about; `None` without one.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn then(&self, message: &Message, pattern: &TopicPattern) -> Result<Option<Then>, &'static str> {
        let Some(text) = bookmark(message) else { return Ok(None) };
        let query = message.kind() == MessageKind::Sow;
        if let (false, TopicPattern::Literal(name)) = (query, pattern)
            && !self.is_logged(name)
        {
            // Nothing of it is replayed behind the records.
            return Err("invalid topic");
        }
        let now = Then { position: self.log.len(), age: None };
        if is_now(&text) {
            return Ok(Some(now));
        }
        let searched = self.sow.iter().filter(|sow| pattern.matches(&sow.topic));
        let histories: Vec<_> = searched.map(|sow| sow.config.history).collect();
        let Some(history) = histories.iter().flatten().max_by_key(|history| history.granularity) else {
            // There is only the present: to a query it is all the same, a
            // subscription cannot go on from there.
            return if query { Ok(None) } else { Err("invalid bookmark") };
        };
        Ok(Some(match self.point(&text)? {
            StartAt::Epoch => self.at_time(0, history),
            StartAt::Timestamp(time) => {
                let time = parse_fractional(&time).or_else(|| parse_iso8601(&time));
                self.at_time(time.ok_or("invalid bookmark")?, history)
            }
            StartAt::Bookmarks(list) => {
                // One it does not know is taken for one that comes later.
                match list.as_slice().iter().filter_map(|bookmark| self.log.find(*bookmark)).min() {
                    Some(at) if history.granularity.is_zero() => {
                        let age = self.processed_now() - self.log.entry(at).processed;
                        Then { position: at + 1, age: Some(age) }
                    }
                    Some(at) => self.at_time(self.log.entry(at).processed, history),
                    None => now,
                }
            }
            _ => return Err("invalid bookmark"),
        }))
    }

    /// The last state that was kept before a time.
    fn at_time(&self, micros: u64, history: &History) -> Then {
        let granularity = history.granularity.as_micros() as u64;
        let kept = micros.checked_rem(granularity).map_or(micros, |rest| micros - rest);
        Then { position: self.log.processed_by(kept), age: Some(self.processed_now().saturating_sub(kept)) }
    }

    /// The records of then, of topics that have a history; of others those of
    /// now.
    pub(super) fn state_at(&self, then: Option<Then>) -> Cow<'_, [SowTopic]> {
        let Some((age, position)) = then.and_then(|then| Some((then.age?, then.position))) else {
            return Cow::Borrowed(&self.sow);
        };
        let had = |sow: &SowTopic| sow.config.history.is_some();
        let mut state: Vec<_> = self.sow.iter().map(|sow| if had(sow) { sow.emptied() } else { sow.clone() }).collect();
        for entry in self.log.entries().iter().take(position) {
            match (&entry.deletes, self.topics.get(entry.topic).sow, entry.sow_key) {
                (Some(keys), ..) => state.iter_mut().filter(|sow| had(sow)).for_each(|sow| drop(sow.delete(keys))),
                (None, Some(sow), Some(key)) if had(&state[sow]) => {
                    let client = Arc::clone(&self.log.publisher(entry.publisher).name);
                    state[sow].keep(key, entry, client);
                }
                _ => {}
            }
        }
        for sow in state.iter_mut().filter(|sow| had(sow)) {
            let within = |history: History| u128::from(age) <= history.window.as_micros();
            if !sow.config.history.is_some_and(within) {
                *sow = sow.emptied();
            }
        }
        Cow::Owned(state)
    }
}
