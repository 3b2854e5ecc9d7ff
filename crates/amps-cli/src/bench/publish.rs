//! `amps bench publish`: from the first message until everything is
//! acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use amps_client::{Client, Durability, MemoryPart, PublishError, PublishStore};
use clap::Args;
use tokio::task::JoinSet;

use super::body::Body;
use super::summary::Clocks;
use super::{Load, Target, connect, print, undisturbed};
use crate::exit::Failure;
use crate::pace::Pace;
use crate::store::{Level, Store};

/// What closing the store may take.
pub(super) const CLOSE: Duration = Duration::from_secs(10);
/// A sled store belongs to one client name.
pub(super) const NAME: &str = "amps-bench";

/// Options of `amps bench publish`.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    #[command(flatten)]
    load: Load,
    /// Where messages wait for their acknowledgement: `none`, `memory` or
    /// `sled:DIR`. With a store it runs until the store is empty, with `none`
    /// until a flush is answered.
    #[arg(long, value_name = "STORE", default_value = "memory")]
    store: Store,
    /// What a stored message survives; with a sled store a power loss by default.
    #[arg(long, value_enum)]
    durability: Option<Level>,
    /// At most that many messages a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Instead of one pipeline, so many tasks that each wait for a message to be
    /// durable before the next.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "rate")]
    tasks: Option<u32>,
}

impl Publish {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Load { count, size, target } = &self.load;
        let (store, level) = settings(&self.store, self.durability)?;
        let name = matches!(self.store, Store::Sled(_) | Store::Hybrid(_)).then_some(NAME);
        let builder = target.builder(name)?.publish_store(store).durability(level);
        let (client, mut events) = connect(builder).await?;

        let clocks = Clocks::start();
        match self.tasks {
            Some(tasks) => one_at_a_time(&client, target, *count, *size, tasks).await?,
            None => pipelined(&client, target, *count, *size, self.rate).await?,
        }
        client.flush().await.map_err(|error| Failure::new("not everything was acknowledged", error))?;
        let summary = clocks.stop(u64::from(*count), self.load.bytes());

        undisturbed(&client, &mut events)?;
        client.close(CLOSE).await;
        print(&summary)
    }
}

/// Publishes without waiting for receipts.
pub(super) async fn pipelined(
    client: &Client,
    target: &Target,
    count: u32,
    size: u32,
    rate: Option<u32>,
) -> Result<(), Failure> {
    let mut body = Body::new(size);
    let mut pace = Pace::new(rate.map(Into::into));
    for number in 0..count {
        pace.wait().await;
        client.enqueue_wait(&target.topic, body.number(number)).await.map_err(|error| failed(number, error))?;
    }
    Ok(())
}

/// Publishes in so many tasks, each message after the one before is durable.
async fn one_at_a_time(client: &Client, target: &Target, count: u32, size: u32, tasks: u32) -> Result<(), Failure> {
    let next = Arc::new(AtomicU32::new(0));
    let mut publishers = JoinSet::new();
    for _ in 0..tasks {
        let (client, topic, next) = (client.clone(), target.topic.clone(), Arc::clone(&next));
        publishers.spawn(async move {
            let mut body = Body::new(size);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                client.publish(&topic, body.number(number)).await.map_err(|error| failed(number, error))?;
            }
        });
    }
    while let Some(ended) = publishers.join_next().await {
        ended.map_err(|error| Failure::new("the measurement broke off", error))??;
    }
    Ok(())
}

fn failed(number: u32, error: PublishError) -> Failure {
    Failure::new(format!("cannot publish message {number}"), error)
}

/// The store and level that the options name.
pub(super) fn settings(store: &Store, level: Option<Level>) -> Result<(PublishStore, Durability), Failure> {
    let level = level.map(|level| match level {
        Level::Memory => Durability::Memory,
        Level::ProcessCrash => Durability::ProcessCrash,
        Level::PowerLoss => Durability::PowerLoss,
    });
    let volatile = match store {
        Store::Sled(dir) => return Ok((PublishStore::sled(dir), level.unwrap_or(Durability::PowerLoss))),
        Store::Hybrid(dir) => PublishStore::hybrid(dir, MemoryPart::default()),
        Store::Memory => PublishStore::Memory,
        Store::None => PublishStore::None,
    };
    match level {
        None | Some(Durability::Memory) => Ok((volatile, Durability::Memory)),
        Some(_) => Err(Failure::new("these options do not go together", "only a sled store survives this program")),
    }
}
