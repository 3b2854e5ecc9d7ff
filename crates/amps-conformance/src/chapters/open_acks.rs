//! What the documents leave open about acknowledgements: tried and reported.

use amps_core::command::CommandKind;
use amps_core::message::MessageKind;
use amps_core::{AckType, Command, Field, Message, Status};

use crate::bench::{Bench, publish, sow, sow_delete, subscribe, unsubscribe};
use crate::check::{Check, check};
use crate::judge::{Probed, Stop, outcome};
use crate::replay::past;
use crate::wire::{is_ack, need};

pub(super) const CHECKS: &[Check] = &[
    check!("open/ack-of-a-duplicate", "AMPS User Guide, \"Message Sequence Numbers\"", [Log], of_a_duplicate),
    check!("open/subscription-in-processed", "AMPS Command Reference, \"ack\"", [], subscription_in_processed),
    check!("open/order-behind-a-query", "AMPS Command Reference, \"sow\"", [Sow], order_behind_a_query),
    check!("open/options-in-a-queue-ack", "AMPS Command Reference, \"ack\"", [Queue], options_in_a_queue_ack),
    check!("open/fields-of-position-acks", "AMPS Command Reference, \"ack\"", [Log], fields_of_position_acks),
    check!(
        "open/position-ack-during-replay",
        "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"",
        [Log],
        position_acks_of_now
    ),
    check!("open/inserted-and-updated", "AMPS Command Reference, \"ack\"", [Sow], inserted_and_updated),
    check!("open/id-in-use", "AMPS Command Reference, \"subscribe\"", [], id_in_use),
    check!("open/unsubscribe-unknown", "AMPS Command Reference, \"unsubscribe\"", [], unsubscribe_unknown),
    check!("open/unsubscribe-without-ids", "AMPS Command Reference, \"unsubscribe\"", [], unsubscribe_without_ids),
    check!("open/bookmark-of-a-new-name", "AMPS Command Reference, \"ack\"", [], bookmark_of_a_new_name),
    check!("open/failure-told-twice", "AMPS Command Reference, \"publish\"", [Sow], failure_told_twice),
    check!("open/second-logon", "AMPS Command Reference, \"logon\"", [], second_logon),
    check!("open/command-before-logon", "AMPS Command Reference, \"logon\"", [], command_before_logon),
    check!("open/reason-of-a-bad-filter", "AMPS Command Reference, \"subscribe\"", [], reason_of_a_bad_filter),
    check!("open/reason-of-a-bad-topic", "AMPS Command Reference, \"subscribe\"", [], reason_of_a_bad_topic),
    check!("open/reason-without-a-sow", "AMPS Command Reference, \"sow\"", [], reason_without_a_sow),
    check!("open/option-unknown", "AMPS Command Reference, \"subscribe\"", [], option_unknown),
    check!("open/top-n-without-bookmark", "AMPS Command Reference, \"subscribe\"", [], top_n_without_bookmark),
    check!("open/live-with-pause", "AMPS Command Reference, \"subscribe\"", [Log], live_with_pause),
    check!("open/oof-with-bookmark", "AMPS Command Reference, \"subscribe\"", [LoggedSow], oof_with_bookmark),
];

/// Whether a message has these fields.
fn has(message: &Message, fields: &[Field]) -> String {
    let of = |field: &Field| {
        let value = message.text(*field).map_or_else(|| "absent".to_owned(), |value| format!("\"{value}\""));
        format!("{} {value}", field.key())
    };
    fields.iter().map(of).collect::<Vec<_>>().join(", ")
}

