//! Messages with sequences on a topic in the transaction log.

use amps_core::{AckType, AckTypes, Bookmark, Field, Message};
use bytes::BytesMut;

use crate::bench::{Bench, publish, sow_delete, subscribe};
use crate::check::{Check, check};
use crate::exchange::shown;
use crate::judge::{Judged, Stop, equal, expect, fail};
use crate::wire::{Wire, is_ack, need};

pub(super) const CHECKS: &[Check] = &[
    check!("sequence/persisted", "AMPS User Guide, \"Publish Acknowledgements\"", [Log], persisted),
    check!("sequence/acks-rise", "AMPS User Guide, \"Publish Acknowledgements\"", [Log], acks_rise),
    check!("sequence/acks-without-command-id", "AMPS Command Reference, \"publish\"", [Log], acks_without_command_id),
    check!("sequence/gaps", "AMPS User Guide, \"Message Sequence Numbers\"", [Log], gaps),
    check!("sequence/duplicate", "AMPS User Guide, \"Message Sequence Numbers\"", [Log], duplicate),
    check!("sequence/lower", "AMPS User Guide, \"Message Sequence Numbers\"", [Log], lower),
    check!(
        "sequence/duplicate-on-a-new-connection",
        "AMPS User Guide, \"Message Sequence Numbers\"",
        [Log],
        duplicate_on_a_new_connection
    ),
    check!(
        "sequence/numbers-of-each-publisher",
        "AMPS User Guide, \"Message Sequence Numbers\"",
        [Log],
        each_publisher
    ),
    check!("sequence/bookmark", "AMPS User Guide, \"Replaying Messages with Bookmark Subscriptions\"", [Log], bookmark),
    check!("sequence/without", "AMPS User Guide, \"Message Sequence Numbers\"", [Log], without),
    check!("sequence/any-topic", "AMPS Command Reference, \"publish\"", [], any_topic),
    check!("sequence/sow-delete", "AMPS User Guide, \"Publish Acknowledgements\"", [LoggedSow], of_a_deletion),
];

