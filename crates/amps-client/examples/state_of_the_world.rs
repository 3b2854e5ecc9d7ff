//! The state of the world: what a topic's records are now, then what changes.
//!
//! Run it with `cargo run --example state_of_the_world`.

use std::collections::BTreeMap;
use std::error::Error;

use amps_client::codec::{Codec, Json};
use amps_client::{AckType, Client, Sow, SowDelete, Subscribe, SubscriptionEvent};
use amps_testserver::TestServer;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Price {
    symbol: String,
    bid: f64,
}

fn price(symbol: &str, bid: f64) -> Price {
    Price { symbol: symbol.to_owned(), bid }
}

async fn story() -> Result<(), Box<dyn Error>> {
    let server = TestServer::builder().sow("prices", "/symbol").start().await?;
    let client = Client::builder("prices-1").server(server.uri()).connect().await?;
    for value in [price("ACME", 10.0), price("INIT", 20.0), price("ACME", 11.0), price("LAST", 30.0)] {
        client.publish("prices", Json.encode(&value)?).await?;
    }
    client.flush().await?;

    // How many, without fetching them; and those that match.
    assert_eq!(client.count("prices").await?, 3);
    let mut found = client.sow(Sow::of("prices").filter("/bid > 15").batch_size(100).acks(AckType::Stats)).await?;
    let mut keys = BTreeMap::new();
    while let Some(item) = found.next().await {
        match item? {
            SubscriptionEvent::Message(record) => {
                let price: Price = Json.decode(record.data())?;
                keys.insert(price.symbol, record.sow_key().ok_or("a record has a key")?.into_owned());
            }
            SubscriptionEvent::Ack(stats) => {
                println!("{} of {} records match", stats.matches().unwrap_or(0), stats.topic_matches().unwrap_or(0));
            }
            _ => {}
        }
    }
    assert_eq!(keys.keys().collect::<Vec<_>>(), ["INIT", "LAST"]);

    // The records, and behind them every change, none missed in between. A
    // beginning says: start over, also after a failover.
    let mut prices = client.subscribe(Subscribe::sow_and("prices").options("oof")).await?;
    client.publish("prices", Json.encode(&price("ACME", 12.0))?).await?;
    client.sow_delete(SowDelete::by_keys("prices", [&keys["LAST"]])).await?;
    client.sow_delete(SowDelete::by_filter("prices", "/symbol = 'INIT'")).await?;
    let mut current = BTreeMap::new();
    let mut removed = 0;
    while removed < 2 {
        match prices.next().await.ok_or("the stream ended")?? {
            SubscriptionEvent::SnapshotBegin => current.clear(),
            SubscriptionEvent::Message(message) => {
                let price: Price = Json.decode(message.data())?;
                // An out-of-focus message says why: deleted.
                if let Some(reason) = message.reason() {
                    println!("{} is gone: {reason}", price.symbol);
                    current.remove(&price.symbol);
                    removed += 1;
                } else {
                    current.insert(price.symbol.clone(), price);
                }
            }
            _ => {}
        }
    }
    assert_eq!(current.into_values().collect::<Vec<_>>(), [price("ACME", 12.0)]);
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
