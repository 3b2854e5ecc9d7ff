//! `sow_and_subscribe`: a query and what changes behind it.

use amps_core::message::MessageKind;
use amps_core::{AckType, Command, Field};

use crate::bench::{Bench, publish, sow_and_subscribe};
use crate::check::{Check, check};
use crate::judge::{Judged, Stop, equal, expect, refused, success};
use crate::query::Answer;
use crate::wire::{Wire, subscriptions};

pub(super) const CHECKS: &[Check] = &[
    check!(
        "sow_and_subscribe/ack-of-each-type",
        "AMPS Command Reference, \"sow_and_subscribe\"",
        [Sow],
        ack_of_each_type
    ),
    check!(
        "sow_and_subscribe/records-then-updates",
        "AMPS Command Reference, \"sow_and_subscribe\"",
        [Sow],
        records_then_updates
    ),
    check!("sow_and_subscribe/filter", "AMPS Command Reference, \"sow_and_subscribe\"", [Sow], filter),
    check!(
        "sow_and_subscribe/nothing-missed-nothing-twice",
        "AMPS Command Reference, \"sow_and_subscribe\"",
        [Sow],
        nothing_missed
    ),
    check!("sow_and_subscribe/no-sow-topic", "AMPS User Guide, \"SOW Queries\"", [], no_sow_topic),
    check!("sow_and_subscribe/top-n", "AMPS Command Reference, \"sow_and_subscribe\"", [Sow], top_n),
    check!("sow_and_subscribe/page", "AMPS User Guide, \"Managing Result Sets\"", [Sow], page),
    check!("sow_and_subscribe/replace", "AMPS User Guide, \"Replacing Subscriptions\"", [Sow], replace),
    check!("sow_and_subscribe/unsubscribe", "AMPS Command Reference, \"unsubscribe\"", [Sow], unsubscribe),
    check!("sow_and_subscribe/filter-bad", "AMPS Command Reference, \"sow_and_subscribe\"", [Sow], filter_bad),
];

