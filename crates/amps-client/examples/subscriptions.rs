//! Subscriptions: filters, patterns, a filter that changes while messages flow,
//! handlers, pauses, and the end.
//!
//! Run it with `cargo run --example subscriptions`.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use amps_client::{Client, CommandError, Message, Reason, Replacement, StartAt, Subscribe};
use amps_testserver::TestServer;

fn order(id: u64) -> String {
    format!(r#"{{"id":{id},"qty":{}}}"#, id * 10)
}

async fn story() -> Result<(), Box<dyn Error>> {
    let server = TestServer::builder().start().await?;
    let client = Client::builder("desk-1").server(server.uri()).connect().await?;

    // A filter is evaluated by the server. One it cannot read is an error with a
    // type, and leaves the connection alone.
    let refused = client.subscribe(Subscribe::to("orders").filter("/qty >")).await.unwrap_err();
    assert!(matches!(refused, CommandError::Refused { reason: Reason::BadFilter, .. }));
    let mut large = client.subscribe(Subscribe::to("orders").filter("/qty >= 50")).await?;

    // A topic that is a pattern.
    let mut both = client.subscribe("^(orders|trades)$").await?;

    for id in 0..10 {
        client.publish("orders", order(id)).await?;
    }
    client.publish("trades", r#"{"id":3}"#).await?;
    for id in 5..10 {
        let message = large.next_message().await?.ok_or("the stream ended")?;
        assert_eq!(message.data(), order(id).as_bytes());
    }
    for _ in 0..10 {
        both.next_message().await?;
    }
    let trade = both.next_message().await?.ok_or("the stream ended")?;
    assert_eq!(trade.topic().as_deref(), Some("trades"));
    // Ends it, here and on the server.
    drop(both);

    // Another filter for the same stream, without a gap. A handle changes what
    // somebody else reads.
    let handle = large.handle();
    handle.replace(Replacement::new().filter("/qty < 50")).await?;
    client.publish("orders", order(1)).await?;
    assert_eq!(large.next_message().await?.ok_or("the stream ended")?.data(), order(1).as_bytes());

    // A bookmark subscription can be paused: what is published meanwhile stays in
    // the server's log.
    let mut audit = client.subscribe(Subscribe::to("orders").bookmark(StartAt::Now).id("audit")).await?;
    audit.handle().pause().await?;
    client.publish("orders", order(42)).await?;
    audit.handle().resume().await?;
    let message = audit.next_message().await?.ok_or("the stream ended")?;
    assert_eq!(message.data(), order(42).as_bytes());
    audit.discard(&message);

    // A handler runs in the task that awaits it, once at a time. What it answers
    // with an error is told as an event, is not discarded, and the next one
    // follows.
    let (seen, counted) = (Arc::new(AtomicU64::new(0)), client.clone());
    let handling = {
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            let handler = |message: &Message| {
                seen.fetch_add(message.data().len() as u64, Ordering::Relaxed);
                Ok::<_, std::io::Error>(())
            };
            audit.for_each(handler).await
        })
    };
    counted.publish("orders", order(7)).await?;
    while seen.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    handling.abort();
    println!("{} bytes handled", seen.load(Ordering::Relaxed));
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
