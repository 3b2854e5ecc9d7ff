use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};

use super::*;
use crate::kv::conformance::{self, Fault, Subject};

fn open(dir: &Path) -> Result<SledKv, KvError> {
    SledKv::open(dir, &SledOptions::small())
}

fn entries(kv: &SledKv) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, KvError> {
    let mut all = BTreeMap::new();
    kv.scan(b"", b"\xff", &mut |key, value| {
        all.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(all)
}

#[test]
fn entries_survive_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let mut kv = open(dir.path()).unwrap();
    for i in 0..100u8 {
        kv.insert(&[i], &[i; 50]).unwrap();
    }
    kv.remove(&[7]).unwrap();
    kv.sync(SyncLevel::Power).unwrap();
    drop(kv);
    let kv = open(dir.path()).unwrap();
    assert_eq!(kv.get(&[7]).unwrap(), None);
    assert_eq!(kv.get(&[8]).unwrap().unwrap(), [8; 50]);
    assert_eq!(entries(&kv).unwrap().len(), 99);
    let mut first = Vec::new();
    kv.scan(&[10], &[20], &mut |key, _| {
        first.push(key[0]);
        if first.len() < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .unwrap();
    assert_eq!(first, [10, 11, 12]);
}

/// What the files hold right after a sync is what a killed process leaves.
#[test]
fn what_was_synced_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut kv = open(dir.path()).unwrap();
    for i in 0..60u8 {
        kv.insert(&[i], &[i; 300]).unwrap();
        if i > 0 {
            kv.remove(&[i - 1]).unwrap();
        }
        kv.sync(SyncLevel::Process).unwrap();
        let killed = tempfile::tempdir().unwrap();
        copy_files(dir.path(), killed.path());
        let expected = BTreeMap::from([(vec![i], vec![i; 300])]);
        assert_eq!(entries(&open(killed.path()).unwrap()).unwrap(), expected);
    }
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// As large as a value may be, the same in every byte.
fn large(kv: &SledKv, fill: u8) -> Vec<u8> {
    vec![fill; kv.max_value() - usize::from(fill)]
}

#[test]
fn large_values_survive_a_kill_and_a_reopen_whatever_their_slots() {
    let dir = tempfile::tempdir().unwrap();
    let mut kv = SledKv::open(dir.path(), &SledOptions::default()).unwrap();
    let mut expected = BTreeMap::new();
    for i in 0..40u8 {
        kv.insert(&[i], &large(&kv, i)).unwrap();
        expected.insert(vec![i], large(&kv, i));
        // From large to small and back.
        let changed = if i % 3 == 0 { vec![i] } else { large(&kv, i + 100) };
        kv.insert(&[i / 2], &changed).unwrap();
        expected.insert(vec![i / 2], changed);
        if i % 5 == 4 {
            kv.remove_range(&[i - 4], &[i - 2]).unwrap();
            expected.remove(&[i - 4][..]);
            expected.remove(&[i - 3][..]);
            kv.remove(&[i]).unwrap();
            expected.remove(&[i][..]);
        }
        kv.sync(SyncLevel::Process).unwrap();
        if i % 4 == 0 {
            let killed = tempfile::tempdir().unwrap();
            copy_files(dir.path(), killed.path());
            assert!(entries(&open(killed.path()).unwrap()).unwrap() == expected, "killed after {i}");
        }
        if i % 7 == 0 {
            drop(kv);
            kv = open(dir.path()).unwrap();
        }
    }
    for (key, value) in &expected {
        assert!(kv.get(key).unwrap().as_ref() == Some(value));
    }
    assert!(entries(&kv).unwrap() == expected);
}

/// What comes and goes leaves its place to what follows; without slots this
/// would take five times as much.
#[test]
fn large_values_are_written_once_and_their_place_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut kv = SledKv::open(dir.path(), &SledOptions::default()).unwrap();
    let mut value = large(&kv, 0);
    let in_file = || fs::metadata(dir.path().join("db")).unwrap().len() as f64;
    let key = |i: u32| i.to_be_bytes();
    let mut put = |kv: &mut SledKv, i: u32| {
        value[..4].copy_from_slice(&key(i));
        kv.insert(&key(i), &value).unwrap();
    };
    (0..500).for_each(|i| put(&mut kv, i));
    kv.sync(SyncLevel::Process).unwrap();
    let once = 500.0 * kv.max_value() as f64;
    assert!(in_file() < once * 1.3, "{} for {once}", in_file());
    for i in (500..3000).step_by(50) {
        kv.remove_range(&key(0), &key(i - 450)).unwrap();
        (i..i + 50).for_each(|i| put(&mut kv, i));
        kv.sync(SyncLevel::Process).unwrap();
    }
    // How soon sled gives a place back depends on how its threads get to run.
    assert!(in_file() < once * 3.0 + 1e8, "{} for {once}", in_file());
    kv.remove_range(b"", &[0xff]).unwrap();
    assert_eq!(entries(&kv).unwrap().len(), 0);
    drop(kv);
    assert_eq!(entries(&open(dir.path()).unwrap()).unwrap().len(), 0);
}

/// A value that becomes small or large is two writes for sled; in between, a
/// crash leaves both.
#[test]
fn of_an_entry_and_a_slot_with_one_key_the_entry_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut kv = SledKv::open(dir.path(), &SledOptions::default()).unwrap();
    kv.insert(b"a", &large(&kv, 1)).unwrap();
    kv.insert(b"b", &large(&kv, 2)).unwrap();
    kv.write(|engine| engine.db.insert(b"a", &[INLINE, 7])).unwrap();
    // Of two slots with one key the newer counts.
    let newer = large(&kv, 3);
    kv.write(|engine| {
        let older = engine.slots.forget(b"b");
        engine.slots.put(b"b", &[&newer])?;
        assert_eq!(older, Some(1));
        Ok(())
    })
    .unwrap();
    let expected = BTreeMap::from([(b"a".to_vec(), vec![7]), (b"b".to_vec(), newer)]);
    for _ in 0..2 {
        drop(kv);
        let files = SledFiles::read(dir.path(), &mut |_, _| {}).unwrap();
        assert_eq!(files.get(b"a").unwrap().as_deref(), Some(&[7][..]));
        assert!(files.get(b"b").unwrap().as_ref() == expected.get(&b"b"[..]));
        drop(files);
        kv = open(dir.path()).unwrap();
        assert!(entries(&kv).unwrap() == expected);
    }
}

#[test]
fn a_slot_of_the_first_format_that_two_entries_name_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut kv = SledKv::open(dir.path(), &SledOptions::default()).unwrap();
    kv.write(|engine| {
        engine.db.open_tree("slots")?.insert([0, 0, 0, 0, 4], b"value")?;
        engine.db.insert(b"a", &[1, 0, 0, 0, 0])?;
        engine.db.insert(b"b", &[1, 0, 0, 0, 0])
    })
    .unwrap();
    drop(kv);
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(&error, KvError::Damaged { what, .. } if what.contains("same place")), "{error}");
}

