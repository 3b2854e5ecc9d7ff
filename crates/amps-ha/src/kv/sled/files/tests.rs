use std::ops::ControlFlow;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::{SledKv, SledOptions};
use super::*;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn entries(kv: &dyn Kv) -> Map {
    let mut all = Map::new();
    let scanned = kv.scan(b"a", b"zz", &mut |key, value| {
        all.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    });
    scanned.unwrap();
    // sled keeps these in a tree of their own.
    all.remove(&b"created"[..]);
    all.remove(&b"synced"[..]);
    all
}

fn read(dir: &Path) -> SledFiles {
    SledFiles::read(dir, &mut |_, _| {}).unwrap()
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

/// A store written at random: large and small values that come, change and go.
fn write(kv: &mut SledKv, random: &mut StdRng, steps: u32) {
    for step in 0..steps {
        let mut key = format!("p{:04}", random.random_range(0..400)).into_bytes();
        match random.random_range(0..10) {
            0 => kv.remove(&key).unwrap(),
            1 => {
                let to = format!("p{:04}", random.random_range(0..400)).into_bytes();
                let (from, to) = if key < to { (key, to) } else { (to, key) };
                kv.remove_range(&from, &to[..to.len() - 1]).unwrap();
            }
            2 => kv.sync(SyncLevel::Process).unwrap(),
            3 => kv.sync(SyncLevel::Power).unwrap(),
            n => {
                let len = if n == 9 { kv.max_value() } else { 600 };
                let len = random.random_range(0..=len);
                key.extend(step.to_be_bytes().iter().filter(|_| n == 8));
                kv.insert(&key, &(0..len).map(|i| (i as u32 * step) as u8).collect::<Vec<_>>()).unwrap();
            }
        }
    }
}

/// Whatever sled reads, this reads too, from the files of a store that is
/// closed, and of one that was killed; and it sees no damage there.
#[test]
fn it_reads_what_sled_reads() {
    for seed in 0..4 {
        let mut random = StdRng::seed_from_u64(seed);
        let options = if seed % 2 == 0 { SledOptions::small() } else { SledOptions::default() };
        let dir = tempfile::tempdir().unwrap();
        for life in 0..2 {
            let mut kv = SledKv::open(dir.path(), &options).unwrap();
            write(&mut kv, &mut random, 900);
            kv.sync(SyncLevel::Process).unwrap();
            let expected = entries(&kv);
            let killed = tempfile::tempdir().unwrap();
            copy_files(dir.path(), killed.path());
            drop(kv);
            for (what, dir) in [("killed", killed.path()), ("closed", dir.path())] {
                let files = read(dir);
                assert_eq!(files.damage(), [], "seed {seed}, life {life}, {what}");
                let seen = entries(&files);
                assert!(seen == expected, "seed {seed}, life {life}, {what}: {} of {}", seen.len(), expected.len());
            }
        }
    }
}

/// Every version of a value passes by, the newest last.
#[test]
fn what_was_replaced_is_shown_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut kv = SledKv::open(dir.path(), &SledOptions::small()).unwrap();
    for i in 0..100u8 {
        kv.insert(b"meta", &[i; 20]).unwrap();
    }
    drop(kv);
    let mut seen = Vec::new();
    SledFiles::read(dir.path(), &mut |key, value| {
        if key == b"meta" {
            seen.push(value[0]);
        }
    })
    .unwrap();
    assert_eq!(seen.last(), Some(&99));
    assert!(seen.contains(&0) && seen.contains(&50));
}

