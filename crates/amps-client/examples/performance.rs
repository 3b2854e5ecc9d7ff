//! Getting more through: what to await, what to batch, what not to receive.
//!
//! Run it with `cargo run --release --example performance`.

use std::error::Error;
use std::time::Instant;

use amps_client::{Client, PublishStore, Sow, Subscribe};
use amps_testserver::TestServer;

const MESSAGES: u64 = 20_000;

async fn story() -> Result<(), Box<dyn Error>> {
    let server = TestServer::builder().sow("ticks", "/id").start().await?;
    let dir = tempfile::tempdir()?;
    let feed =
        Client::builder("feed").server(server.uri()).publish_store(PublishStore::sled(dir.path())).connect().await?;

    // `publish` awaits the disk each time, so one after the other costs a sync
    // each. `enqueue` does not wait: thousands share a sync, in the same order,
    // and one receipt at the end says that all before it are safe.
    let began = Instant::now();
    let mut last = None;
    for id in 0..MESSAGES {
        last = Some(feed.enqueue_wait("ticks", format!(r#"{{"id":{}}}"#, id % 500)).await?);
    }
    last.ok_or("there were messages")?.durable().await?;
    let durable = began.elapsed();
    feed.flush().await?;
    println!("{MESSAGES} messages: on the disk in {durable:?}, at the server in {:?}", began.elapsed());

    // Small records a hundred at a time: a frame costs more than a record.
    let reader = Client::builder("reader").server(server.uri()).connect().await?;
    let mut records = reader.sow(Sow::of("ticks").batch_size(100)).await?;
    let mut count = 0;
    while records.next_message().await?.is_some() {
        count += 1;
    }
    assert_eq!(count, 500);

    // Who shows what is now need not see what was in between: an unread message
    // gives way to a newer one with its key, and the queue stays short.
    let screen = Client::builder("screen").server(server.uri()).connect().await?;
    let mut ticks = screen.subscribe(Subscribe::to("ticks").conflate()).await?;
    for _ in 0..100 {
        feed.enqueue("ticks", r#"{"id":1}"#)?;
    }
    feed.publish("ticks", r#"{"id":1,"last":true}"#).await?;
    let mut read = 0;
    loop {
        let tick = ticks.next_message().await?.ok_or("the stream ended")?;
        read += 1;
        if tick.data() == br#"{"id":1,"last":true}"# {
            break;
        }
    }
    assert_eq!(read + ticks.stats().conflated, 101, "each was read, or gave way to a newer one");
    println!("101 updates were read as {read}");
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
