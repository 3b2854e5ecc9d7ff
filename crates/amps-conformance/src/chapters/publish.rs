//! `publish`: what is delivered, and with what.

use amps_core::{AckType, Field};
use bytes::BytesMut;

use crate::bench::{Bench, publish, subscribe};
use crate::check::{Check, check};
use crate::exchange::shown;
use crate::judge::{Judged, equal, expect, field, success};
use crate::wire::{body, is_ack, subscriptions};

pub(super) const CHECKS: &[Check] = &[
    check!("publish/delivered", "AMPS Command Reference, \"publish\"", [], delivered),
    check!("publish/long-command-name", "AMPS Command Reference, \"publish\"", [], long_command_name),
    check!("publish/body-unchanged", "AMPS User Guide, \"Messages\"", [], body_unchanged),
    check!("publish/order", "AMPS User Guide, \"Message Ordering\"", [], order),
    check!("publish/every-subscriber", "AMPS User Guide, \"Publish and Subscribe\"", [], every_subscriber),
    check!("publish/correlation-id", "AMPS Command Reference, \"publish\"", [], correlation_id),
    check!("publish/topic-is-literal", "AMPS Command Reference, \"publish\"", [], topic_is_literal),
    check!("publish/one-message-a-connection", "AMPS Command Reference, \"publish\"", [], one_message_a_connection),
    check!("publish/no-ack-unasked", "AMPS Command Reference, \"ack\"", [], no_ack_unasked),
    check!("publish/ack-of-each-type", "AMPS Command Reference, \"publish\"", [], ack_of_each_type),
    check!("publish/devnull", "AMPS User Guide, \"Topics\"", [], devnull),
];

async fn delivered(bench: &Bench<'_>) -> Judged {
    let (mut from, mut to) = (bench.client().await?, bench.client().await?);
    let (topic, text) = (bench.plain("a"), bench.body("x", r#""n":1"#));
    to.done(subscribe(&topic)).await?;
    from.done(publish(&topic, text.clone())).await?;
    let message = to.message().await?;
    field(&message, Field::Topic, &topic)?;
    equal("the body", body(&message), text)
}

async fn long_command_name(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let (topic, text) = (bench.plain("a"), bench.body("x", ""));
    wire.done(subscribe(&topic)).await?;
    for command in ["publish", "p"] {
        wire.send_text(&format!(r#"{{"c":"{command}","t":"{topic}"}}"#), &text).await?;
        equal("the body", body(&wire.message().await?), text.clone())?;
    }
    Ok(())
}

async fn body_unchanged(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    wire.done(subscribe(&topic)).await?;
    for text in [
        r#"{ "b" : 1,  "a" : [ 1, 2.50, null ], "c":"}{\"\\" }"#,
        "{\"text\":\"gr\u{fc}\u{df}e \u{1f600} \\u00e9\"}",
        r#"{"x":{"y":{"z":{}}}}"#,
    ] {
        wire.send(&publish(&topic, text)).await?;
        equal("the body, byte by byte", body(&wire.message().await?), text.to_owned())?;
    }
    Ok(())
}

async fn order(bench: &Bench<'_>) -> Judged {
    let (mut from, mut to) = (bench.client().await?, bench.client().await?);
    let topic = bench.plain("a");
    to.done(subscribe(&topic)).await?;
    let mut frames = BytesMut::new();
    for n in 0..200 {
        publish(&topic, bench.body("x", &format!(r#""n":{n}"#))).encode(&mut frames);
    }
    from.send_frames(&frames).await?;
    let numbers = bench.numbers(&to.messages(200).await?)?;
    equal("the messages of a publisher in their order", numbers, (0..200).collect())
}

async fn every_subscriber(bench: &Bench<'_>) -> Judged {
    let topic = bench.plain("a");
    let mut wires = Vec::new();
    for _ in 0..3 {
        let mut wire = bench.client().await?;
        wire.done(subscribe(&topic)).await?;
        wires.push(wire);
    }
    let text = bench.body("x", "");
    wires[0].done(publish(&topic, text.clone())).await?;
    for wire in &mut wires {
        equal("the body, on every connection", body(&wire.message().await?), text.clone())?;
    }
    Ok(())
}

async fn correlation_id(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    wire.done(subscribe(&topic)).await?;
    let id = "QUJDREVG+/==";
    wire.send(&publish(&topic, bench.body("x", "")).text(Field::CorrelationId, id)).await?;
    field(&wire.message().await?, Field::CorrelationId, id)?;
    wire.send(&publish(&topic, bench.body("x", ""))).await?;
    let message = wire.message().await?;
    expect(message.raw(Field::CorrelationId).is_none(), "no correlation id where none was given", shown(&message))
}

async fn topic_is_literal(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let (topic, pattern) = (bench.plain("a"), bench.plain("."));
    wire.done(subscribe(&topic)).await?;
    wire.done(publish(&pattern, bench.body("x", r#""n":1"#))).await?;
    wire.done(publish(&topic, bench.body("x", r#""n":2"#))).await?;
    let number = bench.number(&wire.message().await?)?;
    equal("nothing that was published to another topic, which looks like a pattern", number, 2)
}

async fn one_message_a_connection(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    for id in ["one", "two"] {
        wire.done(subscribe(&topic).text(Field::SubscriptionId, id)).await?;
    }
    for n in 1..=2 {
        wire.done(publish(&topic, bench.body("x", &format!(r#""n":{n}"#)))).await?;
    }
    for n in 1..=2 {
        let message = wire.message().await?;
        equal(
            "one message, with the ids of all subscriptions it matched",
            subscriptions(&message),
            vec!["one", "two"],
        )?;
        equal("n", bench.number(&message)?, n)?;
    }
    Ok(())
}

async fn no_ack_unasked(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.send(&publish(&bench.plain("a"), bench.body("x", "")).id("unasked")).await?;
    wire.fence().await?;
    let heard = wire.heard();
    expect(heard.is_empty(), "no ack that was not asked for", heard.iter().map(shown).collect::<String>())
}

async fn ack_of_each_type(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let acks = AckType::Received | AckType::Processed | AckType::Completed;
    let id = wire.start(publish(&bench.plain("a"), bench.body("x", "")), acks).await?;
    for kind in [AckType::Received, AckType::Processed, AckType::Completed] {
        success(&wire.ack(&id, kind).await?)?;
    }
    wire.fence().await?;
    let again = wire.heard().into_iter().find(|ack| ack.command_id() == Some(&id) || is_ack(ack, AckType::Stats));
    expect(again.is_none(), "one ack of each type asked for, and no other", again.as_ref().map_or(String::new(), shown))
}

async fn devnull(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.send(&publish("/AMPS/devnull", bench.body("x", ""))).await?;
    wire.fence().await
}
