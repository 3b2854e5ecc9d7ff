use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use amps_core::header::FrameWriter;
use amps_core::{Bookmark, Field, Messages, StartAt};
use tokio::sync::Notify;

use super::*;
use crate::bookmarks::Bookmarks;
use crate::error::CommandError;

/// Pushes one message. Answers how many were taken.
fn push(queue: &SubscriptionQueue, sequence: u64) -> usize {
    queue.push_messages(Instant::now(), &run(sequence..=sequence), 0..1)
}

fn run(sequences: std::ops::RangeInclusive<u64>) -> Messages {
    let mut wire = bytes::BytesMut::new();
    sequences.for_each(|sequence| write(&mut wire, sequence));
    Messages::decode(wire.freeze())
}

fn write(wire: &mut bytes::BytesMut, sequence: u64) {
    let bookmark = format!("7|{sequence}|");
    FrameWriter::new(wire, "p").text(Field::Bookmark, &bookmark).finish(sequence.to_string().as_bytes());
}

fn bodies(reader: &mut QueueReader) -> Vec<u64> {
    let mut bodies = Vec::new();
    while let Poll::Ready(Some(Ok(Item::Message(message)))) = next(reader) {
        bodies.push(std::str::from_utf8(message.data()).unwrap().parse().unwrap());
    }
    bodies
}

fn queue(messages: usize) -> (Arc<SubscriptionQueue>, QueueReader) {
    with_limits(QueueLimits { messages, bytes: 1 << 20 }, None)
}

fn with_limits(limits: QueueLimits, bookmarks: Option<Bookmarks>) -> (Arc<SubscriptionQueue>, QueueReader) {
    let queue = Arc::new(SubscriptionQueue::new(limits, bookmarks, Arc::new(Notify::new())));
    (Arc::clone(&queue), QueueReader::new(queue))
}

fn next(reader: &mut QueueReader) -> Poll<Option<Result<Item, CommandError>>> {
    reader.poll_next(&mut Context::from_waker(Waker::noop()))
}

fn reconnected() -> Item {
    Item::Reconnected { uri: "tcp://h:1/amps".parse().unwrap() }
}

#[test]
fn a_full_queue_refuses_and_keeps_what_it_has() {
    let (queue, mut reader) = queue(2);
    assert_eq!(push(&queue, 1), 1);
    assert_eq!(push(&queue, 2), 1);
    assert_eq!(push(&queue, 3), 0);
    queue.push_control(reconnected());
    assert_eq!(queue.len(), 3, "there is always room for the news");
    assert!(matches!(next(&mut reader), Poll::Ready(Some(Ok(Item::Message(m)))) if m.data() == b"1"));
    assert_eq!(queue.stats().delivered, 2);
}

#[test]
fn a_message_larger_than_the_bound_goes_into_an_empty_queue() {
    let (queue, mut reader) = with_limits(QueueLimits { messages: 9, bytes: 1 }, None);
    let messages = run(1..=3);
    assert_eq!(queue.push_messages(Instant::now(), &messages, 0..3), 1);
    assert_eq!(push(&queue, 2), 0);
    assert_eq!(bodies(&mut reader), [1]);
    assert_eq!(queue.push_messages(Instant::now(), &messages, 1..3), 2);
}

/// Covers 20#12.
#[test]
fn reconnects_that_nobody_reads_take_no_memory() {
    let (queue, reader) = queue(2);
    for _ in 0..1000 {
        queue.push_control(reconnected());
    }
    assert_eq!(queue.len(), 1);
    assert_eq!(reader.depth(), 1);
}

#[test]
fn what_was_delivered_is_not_delivered_again() {
    let limits = QueueLimits { messages: 1, bytes: 1 << 20 };
    let bookmarks = Bookmarks::new(StartAt::Epoch, Duration::from_secs(10));
    let (queue, mut reader) = with_limits(limits, Some(bookmarks));
    assert_eq!(push(&queue, 1), 1);
    assert_eq!(push(&queue, 2), 0, "refused, so not counted as received");
    assert!(next(&mut reader).is_ready());
    assert_eq!(push(&queue, 2), 0, "the reader may still have the first");
    assert!(next(&mut reader).is_pending());
    assert_eq!(push(&queue, 2), 1);
    assert_eq!(bodies(&mut reader), [2]);
    assert_eq!(push(&queue, 2), 1);
    assert!(bodies(&mut reader).is_empty(), "a duplicate");
    assert_eq!(queue.stats(), QueueStats { delivered: 2, duplicates: 1, ..QueueStats::default() });
    let first = Bookmark { publisher: 7, sequence: 1 };
    assert_eq!(queue.with_bookmarks(|bookmarks| bookmarks.discard(first)), Some(true));
}

