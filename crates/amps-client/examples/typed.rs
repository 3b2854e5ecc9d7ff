//! Values instead of bodies: publish them, read them, and deal with a message
//! that is none.
//!
//! Run it with `cargo run --example typed`.

use std::error::Error;

use amps_client::{Client, StartAt, Subscribe, SubscriptionEvent, TypedEvent};
use amps_testserver::TestServer;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    symbol: String,
    qty: u32,
}

fn order(id: u64, symbol: &str, qty: u32) -> Order {
    Order { id, symbol: symbol.to_owned(), qty }
}

async fn story() -> Result<(), Box<dyn Error>> {
    let server = TestServer::builder().sow("positions", "/id").start().await?;
    let client = Client::builder("gateway-1").server(server.uri()).connect().await?;

    // One value, and many with one wait at the end.
    client.publish_json("orders", &order(1, "ACME", 100)).await?;
    let json = client.json();
    json.enqueue_wait("orders", &order(2, "INIT", 50)).await?;
    // Somebody else's message, which is no order.
    client.publish("orders", r#"{"id":3,"symbol":"ACME","qty":"many"}"#).await?;
    let last = json.enqueue_wait("orders", &order(4, "LAST", 10)).await?;
    last.persisted().await?;

    // A body that is no order is an item like others: the stream goes on, the
    // message is there as it came, and it is discarded as the others are.
    let subscribe = Subscribe::to("orders").bookmark(StartAt::Epoch);
    let mut orders = client.subscribe_json::<Order>(subscribe).await?;
    let (mut bought, mut poison) = (Vec::new(), Vec::new());
    while bought.len() + poison.len() < 4 {
        let message = orders.next_message().await?.ok_or("the stream ended")?;
        match &message.value {
            Ok(order) => bought.push(order.clone()),
            Err(error) => {
                println!("set aside: {error}");
                poison.push(String::from_utf8_lossy(message.data()).into_owned());
            }
        }
        orders.discard(&message);
    }
    assert_eq!(bought, [order(1, "ACME", 100), order(2, "INIT", 50), order(4, "LAST", 10)]);
    assert_eq!(poison, [r#"{"id":3,"symbol":"ACME","qty":"many"}"#]);

    // What is no message is seen, too: here where the records begin and end,
    // and a reconnect.
    client.publish_json("positions", &order(1, "ACME", 100)).await?;
    client.flush().await?;
    let mut positions = client.subscribe_json::<Order>(Subscribe::sow_and("positions").options("oof")).await?;
    let mut seen = Vec::new();
    while seen.len() < 7 {
        seen.push(match positions.next().await.ok_or("the stream ended")?? {
            TypedEvent::Message(position) => {
                let Order { symbol, qty, .. } = position.value?;
                format!("{qty} of {symbol}")
            }
            TypedEvent::OutOfFocus(gone) => format!("{} is gone", gone.value?.symbol),
            TypedEvent::Other(SubscriptionEvent::SnapshotBegin) => "begin".to_owned(),
            TypedEvent::Other(SubscriptionEvent::SnapshotEnd) => "end".to_owned(),
            TypedEvent::Other(SubscriptionEvent::Reconnected { .. }) => "reconnected".to_owned(),
            _ => continue,
        });
        if seen.len() == 3 {
            server.kick("gateway-1");
        }
    }
    assert_eq!(seen, ["begin", "100 of ACME", "end", "reconnected", "begin", "100 of ACME", "end"]);
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