/// Ranges that grow are one entry; others are removed value by value.
#[test]
fn removed_ranges_stay_removed_and_what_comes_after_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut kv = SledKv::open(dir.path(), &SledOptions::default()).unwrap();
    let mut expected = BTreeMap::new();
    let ranges: [(u8, u8); 6] = [(10, 12), (10, 15), (30, 33), (5, 20), (15, 16), (0, 40)];
    for (round, (from, to)) in ranges.into_iter().enumerate() {
        for i in (0..40).step_by(3) {
            let fill = i + round as u8;
            let value = if i % 4 == 0 { vec![fill; 9] } else { large(&kv, fill) };
            kv.insert(&[i], &value).unwrap();
            expected.insert(vec![i], value);
        }
        kv.remove_range(&[from], &[to]).unwrap();
        expected.retain(|key, _| key[0] < from || key[0] >= to);
        // Also below and above what was removed.
        for i in [from, to] {
            kv.insert(&[i], &large(&kv, i)).unwrap();
            expected.insert(vec![i], large(&kv, i));
        }
        assert!(entries(&kv).unwrap() == expected, "round {round}");
        kv.sync(SyncLevel::Process).unwrap();
        let killed = tempfile::tempdir().unwrap();
        copy_files(dir.path(), killed.path());
        assert!(entries(&open(killed.path()).unwrap()).unwrap() == expected, "round {round}, killed");
    }
}

/// A store that the subject reaches while the tests have it.
#[derive(Clone)]
struct Shared(Arc<Mutex<SledKv>>);

impl Shared {
    fn kv(&self) -> MutexGuard<'_, SledKv> {
        self.0.lock().unwrap()
    }
}

impl Kv for Shared {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.kv().get(key)
    }
    fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), KvError> {
        self.kv().insert(key, value)
    }
    fn remove(&mut self, key: &[u8]) -> Result<(), KvError> {
        self.kv().remove(key)
    }
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), KvError> {
        self.kv().scan(from, to, visit)
    }
    fn sync(&mut self, level: SyncLevel) -> Result<(), KvError> {
        self.kv().sync(level)
    }
    fn max_value(&self) -> usize {
        self.kv().max_value()
    }
}

