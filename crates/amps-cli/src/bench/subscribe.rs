//! `amps bench subscribe`: from subscribing to the last message.

use amps_client::{BookmarkStore, PublishStore, StartAt, Subscribe as Request, Subscription};
use clap::Args;

use super::publish::{CLOSE, NAME};
use super::summary::Clocks;
use super::{Load, connect, print, undisturbed};
use crate::exit::Failure;
use crate::store::Store;

/// Options of `amps bench subscribe`.
#[derive(Debug, Args)]
pub(crate) struct Subscribe {
    #[command(flatten)]
    load: Load,
    /// Makes it a bookmark subscription that discards each message, in `memory`
    /// or `sled:DIR`.
    #[arg(long, value_name = "STORE", default_value = "none")]
    bookmark_store: Store,
}

impl Subscribe {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Load { count, target, .. } = &self.load;
        let name = matches!(self.bookmark_store, Store::Sled(_)).then_some(NAME);
        let mut builder = target.builder(name)?.publish_store(PublishStore::None);
        let mut request = Request::to(&target.topic);
        if self.bookmark_store != Store::None {
            request = request.bookmark(StartAt::Now);
        }
        if let Store::Hybrid(_) = &self.bookmark_store {
            return Err(Failure::new("these options do not go together", "a bookmark store is memory or sled"));
        }
        if let Store::Sled(dir) = &self.bookmark_store {
            builder = builder.bookmark_store(BookmarkStore::sled(dir));
        }
        let (client, mut events) = connect(builder).await?;
        let (messages, discard) = (u64::from(*count), self.bookmark_store != Store::None);

        let clocks = Clocks::start();
        let stream = client.subscribe(request).await;
        let stream = stream.map_err(|error| Failure::new(format!("cannot subscribe to {}", target.topic), error))?;
        // On a worker, as an application's task would be.
        let counted = tokio::spawn(receive(stream, messages, discard)).await;
        let bytes = counted.map_err(|error| Failure::new("cannot receive", error))??;
        let summary = clocks.stop(messages, bytes);

        undisturbed(&client, &mut events)?;
        client.close(CLOSE).await;
        print(&summary)
    }
}

/// Counts the bytes of so many messages. What is discarded is on the disk in the
/// end, if it is kept there.
async fn receive(mut stream: Subscription, messages: u64, discard: bool) -> Result<u64, Failure> {
    let mut bytes = 0;
    for _ in 0..messages {
        match stream.next_message().await {
            Ok(Some(message)) => {
                bytes += message.data().len() as u64;
                if discard {
                    stream.discard(&message);
                }
            }
            Ok(None) => return Err(Failure::new("the subscription ended", "the client is closed")),
            Err(error) => return Err(Failure::new("the subscription ended", error)),
        }
    }
    stream.discarded().await.map_err(|error| Failure::new("not everything was discarded", error))?;
    Ok(bytes)
}
