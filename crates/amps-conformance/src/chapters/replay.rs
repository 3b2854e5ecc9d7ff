//! Bookmark subscriptions: how they go, and what is said about it.

use std::time::Instant;

use amps_core::{AckType, Bookmark, Command, Field};

use crate::bench::{Bench, publish, subscribe, unsubscribe};
use crate::check::{Check, check};
use crate::exchange::shown;
use crate::judge::{Judged, equal, expect, field, success};
use crate::replay::past;
use crate::wire::{is_ack, need, subscriptions};

pub(super) const CHECKS: &[Check] = &[
    check!("replay/completed", "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"", [Log], completed),
    check!("replay/completed-has-a-bookmark", "AMPS Command Reference, \"ack\"", [Log], completed_has_a_bookmark),
    check!("replay/then-live", "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"", [Log], then_live),
    check!("replay/no-gap", "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"", [Log], no_gap),
    check!("replay/same-order-again", "AMPS User Guide, \"Message Ordering\"", [Log], same_order_again),
    check!(
        "replay/two-of-one-connection",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        two_of_one_connection
    ),
    check!("replay/top-n", "AMPS Command Reference, \"subscribe\"", [Log], top_n),
    check!("replay/rate", "AMPS Command Reference, \"subscribe\"", [Log], rate),
    check!(
        "replay/pause-and-resume",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        pause_and_resume
    ),
    check!("replay/live", "AMPS Command Reference, \"subscribe\"", [Log], live),
    check!("replay/fully-durable", "AMPS Command Reference, \"subscribe\"", [Log], fully_durable),
    check!(
        "replay/persisted-acks",
        "AMPS User Guide, \"Bookmark Subscriptions and Persisted Acknowledgements\"",
        [Log],
        persisted_acks
    ),
    check!("replay/unsubscribe", "AMPS Command Reference, \"unsubscribe\"", [Log], end),
];

/// A subscription to this check's messages from there on.
fn from(bench: &Bench<'_>, start: &str) -> Command {
    subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::Bookmark, start)
}

async fn completed(bench: &Bench<'_>) -> Judged {
    past(bench, 20).await?;
    let mut wire = bench.client().await?;
    let id = wire.start(from(bench, "0"), AckType::Completed).await?;
    success(&wire.ack(&id, AckType::Completed).await?)?;
    let heard = wire.heard();
    equal("all of the replay in front of its completed ack", bench.numbers(&heard)?, (1..=20).collect())
}

async fn completed_has_a_bookmark(bench: &Bench<'_>) -> Judged {
    past(bench, 1).await?;
    let mut wire = bench.client().await?;
    let ack = wire.ask(from(bench, "0"), AckType::Completed).await?;
    success(&ack)?;
    let bookmark = need(&ack, Field::Bookmark)?;
    expect(bookmark.parse::<Bookmark>().is_ok(), "a position in the log as \"bm\"", shown(&ack))
}

async fn then_live(bench: &Bench<'_>) -> Judged {
    let mut past = past(bench, 2).await?;
    let mut wire = bench.client().await?;
    wire.done(from(bench, "0")).await?;
    equal("the past", bench.numbers(&wire.messages(2).await?)?, vec![1, 2])?;
    past.publish(bench, 3).await?;
    equal("the present", bench.number(&wire.message().await?)?, 3)
}

async fn no_gap(bench: &Bench<'_>) -> Judged {
    const COUNT: i64 = 400;
    let (mut publisher, mut wire) = (bench.client().await?, bench.client().await?);
    let (halfway, go) = tokio::sync::oneshot::channel();
    let publishing = async {
        let mut halfway = Some(halfway);
        for n in 1..=COUNT {
            publisher.send(&publish(bench.log(), bench.body("x", &format!(r#""n":{n}"#)))).await?;
            if n == COUNT / 2 {
                // Whoever waits for it has given up if nobody does.
                let _ = halfway.take().map(|halfway| halfway.send(()));
            }
            tokio::task::yield_now().await;
        }
        publisher.fence().await
    };
    let reading = async {
        // Gone when publishing has failed, which says why.
        let _ = go.await;
        wire.done(from(bench, "0")).await?;
        let numbers = bench.numbers(&wire.messages(COUNT as usize).await?)?;
        equal("every message once and in order, replayed or live", numbers, (1..=COUNT).collect())
    };
    let (published, read) = tokio::join!(publishing, reading);
    published.and(read)
}

async fn same_order_again(bench: &Bench<'_>) -> Judged {
    let mut wires = [bench.client().await?, bench.client().await?, bench.client().await?];
    for n in 0..60 {
        let command = publish(bench.log(), bench.body("x", &format!(r#""n":{n}"#)));
        wires[n % 3].send(&command).await?;
    }
    for wire in &mut wires {
        wire.fence().await?;
    }
    let mut orders = Vec::new();
    for wire in &mut wires[..2] {
        wire.done(from(bench, "0")).await?;
        orders.push(bench.numbers(&wire.messages(60).await?)?);
    }
    equal("one order of the log, whoever reads it", orders.pop(), orders.pop())
}

async fn two_of_one_connection(bench: &Bench<'_>) -> Judged {
    let past = past(bench, 4).await?;
    let mut wire = bench.client().await?;
    wire.done(from(bench, "0").text(Field::SubscriptionId, "all")).await?;
    wire.done(from(bench, &past.bookmarks[1]).text(Field::SubscriptionId, "late")).await?;
    let (mut all, mut late) = (Vec::new(), Vec::new());
    while all.len() + late.len() < 6 {
        let message = wire.message().await?;
        let number = bench.number(&message)?;
        for id in subscriptions(&message) {
            if id == "all" { all.push(number) } else { late.push(number) }
        }
    }
    equal("what each starts behind", (all, late), (vec![1, 2, 3, 4], vec![3, 4]))
}

async fn top_n(bench: &Bench<'_>) -> Judged {
    let mut past = past(bench, 4).await?;
    let mut wire = bench.client().await?;
    let bounded = from(bench, "0").number(Field::TopN, 2).text(Field::SubscriptionId, "bounded");
    wire.done(bounded).await?;
    equal("the first two", bench.numbers(&wire.messages(2).await?)?, vec![1, 2])?;
    wire.done(from(bench, "0|1|").text(Field::SubscriptionId, "all")).await?;
    past.publish(bench, 5).await?;
    let message = wire.message().await?;
    let came = (bench.number(&message)?, subscriptions(&message));
    equal("then nothing but the other subscription's message", came, (5, vec!["all"]))
}

async fn rate(bench: &Bench<'_>) -> Judged {
    past(bench, 7).await?;
    let mut wire = bench.client().await?;
    wire.done(from(bench, "0").text(Field::Options, "rate=20")).await?;
    wire.message().await?;
    let began = Instant::now();
    wire.messages(6).await?;
    let took = began.elapsed();
    // Six messages are 300 ms; half of it leaves room for bursts.
    expect(took.as_millis() >= 150, "six more messages in about 300 ms at 20 a second", format!("in {took:?}"))
}

async fn pause_and_resume(bench: &Bench<'_>) -> Judged {
    let mut past = past(bench, 3).await?;
    let mut wire = bench.client().await?;
    wire.done(from(bench, "0").text(Field::SubscriptionId, "s").text(Field::Options, "pause")).await?;
    past.publish(bench, 4).await?;
    let heard = wire.listen(bench.moment()).await?;
    equal("messages while it is paused", heard.len(), 0)?;
    let resume = subscribe(bench.log()).text(Field::SubscriptionId, "s").text(Field::Options, "resume");
    wire.done(resume).await?;
    equal("everything once it goes on", bench.numbers(&wire.messages(4).await?)?, vec![1, 2, 3, 4])
}

async fn live(bench: &Bench<'_>) -> Judged {
    let mut past = past(bench, 2).await?;
    let mut wire = bench.client().await?;
    wire.done(from(bench, "0").text(Field::Options, "live")).await?;
    past.publish(bench, 3).await?;
    equal("past and present", bench.numbers(&wire.messages(3).await?)?, vec![1, 2, 3])
}

async fn fully_durable(bench: &Bench<'_>) -> Judged {
    let mut past = past(bench, 1).await?;
    let mut wire = bench.client().await?;
    wire.done(from(bench, "0").text(Field::Options, "fully_durable")).await?;
    past.publish(bench, 2).await?;
    equal("past and present", bench.numbers(&wire.messages(2).await?)?, vec![1, 2])
}

async fn persisted_acks(bench: &Bench<'_>) -> Judged {
    let mut past = past(bench, 1).await?;
    let mut wire = bench.client().await?;
    let command = from(bench, "0").text(Field::SubscriptionId, "s");
    let id = wire.start(command, AckType::Processed | AckType::Persisted).await?;
    success(&wire.ack(&id, AckType::Processed).await?)?;
    past.publish(bench, 2).await?;
    let expected = "a persisted ack that says what is safe";
    let ack = wire.take(expected, |message| is_ack(message, AckType::Persisted)).await?;
    success(&ack)?;
    field(&ack, Field::SubscriptionId, "s")?;
    let bookmark = need(&ack, Field::Bookmark)?;
    expect(bookmark.parse::<Bookmark>().is_ok(), "a position in the log as \"bm\"", shown(&ack))
}

async fn end(bench: &Bench<'_>) -> Judged {
    let mut past = past(bench, 1).await?;
    let mut wire = bench.client().await?;
    wire.done(from(bench, "0").text(Field::SubscriptionId, "ends")).await?;
    wire.message().await?;
    wire.done(unsubscribe("ends")).await?;
    wire.done(from(bench, "0|1|").text(Field::SubscriptionId, "stays")).await?;
    past.publish(bench, 2).await?;
    equal("the subscription that is left", subscriptions(&wire.message().await?), vec!["stays"])
}
