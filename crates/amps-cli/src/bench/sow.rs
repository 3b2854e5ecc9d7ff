//! `amps bench sow`: from the query to its end.

use amps_client::{PublishStore, Sow as Query, Subscription};
use clap::Args;

use super::summary::Clocks;
use super::{Target, connect, print, undisturbed};
use crate::exit::Failure;

/// Options of `amps bench sow`.
#[derive(Debug, Args)]
pub(crate) struct Sow {
    #[command(flatten)]
    target: Target,
    /// Records in one frame.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
}

impl Sow {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let builder = self.target.builder(None)?.publish_store(PublishStore::None);
        let (client, mut events) = connect(builder).await?;
        let query = Query::of(&self.target.topic).batch_size(self.batch);

        let clocks = Clocks::start();
        let records = client.sow(query).await.map_err(failed)?;
        // On a worker, as an application's task would be.
        let counted = tokio::spawn(receive(records)).await;
        let (records, bytes) = counted.map_err(|error| Failure::new("cannot receive", error))??;
        let summary = clocks.stop(records, bytes);

        undisturbed(&client, &mut events)?;
        print(&summary)
    }
}

/// Counts records and the bytes of their bodies.
async fn receive(mut stream: Subscription) -> Result<(u64, u64), Failure> {
    let (mut records, mut bytes) = (0, 0);
    while let Some(record) = stream.next_message().await.map_err(failed)? {
        records += 1;
        bytes += record.data().len() as u64;
    }
    Ok((records, bytes))
}

fn failed(error: amps_client::CommandError) -> Failure {
    Failure::new("the query failed", error)
}
