//! What a server must not send: it ends that connection with a clear error
//! and the client goes on with the next one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use amps_core::StartAt;
use amps_core::connection::{Protocol, Transmit};
use amps_ha::client_core::{ClientCore, CoreConfig, Dial, Outlets};
use amps_ha::error::Cause;
use amps_ha::event::{ConnectionSummary, Event};
use amps_ha::publish_log::{Limits, OnPublishGap, PublishLog, SharedLog};
use amps_ha::reconnect::ExponentialReconnect;
use amps_ha::server_chooser::ListChooser;
use amps_ha::session::{Session, SessionConfig};
use amps_tests::{ClientSetup, Pair};
use bytes::{BufMut, BytesMut};
use proptest::prelude::*;
use tokio::sync::{Notify, broadcast, watch};

const SECOND: Duration = Duration::from_secs(1);

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

/// Bytes that end a connection, each with a word its error must hold.
fn malformed() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    vec![
        ("a length over the limit", vec![0xff, 0xff, 0xff, 0xff, b'{'], "corrupt stream"),
        (
            "a length just over the limit",
            (amps_core::frame::MAX_FRAME_LEN as u32 + 1).to_be_bytes().to_vec(),
            "corrupt stream",
        ),
        ("a header that is not flat", frame(br#"{"c":"p","x":[1,{"y":"}"}]}"#), "corrupt message"),
        ("no closing brace", frame(br#"{"c":"p","t":"orders""#), "corrupt message"),
        ("an open string", frame(br#"{"c":"p","t":"ord"#), "corrupt message"),
        ("no object at all", frame(b"hello"), "corrupt message"),
        ("a header that is not UTF-8", frame(b"{\"c\":\"p\",\"t\":\"\xff\xfe\"}body"), "corrupt message"),
        ("garbage", (0..200u8).map(|byte| byte.wrapping_mul(37).wrapping_add(200)).collect(), "corrupt"),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "corrupt stream"),
    ]
}

#[test]
fn malformed_bytes_end_the_connection_with_a_clear_error_and_a_reconnect() {
    for (what, bytes, word) in malformed() {
        let mut pair = Pair::new(1);
        let client = pair.client(ClientSetup::new("p", [0]));
        let publisher = pair.client(ClientSetup::new("publisher", [0]));
        let mut entered = pair.subscribe_from(client, "t", StartAt::Epoch);
        pair.run_live(client);
        pair.publish(client, "before").unwrap();
        pair.run_for(SECOND);
        let now = pair.now;
        assert!(pair.server(0).inject(now, "p", &bytes));
        pair.publish(client, "at once").unwrap();
        pair.run_for(Duration::from_millis(10));
        assert!(!pair.is_live(client), "{what}: {}", pair.describe());
        let cause = pair.events(client).iter().find_map(|(_, event)| match event {
            Event::AttemptFailed { cause, .. } => Some(cause.to_string()),
            _ => None,
        });
        assert!(cause.as_ref().is_some_and(|cause| cause.contains(word)), "{what}: {cause:?}");
        pair.publish(publisher, "after").unwrap();
        pair.run_live(client);
        pair.run_settled(client);
        pair.run_settled(publisher);
        pair.run_for(SECOND);
        entered.take(usize::MAX);
        let mut bodies = entered.bodies();
        bodies.sort();
        assert_eq!(bodies, ["after", "at once", "before"], "{what}");
    }
}

/// A frame within the limit that never ends swallows the server's answers. The
/// beats in it are signs of life; what is published arrives all the same, and
/// memory grows with what is received only.
#[test]
fn a_length_that_is_never_filled_loses_nothing() {
    let mut pair = Pair::new(2);
    let client = pair.client(ClientSetup::new("p", [0]));
    pair.run_live(client);
    let now = pair.now;
    pair.server(0).inject(now, "p", &[0x08, 0, 0, 0, b'{']);
    pair.run_for(SECOND);
    assert!(pair.is_live(client));
    pair.publish(client, "x").unwrap();
    // Everything the server says now looks like more of that frame.
    pair.run_for(60 * SECOND);
    pair.publish(client, "y").unwrap();
    pair.run_for(60 * SECOND);
    assert_eq!(pair.logged(0, client), ["x", "y"]);
    pair.cut(client);
    pair.run_settled(client);
    assert_eq!(pair.logged(0, client), ["x", "y"]);
}

/// Odd but well-formed: not a reason to give a connection up, nor to do
/// anything else.
#[test]
fn answers_nobody_asked_for_change_nothing() {
    let mut pair = Pair::new(3);
    let client = pair.client(ClientSetup::new("p", [0]));
    let mut entered = pair.subscribe_from(client, "t", StartAt::Epoch);
    pair.run_live(client);
    pair.run_for(SECOND);
    let odd: [&[u8]; 11] = [
        br#"{"c":"ack","a":"processed","cid":"c1","status":"success"}"#,
        br#"{"c":"ack","a":"processed","cid":"c999","status":"failure","reason":"none"}"#,
        br#"{"c":"ack","a":"persisted","s":99999999999999999999,"status":"success"}"#,
        br#"{"c":"ack"}"#,
        br#"{"c":"p","sids":"7,8,,x","t":"t"}body"#,
        br#"{"c":"p","sids":"1048576","t":"u","bm":"not|a|bookmark|"}odd"#,
        br#"{"c":"sow","query_id":"5"}{"k":"1","l":99}"#,
        br#"{"c":"group_begin","query_id":"1048576"}"#,
        br#"{"c":"something new","x":1.5e9,"y":true}"#,
        b"",
        br#"{"c":"heartbeat"}"#,
    ];
    for payload in odd {
        let now = pair.now;
        pair.server(0).inject(now, "p", &frame(payload));
        pair.run_for(SECOND);
        let calm = pair.is_live(client) && pair.attempts(client).len() == 1;
        assert!(calm, "{}: {}", String::from_utf8_lossy(payload), pair.describe());
    }
    assert_eq!(pair.attempts(client).len(), 1);
    pair.publish(client, "one").unwrap();
    pair.run_settled(client);
    pair.run_for(SECOND);
    entered.take(usize::MAX);
    assert!(entered.bodies().ends_with(&["one".to_owned()]), "{:?}", entered.bodies());
}

/// A persisted acknowledgement far above what was ever sent settles what was
/// sent and no more.
#[test]
fn an_acknowledgement_of_what_was_never_sent_drops_nothing() {
    let mut pair = Pair::new(4);
    let client = pair.client(ClientSetup::new("p", [0]));
    pair.run_live(client);
    let now = pair.now;
    pair.server(0).inject(
        now,
        "p",
        &frame(br#"{"c":"ack","a":"persisted","s":9000000000000000000,"status":"success"}"#),
    );
    pair.run_for(SECOND);
    for id in 0..50 {
        pair.publish(client, id.to_string()).unwrap();
    }
    pair.run_settled(client);
    assert_eq!(pair.logged(0, client), pair.published(client));
}

/// A core with a connection, as far as `stage`, and nobody at the other end.
fn core(stage: u8, now: Instant) -> (ClientCore, broadcast::Receiver<Event>) {
    let wake = Arc::new(Notify::new());
    let log = Arc::new(SharedLog::new(PublishLog::in_memory(Limits::default(), 1_000), Arc::clone(&wake)));
    let events = broadcast::Sender::new(1024);
    let outlets = Outlets {
        events: events.clone(),
        summary: watch::channel(ConnectionSummary::default()).0,
        stalled: watch::channel(None).0,
    };
    let config = CoreConfig {
        connect_timeout: Duration::from_secs(5),
        resubscribe: true,
        retry: true,
        name: "p".to_owned(),
        heartbeat: Some((5 * SECOND, 10 * SECOND)),
        command_timeout: 10 * SECOND,
        ack_conflation: None,
        logon_correlation: None,
        on_publish_gap: OnPublishGap::Refuse,
        frame_limit: 1 << 16,
        deadlock_after: SECOND,
    };
    let chooser = Box::new(ListChooser::new(["tcp://h:1/amps/json".parse::<amps_core::Uri>().unwrap()]));
    let session = Session::new(SessionConfig::default(), chooser, Box::new(ExponentialReconnect::new(1)));
    let mut core = ClientCore::new(config, session, log, outlets);
    let events = events.subscribe();
    core.start(now);
    assert!(matches!(core.poll_dial(), Some(Dial::Open(_))));
    core.dialed(now);
    let answers: [&[u8]; 2] = [
        br#"{"c":"ack","cid":"c1","a":"processed","status":"success","s":0,"version":"5.3.5.0"}"#,
        br#"{"c":"ack","cid":"c2","a":"processed","status":"success"}"#,
    ];
    for answer in answers.iter().take(usize::from(stage)) {
        let mut out = Transmit::default();
        core.transmit(now, &mut out);
        core.receive_buffer().put_slice(&frame(answer));
        core.receive(now).unwrap();
    }
    (core, events)
}

/// Headers that look like the real ones, cut and bent.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let values = prop_oneof![
        Just("ack".to_owned()),
        Just("p".to_owned()),
        Just("sow".to_owned()),
        Just("group_begin".to_owned()),
        Just("processed".to_owned()),
        Just("persisted".to_owned()),
        Just("completed".to_owned()),
        Just("success".to_owned()),
        Just("failure".to_owned()),
        Just("retry".to_owned()),
        Just("1048576".to_owned()),
        Just("c1".to_owned()),
        Just("c2".to_owned()),
        Just("0|1|".to_owned()),
        "[ -~]{0,12}",
        any::<u64>().prop_map(|number| number.to_string()),
    ];
    let keys = prop::sample::select(vec![
        "c", "a", "cid", "s", "status", "reason", "t", "bm", "sids", "sub_id", "query_id", "l", "k", "x",
    ]);
    let field = (keys, values, any::<bool>()).prop_map(|(key, value, quoted)| {
        if quoted { format!("\"{key}\":\"{value}\"") } else { format!("\"{key}\":{value}") }
    });
    let payload = (prop::collection::vec(field, 0..7), prop::collection::vec(any::<u8>(), 0..30), any::<bool>());
    payload.prop_map(|(fields, body, closed)| {
        let mut payload = format!("{{{}{}", fields.join(","), if closed { "}" } else { "" }).into_bytes();
        payload.extend(body);
        frame(&payload)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: amps_tests::cases(1500), failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes, in any pieces, at any stage: an error or nothing, never a
    /// panic, and never more memory than was received.
    #[test]
    fn no_bytes_panic_a_client(
        stage in 0u8..3,
        pieces in prop::collection::vec(prop_oneof![prop::collection::vec(any::<u8>(), 0..40), nearly()], 0..12),
        split in 1usize..64,
    ) {
        let now = Instant::now();
        let (mut core, _events) = core(stage, now);
        let mut out = Transmit::default();
        let bytes: Vec<u8> = pieces.concat();
        let mut received = 0;
        for piece in bytes.chunks(split) {
            let mut buffer = BytesMut::new();
            buffer.extend_from_slice(piece);
            core.receive_buffer().extend_from_slice(&buffer);
            received += piece.len();
            match core.receive(now) {
                Ok(()) => prop_assert!(core.receive_buffer().len() <= received),
                Err(cause) => {
                    prop_assert!(!cause.to_string().is_empty());
                    core.lost(now, cause, &out);
                    // The next attempt, and a waiting time before it.
                    while let Some(dial) = core.poll_dial() {
                        prop_assert!(matches!(dial, Dial::HangUp));
                    }
                    prop_assert!(!core.is_closed());
                    return Ok(());
                }
            }
            if out.is_empty() {
                core.transmit(now, &mut out);
                let written = out.len();
                out.advance(written);
                core.written(now, &out);
            }
        }
        core.lost(now, Cause::Closed, &out);
    }
}
