//! Setting up a client from the command line, and telling of it on standard
//! error.

use std::time::Duration;

use amps_client::{Client, ClientBuilder, ConnectionState, Event, Events};

use crate::args::Servers;

/// A client of these servers. Without a name of its own it gets one that no
/// other process on this machine has: two clients under one name would throw
/// each other out.
pub(crate) fn builder(servers: &Servers, name: Option<&str>, kind: &str) -> ClientBuilder {
    let name = name.map_or_else(|| format!("amps-{kind}-{}", std::process::id()), str::to_owned);
    let builder = Client::builder(name).servers(servers.uris.clone());
    match Duration::from_secs(servers.heartbeat) {
        Duration::ZERO => builder.no_heartbeat(),
        interval => builder.heartbeat(interval, 2 * interval),
    }
}

/// Writes what happens to a client, one line an event, until the client ends.
pub(crate) async fn tell(mut events: Events, say: impl Fn(&str)) {
    while let Some(event) = events.next().await {
        if let Some(text) = text(&event) {
            say(&text);
        }
    }
}

/// A line for an event. `connected URI` stands for a client that has fully
/// recovered on that server.
pub(crate) fn text(event: &Event) -> Option<String> {
    Some(match event {
        Event::State(change) => {
            let uri = change.uri.as_ref().map_or_else(String::new, |uri| format!(" {uri}"));
            let cause = change.cause.as_ref().map_or_else(String::new, |cause| format!(": {cause}"));
            match change.state {
                ConnectionState::Resubscribed => format!("connected{uri}"),
                ConnectionState::Disconnected => format!("disconnected{uri}{cause}"),
                ConnectionState::Shutdown => format!("closed{cause}"),
                _ => return None,
            }
        }
        Event::AttemptFailed { uri, attempt, cause } => format!("attempt {attempt} at {uri} failed: {cause}"),
        Event::FailedWrite(failed) => format!("refused message {}: {}", failed.sequence, failed.reason),
        Event::SequenceAhead { uri, sequence } => format!(
            "{uri} knows this client name with sequence {sequence}, which it never used: \
             is there another client of this name, or is the store an old copy?"
        ),
        Event::Dropped { messages } => format!("lost {messages} messages with the connection: there is no store"),
        Event::Missed(events) => format!("{events} events not shown"),
        _ => return None,
    })
}
