//! A program without an async runtime: the same names, the same promises, plain
//! threads, while a server dies.
//!
//! Run it with `cargo run --example blocking`.

use std::error::Error;
use std::time::Duration;

use amps_client::blocking::Client;
use amps_client::{BookmarkStore, PublishStore, StartAt, Subscribe};
use amps_testserver::{Link, TestServer};

const ORDERS: usize = 100;

fn story() -> Result<(), Box<dyn Error>> {
    // Only the servers of this example need a runtime.
    let servers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stand_in = servers.block_on(TestServer::builder().name("stand-in").start())?;
    let primary = TestServer::builder().name("primary").peer(stand_in.uri(), Link::Sync);
    let primary = servers.block_on(primary.start())?;
    let uris = [primary.uri(), stand_in.uri()];

    let dir = tempfile::tempdir()?;
    let gateway =
        Client::builder("gateway").servers(&uris).publish_store(PublishStore::sled(dir.path().join("publish")));
    let gateway = Client::connect(gateway)?;
    let desk = Client::builder("desk").servers(&uris).bookmark_store(BookmarkStore::sled(dir.path().join("bookmarks")));
    let desk = Client::connect(desk)?;

    // A stream is an iterator; it goes to a thread of its own.
    let mut orders = desk.subscribe(Subscribe::to("orders").bookmark(StartAt::MostRecent))?;
    let reader = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for order in orders.messages().take(ORDERS) {
            let order = order?;
            seen.push(String::from_utf8_lossy(order.data()).into_owned());
        }
        // What was not discarded comes again in a new process.
        Ok::<_, amps_client::Error>(seen)
    });

    for id in 0..ORDERS / 2 {
        gateway.publish("orders", id.to_string())?;
    }
    servers.block_on(primary.stop());
    // No call is needed, and none waits: it is on the disk when this returns.
    for id in ORDERS / 2..ORDERS {
        gateway.publish("orders", id.to_string())?;
    }
    gateway.flush()?;
    let seen = reader.join().map_err(|_| "the reader panicked")??;
    assert_eq!(seen, (0..ORDERS).map(|id| id.to_string()).collect::<Vec<_>>());
    println!("{ORDERS} orders through the death of a server, each once and in order");

    // Whoever waits can say for how long.
    let mut quiet = desk.subscribe("quiet")?;
    let nothing = quiet.next_message_within(Duration::from_millis(50));
    assert!(matches!(nothing, Err(amps_client::Error::NothingYet { .. })));
    println!("{}", desk.health());

    let closed = gateway.close(Duration::from_secs(5))?;
    assert_eq!((closed.unacknowledged, closed.stores_closed), (0, true));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    story()
}

#[test]
fn the_story_is_true() {
    story().unwrap();
}
