//! Bodies: values of your own types, several parts, FIX and NVFIX.
//!
//! Run it with `cargo run --example payloads`.

use std::collections::BTreeMap;
use std::error::Error;

use amps_client::codec::{Codec, Json};
use amps_client::payload::{Composite, CompositeBuilder, FixBuilder, NvfixBuilder, SEPARATOR, fix, nvfix};
use amps_client::{Client, Publish};
use amps_testserver::TestServer;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    symbol: String,
}

async fn story() -> Result<(), Box<dyn Error>> {
    let server = TestServer::builder().start().await?;
    let client = Client::builder("gateway-1").server(server.uri()).connect().await?;
    let mut messages = client.subscribe("all").await?;

    // JSON by serde. A body of another shape is an error, and the stream goes on.
    let order = Order { id: 1, symbol: "ACME".to_owned() };
    client.publish("all", Json.encode(&order)?).await?;
    client.publish("all", "no order").await?;
    let message = messages.next_message().await?.ok_or("the stream ended")?;
    assert_eq!(Json.decode::<Order>(message.data())?, order);
    let poison = messages.next_message().await?.ok_or("the stream ended")?;
    println!("{}", Json.decode::<Order>(poison.data()).unwrap_err());

    // Several parts: here a header that filters can see, and bytes.
    let body = CompositeBuilder::new().part(r#"{"id":2}"#)?.part([0, 1, 2])?.finish();
    // What the publisher gives along comes out as it went in.
    client.write(Publish::new("all", &body).correlation_id("Y29ycmVsYXRpb24=")).await?;
    let message = messages.next_message().await?.ok_or("the stream ended")?;
    let parts = Composite::parse(message.data())?;
    assert_eq!((parts.len(), parts.get(1)), (2, Some(&[0, 1, 2][..])));
    assert_eq!(message.correlation_id().as_deref(), Some("Y29ycmVsYXRpb24="));

    // FIX has numbers as tags, NVFIX names.
    client.publish("all", FixBuilder::new().pair(35, "D")?.pair(55, "ACME")?.finish()).await?;
    client.publish("all", NvfixBuilder::new().pair("symbol", "ACME")?.pair("qty", 5)?.finish()).await?;
    let message = messages.next_message().await?.ok_or("the stream ended")?;
    let fields = fix(message.data(), SEPARATOR).collect::<Result<BTreeMap<_, _>, _>>()?;
    assert_eq!(fields[&55], b"ACME");
    let message = messages.next_message().await?.ok_or("the stream ended")?;
    let fields = nvfix(message.data(), SEPARATOR).collect::<Result<BTreeMap<_, _>, _>>()?;
    assert_eq!(fields[&b"qty"[..]], b"5");
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
