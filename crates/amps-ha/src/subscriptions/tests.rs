use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use amps_core::{Bookmark, Message, StartAt};
use tokio::sync::Notify;

use super::*;
use crate::bookmarks::Bookmarks;
use crate::error::CommandError;

fn message(sequence: u64) -> Message {
    let frame = format!(r#"{{"c":"p","t":"t","bm":"7|{sequence}|"}}{sequence}"#);
    Message::decode(frame.into_bytes().into()).unwrap()
}

fn queue(messages: usize) -> SubscriptionQueue {
    let limits = QueueLimits { messages, bytes: 1 << 20 };
    SubscriptionQueue::new(limits, None, Arc::new(Notify::new()))
}

fn next(queue: &SubscriptionQueue) -> Poll<Option<Result<Item, CommandError>>> {
    queue.poll_next(&mut Context::from_waker(Waker::noop()))
}

fn reconnected() -> Item {
    Item::Reconnected { uri: "tcp://h:1/amps".parse().unwrap() }
}

#[test]
fn a_full_queue_refuses_and_keeps_what_it_has() {
    let queue = queue(2);
    let now = Instant::now();
    assert_eq!(queue.push_message(now, &message(1)), Delivery::Queued);
    assert_eq!(queue.push_message(now, &message(2)), Delivery::Queued);
    assert_eq!(queue.push_message(now, &message(3)), Delivery::Full);
    assert_eq!(queue.push_control(reconnected()), Delivery::Queued, "there is always room for the news");
    assert!(matches!(next(&queue), Poll::Ready(Some(Ok(Item::Message(m)))) if m.data() == b"1"));
    assert_eq!(queue.stats().delivered, 2);
}

#[test]
fn a_message_larger_than_the_bound_goes_into_an_empty_queue() {
    let queue = SubscriptionQueue::new(QueueLimits { messages: 9, bytes: 1 }, None, Arc::new(Notify::new()));
    assert_eq!(queue.push_message(Instant::now(), &message(1)), Delivery::Queued);
    assert_eq!(queue.push_message(Instant::now(), &message(2)), Delivery::Full);
}

#[test]
fn reconnects_that_nobody_reads_take_no_memory() {
    let queue = queue(2);
    for _ in 0..1000 {
        queue.push_control(reconnected());
    }
    assert_eq!(queue.len(), 1);
}

#[test]
fn what_was_delivered_is_not_delivered_again() {
    let limits = QueueLimits { messages: 1, bytes: 1 << 20 };
    let bookmarks = Bookmarks::new(StartAt::Epoch, Duration::from_secs(10));
    let queue = SubscriptionQueue::new(limits, Some(bookmarks), Arc::new(Notify::new()));
    let now = Instant::now();
    assert_eq!(queue.push_message(now, &message(1)), Delivery::Queued);
    assert_eq!(queue.push_message(now, &message(2)), Delivery::Full, "refused, so not counted as received");
    let _ = next(&queue);
    assert_eq!(queue.push_message(now, &message(2)), Delivery::Queued);
    let _ = next(&queue);
    assert_eq!(queue.push_message(now, &message(2)), Delivery::Duplicate);
    assert_eq!(queue.stats(), QueueStats { delivered: 2, duplicates: 1 });
    let first = Bookmark { publisher: 7, sequence: 1 };
    assert_eq!(queue.with_bookmarks(|bookmarks| bookmarks.discard(first)), Some(true));
}

#[test]
fn an_error_comes_behind_the_messages_and_once() {
    let queue = queue(9);
    queue.push_message(Instant::now(), &message(1));
    queue.end(EndCause::Failed(CommandError::Disconnected));
    queue.end(EndCause::Complete);
    assert_eq!(queue.push_message(Instant::now(), &message(2)), Delivery::Gone);
    assert!(matches!(next(&queue), Poll::Ready(Some(Ok(Item::Message(_))))));
    assert!(matches!(next(&queue), Poll::Ready(Some(Err(CommandError::Disconnected)))), "the first cause stays");
    assert!(matches!(next(&queue), Poll::Ready(None)));
}

#[test]
fn an_id_names_one_subscription_for_ever() {
    let mut table = Table::default();
    let spec = SubscriptionSpec::new(SubscriptionKind::Subscribe, "t");
    let first = table.insert(spec.clone(), Arc::new(queue(1)), None);
    let second = table.insert(spec.clone(), Arc::new(queue(1)), None);
    assert!(table.remove(first).is_some());
    let third = table.insert(spec, Arc::new(queue(1)), None);
    assert!(table.get_mut(first).is_none(), "a late message for the old one reaches nobody");
    assert_eq!(table.ids_in_order(), [second, third], "in order of creation, not of slots");
    for wire in ["", "x", "-1", "99999999999999999999"] {
        assert!(table.by_wire_id(wire).is_none(), "{wire}");
    }
}
