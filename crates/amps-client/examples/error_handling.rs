//! What can go wrong, and who is told: errors by type, time limits, states,
//! refused writes, messages for nobody.
//!
//! Run it with `cargo run --example error_handling`.

use std::error::Error;
use std::time::Duration;

use amps_client::{Client, CommandError, ConnectionState, ErrorKind, Event, Reason};
use amps_testserver::TestServer;

async fn story() -> Result<(), Box<dyn Error>> {
    let server = TestServer::builder().start().await?;
    let builder = Client::builder("risk-1").server(server.uri());
    let client = builder.heartbeat(Duration::from_secs(1), Duration::from_secs(2)).connect().await?;
    let mut events = client.events();

    // Each call has an error of its own, to be matched; `Error` gathers them.
    let refused = client.sow("no such topic").await.unwrap_err();
    let CommandError::Refused { reason, .. } = &refused else { panic!("{refused}") };
    assert_eq!(*reason, Reason::InvalidTopic);
    let any = amps_client::Error::from(refused);
    println!("{any}: {:?}, worth another try: {}", any.kind(), any.is_retryable());
    assert_ne!(any.kind(), ErrorKind::Connection);

    // A write that the server refuses is told with its message. Nothing is
    // thrown away without a word.
    server.faults(|faults| faults.reject_topic("closed", "not entitled"));
    client.publish("closed", "a message").await?;
    loop {
        if let Event::FailedWrite(failed) = events.next().await.ok_or("no more events")? {
            let message = failed.message.as_ref().ok_or("its message is known")?;
            println!("{} refused: {}", String::from_utf8_lossy(message.data()), failed.reason);
            break;
        }
    }

    // A connection that dies is followed by the next one. Who wants to know
    // watches the state, or reads the events.
    let mut state = client.state();
    server.kick("risk-1");
    while state.changed().await.ok_or("the client ended")?.state != ConnectionState::Disconnected {}
    client.connected().await?;
    println!("back after {} reconnect", client.reconnects());

    // A server that has fallen silent: publishing goes on into the store,
    // commands that need an answer have a time limit.
    server.faults(|faults| faults.stop_reading(amps_testserver::Target::All, true));
    let patient = Client::builder("risk-2").server(server.uri()).command_timeout(Duration::from_millis(100));
    let patient = patient.start()?;
    patient.publish("open", "later").await?;
    assert!(matches!(patient.subscribe("open").await, Err(CommandError::TimedOut { .. })));
    assert_eq!(patient.unacknowledged(), 1);
    server.faults(|faults| faults.clear());
    patient.flush().await?;
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
