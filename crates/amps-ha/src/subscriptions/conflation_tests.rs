//! The queue of a subscription that conflates.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use amps_core::header::FrameWriter;
use amps_core::message::MessageKind;
use amps_core::{Field, Messages};
use proptest::prelude::*;
use tokio::sync::Notify;

use super::*;

fn queue(messages: usize, bytes: usize) -> (Arc<SubscriptionQueue>, QueueReader) {
    let limits = QueueLimits { messages, bytes };
    let queue = Arc::new(SubscriptionQueue::new(limits, None, Arc::new(Notify::new())).conflating(true));
    (Arc::clone(&queue), QueueReader::new(queue))
}

/// Messages of a kind, with a key or without, and a body.
fn messages(all: &[(&str, &str, &str)]) -> Messages {
    let mut wire = bytes::BytesMut::new();
    for (kind, key, body) in all {
        let key = Some(*key).filter(|key| !key.is_empty());
        FrameWriter::new(&mut wire, kind).maybe(Field::SowKey, key).finish(body.as_bytes());
    }
    Messages::decode(wire.freeze())
}

/// Answers how many were taken.
fn push(queue: &SubscriptionQueue, all: &[(&str, &str, &str)]) -> usize {
    queue.push_messages(Instant::now(), &messages(all), 0..all.len())
}

fn next(reader: &mut QueueReader) -> Option<String> {
    match reader.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(Item::Message(message)))) => {
            let gone = if message.kind() == MessageKind::Oof { "-" } else { "" };
            Some(format!("{gone}{}", String::from_utf8_lossy(message.data())))
        }
        Poll::Ready(Some(Ok(other))) => Some(format!("{other:?}")),
        _ => None,
    }
}

fn rest(reader: &mut QueueReader) -> Vec<String> {
    std::iter::from_fn(|| next(reader)).collect()
}

#[test]
fn the_newest_of_a_key_waits_where_the_first_did() {
    let (queue, mut reader) = queue(99, 1 << 20);
    push(&queue, &[("p", "a", "1"), ("p", "b", "2"), ("p", "", "3"), ("p", "a", "4"), ("p", "", "5")]);
    push(&queue, &[("p", "c", "6"), ("p", "b", "7"), ("p", "a", "8")]);
    assert_eq!(reader.depth(), 5);
    assert_eq!(next(&mut reader).as_deref(), Some("8"));
    // What was read is not waiting any more.
    push(&queue, &[("p", "a", "9"), ("p", "b", "10")]);
    assert_eq!(rest(&mut reader), ["10", "3", "5", "6", "9"]);
    assert_eq!(reader.depth(), 0);
    let stats = queue.stats();
    assert_eq!((stats.delivered, stats.conflated), (6, 4));
}

/// Covers 7.4#2.
#[test]
fn out_of_focus_takes_the_place_of_an_update_and_an_update_that_of_out_of_focus() {
    let (queue, mut reader) = queue(99, 1 << 20);
    push(&queue, &[("p", "a", "1"), ("p", "b", "2"), ("oof", "a", "1"), ("oof", "c", "0")]);
    assert_eq!(rest(&mut reader), ["-1", "2", "-0"]);
    push(&queue, &[("oof", "a", "1"), ("p", "b", "2"), ("p", "a", "3")]);
    assert_eq!(rest(&mut reader), ["3", "2"], "it is there again");
}

#[test]
fn nothing_is_replaced_across_another_event() {
    let (queue, mut reader) = queue(99, 1 << 20);
    push(&queue, &[("p", "a", "1")]);
    queue.push_control(Item::SnapshotBegin);
    push(&queue, &[("sow", "a", "2")]);
    queue.push_control(Item::SnapshotEnd);
    push(&queue, &[("p", "a", "3"), ("p", "a", "4")]);
    assert_eq!(rest(&mut reader), ["1", "SnapshotBegin", "2", "SnapshotEnd", "4"]);
}

#[test]
fn messages_of_queues_stand_for_themselves() {
    let (queue, mut reader) = queue(99, 1 << 20);
    let mut wire = bytes::BytesMut::new();
    for body in ["1", "2"] {
        let frame = FrameWriter::new(&mut wire, "p").text(Field::SowKey, "a");
        frame.text(Field::LeasePeriod, "20260105T101530.000000Z").finish(body.as_bytes());
    }
    queue.push_messages(Instant::now(), &Messages::decode(wire.freeze()), 0..2);
    assert_eq!(rest(&mut reader), ["1", "2"]);
}

/// Covers 7.4#3.
#[test]
fn a_full_queue_takes_what_replaces_and_nothing_else() {
    let (bounded, mut reader) = queue(2, 1 << 20);
    assert_eq!(
        push(&bounded, &[("p", "a", "1"), ("p", "b", "2"), ("p", "a", "3"), ("p", "c", "4"), ("p", "a", "5")]),
        3
    );
    assert_eq!(push(&bounded, &[("p", "b", "6")]), 1);
    assert_eq!(rest(&mut reader), ["3", "6"]);

    let (small, mut reader) = queue(99, 60);
    assert_eq!(push(&small, &[("p", "a", "1"), ("p", "b", "2")]), 2);
    let long = "x".repeat(60);
    assert_eq!(push(&small, &[("p", "a", &long)]), 0, "it would grow beyond the bound");
    assert_eq!(rest(&mut reader), ["1", "2"]);
    assert_eq!(push(&small, &[("p", "a", &long), ("p", "a", &long), ("p", "b", "2")]), 2, "alone it is let in");
    assert_eq!(rest(&mut reader), [long]);
}

proptest! {
    /// Against a list that is searched.
    #[test]
    fn it_is_what_a_naive_list_is(
        steps in prop::collection::vec(prop_oneof![
            4 => (0..4u8, 0..3u8).prop_map(Some),
            1 => Just(None),
        ], 1..120),
        bound in 1..8usize,
    ) {
        let (queue, mut reader) = queue(bound, 1 << 20);
        let mut naive: Vec<(String, String)> = Vec::new();
        // What the reader took last still counts, until it comes back.
        let mut taken = 0;
        for (number, step) in steps.into_iter().enumerate() {
            let Some((key, kind)) = step else {
                taken = usize::from(!naive.is_empty());
                let first = (!naive.is_empty()).then(|| naive.remove(0).1);
                prop_assert_eq!(next(&mut reader), first);
                continue;
            };
            let key = if key == 3 { String::new() } else { key.to_string() };
            let (kind, mark) = if kind == 0 { ("oof", "-") } else { ("p", "") };
            let place = naive.iter().position(|(own, _)| !key.is_empty() && *own == key);
            let body = format!("{number}");
            let shown = format!("{mark}{body}");
            let taken_in = match place {
                Some(place) => {
                    naive[place].1 = shown;
                    1
                }
                None if naive.len() + taken < bound || naive.is_empty() && taken == 0 => {
                    naive.push((key.clone(), shown));
                    1
                }
                None => 0,
            };
            prop_assert_eq!(push(&queue, &[(kind, &key, &body)]), taken_in);
            prop_assert_eq!(queue.len(), naive.len());
        }
        let waiting: Vec<_> = naive.into_iter().map(|(_, body)| body).collect();
        prop_assert_eq!(rest(&mut reader), waiting);
    }
}
