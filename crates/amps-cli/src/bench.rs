//! `amps bench`: how fast this client is against the user's own server.
//!
//! Each probe connects first and measures then, and prints one JSON line. Nothing
//! is drawn meanwhile: it would share the machine with what is measured.

mod body;
mod latency;
mod outage;
mod publish;
mod resubscribe;
mod sow;
mod subscribe;
mod summary;
mod ticks;

use std::time::Duration;

use amps_client::{Client, ClientBuilder, Event, Events, Reason};
use clap::{Args, Subcommand};
use futures_util::FutureExt;
use serde::Serialize;

use crate::connect;
use crate::exit::{End, Failure};
use crate::say;
use crate::servers::Servers;
use crate::signals::Signals;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(10);

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Publishes as fast as it can, from the first message until all are acknowledged.
    Publish(publish::Publish),
    /// Counts messages, from subscribing to the last one.
    Subscribe(subscribe::Subscribe),
    /// Publishes at a fixed rate to itself; from the moment a message was due to its delivery.
    Latency(latency::Latency),
    /// Counts the records of a SOW query, from the query to its end.
    Sow(sow::Sow),
    /// Publishes into the store while no server is there, until everything is durable.
    Outage(outage::Outage),
    /// Sends what a store holds, from opening it until it is empty.
    Replay(outage::Replay),
    /// Waits until the connection is lost; from the next logon until all subscriptions are entered again.
    Resubscribe(resubscribe::Resubscribe),
}

impl Bench {
    /// Measures, and prints one JSON line.
    ///
    /// # Errors
    /// When the settings are wrong, no server is there, or the connection or a
    /// message was lost: the figures would not mean anything.
    pub(crate) async fn run(self) -> Result<End, Failure> {
        let mut signals = Signals::listen().map_err(|error| Failure::new("cannot listen for signals", error))?;
        let measured = async {
            match self {
                Self::Publish(probe) => probe.run().await,
                Self::Subscribe(probe) => probe.run().await,
                Self::Latency(probe) => probe.run().await,
                Self::Sow(probe) => probe.run().await,
                Self::Outage(probe) => probe.run().await,
                Self::Replay(probe) => probe.run().await,
                Self::Resubscribe(probe) => probe.run().await,
            }
        };
        tokio::select! {
            measured = measured => measured.map(|()| End::Done),
            signal = signals.next() => Ok(End::Signal(signal)),
        }
    }
}

/// A topic of some servers.
#[derive(Debug, Args)]
pub(crate) struct Target {
    #[command(flatten)]
    servers: Servers,
    /// The topic.
    #[arg(long, default_value = "bench")]
    topic: String,
}

impl Target {
    fn builder(&self, name: Option<&str>) -> Result<ClientBuilder, Failure> {
        Ok(connect::builder(&self.servers, name, "bench")?.connect_within(CONNECT))
    }
}

/// Messages of one size.
#[derive(Debug, Args)]
pub(crate) struct Load {
    #[command(flatten)]
    target: Target,
    /// The number of messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// The size of a message's body. What is received is counted as it comes.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(i64::from(body::MIN)..=100_000_000))]
    size: u32,
}

impl Load {
    fn bytes(&self) -> u64 {
        u64::from(self.count) * u64::from(self.size)
    }
}

/// Prints the figures, one JSON line.
fn print(figures: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(figures).map_err(|error| Failure::new("cannot print the figures", error))?;
    say::answer(format_args!("{line}"))?;
    Ok(())
}

/// A connected client, and what happens to it from then on.
async fn connect(builder: ClientBuilder) -> Result<(Client, Events), Failure> {
    let client = builder.connect().await.map_err(connect::not_connected)?;
    let events = client.events();
    Ok((client, events))
}

/// # Errors
/// When messages were refused or lost, or the connection was.
fn undisturbed(client: &Client, events: &mut Events) -> Result<(), Failure> {
    let spoilt = |why: &str| Err(Failure::new("the figures would not mean anything", why));
    while let Some(Some(event)) = events.next().now_or_never() {
        match event {
            Event::FailedWrite(failed) if failed.reason == Reason::Duplicate => {}
            Event::FailedWrite(failed) => return spoilt(&format!("a message was refused: {}", failed.reason)),
            Event::Dropped { .. } | Event::Missed(_) => return spoilt("messages were lost"),
            _ => {}
        }
    }
    match client.reconnects() {
        0 if client.is_connected() => Ok(()),
        _ => spoilt("the connection was lost"),
    }
}
