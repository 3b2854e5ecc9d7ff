//! The replication protocol, frame by frame, on one instance.

mod common;

use std::time::Duration;

use amps_core::{Bookmark, Field};
use amps_testserver::{Config, ConnId, Engine, Link, publisher_id};
use bytes::Bytes;
use common::*;

/// The commands of what is sent on a connection.
fn sent(engine: &mut Engine, id: ConnId) -> Vec<(String, Bytes)> {
    let mut decoder = amps_core::FrameDecoder::new(1 << 20);
    while let Some(bytes) = engine.poll_transmit(id) {
        decoder.extend(&bytes);
    }
    let mut commands = Vec::new();
    while let Some(frame) = decoder.next_frame().unwrap() {
        let message = amps_core::Message::decode(frame).unwrap();
        commands.push((message.raw(Field::Command).unwrap().to_owned(), message.data_bytes()));
    }
    commands
}

/// An instance A with a link to C, whose log is empty, in its life `dialed`,
/// and a link from C in its life `accepted` on which message 1 of "p" arrives,
/// which A has. Answers what A sends to C.
fn echo(dialed: u64, accepted: u64) -> Vec<String> {
    let mut bench = bench(Config::new("A").peer("C", Link::Async));
    let publisher = bench.logon("p");
    bench.send(&publisher, publish("t", 1));
    let (peer, _) = bench.engine.poll_dial(bench.now).unwrap();
    let out = Wire::of(bench.engine.dialed(bench.now, peer));
    bench.send_raw(&out, &format!(r#"{{"c":"replica_state","client_name":"C","x":"{dialed}"}}"#));
    let inward = bench.connect();
    bench.send_raw(&inward, &format!(r#"{{"c":"replicate","client_name":"C","x":"{accepted}"}}"#));
    let bookmark = Bookmark { publisher: publisher_id("p"), sequence: 1 };
    bench.send_raw(
        &inward,
        &format!(r#"{{"c":"replica","t":"t","bm":"{bookmark}","client_name":"p","gseq":0}}{{"n":1}}"#),
    );
    sent(&mut bench.engine, out.id).into_iter().map(|(command, _)| command).collect()
}

#[test]
fn a_message_does_not_go_back_to_where_it_came_from() {
    assert_eq!(echo(7, 7), ["replicate"]);
}

#[test]
fn what_an_earlier_life_of_a_peer_sent_is_not_taken_for_what_it_has() {
    assert_eq!(echo(8, 7), ["replicate", "replica"]);
}

#[test]
fn a_link_starts_at_what_the_peer_lacks_and_is_acknowledged_once_a_turn() {
    let mut bench = bench(Config::new("A"));
    let publisher = bench.logon("p");
    bench.send(&publisher, publish("t", 4));
    let link = bench.connect();
    bench.send_raw(&link, r#"{"c":"replicate","client_name":"B","x":"1"}"#);
    let answer = sent(&mut bench.engine, link.id);
    assert_eq!(answer[0].0, "replica_state");
    assert_eq!(answer[0].1, format!("{} 4\n", publisher_id("p")));
    let id = publisher_id("q");
    let mut bytes = Vec::new();
    for sequence in 1..=3 {
        let frame =
            format!(r#"{{"c":"replica","t":"t","bm":"{id}|{sequence}|","client_name":"q","gseq":{sequence}}}x"#);
        bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        bytes.extend_from_slice(frame.as_bytes());
    }
    bench.engine.receive(bench.now, link.id, &bytes);
    assert_eq!(sent(&mut bench.engine, link.id).len(), 1);
    assert_eq!(bench.sequences("q"), [1, 2, 3]);
    assert_eq!(bench.logon_sequence("q"), 3, "what a peer sent counts once it is in the journal");
}

#[test]
fn a_newer_link_of_the_same_peer_ends_the_older_one() {
    let mut bench = bench(Config::new("A"));
    let old = bench.connect();
    bench.send_raw(&old, r#"{"c":"replicate","client_name":"B","x":"1"}"#);
    let new = bench.connect();
    bench.send_raw(&new, r#"{"c":"replicate","client_name":"B","x":"2"}"#);
    assert!(bench.engine.should_close(old.id));
    assert!(!bench.engine.should_close(new.id));
}

#[test]
fn an_instance_does_not_replicate_to_itself_or_a_namesake() {
    let mut bench = bench(Config::new("A"));
    let link = bench.connect();
    bench.send_raw(&link, r#"{"c":"replicate","client_name":"A","x":"1"}"#);
    assert!(bench.engine.should_close(link.id));
}

#[test]
fn malformed_replication_frames_end_the_link() {
    for frame in [
        r#"{"c":"replica","t":"t","client_name":"q","gseq":1}x"#,
        r#"{"c":"replica","t":"t","bm":"1|1|","client_name":"q"}x"#,
        r#"{"c":"replica_ack","gseq":1}"#,
        r#"{"c":"p","t":"t"}"#,
    ] {
        let mut bench = bench(Config::new("A"));
        let link = bench.connect();
        bench.send_raw(&link, r#"{"c":"replicate","client_name":"B","x":"1"}"#);
        bench.send_raw(&link, frame);
        assert!(bench.engine.should_close(link.id), "{frame}");
    }
}

#[test]
fn a_silent_link_is_given_up_and_dialed_again() {
    let mut bench = bench(Config::new("A").peer("C", Link::Sync));
    let (peer, _) = bench.engine.poll_dial(bench.now).unwrap();
    assert!(bench.engine.poll_dial(bench.now).is_none(), "one dial at a time");
    let out = bench.engine.dialed(bench.now, peer);
    bench.pass(Duration::from_secs(9));
    assert!(bench.engine.should_close(out));
    bench.engine.closed(bench.now, out);
    assert!(bench.engine.poll_dial(bench.now).is_none(), "not at once");
    bench.pass(Duration::from_millis(100));
    assert!(bench.engine.poll_dial(bench.now).is_some());
}

const SECOND: Duration = Duration::from_secs(1);

/// An instance that waits for a peer which is not there.
fn waiting() -> Bench {
    bench(Config::new("A").peer("C", Link::Sync))
}

#[test]
fn a_failure_does_not_wait_and_promises_nothing_before_it() {
    let mut bench = waiting();
    let mut wire = bench.logon("p");
    bench.send(&wire, publish("t", 1));
    bench.engine.with_faults(bench.now, |faults| faults.reject_sequence(2, "not entitled"));
    bench.send(&wire, publish("t", 2));
    bench.send(&wire, publish("t", 3));
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=2 failure=not entitled"]);
    bench.pass(10 * SECOND);
    assert_eq!(bench.lines(&mut wire), [""; 0]);
    assert!(bench.engine.downgrade(bench.now, "C"));
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=3"]);
}

#[test]
fn a_peer_that_is_waited_for_again_holds_what_comes_and_not_what_was_promised() {
    let mut bench = waiting();
    let mut wire = bench.logon("p");
    assert!(bench.engine.downgrade(bench.now, "C"));
    bench.send(&wire, publish("t", 1));
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=1"]);
    assert!(bench.engine.upgrade(bench.now, "C"));
    assert!(!bench.engine.upgrade(bench.now, "nobody"));
    bench.send(&wire, publish("t", 2));
    bench.pass(10 * SECOND);
    assert_eq!(bench.lines(&mut wire), [""; 0]);
    let mut later = bench.logon("q");
    bench.send(&later, publish("t", 1));
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut later), [""; 0]);
    assert_eq!(bench.engine.stats().replicated, 1, "what was promised stays promised");
}

#[test]
fn a_flush_waits_for_sync_peers() {
    let mut bench = waiting();
    let mut wire = bench.logon("p");
    bench.send(&wire, publish("t", 1));
    let flush = amps_core::Command::new(amps_core::CommandKind::Flush);
    bench.send(&wire, flush.id("f").acks(amps_core::AckType::Processed | amps_core::AckType::Persisted));
    assert_eq!(bench.lines(&mut wire), ["ack processed cid=f"]);
    assert!(bench.engine.downgrade(bench.now, "C"));
    assert_eq!(bench.lines(&mut wire), ["ack persisted s=1", "ack persisted cid=f"]);
}

#[test]
fn delivery_does_not_wait_for_sync_peers_but_fully_durable_and_positions_do() {
    let mut bench = waiting();
    let publisher = bench.logon("p");
    let mut plain = bench.logon("plain");
    let mut durable = bench.logon("durable");
    let from_start = |acks: amps_core::AckTypes| subscribe("1", "t", acks).text(Field::Bookmark, "0");
    bench.send(&plain, from_start(amps_core::AckType::Persisted.into()));
    bench.send(&durable, from_start(amps_core::AckTypes::NONE).text(Field::Options, "fully_durable"));
    bench.send(&publisher, publish("t", 1));
    let bookmark = Bookmark { publisher: publisher_id("p"), sequence: 1 };
    let message = format!("p t bm={bookmark} sids=1 {{\"n\":1}}");
    assert_eq!(bench.lines(&mut plain), std::slice::from_ref(&message));
    bench.pass(10 * SECOND);
    assert_eq!(bench.lines(&mut plain), [""; 0], "no position is persisted yet");
    assert_eq!(bench.lines(&mut durable), [""; 0]);
    assert!(bench.engine.downgrade(bench.now, "C"));
    assert_eq!(bench.lines(&mut durable), [message]);
    bench.pass(SECOND);
    assert_eq!(bench.lines(&mut plain), [format!("ack persisted cid=1 bm={bookmark}")]);
}

#[test]
fn a_peer_that_withholds_its_acks_holds_the_publishers() {
    let mut bench = bench(Config::new("B"));
    let link = bench.connect();
    bench.send_raw(&link, r#"{"c":"replicate","client_name":"A","x":"1"}"#);
    sent(&mut bench.engine, link.id);
    bench.engine.with_faults(bench.now, |faults| faults.withhold_replication_acks(true));
    bench.send_raw(&link, r#"{"c":"replica","t":"t","bm":"5|1|","client_name":"q","gseq":0}x"#);
    assert_eq!(sent(&mut bench.engine, link.id), []);
    assert_eq!(bench.engine.log().len(), 1);
    bench.engine.with_faults(bench.now, |faults| faults.withhold_replication_acks(false));
    assert_eq!(sent(&mut bench.engine, link.id)[0].0, "replica_ack");
}

#[test]
fn a_partition_cuts_links_both_ways_until_it_ends() {
    let mut bench = bench(Config::new("A").peer("tcp://c", Link::Async));
    let (peer, _) = bench.engine.poll_dial(bench.now).unwrap();
    let out = Wire::of(bench.engine.dialed(bench.now, peer));
    bench.send_raw(&out, r#"{"c":"replica_state","client_name":"C","x":"1"}"#);
    bench.engine.partition(bench.now, "C", true);
    assert!(bench.engine.should_close(out.id));
    bench.engine.closed(bench.now, out.id);
    bench.pass(SECOND);
    assert!(bench.engine.poll_dial(bench.now).is_none());
    let inward = bench.connect();
    bench.send_raw(&inward, r#"{"c":"replicate","client_name":"C","x":"1"}"#);
    assert!(bench.engine.should_close(inward.id));
    bench.engine.partition(bench.now, "C", false);
    assert!(bench.engine.poll_dial(bench.now).is_some());
}

#[test]
fn what_a_peer_sent_counts_as_held_by_it_at_once() {
    let mut bench = waiting();
    let (peer, _) = bench.engine.poll_dial(bench.now).unwrap();
    let out = Wire::of(bench.engine.dialed(bench.now, peer));
    bench.send_raw(&out, r#"{"c":"replica_state","client_name":"C","x":"1"}"#);
    let inward = bench.connect();
    bench.send_raw(&inward, r#"{"c":"replicate","client_name":"C","x":"1"}"#);
    bench.send_raw(&inward, r#"{"c":"replica","t":"t","bm":"5|1|","client_name":"q","gseq":0}x"#);
    let mut wire = bench.logon("p");
    let flush = amps_core::Command::new(amps_core::CommandKind::Flush);
    bench.send(&wire, flush.id("f").acks(amps_core::AckType::Persisted));
    assert_eq!(sent(&mut bench.engine, out.id).len(), 1, "only the greeting goes to C");
    assert_eq!(bench.lines(&mut wire), ["ack persisted cid=f"]);
}
