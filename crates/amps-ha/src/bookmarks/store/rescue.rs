//! Looking at a store that may be damaged, and salvaging it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::record;
use super::{BookmarkStoreError, PublisherState};
use crate::kv::{Kv, MAX_KEY, SyncLevel};

/// A bookmark store's contents, as far as they are whole.
#[derive(Debug, Default)]
pub struct Examined {
    client: Option<String>,
    format: Option<String>,
    subscriptions: BTreeMap<String, BTreeMap<u64, PublisherState>>,
    whole: Vec<(Vec<u8>, Vec<u8>)>,
    problems: Vec<String>,
}

impl Examined {
    /// Reads the store on `kv`.
    ///
    /// # Errors
    /// When it cannot be read at all. Damage is no error.
    pub fn new(kv: &dyn Kv) -> Result<Self, BookmarkStoreError> {
        let mut examined = Self::default();
        kv.scan(b"b", &[0xff; MAX_KEY], &mut |key, value| {
            // What belongs to the engine below is none of ours.
            if matches!(key.first(), Some(b'b' | b'm' | b'p' | b'r' | b'x')) {
                examined.note(key, value);
            }
            ControlFlow::Continue(())
        })?;
        for (what, known) in [("client name", &examined.client), ("format", &examined.format)] {
            if known.is_none() {
                examined.problems.push(format!("its {what} is missing"));
            }
        }
        Ok(examined)
    }

    fn note(&mut self, key: &[u8], value: &[u8]) {
        let content = match record::unseal(key, value) {
            Ok(content) => content,
            Err(error) => return self.problems.push(error.to_string()),
        };
        let text = || String::from_utf8_lossy(content).into_owned();
        match key {
            record::CLIENT => self.client = Some(text()),
            record::FORMAT => self.format = Some(text()),
            _ => {
                let Some((name, numbers)) = record::split(key) else {
                    return self.problems.push(format!("the record '{}' is none of ours", key.escape_ascii()));
                };
                let publishers = self.subscriptions.entry(name.to_owned()).or_default();
                match (key[0], &*numbers) {
                    (b'p', &[publisher]) => {
                        if let Ok([floor, anchor]) = record::read_positions(key, content) {
                            let state = publishers.entry(publisher).or_default();
                            (state.floor, state.anchor) = (floor, anchor);
                        }
                    }
                    (b'r', &[publisher, first]) => {
                        if let Ok(last) = record::read_number(key, content) {
                            publishers.entry(publisher).or_default().ahead.push((first, last));
                        }
                    }
                    _ => {}
                }
            }
        }
        self.whole.push((key.to_vec(), value.to_vec()));
    }

    /// Whether these are bookmarks at all.
    pub fn is_bookmark_store(&self) -> bool {
        self.client.is_some() || self.format.is_some()
    }

    /// The client name.
    pub fn client(&self) -> Option<&str> {
        self.client.as_deref()
    }

    /// The format's version.
    pub fn format(&self) -> Option<&str> {
        self.format.as_deref()
    }

    /// By subscription and publisher, what is discarded.
    pub fn subscriptions(&self) -> &BTreeMap<String, BTreeMap<u64, PublisherState>> {
        &self.subscriptions
    }

    /// What contradicts a whole store, in words.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Writes a new store into `into` for `client`. The subscriptions go along
    /// only when `complete`, and nothing is wrong with any record: without one
    /// of its publishers a subscription would miss messages of it. Left out, it
    /// gets again what it had discarded, and misses nothing. Answers how many
    /// went along.
    ///
    /// # Errors
    /// When writing fails. What was written then is no store.
    pub fn salvage(&self, into: &mut dyn Kv, client: &str, complete: bool) -> Result<usize, BookmarkStoreError> {
        let complete = complete && self.problems.is_empty();
        if complete {
            for (key, value) in self.whole.iter().filter(|(key, _)| key[0] != b'm') {
                into.insert(key, value)?;
            }
        }
        // Without its format there is no store yet.
        for (key, text) in [(record::CLIENT, client), (record::FORMAT, record::FORMAT_VERSION)] {
            into.insert(key, &record::seal(key, text.as_bytes()))?;
        }
        into.sync(SyncLevel::Power)?;
        Ok(if complete { self.subscriptions.len() } else { 0 })
    }
}
