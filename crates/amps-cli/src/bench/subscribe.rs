//! `amps bench subscribe`: from subscribing to the last message.

use amps_client::{PublishStore, Subscription};
use clap::Args;

use super::summary::Clocks;
use super::{Load, connect, undisturbed};
use crate::exit::Failure;

/// Options of `amps bench subscribe`.
#[derive(Debug, Args)]
pub(crate) struct Subscribe {
    #[command(flatten)]
    load: Load,
}

impl Subscribe {
    pub(super) async fn run(self) -> Result<String, Failure> {
        let Load { count, topic, .. } = &self.load;
        let (client, mut events) = connect(self.load.builder(None).publish_store(PublishStore::None)).await?;
        let messages = u64::from(*count);

        let clocks = Clocks::start();
        let stream = client.subscribe(topic.as_str()).await;
        let stream = stream.map_err(|error| Failure::new(format!("cannot subscribe to {topic}"), error))?;
        // On a worker, as an application's task would be.
        let counted = tokio::spawn(receive(stream, messages)).await;
        let bytes = counted.map_err(|error| Failure::new("cannot receive", error))??;
        let summary = clocks.stop(messages, bytes);

        undisturbed(&client, &mut events)?;
        serde_json::to_string(&summary).map_err(|error| Failure::new("cannot print the summary", error))
    }
}

/// Counts the bytes of so many messages.
async fn receive(mut stream: Subscription, messages: u64) -> Result<u64, Failure> {
    let mut bytes = 0;
    for _ in 0..messages {
        match stream.next_message().await {
            Ok(Some(message)) => bytes += message.data().len() as u64,
            Ok(None) => return Err(Failure::new("the subscription ended", "the client is closed")),
            Err(error) => return Err(Failure::new("the subscription ended", error)),
        }
    }
    Ok(bytes)
}
