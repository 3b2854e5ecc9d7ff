//! Deltas: publish and receive what changed of a record, and hold whole records
//! all the same.
//!
//! Run it with `cargo run --example deltas`.

use std::error::Error;

use amps_client::{Client, DeltaRecords, SowDelete, Subscribe};
use amps_testserver::TestServer;
use serde_json::json;

async fn story() -> Result<(), Box<dyn Error>> {
    let server = TestServer::builder().sow("prices", "/symbol").start().await?;
    let feed = Client::builder("feed").server(server.uri()).connect().await?;
    feed.publish("prices", r#"{"symbol":"ACME","bid":10,"ask":11,"venue":"X"}"#).await?;
    feed.publish("prices", r#"{"symbol":"INIT","bid":20,"ask":21,"venue":"X"}"#).await?;
    feed.flush().await?;

    // The records as they are, then what changes. With `oof` a record that is
    // gone is told; without, it would stay for ever.
    let screen = Client::builder("screen").server(server.uri()).connect().await?;
    let mut updates = screen.subscribe(Subscribe::sow_and_deltas_of("prices").options("oof")).await?;
    let mut records = DeltaRecords::new();

    // The server merges a delta into the record that its key names. Whoever
    // subscribes without deltas gets the whole record.
    feed.delta_publish("prices", r#"{"symbol":"ACME","bid":12}"#).await?;
    feed.sow_delete(SowDelete::by_filter("prices", "/symbol = 'INIT'")).await?;

    let mut sizes = Vec::new();
    loop {
        let event = updates.next().await.ok_or("the stream ended")??;
        let Some(key) = records.apply(&event)? else { continue };
        sizes.push(records.len());
        match records.get(&key) {
            Some(record) => println!("{record}"),
            None => break,
        }
    }
    assert_eq!(sizes, [1, 2, 2, 1], "two records, a change, and one less");
    let (_, acme) = records.iter().next().ok_or("one is left")?;
    assert_eq!(*acme, json!({"symbol": "ACME", "bid": 12, "ask": 11, "venue": "X"}));

    // After a reconnect the records come again, and take the place of what was
    // made of deltas that may have been missed.
    server.kick("screen");
    feed.delta_publish("prices", r#"{"symbol":"ACME","ask":13}"#).await?;
    while records.iter().next().is_none_or(|(_, acme)| acme["ask"] != 13) {
        records.apply(&updates.next().await.ok_or("the stream ended")??)?;
    }
    assert_eq!((records.len(), screen.reconnects()), (1, 1));
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
