//! A view against a naive model, and a server whose records change while its
//! client is away.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::*;
use crate::user_code::UserError;

pub(super) const TOPICS: usize = 2;
pub(super) const SOW_KEYS: usize = 4;

/// A record as a server knows it: topic and SOW key.
pub(super) type Id = (usize, usize);

#[derive(Debug, Clone)]
pub(super) enum Op {
    /// A record is written: its key in the view and its value, or what cannot be
    /// read.
    Write(Id, Option<(u8, u8)>),
    /// A record is deleted.
    Delete(Id),
    /// The view is given so many of the steps that wait.
    Read(usize),
    /// The connection is lost; so many of the steps on their way still come.
    Lose(usize),
    /// There is one again.
    Connect,
}

/// What a record is, and when that was told.
type Told = (u64, Option<(u8, u8)>);

/// What a view should be, made anew each time from all it was told.
#[derive(Default)]
struct Model {
    told: BTreeMap<Id, Told>,
    clock: u64,
    begun: Option<u64>,
    is_level: bool,
}

impl Model {
    fn apply(&mut self, step: &Sent) {
        self.clock += 1;
        match step {
            Sent::Begin => (self.begun, self.is_level) = (Some(self.clock), false),
            Sent::Reconnected => (self.begun, self.is_level) = (None, false),
            Sent::Record(id, value) => drop(self.told.insert(*id, (self.clock, *value))),
            Sent::Gone(id) => drop(self.told.remove(id)),
            Sent::End => {
                let begun = self.begun.take().unwrap();
                self.told.retain(|_, (at, _)| *at > begun);
                self.is_level = true;
            }
        }
    }

    /// Of each key the newest.
    fn shown(&self) -> BTreeMap<u8, u8> {
        let mut all: Vec<_> = self.told.values().collect();
        all.sort();
        all.iter().filter_map(|(_, value)| *value).collect()
    }
}

#[derive(Debug, Clone)]
enum Sent {
    Begin,
    Record(Id, Option<(u8, u8)>),
    Gone(Id),
    End,
    Reconnected,
}

impl Sent {
    fn step(&self) -> Step<'static, u8, u8> {
        let topic = |id: &Id| format!("topic {}", id.0).into();
        let sow_key = |id: &Id| format!("{}", id.1).into();
        match self {
            Self::Begin => Step::Begin,
            Self::End => Step::End,
            Self::Reconnected => Step::Reconnected,
            Self::Gone(id) => Step::Gone { topic: topic(id), sow_key: sow_key(id), why: Removal::Deleted },
            Self::Record(id, value) => Step::Record {
                topic: topic(id),
                sow_key: Some(sow_key(id)),
                value: value.ok_or_else(|| UserError::new("no value")),
            },
        }
    }
}

#[derive(Default)]
struct World {
    records: BTreeMap<Id, Option<(u8, u8)>>,
    /// What waits to be read.
    sent: VecDeque<Sent>,
    connected: bool,
    was_connected: bool,
    view: View<u8, u8>,
    model: Model,
    /// Made of nothing but changes.
    followed: BTreeMap<u8, u8>,
}

impl World {
    fn connect(&mut self) {
        if std::mem::replace(&mut self.connected, true) {
            return;
        }
        if std::mem::replace(&mut self.was_connected, true) {
            self.sent.push_back(Sent::Reconnected);
        }
        let records = self.records.iter().map(|(id, value)| Sent::Record(*id, *value));
        self.sent.extend([Sent::Begin].into_iter().chain(records).chain([Sent::End]));
    }

    fn tell(&mut self, sent: Sent) {
        if self.connected {
            self.sent.push_back(sent);
        }
    }

    fn op(&mut self, op: Op) {
        match op {
            Op::Write(id, value) => {
                self.records.insert(id, value);
                self.tell(Sent::Record(id, value));
            }
            Op::Delete(id) => {
                if self.records.remove(&id).is_some() {
                    self.tell(Sent::Gone(id));
                }
            }
            Op::Read(count) => (0..count).for_each(|_| self.read()),
            Op::Lose(count) => {
                if std::mem::take(&mut self.connected) {
                    self.sent.truncate(count);
                }
            }
            Op::Connect => self.connect(),
        }
    }

    fn read(&mut self) {
        let Some(sent) = self.sent.pop_front() else { return };
        let kept = Arc::clone(self.view.records());
        let before: BTreeMap<_, _> = kept.iter().map(|(key, value)| (*key, **value)).collect();
        let mut changes = Vec::new();
        self.view.apply(sent.step(), &mut changes);
        self.model.apply(&sent);
        for change in &changes {
            self.follow(change, &sent);
        }
        let after = |view: &View<u8, u8>| view.records().iter().map(|(key, value)| (*key, **value)).collect();
        let shown: BTreeMap<_, _> = after(&self.view);
        assert_eq!(shown, self.model.shown(), "{sent:?}: {changes:?}");
        assert_eq!(shown, self.followed, "{sent:?}: {changes:?}");
        assert_eq!(self.view.is_level(), self.model.is_level);
        let unreadable = self.model.told.values().filter(|(_, value)| value.is_none()).count();
        assert_eq!(self.view.unreadable(), unreadable);
        assert_eq!(self.view.hidden(), self.model.told.len() - unreadable - shown.len());
        let kept: BTreeMap<_, _> = kept.iter().map(|(key, value)| (*key, **value)).collect();
        assert_eq!(kept, before, "a clone of the records stays as it is");
    }

    /// Each change says what was there, and is one.
    fn follow(&mut self, change: &Change<u8, u8>, sent: &Sent) {
        match change {
            Change::Inserted { key, new } => assert_eq!(self.followed.insert(*key, **new), None),
            Change::Updated { key, old, new } => {
                assert_ne!(old, new);
                assert_eq!(self.followed.insert(*key, **new), Some(**old));
            }
            Change::Removed { key, old, why } => {
                assert_eq!(self.followed.remove(key), Some(**old));
                let expected = match sent {
                    Sent::End => Removal::Absent,
                    Sent::Gone(_) => Removal::Deleted,
                    Sent::Record(_, Some(_)) => Removal::Moved,
                    _ => Removal::Unreadable,
                };
                assert_eq!(*why, expected);
            }
            Change::Unreadable { sow_key, .. } => {
                assert!(matches!(sent, Sent::Record((_, id), None) if Some(id.to_string()) == *sow_key));
            }
        }
    }
}

/// The view is what the model says after each step, and in the end what the
/// server has.
pub(super) fn run(ops: impl IntoIterator<Item = Op>) {
    let mut world = World::default();
    for op in ops {
        world.op(op);
    }
    world.op(Op::Connect);
    world.op(Op::Read(world.sent.len()));
    assert!(world.view.is_level());
    let told: BTreeMap<_, _> = world.model.told.iter().map(|(id, (_, value))| (*id, *value)).collect();
    assert_eq!(told, world.records);
}
