//! `delta_publish`, `delta_subscribe` and `sow_and_delta_subscribe`.

use amps_core::command::CommandKind;
use amps_core::{AckType, Command, Field, Message};
use serde_json::{Value, json};

use crate::bench::{Bench, delta_publish, delta_subscribe, publish, sow, subscribe};
use crate::check::{Check, check};
use crate::judge::{Judged, Stop, equal, field, refused, success};
use crate::wire::{Wire, body, subscriptions};

pub(super) const CHECKS: &[Check] = &[
    check!("delta_publish/ack-of-each-type", "AMPS Command Reference, \"delta_publish\"", [Sow], ack_of_each_type),
    check!("delta_publish/merges", "AMPS User Guide, \"Incremental Message Updates\"", [Sow], merges),
    check!("delta_publish/nested", "AMPS User Guide, \"Incremental Message Updates\"", [Sow], nested),
    check!(
        "delta_publish/arrays-are-replaced",
        "AMPS User Guide, \"Incremental Message Updates\"",
        [Sow],
        arrays_are_replaced
    ),
    check!("delta_publish/null-is-nothing", "AMPS Command Reference, \"Publishing\"", [Sow], null_is_nothing),
    check!("delta_publish/without-a-record", "AMPS Command Reference, \"delta_publish\"", [Sow], without_a_record),
    check!("delta_publish/no-sow-topic", "AMPS Command Reference, \"delta_publish\"", [], publish_no_sow_topic),
    check!(
        "delta_publish/subscribers-get-all",
        "AMPS User Guide, \"Incremental Message Updates\"",
        [Sow],
        subscribers_get_all
    ),
    check!("delta_publish/correlation-id", "AMPS Command Reference, \"publish\"", [Sow], correlation_id),
    check!("delta_subscribe/changed-fields", "AMPS User Guide, \"Delta Subscribe\"", [Sow], changed_fields),
    check!("delta_subscribe/first-sight", "AMPS User Guide, \"Delta Subscribe\"", [Sow], first_sight),
    check!("delta_subscribe/empty", "AMPS User Guide, \"Delta Subscribe\"", [Sow], empty),
    check!("delta_subscribe/no-empties", "AMPS User Guide, \"Delta Subscribe\"", [Sow], no_empties),
    check!("delta_subscribe/no-sow-topic", "AMPS Command Reference, \"delta_subscribe\"", [], subscribe_no_sow_topic),
    check!("delta_subscribe/no-bookmark", "AMPS User Guide, \"Delta Subscribe\"", [LoggedSow], no_bookmark),
    check!("delta_subscribe/beside-a-whole-one", "AMPS User Guide, \"Delta Subscribe\"", [Sow], beside_a_whole_one),
    check!(
        "sow_and_delta_subscribe/records-then-deltas",
        "AMPS Command Reference, \"sow_and_delta_subscribe\"",
        [Sow],
        records_then_deltas
    ),
];

fn record(bench: &Bench<'_>, fields: &str) -> Command {
    publish(bench.sow(), bench.body("x", fields))
}

fn delta(bench: &Bench<'_>, fields: &str) -> Command {
    delta_publish(bench.sow(), bench.body("x", fields))
}

/// What the record of this check says, behind these commands.
async fn merged(bench: &Bench<'_>, commands: &[Command]) -> Result<Value, Stop> {
    let mut wire = bench.client().await?;
    for command in commands {
        wire.done(command.clone()).await?;
    }
    let answer = wire.query(sow(bench.sow()).text(Field::Filter, bench.own()), AckType::Completed).await?;
    equal("the number of records", answer.records.len(), 1)?;
    Ok(Value::Object(bench.fields(&answer.records[0])?))
}