#[test]
fn duplicates_are_taken_out_of_the_middle_of_a_row() {
    let bookmarks = Bookmarks::new(StartAt::Epoch, Duration::from_secs(10));
    let (queue, mut reader) = with_limits(QueueLimits::default(), Some(bookmarks));
    let mut wire = bytes::BytesMut::new();
    for sequence in [1, 2, 2, 1, 3, 4, 4] {
        write(&mut wire, sequence);
    }
    let messages = Messages::decode(wire.freeze());
    assert_eq!(queue.push_messages(Instant::now(), &messages, 0..7), 7);
    assert_eq!(bodies(&mut reader), [1, 2, 3, 4]);
    assert_eq!(queue.stats(), QueueStats { delivered: 4, duplicates: 3, ..QueueStats::default() });
}

#[test]
fn an_error_comes_behind_the_messages_and_once() {
    let (queue, mut reader) = queue(9);
    push(&queue, 1);
    queue.end(EndCause::Failed(CommandError::Disconnected));
    queue.end(EndCause::Complete);
    assert_eq!(push(&queue, 2), 1, "nobody listens");
    assert!(matches!(next(&mut reader), Poll::Ready(Some(Ok(Item::Message(_))))));
    assert!(matches!(next(&mut reader), Poll::Ready(Some(Err(CommandError::Disconnected)))), "the first cause stays");
    assert!(matches!(next(&mut reader), Poll::Ready(None)));
}

#[test]
fn an_id_names_one_subscription_for_ever() {
    let mut table = Table::default();
    let spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "t");
    let first = table.insert(spec.clone(), queue(1).0, None);
    let second = table.insert(spec.clone(), queue(1).0, None);
    assert!(table.remove(first).is_some());
    let third = table.insert(spec, queue(1).0, None);
    assert!(table.get_mut(first).is_none(), "a late message for the old one reaches nobody");
    assert_eq!(table.ids_in_order(), [second, third], "in order of creation, not of slots");
    for wire in ["", "x", "-1", "99999999999999999999"] {
        assert!(table.by_wire_id(wire).is_none(), "{wire}");
    }
}

#[test]
fn a_row_of_messages_goes_in_as_far_as_there_is_room() {
    let (queue, mut reader) = queue(5);
    let messages = run(1..=8);
    assert_eq!(queue.push_messages(Instant::now(), &messages, 1..8), 6, "the first that found no room");
    assert_eq!(bodies(&mut reader), [2, 3, 4, 5, 6]);
    assert_eq!(queue.push_messages(Instant::now(), &messages, 6..8), 8);
    assert_eq!(bodies(&mut reader), [7, 8]);
    queue.abandon();
    assert_eq!(queue.push_messages(Instant::now(), &messages, 0..8), 8, "nobody listens");
}

/// More than a reader takes at once, and enough to be copied out of their reads.
#[test]
fn a_crowd_keeps_its_order_and_its_bound() {
    let (queue, mut reader) = queue(1000);
    let now = Instant::now();
    for first in (1..=1000).step_by(4) {
        assert_eq!(queue.push_messages(now, &run(first..=first + 3), 0..4), 4);
    }
    assert_eq!(queue.push_messages(now, &run(1001..=1001), 0..1), 0);
    assert!(next(&mut reader).is_ready());
    assert_eq!(reader.depth(), 999);
    assert_eq!(queue.push_messages(now, &run(1001..=1001), 0..1), 0, "what the reader took still counts");
    assert_eq!(bodies(&mut reader), (2..=1000).collect::<Vec<_>>());
    assert_eq!(reader.depth(), 0);
}
