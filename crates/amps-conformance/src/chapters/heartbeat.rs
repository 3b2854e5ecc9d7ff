//! `heartbeat` and `flush`.

use std::time::Duration;

use amps_core::command::CommandKind;
use amps_core::message::MessageKind;
use amps_core::{AckType, Command, Field};

use crate::bench::{Bench, publish, sow};
use crate::check::{Check, check};
use crate::exchange::shown;
use crate::judge::{Judged, Stop, equal, expect, success};
use crate::wire::Wire;

pub(super) const CHECKS: &[Check] = &[
    check!("heartbeat/ack-of-each-type", "AMPS Command Reference, \"heartbeat\"", [], ack_of_each_type),
    check!("heartbeat/none-unasked", "AMPS Command Reference, \"heartbeat\"", [], none_unasked),
    check!("heartbeat/when-idle", "AMPS developer guides, \"Heartbeat\"", [], when_idle),
    check!("heartbeat/answered-stays-open", "AMPS developer guides, \"Heartbeat\"", [], answered_stays_open),
    check!("heartbeat/silence-closes", "AMPS developer guides, \"Heartbeat\"", [], silence_closes),
    check!("flush/ack-of-each-type", "AMPS Command Reference, \"flush\"", [], flush_acks),
    check!("flush/persisted", "AMPS Command Reference, \"flush\"", [Log], flush_persisted),
    check!("flush/behind-what-was-sent", "AMPS Command Reference, \"flush\"", [Sow], flush_behind_what_was_sent),
];

/// The shortest interval there is, in seconds.
const INTERVAL: Duration = Duration::from_secs(1);

fn start() -> Command {
    Command::new(CommandKind::Heartbeat).text(Field::Options, "start,1")
}

fn beat() -> Command {
    Command::new(CommandKind::Heartbeat).text(Field::Options, "beat")
}

async fn ack_of_each_type(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let id = wire.start(start(), AckType::Received | AckType::Processed).await?;
    success(&wire.ack(&id, AckType::Received).await?)?;
    success(&wire.ack(&id, AckType::Processed).await?)
}

async fn none_unasked(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let heard = wire.listen(bench.moment()).await?;
    expect(heard.is_empty(), "nothing on an idle connection", heard.iter().map(shown).collect::<String>())
}

/// Waits for a beat, which comes within the interval.
async fn next_beat(wire: &mut Wire) -> Result<amps_core::Message, Stop> {
    wire.take("a heartbeat on an idle connection", |message| message.kind() == MessageKind::Heartbeat).await
}

async fn when_idle(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.patient_client(2 * INTERVAL).await?;
    wire.done(start()).await?;
    next_beat(&mut wire).await.map(drop)
}

async fn answered_stays_open(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.patient_client(2 * INTERVAL).await?;
    wire.done(start()).await?;
    for _ in 0..4 {
        next_beat(&mut wire).await?;
        wire.send(&beat()).await?;
    }
    wire.fence().await
}

async fn silence_closes(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.patient_client(2 * INTERVAL).await?;
    wire.done(start()).await?;
    next_beat(&mut wire).await?;
    let closed = wire.closes_within(3 * INTERVAL + bench.timeout()).await?;
    expect(closed, "the connection is closed after two intervals without a word", "it stays open")
}

async fn flush_acks(bench: &Bench<'_>) -> Judged {
    let mut wire = bench.client().await?;
    let kinds = [AckType::Received, AckType::Processed, AckType::Completed];
    let id = wire.start(Command::new(CommandKind::Flush), kinds[0] | kinds[1] | kinds[2]).await?;
    for kind in kinds {
        success(&wire.ack(&id, kind).await?)?;
    }
    Ok(())
}

async fn flush_persisted(bench: &Bench<'_>) -> Judged {
    let name = bench.name("x");
    let (mut wire, _) = bench.logged_on(&name).await?;
    for n in 1..=20 {
        let command = publish(bench.log(), bench.body("x", "")).number(Field::Sequence, n);
        wire.send(&command.acks(AckType::Persisted)).await?;
    }
    success(&wire.ask(Command::new(CommandKind::Flush), AckType::Persisted).await?)?;
    // A new logon says how far the server knows this client: to the end.
    drop(wire);
    let (_wire, ack) = bench.logged_on(&name).await?;
    equal("the sequence of the last message before the flush", ack.sequence(), Some(20))
}

async fn flush_behind_what_was_sent(bench: &Bench<'_>) -> Judged {
    let (mut wire, mut other) = (bench.client().await?, bench.client().await?);
    for n in 1..=50 {
        wire.send(&publish(bench.sow(), bench.body(&format!("k{n}"), &format!(r#""n":{n}"#)))).await?;
    }
    wire.fence().await?;
    let command = sow(bench.sow()).text(Field::Filter, bench.own()).number(Field::BatchSize, 50);
    let answer = other.query(command, AckType::Completed).await?;
    equal("records of all that was published before the flush", answer.records.len(), 50)
}
