//! High availability, step by step: two servers, a publisher and a subscriber,
//! what each of them sees while one server dies, and how new processes go on.
//!
//! Run it with `cargo run --example failover`.

use std::error::Error;
use std::time::Duration;

use amps_client::reconnect::ExponentialReconnect;
use amps_client::server_chooser::PrimaryChooser;
use amps_client::{BookmarkStore, Client, ConnectionState, PublishStore, StartAt, Subscribe, Subscription, Uri};
use amps_testserver::{Link, TestServer};

async fn story() -> Result<(), Box<dyn Error>> {
    // Servers of one client replicate to each other, and a publisher's
    // acknowledgement waits for both.
    let stand_in = TestServer::builder().name("stand-in").start().await?;
    let primary = TestServer::builder().name("primary").peer(stand_in.uri(), Link::Sync).start().await?;
    let uris: [Uri; 2] = [primary.uri().parse()?, stand_in.uri().parse()?];

    // The name stays the same for ever: it is half of each message's identity.
    // The chooser says which server is next, the strategy when.
    let dir = tempfile::tempdir()?;
    let gateway = Client::builder("gateway")
        .server_chooser(PrimaryChooser::new(uris[0].clone(), [uris[1].clone()]))
        .reconnect(ExponentialReconnect::new(1).initial(Duration::from_millis(20)))
        .heartbeat(Duration::from_secs(1), Duration::from_secs(3))
        .publish_store(PublishStore::sled(dir.path().join("publish")))
        .connect()
        .await?;
    let desk = Client::builder("desk")
        .servers([primary.uri(), stand_in.uri()])
        .bookmark_store(BookmarkStore::sled(dir.path().join("bookmarks")))
        .connect()
        .await?;
    // What the settings cannot keep is said at the start, not at the failure.
    assert!(gateway.warnings().is_empty(), "{:?}", gateway.warnings());
    let mut orders = desk.subscribe(Subscribe::to("orders").bookmark(StartAt::MostRecent)).await?;

    for id in 0..50 {
        gateway.publish("orders", format!("{id}")).await?;
    }
    let mut state = gateway.state();
    primary.stop().await;
    // No call is needed: what comes now goes into the store, and from there, in
    // order behind what the dead server had not acknowledged, to the next one.
    for id in 50..100 {
        gateway.publish("orders", format!("{id}")).await?;
    }
    while state.changed().await.ok_or("the client ended")?.state != ConnectionState::Resubscribed {}
    gateway.flush().await?;
    receive(&mut orders, 0..100).await?;
    println!("one server died: {} and {} reconnects, nothing lost", gateway.reconnects(), desk.reconnects());

    // A new process with the same stores goes on where this one was.
    drop(orders);
    gateway.close(Duration::from_secs(5)).await;
    desk.close(Duration::from_secs(5)).await;
    let desk = Client::builder("desk")
        .server(stand_in.uri())
        .bookmark_store(BookmarkStore::sled(dir.path().join("bookmarks")))
        .connect()
        .await?;
    let mut orders = desk.subscribe(Subscribe::to("orders").bookmark(StartAt::MostRecent)).await?;
    let gateway = Client::builder("gateway")
        .server_chooser(PrimaryChooser::new(uris[1].clone(), [uris[0].clone()]))
        .publish_store(PublishStore::sled(dir.path().join("publish")))
        .connect()
        .await?;
    gateway.publish("orders", "100").await?;
    receive(&mut orders, 100..101).await?;
    Ok(())
}

/// Each once and in order; discarded, it does not come again.
async fn receive(orders: &mut Subscription, ids: std::ops::Range<u32>) -> Result<(), Box<dyn Error>> {
    for id in ids {
        let order = orders.next_message().await?.ok_or("the stream ended")?;
        assert_eq!(order.data(), id.to_string().as_bytes());
        orders.discard(&order);
    }
    orders.discarded().await?;
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
