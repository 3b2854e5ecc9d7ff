use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use amps_core::{Message, planted};

use super::change::{Change, Removal};
use crate::subscriptions::Item;
use crate::user_code::UserError;

/// Records by their keys, in order of keys.
pub type Records<K, V> = Arc<BTreeMap<K, Arc<V>>>;

/// By topic and SOW key.
type ByTopic<T> = HashMap<Box<str>, HashMap<Box<str>, T>>;

/// What happens to a view.
#[derive(Debug)]
pub enum Step<'a, K, V> {
    /// All records follow.
    Begin,
    /// A record as it is now: its key and value, or why there are none.
    Record {
        /// Its topic.
        topic: Cow<'a, str>,
        /// Its SOW key.
        sow_key: Option<Cow<'a, str>>,
        /// Its key in the view, and its value.
        value: Result<(K, V), UserError>,
    },
    /// A record is none of them any more.
    Gone {
        /// Its topic.
        topic: Cow<'a, str>,
        /// Its SOW key.
        sow_key: Cow<'a, str>,
        /// Why.
        why: Removal,
    },
    /// All records have come.
    End,
    /// Another connection: what happened in between was not told.
    Reconnected,
}

impl<'a, K, V> Step<'a, K, V> {
    /// What an item of the subscription does to a view, if anything. `read`
    /// makes key and value of a message; it is not asked about records that are
    /// gone.
    pub fn of(item: &'a Item, read: impl FnOnce(&Message) -> Result<(K, V), UserError>) -> Option<Self> {
        match item {
            Item::SnapshotBegin => Some(Self::Begin),
            Item::SnapshotEnd => Some(Self::End),
            Item::Reconnected { .. } => Some(Self::Reconnected),
            Item::Message(message) => {
                let (topic, sow_key) = (message.topic().unwrap_or_default(), message.sow_key());
                match (Removal::told_by(message), sow_key) {
                    (None, sow_key) => Some(Self::Record { topic, sow_key, value: read(message) }),
                    (Some(why), Some(sow_key)) => Some(Self::Gone { topic, sow_key, why }),
                    (Some(_), None) => None,
                }
            }
            _ => None,
        }
    }
}

/// The records of a SOW topic, as far as a subscription has told them.
///
/// A server knows a record by its topic and SOW key, a view shows it under a key
/// of the application's. Of several records with one such key the newest is
/// shown; the others are [hidden](Self::hidden) until it leaves.
#[derive(Debug)]
pub struct View<K, V> {
    shown: Records<K, V>,
    held: ByTopic<Held<K, V>>,
    /// Counts what was applied.
    clock: u64,
    /// While the records come: the clock at their beginning.
    begun: Option<u64>,
    is_level: bool,
    hidden: usize,
    unreadable: usize,
}

/// A record that the server has.
#[derive(Debug)]
struct Held<K, V> {
    /// As it is shown, or would be if no newer one had its key. `None` when it
    /// cannot be read.
    value: Option<(K, Arc<V>)>,
    /// The clock when it was last told.
    told: u64,
}

impl<K, V> Default for View<K, V> {
    fn default() -> Self {
        Self {
            shown: Arc::default(),
            held: HashMap::new(),
            clock: 0,
            begun: None,
            is_level: false,
            hidden: 0,
            unreadable: 0,
        }
    }
}

impl<K: Ord + Clone, V: PartialEq> View<K, V> {
    /// Without records, and not level.
    pub fn new() -> Self {
        Self::default()
    }

    /// The records. A clone stays as it is; while there is one, the next change
    /// has to copy the map, though not the values.
    pub fn records(&self) -> &Records<K, V> {
        &self.shown
    }

    /// Whether these are the server's records up to some moment: all of them came
    /// on the present connection, and every change since was told.
    pub fn is_level(&self) -> bool {
        self.is_level
    }

    /// Records that are not shown, since a newer one has their key.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Records that are not shown, since they cannot be read.
    pub fn unreadable(&self) -> usize {
        self.unreadable
    }

    /// Does what a step says, and adds what that changed to `changes`.
    pub fn apply(&mut self, step: Step<'_, K, V>, changes: &mut Vec<Change<K, V>>) {
        match step {
            Step::Begin => (self.begun, self.is_level) = (Some(self.clock), false),
            Step::End => {
                if let Some(begun) = self.begun.take() {
                    self.sweep(begun, changes);
                    self.is_level = true;
                }
            }
            // What came of the records is newer than what was there; what did not
            // come may be there all the same.
            Step::Reconnected => (self.begun, self.is_level) = (None, false),
            Step::Gone { topic, sow_key, why } => {
                let held = self.held.get_mut(&*topic).and_then(|records| records.remove(&*sow_key));
                self.let_go(held, why, changes);
            }
            Step::Record { topic, sow_key: None, value } => {
                let error = value.err().unwrap_or_else(|| UserError::new("the message has no SOW key"));
                changes.push(Change::Unreadable { topic: topic.into_owned(), sow_key: None, error });
            }
            Step::Record { topic, sow_key: Some(sow_key), value: Ok((key, value)) } => {
                let value = Arc::new(value);
                let before = self.hold(&topic, &sow_key, Some((key.clone(), Arc::clone(&value))));
                match before {
                    Some((old, was)) if old == key => self.change(&topic, &sow_key, key, was, value, changes),
                    before => {
                        self.leave(before, Removal::Moved, changes);
                        self.arrive(key, value, changes);
                    }
                }
            }
            Step::Record { topic, sow_key: Some(sow_key), value: Err(error) } => {
                let before = self.hold(&topic, &sow_key, None);
                self.leave(before, Removal::Unreadable, changes);
                let (topic, sow_key) = (topic.into_owned(), Some(sow_key.into_owned()));
                changes.push(Change::Unreadable { topic, sow_key, error });
            }
        }
    }