impl Wire {
    /// Publishes message `n` with this sequence.
    async fn number(&mut self, bench: &Bench<'_>, sequence: u64, n: i64, acks: AckTypes) -> Judged {
        let command = publish(bench.log(), bench.body("x", &format!(r#""n":{n}"#)));
        self.send(&command.number(Field::Sequence, sequence).acks(acks)).await
    }
}

fn asked() -> AckTypes {
    AckType::Persisted.into()
}

/// A connection that is sent what this check publishes to the logged topic from
/// now on, with bookmarks.
async fn follower(bench: &Bench<'_>) -> Result<Wire, Stop> {
    let mut wire = bench.client().await?;
    let command = subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::Bookmark, "0|1|");
    wire.done(command).await?;
    Ok(wire)
}

async fn persisted(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.number(bench, 5, 1, asked()).await?;
    let ack = wire.persisted(5).await?;
    equal("the sequence", ack.sequence(), Some(5))
}

/// The persisted acks for fifty messages.
async fn acks_for_fifty(bench: &Bench<'_>) -> Result<Vec<Message>, Stop> {
    let mut wire = bench.client().await?;
    let mut frames = BytesMut::new();
    for n in 1..=50 {
        let command = publish(bench.log(), bench.body("x", "")).number(Field::Sequence, n);
        command.id(n.to_string()).acks(AckType::Persisted).encode(&mut frames);
    }
    wire.send_frames(&frames).await?;
    let last = wire.persisted(50).await?;
    let mut acks = wire.heard();
    acks.push(last);
    Ok(acks)
}

async fn acks_rise(bench: &Bench<'_>) -> Judged {
    let acks = acks_for_fifty(bench).await?;
    let sequences: Vec<_> = acks.iter().filter(|ack| is_ack(ack, AckType::Persisted)).map(Message::sequence).collect();
    let rise = sequences.windows(2).all(|pair| pair[0] < pair[1]) && sequences.last() == Some(&Some(50));
    expect(rise, "persisted acks with rising sequences, up to 50", format!("{sequences:?}"))
}

async fn acks_without_command_id(bench: &Bench<'_>) -> Judged {
    let acks = acks_for_fifty(bench).await?;
    let named = acks.iter().find(|ack| ack.command_id().is_some());
    expect(named.is_none(), "conflated acks without a command id", named.map_or(String::new(), shown))
}

async fn gaps(bench: &Bench<'_>) -> Judged {
    let (mut wire, mut to) = (bench.client().await?, follower(bench).await?);
    for (sequence, n) in [(3, 1), (1_000, 2), (10_000_000_000, 3)] {
        wire.number(bench, sequence, n, asked()).await?;
    }
    wire.persisted(10_000_000_000).await?;
    equal("all messages, since gaps mean nothing", bench.numbers(&to.messages(3).await?)?, vec![1, 2, 3])
}

async fn duplicate(bench: &Bench<'_>) -> Judged {
    let (mut wire, mut to) = (bench.client().await?, follower(bench).await?);
    for (sequence, n) in [(1, 1), (2, 2), (2, 20), (3, 3)] {
        wire.number(bench, sequence, n, asked()).await?;
    }
    wire.persisted(3).await?;
    let numbers = bench.numbers(&to.messages(3).await?)?;
    equal("each sequence once, with the message that had it first", numbers, vec![1, 2, 3])
}

async fn lower(bench: &Bench<'_>) -> Judged {
    let (mut wire, mut to) = (bench.client().await?, follower(bench).await?);
    for (sequence, n) in [(10, 1), (9, 2), (11, 3)] {
        wire.number(bench, sequence, n, asked()).await?;
    }
    wire.persisted(11).await?;
    let numbers = bench.numbers(&to.messages(2).await?)?;
    equal("nothing that is not above the highest sequence so far", numbers, vec![1, 3])
}

async fn duplicate_on_a_new_connection(bench: &Bench<'_>) -> Judged {
    let mut to = follower(bench).await?;
    for (sequence, n) in [(5, 1), (6, 3)] {
        let (mut wire, _) = bench.logged_on(&bench.name("same")).await?;
        wire.number(bench, 5, n, asked()).await?;
        wire.number(bench, sequence, n, asked()).await?;
        wire.persisted(sequence).await?;
    }
    equal("what was taken on an earlier connection once", bench.numbers(&to.messages(2).await?)?, vec![1, 3])
}

async fn each_publisher(bench: &Bench<'_>) -> Judged {
    let mut to = follower(bench).await?;
    for n in 1..=2 {
        let mut wire = bench.client().await?;
        wire.number(bench, 5, n, asked()).await?;
        wire.persisted(5).await?;
    }
    let messages = to.messages(2).await?;
    equal("one number of two publishers is no duplicate", bench.numbers(&messages)?, vec![1, 2])?;
    let bookmarks = bookmarks(&messages)?;
    let differ = bookmarks[0].publisher != bookmarks[1].publisher;
    expect(differ, "two publishers in bookmarks", format!("{} and {}", bookmarks[0], bookmarks[1]))
}

async fn bookmark(bench: &Bench<'_>) -> Judged {
    let (mut wire, mut to) = (bench.client().await?, follower(bench).await?);
    wire.number(bench, 41, 1, asked()).await?;
    wire.number(bench, 42, 2, asked()).await?;
    let bookmarks = bookmarks(&to.messages(2).await?)?;
    equal("the sequences in the bookmarks", (bookmarks[0].sequence, bookmarks[1].sequence), (41, 42))?;
    equal("the publisher in the bookmarks", bookmarks[1].publisher, bookmarks[0].publisher)
}

async fn without(bench: &Bench<'_>) -> Judged {
    let (mut wire, mut to) = (bench.client().await?, follower(bench).await?);
    wire.number(bench, 5, 1, asked()).await?;
    for n in 2..=3 {
        wire.done(publish(bench.log(), bench.body("x", &format!(r#""n":{n}"#)))).await?;
    }
    let messages = to.messages(3).await?;
    equal("messages without a sequence come as well", bench.numbers(&messages)?, vec![1, 2, 3])?;
    let of = bookmarks(&messages)?;
    let own = of[1].publisher != of[0].publisher && of[1].publisher == of[2].publisher;
    expect(
        own && of[1].sequence < of[2].sequence,
        "a publisher of their own, numbered by the server",
        format!("{of:?}"),
    )
}

async fn any_topic(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    wire.send(&publish(&bench.plain("a"), bench.body("x", "")).number(Field::Sequence, 1).acks(AckType::Persisted))
        .await?;
    wire.persisted(1).await.map(drop)
}

async fn of_a_deletion(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let record = publish(bench.sow(), bench.body("x", "")).number(Field::Sequence, 1);
    wire.send(&record.acks(AckType::Persisted)).await?;
    let command = sow_delete(bench.sow()).text(Field::Filter, bench.own()).number(Field::Sequence, 2);
    wire.send(&command.acks(AckType::Persisted)).await?;
    wire.persisted(2).await.map(drop)
}

fn bookmarks(messages: &[Message]) -> Result<Vec<Bookmark>, Stop> {
    let read = |message| {
        let text = need(message, Field::Bookmark)?;
        text.parse::<Bookmark>().map_err(|_| fail("a bookmark of the form publisher|sequence|", text))
    };
    messages.iter().map(read).collect()
}
