//! SOW topics: the last message of every key.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::delta::merge;
use crate::identity::fnv1a;

/// The record of one key.
#[derive(Debug, Clone)]
pub(crate) struct SowRecord {
    pub(crate) key: u64,
    pub(crate) correlation_id: Option<Box<str>>,
    /// When its last message was processed, in microseconds since the beginning
    /// of 1970.
    pub(crate) processed: u64,
    pub(crate) body: Bytes,
}

/// A topic with a SOW. Records are kept in key order.
#[derive(Debug)]
pub(crate) struct SowTopic {
    pub(crate) topic: String,
    /// The paths of its key, separated by commas.
    pub(crate) key: Arc<str>,
    records: BTreeMap<u64, SowRecord>,
}

impl SowTopic {
    pub(crate) fn new(topic: &str, key: &str) -> Self {
        Self { topic: topic.to_owned(), key: key.into(), records: BTreeMap::new() }
    }

    /// The SOW key of a body: a hash over topic and key values. `None` when the
    /// body is not JSON or lacks one of them.
    pub(crate) fn key_of(&self, body: &[u8]) -> Option<u64> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let mut parts = self.topic.clone();
        for path in self.key.split(',') {
            let value = body.pointer(path).filter(|value| !value.is_null())?;
            parts.push('\0');
            parts.push_str(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        Some(fnv1a(parts.as_bytes()))
    }

    /// Inserts or replaces a record; answers the one before.
    pub(crate) fn upsert(&mut self, record: SowRecord) -> Option<SowRecord> {
        self.records.insert(record.key, record)
    }

    /// A record with a delta merged into it, and its correlation id (AMPS User
    /// Guide, "Incremental Message Updates"). `None` without such a record.
    pub(crate) fn merged(&self, key: u64, delta: &[u8]) -> Option<(Bytes, Option<Box<str>>)> {
        let record = self.records.get(&key)?;
        let mut whole = serde_json::from_slice(&record.body).ok()?;
        merge(&mut whole, serde_json::from_slice(delta).ok()?);
        Some((serde_json::to_vec(&whole).ok()?.into(), record.correlation_id.clone()))
    }

    /// Deletes the records of these keys; answers them.
    pub(crate) fn delete(&mut self, keys: &[u64]) -> Vec<SowRecord> {
        keys.iter().filter_map(|key| self.records.remove(key)).collect()
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
                sow.upsert(SowRecord {
                    key,
                    correlation_id: None,
                    processed: 0,
                    body: Bytes::from_static(body.as_bytes()),
                });
            }
        }
        let bodies: Vec<_> = sow.select(None).into_iter().map(|record| record.body).collect();
        assert_eq!(bodies.len(), 2);
        assert!(bodies.contains(&Bytes::from_static(br#"{"site":{"id":1},"t":2}"#)));
    }

    #[test]
    fn a_key_may_have_several_parts() {
        let sow = SowTopic::new("w", "/a,/b/c");
        let key = |body: &str| sow.key_of(body.as_bytes());
        assert_eq!(key(r#"{"a":1,"b":{"c":"x"}}"#), key(r#"{"b":{"c":"x","d":2},"a":1}"#));
        assert_ne!(key(r#"{"a":1,"b":{"c":"x"}}"#), key(r#"{"a":1,"b":{"c":"y"}}"#));
        assert_eq!(key(r#"{"a":1}"#), None);
    }

    #[test]
    fn a_delta_replaces_what_it_has_and_removes_nothing() {
        let mut sow = SowTopic::new("w", "/id");
        let body = Bytes::from_static(br#"{"id":1,"a":{"x":1,"y":2},"l":[1,2]}"#);
        let key = sow.key_of(&body).unwrap();
        assert_eq!(sow.merged(key, b"{}"), None);
        sow.upsert(SowRecord { key, correlation_id: Some("c".into()), processed: 0, body });
        for (delta, whole) in [
            (r#"{"id":1,"a":{"y":9},"l":[3]}"#, r#"{"a":{"x":1,"y":9},"id":1,"l":[3]}"#),
            (r#"{"id":1,"l":null,"n":{"m":1}}"#, r#"{"a":{"x":1,"y":2},"id":1,"l":[1,2],"n":{"m":1}}"#),
            (r#"{"id":1,"a":7}"#, r#"{"a":7,"id":1,"l":[1,2]}"#),
        ] {
            let (merged, id) = sow.merged(key, delta.as_bytes()).unwrap();
            assert_eq!((std::str::from_utf8(&merged).unwrap(), id.as_deref()), (whole, Some("c")));
        }
        sow.delete(&[key, 0]);
        assert_eq!(sow.len(), 0);
    }
}
