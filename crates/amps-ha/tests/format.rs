//! Stores written by any format are read for ever. The directories in
//! `tests/data`, whose names end with their format, were written by
//! `write_the_stores` below and are never written again; a later format gets
//! directories of its own beside them.
//!
//! A directory is kept in one file: for each of its files the name and the
//! length, then every run of bytes that is not zero. sled's files are mostly
//! zeros.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use amps_core::header::FrameWriter;
use amps_core::{Bookmark, Field, FrameDecoder, Message, Reason};
use amps_ha::bookmarks::store::{self as bookmarks, BookmarkStore, KvBookmarkStore};
use amps_ha::bookmarks::{BookmarkState, PublisherState};
use amps_ha::kv::{Kv, KvError, SledFiles, SledKv, SledOptions, SyncLevel};
use amps_ha::publish_log::{
    Durability, Examined, Identity, Limits, OnPublishGap, PublishLog, Records, SegmentStore, StoreError,
};
use bytes::BytesMut;

/// The first sequence in the publish store.
const FIRST: u64 = 1_800_000_000_000_000_000;
/// Messages published, acknowledged from the front, and refused out of order.
const PUBLISHED: u64 = 300;
const ACKNOWLEDGED: u64 = 40;
const REFUSED: u64 = 60;

const PUBLISH_STORES: [&str; 2] = ["publish-store-1", "publish-store-2"];
const BOOKMARK_STORES: [&str; 2] = ["bookmark-store-1", "bookmark-store-2"];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn identity() -> Identity {
    Identity { client_name: "first-format".into(), message_type: "json".into(), protocol: "amps".into() }
}

/// Some are longer than a value, some short.
fn body(id: u64) -> String {
    format!("{{\"id\":{id},\"pad\":\"{}\"}}", "ab".repeat(if id % 100 == 77 { 6_000 } else { id as usize % 50 }))
}

fn subscription(publisher: u64) -> PublisherState {
    PublisherState {
        floor: Some(publisher * 100),
        anchor: (publisher > 1).then_some(publisher * 50),
        ahead: vec![(publisher * 100 + 3, publisher * 100 + 9)],
    }
}

fn work(log: &mut PublishLog, store: &mut SegmentStore) {
    while let Some(job) = log.next_job() {
        log.job_done(store.run(&job));
    }
}

/// The directory packed in a file, in a directory of its own.
fn unpack(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut packed = fs::File::open(data(name)).unwrap();
    let number = |packed: &mut fs::File| {
        let mut bytes = [0; 8];
        packed.read_exact(&mut bytes).ok().map(|()| u64::from_be_bytes(bytes))
    };
    while let Some(len) = number(&mut packed) {
        let mut name = vec![0; len as usize];
        packed.read_exact(&mut name).unwrap();
        let mut file = fs::File::create(dir.path().join(String::from_utf8(name).unwrap())).unwrap();
        file.set_len(number(&mut packed).unwrap()).unwrap();
        for _ in 0..number(&mut packed).unwrap() {
            file.seek(SeekFrom::Start(number(&mut packed).unwrap())).unwrap();
            let mut bytes = vec![0; number(&mut packed).unwrap() as usize];
            packed.read_exact(&mut bytes).unwrap();
            file.write_all(&bytes).unwrap();
        }
    }
    dir
}

fn pack(dir: &Path, name: &str) {
    let mut packed = Vec::new();
    let number = |packed: &mut Vec<u8>, number: usize| packed.extend((number as u64).to_be_bytes());
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.is_file()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(path).unwrap();
        // Runs end where at least sixteen zeros follow.
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for at in (0..bytes.len()).filter(|at| bytes[*at] != 0) {
            match runs.last_mut() {
                Some((_, end)) if at < *end + 16 => *end = at + 1,
                _ => runs.push((at, at + 1)),
            }
        }
        number(&mut packed, name.len());
        packed.extend(name.as_bytes());
        number(&mut packed, bytes.len());
        number(&mut packed, runs.len());
        for (start, end) in runs {
            number(&mut packed, start);
            number(&mut packed, end - start);
            packed.extend(&bytes[start..end]);
        }
    }
    fs::write(data(name), packed).unwrap();
}

