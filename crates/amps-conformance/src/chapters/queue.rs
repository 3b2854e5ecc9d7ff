//! Message queues.

use amps_core::{AckType, Command, Field, Message};

use crate::bench::{Bench, publish, sow, sow_delete, subscribe, unsubscribe};
use crate::check::{Check, check};
use crate::exchange::shown;
use crate::judge::{Judged, Stop, equal, expect, fail, success};
use crate::wire::{Wire, need};

pub(super) const CHECKS: &[Check] = &[
    check!("queue/delivered", "AMPS User Guide, \"Message Queues\"", [Queue], delivered),
    check!("queue/one-of-all-subscribers", "AMPS User Guide, \"Message Queues\"", [Queue], one_of_all_subscribers),
    check!("queue/order", "AMPS User Guide, \"Message Queues\"", [Queue], order),
    check!("queue/backlog-in-the-ack", "AMPS Command Reference, \"ack\"", [Queue], backlog_in_the_ack),
    check!("queue/backlog-of-one", "AMPS User Guide, \"Message Queues\"", [Queue], backlog_of_one),
    check!("queue/backlog", "AMPS User Guide, \"Message Queues\"", [Queue], backlog),
    check!("queue/ack", "AMPS Command Reference, \"sow_delete\"", [Queue], ack),
    check!("queue/ack-of-a-list", "AMPS Command Reference, \"sow_delete\"", [Queue], ack_of_a_list),
    check!("queue/ack-by-filter", "AMPS User Guide, \"Message Queues\"", [Queue], ack_by_filter),
    check!("queue/disconnect", "AMPS User Guide, \"Message Queues\"", [Queue], disconnect),
    check!("queue/unsubscribe", "AMPS User Guide, \"Message Queues\"", [Queue], unsubscribed),
    check!("queue/cancel", "AMPS Command Reference, \"sow_delete\"", [Queue], cancel),
    check!("queue/expire", "AMPS Command Reference, \"sow_delete\"", [Queue], expire),
    check!("queue/filter", "AMPS User Guide, \"Message Queues\"", [Queue], filter),
    check!("queue/query", "AMPS User Guide, \"Message Queues\"", [Queue], query),
    check!("queue/replay", "AMPS User Guide, \"Message Queues\"", [Queue], replay),
];

