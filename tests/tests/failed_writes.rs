//! Refused messages are told with what they were, also when only the disk has
//! them (AMPS developer guides, "Detecting Write Failures").

use std::time::Duration;

use amps_client::{Client, Event, FailedWrite, PublishStore};
use amps_core::header::{Field, FrameWriter};
use amps_ha::publish_log::Durability;
use amps_tests::{ClientSetup, Pair, Store};
use amps_testserver::TestServer;
use bytes::BytesMut;

const SECOND: Duration = Duration::from_secs(1);

fn failures(pair: &Pair, client: usize) -> Vec<String> {
    let failed = pair.events(client).iter().filter_map(|(_, event)| match event {
        Event::FailedWrite(failed) => Some(body(failed)),
        _ => None,
    });
    failed.collect()
}

fn body(failed: &FailedWrite) -> String {
    let message = failed.message.as_ref().expect("its message");
    String::from_utf8(message.data().to_vec()).unwrap()
}

/// The disk stands still: the connection goes on, and the messages are told in
/// order when the disk gives them back.
#[test]
fn a_disk_that_stands_still_holds_up_nothing_but_the_messages_it_has() {
    let mut pair = Pair::new(1);
    let setup = ClientSetup::new("p", [0]).store(Store::Disk(Durability::PowerLoss)).resident(2_000);
    let client = pair.client(setup);
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.withhold_acks(true));
    for id in 0..500 {
        pair.publish(client, format!("{id:<400}")).unwrap();
    }
    pair.run_for(5 * SECOND);
    assert_eq!(pair.logged(0, client).len(), 500);
    assert!(pair.log_of(client).peek(|log| log.resident_bytes()) < 150_000, "most are on the disk only");
    let first = pair.log(0)[0].sequence;
    pair.hold_store(client, true);
    for id in [10, 11, 3, 400] {
        let mut frame = BytesMut::new();
        FrameWriter::new(&mut frame, "ack")
            .number(Field::Sequence, first + id)
            .text(Field::AckType, "persisted")
            .text(Field::Status, "failure")
            .text(Field::Reason, "not entitled")
            .finish(&[]);
        let now = pair.now;
        assert!(pair.server(0).inject(now, "p", &frame));
    }
    pair.run_for(30 * SECOND);
    assert!(pair.is_live(client) && pair.log_of(client).peek(|log| log.untold_failed_writes()) == 4);
    assert_eq!(pair.attempts(client).len(), 1, "heartbeats went on");
    let entered = pair.subscribe(client, "other");
    pair.run_for(SECOND);
    assert!(failures(&pair, client).is_empty());
    pair.hold_store(client, false);
    pair.run_for(SECOND);
    assert_eq!(failures(&pair, client), [10, 11, 3, 400].map(|id| format!("{id:<400}")));
    pair.leave(client, &entered);
}

/// A client that closes meanwhile tells what it has, and then that it is over.
#[test]
fn a_client_that_closes_waits_for_no_disk() {
    let mut pair = Pair::new(2);
    let setup = ClientSetup::new("p", [0]).store(Store::Disk(Durability::PowerLoss)).resident(1_000);
    let client = pair.client(setup);
    let now = pair.now;
    pair.server(0).with_faults(now, |faults| faults.withhold_acks(true));
    for id in 0..100 {
        pair.publish(client, format!("{id:<2000}")).unwrap();
    }
    pair.run_for(5 * SECOND);
    let first = pair.log(0)[0].sequence;
    pair.hold_store(client, true);
    let mut frame = BytesMut::new();
    FrameWriter::new(&mut frame, "ack")
        .number(Field::Sequence, first)
        .text(Field::AckType, "persisted")
        .text(Field::Status, "failure")
        .finish(&[]);
    let now = pair.now;
    assert!(pair.server(0).inject(now, "p", &frame));
    pair.run_for(SECOND);
    pair.close(client);
    let told: Vec<_> = pair.events(client).iter().rev().take(2).map(|(_, event)| event.clone()).collect();
    let [Event::State(_), Event::FailedWrite(failed)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((failed.sequence, failed.message.is_none()), (first, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_on_the_disk_is_told_of_message_by_message() {
    const MESSAGES: usize = 3_000;
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::builder().ack_conflation(Duration::from_millis(5)).start().await.unwrap();
    server.faults(|faults| {
        faults.reject_writes(|_, _, body| body.starts_with(b"bad").then(|| "not entitled".to_owned()));
    });
    let closed = TestServer::builder().start().await.unwrap();
    let away = closed.uri();
    closed.stop().await;
    let client = |uri: String| {
        Client::builder("me").server(uri).publish_store(PublishStore::sled(dir.path())).resident_bytes(8_000)
    };
    // Published while there is no server, by an earlier process.
    let earlier = client(away).start().unwrap();
    for id in 0..MESSAGES {
        let kind = if id % 10 == 3 { "bad" } else { "good" };
        earlier.enqueue_wait("t", format!("{kind} {id:<200}")).await.unwrap();
    }
    assert!(earlier.close(Duration::from_secs(1)).await.stores_closed);
    drop(earlier);

    let client = client(server.uri()).start().unwrap();
    let mut events = client.events();
    tokio::time::timeout(30 * SECOND, client.flush()).await.unwrap().unwrap();
    for id in (3..MESSAGES).step_by(10) {
        let failed = loop {
            match tokio::time::timeout(20 * SECOND, events.next()).await.unwrap() {
                Some(Event::FailedWrite(failed)) => break failed,
                Some(_) => {}
                None => panic!("no more events"),
            }
        };
        assert_eq!(body(&failed), format!("bad {id:<200}"));
    }
    assert_eq!(server.log().len(), MESSAGES / 10 * 9);
}
