use std::time::{Duration, Instant};

use amps_core::header::FrameWriter;
use amps_core::{Field, Message, MessageDecoder};

use super::acks::{AckBatch, AckBatching, AckOption, Added, QueueAcks};

const SECOND: Duration = Duration::from_secs(1);

/// A message of a queue, with a lease that ends, from a connection.
fn message(connection: u64, topic: &str, sequence: u64) -> Message {
    decoded(connection, topic, sequence, Some("20260105T101530.250000Z"))
}

fn decoded(connection: u64, topic: &str, sequence: u64, lease: Option<&str>) -> Message {
    let mut decoder = MessageDecoder::new(1 << 20).connection(connection);
    FrameWriter::new(decoder.buffer_mut(1000), "p")
        .text(Field::Topic, topic)
        .text(Field::Bookmark, &format!("77|{sequence}|"))
        .maybe(Field::LeasePeriod, lease)
        .finish(b"x");
    decoder.next_messages().unwrap().unwrap().get(0)
}

/// Entered on connection 1.
fn acks(size: usize, timeout: Option<Duration>, granted: u64) -> QueueAcks {
    let mut acks = QueueAcks::new(AckBatching { size, timeout });
    acks.entered(1);
    acks.granted(Some(granted));
    acks
}

/// What is ready, as the wire has it.
fn taken(acks: &mut QueueAcks) -> Vec<String> {
    std::iter::from_fn(|| acks.take()).map(|batch| wire(&batch)).collect()
}

fn wire(batch: &AckBatch) -> String {
    let mut wire = bytes::BytesMut::new();
    batch.command().encode(&mut wire);
    String::from_utf8(wire[4..].to_vec()).unwrap()
}

