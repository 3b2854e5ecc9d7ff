//! Commands by hand: every field, options, acknowledgements.
//!
//! Run it with `cargo run --example commands`.

use std::error::Error;

use amps_client::{
    AckType, Client, Command, CommandKind, CommandOptions, Field, StartAt, Subscribe, SubscriptionEvent,
};
use amps_testserver::TestServer;

async fn story() -> Result<(), Box<dyn Error>> {
    let server = TestServer::builder().sow("orders", "/id").start().await?;
    let client = Client::builder("clerk").server(server.uri()).connect().await?;
    for id in 0..3 {
        client.publish("orders", format!(r#"{{"id":{id},"qty":{}}}"#, 100 * id)).await?;
    }
    client.flush().await?;

    // What a named method does with less: a query and the updates behind it.
    let command = Command::new(CommandKind::SowAndSubscribe).topic("orders").filter("/qty >= 100").options("oof");
    let mut orders = client.execute(command).await?.stream().ok_or("it answers with a stream")?;
    let mut ids = Vec::new();
    while ids.len() < 2 {
        ids.extend(orders.next_message().await?.map(|order| order.data()[6]));
    }
    ids.sort_unstable();
    assert_eq!(ids, *b"12");

    // Options are typed; what has no method of its own is text.
    let options = CommandOptions::new().select(["-/", "+/id"]).timestamp();
    assert_eq!(options, CommandOptions::from("select=[-/,+/id],timestamp"));
    let mut ids = client.subscribe(Subscribe::to("orders").options(options)).await?;
    client.publish("orders", r#"{"id":7,"qty":1}"#).await?;
    let order = ids.next_message().await?.ok_or("the stream ended")?;
    assert_eq!((order.data(), order.timestamp().is_some()), (&br#"{"id":7}"#[..], true));

    // An acknowledgement that is asked for is an item of the stream, at its
    // place: behind the last message of the replay.
    let replay = Subscribe::to("orders").bookmark(StartAt::Epoch).acks(AckType::Completed);
    let mut replay = client.subscribe(replay).await?;
    let mut replayed = 0;
    loop {
        match replay.next().await.ok_or("the stream ended")?? {
            SubscriptionEvent::Message(_) => replayed += 1,
            SubscriptionEvent::Ack(ack) if ack.ack_type() == Some(AckType::Completed) => break,
            _ => {}
        }
    }
    assert_eq!(replayed, 4);

    // What no server would take is said before it is sent; of a command also
    // without a client.
    let error = Command::new(CommandKind::Publish).topic("orders").filter("/qty > 1").check().unwrap_err();
    assert_eq!(error.field, Some(Field::Filter));
    let wrong = Subscribe::to("orders").options("select=[/a");
    println!("{}", client.subscribe(wrong).await.err().ok_or("it cannot be right")?);
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
