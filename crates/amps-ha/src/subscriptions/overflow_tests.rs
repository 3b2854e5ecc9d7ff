//! The queue of a subscription that is not read fast enough.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use amps_core::header::FrameWriter;
use amps_core::{Field, Messages};
use proptest::prelude::*;
use tokio::sync::Notify;

use super::*;
use crate::error::CommandError;

fn queue(on_full: OnFull, messages: usize, bytes: usize) -> (Arc<SubscriptionQueue>, QueueReader) {
    let limits = QueueLimits { messages, bytes };
    let queue = Arc::new(SubscriptionQueue::new(limits, None, Arc::new(Notify::new())).when_full(on_full, "t"));
    (Arc::clone(&queue), QueueReader::new(queue))
}

/// Queues messages with these numbers as their bodies, of one read. Answers how
/// many were taken.
fn push(queue: &SubscriptionQueue, numbers: std::ops::Range<u64>) -> usize {
    let mut wire = bytes::BytesMut::new();
    let count = (numbers.end - numbers.start) as usize;
    for number in numbers {
        FrameWriter::new(&mut wire, "p").text(Field::Topic, "t").finish(number.to_string().as_bytes());
    }
    queue.push_messages(Instant::now(), &Messages::decode(wire.freeze()), 0..count)
}

/// The next item: a body, how many are missing, or how it ended.
fn next(reader: &mut QueueReader) -> Option<String> {
    match reader.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(Item::Message(message)))) => Some(String::from_utf8_lossy(message.data()).into_owned()),
        Poll::Ready(Some(Ok(Item::Missed { messages }))) => Some(format!("-{messages}")),
        Poll::Ready(Some(Ok(other))) => Some(format!("{other:?}")),
        Poll::Ready(Some(Err(error))) => Some(error.to_string()),
        Poll::Ready(None) | Poll::Pending => None,
    }
}

fn rest(reader: &mut QueueReader) -> Vec<String> {
    std::iter::from_fn(|| next(reader)).collect()
}

#[test]
fn the_newest_wait_and_what_is_missing_is_told_where_it_was() {
    let (queue, mut reader) = queue(OnFull::DropOldest, 3, 1 << 20);
    assert_eq!(push(&queue, 0..2), 2);
    assert_eq!(push(&queue, 2..9), 7);
    assert_eq!(rest(&mut reader), ["-6", "6", "7", "8"]);
    assert_eq!(push(&queue, 9..12), 3);
    assert_eq!(next(&mut reader).as_deref(), Some("9"));
    // What was taken is not dropped.
    assert_eq!(push(&queue, 12..14), 2);
    assert_eq!(rest(&mut reader), ["-1", "11", "12", "13"]);
    assert_eq!((queue.stats().delivered, queue.stats().missed), (14, 7));
    assert!(queue.is_empty());
}

#[test]
fn other_events_keep_their_places_among_what_is_dropped() {
    let (queue, mut reader) = queue(OnFull::DropOldest, 2, 1 << 20);
    queue.push_control(Item::SnapshotBegin);
    push(&queue, 0..3);
    queue.push_control(Item::SnapshotEnd);
    push(&queue, 3..7);
    assert_eq!(rest(&mut reader), ["SnapshotBegin", "-3", "SnapshotEnd", "-2", "5", "6"]);
}

#[test]
fn bytes_are_bounded_too_and_a_message_larger_than_the_bound_is_let_in() {
    let (queue, mut reader) = queue(OnFull::DropOldest, 100, 70);
    // Frames of 20 bytes.
    push(&queue, 10..20);
    assert_eq!(rest(&mut reader), ["-7", "17", "18", "19"]);
    let (queue, mut reader) = self::queue(OnFull::DropOldest, 100, 1);
    push(&queue, 0..3);
    assert_eq!(rest(&mut reader), ["-2", "2"]);
}

#[test]
fn a_subscription_that_is_to_end_does_so_behind_what_fits() {
    let (queue, mut reader) = queue(OnFull::End, 3, 1 << 20);
    assert_eq!(push(&queue, 0..3), 3);
    assert!(!queue.has_ended());
    assert_eq!(push(&queue, 3..4), 0);
    assert!(queue.has_ended());
    assert_eq!(push(&queue, 4..9), 5, "what comes now is for nobody");
    let error = CommandError::QueueFull { topic: "t".to_owned() }.to_string();
    assert_eq!(rest(&mut reader), ["0", "1", "2", &error]);
    let (queue, mut reader) = self::queue(OnFull::End, 3, 1 << 20);
    assert_eq!(push(&queue, 0..5), 3, "of one read");
    assert_eq!(rest(&mut reader), ["0", "1", "2", &error]);
}

proptest! {
    /// However pushing and reading meet: everything comes in order or is counted
    /// as missing where it was, and no more waits than the bound.
    #[test]
    fn what_was_pushed_is_read_or_counted(
        most in 1usize..6,
        bytes in prop::sample::select(vec![60usize, 1 << 20]),
        steps in prop::collection::vec((0u64..5, 0usize..5), 1..30),
    ) {
        let (queue, mut reader) = queue(OnFull::DropOldest, most, bytes);
        let (mut pushed, mut expected, mut missed) = (0, 0, 0);
        let mut check = |item: String, missed: &mut u64| {
            match item.strip_prefix('-') {
                Some(count) => {
                    let count: u64 = count.parse().unwrap();
                    expected += count;
                    *missed += count;
                }
                None => {
                    assert_eq!(item, expected.to_string());
                    expected += 1;
                }
            }
            expected
        };
        let mut seen = 0;
        for (more, read) in steps {
            push(&queue, pushed..pushed + more);
            pushed += more;
            // A note of what is missing, and one that the reader has.
            prop_assert!(reader.depth() <= most + 2, "{}", reader.depth());
            for _ in 0..read {
                if let Some(item) = next(&mut reader) {
                    seen = check(item, &mut missed);
                }
            }
        }
        for item in rest(&mut reader) {
            seen = check(item, &mut missed);
        }
        prop_assert_eq!((seen, missed), (pushed, queue.stats().missed));
        prop_assert_eq!((reader.depth(), queue.len()), (0, 0));
    }
}
