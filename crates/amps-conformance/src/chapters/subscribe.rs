//! `subscribe` and `unsubscribe`.

use std::time::Duration;

use amps_core::{AckType, Field, Message};

use crate::bench::{Bench, publish, subscribe, unsubscribe};
use crate::check::{Check, check};
use crate::exchange::shown;
use crate::judge::{Judged, Stop, equal, expect, success};
use crate::wire::{Wire, need, subscriptions};

pub(super) const CHECKS: &[Check] = &[
    check!("subscribe/ack-of-each-type", "AMPS Command Reference, \"subscribe\"", [], ack_of_each_type),
    check!("subscribe/from-now-on", "AMPS User Guide, \"Publish and Subscribe\"", [], from_now_on),
    check!("subscribe/own-id", "AMPS Command Reference, \"subscribe\"", [], own_id),
    check!("subscribe/command-id-as-id", "AMPS Command Reference, \"subscribe\"", [], command_id_as_id),
    check!("subscribe/no-bookmark-unasked", "AMPS Command Reference, \"subscribe\"", [Log], no_bookmark_unasked),
    check!("subscribe/option-bookmark", "AMPS Command Reference, \"subscribe\"", [Log], option_bookmark),
    check!("subscribe/option-timestamp", "AMPS Command Reference, \"subscribe\"", [], option_timestamp),
    check!("subscribe/sow-key", "AMPS Command Reference, \"publish\"", [Sow], sow_key),
    check!("subscribe/option-no-sowkey", "AMPS Command Reference, \"subscribe\"", [Sow], option_no_sowkey),
    check!("subscribe/option-select", "AMPS User Guide, \"Select Lists\"", [], option_select),
    check!("subscribe/replace-filter", "AMPS User Guide, \"Replacing Subscriptions\"", [], replace_filter),
    check!("subscribe/replace-topic", "AMPS User Guide, \"Replacing Subscriptions\"", [], replace_topic),
    check!("subscribe/conflation", "AMPS User Guide, \"Conflated Subscriptions\"", [Sow], conflation),
    check!("subscribe/ends-with-connection", "AMPS User Guide, \"Messages\"", [], ends_with_connection),
    check!("unsubscribe/ack-of-each-type", "AMPS Command Reference, \"unsubscribe\"", [], unsubscribe_acks),
    check!("unsubscribe/one", "AMPS Command Reference, \"unsubscribe\"", [], unsubscribe_one),
    check!("unsubscribe/list", "AMPS Command Reference, \"unsubscribe\"", [], unsubscribe_list),
    check!("unsubscribe/all", "AMPS Command Reference, \"unsubscribe\"", [], unsubscribe_all),
];

async fn ack_of_each_type(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let id = wire.start(subscribe(&bench.plain("a")), AckType::Received | AckType::Processed).await?;
    success(&wire.ack(&id, AckType::Received).await?)?;
    success(&wire.ack(&id, AckType::Processed).await?)
}

async fn from_now_on(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    wire.done(numbered(bench, &topic, 1)).await?;
    wire.done(subscribe(&topic)).await?;
    wire.done(numbered(bench, &topic, 2)).await?;
    equal("the first message behind the subscription", bench.number(&wire.message().await?)?, 2)
}

async fn own_id(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    wire.done(subscribe(&topic).text(Field::SubscriptionId, "my-own id")).await?;
    wire.send(&numbered(bench, &topic, 1)).await?;
    equal("the subscription's id", subscriptions(&wire.message().await?), vec!["my-own id"])
}

async fn command_id_as_id(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    let id = wire.start(subscribe(&topic), AckType::Processed).await?;
    success(&wire.ack(&id, AckType::Processed).await?)?;
    wire.send(&numbered(bench, &topic, 1)).await?;
    equal("the command's id, as the subscription's", subscriptions(&wire.message().await?), vec![id.as_str()])
}

async fn no_bookmark_unasked(bench: &Bench<'_>) -> Judged {
    let message = first(bench, bench.log(), "none").await?;
    let plain = message.raw(Field::Bookmark).is_none() && message.raw(Field::Timestamp).is_none();
    expect(plain, "neither bookmark nor timestamp, without their options", shown(&message))
}

async fn option_bookmark(bench: &Bench<'_>) -> Judged {
    let message = first(bench, bench.log(), "bookmark").await?;
    expect(message.bookmark().is_some(), "the message's bookmark in \"bm\"", shown(&message))
}

async fn option_timestamp(bench: &Bench<'_>) -> Judged {
    let message = first(bench, &bench.plain("a"), "timestamp").await?;
    let time = need(&message, Field::Timestamp)?;
    let digits = time.bytes().filter(u8::is_ascii_digit).count();
    expect(digits >= 14 && time.contains('T'), "an ISO 8601 time in \"ts\"", time)
}

async fn sow_key(bench: &Bench<'_>) -> Judged {
    need(&first(bench, bench.sow(), "none").await?, Field::SowKey).map(drop)
}

async fn option_no_sowkey(bench: &Bench<'_>) -> Judged {
    let message = first(bench, bench.sow(), "no_sowkey").await?;
    expect(message.raw(Field::SowKey).is_none(), "no \"k\"", shown(&message))
}

