//! Bookmarks, lists of them, and places to start.

use amps_core::{Bookmark, BookmarkList, Message, StartAt};
use bytes::Bytes;

/// The quick reader agrees with a slow one, alone and among others, and what is
/// read is written as something that reads the same.
pub(super) fn run(bytes: &[u8]) {
    assert_eq!(Bookmark::from_bytes(bytes), slow(bytes));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(list) = text.parse::<BookmarkList>() {
        assert_eq!(list.to_string().parse().as_ref(), Ok(&list));
        assert!(list.as_slice().len() <= text.len() / 3 + 1);
    }
    if let Ok(start) = text.parse::<StartAt>() {
        assert_eq!(start.check(), Ok(()));
        let wire = start.to_wire();
        assert_eq!(wire.parse::<StartAt>().map(|again| again.to_wire()).as_ref(), Ok(&wire));
    }
    together(text);
}

/// As the documents have it: digits, a bar, digits, and perhaps a bar.
fn slow(bytes: &[u8]) -> Option<Bookmark> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_suffix('|').unwrap_or(text);
    let (publisher, sequence) = text.split_once('|')?;
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    Some(Bookmark { publisher: number(publisher)?, sequence: number(sequence)? })
}

/// Bookmarks of a read are read by what differs from those before.
fn together(text: &str) {
    let parts: Vec<_> = text.split(',').filter(|part| !part.contains(['"', '\\'])).collect();
    let mut wire = bytes::BytesMut::new();
    for part in &parts {
        amps_core::header::FrameWriter::new(&mut wire, "p").text(amps_core::Field::Bookmark, part).finish(b"");
    }
    let messages = amps_core::Messages::decode(wire.freeze());
    assert_eq!(messages.error(), None);
    let alone = |part: &str| {
        let header = format!(r#"{{"c":"p","bm":"{part}"}}"#);
        Message::decode(Bytes::from(header)).ok().and_then(|message| message.bookmark())
    };
    for (part, bookmark) in parts.iter().zip(messages.bookmarks()) {
        if !part.bytes().any(|byte| byte.is_ascii_control()) {
            assert_eq!(*bookmark, slow(part.as_bytes()), "{part}");
            assert_eq!(*bookmark, alone(part), "{part}");
        }
    }
}