fn record(bench: &Bench<'_>, key: &str, n: i64) -> Command {
    publish(bench.sow(), bench.body(key, &format!(r#""n":{n}"#)))
}

fn own(bench: &Bench<'_>) -> Command {
    sow_and_subscribe(bench.sow()).text(Field::Filter, bench.own()).text(Field::SubscriptionId, "s")
}

/// The numbers of a query's records, sorted.
fn sorted(bench: &Bench<'_>, answer: &Answer) -> Result<Vec<i64>, Stop> {
    let mut numbers = bench.numbers(&answer.records)?;
    numbers.sort_unstable();
    Ok(numbers)
}

async fn ack_of_each_type(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let kinds = [AckType::Received, AckType::Processed, AckType::Completed, AckType::Stats];
    let id = wire.start(own(bench), kinds[0] | kinds[1] | kinds[2] | kinds[3]).await?;
    for kind in kinds {
        success(&wire.ack(&id, kind).await?)?;
    }
    Ok(())
}

async fn records_then_updates(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.done(record(bench, "x", 1)).await?;
    let answer = wire.query(own(bench).text(Field::QueryId, "q"), AckType::Completed).await?;
    equal("the records", sorted(bench, &answer)?, vec![1])?;
    wire.send(&record(bench, "x", 2)).await?;
    wire.send(&record(bench, "y", 3)).await?;
    let updates = wire.messages(2).await?;
    equal("the updates", bench.numbers(&updates)?, vec![2, 3])?;
    equal("the subscription of an update", subscriptions(&updates[0]), vec!["s"])
}

async fn filter(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    for n in 1..=3 {
        wire.done(record(bench, &format!("k{n}"), n)).await?;
    }
    let command = own(bench).text(Field::Filter, bench.own_and("/n >= 3"));
    let answer = wire.query(command, AckType::Completed).await?;
    equal("the records that match", sorted(bench, &answer)?, vec![3])?;
    wire.send(&record(bench, "x", 2)).await?;
    wire.send(&record(bench, "y", 4)).await?;
    equal("the first update that matches", bench.number(&wire.message().await?)?, 4)
}

async fn nothing_missed(bench: &Bench<'_>) -> Judged {
    const COUNT: i64 = 400;
    let (mut from, mut to) = (bench.client().await?, bench.client().await?);
    let (halfway, go) = tokio::sync::oneshot::channel();
    let publishing = async {
        let mut halfway = Some(halfway);
        for n in 1..=COUNT {
            from.send(&record(bench, &format!("k{n}"), n)).await?;
            if n == COUNT / 2 {
                // Whoever waits for it has given up if nobody does.
                let _ = halfway.take().map(|halfway| halfway.send(()));
            }
            tokio::task::yield_now().await;
        }
        from.fence().await
    };
    let reading = async {
        // Gone when publishing has failed, which says why.
        let _ = go.await;
        let answer = to.query(own(bench).number(Field::BatchSize, 10), AckType::Completed).await?;
        let mut numbers = bench.numbers(&answer.records)?;
        while numbers.len() < COUNT as usize {
            numbers.push(bench.number(&to.message().await?)?);
        }
        numbers.sort_unstable();
        equal("every message once, as a record or as an update", numbers, (1..=COUNT).collect())
    };
    let (published, read) = tokio::join!(publishing, reading);
    published.and(read)
}

async fn no_sow_topic(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    let answer = wire.query(sow_and_subscribe(&topic), AckType::Completed).await?;
    equal("the markers and no records", answer.frames.len(), 2)?;
    wire.send(&publish(&topic, bench.body("x", r#""n":1"#))).await?;
    equal("a message published behind it", bench.number(&wire.message().await?)?, 1)
}

async fn top_n(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    for n in 1..=4 {
        wire.done(record(bench, &format!("k{n}"), n)).await?;
    }
    let command = own(bench).text(Field::OrderBy, "/n").number(Field::TopN, 2);
    let answer = wire.query(command, AckType::Completed).await?;
    equal("the first two records", bench.numbers(&answer.records)?, vec![1, 2])?;
    wire.send(&record(bench, "k9", 9)).await?;
    equal("an update, since top_n is the query's", bench.number(&wire.message().await?)?, 9)
}

async fn page(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    for n in [10, 20, 30] {
        wire.done(record(bench, &format!("k{n}"), n)).await?;
    }
    let command = own(bench).text(Field::OrderBy, "/n").text(Field::Options, "top_n=2,skip_n=0,oof");
    let answer = wire.query(command, AckType::Completed).await?;
    equal("the page", bench.numbers(&answer.records)?, vec![10, 20])?;
    wire.send(&record(bench, "k15", 15)).await?;
    equal("what comes onto the page", bench.number(&wire.message().await?)?, 15)?;
    let left = wire.take("an oof message", |message| message.kind() == MessageKind::Oof).await?;
    equal("what leaves the page", bench.number(&left)?, 20)
}

async fn replace(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    for n in 1..=4 {
        wire.done(record(bench, &format!("k{n}"), n)).await?;
    }
    let command = |filter: &str| own(bench).text(Field::Filter, bench.own_and(filter));
    let answer = wire.query(command("/n <= 2"), AckType::Completed).await?;
    equal("the records", sorted(bench, &answer)?, vec![1, 2])?;
    let replacing = command("/n >= 2 AND /n < 4").text(Field::Options, "replace");
    let answer = wire.query(replacing, AckType::Completed).await?;
    equal("the records that were not delivered before", sorted(bench, &answer)?, vec![3])
}

async fn unsubscribe(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.query(own(bench), AckType::Completed).await?;
    wire.query(own(bench).text(Field::SubscriptionId, "t"), AckType::Completed).await?;
    wire.done(crate::bench::unsubscribe("s")).await?;
    wire.send(&record(bench, "x", 1)).await?;
    equal("the subscription that is left", subscriptions(&wire.message().await?), vec!["t"])
}

async fn filter_bad(bench: &Bench<'_>) -> Judged {
    let mut wire: Wire = bench.client().await?;
    let command = sow_and_subscribe(bench.sow()).text(Field::Filter, "/a = ");
    refused(&wire.ask(command, AckType::Processed).await?, "this is no filter")?;
    wire.fence().await?;
    let heard = wire.heard();
    expect(heard.is_empty(), "no records of a refused query", format!("{} messages", heard.len()))
}