/// What the files hold while a store is open is what a killed process leaves.
struct Directories {
    options: SledOptions,
    current: Option<(tempfile::TempDir, Shared)>,
}

impl Directories {
    fn open(&mut self, dir: tempfile::TempDir) -> Box<dyn Kv> {
        let kv = Shared(Arc::new(Mutex::new(SledKv::open(dir.path(), &self.options).unwrap())));
        self.current = Some((dir, kv.clone()));
        Box::new(kv)
    }
}

impl Subject for Directories {
    fn create(&mut self) -> Box<dyn Kv> {
        self.open(tempfile::tempdir().unwrap())
    }

    fn crash(&mut self, kv: Box<dyn Kv>, _: SyncLevel) -> Box<dyn Kv> {
        let killed = tempfile::tempdir().unwrap();
        let (dir, shared) = self.current.take().unwrap();
        copy_files(dir.path(), killed.path());
        drop((kv, shared));
        self.open(killed)
    }

    #[cfg(unix)]
    fn fail_next(&mut self, _: &mut dyn Kv, fault: Fault) -> bool {
        if fault == Fault::Write {
            // Nothing makes sled fail a write from outside.
            return false;
        }
        let (_, shared) = self.current.as_ref().unwrap();
        fail_syncs(&mut shared.kv());
        true
    }

    fn open_again(&mut self, _: &dyn Kv) -> Option<Result<Box<dyn Kv>, KvError>> {
        let (dir, _) = self.current.as_ref().unwrap();
        Some(SledKv::open(dir.path(), &self.options).map(|kv| Box::new(kv) as Box<dyn Kv>))
    }
}

#[cfg(unix)]
#[test]
fn it_keeps_the_contract() {
    let report = conformance::check(&mut Directories { options: SledOptions::small(), current: None });
    let skipped: Vec<_> = report.skipped().collect();
    assert_eq!(skipped, ["after a failed write nothing more is written"], "{report}");
}

#[test]
fn a_second_open_is_refused_until_the_first_closes() {
    let dir = tempfile::tempdir().unwrap();
    let kv = open(dir.path()).unwrap();
    let refused = open(dir.path()).unwrap_err();
    assert!(matches!(&refused, KvError::Locked { dir: locked } if locked == dir.path()), "{refused}");
    assert!(refused.to_string().contains("locked by another process"), "{refused}");
    drop(kv);
    open(dir.path()).unwrap();
}

#[test]
fn a_snapshot_cut_off_by_a_crash_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut kv = open(dir.path()).unwrap();
    kv.insert(b"k", b"v").unwrap();
    kv.sync(SyncLevel::Power).unwrap();
    drop(kv);
    let torn = dir.path().join("snap.FFFFFFFFFFFFFFF0.generating");
    fs::write(&torn, [0; 8]).unwrap();
    let kv = open(dir.path()).unwrap();
    assert_eq!(kv.get(b"k").unwrap().unwrap(), b"v");
    assert!(!torn.exists());
}

#[test]
fn a_store_never_starts_empty_where_there_was_one() {
    for lost in ["db", "CREATED"] {
        let dir = tempfile::tempdir().unwrap();
        let mut kv = open(dir.path()).unwrap();
        kv.insert(b"k", b"v").unwrap();
        kv.sync(SyncLevel::Power).unwrap();
        drop(kv);
        fs::write(dir.path().join(lost), "").unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(&error, KvError::Damaged { dir: named, .. } if named == dir.path()), "{lost}: {error}");
        let again = open(dir.path()).unwrap_err();
        assert_eq!(error.to_string(), again.to_string(), "quarantined");
        assert!(dir.path().join("QUARANTINED").exists());
    }
}

#[test]
fn a_log_that_sled_takes_for_empty_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut kv = open(dir.path()).unwrap();
    kv.insert(b"k", b"v").unwrap();
    kv.sync(SyncLevel::Power).unwrap();
    drop(kv);
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("snap.") {
            fs::remove_file(path).unwrap();
        }
    }
    let db = dir.path().join("db");
    let length = fs::metadata(&db).unwrap().len() as usize;
    fs::write(&db, vec![0; length]).unwrap();
    assert!(matches!(open(dir.path()).unwrap_err(), KvError::Damaged { .. }));
}

#[test]
fn a_crash_while_the_store_was_created_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("conf"), "segm").unwrap();
    open(dir.path()).unwrap().insert(b"k", b"v").unwrap();
}

#[test]
fn the_segment_size_is_that_of_the_creation() {
    let dir = tempfile::tempdir().unwrap();
    let small = open(dir.path()).unwrap().max_value();
    assert_eq!(SledKv::open(dir.path(), &SledOptions::default()).unwrap().max_value(), small);
}

