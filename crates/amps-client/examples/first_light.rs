//! A message survives a dead server: two servers, one of which dies while
//! messages flow. Run it with `cargo run --example first_light`.

use std::error::Error;
use std::time::Duration;

use amps_client::{BookmarkStore, Client, PublishStore, StartAt, Subscribe};
use amps_testserver::{Link, TestServer};

async fn story() -> Result<(), Box<dyn Error>> {
    // Two servers that replicate to each other. Yours are real AMPS servers.
    let backup = TestServer::builder().name("backup").start().await?;
    let primary = TestServer::builder().name("primary").peer(backup.uri(), Link::Sync).start().await?;
    let stores = tempfile::tempdir()?;
    let client = Client::builder("example-1")
        .servers([primary.uri(), backup.uri()])
        .publish_store(PublishStore::sled(stores.path().join("publish")))
        .bookmark_store(BookmarkStore::sled(stores.path().join("bookmarks")))
        .connect()
        .await?;
    let mut readings = client.subscribe(Subscribe::to("weather").bookmark(StartAt::Epoch)).await?;

    let mut primary = Some(primary);
    for (number, line) in include_str!("data/hourly-temperature.ndjson").lines().take(1000).enumerate() {
        client.publish("weather", line).await?; // on the disk from here on
        if number == 500 {
            drop(primary.take()); // every connection is cut, as by a crash
        }
    }
    for _ in 0..1000 {
        let message = readings.next_message().await?.ok_or("the stream ended")?;
        readings.discard(&message); // does not come again, even in a new process
    }
    let closed = client.close(Duration::from_secs(10)).await;
    println!(
        "1000 published, 1000 delivered once, {} reconnects, {} unacknowledged",
        client.reconnects(),
        closed.unacknowledged
    );
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