    /// Notes what a record is, and answers what it was.
    fn hold(&mut self, topic: &str, sow_key: &str, value: Option<(K, Arc<V>)>) -> Option<(K, Arc<V>)> {
        self.clock += 1;
        self.unreadable += usize::from(value.is_none());
        let held = Held { value, told: self.clock };
        if !self.held.contains_key(topic) {
            self.held.insert(topic.into(), HashMap::new());
        }
        let before = match self.held.get_mut(topic) {
            Some(records) => match records.get_mut(sow_key) {
                Some(before) => Some(std::mem::replace(before, held)),
                None => records.insert(sow_key.into(), held),
            },
            None => None,
        };
        self.unreadable -= usize::from(before.as_ref().is_some_and(|before| before.value.is_none()));
        before.and_then(|before| before.value)
    }

    /// A record has the key it had.
    fn change(
        &mut self,
        topic: &str,
        sow_key: &str,
        key: K,
        was: Arc<V>,
        new: Arc<V>,
        changes: &mut Vec<Change<K, V>>,
    ) {
        let is_shown = self.shown.get(&key).is_some_and(|shown| Arc::ptr_eq(shown, &was));
        if is_shown && was == new {
            // The same value stays the same.
            let held = self.held.get_mut(topic).and_then(|records| records.get_mut(sow_key));
            if let Some(Held { value: Some((_, value)), .. }) = held {
                *value = was;
            }
            return;
        }
        // Was it hidden, it now hides the other.
        let old = Arc::make_mut(&mut self.shown).insert(key.clone(), Arc::clone(&new));
        if let Some(old) = old.filter(|old| *old != new && !planted::is("view-change-untold")) {
            changes.push(Change::Updated { key, old, new });
        }
    }

    /// A record has a key that it did not have.
    fn arrive(&mut self, key: K, new: Arc<V>, changes: &mut Vec<Change<K, V>>) {
        match Arc::make_mut(&mut self.shown).insert(key.clone(), Arc::clone(&new)) {
            None => changes.push(Change::Inserted { key, new }),
            Some(old) => {
                self.hidden += 1;
                if old != new {
                    changes.push(Change::Updated { key, old, new });
                }
            }
        }
    }

    /// A record does not have the key any more that it had. It is no longer
    /// among those that are held under it.
    fn leave(&mut self, before: Option<(K, Arc<V>)>, why: Removal, changes: &mut Vec<Change<K, V>>) {
        let Some((key, old)) = before else { return };
        if !self.shown.get(&key).is_some_and(|shown| Arc::ptr_eq(shown, &old)) {
            self.hidden -= 1;
            return;
        }
        let shown = Arc::make_mut(&mut self.shown);
        // Looked for only where the application gave two records one key.
        let next = if self.hidden > 0 { newest(&self.held, &key) } else { None };
        match next {
            Some(new) => {
                self.hidden -= 1;
                shown.insert(key.clone(), Arc::clone(&new));
                if old != new {
                    changes.push(Change::Updated { key, old, new });
                }
            }
            None => {
                shown.remove(&key);
                changes.push(Change::Removed { key, old, why });
            }
        }
    }

    /// A record that is held no more.
    fn let_go(&mut self, held: Option<Held<K, V>>, why: Removal, changes: &mut Vec<Change<K, V>>) {
        let Some(held) = held else { return };
        self.unreadable -= usize::from(held.value.is_none());
        self.leave(held.value, why, changes);
    }

    /// All records have come: what was not among them is gone.
    fn sweep(&mut self, begun: u64, changes: &mut Vec<Change<K, V>>) {
        if planted::is("view-not-swept") {
            return;
        }
        let records = self.held.values_mut();
        let absent = records.flat_map(|records| records.extract_if(|_, held| held.told <= begun));
        let mut absent: Vec<_> = absent.map(|(_, held)| held).collect();
        absent.sort_by(|one, other| {
            one.value.as_ref().map(|(key, _)| key).cmp(&other.value.as_ref().map(|(key, _)| key))
        });
        for held in absent {
            self.let_go(Some(held), Removal::Absent, changes);
        }
    }
}

/// The newest record with this key.
fn newest<K: Ord, V>(held: &ByTopic<Held<K, V>>, key: &K) -> Option<Arc<V>> {
    let all = held.values().flat_map(HashMap::values);
    let same = all.filter_map(|held| held.value.as_ref().filter(|(own, _)| own == key).map(|(_, value)| (held, value)));
    same.max_by_key(|(held, _)| held.told).map(|(_, value)| Arc::clone(value))
}
