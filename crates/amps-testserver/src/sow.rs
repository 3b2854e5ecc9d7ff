//! SOW topics: the last message of every key.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::identity::fnv1a;

/// The record of one key.
#[derive(Debug, Clone)]
pub(crate) struct SowRecord {
    pub(crate) key: u64,
    pub(crate) correlation_id: Option<Box<str>>,
    pub(crate) body: Bytes,
}

/// A topic with a SOW. Records are kept in key order.
#[derive(Debug)]
pub(crate) struct SowTopic {
    pub(crate) topic: String,
    key: String,
    records: BTreeMap<u64, SowRecord>,
}

impl SowTopic {
    pub(crate) fn new(topic: &str, key: &str) -> Self {
        Self { topic: topic.to_owned(), key: key.to_owned(), records: BTreeMap::new() }
    }

    /// The SOW key of a body: a hash over topic and key value. `None` when the
    /// body is not JSON or holds no such value.
    pub(crate) fn key_of(&self, body: &[u8]) -> Option<u64> {
        let value: serde_json::Value = serde_json::from_slice(body).ok()?;
        let value = value.pointer(&self.key).filter(|value| !value.is_null())?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(fnv1a(format!("{}\0{text}", self.topic).as_bytes()))
    }

    /// Inserts or replaces a record.
    pub(crate) fn upsert(&mut self, record: SowRecord) {
        self.records.insert(record.key, record);
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

    #[test]
    fn one_record_a_key_and_none_without_a_key() {
        let mut sow = SowTopic::new("w", "/site/id");
        for (body, keyed) in [
            (r#"{"site":{"id":1},"t":1}"#, true),
            (r#"{"site":{"id":2},"t":1}"#, true),
            (r#"{"site":{"id":1},"t":2}"#, true),
            (r#"{"site":{}}"#, false),
            ("no json", false),
        ] {
            let key = sow.key_of(body.as_bytes());
            assert_eq!(key.is_some(), keyed, "{body}");
            if let Some(key) = key {
                sow.upsert(SowRecord { key, correlation_id: None, body: Bytes::from_static(body.as_bytes()) });
            }
        }
        let bodies: Vec<_> = sow.select(None).into_iter().map(|record| record.body).collect();
        assert_eq!(bodies.len(), 2);
        assert!(bodies.contains(&Bytes::from_static(br#"{"site":{"id":1},"t":2}"#)));
    }
}
