//! Protection level three of three: stores on disk. What was published, and
//! what was discarded, survives this process too, even when it is killed; the
//! next one on the same directories goes on where this one stopped.
//!
//! Run it with `cargo run --example disk_stores`.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use amps_client::{BookmarkStore, Client, ClientBuilder, PublishStore, StartAt, Subscribe};
use amps_testserver::TestServer;

/// The same name and the same directories in every process: the name is part
/// of each message's identity, and the stores belong to it.
fn gateway(server: &str, dir: &Path) -> ClientBuilder {
    Client::builder("gateway-1")
        .server(server)
        .publish_store(PublishStore::sled(dir.join("publish")))
        .bookmark_store(BookmarkStore::sled(dir.join("bookmarks")))
}

async fn story() -> Result<(), Box<dyn Error>> {
    let server = TestServer::builder().start().await?;
    let dir = tempfile::tempdir()?;

    // The first process. Nothing is acknowledged in its time.
    server.faults(|faults| faults.withhold_acks(true));
    let client = gateway(&server.uri(), dir.path()).connect().await?;
    let mut orders = client.subscribe(Subscribe::to("orders").bookmark(StartAt::MostRecent).id("desk")).await?;
    for id in 0..10 {
        // On the disk when this returns; the server may not even know.
        client.publish("orders", id.to_string()).await?;
    }
    for id in 0..6 {
        let message = orders.next_message().await?.ok_or("the stream ended")?;
        assert_eq!(message.data(), id.to_string().as_bytes());
        orders.discard(&message);
    }
    // Waits for the disk; from here on these six never come again.
    orders.discarded().await?;
    // It ends without having heard back about its ten messages.
    drop(orders);
    let closed = client.close(Duration::ZERO).await;
    assert_eq!(closed.unacknowledged, 10);
    // A close of its own ends the use of the directories; a kill does so too.
    client.close(Duration::from_secs(10)).await;

    // The second process.
    server.faults(|faults| faults.withhold_acks(false));
    let client = gateway(&server.uri(), dir.path()).connect().await?;
    client.flush().await?;
    assert_eq!(server.log().len(), 10, "what the server had already is not there twice");
    let mut orders = client.subscribe(Subscribe::to("orders").bookmark(StartAt::MostRecent).id("desk")).await?;
    for id in 6..10 {
        let message = orders.next_message().await?.ok_or("the stream ended")?;
        assert_eq!(message.data(), id.to_string().as_bytes(), "what was not discarded comes again");
        orders.discard(&message);
    }
    println!("10 orders through two processes, each logged and done once");
    client.close(Duration::from_secs(10)).await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    story().await
}

#[tokio::test]
async fn the_story_is_true() {
    story().await.unwrap();
}
