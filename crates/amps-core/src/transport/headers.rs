//! The last headers of a client's connections, for a look at what happened.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use super::{Direction, Tap};
use crate::frame::PREFIX_LEN;
use crate::header::Field;
use crate::message::Message;

/// Of a frame at most so much is looked at.
const HEAD_MAX: usize = 16 * 1024;

/// Keeps the last headers, both ways, with passwords masked: what to write down
/// when something went wrong. Cheap to clone; all clones are the same.
///
/// ```
/// use amps_core::{LastHeaders, SocketConnector};
/// let headers = LastHeaders::new(1_000);
/// let connector = SocketConnector::new().tap(headers.tap());
/// // Later, of a client with this connector:
/// for header in headers.list() {
///     println!("{header}");
/// }
/// # let _ = connector;
/// ```
#[derive(Debug, Clone)]
pub struct LastHeaders {
    most: usize,
    kept: Arc<Mutex<VecDeque<SeenHeader>>>,
    connections: Arc<AtomicU64>,
}

/// One header that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeenHeader {
    /// When, by the wall clock.
    pub at: SystemTime,
    /// The number of its connection, from 1.
    pub connection: u64,
    /// Which way it went.
    pub direction: Direction,
    /// The header as it stands on the wire, but for a password. What is no
    /// header is described.
    pub header: String,
    /// Bytes of the frame.
    pub len: usize,
}

impl LastHeaders {
    /// Keeps so many.
    pub fn new(most: usize) -> Self {
        Self { most, kept: Arc::default(), connections: Arc::default() }
    }

    /// What to give to a [`SocketConnector`](super::SocketConnector).
    pub fn tap(&self) -> Tap {
        let this = self.clone();
        let tap = Tap::each(move || {
            let this = this.clone();
            let connection = this.connections.fetch_add(1, Ordering::Relaxed) + 1;
            let (mut out, mut back) = (Frames::default(), Frames::default());
            move |direction, bytes| {
                let frames = if direction == Direction::Out { &mut out } else { &mut back };
                frames.pass(bytes, |header, len| {
                    this.keep(SeenHeader { at: SystemTime::now(), connection, direction, header, len });
                });
            }
        });
        tap.keeping(self.clone())
    }

    /// Those kept, the oldest first.
    pub fn list(&self) -> Vec<SeenHeader> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn keep(&self, header: SeenHeader) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= self.most {
            kept.pop_front();
        }
        if self.most > 0 {
            kept.push_back(header);
        }
    }
}

impl fmt::Display for SeenHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let way = if self.direction == Direction::Out { '>' } else { '<' };
        let Self { connection, header, len, .. } = self;
        write!(f, "{}.{:06} #{connection} {way} {header} ({len} bytes)", since.as_secs(), since.subsec_micros())
    }
}

/// Finds the frames in the bytes of one direction.
#[derive(Debug, Default)]
struct Frames {
    prefix: Vec<u8>,
    head: Vec<u8>,
    len: usize,
    left: usize,
}

impl Frames {
    fn pass(&mut self, mut bytes: &[u8], mut seen: impl FnMut(String, usize)) {
        while !bytes.is_empty() {
            if self.left == 0 {
                let (prefix, rest) = bytes.split_at(bytes.len().min(PREFIX_LEN - self.prefix.len()));
                self.prefix.extend_from_slice(prefix);
                bytes = rest;
                let Ok(whole) = <[u8; PREFIX_LEN]>::try_from(self.prefix.as_slice()) else { return };
                self.prefix.clear();
                self.len = u32::from_be_bytes(whole) as usize;
                self.left = self.len;
            }
            let (part, rest) = bytes.split_at(bytes.len().min(self.left));
            let room = HEAD_MAX - self.head.len();
            self.head.extend_from_slice(&part[..part.len().min(room)]);
            self.left -= part.len();
            bytes = rest;
            if self.left == 0 {
                seen(shown(&self.head), self.len);
                self.head.clear();
            }
        }
    }
}

fn shown(head: &[u8]) -> String {
    match Message::decode(Bytes::copy_from_slice(head)) {
        Ok(message) => {
            let header = message.header();
            match message.span(Field::Password) {
                Some(password) => format!("{}***{}", &header[..password.start], &header[password.end..]),
                None => header.to_owned(),
            }
        }
        // What cannot be read may be a password.
        Err(error) => format!("no header: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(text: &str) -> Vec<u8> {
        [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat()
    }

    #[test]
    fn the_last_headers_are_kept_and_passwords_are_not() {
        let headers = LastHeaders::new(3);
        let mut look = headers.tap().make();
        let long = format!(r#"{{"c":"p","t":"t"}}{}"#, "x".repeat(100_000));
        for text in ["{}", r#"{"c":"logon","user_id":"me","pw":"se\"cret","mt":"json"}"#, &long, "rubbish"] {
            look(Direction::Out, &frame(text));
        }
        let list = headers.list();
        let texts: Vec<_> = list.iter().map(|seen| (seen.header.as_str(), seen.len)).collect();
        assert_eq!(texts[0], (r#"{"c":"logon","user_id":"me","pw":"***","mt":"json"}"#, 56));
        assert_eq!(texts[1], (r#"{"c":"p","t":"t"}"#, long.len()));
        assert!(texts[2].0.starts_with("no header: "), "{texts:?}");
        assert!(list[1].to_string().ends_with(&format!("#1 > {} ({} bytes)", texts[1].0, long.len())), "{}", list[1]);
    }

    proptest! {
        #[test]
        fn frames_are_found_however_they_are_cut(texts in prop::collection::vec("[a-z]{0,20}", 0..6), cut in 1usize..9) {
            let bytes: Vec<u8> = texts.iter().flat_map(|text| frame(&format!(r#"{{"c":"p","t":"{text}"}}"#))).collect();
            let (mut frames, mut seen) = (Frames::default(), Vec::new());
            for part in bytes.chunks(cut) {
                frames.pass(part, |header, _| seen.push(header));
            }
            let expected: Vec<_> = texts.iter().map(|text| format!(r#"{{"c":"p","t":"{text}"}}"#)).collect();
            prop_assert_eq!(seen, expected);
        }

        #[test]
        fn any_bytes_are_passed(bytes in prop::collection::vec(0u8..3, 0..60)) {
            Frames::default().pass(&bytes, |_, _| {});
        }
    }
}
