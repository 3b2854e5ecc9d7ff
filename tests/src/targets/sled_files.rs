//! The files of a sled store, read without the engine.

use std::fs;
use std::ops::ControlFlow;

use amps_ha::bookmarks::store::Examined as ExaminedBookmarks;
use amps_ha::kv::{Kv, SledFiles};
use amps_ha::publish_log::{Examined, Records};
use arbitrary::{Result, Unstructured};

const SEGMENT: usize = 1 << 18;
const RECORDS_MAX: usize = 50;

/// Segments and records made of bytes, most of them with right checksums. Any
/// file is read or refused, and damage in it is told as damage.
pub(super) fn run(bytes: &[u8]) {
    thread_local!(static DIR: tempfile::TempDir = tempfile::tempdir().expect("a directory"));
    DIR.with(|dir| {
        let dir = dir.path();
        let conf = format!("format: 2\nsegment_size: {SEGMENT}\n");
        fs::write(dir.join("CREATED"), conf).expect("a file");
        fs::write(dir.join("db"), file(&mut Unstructured::new(bytes))).expect("a file");
        read(dir);
    });
}

fn read(dir: &std::path::Path) {
    let mut records = Records::default();
    let files = SledFiles::read(dir, &mut |key, value| records.note(key, value)).expect("the directory holds a store");
    let mut total = 0;
    let scanned = files.scan(b"", &[0xff; 16], &mut |_, value| {
        total += value.len();
        ControlFlow::Continue(())
    });
    scanned.expect("what was found can be read");
    assert!(total as u64 <= 4 * files.file_len());
    ExaminedBookmarks::new(&files).expect("what was found can be read");
    if let Ok(examined) = Examined::new(files, records) {
        let contents = examined.contents().expect("what was found can be read");
        let mut messages = 0;
        let each = examined.each_frame(&mut |_, _| {
            messages += 1;
            ControlFlow::Continue(())
        });
        each.expect("what was found can be read");
        assert!(messages <= contents.messages, "{messages} of {}", contents.messages);
    }
}

/// The log's file. What bytes are left over stand in it as they are.
fn file(bytes: &mut Unstructured<'_>) -> Vec<u8> {
    let mut file = Vec::new();
    for _ in 0..RECORDS_MAX {
        if bytes.is_empty() || part(bytes, &mut file).is_err() {
            break;
        }
    }
    file
}

fn part(bytes: &mut Unstructured<'_>, file: &mut Vec<u8>) -> Result<()> {
    if file.is_empty() || bytes.ratio(1, 16u8)? {
        // The next segment begins.
        if !file.is_empty() && file.len() < 2 * SEGMENT {
            file.resize(file.len().next_multiple_of(SEGMENT), 0);
        }
        let position = number(bytes)?.wrapping_mul(SEGMENT as u64) ^ (u64::MAX >> 1);
        let head = [&position.to_le_bytes()[..], &bytes.arbitrary::<u64>()?.to_le_bytes()].concat();
        file.extend((crc32fast::hash(&head) ^ u32::MAX).to_le_bytes());
        file.extend(head);
        return Ok(());
    }
    if bytes.ratio(1, 8u8)? {
        let len = bytes.int_in_range(0..=20)?;
        file.extend(bytes.bytes(len)?);
        return Ok(());
    }
    let (kind, of, page) = (bytes.int_in_range(0..=11u8)?, number(bytes)?, bytes.int_in_range(0..=4u64)?);
    let body = match bytes.int_in_range(0..=2u8)? {
        0 => image(bytes)?,
        1 => change(bytes)?,
        _ => {
            let len = bytes.int_in_range(0..=30)?;
            bytes.bytes(len)?.to_vec()
        }
    };
    let mut head = vec![kind];
    for value in [body.len() as u64, of, page] {
        varint(value, &mut head);
    }
    let mut crc = crc32fast::Hasher::new();
    crc.update(&body);
    crc.update(&head);
    file.extend((crc.finalize() ^ u32::MAX).to_le_bytes());
    file.extend(head);
    file.extend(body);
    Ok(())
}

/// Mostly a small one, so that records fit their segments.
fn number(bytes: &mut Unstructured<'_>) -> Result<u64> {
    Ok(if bytes.ratio(1, 16u8)? { bytes.arbitrary()? } else { bytes.int_in_range(0..=2)? })
}

fn image(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    varint(number(bytes)?, &mut body);
    varint(0, &mut body);
    body.extend([0, bytes.int_in_range(0..=3)?]);
    string(key(bytes)?, &mut body);
    string(Vec::new(), &mut body);
    body.push(bytes.int_in_range(0..=1)?);
    let count = bytes.int_in_range(0..=3u64)?;
    varint(if bytes.ratio(1, 16u8)? { bytes.arbitrary()? } else { count }, &mut body);
    for _ in 0..count {
        string(key(bytes)?, &mut body);
    }
    for _ in 0..count {
        string(value(bytes)?, &mut body);
    }
    Ok(body)
}

fn change(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut body = vec![bytes.int_in_range(0..=2)?];
    string(key(bytes)?, &mut body);
    string(value(bytes)?, &mut body);
    Ok(body)
}

/// Keys that mean something.
fn key(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    Ok(match bytes.int_in_range(0..=7u8)? {
        0 => b"meta".to_vec(),
        1 => b"synced".to_vec(),
        2 => b"removed".to_vec(),
        3 => [&[1, 0, 0], &bytes.arbitrary::<[u8; 2]>()?[..]].concat(),
        4 => [&b"p"[..], &number(bytes)?.to_be_bytes(), &[0; 4]].concat(),
        5 => b"mclient".to_vec(),
        _ => {
            let len = bytes.int_in_range(0..=20)?;
            bytes.bytes(len)?.to_vec()
        }
    })
}

/// An inline value of bytes, or the record of a log.
fn value(bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if bytes.ratio(1, 4u8)? {
        let (a, b, c) = (number(bytes)?, number(bytes)?, number(bytes)?);
        let record = format!(
            r#"{{"format":1,"client_name":"me","message_type":"json","protocol":"amps","discarded_through":{a},"persisted_through":{b},"reserved_through":{c},"ever_logged_on":true,"never_sent_from":null,"next_sequence":null,"settled":[],"renumbering_above":null}}"#
        );
        return Ok([&[0], record.as_bytes()].concat());
    }
    let len = bytes.int_in_range(0..=80)?;
    Ok([&[bytes.int_in_range(0..=2)?], bytes.bytes(len)?].concat())
}

fn string(content: Vec<u8>, to: &mut Vec<u8>) {
    varint(content.len() as u64, to);
    to.extend(content);
}

fn varint(value: u64, to: &mut Vec<u8>) {
    match value {
        0..=240 => to.push(value as u8),
        _ => {
            to.push(255);
            to.extend(value.to_le_bytes());
        }
    }
}
