//! SOW topics: the last message of every key.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::fields::{Fields, Values};
use crate::identity::fnv1a;
use crate::log::Entry;
use crate::message_type::MessageType;
use crate::sow_config::SowConfig;

/// The record of one key.
#[derive(Debug, Clone)]
pub(crate) struct SowRecord {
    /// The key as a number: of a key in the message it is the key, of one that
    /// the publisher gave a hash.
    pub(crate) key: u64,
    pub(crate) given_key: Option<Arc<str>>,
    /// The client that published its last message; empty where nobody did.
    pub(crate) client: Arc<str>,
    pub(crate) correlation_id: Option<Box<str>>,
    /// When its last message was processed, in microseconds since the beginning
    /// of 1970.
    pub(crate) processed: u64,
    /// Which of the topic's updates that was: of the same time the later one has
    /// the higher number.
    pub(crate) number: u64,
    /// When it expires, in microseconds likewise.
    pub(crate) expires: Option<u64>,
    pub(crate) body: Bytes,
}

impl SowRecord {
    /// The key as clients know it.
    pub(crate) fn key_text(&self) -> Cow<'_, str> {
        key_text(self.key, self.given_key.as_deref())
    }
}

/// A key as clients know it.
pub(crate) fn key_text(key: u64, given: Option<&str>) -> Cow<'_, str> {
    given.map_or_else(|| Cow::Owned(key.to_string()), Cow::Borrowed)
}

/// A topic with a SOW. Records are kept in key order.
#[derive(Debug, Clone)]
pub(crate) struct SowTopic {
    pub(crate) topic: String,
    /// The paths of its key, separated by commas; empty where publishers give it.
    pub(crate) key: Arc<str>,
    pub(crate) config: SowConfig,
    message_type: MessageType,
    records: BTreeMap<u64, SowRecord>,
    /// When records expire, with their keys.
    ends: BTreeSet<(u64, u64)>,
    /// Messages that were kept so far.
    updates: u64,
}

impl SowTopic {
    pub(crate) fn new(config: &SowConfig, message_type: &MessageType) -> Self {
        Self {
            topic: config.topic.clone(),
            key: config.key.as_deref().unwrap_or_default().into(),
            config: config.clone(),
            message_type: message_type.clone(),
            records: BTreeMap::new(),
            ends: BTreeSet::new(),
            updates: 0,
        }
    }

