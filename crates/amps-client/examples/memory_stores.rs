//! Protection level two of three: stores in memory, which is the default. What
//! was published survives the failure of servers and networks; a subscription
//! has no gap and no duplicate across them. Both are gone with this process.
//!
//! Run it with `cargo run --example memory_stores`.

use std::error::Error;
use std::time::Duration;

use amps_client::{Client, StartAt, Subscribe};
use amps_testserver::{Link, TestServer};

async fn story() -> Result<(), Box<dyn Error>> {
    let backup = TestServer::builder().name("backup").start().await?;
    let primary = TestServer::builder().name("primary").peer(backup.uri(), Link::Sync).start().await?;
    let client = Client::builder("orders-1").servers([primary.uri(), backup.uri()]).connect().await?;
    // A bookmark subscription knows its place in the servers' log.
    let mut orders = client.subscribe(Subscribe::to("orders").bookmark(StartAt::Epoch)).await?;

    for id in 0..100 {
        client.publish("orders", format!(r#"{{"id":{id}}}"#)).await?;
    }
    // The server dies with whatever it had not acknowledged; the client has
    // that still, and publishing goes on meanwhile: it only fills the store.
    primary.stop().await;
    for id in 100..200 {
        client.publish("orders", format!(r#"{{"id":{id}}}"#)).await?;
    }
    // At the servers, every one of them.
    client.flush().await?;

    for id in 0..200 {
        let message = orders.next_message().await?.ok_or("the stream ended")?;
        assert_eq!(message.data(), format!(r#"{{"id":{id}}}"#).as_bytes(), "each once, in order");
        // Done with: the subscription resumes behind it.
        orders.discard(&message);
    }
    let closed = client.close(Duration::from_secs(10)).await;
    println!("200 orders, {} reconnects, {} unacknowledged", client.reconnects(), closed.unacknowledged);
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