#[test]
fn a_store_in_use_is_not_read_and_looking_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let kv = SledKv::open(dir.path(), &SledOptions::small()).unwrap();
    let error = SledFiles::read(dir.path(), &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, KvError::Locked { .. }), "{error}");
    drop(kv);
    let before: BTreeMap<_, _> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), (fs::read(&path).unwrap(), fs::metadata(path).unwrap().modified().unwrap())))
        .collect();
    let mut files = read(dir.path());
    for result in [files.insert(b"a", b"b"), files.remove(b"a"), files.sync(SyncLevel::Power)] {
        assert!(matches!(result, Err(KvError::Io { .. })));
    }
    for (path, (bytes, modified)) in before {
        assert!(fs::read(&path).unwrap() == bytes && fs::metadata(path).unwrap().modified().unwrap() == modified);
    }
    drop(files);
    fs::remove_file(dir.path().join(DB)).unwrap();
    let error = SledFiles::read(dir.path(), &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, KvError::Damaged { .. }), "{error}");
    let error = SledFiles::read(dir.path().join("nowhere"), &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, KvError::Io { .. }), "{error}");
}

/// A flipped byte: every value that comes back was written, all but a few come
/// back, and damage is named unless all of them did.
#[test]
fn of_damaged_files_what_is_whole_is_read() {
    for (options, long, flips) in [(SledOptions::small(), 2048, 300), (SledOptions::default(), 10_000, 40)] {
        let dir = tempfile::tempdir().unwrap();
        let mut kv = SledKv::open(dir.path(), &options).unwrap();
        for i in 0..400u16 {
            let value = vec![i as u8; if i % 9 == 0 { long } else { 300 }];
            kv.insert(&[b'p', (i >> 8) as u8, i as u8], &value).unwrap();
            if i % 50 == 0 {
                kv.sync(SyncLevel::Power).unwrap();
            }
        }
        kv.sync(SyncLevel::Power).unwrap();
        let expected = entries(&kv);
        drop(kv);
        let db = dir.path().join(DB);
        let original = fs::read(&db).unwrap();
        let used = original.iter().rposition(|byte| *byte != 0).unwrap();
        let (mut whole, mut lost_most) = (0, 0);
        for at in (0..used).step_by(used / flips) {
            let mut bytes = original.clone();
            bytes[at] ^= 0x41;
            fs::write(&db, bytes).unwrap();
            let files = read(dir.path());
            let seen = entries(&files);
            for (key, value) in &seen {
                let written = |written: &Vec<u8>| value.iter().all(|byte| *byte == written[0]);
                assert!(expected.get(key).is_some_and(written), "byte {at}: a value that was never written");
            }
            let lost = expected.iter().filter(|(key, value)| seen.get(*key) != Some(value)).count();
            lost_most = lost_most.max(lost);
            whole += usize::from(lost == 0);
            assert!(lost == 0 || !files.damage().is_empty(), "byte {at}: {lost} lost without a word");
        }
        assert!(whole > 0 && lost_most < 20, "{whole} times nothing lost, {lost_most} at most");
    }
}

/// Without the head of a segment its records still say where they belong, and
/// a beginning that is gone altogether takes only itself along.
#[test]
fn a_segment_without_its_beginning_is_read_from_where_it_is_whole() {
    for hole in [10, 30_000] {
        let dir = tempfile::tempdir().unwrap();
        let mut kv = SledKv::open(dir.path(), &SledOptions::small()).unwrap();
        for i in 0..2_000u16 {
            kv.insert(&[b'p', (i >> 8) as u8, i as u8], &[i as u8; 300]).unwrap();
        }
        kv.sync(SyncLevel::Power).unwrap();
        let expected = entries(&kv);
        drop(kv);
        let db = dir.path().join(DB);
        let mut bytes = fs::read(&db).unwrap();
        let second = SledOptions::small().segment;
        assert!(bytes.len() > 2 * second);
        for (at, byte) in bytes[second..second + hole].iter_mut().enumerate() {
            *byte = (at * 7) as u8;
        }
        fs::write(&db, bytes).unwrap();
        let files = read(dir.path());
        assert!(files.damage().iter().any(|damage| damage.offset == second as u64), "{:?}", files.damage());
        let seen = entries(&files);
        let lost = expected.iter().filter(|(key, value)| seen.get(*key) != Some(value)).count();
        assert!(lost < 120, "{lost} lost with {hole} bytes");
    }
}
