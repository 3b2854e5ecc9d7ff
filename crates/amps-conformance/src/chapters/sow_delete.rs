//! `sow_delete`: deleting records.

use amps_core::{AckType, Command, Field};

use crate::bench::{Bench, publish, sow, sow_delete};
use crate::check::{Check, check};
use crate::judge::{Judged, Stop, equal, field, refused, success};
use crate::wire::{Wire, need};

pub(super) const CHECKS: &[Check] = &[
    check!("sow_delete/ack-of-each-type", "AMPS Command Reference, \"sow_delete\"", [Sow], ack_of_each_type),
    check!("sow_delete/by-filter", "AMPS Command Reference, \"sow_delete\"", [Sow], by_filter),
    check!("sow_delete/by-keys", "AMPS Command Reference, \"sow_delete\"", [Sow], by_keys),
    check!("sow_delete/by-data", "AMPS Command Reference, \"sow_delete\"", [Sow], by_data),
    check!("sow_delete/stats", "AMPS Command Reference, \"ack\"", [Sow], stats),
    check!("sow_delete/nothing", "AMPS Command Reference, \"sow_delete\"", [Sow], nothing),
    check!("sow_delete/regex-topic", "AMPS Command Reference, \"sow_delete\"", [Sow], regex_topic),
    check!("sow_delete/published-again", "AMPS User Guide, \"State of the World\"", [Sow], published_again),
    check!("sow_delete/filter-bad", "AMPS Command Reference, \"sow_delete\"", [Sow], filter_bad),
];

/// A connection that has published three records.
async fn kept(bench: &Bench<'_>) -> Result<Wire, Stop> {
    let mut wire = bench.client().await?;
    for n in 1..=3 {
        wire.done(publish(bench.sow(), bench.body(&format!("k{n}"), &format!(r#""n":{n}"#)))).await?;
    }
    Ok(wire)
}

fn matching(bench: &Bench<'_>, filter: &str) -> Command {
    sow_delete(bench.sow()).text(Field::Filter, bench.own_and(filter))
}

/// Which records there are.
async fn there(bench: &Bench<'_>, wire: &mut Wire, wanted: Vec<i64>) -> Judged {
    let command = sow(bench.sow()).text(Field::Filter, bench.own()).text(Field::OrderBy, "/n");
    let answer = wire.query(command, AckType::Completed).await?;
    equal("the records that are left", bench.numbers(&answer.records)?, wanted)
}

async fn ack_of_each_type(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench).await?;
    let acks = AckType::Received | AckType::Processed | AckType::Completed | AckType::Stats | AckType::Persisted;
    let id = wire.start(matching(bench, "/n = 1").number(Field::Sequence, 1), acks).await?;
    for kind in [AckType::Received, AckType::Processed, AckType::Completed, AckType::Stats] {
        success(&wire.ack(&id, kind).await?)?;
    }
    wire.persisted(1).await.map(drop)
}

async fn by_filter(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench).await?;
    wire.done(matching(bench, "/n >= 2")).await?;
    there(bench, &mut wire, vec![1]).await
}

async fn by_keys(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench).await?;
    let command = sow(bench.sow()).text(Field::Filter, bench.own()).text(Field::OrderBy, "/n");
    let answer = wire.query(command, AckType::Completed).await?;
    equal("the number of records", answer.records.len(), 3)?;
    let (first, third) = (need(&answer.records[0], Field::SowKey)?, need(&answer.records[2], Field::SowKey)?);
    wire.done(sow_delete(bench.sow()).text(Field::SowKeys, format!("{first},{third}"))).await?;
    there(bench, &mut wire, vec![2]).await
}

async fn by_data(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench).await?;
    wire.done(sow_delete(bench.sow()).body(bench.body("k2", ""))).await?;
    there(bench, &mut wire, vec![1, 3]).await
}

async fn stats(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench).await?;
    let ack = wire.ask(matching(bench, "/n <= 2"), AckType::Stats).await?;
    success(&ack)?;
    field(&ack, Field::RecordsDeleted, "2")?;
    field(&ack, Field::Matches, "2")
}

async fn nothing(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench).await?;
    let ack = wire.ask(matching(bench, "/n = 99"), AckType::Stats).await?;
    success(&ack)?;
    field(&ack, Field::RecordsDeleted, "0")?;
    there(bench, &mut wire, vec![1, 2, 3]).await
}

async fn regex_topic(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench).await?;
    wire.done(sow_delete(&format!("^{}$", bench.sow())).text(Field::Filter, bench.own_and("/n = 1"))).await?;
    there(bench, &mut wire, vec![2, 3]).await
}

async fn published_again(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench).await?;
    wire.done(matching(bench, "/n > 0")).await?;
    wire.done(publish(bench.sow(), bench.body("k1", r#""n":7"#))).await?;
    there(bench, &mut wire, vec![7]).await
}

async fn filter_bad(bench: &Bench<'_>) -> Judged {
    let mut wire = kept(bench).await?;
    let ack = wire.ask(sow_delete(bench.sow()).text(Field::Filter, "/a = "), AckType::Processed).await?;
    refused(&ack, "this is no filter")?;
    there(bench, &mut wire, vec![1, 2, 3]).await
}
