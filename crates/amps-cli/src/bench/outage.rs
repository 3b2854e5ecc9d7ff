//! `amps bench outage` fills a store while no server is there; `amps bench
//! replay` sends what a store holds.

use std::time::Duration;

use amps_client::{OpenError, PublishError};
use clap::Args;

use super::publish::{CLOSE, NAME, pipelined, settings};
use super::summary::Clocks;
use super::{Load, Target, print};
use crate::exit::Failure;
use crate::store::{Level, Store};

/// What closing a store may take while no server is there.
const CLOSE_OFFLINE: Duration = Duration::from_secs(4);

/// Options of `amps bench outage`.
#[derive(Debug, Args)]
pub(crate) struct Outage {
    #[command(flatten)]
    load: Load,
    /// Where messages wait: `memory` or `sled:DIR`.
    #[arg(long, value_name = "STORE", default_value = "memory")]
    store: Store,
    /// What a stored message survives; with a sled store a power loss by default.
    #[arg(long, value_enum)]
    durability: Option<Level>,
    /// Stays until it is stopped, so that it can be killed with its store open.
    #[arg(long)]
    stay: bool,
}

impl Outage {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Load { count, size, target } = &self.load;
        let (store, level) = settings(&self.store, self.durability)?;
        let builder = target.builder(Some(NAME))?.publish_store(store).durability(level);
        let client = builder.start().map_err(not_open)?;

        let clocks = Clocks::start();
        pipelined(&client, target, count - 1, *size, None).await?;
        // What stands before the last message is durable when that is.
        let last = client.publish(&target.topic, super::body::Body::new(*size).number(count - 1)).await;
        last.map_err(not_stored)?;
        let summary = clocks.stop(u64::from(*count), self.load.bytes());
        if client.unacknowledged() != u64::from(*count) {
            return Err(Failure::new("the figures would not mean anything", "a server is there, or the store is old"));
        }
        print(&summary)?;
        if self.stay {
            std::future::pending::<()>().await;
        }
        client.close(CLOSE_OFFLINE).await;
        Ok(())
    }
}

/// Options of `amps bench replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    #[command(flatten)]
    target: Target,
    /// The store, `sled:DIR`, as `amps bench outage` left it.
    #[arg(long, value_name = "STORE")]
    store: Store,
    /// The size of its messages' bodies; only for the figures.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    size: u32,
}

impl Replay {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (store, level) = settings(&self.store, None)?;
        let builder = self.target.builder(Some(NAME))?.publish_store(store).durability(level);

        let clocks = Clocks::start();
        let client = builder.start().map_err(not_open)?;
        let messages = client.unacknowledged();
        client.flush().await.map_err(|error| Failure::new("not everything was acknowledged", error))?;
        let summary = clocks.stop(messages, messages * u64::from(self.size));

        client.close(CLOSE).await;
        print(&summary)
    }
}

fn not_open(error: OpenError) -> Failure {
    Failure::new("cannot open the store", error)
}

fn not_stored(error: PublishError) -> Failure {
    Failure::new("not everything was stored", error)
}
