//! The store as an ordered map.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Checked, Subject};
use crate::kv::{Kv, KvError, MAX_KEY, MIN_MAX_VALUE, SyncLevel};

/// What a store holds.
pub(super) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Everything in `kv` from `from` up to `to`, as a scan shows it.
pub(super) fn range(kv: &dyn Kv, from: &[u8], to: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut seen = Vec::new();
    let scanned = kv.scan(from, to, &mut |key, value| {
        seen.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    });
    scanned.expect("a scan of a sound store");
    seen
}

/// Everything in `kv`.
pub(super) fn all(kv: &dyn Kv) -> Model {
    range(kv, &[], &[0xff; MAX_KEY]).into_iter().collect()
}

/// A key from a small set, so that overwriting and removing happen, with
/// neighbours that share beginnings.
pub(super) fn key(random: &mut StdRng) -> Vec<u8> {
    let len = random.random_range(1..5);
    (0..len).map(|_| [0, 1, b'k', 0xfe][random.random_range(0..4)]).collect()
}

/// Reading, overwriting and removing, beside a map of our own.
///
/// # Panics
/// When the two differ.
pub fn entries(subject: &mut dyn Subject) -> Checked {
    let mut kv = subject.create();
    let mut model = Model::new();
    let mut random = StdRng::seed_from_u64(1);
    assert!(all(&*kv).is_empty(), "a new store is not empty");
    kv.remove(b"never there").expect("removing what is not there is no error");
    for step in 0..1_000u32 {
        let key = key(&mut random);
        if random.random_bool(0.05) {
            let to = [&key[..], &[1]].concat();
            kv.remove_range(&key, &to).expect("a range removed");
            kv.remove_range(&to, &key).expect("a range with its end before its beginning is empty");
            model.retain(|held, _| *held < key || *held >= to);
        } else if random.random_bool(0.3) {
            kv.remove(&key).expect("a remove");
            model.remove(&key);
        } else {
            let value = vec![step as u8; random.random_range(0..40)];
            kv.insert(&key, &value).expect("an insert");
            model.insert(key.clone(), value);
        }
        assert_eq!(kv.get(&key).expect("a get"), model.get(&key).cloned(), "step {step}: {key:?} right after a write");
        if step % 100 == 0 {
            kv.sync(SyncLevel::Process).expect("a sync");
            assert!(all(&*kv) == model, "step {step}: the store differs from what was written to it");
        }
    }
    Checked::Kept
}

/// Order, bounds (`from` is in, `to` is not), and stopping.
///
/// # Panics
/// When a scan shows anything else.
pub fn scans(subject: &mut dyn Subject) -> Checked {
    let mut kv = subject.create();
    let mut model = Model::new();
    let mut random = StdRng::seed_from_u64(2);
    for step in 0..200u8 {
        let key = key(&mut random);
        kv.insert(&key, &[step]).expect("an insert");
        model.insert(key, vec![step]);
    }
    let mut bounds: Vec<Vec<u8>> = model.keys().cloned().collect();
    bounds.extend((0..50).map(|_| key(&mut random)));
    for _ in 0..300 {
        let from = &bounds[random.random_range(0..bounds.len())];
        let to = &bounds[random.random_range(0..bounds.len())];
        let expected: Vec<_> = match from < to {
            true => model.range(from.clone()..to.clone()).map(|(key, value)| (key.clone(), value.clone())).collect(),
            false => Vec::new(),
        };
        assert!(range(&*kv, from, to) == expected, "from {from:?} to {to:?}: entries are missing or out of order");
        let most = random.random_range(1..5);
        let mut shown = 0;
        let scanned = kv.scan(from, to, &mut |_, _| {
            shown += 1;
            if shown < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        scanned.expect("breaking off is no error");
        assert_eq!(shown, most.min(expected.len()), "a scan goes on though it was told to stop");
    }
    Checked::Kept
}

/// The longest keys and values, and what is longer.
///
/// # Panics
/// When the longest are refused or changed, or refusing does harm.
pub fn limits(subject: &mut dyn Subject) -> Checked {
    let mut kv = subject.create();
    let most = kv.max_value();
    assert!(most >= MIN_MAX_VALUE, "max_value is {most}, at least {MIN_MAX_VALUE} is needed");
    let mut random = StdRng::seed_from_u64(3);
    let long: Vec<u8> = (0..=most).map(|_| random.random_range(0..=u8::MAX)).collect();
    let key = [b'k'; MAX_KEY + 1];
    for len in [0, 1, most - 1, most] {
        kv.insert(&key[..MAX_KEY], &long[..len]).expect("a value within max_value");
        let read = kv.get(&key[..MAX_KEY]).expect("a get");
        assert!(read.as_deref() == Some(&long[..len]), "a value of {len} bytes came back changed");
    }
    let refused = kv.insert(&key[..MAX_KEY], &long);
    assert!(matches!(refused, Err(KvError::ValueTooLarge { .. })), "above max_value: {refused:?}");
    let refused = kv.insert(&key, b"v");
    assert!(matches!(refused, Err(KvError::KeyTooLarge { .. })), "above MAX_KEY: {refused:?}");
    kv.insert(b"after", b"v").expect("a refusal does not fail the store");
    kv.sync(SyncLevel::Power).expect("a sync");
    let kept = kv.get(&key[..MAX_KEY]).expect("a get");
    assert!(kept.as_deref() == Some(&long[..most]), "a refused insert changed something");
    Checked::Kept
}

/// A store is used from one thread at a time, not always the same.
///
/// # Panics
/// When something is missing on another thread.
pub fn threads(subject: &mut dyn Subject) -> Checked {
    let mut kv = subject.create();
    kv.insert(b"here", b"1").expect("an insert");
    let there = std::thread::spawn(move || {
        assert_eq!(kv.get(b"here").expect("a get").as_deref(), Some(&b"1"[..]), "another thread sees something else");
        kv.insert(b"there", b"2").expect("an insert");
        kv.sync(SyncLevel::Process).expect("a sync");
        kv
    });
    let kv = there.join().expect("the other thread");
    assert_eq!(kv.get(b"there").expect("a get").as_deref(), Some(&b"2"[..]), "the write of another thread is gone");
    Checked::Kept
}
