//! What the peer sends to a subscription or query: one block of frames again and
//! again, its numbers moved on each time.

use std::io::Write;

use amps_core::header::{Field, FrameWriter};
use bytes::BytesMut;

use super::frames::{self, FIRST_SEQUENCE, Header, KEY, MICROS, WRITE_LEN};

/// The publishers whose messages come by turns.
const PUBLISHERS: [&str; 4] =
    ["1394823848312345671", "2394823848312345672", "3394823848312345673", "4394823848312345674"];

/// Frames with a number in each message, which rises from message to message.
#[derive(Debug)]
pub(super) struct Feed {
    block: BytesMut,
    /// Where each frame ends.
    ends: Vec<usize>,
    numbers: Vec<Number>,
    /// Messages in a frame.
    batch: u64,
    next: u64,
    sent: u64,
}

/// A place in the block where digits count the messages.
#[derive(Debug, Clone, Copy)]
struct Number {
    at: usize,
    digits: usize,
    /// The last of its message.
    last: bool,
}

impl Feed {
    /// Messages of a subscription.
    pub(super) fn stream(header: Header, subscription: &str, body: &[u8]) -> Self {
        let mut feed = Self::new(1);
        while feed.block.len() < WRITE_LEN {
            let publisher = PUBLISHERS[feed.ends.len() % PUBLISHERS.len()];
            feed.frame(|out| frames::deliver(out, header, publisher, subscription, body));
        }
        feed
    }

    /// Records of a query, so many in a frame.
    pub(super) fn records(query: &str, batch: u64, body: &[u8]) -> Self {
        let mut feed = Self::new(batch.max(1));
        while feed.block.len() < WRITE_LEN {
            feed.frame(|out| frames::records(out, query, batch, body));
        }
        feed
    }

    fn new(batch: u64) -> Self {
        Self { block: BytesMut::new(), ends: Vec::new(), numbers: Vec::new(), batch, next: FIRST_SEQUENCE, sent: 0 }
    }

    fn frame(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        let mut at = self.block.len();
        encode(&mut self.block);
        self.ends.push(self.block.len());
        let sequence = FIRST_SEQUENCE.to_string();
        while at < self.block.len() {
            let rest = &self.block[at..];
            // The key is the last of a message's numbers.
            let found = [(sequence.as_bytes(), false), (MICROS.as_bytes(), false), (KEY.as_bytes(), true)];
            match found.into_iter().find(|(text, _)| rest.starts_with(text)) {
                Some((text, last)) => {
                    self.numbers.push(Number { at, digits: text.len(), last });
                    at += text.len();
                }
                None => at += 1,
            }
        }
    }

    /// Sends so many messages; of records, whole frames.
    pub(super) fn send(&mut self, out: &mut impl Write, messages: u64) -> std::io::Result<()> {
        let mut frames = messages.div_ceil(self.batch);
        while frames > 0 {
            for Number { at, digits, last } in &self.numbers {
                write_digits(&mut self.block[*at..*at + digits], self.next);
                self.next += u64::from(*last);
            }
            let now = self.ends.len().min(usize::try_from(frames).unwrap_or(usize::MAX));
            out.write_all(&self.block[..self.ends[now - 1]])?;
            frames -= now as u64;
            self.sent += now as u64 * self.batch;
        }
        Ok(())
    }

    /// How many messages were sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }
}

fn write_digits(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Around the records of a query.
pub(super) fn group(out: &mut BytesMut, command: &str, query: &str) {
    FrameWriter::new(out, command).text(Field::QueryId, query).text(Field::Topic, frames::TOPIC).finish(b"");
}

#[cfg(test)]
mod tests {
    use amps_core::frame::MAX_FRAME_LEN;
    use amps_core::{FrameDecoder, Message, batch};

    use super::*;

    fn sent(mut feed: Feed, messages: u64) -> Vec<Message> {
        let mut wire = Vec::new();
        feed.send(&mut wire, messages).unwrap();
        let mut decoder = FrameDecoder::new(MAX_FRAME_LEN);
        decoder.extend(&wire);
        std::iter::from_fn(|| decoder.next_frame().unwrap()).map(|frame| Message::decode(frame).unwrap()).collect()
    }

    #[test]
    fn bookmarks_rise_with_each_publisher() {
        let messages = sent(Feed::stream(Header::Long, "7", &frames::body(128)), 1_001);
        assert_eq!(messages.len(), 1_001);
        for publisher in PUBLISHERS {
            let bookmarks = messages.iter().map(|message| message.bookmark().unwrap());
            let own: Vec<_> = bookmarks.filter(|b| b.publisher.to_string() == publisher).map(|b| b.sequence).collect();
            assert!(own.len() >= 240 && own.is_sorted_by(|a, b| a < b), "{publisher}");
        }
    }

    #[test]
    fn time_and_key_change_from_message_to_message() {
        let messages = sent(Feed::stream(Header::Long, "7", &frames::body(128)), 1_001);
        for pair in messages.windows(2) {
            assert_ne!(pair[0].sow_key(), pair[1].sow_key());
            assert_ne!(pair[0].raw(Field::Timestamp), pair[1].raw(Field::Timestamp));
        }
    }

    #[test]
    fn a_short_header_has_no_number() {
        let messages = sent(Feed::stream(Header::Short, "7", &frames::body(128)), 1_000);
        assert_eq!(messages.len(), 1_000);
        assert!(messages.iter().all(|message| message.bookmark().is_none()));
    }

    #[test]
    fn every_record_has_a_key_of_its_own() {
        let batches = sent(Feed::records("7", 100, &frames::body(128)), 1_500);
        assert_eq!(batches.len(), 15);
        let records: Vec<_> = batches.iter().flat_map(batch::records).collect();
        let mut keys: Vec<_> = records.iter().map(|record| record.sow_key().unwrap().into_owned()).collect();
        keys.dedup();
        assert_eq!(keys.len(), 1_500);
        assert!(records.iter().all(|record| record.data().len() == 128));
    }
}