async fn ack_of_each_type(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let acks = AckType::Received | AckType::Processed | AckType::Completed | AckType::Persisted;
    let id = wire.start(delta(bench, r#""a":1"#).number(Field::Sequence, 1), acks).await?;
    for kind in [AckType::Received, AckType::Processed, AckType::Completed] {
        success(&wire.ack(&id, kind).await?)?;
    }
    wire.persisted(1).await.map(drop)
}

async fn merges(bench: &Bench<'_>) -> Judged {
    let came = merged(bench, &[record(bench, r#""a":1,"b":2"#), delta(bench, r#""b":3,"c":4"#)]).await?;
    equal("the record", came, json!({ "a": 1, "b": 3, "c": 4 }))
}

async fn nested(bench: &Bench<'_>) -> Judged {
    let came = merged(bench, &[record(bench, r#""a":{"x":1,"y":2}"#), delta(bench, r#""a":{"y":9}"#)]).await?;
    equal("the record", came, json!({ "a": { "x": 1, "y": 9 } }))
}

async fn arrays_are_replaced(bench: &Bench<'_>) -> Judged {
    let came = merged(bench, &[record(bench, r#""l":[1,2,3]"#), delta(bench, r#""l":[4]"#)]).await?;
    equal("the record", came, json!({ "l": [4] }))
}

async fn null_is_nothing(bench: &Bench<'_>) -> Judged {
    let came = merged(bench, &[record(bench, r#""a":1,"b":2"#), delta(bench, r#""a":null,"b":3"#)]).await?;
    equal("the record", came, json!({ "a": 1, "b": 3 }))
}

async fn without_a_record(bench: &Bench<'_>) -> Judged {
    equal("the record", merged(bench, &[delta(bench, r#""a":1"#)]).await?, json!({ "a": 1 }))
}

async fn publish_no_sow_topic(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let (topic, text) = (bench.plain("a"), bench.body("x", r#""a":1"#));
    wire.done(subscribe(&topic)).await?;
    wire.send(&delta_publish(&topic, text.clone())).await?;
    equal("the message as it is", body(&wire.message().await?), text)
}

/// A connection with a subscription to this check's records.
async fn subscribed(bench: &Bench<'_>, command: Command, options: &str) -> Result<Wire, Stop> {
    let mut wire = bench.client().await?;
    wire.done(command.text(Field::Filter, bench.own()).text(Field::Options, options)).await?;
    Ok(wire)
}

async fn whole(bench: &Bench<'_>, message: &Message) -> Result<Value, Stop> {
    bench.fields(message).map(Value::Object)
}

async fn subscribers_get_all(bench: &Bench<'_>) -> Judged {
    let mut wire = subscribed(bench, subscribe(bench.sow()), "none").await?;
    wire.send(&record(bench, r#""a":1,"b":2"#)).await?;
    wire.send(&delta(bench, r#""b":3"#)).await?;
    let messages = wire.messages(2).await?;
    equal("the merged message", whole(bench, &messages[1]).await?, json!({ "a": 1, "b": 3 }))
}

async fn correlation_id(bench: &Bench<'_>) -> Judged {
    let mut wire = subscribed(bench, subscribe(bench.sow()), "none").await?;
    wire.send(&record(bench, r#""a":1"#).text(Field::CorrelationId, "QUJD")).await?;
    wire.send(&delta(bench, r#""a":2"#)).await?;
    wire.send(&delta(bench, r#""a":3"#).text(Field::CorrelationId, "REVG")).await?;
    let messages = wire.messages(3).await?;
    field(&messages[1], Field::CorrelationId, "QUJD")?;
    field(&messages[2], Field::CorrelationId, "REVG")
}

async fn changed_fields(bench: &Bench<'_>) -> Judged {
    let mut wire = subscribed(bench, delta_subscribe(bench.sow()), "none").await?;
    wire.send(&record(bench, r#""a":1,"b":2,"c":{"x":1,"y":2}"#)).await?;
    wire.send(&record(bench, r#""a":1,"b":3,"c":{"x":1,"y":4}"#)).await?;
    let messages = wire.messages(2).await?;
    equal("the fields that changed", whole(bench, &messages[1]).await?, json!({ "b": 3, "c": { "y": 4 } }))?;
    let key = format!("{:?}", bench.key("x"));
    crate::judge::expect(body(&messages[1]).contains(&key), "the key field as well", body(&messages[1]))
}

async fn first_sight(bench: &Bench<'_>) -> Judged {
    let mut wire = subscribed(bench, delta_subscribe(bench.sow()), "none").await?;
    wire.send(&record(bench, r#""a":1,"b":2"#)).await?;
    equal("the whole message", body(&wire.message().await?), bench.body("x", r#""a":1,"b":2"#))
}

async fn empty(bench: &Bench<'_>) -> Judged {
    let mut wire = subscribed(bench, delta_subscribe(bench.sow()), "none").await?;
    for fields in [r#""a":1"#, r#""a":1"#, r#""a":2"#] {
        wire.send(&record(bench, fields)).await?;
    }
    let messages = wire.messages(3).await?;
    equal("only keys, of an update that changes nothing", whole(bench, &messages[1]).await?, json!({}))
}

async fn no_empties(bench: &Bench<'_>) -> Judged {
    let mut wire = subscribed(bench, delta_subscribe(bench.sow()), "no_empties,send_keys").await?;
    for fields in [r#""a":1"#, r#""a":1"#, r#""a":2"#] {
        wire.send(&record(bench, fields)).await?;
    }
    let messages = wire.messages(2).await?;
    equal("the next update that changes something", whole(bench, &messages[1]).await?, json!({ "a": 2 }))
}

async fn subscribe_no_sow_topic(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    wire.done(delta_subscribe(&topic)).await?;
    for fields in [r#""a":1,"b":2"#, r#""a":1,"b":3"#] {
        wire.send(&publish(&topic, bench.body("x", fields))).await?;
        equal("the whole message", body(&wire.message().await?), bench.body("x", fields))?;
    }
    Ok(())
}

async fn no_bookmark(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let command = delta_subscribe(bench.sow()).text(Field::Filter, bench.own()).text(Field::Bookmark, "0");
    refused(&wire.ask(command, AckType::Processed).await?, "a delta subscription takes no bookmark")
}

async fn beside_a_whole_one(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    for (command, id) in [(subscribe(bench.sow()), "whole"), (delta_subscribe(bench.sow()), "delta")] {
        wire.done(command.text(Field::Filter, bench.own()).text(Field::SubscriptionId, id)).await?;
    }
    wire.send(&record(bench, r#""a":1,"b":2"#)).await?;
    wire.send(&record(bench, r#""a":1,"b":3"#)).await?;
    let messages = wire.messages(2).await?;
    equal("the subscriptions of one message", subscriptions(&messages[1]), vec!["delta", "whole"])?;
    equal("what the most demanding one needs", whole(bench, &messages[1]).await?, json!({ "a": 1, "b": 3 }))
}

async fn records_then_deltas(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.done(record(bench, r#""a":1,"b":2"#)).await?;
    let command = Command::new(CommandKind::SowAndDeltaSubscribe).topic(bench.sow()).text(Field::Filter, bench.own());
    let answer = wire.query(command, AckType::Completed).await?;
    equal("the number of records", answer.records.len(), 1)?;
    equal("the whole record", whole(bench, &answer.records[0]).await?, json!({ "a": 1, "b": 2 }))?;
    wire.send(&record(bench, r#""a":1,"b":3"#)).await?;
    equal("the field that changed", whole(bench, &wire.message().await?).await?, json!({ "b": 3 }))
}