async fn option_select(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    wire.done(subscribe(&topic).text(Field::Options, "select=[-/,+/n,+/deep/x]")).await?;
    wire.send(&publish(&topic, bench.body("x", r#""n":1,"m":2,"deep":{"x":3,"y":4}"#))).await?;
    let message = wire.message().await?;
    let came: serde_json::Value = serde_json::from_slice(message.data()).unwrap_or_default();
    equal("the fields of the select list", came, serde_json::json!({ "n": 1, "deep": { "x": 3 } }))
}

async fn replace_filter(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    let command = subscribe(&topic).text(Field::SubscriptionId, "s");
    wire.done(command.clone().text(Field::Filter, "/n = 1")).await?;
    wire.done(command.text(Field::Filter, "/n >= 2").text(Field::Options, "replace")).await?;
    for n in [1, 2, 3] {
        wire.send(&numbered(bench, &topic, n)).await?;
    }
    let messages = wire.messages(2).await?;
    equal("what matches the new filter", bench.numbers(&messages)?, vec![2, 3])?;
    equal("the same id", subscriptions(&messages[0]), vec!["s"])
}

async fn replace_topic(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let (old, new) = (bench.plain("a"), bench.plain("b"));
    wire.done(subscribe(&old).text(Field::SubscriptionId, "s")).await?;
    wire.done(subscribe(&new).text(Field::SubscriptionId, "s").text(Field::Options, "replace")).await?;
    wire.send(&numbered(bench, &old, 1)).await?;
    wire.send(&numbered(bench, &new, 2)).await?;
    equal("what is published to the new topic", bench.number(&wire.message().await?)?, 2)
}

/// Of the conflation.
const INTERVAL: Duration = Duration::from_millis(500);

async fn conflation(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.patient_client(INTERVAL).await?;
    let command = subscribe(bench.sow()).text(Field::Filter, bench.own());
    // Everything below is published well within the interval.
    wire.done(command.text(Field::Options, format!("conflation={}ms", INTERVAL.as_millis()))).await?;
    for n in 1..=5 {
        wire.send(&publish(bench.sow(), bench.body("x", &format!(r#""n":{n}"#)))).await?;
    }
    equal("the last of the messages of one key", bench.number(&wire.message().await?)?, 5)
}

async fn ends_with_connection(bench: &Bench<'_>) -> Judged {
    let name = bench.name("same");
    let topic = bench.plain("a");
    let (mut old, _) = bench.logged_on(&name).await?;
    old.done(subscribe(&topic).text(Field::SubscriptionId, "s")).await?;
    drop(old);
    let (mut new, _) = bench.logged_on(&name).await?;
    new.done(numbered(bench, &topic, 1)).await?;
    new.done(subscribe(&topic).text(Field::SubscriptionId, "s")).await?;
    new.send(&numbered(bench, &topic, 2)).await?;
    equal("nothing of an earlier connection's subscription", bench.number(&new.message().await?)?, 2)
}

async fn unsubscribe_acks(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.done(subscribe(&bench.plain("a")).text(Field::SubscriptionId, "s")).await?;
    let id = wire.start(unsubscribe("s"), AckType::Received | AckType::Processed).await?;
    success(&wire.ack(&id, AckType::Received).await?)?;
    success(&wire.ack(&id, AckType::Processed).await?)
}

/// A connection with these subscriptions to one topic.
async fn subscribed(bench: &Bench<'_>, ids: &[&str]) -> Result<Wire, Stop> {
    let mut wire = bench.client().await?;
    for id in ids {
        wire.done(subscribe(&bench.plain("a")).text(Field::SubscriptionId, *id)).await?;
    }
    Ok(wire)
}

async fn unsubscribe_one(bench: &Bench<'_>) -> Judged {
    let mut wire = subscribed(bench, &["one", "two"]).await?;
    wire.done(unsubscribe("one")).await?;
    wire.send(&numbered(bench, &bench.plain("a"), 1)).await?;
    equal("the subscription that is left", subscriptions(&wire.message().await?), vec!["two"])
}

async fn unsubscribe_list(bench: &Bench<'_>) -> Judged {
    let mut wire = subscribed(bench, &["one", "two", "three"]).await?;
    wire.done(unsubscribe("one,three")).await?;
    wire.send(&numbered(bench, &bench.plain("a"), 1)).await?;
    equal("the subscription that is left", subscriptions(&wire.message().await?), vec!["two"])
}

async fn unsubscribe_all(bench: &Bench<'_>) -> Judged {
    let topic = bench.plain("a");
    let mut wire = subscribed(bench, &["one", "two"]).await?;
    wire.done(unsubscribe("all")).await?;
    wire.done(numbered(bench, &topic, 1)).await?;
    wire.done(subscribe(&topic).text(Field::SubscriptionId, "three")).await?;
    wire.send(&numbered(bench, &topic, 2)).await?;
    let message = wire.message().await?;
    equal("nothing for what was ended", (bench.number(&message)?, subscriptions(&message)), (2, vec!["three"]))
}

fn numbered(bench: &Bench<'_>, topic: &str, n: i64) -> amps_core::Command {
    publish(topic, bench.body("x", &format!(r#""n":{n}"#)))
}

/// The first message of a subscription with these options.
async fn first(bench: &Bench<'_>, topic: &str, options: &str) -> Result<Message, Stop> {
    let mut wire = bench.client().await?;
    wire.done(subscribe(topic).text(Field::Filter, bench.own()).text(Field::Options, options)).await?;
    wire.send(&publish(topic, bench.body("x", ""))).await?;
    wire.message().await
}
