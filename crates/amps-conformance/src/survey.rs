//! What the server has of what checks need.

use amps_core::{AckType, Command, Field, Status};

use crate::bench::{Bench, Server, sow, subscribe};
use crate::check::Need;
use crate::judge::{Stop, outcome};
use crate::wire::Wire;

/// What is missing, and how that showed.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    missing: Vec<(Need, String)>,
}

impl Survey {
    /// The first of these needs that the server does not meet.
    pub(crate) fn lacks(&self, needs: &[Need]) -> Option<&str> {
        let missing = |need: &&Need| self.missing.iter().find(|(missing, _)| missing == *need);
        needs.iter().find_map(|need| missing(&need)).map(|(_, what)| what.as_str())
    }
}

/// Logs on and looks around, without touching anything.
///
/// # Errors
/// Why nobody can log on.
pub(crate) async fn look(server: &Server<'_>) -> Result<Survey, String> {
    let bench = Bench::new(server, 0);
    survey(&bench, server).await.map_err(|stop| match stop {
        Stop::Fail { expected, came } => format!("expected {expected}; came: {came}"),
        Stop::NotConfigured(what) => what,
    })
}

async fn survey(bench: &Bench<'_>, server: &Server<'_>) -> Result<Survey, Stop> {
    let (mut wire, ack) = bench.logged_on(&bench.name("survey")).await?;
    server.set_version(&ack.text(Field::Version).unwrap_or_default());
    let mut missing = Vec::new();
    let none = |topic: &str| sow(topic).text(Field::Filter, bench.own());
    if let Some(why) = refusal(&mut wire, none(bench.sow())).await? {
        let key = bench.sow_key();
        let what = format!("a SOW topic {} with the key /{key}: a query of it ends in {why}", bench.sow());
        missing.push((Need::Sow, what.clone()));
        missing.push((Need::LoggedSow, what));
    } else if let Some(why) = refusal(&mut wire, from_now(bench, bench.sow())).await? {
        let what = format!("the SOW topic {} in the transaction log", bench.sow());
        missing.push((Need::LoggedSow, format!("{what}: a bookmark subscription ends in {why}")));
    }
    if let Some(why) = refusal(&mut wire, from_now(bench, bench.log())).await? {
        let what = format!("a topic {} in the transaction log", bench.log());
        missing.push((Need::Log, format!("{what}: a bookmark subscription ends in {why}")));
    }
    let command = subscribe(bench.queue()).text(Field::Filter, bench.own());
    let ack = wire.ask(command, AckType::Processed).await?;
    if !ack.text(Field::Options).is_some_and(|options| options.contains("max_backlog")) {
        let what = format!("a message queue {}", bench.queue());
        missing.push((Need::Queue, format!("{what}: the ack of a subscription names no max_backlog")));
    }
    Ok(Survey { missing })
}

/// A bookmark subscription to what is published from now on.
fn from_now(bench: &Bench<'_>, topic: &str) -> Command {
    subscribe(topic).text(Field::Filter, bench.own()).text(Field::Bookmark, "0|1|")
}

async fn refusal(wire: &mut Wire, command: Command) -> Result<Option<String>, Stop> {
    let ack = wire.ask(command, AckType::Processed).await?;
    Ok((ack.status() != Status::Success).then(|| outcome(&ack)))
}
