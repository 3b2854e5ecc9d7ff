//! Advanced topics: what passes over a connection, a look at it afterwards, and
//! versions of servers.
//!
//! Run it with `cargo run --example advanced`.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use amps_client::{Client, Direction, LastHeaders, SocketConnector, Tap, Version};
use amps_testserver::TestServer;

async fn story() -> Result<(), Box<dyn Error>> {
    let server = TestServer::builder().start().await?;

    // A transport filter: every byte, both ways, before encryption and
    // compression, length prefixes included, wherever the reads were cut.
    let bytes = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let [sent, received] = bytes.clone();
    let tap = Tap::new(move |direction, bytes| {
        let counter = if direction == Direction::Out { &sent } else { &received };
        counter.fetch_add(bytes.len(), Ordering::Relaxed);
    });
    let metered = Client::builder("metered").server(server.uri()).connector(SocketConnector::new().tap(tap));
    let metered = metered.connect().await?;
    metered.publish("orders", "x".repeat(1_000)).await?;
    metered.flush().await?;
    let [sent, received] = bytes.map(|counter| counter.load(Ordering::Relaxed));
    println!("{sent} bytes sent, {received} received");
    assert!(sent > 1_000 && received > 0);

    // The last headers, passwords masked: what to write down when something
    // went wrong. It costs little, and may always be on.
    let headers = LastHeaders::new(1_000);
    let uri = server.uri().replace("tcp://", "tcp://trader:secret@");
    let connector = SocketConnector::new().tap(headers.tap());
    let client = Client::builder("careful").server(uri).connector(connector).connect().await?;
    client.publish("orders", "1").await?;
    client.flush().await?;
    let seen: Vec<_> = headers.list().iter().map(ToString::to_string).collect();
    seen.iter().for_each(|header| println!("{header}"));
    assert!(seen.iter().any(|header| header.contains("logon")) && seen.iter().all(|header| !header.contains("secret")));

    // What a server can do depends on its version.
    let version: Version = client.server_version().ok_or("the logon says it")?.parse()?;
    assert!(version >= Version::new([5, 3, 0, 0]));
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