    /// The same topic without a record.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(&self.config, &self.message_type)
    }

    /// The SOW key of a message: a hash over topic and key values, or over topic
    /// and the key it was given. `None` when the body is not of its type or lacks a
    /// value, and when there is no proper key.
    pub(crate) fn key_of(&self, given: Option<&str>, body: &[u8]) -> Option<u64> {
        if self.config.key.is_none() {
            return self.key_named(given?);
        }
        let values = Values::read(&self.message_type, body)?;
        let mut parts = self.topic.clone();
        for path in self.key.split(',') {
            parts.push('\0');
            parts.push_str(&values.text(path)?);
        }
        Some(fnv1a(parts.as_bytes()))
    }

    /// The key that clients know by this text: digits, or where publishers give
    /// the keys the characters of base64.
    pub(crate) fn key_named(&self, text: &str) -> Option<u64> {
        if self.config.key.is_some() {
            return text.parse().ok();
        }
        let proper = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte);
        let is_key = !text.is_empty() && text.bytes().all(proper);
        is_key.then(|| fnv1a(format!("{}\0{text}", self.topic).as_bytes()))
    }

    /// Keeps a client's message as the record of its key; answers the one before.
    pub(crate) fn keep(&mut self, key: u64, entry: &Entry, client: Arc<str>) -> Option<SowRecord> {
        self.updates += 1;
        self.upsert(SowRecord {
            key,
            number: self.updates,
            given_key: entry.given_key.clone(),
            client,
            correlation_id: entry.correlation_id.clone(),
            processed: entry.processed,
            expires: self.expires(entry),
            body: entry.body.clone(),
        })
    }

    /// When a message's record expires: as the message says, or the topic.
    fn expires(&self, entry: &Entry) -> Option<u64> {
        let lifetime = self.config.expiration?;
        let micros = entry.expiration.map_or(lifetime.as_micros() as u64, |seconds| seconds.saturating_mul(1_000_000));
        (micros > 0).then(|| entry.processed.saturating_add(micros))
    }

    fn upsert(&mut self, record: SowRecord) -> Option<SowRecord> {
        let (key, expires) = (record.key, record.expires);
        let before = self.records.insert(key, record);
        self.forget_end(before.as_ref());
        self.ends.extend(expires.map(|at| (at, key)));
        before
    }

    fn forget_end(&mut self, record: Option<&SowRecord>) {
        if let Some((at, key)) = record.and_then(|record| Some((record.expires?, record.key))) {
            self.ends.remove(&(at, key));
        }
    }

    /// When the next record expires.
    pub(crate) fn next_end(&self) -> Option<u64> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// Takes out the records that expired by then.
    pub(crate) fn expire(&mut self, now: u64) -> Vec<SowRecord> {
        let mut expired = Vec::new();
        while let Some((_, key)) = self.ends.first().copied().filter(|(at, _)| *at <= now) {
            self.ends.pop_first();
            expired.extend(self.records.remove(&key));
        }
        expired
    }

    /// A record with a delta merged into it, and its correlation id (AMPS User
    /// Guide, "Incremental Message Updates"). `None` without such a record.
    pub(crate) fn merged(&self, key: u64, delta: &[u8]) -> Option<(Bytes, Option<Box<str>>)> {
        let record = self.records.get(&key)?;
        let mut whole = Fields::read(&self.message_type, &record.body)?;
        whole.merge(Fields::read(&self.message_type, delta)?);
        Some((whole.write(), record.correlation_id.clone()))
    }

    /// Deletes the records of these keys; answers them.
    pub(crate) fn delete(&mut self, keys: &[u64]) -> Vec<SowRecord> {
        let deleted: Vec<_> = keys.iter().filter_map(|key| self.records.remove(key)).collect();
        deleted.iter().for_each(|record| self.forget_end(Some(record)));
        deleted
    }

    /// The records, all or those of `keys`.
    pub(crate) fn select(&self, keys: Option<&[u64]>) -> Vec<SowRecord> {
        match keys {
            None => self.records.values().cloned().collect(),
            Some(keys) => keys.iter().filter_map(|key| self.records.get(key)).cloned().collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(key: &str) -> SowTopic {
        SowTopic::new(&SowConfig::new("w", key), &MessageType::Json)
    }

    fn record(key: u64, body: &'static str) -> SowRecord {
        let body = Bytes::from_static(body.as_bytes());
        let correlation_id = Some("c".into());
        let (given_key, client, expires) = (None, "".into(), None);
        SowRecord { key, given_key, client, correlation_id, processed: 0, number: 0, expires, body }
    }

    #[test]
    fn keys_that_are_given_are_text_and_need_no_body() {
        let sow = SowTopic::new(&SowConfig::with_given_keys("w"), &MessageType::Json);
        assert_eq!(sow.key_of(Some("a+/="), b"no json"), sow.key_named("a+/="));
        assert_ne!(sow.key_named("a"), sow.key_named("b"));
        for none in [None, Some(""), Some("a b"), Some("a,b")] {
            assert_eq!(sow.key_of(none, b"{}"), None, "{none:?}");
        }
    }

    #[test]
    fn a_record_expires_once_and_not_when_it_was_replaced() {
        let mut sow = topic("/id");
        let ends = |expires, key| SowRecord { expires, ..record(key, "{}") };
        for (expires, key) in [(Some(5), 1), (Some(7), 2), (Some(6), 1), (None, 3), (Some(9), 4), (None, 4)] {
            sow.upsert(ends(expires, key));
        }
        assert_eq!(sow.next_end(), Some(6));
        let expired =
            |sow: &mut SowTopic, now| sow.expire(now).into_iter().map(|record| record.key).collect::<Vec<_>>();
        assert!(expired(&mut sow, 5).is_empty());
        assert_eq!(expired(&mut sow, 7), [1, 2]);
        assert_eq!((sow.next_end(), sow.len()), (None, 2));
    }

    #[test]
    fn one_record_a_key_and_none_without_a_key() {
        let mut sow = topic("/site/id");
        for (body, keyed) in [
            (r#"{"site":{"id":1},"t":1}"#, true),
            (r#"{"site":{"id":2},"t":1}"#, true),
            (r#"{"site":{"id":1},"t":2}"#, true),
            (r#"{"site":{}}"#, false),
            ("no json", false),
        ] {
            let key = sow.key_of(None, body.as_bytes());
            assert_eq!(key.is_some(), keyed, "{body}");
            if let Some(key) = key {
                sow.upsert(record(key, body));
            }
        }
        let bodies: Vec<_> = sow.select(None).into_iter().map(|record| record.body).collect();
        assert_eq!(bodies.len(), 2);
        assert!(bodies.contains(&Bytes::from_static(br#"{"site":{"id":1},"t":2}"#)));
    }

    #[test]
    fn a_key_may_have_several_parts() {
        let sow = topic("/a,/b/c");
        let key = |body: &str| sow.key_of(None, body.as_bytes());
        assert_eq!(key(r#"{"a":1,"b":{"c":"x"}}"#), key(r#"{"b":{"c":"x","d":2},"a":1}"#));
        assert_ne!(key(r#"{"a":1,"b":{"c":"x"}}"#), key(r#"{"a":1,"b":{"c":"y"}}"#));
        assert_eq!(key(r#"{"a":1}"#), None);
    }

    #[test]
    fn a_delta_replaces_what_it_has_and_removes_nothing() {
        let mut sow = topic("/id");
        let body = r#"{"id":1,"a":{"x":1,"y":2},"l":[1,2]}"#;
        let key = sow.key_of(None, body.as_bytes()).unwrap();
        assert_eq!(sow.merged(key, b"{}"), None);
        sow.upsert(record(key, body));
        for (delta, whole) in [
            (r#"{"id":1,"a":{"y":9},"l":[3]}"#, r#"{"a":{"x":1,"y":9},"id":1,"l":[3]}"#),
            (r#"{"id":1,"l":null,"n":{"m":1,"o":null}}"#, r#"{"a":{"x":1,"y":2},"id":1,"l":[1,2],"n":{"m":1}}"#),
            (r#"{"id":1,"a":7}"#, r#"{"a":7,"id":1,"l":[1,2]}"#),
        ] {
            let (merged, id) = sow.merged(key, delta.as_bytes()).unwrap();
            assert_eq!((std::str::from_utf8(&merged).unwrap(), id.as_deref()), (whole, Some("c")));
        }
        sow.delete(&[key, 0]);
        assert_eq!(sow.len(), 0);
    }
}