async fn of_a_duplicate(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    let numbered = |n: u64| publish(bench.log(), bench.body("x", "")).number(Field::Sequence, n);
    wire.send(&numbered(5).acks(AckType::Persisted)).await?;
    wire.persisted(5).await?;
    let id = wire.start(numbered(5), AckType::Processed | AckType::Persisted).await?;
    let processed = outcome(&wire.ack(&id, AckType::Processed).await?);
    wire.send(&numbered(6).acks(AckType::Persisted)).await?;
    wire.persisted(6).await?;
    let heard = wire.heard();
    let own = heard.iter().find(|ack| is_ack(ack, AckType::Persisted));
    let persisted = own.map_or_else(|| "none of its own before the next message's".to_owned(), outcome);
    Ok(format!("processed: {processed}; persisted: {persisted}"))
}

async fn subscription_in_processed(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    let ack = wire.done(subscribe(&bench.plain("a")).text(Field::SubscriptionId, "s")).await?;
    Ok(has(&ack, &[Field::SubscriptionId]))
}

async fn order_behind_a_query(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    wire.done(publish(bench.sow(), bench.body("x", ""))).await?;
    let command = sow(bench.sow()).text(Field::Filter, bench.own());
    let acks = AckType::Received | AckType::Processed | AckType::Completed | AckType::Stats;
    wire.start(command, acks).await?;
    let mut order = Vec::new();
    while order.len() < 7 {
        let message = wire.take("seven messages: three frames and four acks", |_| true).await?;
        order.push(match message.kind() {
            MessageKind::Ack => message.raw(Field::AckType).unwrap_or("ack").to_owned(),
            _ => message.raw(Field::Command).unwrap_or_default().to_owned(),
        });
    }
    Ok(order.join(", "))
}

async fn options_in_a_queue_ack(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    Ok(has(&wire.done(subscribe(bench.queue()).text(Field::Filter, bench.own())).await?, &[Field::Options]))
}

async fn fields_of_position_acks(bench: &Bench<'_>) -> Probed {
    past(bench, 1).await?;
    let mut wire = bench.client().await?;
    let command = subscribe(bench.log()).text(Field::SubscriptionId, "s").text(Field::Bookmark, "0");
    wire.start(command.text(Field::Filter, bench.own()), AckType::Persisted).await?;
    let ack = wire.take("a persisted ack", |message| is_ack(message, AckType::Persisted)).await?;
    Ok(has(&ack, &[Field::CommandId, Field::SubscriptionId, Field::Bookmark, Field::Sequence]))
}

async fn position_acks_of_now(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    let command = subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::Bookmark, "0|1|");
    let acks = AckType::Processed | AckType::Completed | AckType::Persisted;
    let id = wire.start(command, acks).await?;
    wire.ack(&id, AckType::Processed).await?;
    let heard = wire.listen(bench.moment() * 4).await?;
    let kinds: Vec<_> = heard.iter().filter_map(|message| message.raw(Field::AckType)).collect();
    Ok(format!("behind the processed ack of a subscription to NOW, without messages: {kinds:?}"))
}

async fn inserted_and_updated(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    wire.done(publish(bench.sow(), bench.body("x", ""))).await?;
    let ack = wire.ask(sow_delete(bench.sow()).text(Field::Filter, bench.own()), AckType::Stats).await?;
    Ok(format!("of a deletion: {}", has(&ack, &[Field::RecordsInserted, Field::RecordsUpdated])))
}

async fn id_in_use(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    let command = subscribe(&bench.plain("a")).text(Field::SubscriptionId, "s");
    wire.done(command.clone()).await?;
    Ok(outcome(&wire.ask(command, AckType::Processed).await?))
}

async fn unsubscribe_unknown(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    Ok(outcome(&wire.ask(unsubscribe("no-such-subscription"), AckType::Processed).await?))
}

async fn unsubscribe_without_ids(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    let topic = bench.plain("a");
    wire.done(subscribe(&topic)).await?;
    let ack = wire.ask(Command::new(CommandKind::Unsubscribe), AckType::Processed).await?;
    wire.done(publish(&topic, bench.body("x", ""))).await?;
    let heard = wire.listen(bench.moment()).await?;
    let stays = heard.iter().any(|message| message.kind() == MessageKind::Publish);
    Ok(format!("{}; subscriptions {}", outcome(&ack), if stays { "stay" } else { "end" }))
}

