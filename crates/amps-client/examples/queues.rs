//! Message queues: three workers share what is to be done, one of them dies in
//! the middle of it, and everything is done all the same.
//!
//! Run it with `cargo run --example queues`.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amps_client::{AckOption, Client, Subscribe};
use amps_testserver::{QueueConfig, TestServer};
use tokio::sync::oneshot;

const ORDERS: usize = 90;

async fn story() -> Result<(), Box<dyn Error>> {
    // What AMPS has in its configuration file: a queue whose leases last half a
    // minute, of which a subscription may have ten.
    let queue = QueueConfig::new("orders").lease(Duration::from_secs(30)).max_per_subscription_backlog(10);
    let server = TestServer::builder().queue(queue).start().await?;

    // Publishing to a queue is publishing.
    let gateway = Client::builder("gateway").server(server.uri()).connect().await?;
    for id in 0..ORDERS {
        gateway.publish("orders", format!(r#"{{"id":{id}}}"#)).await?;
    }

    // By hand: each message is leased to one subscription, until it is
    // acknowledged, given back, or the lease ends.
    let clerk = Client::builder("clerk").server(server.uri()).connect().await?;
    let mut orders = clerk.subscribe(Subscribe::to("orders").max_backlog(4).ack_batch(2)).await?;
    assert_eq!(orders.backlog(), Some(4));
    let first = orders.next_message().await?.ok_or("the stream ended")?;
    assert!(first.lease_period().is_some());
    orders.ack_with(&first, AckOption::Cancel);
    let second = orders.next_message().await?.ok_or("the stream ended")?;
    orders.ack(&second);
    // The server has it: it will not come again.
    orders.flush_acks().await?;
    // Whoever knows its bookmark can say what is to become of a message, and is told
    // how many there were.
    let third = orders.next_message().await?.and_then(|message| message.bookmark()).ok_or("it has a bookmark")?;
    let found = clerk.ack_with("orders", [&third], AckOption::Cancel).await?.ok_or("it is counted")?;
    assert_eq!(found.records, 1);
    drop(orders);

    // By workers: handlers that run beside each other. `Ok` acknowledges, an
    // error or a panic gives the message back, and another worker gets it.
    let done = Arc::new(Mutex::new(BTreeMap::<Vec<u8>, usize>::new()));
    let mut workers = Vec::new();
    let mut stops = Vec::new();
    for number in 0..3 {
        let client = Client::builder(format!("worker-{number}")).server(server.uri()).connect().await?;
        let mut orders = client.subscribe(Subscribe::to("orders").max_backlog(10).ack_batch(3)).await?;
        let (stop, stopped) = oneshot::channel::<()>();
        let done = Arc::clone(&done);
        stops.push(stop);
        workers.push(tokio::spawn(async move {
            let stop = async { stopped.await.unwrap_or_default() };
            let processed = orders.process_until(stop, 5, |order| {
                let done = Arc::clone(&done);
                async move {
                    tokio::task::yield_now().await;
                    *done.lock().unwrap().entry(order.data().to_vec()).or_default() += 1;
                    Ok::<_, std::io::Error>(())
                }
            });
            let processed = processed.await;
            client.close(Duration::from_secs(5)).await;
            processed
        }));
    }
    // One dies. What it had leased goes to the others at once.
    workers.swap_remove(0).abort();

    server.wait_for_queue("orders", |queue| queue.available == 0 && queue.leased == 0).await;
    drop(stops);
    for worker in workers {
        let processed = worker.await??;
        println!("{} done, {} given back", processed.done, processed.failed);
    }
    // All but the one that the clerk did. What was in the hands of the dead one
    // may have been done twice: a handler has to bear that.
    assert_eq!(done.lock().unwrap().len(), ORDERS - 1);
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
