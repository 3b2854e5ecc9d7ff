//! Testing your own failover: a small program that takes orders and books them, and
//! tests of what becomes of both halves while servers die, freeze and refuse.
//!
//! Run it with `cargo run --example testing_failover`, its tests with
//! `cargo test --example testing_failover`.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use amps_client::reconnect::FixedReconnect;
use amps_client::{BookmarkStore, Client, ClientBuilder, PublishStore, StartAt, Subscribe, Subscription};
use amps_testserver::TestServer;

/// The program under test, one half: takes orders, and is done with each only
/// when it is on the disk.
struct Gateway {
    client: Client,
}

impl Gateway {
    async fn open(servers: &[String], dir: &Path) -> Result<Self, Box<dyn Error>> {
        let builder = builder("gateway", servers).publish_store(PublishStore::sled(dir.join("gateway")));
        Ok(Self { client: builder.connect().await? })
    }

    async fn take(&self, order: u32) -> Result<(), Box<dyn Error>> {
        Ok(self.client.publish("orders", order.to_string()).await?)
    }
}

/// The other half: books each order once.
struct Desk {
    orders: Subscription,
    booked: Vec<u32>,
}

impl Desk {
    async fn open(servers: &[String], dir: &Path) -> Result<Self, Box<dyn Error>> {
        let builder = builder("desk", servers).bookmark_store(BookmarkStore::sled(dir.join("desk")));
        let client = builder.connect().await?;
        let orders = client.subscribe(Subscribe::to("orders").bookmark(StartAt::MostRecent).id("desk")).await?;
        Ok(Self { orders, booked: Vec::new() })
    }

    async fn book(&mut self, until: usize) -> Result<(), Box<dyn Error>> {
        while self.booked.len() < until {
            let order = self.orders.next_message().await?.ok_or("the client was closed")?;
            self.booked.push(std::str::from_utf8(order.data())?.parse()?);
            self.orders.discard(&order);
        }
        Ok(())
    }
}

/// What both have in common. A test need not wait as long as production does.
fn builder(name: &str, servers: &[String]) -> ClientBuilder {
    Client::builder(name)
        .servers(servers)
        .heartbeat(Duration::from_secs(1), Duration::from_secs(2))
        .reconnect(FixedReconnect::new(Duration::from_millis(20), 1).loss_window(Duration::ZERO))
}

/// Two servers that replicate to each other; one dies in the middle of it.
async fn a_server_dies() -> Result<(), Box<dyn Error>> {
    let [a, b] = TestServer::group(["A", "B"], |server| server).await?;
    let servers = [a.uri(), b.uri()];
    let dir = tempfile::tempdir()?;
    let gateway = Gateway::open(&servers, dir.path()).await?;
    let mut desk = Desk::open(&servers, dir.path()).await?;

    for order in 0..100 {
        gateway.take(order).await?;
    }
    // The desk is in the middle of them when the server dies; nothing was flushed.
    desk.book(50).await?;
    let again = a.again();
    a.stop().await;
    for order in 100..200 {
        gateway.take(order).await?;
    }
    desk.book(200).await?;

    // Each order is in the log once and in order, and was booked once.
    let expected: Vec<u32> = (0..200).collect();
    let logged = b.wait_for_logged("orders", 200).await;
    assert_eq!(logged, expected.iter().map(u32::to_string).collect::<Vec<_>>());
    assert_eq!(desk.booked, expected);

    // The dead one comes back without its memory, and gets from the other what it
    // lacks.
    let a = again.start().await?;
    assert_eq!(a.wait_for_logged("orders", 200).await, logged);
    // None of the clients ever broke the protocol.
    assert!(b.stats().violations.is_empty(), "{:?}", b.stats().violations);
    println!("a server died: 200 orders taken, logged once, booked once");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    a_server_dies().await
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use amps_client::{Event, Reason};
    use amps_testserver::Target;

    use super::*;

    /// A test that hangs shall say so.
    async fn soon<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(60), what).await.expect("in time")
    }

    #[tokio::test]
    async fn each_order_is_logged_and_booked_once_though_a_server_dies() {
        soon(a_server_dies()).await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_freezes_is_noticed_and_left() {
        let [a, b] = TestServer::group(["A", "B"], |server| server).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let gateway = Gateway::open(&[a.uri(), b.uri()], dir.path()).await.unwrap();
        gateway.take(1).await.unwrap();
        soon(a.wait_for_logged("orders", 1)).await;
        // Its connections stay open, and nothing moves on them: only the heartbeat tells.
        a.faults(|faults| faults.half_open(Target::All, true));
        gateway.take(2).await.unwrap();
        assert_eq!(soon(b.wait_for_logged("orders", 2)).await, ["1", "2"]);
        assert_eq!(gateway.client.reconnects(), 1);
    }

    #[tokio::test]
    async fn an_order_is_delivered_by_the_next_process_when_no_server_was_there() {
        let [a, b] = TestServer::group(["A", "B"], |server| server).await.unwrap();
        let servers = [a.uri(), b.uri()];
        let dir = tempfile::tempdir().unwrap();
        let gateway = Gateway::open(&servers, dir.path()).await.unwrap();
        let (a_again, b_again) = (a.again(), b.again());
        a.stop().await;
        b.stop().await;
        gateway.take(1).await.unwrap();
        assert_eq!(gateway.client.close(Duration::from_secs(1)).await.unacknowledged, 1);

        let (a, _b) = (a_again.start().await.unwrap(), b_again.start().await.unwrap());
        let _gateway = Gateway::open(&servers, dir.path()).await.unwrap();
        assert_eq!(soon(a.wait_for_logged("orders", 1)).await, ["1"]);
    }

    #[tokio::test]
    async fn a_refused_order_is_told_and_does_not_hold_up_the_others() {
        let server = TestServer::builder().start().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let gateway = Gateway::open(&[server.uri()], dir.path()).await.unwrap();
        let mut events = gateway.client.events();
        server.faults(|faults| {
            faults.reject_writes(|_, _, body| (body == b"13").then(|| "not entitled".to_owned()));
        });
        for order in 12..15 {
            gateway.take(order).await.unwrap();
        }
        let refused = soon(async {
            loop {
                if let Some(Event::FailedWrite(refused)) = events.next().await {
                    return refused;
                }
            }
        });
        let refused = refused.await;
        assert_eq!(refused.reason, Reason::NotEntitled);
        assert_eq!(soon(server.wait_for_logged("orders", 2)).await, ["12", "14"]);
    }
}
