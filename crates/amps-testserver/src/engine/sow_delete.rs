//! `sow_delete` (AMPS Command Reference): logged and replicated like a publish,
//! with the keys of the records it deletes.

use std::collections::BTreeSet;

use amps_core::{Field, Message};

use super::connection::Connection;
use super::options::Options;
use super::publish::Outcome;
use super::{ConnId, Engine};
use crate::faults::{Access, Right};
use crate::filter::{Filter, Subject};
use crate::log::Entry;
use crate::topic::TopicPattern;

/// What a deletion answers in its stats.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Deleted {
    /// Records in the topics it named.
    pub(super) compared: u64,
    /// Records deleted.
    pub(super) deleted: u64,
}

impl Engine {
    /// Deletes records. What every write is checked for is checked already.
    pub(super) fn sow_delete(
        &mut self,
        id: ConnId,
        message: &Message,
        topic: &str,
        sequence: Option<u64>,
        deleted: &mut Deleted,
    ) -> Outcome {
        let Some(options) = Options::parse(message) else { return Outcome::Failed("invalid options".into()) };
        let Some(pattern) = TopicPattern::parse(topic, options.literal) else {
            return Outcome::Failed("bad regex topic".into());
        };
        if !matches!(pattern, TopicPattern::Regex(_)) && !self.sees(id, topic) {
            return Outcome::Failed("invalid topic".into());
        }
        if !matches!(pattern, TopicPattern::Regex(_)) && !self.may(id, Access::Write, topic) {
            return Outcome::Failed("not entitled".into());
        }
        let mut searched: Vec<usize> = (0..self.sow.len()).filter(|at| pattern.matches(&self.sow[*at].topic)).collect();
        if searched.is_empty() {
            return Outcome::Failed("invalid topic".into());
        }
        // Of a pattern each topic is checked by itself.
        searched.retain(|at| self.right(id, Access::Write, &self.sow[*at].topic, &pattern) != Right::None);
        if searched.is_empty() {
            return Outcome::Failed("not entitled".into());
        }
        let keys = match self.keys_to_delete(message, &searched) {
            Ok(keys) => keys,
            Err(reason) => return Outcome::Failed(reason.into()),
        };
        let keys = self.deletable(id, &searched, &keys);
        deleted.compared = searched.iter().map(|at| self.sow[*at].len() as u64).sum();
        deleted.deleted = keys.len() as u64;
        let logged = searched.iter().any(|at| self.is_logged(&self.sow[*at].topic));
        let Some(client) = self.connections.get(&id).and_then(Connection::client) else {
            return Outcome::Failed("not logged on".into());
        };
        let entry = Entry {
            publisher: client.publisher,
            topic: self.topic(topic),
            sequence: sequence.unwrap_or(0),
            direct: true,
            origin: None,
            processed: self.processed_now(),
            sow_key: None,
            given_key: None,
            expiration: None,
            deletes: Some(keys.into_iter().collect()),
            correlation_id: None,
            body: message.data_bytes(),
        };
        self.take(id, entry, logged)
    }

    /// Those of the keys that records of these topics have, and whose records
    /// the user may write: what counts is the stored message (AMPS User Guide,
    /// "Entitlement").
    fn deletable(&self, id: ConnId, searched: &[usize], keys: &[u64]) -> BTreeSet<u64> {
        let mut deletable = BTreeSet::new();
        for sow in searched.iter().map(|at| &self.sow[*at]) {
            let content = self.content(id, Access::Write, &sow.topic);
            for record in sow.select(Some(keys)) {
                let subject = Subject::record(&self.about, &sow.topic, &record);
                if content.as_ref().is_none_or(|filter| filter.accepts(&subject)) {
                    deletable.insert(record.key);
                }
            }
        }
        deletable
    }

    /// The keys of the records of a SOW that are so.
    fn keys_where(&self, at: usize, wanted: impl Fn(&Subject<'_>) -> bool) -> BTreeSet<u64> {
        let sow = &self.sow[at];
        let records = sow.select(None).into_iter();
        records
            .filter(|record| wanted(&Subject::record(&self.about, &sow.topic, record)))
            .map(|record| record.key)
            .collect()
    }

    /// The keys that a deletion names, by exactly one of its ways.
    fn keys_to_delete(&self, message: &Message, searched: &[usize]) -> Result<Vec<u64>, &'static str> {
        let given = |field| message.text(field).filter(|text| !text.is_empty());
        let body = message.data();
        match (given(Field::Filter), given(Field::SowKeys), !body.is_empty(), given(Field::Bookmark)) {
            (None, Some(keys), false, None) => {
                let named =
                    |key: &str| searched.iter().filter_map(|at| self.sow[*at].key_named(key)).collect::<Vec<_>>();
                let keys: Vec<_> = keys.split(',').map(|key| named(key.trim())).collect();
                if keys.iter().any(Vec::is_empty) { Err("bad sow key") } else { Ok(keys.concat()) }
            }
            (None, None, true, None) => {
                // No key is in the data where publishers give it.
                let keys: Vec<u64> = searched.iter().filter_map(|at| self.sow[*at].key_of(None, body)).collect();
                if keys.is_empty() { Err("bad sow key") } else { Ok(keys) }
            }
            (Some(filter), None, false, None) => {
                let filter = Filter::read(&filter, self.config.readings).map_err(|_| "bad filter")?;
                Ok(searched.iter().flat_map(|at| self.keys_where(*at, |record| filter.accepts(record))).collect())
            }
            (None, None, false, Some(_)) => Err("only messages of queues have bookmarks to delete by"),
            _ => Err("a sow_delete needs one of filter, sow_keys and data"),
        }
    }
}
