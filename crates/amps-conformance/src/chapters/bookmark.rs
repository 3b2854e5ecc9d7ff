//! Bookmark subscriptions: where they start, and what they bring.

use amps_core::{AckType, Field, Status};

use crate::bench::{Bench, delta_publish, publish, sow_delete, subscribe};
use crate::check::{Check, check};
use crate::exchange::shown;
use crate::judge::{Judged, Stop, equal, expect, refused, success};
use crate::replay::{past, replay};
use crate::wire::need;

pub(super) const CHECKS: &[Check] = &[
    check!("bookmark/epoch", "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"", [Log], epoch),
    check!("bookmark/now", "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"", [Log], now),
    check!(
        "bookmark/behind-a-message",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        behind_a_message
    ),
    check!(
        "bookmark/behind-the-last",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        behind_the_last
    ),
    check!(
        "bookmark/earliest-of-a-list",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        earliest_of_a_list
    ),
    check!("bookmark/time", "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"", [Log], time),
    check!(
        "bookmark/time-before-the-log",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        time_before_the_log
    ),
    check!("bookmark/unknown", "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"", [Log], unknown),
    check!(
        "bookmark/unknown-in-a-list",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        unknown_in_a_list
    ),
    check!("bookmark/unknown-fails", "AMPS Command Reference, \"subscribe\"", [Log], unknown_fails),
    check!("bookmark/unknown-from-epoch", "AMPS Command Reference, \"subscribe\"", [Log], unknown_from_epoch),
    check!(
        "bookmark/range-with-ends",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        range_with_ends
    ),
    check!(
        "bookmark/range-without-ends",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        range_without_ends
    ),
    check!(
        "bookmark/range-ends",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        range_ends
    ),
    check!("bookmark/filter", "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"", [Log], filter),
    check!(
        "bookmark/regex-topic",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        regex_topic
    ),
    check!(
        "bookmark/topic-not-logged",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        topic_not_logged
    ),
    check!("bookmark/messages-have-bookmarks", "AMPS Command Reference, \"publish\"", [Log], messages_have_bookmarks),
    check!(
        "bookmark/no-timestamp-unasked",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        no_timestamp_unasked
    ),
    check!("bookmark/delta-is-whole", "AMPS User Guide, \"Incremental Message Updates\"", [LoggedSow], delta_is_whole),
    check!("bookmark/no-deletions", "AMPS User Guide, \"Transaction Log\"", [LoggedSow], no_deletions),
];

async fn epoch(bench: &Bench<'_>) -> Judged {
    past(bench, 5).await?;
    equal("everything in the log", replay(bench, "0", "").await?, vec![1, 2, 3, 4, 5])
}

async fn now(bench: &Bench<'_>) -> Judged {
    let mut past = past(bench, 2).await?;
    let command = subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::Bookmark, "0|1|");
    past.wire.done(command).await?;
    past.publish(bench, 3).await?;
    equal("nothing that was published before", bench.number(&past.wire.message().await?)?, 3)
}

async fn behind_a_message(bench: &Bench<'_>) -> Judged {
    let past = past(bench, 5).await?;
    equal("what is behind it", replay(bench, &past.bookmarks[1], "").await?, vec![3, 4, 5])
}

async fn behind_the_last(bench: &Bench<'_>) -> Judged {
    let past = past(bench, 3).await?;
    equal("what is behind it", replay(bench, &past.bookmarks[2], "").await?, vec![])
}

async fn earliest_of_a_list(bench: &Bench<'_>) -> Judged {
    let past = past(bench, 5).await?;
    let list = format!("{},{},{}", past.bookmarks[3], past.bookmarks[1], past.bookmarks[2]);
    equal("what is behind the earliest of them", replay(bench, &list, "").await?, vec![3, 4, 5])
}

/// The seconds of a time, which the server wrote.
fn seconds(time: &str) -> String {
    time.chars().take_while(|c| *c != '.' && *c != 'Z').filter(|c| !"-:".contains(*c)).collect()
}

async fn time(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let command = subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::Options, "timestamp");
    wire.done(command).await?;
    let (mut first, mut n) = (None, 0);
    // Messages a little apart, until one was published in the next second.
    let (second, number) = loop {
        n += 1;
        wire.send(&publish(bench.log(), bench.body("x", &format!(r#""n":{n}"#)))).await?;
        let second = seconds(&need(&wire.message().await?, Field::Timestamp)?);
        if *first.get_or_insert_with(|| second.clone()) != second {
            break (second, n);
        }
        wire.listen(std::time::Duration::from_millis(50)).await?;
    };
    let numbers = replay(bench, &format!("{second}Z"), "").await?;
    equal(format!("what was published from {second}Z on"), numbers, vec![number])
}

async fn time_before_the_log(bench: &Bench<'_>) -> Judged {
    past(bench, 2).await?;
    equal("everything in the log", replay(bench, "19800101T000000", "").await?, vec![1, 2])
}

/// A bookmark that no server has.
fn nowhere(bench: &Bench<'_>) -> String {
    let hash = bench.tag().bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    format!("{hash}|987654321|")
}

async fn unknown(bench: &Bench<'_>) -> Judged {
    let mut past = past(bench, 2).await?;
    let command = subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::Bookmark, nowhere(bench));
    past.wire.done(command).await?;
    past.publish(bench, 3).await?;
    equal("what is published from now on", bench.number(&past.wire.message().await?)?, 3)
}

async fn unknown_in_a_list(bench: &Bench<'_>) -> Judged {
    let past = past(bench, 3).await?;
    let list = format!("{},{}", nowhere(bench), past.bookmarks[1]);
    equal("what is behind the one it knows", replay(bench, &list, "").await?, vec![3])
}

async fn unknown_fails(bench: &Bench<'_>) -> Judged {
    bench.since([5, 3, 5])?;
    let mut wire = bench.client().await?;
    let command = subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::Bookmark, nowhere(bench));
    let ack = wire.ask(command.text(Field::Options, "bookmark_not_found=fail"), AckType::Processed).await?;
    refused(&ack, "the bookmark is not there")
}

async fn unknown_from_epoch(bench: &Bench<'_>) -> Judged {
    bench.since([5, 3, 5])?;
    past(bench, 2).await?;
    let numbers = replay(bench, &nowhere(bench), "bookmark_not_found=epoch").await?;
    equal("everything in the log", numbers, vec![1, 2])
}

async fn range_with_ends(bench: &Bench<'_>) -> Judged {
    bench.since([5, 3, 2])?;
    let past = past(bench, 5).await?;
    let range = format!("[{}:{}]", past.bookmarks[1], past.bookmarks[3]);
    equal(format!("the messages of {range}"), replay(bench, &range, "").await?, vec![2, 3, 4])
}

async fn range_without_ends(bench: &Bench<'_>) -> Judged {
    bench.since([5, 3, 2])?;
    let past = past(bench, 5).await?;
    let range = format!("({}:{})", past.bookmarks[1], past.bookmarks[3]);
    equal(format!("the messages of {range}"), replay(bench, &range, "").await?, vec![3])
}

async fn range_ends(bench: &Bench<'_>) -> Judged {
    bench.since([5, 3, 2])?;
    let mut past = past(bench, 3).await?;
    let command = subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::SubscriptionId, "range");
    let range = format!("[{}:{}]", past.bookmarks[0], past.bookmarks[1]);
    let id = past.wire.start(command.clone().text(Field::Bookmark, range), AckType::Completed).await?;
    success(&past.wire.ack(&id, AckType::Completed).await?)?;
    past.wire.done(command.text(Field::SubscriptionId, "all").text(Field::Bookmark, "0|1|")).await?;
    past.publish(bench, 4).await?;
    let messages = past.wire.messages(3).await?;
    equal("the range, and then only the other subscription's message", bench.numbers(&messages)?, vec![1, 2, 4])?;
    equal("its subscription", crate::wire::subscriptions(&messages[2]), vec!["all"])
}

async fn filter(bench: &Bench<'_>) -> Judged {
    let mut past = past(bench, 5).await?;
    let command = subscribe(bench.log()).text(Field::Filter, bench.own_and("/n > 3")).text(Field::Bookmark, "0");
    past.wire.done(command).await?;
    equal("what matches", bench.numbers(&past.wire.messages(2).await?)?, vec![4, 5])
}

async fn regex_topic(bench: &Bench<'_>) -> Judged {
    let mut past = past(bench, 2).await?;
    let command = subscribe(&format!("^{}$", bench.log())).text(Field::Filter, bench.own());
    past.wire.done(command.text(Field::Bookmark, "0")).await?;
    equal("messages of topics that match", bench.numbers(&past.wire.messages(2).await?)?, vec![1, 2])
}

async fn topic_not_logged(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    wire.done(publish(&topic, bench.body("x", r#""n":1"#))).await?;
    let ack = wire.ask(subscribe(&topic).text(Field::Bookmark, "0"), AckType::Processed).await?;
    if ack.status() != Status::Success {
        return refused(&ack, "the topic is not in the transaction log");
    }
    // Accepted: then it has to be logged after all, and the message replayed.
    let message = wire.message().await;
    message.map_err(|_| crate::judge::fail("a refusal, as the topic is not in the transaction log", shown(&ack)))?;
    Err(Stop::NotConfigured("a server that does not log every topic".to_owned()))
}

async fn messages_have_bookmarks(bench: &Bench<'_>) -> Judged {
    let mut past = past(bench, 2).await?;
    let command = subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::Bookmark, "0");
    past.wire.done(command).await?;
    for (message, bookmark) in past.wire.messages(2).await?.iter().zip(&past.bookmarks) {
        equal("the bookmark it had when it was published", &need(message, Field::Bookmark)?, bookmark)?;
    }
    Ok(())
}

async fn no_timestamp_unasked(bench: &Bench<'_>) -> Judged {
    let mut past = past(bench, 1).await?;
    let command = subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::Bookmark, "0");
    past.wire.done(command.clone().text(Field::SubscriptionId, "without")).await?;
    let message = past.wire.message().await?;
    expect(message.timestamp().is_none(), "no \"ts\"", shown(&message))?;
    past.wire.done(command.text(Field::SubscriptionId, "with").text(Field::Options, "timestamp")).await?;
    need(&past.wire.message().await?, Field::Timestamp).map(drop)
}

async fn delta_is_whole(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.done(publish(bench.sow(), bench.body("x", r#""a":1,"b":2"#))).await?;
    wire.done(delta_publish(bench.sow(), bench.body("x", r#""b":3"#))).await?;
    wire.done(subscribe(bench.sow()).text(Field::Filter, bench.own()).text(Field::Bookmark, "0")).await?;
    let messages = wire.messages(2).await?;
    let fields = serde_json::Value::Object(bench.fields(&messages[1])?);
    equal("the merged message", fields, serde_json::json!({ "a": 1, "b": 3 }))
}

async fn no_deletions(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    for n in 1..=2 {
        wire.done(publish(bench.sow(), bench.body("x", &format!(r#""n":{n}"#)))).await?;
        wire.done(sow_delete(bench.sow()).body(bench.body("x", ""))).await?;
    }
    let command = subscribe(bench.sow()).text(Field::Filter, bench.own()).text(Field::Bookmark, "0");
    let id = wire.start(command, AckType::Completed).await?;
    success(&wire.ack(&id, AckType::Completed).await?)?;
    let messages = wire.heard();
    equal("what was published, and no deletion", bench.numbers(&messages)?, vec![1, 2])
}
