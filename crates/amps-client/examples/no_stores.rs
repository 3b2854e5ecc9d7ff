//! Protection level one of three: no stores. The client finds another server
//! and subscribes there again by itself; what is on its way when a connection
//! dies is lost, and said to be. For prices, where only the newest counts.
//!
//! Run it with `cargo run --example no_stores`.

use std::error::Error;
use std::time::Duration;

use amps_client::{Client, PublishError, PublishStore, Subscribe, SubscriptionEvent};
use amps_testserver::TestServer;

async fn story() -> Result<(), Box<dyn Error>> {
    // Yours are real AMPS servers, that replicate to each other.
    let (first, second) = (TestServer::builder().start().await?, TestServer::builder().start().await?);
    let client = Client::builder("prices-1")
        .servers([first.uri(), second.uri()])
        .publish_store(PublishStore::None)
        .connect()
        .await?;
    let mut prices = client.subscribe(Subscribe::to("prices")).await?;
    client.publish("prices", r#"{"id":1,"price":100}"#).await?;
    println!("{:?}", prices.next_message().await?.map(|message| message.data().len()));

    // A server dies. There is nothing to call: the stream stays open and says
    // what happened, at the moment when the new server takes part.
    first.stop().await;
    match prices.next().await {
        Some(Ok(SubscriptionEvent::Reconnected { uri })) => println!("now at {uri}"),
        other => return Err(format!("{other:?} instead of a word about the failover").into()),
    }
    client.connected().await?;

    // Without a store a message is published now or not at all, and with no
    // server in sight the answer is an error, not a wait.
    client.publish("prices", r#"{"id":1,"price":101}"#).await?;
    assert!(prices.next_message().await?.is_some());
    second.stop().await;
    let refused = loop {
        match client.publish("prices", r#"{"id":1,"price":102}"#).await {
            // The client has not noticed yet: this one is lost.
            Ok(()) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, PublishError::Disconnected { .. }), "{refused}");
    client.close(Duration::from_secs(1)).await;
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
