//! A live view: the records of a SOW topic as a map, what changes in it, and what
//! it says of a record that was deleted while it was away.
//!
//! Run it with `cargo run --example live_view`.

use std::error::Error;

use amps_client::{Client, Removal, SowDelete, SowView, ViewChange, ViewEvent};
use amps_testserver::{Link, TestServer};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Price {
    symbol: String,
    bid: f64,
}

fn price(symbol: &str, bid: f64) -> Price {
    Price { symbol: symbol.to_owned(), bid }
}

async fn story() -> Result<(), Box<dyn Error>> {
    // Two servers; what the first is told, the second has as well.
    let second = TestServer::builder().name("second").sow("prices", "/symbol").start().await?;
    let builder = TestServer::builder().name("first").sow("prices", "/symbol");
    let first = builder.peer(second.uri(), Link::Sync).start().await?;
    let feed = Client::builder("feed").server(first.uri()).connect().await?;
    for value in [price("ACME", 10.0), price("INIT", 20.0), price("LAST", 30.0)] {
        feed.publish_json("prices", &value).await?;
    }
    feed.flush().await?;

    // When it is open, all records are in it.
    let screen = Client::builder("screen").servers([first.uri(), second.uri()]).connect().await?;
    let prices = SowView::of("prices").keyed_by(|price: &Price| price.symbol.clone()).open(&screen).await?;
    assert_eq!(prices.get("ACME").map(|price| price.bid), Some(10.0));
    assert_eq!(prices.records().keys().collect::<Vec<_>>(), ["ACME", "INIT", "LAST"]);

    // Every change, with what was and what is.
    let mut changes = prices.changes();
    feed.publish_json("prices", &price("ACME", 11.0)).await?;
    loop {
        match changes.next().await.ok_or("the view ended")? {
            ViewEvent::Start { records, .. } => println!("{} prices", records.len()),
            ViewEvent::Change(ViewChange::Updated { key, old, new }) => {
                println!("{key}: {} instead of {}", new.bid, old.bid);
                break;
            }
            other => return Err(format!("{other:?}").into()),
        }
    }

    // The server dies. A new feed changes the records before the screen is back:
    // it is told what is different, and no more.
    feed.flush().await?;
    first.stop().await;
    let feed = Client::builder("feed-2").server(second.uri()).connect().await?;
    feed.sow_delete(SowDelete::by_filter("prices", "/symbol = 'INIT'")).await?;
    feed.publish_json("prices", &price("NEXT", 40.0)).await?;
    let (mut gone, mut new) = (None, None);
    while gone.is_none() || new.is_none() {
        match changes.next().await.ok_or("the view ended")? {
            ViewEvent::State(state) => println!("{state:?}"),
            ViewEvent::Change(ViewChange::Inserted { key, .. }) => new = Some(key),
            ViewEvent::Change(ViewChange::Removed { key, why, .. }) => {
                assert!(matches!(why, Removal::Absent | Removal::Deleted), "{why:?}");
                gone = Some(key);
            }
            other => return Err(format!("{other:?}").into()),
        }
    }
    assert_eq!((gone.as_deref(), new.as_deref()), (Some("INIT"), Some("NEXT")));
    prices.current().await?;
    assert_eq!(prices.records().keys().collect::<Vec<_>>(), ["ACME", "LAST", "NEXT"]);
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