/// Not a test: wrote the directories, each once, with the first version of its
/// format.
#[test]
#[ignore = "writes the stores that the tests here read; run it for a new format only, with new names"]
fn write_the_stores() {
    let dir = tempfile::tempdir().unwrap();
    let kv = SledKv::open(dir.path(), &SledOptions::default()).unwrap();
    let (mut store, recovered) = SegmentStore::open(Box::new(kv), dir.path(), &identity(), FIRST).unwrap();
    let mut log = PublishLog::on_disk(Limits::default(), Durability::PowerLoss, recovered);
    log.logged_on(0, OnPublishGap::Refuse).unwrap();
    work(&mut log, &mut store);
    for id in 0..PUBLISHED {
        let body = body(id);
        let append = log.append(80 + body.len(), |sequence, out| {
            let frame = FrameWriter::new(out, "p").number(Field::Sequence, sequence.unwrap());
            frame.text(Field::AckType, "persisted").text(Field::Topic, "t").finish(body.as_bytes());
        });
        append.unwrap();
        if id % 25 == 24 {
            work(&mut log, &mut store);
        }
    }
    work(&mut log, &mut store);
    while log.fill(&mut BytesMut::new(), usize::MAX, u64::MAX) > 0 {
        work(&mut log, &mut store);
    }
    log.acknowledged(FIRST + ACKNOWLEDGED - 1);
    assert!(log.refused(FIRST + REFUSED, Reason::NotEntitled));
    work(&mut log, &mut store);
    let closing = log.closing_job().unwrap();
    log.job_done(store.run(&closing));
    drop(store);
    pack(dir.path(), "publish-store-2");

    let dir = tempfile::tempdir().unwrap();
    let kv = SledKv::open(dir.path(), &SledOptions::small()).unwrap();
    let mut store = KvBookmarkStore::open(kv, "first-format", SyncLevel::Process).unwrap();
    let publishers = (1..4).map(|publisher| (publisher, subscription(publisher))).collect();
    let base = Some(Bookmark { publisher: 7, sequence: 8 });
    store.save("orders", &BookmarkState { base, publishers }).unwrap();
    store.commit().unwrap();
    drop(store);
    pack(dir.path(), "bookmark-store-2");
}

#[test]
fn a_publish_store_of_any_format_opens_whole() {
    for name in PUBLISH_STORES {
        opens_whole(unpack(name).path());
        // Converted, if need be, it is the same.
        let dir = unpack(name);
        drop(SledKv::open(dir.path(), &SledOptions::default()).unwrap());
        opens_whole(dir.path());
        assert!(fs::read_to_string(dir.path().join("CREATED")).unwrap().contains("format: 2"));
    }
}

fn opens_whole(dir: &Path) {
    let kv = SledKv::open(dir, &SledOptions::default()).unwrap();
    let (mut store, recovered) = SegmentStore::open(Box::new(kv), dir, &identity(), 1).unwrap();
    let mut log = PublishLog::on_disk(Limits::default(), Durability::PowerLoss, recovered);
    assert_eq!(log.next_sequence(), FIRST + PUBLISHED);
    let gap = log.logged_on(0, OnPublishGap::Refuse);
    assert!(gap.is_err(), "it knows what was acknowledged");
    log.logged_on(FIRST + ACKNOWLEDGED - 1, OnPublishGap::Refuse).unwrap();
    let mut wire = BytesMut::new();
    loop {
        work(&mut log, &mut store);
        if log.fill(&mut wire, usize::MAX, u64::MAX) == 0 && !log.has_more(u64::MAX) {
            break;
        }
    }
    let mut decoder = FrameDecoder::new(1 << 30);
    decoder.extend(&wire);
    for id in (ACKNOWLEDGED..PUBLISHED).filter(|id| *id != REFUSED) {
        let message = Message::decode(decoder.next_frame().unwrap().unwrap()).unwrap();
        assert_eq!(message.sequence(), Some(FIRST + id));
        assert_eq!(message.data(), body(id).as_bytes());
    }
    assert!(decoder.next_frame().unwrap().is_none());
}

