//! `amps bench publish`: pipelined, from the first message until everything is
//! acknowledged.

use std::time::Duration;

use amps_client::{Durability, PublishStore};
use clap::Args;

use super::body::Body;
use super::summary::Clocks;
use super::{Load, connect, undisturbed};
use crate::exit::Failure;
use crate::pace::Pace;
use crate::store::{Level, Store};

/// What closing the store may take.
const CLOSE: Duration = Duration::from_secs(10);

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
}

impl Publish {
    pub(super) async fn run(self) -> Result<String, Failure> {
        let Load { count, size, topic, .. } = &self.load;
        let (store, level) = self.store()?;
        // A sled store belongs to one client name.
        let name = matches!(self.store, Store::Sled(_)).then_some("amps-bench");
        let builder = self.load.builder(name).publish_store(store).durability(level);
        let (client, mut events) = connect(builder).await?;
        let mut body = Body::new(*size);
        let mut pace = Pace::new(self.rate);

        let clocks = Clocks::start();
        for number in 0..*count {
            pace.wait().await;
            let receipt = client.enqueue_wait(topic, body.number(number)).await;
            receipt.map_err(|error| Failure::new(format!("cannot publish message {number}"), error))?;
        }
        client.flush().await.map_err(|error| Failure::new("not everything was acknowledged", error))?;
        let summary = clocks.stop(u64::from(*count), u64::from(*count) * u64::from(*size));

        undisturbed(&client, &mut events)?;
        client.close(CLOSE).await;
        serde_json::to_string(&summary).map_err(|error| Failure::new("cannot print the summary", error))
    }

    fn store(&self) -> Result<(PublishStore, Durability), Failure> {
        let level = match self.durability {
            Some(Level::Memory) => Some(Durability::Memory),
            Some(Level::ProcessCrash) => Some(Durability::ProcessCrash),
            Some(Level::PowerLoss) => Some(Durability::PowerLoss),
            None => None,
        };
        let volatile = match &self.store {
            Store::Sled(dir) => return Ok((PublishStore::sled(dir), level.unwrap_or(Durability::PowerLoss))),
            Store::Memory => PublishStore::Memory,
            Store::None => PublishStore::None,
        };
        match level {
            None | Some(Durability::Memory) => Ok((volatile, Durability::Memory)),
            Some(_) => Err(Failure::new("these options do not go together", "only a sled store survives this program")),
        }
    }
}