fn ack(sequences: &[u64]) -> String {
    let list: Vec<_> = sequences.iter().map(|sequence| format!("77|{sequence}|")).collect();
    format!(r#"{{"c":"sow_delete","t":"work","bm":"{}"}}"#, list.join(","))
}

/// Covers 8.2#1.
#[test]
fn batches_are_sent_when_they_are_full_or_when_their_time_has_come() {
    let (mut acks, start) = (acks(3, Some(SECOND), 100), Instant::now());
    for sequence in 1..=7 {
        assert!(acks.add(&message(1, "work", sequence), None).is_taken());
    }
    acks.look(start);
    assert_eq!(taken(&mut acks), [ack(&[1, 2, 3]), ack(&[4, 5, 6])]);
    assert_eq!(acks.deadline(), Some(start + SECOND));
    acks.look(start + SECOND - Duration::from_millis(1));
    assert!(taken(&mut acks).is_empty());
    acks.look(start + SECOND);
    assert_eq!(taken(&mut acks), [ack(&[7])]);
    assert_eq!(acks.deadline(), None);
}

/// The time of a batch begins with its first message, not with the last one
/// that was sent.
#[test]
fn each_batch_has_its_own_time() {
    let (mut acks, start) = (acks(2, Some(SECOND), 100), Instant::now());
    acks.add(&message(1, "work", 1), None);
    acks.look(start);
    acks.add(&message(1, "work", 2), None);
    acks.look(start + SECOND / 2);
    assert_eq!(taken(&mut acks), [ack(&[1, 2])]);
    assert_eq!(acks.add(&message(1, "work", 3), None), Added::Tell, "a time begins");
    acks.look(start + SECOND / 2);
    acks.look(start + SECOND);
    assert!(taken(&mut acks).is_empty());
    assert_eq!(acks.deadline(), Some(start + SECOND * 3 / 2));
}

/// Covers 8.1#1.
#[test]
fn a_batch_is_never_larger_than_what_the_server_leases() {
    let mut acks = acks(10, None, 5);
    for sequence in 1..=5 {
        acks.add(&message(1, "work", sequence), None);
    }
    assert_eq!(taken(&mut acks), [ack(&[1, 2, 3, 4, 5])]);
    // A backlog is one for all queues of a subscription: all of it may wait in
    // batches of several.
    for (topic, sequence) in [("work", 6), ("more", 7), ("work", 8), ("more", 9), ("work", 10)] {
        acks.add(&message(1, topic, sequence), None);
    }
    let more = ack(&[7, 9]).replace("work", "more");
    assert_eq!(taken(&mut acks), [ack(&[6, 8, 10]), more]);
    // A smaller one may make full what waits.
    acks.add(&message(1, "work", 11), None);
    acks.granted(Some(1));
    assert_eq!(taken(&mut acks), [ack(&[11])]);
    acks.granted(Some(0));
    assert_eq!(acks.batch_size(), 1);
}

/// Covers 8.3#1.
#[test]
fn what_is_given_back_is_sent_at_once_and_by_itself() {
    let mut acks = acks(3, Some(SECOND), 10);
    acks.add(&message(1, "work", 1), None);
    assert!(acks.add(&message(1, "work", 2), Some(AckOption::Cancel)).is_taken());
    acks.add(&message(1, "work", 3), Some(AckOption::Expire));
    acks.add(&message(1, "work", 4), Some(AckOption::Extend(60 * SECOND)));
    let with = |sequence: u64, option: &str| ack(&[sequence]).replace('}', &format!(r#","o":"{option}"}}"#));
    assert_eq!(taken(&mut acks), [with(2, "cancel"), with(3, "expire"), with(4, "lease_extension=60s")]);
    acks.flush();
    assert_eq!(taken(&mut acks), [ack(&[1])]);
}

#[test]
fn what_is_to_become_of_a_message_reads_and_writes() {
    let extend = |millis| AckOption::Extend(Duration::from_millis(millis));
    for (text, option, wire) in [
        (" cancel", AckOption::Cancel, "cancel"),
        ("expire", AckOption::Expire, "expire"),
        ("lease_extension=60s", extend(60_000), "lease_extension=60s"),
        ("lease_extension=1500ms", extend(1_500), "lease_extension=1500ms"),
        ("lease_extension=5", extend(5_000), "lease_extension=5s"),
    ] {
        assert_eq!((text.parse(), option.to_string().as_str()), (Ok(option), wire));
    }
    assert_eq!(AckOption::Extend(Duration::from_nanos(1)).to_string(), "lease_extension=1ms");
    for text in ["", "done", "lease_extension", "lease_extension=", "lease_extension=-1s", "cancel,expire"] {
        assert!(text.parse::<AckOption>().is_err(), "{text}");
    }
}

#[test]
fn without_batches_each_is_sent_at_once() {
    for size in [0, 1] {
        let mut acks = acks(size, Some(SECOND), 10);
        for sequence in 1..=2 {
            acks.add(&message(1, "work", sequence), None);
        }
        assert_eq!(taken(&mut acks), [ack(&[1]), ack(&[2])]);
    }
}

#[test]
fn several_go_together_with_what_waits() {
    let mut acks = acks(10, None, 10);
    acks.add(&message(1, "work", 1), None);
    let messages = [message(1, "work", 2), message(2, "work", 3), message(1, "more", 4), message(1, "work", 5)];
    assert_eq!(acks.add_all(&messages), (3, Added::Tell));
    assert_eq!(taken(&mut acks), [ack(&[1, 2, 5]), ack(&[4]).replace("work", "more")]);
    assert_eq!(acks.add_all(&messages[1..2]), (0, Added::Refused));
}

/// Covers 8#1, 8.2#3.
#[test]
fn what_waits_and_what_was_leased_end_with_the_connection() {
    let mut acks = acks(10, Some(SECOND), 10);
    let old = message(1, "work", 1);
    acks.add(&old, None);
    acks.add(&message(1, "work", 2), Some(AckOption::Cancel));
    acks.look(Instant::now());
    assert_eq!(acks.lost(), 2);
    assert_eq!((taken(&mut acks), acks.deadline(), acks.backlog()), (vec![], None, None));
    assert!(!acks.is_leased(&old));
    assert_eq!(acks.add(&old, None), Added::Refused);
    acks.entered(2);
    acks.granted(Some(4));
    assert_eq!(acks.add(&old, None), Added::Refused, "on the next connection");
    let again = message(2, "work", 1);
    assert!(acks.add(&again.detached(), None).is_taken(), "delivered again it is another lease");
    assert_eq!(acks.batch_size(), 4);
}

#[test]
fn what_a_connection_took_with_it_is_not_confirmed() {
    let mut acks = acks(1, None, 10);
    assert!(acks.confirm(), "there is nothing");
    acks.add(&message(1, "work", 1), None);
    acks.take();
    assert!(acks.confirm(), "it is asked for on the connection itself");
    acks.lost();
    acks.entered(2);
    assert!(acks.confirm(), "all was confirmed, or whoever asked was told otherwise");
    acks.add(&message(2, "work", 2), None);
    acks.take();
    acks.lost();
    acks.entered(3);
    assert!(!acks.confirm(), "sent, and perhaps lost");
    assert!(acks.confirm(), "told once");
}

#[test]
fn only_messages_of_queues_are_acknowledged() {
    let mut acks = QueueAcks::default();
    let (leased, unleased) = (message(1, "work", 1), decoded(1, "work", 1, None));
    assert_eq!(acks.add(&leased, None), Added::Refused, "not entered");
    acks.entered(1);
    assert!(acks.add(&leased, None).is_taken(), "before the server's answer too");
    assert_eq!(acks.add(&unleased, None), Added::Refused, "a plain subscription's");
    acks.granted(Some(1));
    assert!(acks.add(&unleased, None).is_taken(), "of a queue whose leases do not end, or has none");
    let plain = Message::decode(bytes::Bytes::from_static(br#"{"c":"p","t":"x"}y"#)).unwrap();
    assert_eq!(acks.add(&plain, None), Added::Refused);
}

#[test]
fn the_connection_is_told_once_until_it_looks() {
    let (mut acks, now) = (acks(2, Some(SECOND), 10), Instant::now());
    let add = |acks: &mut QueueAcks, sequence| acks.add(&message(1, "work", sequence), None);
    assert_eq!(add(&mut acks, 1), Added::Tell, "a time begins");
    assert_eq!([add(&mut acks, 2), add(&mut acks, 3), add(&mut acks, 4)], [Added::Taken; 3]);
    acks.look(now);
    assert_eq!(taken(&mut acks), [ack(&[1, 2]), ack(&[3, 4])]);
    assert_eq!(add(&mut acks, 5), Added::Tell);
    acks.look(now);
    assert_eq!(add(&mut acks, 6), Added::Tell, "it is full");
}

#[test]
fn acknowledging_the_same_for_ever_does_not_fill_the_memory() {
    let mut acks = acks(1000, None, 1000);
    let message = message(1, "work", 1);
    let taken = (0..200_000).take_while(|_| acks.add(&message, None).is_taken()).count();
    assert_eq!(taken, 100_000);
}