#[test]
fn a_publish_store_of_any_format_is_read_without_the_engine() {
    for name in PUBLISH_STORES {
        let dir = unpack(name);
        is_read(dir.path());
        drop(SledKv::open(dir.path(), &SledOptions::default()).unwrap());
        is_read(dir.path());
    }
}

fn is_read(dir: &Path) {
    let mut records = Records::default();
    let files = SledFiles::read(dir, &mut |key, value| records.note(key, value)).unwrap();
    assert_eq!(files.damage(), []);
    let examined = Examined::new(files, records).unwrap();
    let contents = examined.contents().unwrap();
    assert_eq!((contents.messages, contents.format), (PUBLISHED - ACKNOWLEDGED - 1, Some(1)));
    assert_eq!(contents.identity, Some(identity()));
    assert_eq!(contents.next_sequence, Some(FIRST + PUBLISHED));
    assert_eq!(contents.settled_out_of_order, 1);
}

#[test]
fn a_bookmark_store_of_any_format_opens_whole() {
    for name in BOOKMARK_STORES {
        let dir = unpack(name);
        let files = SledFiles::read(dir.path(), &mut |_, _| {}).unwrap();
        assert_eq!(bookmarks::Examined::new(&files).unwrap().client(), Some("first-format"));
        drop(files);
        let mut store = KvBookmarkStore::open_dir(dir.path(), "first-format", SyncLevel::Process).unwrap();
        let state = store.recover("orders").unwrap();
        assert_eq!(state.base, Some(Bookmark { publisher: 7, sequence: 8 }));
        let expected: Vec<_> = (1..4).map(|publisher| (publisher, subscription(publisher))).collect();
        assert_eq!(state.publishers, expected);
    }
}

/// What a later version writes is refused, and the error says which versions.
#[test]
fn other_formats_are_refused_by_name() {
    let dir = unpack("publish-store-1");
    let mut kv = SledKv::open(dir.path(), &SledOptions::default()).unwrap();
    let record = kv.get(b"meta").unwrap().unwrap();
    let newer = String::from_utf8(record).unwrap().replace("\"format\":1", "\"format\":2,\"what\":\"is new\"");
    kv.insert(b"meta", newer.as_bytes()).unwrap();
    let error = SegmentStore::open(Box::new(kv), dir.path(), &identity(), 1).unwrap_err();
    assert!(matches!(&error, StoreError::NewerFormat { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
    let mut records = Records::default();
    let files = SledFiles::read(dir.path(), &mut |key, value| records.note(key, value)).unwrap();
    let error = Examined::new(files, records).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 2, .. }), "{error}");

    for (name, open) in [("publish-store-1", SledOptions::default()), ("bookmark-store-2", SledOptions::small())] {
        let dir = unpack(name);
        let created = dir.path().join("CREATED");
        let text = fs::read_to_string(&created).unwrap();
        let other = text.replace("format: 1", "format: 3").replace("format: 2", "format: 3");
        fs::write(&created, other).unwrap();
        let error = SledKv::open(dir.path(), &open).unwrap_err();
        assert!(matches!(&error, KvError::OtherFormat { found: 3, known: 2, .. }), "{error}");
        assert!(!dir.path().join("QUARANTINED").exists(), "it is not damaged");
        let error = SledFiles::read(dir.path(), &mut |_, _| {}).unwrap_err();
        assert!(matches!(&error, KvError::OtherFormat { found: 3, .. }), "{error}");
        fs::write(&created, text).unwrap();
        SledKv::open(dir.path(), &open).unwrap();
    }
}
