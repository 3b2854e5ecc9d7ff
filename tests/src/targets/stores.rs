//! What stands in stores: valid ones, with edits made of bytes.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;

use amps_core::Bookmark;
use amps_core::header::FrameWriter;
use amps_ha::bookmarks::store::{BookmarkStore, KvBookmarkStore};
use amps_ha::bookmarks::{BookmarkState, PublisherState};
use amps_ha::kv::{Kv, MemoryKv, SyncLevel};
use amps_ha::publish_log::{Durability, Identity, Limits, OnPublishGap, PublishLog, SegmentStore};
use arbitrary::{Result, Unstructured};
use bytes::BytesMut;

const EDITS_MAX: usize = 20;

/// Makes the checksum of an entry right again.
type Seal = fn(&[u8], &mut Vec<u8>);
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn entries(kv: &dyn Kv) -> Entries {
    let mut all = Vec::new();
    let each = &mut |key: &[u8], value: &[u8]| {
        all.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    kv.scan(b"", &[0xff; 16], each).expect("a store in memory");
    all
}

/// The entries after edits, with wrong checksums, or with right ones if `seal`
/// is given, as no accident leaves them.
fn edited(entries: &Entries, bytes: &mut Unstructured<'_>, seal: Option<Seal>) -> MemoryKv {
    let mut entries = entries.clone();
    for _ in 0..EDITS_MAX {
        if bytes.is_empty() || entries.is_empty() || edit(&mut entries, bytes, seal).is_err() {
            break;
        }
    }
    let mut kv = MemoryKv::new();
    for (key, value) in entries {
        // One that is too large could not have been written.
        let _ = kv.insert(&key, &value);
    }
    kv
}

fn edit(entries: &mut Entries, bytes: &mut Unstructured<'_>, seal: Option<Seal>) -> Result<()> {
    let which = bytes.int_in_range(0..=entries.len() - 1)?;
    match bytes.int_in_range(0..=7u8)? {
        0 => drop(entries.remove(which)),
        1 => {
            let (mut key, value) = entries[which].clone();
            let at = bytes.int_in_range(0..=key.len() - 1)?;
            key[at] = bytes.arbitrary()?;
            entries.push((key, value));
        }
        2 => {
            let value = &mut entries[which].1;
            value.truncate(bytes.int_in_range(0..=value.len())?);
        }
        3 => number(&mut entries[which].1, bytes)?,
        _ => {
            let value = &mut entries[which].1;
            if value.is_empty() {
                return Ok(());
            }
            // Mostly in front, where numbers stand.
            let at = bytes.int_in_range(0..=value.len() - 1)?.min(bytes.int_in_range(0..=60)?);
            let at = at.min(value.len() - 1);
            value[at] = bytes.arbitrary()?;
        }
    }
    if let (Some(seal), Some((key, value))) = (seal, entries.get_mut(which)) {
        seal(key, value);
    }
    Ok(())
}

/// Puts another number in the place of one in a text.
fn number(value: &mut Vec<u8>, bytes: &mut Unstructured<'_>) -> Result<()> {
    let starts: Vec<_> = (1..value.len()).filter(|at| value[*at].is_ascii_digit() && value[at - 1] == b':').collect();
    if starts.is_empty() {
        return Ok(());
    }
    let start = *bytes.choose(&starts)?;
    let len = value[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number: u64 = match bytes.int_in_range(0..=3u8)? {
        0 => u64::MAX - u64::from(bytes.arbitrary::<u8>()?),
        1 => 1_000_000 + u64::from(bytes.arbitrary::<u8>()?),
        _ => bytes.arbitrary()?,
    };
    value.splice(start..start + len, number.to_string().into_bytes());
    Ok(())
}

/// Where the checksum of a publish log's value stands.
const CRC: std::ops::Range<usize> = 36..40;

#[allow(clippy::ptr_arg)] // a Seal
fn seal_segment(key: &[u8], value: &mut Vec<u8>) {
    // The log's record has none.
    if key.len() == 13 && value.len() >= CRC.end {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&value[..CRC.start]);
        crc.update(&value[CRC.end..]);
        let crc = crc.finalize();
        value[CRC].copy_from_slice(&crc.to_be_bytes());
    }
}

/// A store opens, or its error says what is wrong. What opens can be used: its
/// log takes a message, and sends what it holds, in order unless somebody made
/// up frames.
pub(super) fn publish_store(bytes: &[u8]) {
    static VALID: OnceLock<Entries> = OnceLock::new();
    let valid = VALID.get_or_init(|| {
        let (mut store, mut log) = open_log(MemoryKv::new()).expect("a new store");
        for round in 0..3 {
            (0..4).for_each(|number| append(&mut log, &format!("{round} {number}")));
            work(&mut store, &mut log);
        }
        entries(&*store.into_kv())
    });
    let mut bytes = Unstructured::new(bytes);
    let Ok(sealed) = bytes.arbitrary::<bool>() else { return };
    let kv = edited(valid, &mut bytes, sealed.then_some(seal_segment));
    let (mut store, mut log) = match open_log(kv) {
        Ok(opened) => opened,
        Err(error) => return assert!(!error.is_empty()),
    };
    append(&mut log, "new");
    work(&mut store, &mut log);
    if log.logged_on(0, OnPublishGap::Continue).is_err() {
        return;
    }
    let mut last = 0;
    for _ in 0..50 {
        work(&mut store, &mut log);
        let mut wire = BytesMut::new();
        log.fill(&mut wire, usize::MAX, u64::MAX);
        let messages = amps_core::Messages::decode(wire.freeze());
        for message in messages {
            let sequence = message.sequence().unwrap_or_default();
            assert!(sealed || sequence > last, "{sequence} behind {last}");
            last = last.max(sequence);
        }
        if !log.has_more(u64::MAX) {
            break;
        }
    }
    log.acknowledged(last);
    work(&mut store, &mut log);
}

fn open_log(kv: MemoryKv) -> std::result::Result<(SegmentStore, PublishLog), String> {
    let identity = Identity { client_name: "me".into(), message_type: "json".into(), protocol: "amps".into() };
    let opened = SegmentStore::open(Box::new(kv), Path::new("dir"), &identity, 1_000_000);
    let (store, recovered) = opened.map_err(|error| error.to_string())?;
    Ok((store, PublishLog::on_disk(Limits::default(), Durability::PowerLoss, recovered)))
}

/// Fails only when the store has failed.
fn append(log: &mut PublishLog, body: &str) {
    let _ = log.append(100, |sequence, out| FrameWriter::publish(out, "t", sequence).finish(body.as_bytes()));
}

fn work(store: &mut SegmentStore, log: &mut PublishLog) {
    while let Some(job) = log.next_job() {
        log.job_done(store.run(&job));
    }
}

fn seal_record(key: &[u8], value: &mut Vec<u8>) {
    if let Some(content) = value.len().checked_sub(4) {
        value.truncate(content);
        let mut crc = crc32fast::Hasher::new();
        crc.update(key);
        crc.update(value);
        value.extend(crc.finalize().to_be_bytes());
    }
}

/// A store opens, or its error says what is wrong; what it recovers can be used
/// and saved again.
pub(super) fn bookmark_store(bytes: &[u8]) {
    static VALID: OnceLock<Entries> = OnceLock::new();
    let valid = VALID.get_or_init(|| {
        let mut store = KvBookmarkStore::open(MemoryKv::new(), "me", SyncLevel::Power).expect("a new store");
        let state = |floor, ahead| PublisherState { floor: Some(floor), anchor: Some(floor / 2), ahead };
        let publishers = vec![(77, state(10, vec![(12, 14), (20, 20)])), (78, PublisherState::default())];
        let saved = BookmarkState { base: None, publishers };
        store.save("orders", &saved).expect("a store in memory");
        let base = Some(Bookmark { publisher: 5, sequence: 6 });
        store.save("other", &BookmarkState { base, publishers: vec![(1, state(2, vec![]))] }).expect("as before");
        store.commit().expect("as before");
        entries(&store.into_kv())
    });
    let mut bytes = Unstructured::new(bytes);
    let Ok(sealed) = bytes.arbitrary::<bool>() else { return };
    let kv = edited(valid, &mut bytes, sealed.then_some(seal_record));
    let examined = amps_ha::bookmarks::store::Examined::new(&kv).expect("a store in memory can be read");
    let _ = (examined.client(), examined.problems(), examined.subscriptions());
    let Ok(mut store) = KvBookmarkStore::open(kv, "me", SyncLevel::Power) else { return };
    for subscription in ["orders", "other", "new"] {
        let Ok(state) = store.recover(subscription) else { continue };
        resume(&state);
        store.save(subscription, &state).expect("what was read can be written");
        assert_eq!(store.recover(subscription).ok().as_ref(), Some(&state));
    }
    store.commit().expect("a store in memory");
}

/// Goes on from a state: connects, gets a message, discards it.
fn resume(state: &BookmarkState) {
    let (now, overlap) = (std::time::Instant::now(), std::time::Duration::from_secs(1));
    let mut bookmarks = amps_ha::bookmarks::Bookmarks::recovered(amps_core::StartAt::MostRecent, overlap, state);
    let start = bookmarks.connect("a");
    assert!(start.check().is_ok(), "{start:?}");
    for publisher in [77, 78, 79] {
        for sequence in [1, 11, 12, 15, 21, u64::MAX] {
            let bookmark = Bookmark { publisher, sequence };
            if bookmarks.receive(now, bookmark) == amps_ha::bookmarks::Receipt::New {
                assert!(bookmarks.discard(bookmark));
            }
        }
    }
    assert_eq!(bookmarks.undiscarded(), 0);
    let _ = bookmarks.take_changes();
}
