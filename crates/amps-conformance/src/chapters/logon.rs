//! `logon`.

use amps_core::{AckType, Bookmark, Command, Field, Message};

use crate::bench::{Bench, publish, subscribe};
use crate::check::{Check, check};
use crate::exchange::shown;
use crate::judge::{Judged, Stop, equal, expect, fail, field, success};
use crate::wire::{Wire, need};

pub(super) const CHECKS: &[Check] = &[
    check!("logon/processed", "AMPS Command Reference, \"logon\"", [], processed),
    check!("logon/received", "AMPS Command Reference, \"ack\"", [], received),
    check!("logon/no-ack-unasked", "AMPS Command Reference, \"ack\"", [], no_ack_unasked),
    check!("logon/client-name", "AMPS Command Reference, \"ack\"", [], client_name),
    check!("logon/version", "AMPS Command Reference, \"logon\"", [], version),
    check!("logon/correlation-id", "AMPS Command Reference, \"logon\"", [], correlation_id),
    check!("logon/ack-conflation", "AMPS Command Reference, \"logon\"", [Log], ack_conflation),
    check!("logon/sequence-of-a-new-name", "AMPS Command Reference, \"ack\"", [], sequence_of_a_new_name),
    check!("logon/sequence-of-a-known-name", "AMPS User Guide, \"High Availability\"", [Log], sequence_of_a_known_name),
    check!("logon/bookmark-of-a-known-name", "AMPS Command Reference, \"ack\"", [Log], bookmark_of_a_known_name),
    check!("logon/message-type-unknown", "AMPS User Guide, \"Configuring Transports\"", [], message_type_unknown),
    check!("logon/second", "AMPS Command Reference, \"logon\"", [], second),
    check!("logon/same-name-takes-over", "AMPS User Guide, \"Client Names\"", [Log], same_name_takes_over),
];

async fn processed(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.open().await?;
    let ack = wire.ask(bench.logon(&bench.name("x")), AckType::Processed).await?;
    success(&ack)
}

async fn received(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.open().await?;
    let id = wire.start(bench.logon(&bench.name("x")), AckType::Received | AckType::Processed).await?;
    wire.ack(&id, AckType::Received).await?;
    success(&wire.ack(&id, AckType::Processed).await?)
}

async fn no_ack_unasked(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.open().await?;
    let logon = bench.logon(&bench.name("x")).id("unasked");
    wire.send(&logon).await?;
    wire.fence().await?;
    let heard = wire.heard();
    expect(heard.is_empty(), "no ack that was not asked for", heard.iter().map(shown).collect::<String>())
}

async fn client_name(bench: &Bench<'_>) -> Judged {
    let name = bench.name("x");
    let (_wire, ack) = bench.logged_on(&name).await?;
    field(&ack, Field::ClientName, &name)
}

async fn version(bench: &Bench<'_>) -> Judged {
    let (_wire, ack) = bench.logged_on(&bench.name("x")).await?;
    let version = need(&ack, Field::Version)?;
    let numbers = version.split('.').take(2).all(|part| part.parse::<u64>().is_ok());
    expect(numbers && version.contains('.'), "the server's version, such as 5.3.5.0", version)
}

async fn correlation_id(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.open().await?;
    let logon = bench.logon(&bench.name("x")).text(Field::CorrelationId, "YWJj");
    wire.done(logon).await.map(drop)
}

async fn ack_conflation(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.open().await?;
    wire.done(bench.logon(&bench.name("x")).text(Field::Options, "ack_conflation=10ms")).await?;
    persist(bench, &mut wire, 1).await.map(drop)
}

async fn sequence_of_a_new_name(bench: &Bench<'_>) -> Judged {
    let (_wire, ack) = bench.logged_on(&bench.name("never-used")).await?;
    field(&ack, Field::Sequence, "0")
}

async fn sequence_of_a_known_name(bench: &Bench<'_>) -> Judged {
    let name = bench.name("x");
    let (mut wire, _) = bench.logged_on(&name).await?;
    persist(bench, &mut wire, 7).await?;
    drop(wire);
    let (_wire, ack) = bench.logged_on(&name).await?;
    field(&ack, Field::Sequence, "7")
}

async fn bookmark_of_a_known_name(bench: &Bench<'_>) -> Judged {
    let name = bench.name("x");
    let (mut wire, _) = bench.logged_on(&name).await?;
    let command = subscribe(bench.log()).text(Field::Filter, bench.own()).text(Field::Bookmark, "0|1|");
    wire.done(command).await?;
    persist(bench, &mut wire, 7).await?;
    let message = wire.message().await?;
    let expected = need(&message, Field::Bookmark)?;
    drop(wire);
    let (_wire, ack) = bench.logged_on(&name).await?;
    let came = need(&ack, Field::Bookmark)?;
    let parse = |text: &str| text.parse::<Bookmark>().map_err(|error| fail("a bookmark", error.to_string()));
    equal("the bookmark of the last message", parse(&came)?, parse(&expected)?)
}

/// Publishes one message with this sequence and waits until it is persisted.
async fn persist(bench: &Bench<'_>, wire: &mut Wire, sequence: u64) -> Result<Message, Stop> {
    let command = publish(bench.log(), bench.body("x", "")).number(Field::Sequence, sequence);
    wire.send(&command.acks(AckType::Persisted)).await?;
    wire.persisted(sequence).await
}

async fn message_type_unknown(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.open().await?;
    let logon = bench.logon(&bench.name("x")).text(Field::MessageType, "no-such-type");
    refused_or_closed(&mut wire, logon, "a logon with a message type that the server does not have").await
}

/// Sends a command that must not succeed.
async fn refused_or_closed(wire: &mut Wire, command: Command, what: &str) -> Judged {
    let id = wire.start(command, AckType::Processed).await?;
    let expected = format!("{what} is refused, or ends it");
    match wire.ack(&id, AckType::Processed).await {
        Ok(ack) => expect(success(&ack).is_err(), expected, shown(&ack)),
        Err(_) => expect(wire.closes().await?, expected, "neither refusal nor end"),
    }
}

async fn second(bench: &Bench<'_>) -> Judged {
    let (mut wire, _) = bench.logged_on(&bench.name("x")).await?;
    let logon = bench.logon(&bench.name("y"));
    refused_or_closed(&mut wire, logon, "the second logon of a connection").await
}

async fn same_name_takes_over(bench: &Bench<'_>) -> Judged {
    let name = bench.name("x");
    let (mut old, _) = bench.logged_on(&name).await?;
    let (mut new, _) = bench.logged_on(&name).await?;
    let expected = "the older connection of a name and user is closed when a newer one logs on";
    expect(old.closes().await?, expected, "it stays open")?;
    new.fence().await
}
