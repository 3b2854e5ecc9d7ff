//! What crashes and failures leave.

use std::ops::ControlFlow;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::map::{Model, all, key, range};
use super::{Checked, Fault, Subject};
use crate::kv::{KvError, SyncLevel};

type Write = (Vec<u8>, Option<Vec<u8>>);

/// Writes and syncs at random, then a crash, again and again: what survives is
/// what some prefix of the writes made, with at least everything before the
/// last sync of that level.
///
/// # Panics
/// When something else survives.
pub fn survivors_are_prefixes(subject: &mut dyn Subject) -> Checked {
    for seed in 0..24 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut kv = subject.create();
        let mut before = Model::new();
        for crash in 0..4 {
            let mut writes: Vec<Write> = Vec::new();
            let (mut in_system, mut on_disk) = (0, 0);
            for _ in 0..random.random_range(1..80) {
                match random.random_range(0..10) {
                    0 => {
                        kv.sync(SyncLevel::Process).expect("a sync");
                        in_system = writes.len();
                    }
                    1 => {
                        kv.sync(SyncLevel::Power).expect("a sync");
                        (in_system, on_disk) = (writes.len(), writes.len());
                    }
                    2 => {
                        let (from, to) = (key(&mut random), key(&mut random));
                        let removed = range(&*kv, &from, &to);
                        kv.remove_range(&from, &to).expect("a range removed");
                        writes.extend(removed.into_iter().map(|(key, _)| (key, None)));
                    }
                    3 | 4 => {
                        let key = key(&mut random);
                        kv.remove(&key).expect("a remove");
                        writes.push((key, None));
                    }
                    _ => {
                        let len = random.random_range(0..kv.max_value().min(2_000));
                        let (key, value) = (key(&mut random), vec![writes.len() as u8; len]);
                        kv.insert(&key, &value).expect("an insert");
                        writes.push((key, Some(value)));
                    }
                }
            }
            let level = if random.random_bool(0.5) { SyncLevel::Process } else { SyncLevel::Power };
            let synced = if level == SyncLevel::Process { in_system } else { on_disk };
            kv = subject.crash(kv, level);
            let after = all(&*kv);
            let place = format!("seed {seed}, crash {crash} of level {level:?} after {} writes", writes.len());
            before = prefix(before, &writes, synced, &after).unwrap_or_else(|rule| panic!("{place}: {rule}"));
        }
    }
    Checked::Kept
}

/// The state `after` a crash, if at least `synced` of the `writes` make it.
fn prefix(mut state: Model, writes: &[Write], synced: usize, after: &Model) -> Result<Model, String> {
    let mut earlier = None;
    for made in 0..=writes.len() {
        if state == *after {
            if made >= synced {
                return Ok(state);
            }
            earlier = Some(made);
        }
        match writes.get(made) {
            Some((key, Some(value))) => state.insert(key.clone(), value.clone()),
            Some((key, None)) => state.remove(key),
            None => None,
        };
    }
    match earlier {
        Some(made) => Err(format!("only {made} writes survived, {synced} had been synced")),
        None => Err("what survived is not what any prefix of the writes made".to_owned()),
    }
}

/// A failed write fails the store: every later call answers
/// [`KvError::Failed`], since nothing says any more what reached the disk.
///
/// # Panics
/// When it goes on.
pub fn failed_writes_are_final(subject: &mut dyn Subject) -> Checked {
    failures_are_final(subject, Fault::Write)
}

/// A failed sync fails the store, as a failed write does.
///
/// # Panics
/// When it goes on.
pub fn failed_syncs_are_final(subject: &mut dyn Subject) -> Checked {
    failures_are_final(subject, Fault::Sync)
}

fn failures_are_final(subject: &mut dyn Subject, fault: Fault) -> Checked {
    let mut kv = subject.create();
    kv.insert(b"a", b"1").expect("an insert");
    kv.sync(SyncLevel::Power).expect("a sync");
    if !subject.fail_next(&mut *kv, fault) {
        return Checked::Skipped;
    }
    let first = match fault {
        Fault::Write => kv.insert(b"b", b"2"),
        Fault::Sync => kv.insert(b"b", b"2").and_then(|()| kv.sync(SyncLevel::Power)),
    };
    let first = first.expect_err("a write or sync that was made to fail");
    assert!(!matches!(first, KvError::Failed { .. }), "the first error says what failed: {first}");
    let later = [
        ("insert", kv.insert(b"c", b"3")),
        ("remove", kv.remove(b"a")),
        ("sync", kv.sync(SyncLevel::Power)),
        ("get", kv.get(b"a").map(drop)),
        ("scan", kv.scan(b"a", b"z", &mut |_, _| ControlFlow::Continue(()))),
    ];
    for (call, result) in later {
        let failed = matches!(&result, Err(KvError::Failed { .. }));
        assert!(failed, "{fault:?} failed, and a later {call} answers {result:?}");
    }
    let kv = subject.crash(kv, SyncLevel::Power);
    let kept = kv.get(b"a").expect("a get");
    assert_eq!(kept.as_deref(), Some(&b"1"[..]), "what was synced before a failure is gone");
    Checked::Kept
}

/// Two publishers on one store would give the same numbers to different
/// messages.
///
/// # Panics
/// When a second open of a store that is in use succeeds.
pub fn one_owner(subject: &mut dyn Subject) -> Checked {
    let mut kv = subject.create();
    kv.insert(b"a", b"1").expect("an insert");
    let Some(second) = subject.open_again(&*kv) else { return Checked::Skipped };
    match second.map(drop) {
        Ok(()) => panic!("a store that is in use was opened again"),
        Err(error) => assert!(matches!(error, KvError::Locked { .. }), "not Locked, but: {error}"),
    }
    kv.insert(b"b", b"2").expect("the first owner goes on");
    Checked::Kept
}
