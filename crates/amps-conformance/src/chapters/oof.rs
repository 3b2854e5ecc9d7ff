//! Messages about records that go out of focus.

use amps_core::message::MessageKind;
use amps_core::{Command, Field, Message};
use serde_json::json;

use crate::bench::{Bench, delta_publish, publish, sow_delete, subscribe};
use crate::check::{Check, check};
use crate::exchange::shown;
use crate::judge::{Judged, Stop, equal, expect, field};
use crate::wire::{Wire, need, subscriptions};

pub(super) const CHECKS: &[Check] = &[
    check!("oof/match", "AMPS User Guide, \"Out-of-Focus Messages\"", [Sow], no_match),
    check!("oof/deleted", "AMPS User Guide, \"Out-of-Focus Messages\"", [Sow], deleted),
    check!("oof/merged-body", "AMPS User Guide, \"Out-of-Focus Messages\"", [Sow], merged_body),
    check!("oof/key-and-subscription", "AMPS Command Reference, \"oof\"", [Sow], key_and_subscription),
    check!("oof/not-without-the-option", "AMPS User Guide, \"Out-of-Focus Messages\"", [Sow], not_unasked),
    check!("oof/not-of-what-never-matched", "AMPS User Guide, \"Out-of-Focus Messages\"", [Sow], not_of_others),
    check!("oof/back-in-focus", "AMPS User Guide, \"Out-of-Focus Messages\"", [Sow], back_in_focus),
];

fn record(bench: &Bench<'_>, key: &str, n: i64) -> Command {
    publish(bench.sow(), bench.body(key, &format!(r#""n":{n}"#)))
}

/// A connection with a subscription to records below 10, and these options.
async fn below_ten(bench: &Bench<'_>, options: &str) -> Result<Wire, Stop> {
    let mut wire = bench.client().await?;
    let command = subscribe(bench.sow()).text(Field::Filter, bench.own_and("/n < 10"));
    wire.done(command.text(Field::SubscriptionId, "s").text(Field::Options, options)).await?;
    Ok(wire)
}

async fn left(wire: &mut Wire) -> Result<Message, Stop> {
    wire.take("an oof message", |message| message.kind() == MessageKind::Oof).await
}

async fn no_match(bench: &Bench<'_>) -> Judged {
    let mut wire = below_ten(bench, "oof").await?;
    wire.send(&record(bench, "x", 1)).await?;
    wire.send(&record(bench, "x", 11)).await?;
    let oof = left(&mut wire).await?;
    field(&oof, Field::Reason, "match")?;
    equal("the message that does not match any more", bench.number(&oof)?, 11)
}

async fn deleted(bench: &Bench<'_>) -> Judged {
    let mut wire = below_ten(bench, "oof").await?;
    wire.send(&record(bench, "x", 1)).await?;
    wire.send(&sow_delete(bench.sow()).text(Field::Filter, bench.own())).await?;
    let oof = left(&mut wire).await?;
    field(&oof, Field::Reason, "deleted")?;
    equal("the message that is gone", bench.number(&oof)?, 1)
}

async fn merged_body(bench: &Bench<'_>) -> Judged {
    let mut wire = below_ten(bench, "oof").await?;
    wire.send(&publish(bench.sow(), bench.body("x", r#""n":1,"m":2"#))).await?;
    wire.send(&delta_publish(bench.sow(), bench.body("x", r#""n":11"#))).await?;
    let fields = bench.fields(&left(&mut wire).await?)?;
    equal("the merged record", serde_json::Value::Object(fields), json!({ "n": 11, "m": 2 }))
}

async fn key_and_subscription(bench: &Bench<'_>) -> Judged {
    let mut wire = below_ten(bench, "oof").await?;
    wire.send(&record(bench, "x", 1)).await?;
    let key = need(&wire.message().await?, Field::SowKey)?;
    wire.send(&record(bench, "x", 11)).await?;
    let oof = left(&mut wire).await?;
    field(&oof, Field::SowKey, &key)?;
    field(&oof, Field::Topic, bench.sow())?;
    equal("the subscription", subscriptions(&oof), vec!["s"])
}

/// Nothing but messages came before this one.
async fn only_messages(bench: &Bench<'_>, wire: &mut Wire, numbers: Vec<i64>) -> Judged {
    let came = bench.numbers(&wire.messages(numbers.len()).await?)?;
    equal("the messages", came, numbers)?;
    let heard = wire.heard();
    let oof = heard.iter().find(|message| message.kind() == MessageKind::Oof);
    expect(oof.is_none(), "no oof message", oof.map_or(String::new(), shown))
}

async fn not_unasked(bench: &Bench<'_>) -> Judged {
    let mut wire = below_ten(bench, "none").await?;
    for n in [1, 11, 2] {
        wire.send(&record(bench, "x", n)).await?;
    }
    only_messages(bench, &mut wire, vec![1, 2]).await
}

async fn not_of_others(bench: &Bench<'_>) -> Judged {
    let mut wire = below_ten(bench, "oof").await?;
    for (key, n) in [("x", 11), ("x", 12), ("y", 1)] {
        wire.send(&record(bench, key, n)).await?;
    }
    only_messages(bench, &mut wire, vec![1]).await
}

async fn back_in_focus(bench: &Bench<'_>) -> Judged {
    let mut wire = below_ten(bench, "oof").await?;
    for n in [1, 11, 2] {
        wire.send(&record(bench, "x", n)).await?;
    }
    left(&mut wire).await?;
    equal("the message before and the one after", bench.numbers(&wire.messages(2).await?)?, vec![1, 2])
}