#[test]
fn no_values_make_blob_files() {
    for options in [SledOptions::small(), SledOptions::default()] {
        check_no_blobs(&options);
    }
}

fn check_no_blobs(options: &SledOptions) {
    const VALUES: u16 = 200;
    let dir = tempfile::tempdir().unwrap();
    let mut kv = SledKv::open(dir.path(), options).unwrap();
    let long_key = |i: u16| [&[b'k'; super::super::MAX_KEY - 2][..], &i.to_be_bytes()].concat();
    let value = vec![7; kv.max_value()];
    for i in 0..VALUES {
        kv.insert(&long_key(i), &value).unwrap();
        if i % 50 == 0 {
            kv.sync(SyncLevel::Process).unwrap();
        }
    }
    kv.sync(SyncLevel::Power).unwrap();
    kv.directory.check_no_blobs().unwrap();
    let large = vec![7; kv.max_value() + 1];
    assert!(matches!(kv.insert(b"k", &large), Err(KvError::ValueTooLarge { .. })));
    assert!(matches!(kv.insert(&large, b""), Err(KvError::KeyTooLarge { .. })));
    assert_eq!(entries(&kv).unwrap().len(), usize::from(VALUES), "refusals do not fail the store");
}

#[test]
fn syncs_are_counted_by_level() {
    let dir = tempfile::tempdir().unwrap();
    let mut kv = open(dir.path()).unwrap();
    let count = kv.sync_count();
    kv.sync(SyncLevel::Process).unwrap();
    kv.sync(SyncLevel::Power).unwrap();
    kv.sync(SyncLevel::Power).unwrap();
    assert_eq!((count.get(SyncLevel::Process), count.get(SyncLevel::Power)), (1, 2));
}

/// Syncing a pipe is an error of the operating system, here in the place of a
/// disk that fails. Answers the real file.
#[cfg(unix)]
fn fail_syncs(kv: &mut SledKv) -> File {
    let (_reader, writer) = std::io::pipe().unwrap();
    std::mem::replace(&mut kv.db_file, File::from(std::os::fd::OwnedFd::from(writer)))
}

#[cfg(unix)]
#[test]
fn after_a_failed_sync_the_store_is_failed_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let mut kv = open(dir.path()).unwrap();
    kv.insert(b"k", b"v").unwrap();
    let real = fail_syncs(&mut kv);
    assert!(matches!(kv.sync(SyncLevel::Power), Err(KvError::Io { .. })));
    kv.db_file = real;
    for result in [kv.sync(SyncLevel::Power), kv.insert(b"x", b"y"), kv.remove(b"k"), kv.get(b"k").map(drop)] {
        assert!(matches!(result, Err(KvError::Failed { .. })), "{result:?}");
    }
    assert_eq!(kv.sync_count().get(SyncLevel::Power), 0);
}

/// Every file of a store, one byte flipped at a time: opening reports, or
/// recovers entries that were really written; no panic comes out.
#[test]
fn flipped_bytes_are_reported_or_recovered_from() {
    let master = tempfile::tempdir().unwrap();
    let mut kv = open(master.path()).unwrap();
    for i in 0..200u8 {
        kv.insert(&[i], &[i; 40]).unwrap();
        if i % 20 == 0 {
            kv.sync(SyncLevel::Power).unwrap();
        }
    }
    kv.sync(SyncLevel::Power).unwrap();
    drop(kv);
    // Reopening writes the snapshot.
    drop(open(master.path()).unwrap());

    let mut flips = Vec::new();
    for entry in fs::read_dir(master.path()).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_file() {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let step = (used / 24).max(1);
        flips.extend((0..used).step_by(step).map(|at| (path.file_name().unwrap().to_owned(), at)));
    }
    let (mut reported, mut recovered) = (0, 0);
    for (name, at) in flips {
        let copy = tempfile::tempdir().unwrap();
        copy_files(master.path(), copy.path());
        let file = copy.path().join(&name);
        let mut bytes = fs::read(&file).unwrap();
        bytes[at] ^= 0x10;
        fs::write(&file, bytes).unwrap();
        match open(copy.path()).and_then(|kv| entries(&kv)) {
            Ok(entries) => {
                recovered += 1;
                for (key, value) in entries {
                    assert_eq!(value, vec![key[0]; 40], "byte {at} of {name:?}");
                }
            }
            Err(_) => reported += 1,
        }
    }
    assert!(reported > 0 && recovered > 0, "{reported} reported, {recovered} recovered");
}