/// Publishes messages with `n` from 1 to `count`.
async fn fill(bench: &Bench<'_>, count: i64) -> Judged {
    let mut wire = bench.client().await?;
    for n in 1..=count {
        wire.done(publish(bench.queue(), bench.body(&format!("k{n}"), &format!(r#""n":{n}"#)))).await?;
    }
    Ok(())
}

fn subscription(bench: &Bench<'_>, backlog: u64) -> Command {
    let command = subscribe(bench.queue()).text(Field::SubscriptionId, "s").text(Field::Filter, bench.own());
    command.text(Field::Options, format!("max_backlog={backlog}"))
}

/// What a subscription's ack says of its backlog.
fn granted(ack: &Message) -> Result<u64, Stop> {
    let options = need(ack, Field::Options)?;
    let backlog = options.split(',').find_map(|option| option.trim().strip_prefix("max_backlog=")?.parse().ok());
    backlog.ok_or_else(|| fail("the effective max_backlog in \"o\"", shown(ack)))
}

/// A connection with a subscription that may have so many messages at once.
async fn worker(bench: &Bench<'_>, backlog: u64) -> Result<Wire, Stop> {
    let mut wire = bench.client().await?;
    let ack = wire.done(subscription(bench, backlog)).await?;
    match granted(&ack)? {
        granted if granted >= backlog => Ok(wire),
        granted => Err(Stop::NotConfigured(format!("a queue that lets a subscription have {backlog}, not {granted}"))),
    }
}

/// Says what becomes of a message, and waits until that is so.
async fn settle(bench: &Bench<'_>, wire: &mut Wire, message: &Message, how: &str) -> Judged {
    let command = sow_delete(bench.queue()).text(Field::Bookmark, need(message, Field::Bookmark)?);
    wire.done(command.text(Field::Options, how)).await.map(drop)
}

async fn delivered(bench: &Bench<'_>) -> Judged {
    fill(bench, 1).await?;
    let mut wire = worker(bench, 1).await?;
    let message = wire.message().await?;
    equal("n", bench.number(&message)?, 1)?;
    need(&message, Field::Bookmark).map(drop)
}

async fn one_of_all_subscribers(bench: &Bench<'_>) -> Judged {
    const COUNT: i64 = 12;
    let mut wires = [worker(bench, 1).await?, worker(bench, 1).await?];
    fill(bench, COUNT).await?;
    let mut numbers = Vec::new();
    // By turns, as each is at work on one: the queue is never without a free one.
    while numbers.len() < COUNT as usize {
        for wire in &mut wires {
            if numbers.len() < COUNT as usize {
                let message = wire.message().await?;
                numbers.push(bench.number(&message)?);
                settle(bench, wire, &message, "none").await?;
            }
        }
    }
    numbers.sort_unstable();
    equal("each message once, to one of them", numbers, (1..=COUNT).collect())
}

async fn order(bench: &Bench<'_>) -> Judged {
    fill(bench, 6).await?;
    let mut wire = worker(bench, 1).await?;
    let mut numbers = Vec::new();
    for _ in 0..6 {
        let message = wire.message().await?;
        numbers.push(bench.number(&message)?);
        settle(bench, &mut wire, &message, "none").await?;
    }
    equal("the order of publication", numbers, (1..=6).collect())
}

async fn backlog_in_the_ack(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let ack = wire.done(subscription(bench, 1_000_000)).await?;
    let most = granted(&ack)?;
    expect((1..1_000_000).contains(&most), "what the queue grants of a million", most)
}

/// Of one more message than that in the queue it gets no more than that at once.
async fn no_more_than(bench: &Bench<'_>, mut wire: Wire, most: i64) -> Judged {
    fill(bench, most + 1).await?;
    let messages = wire.messages(most as usize).await?;
    let heard = wire.listen(bench.moment()).await?;
    equal("messages beyond the backlog", heard.len(), 0)?;
    settle(bench, &mut wire, &messages[0], "none").await?;
    equal("the next one, once one is done", bench.number(&wire.message().await?)?, most + 1)
}

async fn backlog_of_one(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.done(subscribe(bench.queue()).text(Field::Filter, bench.own())).await?;
    no_more_than(bench, wire, 1).await
}

async fn backlog(bench: &Bench<'_>) -> Judged {
    no_more_than(bench, worker(bench, 3).await?, 3).await
}

/// A new subscriber gets these, and nothing else.
async fn left(bench: &Bench<'_>, wanted: Vec<i64>) -> Judged {
    let mut wire = bench.client().await?;
    wire.done(subscription(bench, 1)).await?;
    let mut numbers = Vec::new();
    for _ in &wanted {
        let message = wire.message().await?;
        numbers.push(bench.number(&message)?);
        settle(bench, &mut wire, &message, "none").await?;
    }
    numbers.sort_unstable();
    equal("what is left in the queue", numbers, wanted)?;
    fill_end(bench).await?;
    equal("and then what is published next", bench.number(&wire.message().await?)?, 0)
}

async fn fill_end(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.done(publish(bench.queue(), bench.body("end", r#""n":0"#))).await.map(drop)
}

async fn ack(bench: &Bench<'_>) -> Judged {
    fill(bench, 2).await?;
    let mut wire = worker(bench, 1).await?;
    let message = wire.message().await?;
    settle(bench, &mut wire, &message, "none").await?;
    wire.message().await?;
    wire.done(unsubscribe("s")).await?;
    left(bench, vec![2]).await
}

async fn ack_of_a_list(bench: &Bench<'_>) -> Judged {
    fill(bench, 3).await?;
    let mut wire = worker(bench, 3).await?;
    let messages = wire.messages(3).await?;
    let list = format!("{},{}", need(&messages[0], Field::Bookmark)?, need(&messages[2], Field::Bookmark)?);
    wire.done(sow_delete(bench.queue()).text(Field::Bookmark, list)).await?;
    wire.done(unsubscribe("s")).await?;
    left(bench, vec![2]).await
}

async fn ack_by_filter(bench: &Bench<'_>) -> Judged {
    fill(bench, 4).await?;
    let mut wire = bench.client().await?;
    wire.done(sow_delete(bench.queue()).text(Field::Filter, bench.own_and("/n >= 2 AND /n < 4"))).await?;
    left(bench, vec![1, 4]).await
}

async fn disconnect(bench: &Bench<'_>) -> Judged {
    fill(bench, 1).await?;
    let mut wire = worker(bench, 1).await?;
    wire.message().await?;
    drop(wire);
    left(bench, vec![1]).await
}

async fn unsubscribed(bench: &Bench<'_>) -> Judged {
    fill(bench, 1).await?;
    let mut wire = worker(bench, 1).await?;
    wire.message().await?;
    wire.done(unsubscribe("s")).await?;
    left(bench, vec![1]).await
}

async fn cancel(bench: &Bench<'_>) -> Judged {
    fill(bench, 1).await?;
    let mut wire = worker(bench, 1).await?;
    let message = wire.message().await?;
    settle(bench, &mut wire, &message, "cancel").await?;
    let again = wire.message().await?;
    equal("the message again", bench.number(&again)?, 1)?;
    equal("under its bookmark", need(&again, Field::Bookmark)?, need(&message, Field::Bookmark)?)
}

async fn expire(bench: &Bench<'_>) -> Judged {
    fill(bench, 2).await?;
    let mut wire = worker(bench, 1).await?;
    let message = wire.message().await?;
    settle(bench, &mut wire, &message, "expire").await?;
    wire.message().await?;
    wire.done(unsubscribe("s")).await?;
    left(bench, vec![2]).await
}

async fn filter(bench: &Bench<'_>) -> Judged {
    fill(bench, 3).await?;
    let mut wire = bench.client().await?;
    wire.done(subscription(bench, 1).text(Field::Filter, bench.own_and("/n = 2"))).await?;
    equal("the one that matches", bench.number(&wire.message().await?)?, 2)
}

async fn query(bench: &Bench<'_>) -> Judged {
    fill(bench, 3).await?;
    let (mut wire, mut other) = (worker(bench, 1).await?, bench.client().await?);
    let leased = bench.number(&wire.message().await?)?;
    for _ in 0..2 {
        let answer = other.query(sow(bench.queue()).text(Field::Filter, bench.own()), AckType::Completed).await?;
        let mut numbers = bench.numbers(&answer.records)?;
        numbers.sort_unstable();
        equal("what nobody has leased; looking at it takes nothing", (leased, numbers), (1, vec![2, 3]))?;
    }
    Ok(())
}

async fn replay(bench: &Bench<'_>) -> Judged {
    fill(bench, 3).await?;
    let mut wire = bench.client().await?;
    let command = subscribe(bench.queue()).text(Field::Filter, bench.own()).text(Field::Bookmark, "0");
    let id = wire.start(command, AckType::Completed).await?;
    success(&wire.ack(&id, AckType::Completed).await?)?;
    let heard = wire.heard();
    equal("all messages, without leases", bench.numbers(&heard)?, vec![1, 2, 3])?;
    left(bench, vec![1, 2, 3]).await
}
