//! Frames and headers, at their edges.

use amps_core::AckType;
use bytes::BytesMut;

use crate::bench::{Bench, publish, subscribe};
use crate::check::{Check, check};
use crate::judge::{Judged, equal, expect, success};
use crate::wire::{body, frame};

pub(super) const CHECKS: &[Check] = &[
    check!("frame/byte-by-byte", "AMPS Command Reference, \"The AMPS Protocol\"", [], byte_by_byte),
    check!("frame/many-in-one-write", "AMPS Command Reference, \"The AMPS Protocol\"", [], many_in_one_write),
    check!("frame/split-in-the-length", "AMPS Command Reference, \"The AMPS Protocol\"", [], split_in_the_length),
    check!("frame/large", "AMPS User Guide, \"Messages\"", [], large),
    check!("frame/unknown-command", "AMPS User Guide, \"Troubleshooting Disconnected Clients\"", [], unknown_command),
    check!("frame/no-header", "AMPS User Guide, \"Troubleshooting Disconnected Clients\"", [], no_header),
    check!("frame/half-of-one", "AMPS User Guide, \"Messages\"", [], half_of_one),
];

async fn byte_by_byte(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.open().await?;
    let mut frames = BytesMut::new();
    bench.logon(&bench.name("x")).id("slow").acks(AckType::Processed).encode(&mut frames);
    wire.note_sent(&frames);
    for byte in &frames {
        wire.write(&[*byte]).await?;
    }
    success(&wire.ack("slow", AckType::Processed).await?)
}

async fn many_in_one_write(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.open().await?;
    let mut frames = BytesMut::new();
    let topic = bench.plain("a");
    bench.logon(&bench.name("x")).id("first").acks(AckType::Processed).encode(&mut frames);
    subscribe(&topic).id("second").acks(AckType::Processed).encode(&mut frames);
    for n in 1..=3 {
        publish(&topic, bench.body("x", &format!(r#""n":{n}"#))).encode(&mut frames);
    }
    wire.send_frames(&frames).await?;
    success(&wire.ack("first", AckType::Processed).await?)?;
    success(&wire.ack("second", AckType::Processed).await?)?;
    equal("the messages", bench.numbers(&wire.messages(3).await?)?, vec![1, 2, 3])
}

async fn split_in_the_length(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    wire.done(subscribe(&topic)).await?;
    let mut frames = BytesMut::new();
    for n in 1..=8 {
        publish(&topic, bench.body("x", &format!(r#""n":{n}"#))).encode(&mut frames);
    }
    wire.note_sent(&frames);
    // Every cut falls two bytes into a length.
    let len = frames.len() / 8;
    let mut at = 2;
    wire.write(&frames[..at]).await?;
    while at < frames.len() {
        let end = frames.len().min(at + len);
        wire.write(&frames[at..end]).await?;
        at = end;
    }
    equal("the messages", bench.numbers(&wire.messages(8).await?)?, (1..=8).collect())
}

async fn large(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    wire.done(subscribe(&topic)).await?;
    let text = bench.body("x", &format!(r#""text":"{}""#, "0123456789abcdef".repeat(128 * 1024)));
    wire.send(&publish(&topic, text.clone())).await?;
    let came = body(&wire.message().await?);
    expect(came == text, format!("the body of {} bytes, unchanged", text.len()), format!("{} bytes", came.len()))
}

async fn unknown_command(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.send_text(r#"{"c":"no_such_command","cid":"1","a":"processed"}"#, "").await?;
    expect(wire.closes().await?, "an unknown command closes the connection", "it stays open")
}

async fn no_header(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.send_text("this is no header", "").await?;
    expect(wire.closes().await?, "a malformed command closes the connection", "it stays open")
}

/// A message of which half was sent is none.
async fn half_of_one(bench: &Bench<'_>) -> Judged {
    let (mut half, mut whole) = (bench.client().await?, bench.client().await?);
    let topic = bench.plain("a");
    whole.done(subscribe(&topic)).await?;
    let bytes = frame(&format!(r#"{{"c":"p","t":"{topic}"}}"#), &bench.body("x", r#""n":1"#));
    half.write(&bytes[..bytes.len() - 1]).await?;
    drop(half);
    whole.done(publish(&topic, bench.body("x", r#""n":2"#))).await?;
    equal("the whole message", bench.number(&whole.message().await?)?, 2)
}