async fn bookmark_of_a_new_name(bench: &Bench<'_>) -> Probed {
    let (_wire, ack) = bench.logged_on(&bench.name("never-used")).await?;
    Ok(has(&ack, &[Field::Bookmark, Field::Sequence]))
}

async fn failure_told_twice(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    // A message without a key cannot be kept.
    let command = publish(bench.sow(), r#"{"no":"key"}"#).number(Field::Sequence, 1);
    wire.start(command, AckType::Processed | AckType::Persisted).await?;
    wire.fence().await?;
    let heard = wire.listen(bench.moment() * 5).await?;
    let acks = heard.iter().map(|ack| format!("{}: {}", ack.raw(Field::AckType).unwrap_or("?"), outcome(ack)));
    Ok(format!("of a publish without a key: [{}]", acks.collect::<Vec<_>>().join("; ")))
}

/// What became of a command after which a connection may be gone.
async fn end_of(bench: &Bench<'_>, wire: &mut crate::wire::Wire) -> Result<String, Stop> {
    let closed = wire.closes_within(bench.moment()).await?;
    let heard: Vec<_> = wire.heard().iter().map(outcome).collect();
    let said = if heard.is_empty() { "no answer".to_owned() } else { heard.join("; ") };
    Ok(format!("{said}; the connection {}", if closed { "is closed" } else { "stays open" }))
}

async fn second_logon(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    wire.start(bench.logon(&bench.name("y")), AckType::Processed).await?;
    end_of(bench, &mut wire).await
}

async fn command_before_logon(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.open().await?;
    wire.start(subscribe(&bench.plain("a")), AckType::Processed).await?;
    end_of(bench, &mut wire).await
}

async fn reason(bench: &Bench<'_>, command: Command) -> Probed {
    let mut wire = bench.client().await?;
    Ok(outcome(&wire.ask(command, AckType::Processed).await?))
}

async fn reason_of_a_bad_filter(bench: &Bench<'_>) -> Probed {
    reason(bench, subscribe(&bench.plain("a")).text(Field::Filter, "/a = ")).await
}

async fn reason_of_a_bad_topic(bench: &Bench<'_>) -> Probed {
    reason(bench, subscribe("a[")).await
}

async fn reason_without_a_sow(bench: &Bench<'_>) -> Probed {
    reason(bench, sow(&bench.plain("a"))).await
}

async fn option_unknown(bench: &Bench<'_>) -> Probed {
    reason(bench, subscribe(&bench.plain("a")).text(Field::Options, "no_such_option")).await
}

async fn top_n_without_bookmark(bench: &Bench<'_>) -> Probed {
    reason(bench, subscribe(&bench.plain("a")).number(Field::TopN, 1)).await
}

async fn live_with_pause(bench: &Bench<'_>) -> Probed {
    let command = subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::Bookmark, "0|1|");
    reason(bench, command.text(Field::Options, "live,pause")).await
}

async fn oof_with_bookmark(bench: &Bench<'_>) -> Probed {
    let mut wire = bench.client().await?;
    let command = subscribe(bench.sow()).text(Field::Filter, bench.own_and("/n < 10")).text(Field::Bookmark, "0|1|");
    let ack = wire.ask(command.text(Field::Options, "oof"), AckType::Processed).await?;
    if ack.status() != Status::Success {
        return Ok(outcome(&ack));
    }
    for n in [1, 11, 2] {
        wire.send(&publish(bench.sow(), bench.body("x", &format!(r#""n":{n}"#)))).await?;
    }
    let mut came = Vec::new();
    while came.last().is_none_or(|last| last != "p 2") {
        let message = wire.take("messages", |_| true).await?;
        need(&message, Field::Command)?;
        let kind = if message.kind() == MessageKind::Oof { "oof" } else { "p" };
        came.push(format!("{kind} {}", bench.number(&message)?));
    }
    Ok(format!("accepted; then {}", came.join(", ")))
}
