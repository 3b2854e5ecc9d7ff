//! Setting up a client from the command line, and telling of it on standard
//! error.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use amps_client::{
    Cause, Client, ClientBuilder, CommandError, ConnectError, ConnectionState, Event, Events, OpenError,
    SocketConnector, StateChange,
};

use crate::advice;
use crate::exit::Failure;
use crate::say::Tone;
use crate::servers::{Reached, Servers};

/// A client of these servers. Without a name of its own it gets one that no
/// other process on this machine has: two clients under one name would throw
/// each other out.
///
/// # Errors
/// When there is no server, or what is said of the connection cannot be.
pub(crate) fn builder(servers: &Servers, name: Option<&str>, kind: &str) -> Result<ClientBuilder, Failure> {
    Ok(reaching(&servers.reach()?, servers.heartbeat, name, kind))
}

/// The same, when the servers were put together before.
pub(crate) fn reaching(reached: &Reached, heartbeat: u64, name: Option<&str>, kind: &str) -> ClientBuilder {
    let name = name.map_or_else(|| format!("amps-{kind}-{}", std::process::id()), str::to_owned);
    let mut builder = Client::builder(name).servers(reached.uris.clone());
    if let Some(connector) = &reached.connector {
        builder = builder.connector(SocketConnector::clone(connector));
    }
    match Duration::from_secs(heartbeat) {
        Duration::ZERO => builder.no_heartbeat(),
        interval => builder.heartbeat(interval, 2 * interval),
    }
}

/// A client that cannot be started.
pub(crate) fn not_started(error: OpenError) -> Failure {
    let advice = advice::about_open(&error).map(str::to_owned);
    Failure::new("cannot start the client", error).hint(advice)
}

/// A client that has no connection in time.
pub(crate) fn not_connected(error: ConnectError) -> Failure {
    let advice = advice::about_connect(&error);
    Failure::new("cannot connect", error).hint(advice)
}

/// A command that failed, with the filter it had.
pub(crate) fn refused(what: impl fmt::Display, error: CommandError, filter: Option<&str>) -> Failure {
    let advice = advice::about_command(&error, filter);
    Failure::new(what, error).hint(advice)
}

/// Writes what happens to a client, one line an event, until the client ends.
/// Each piece of advice comes once, and what a loss says already is not said again
/// of the attempt that it ends.
pub(crate) async fn tell(mut events: Events, say: impl Fn(Tone, &str)) {
    let mut advised = HashSet::new();
    let mut lost = None;
    while let Some(event) = events.next().await {
        if let Event::AttemptFailed { uri, cause, .. } = &event
            && lost.take() == Some((uri.clone(), cause.to_string()))
        {
            continue;
        }
        if let Event::State(StateChange { state: ConnectionState::Disconnected, uri: Some(uri), cause, .. }) = &event {
            lost = cause.as_ref().map(|cause| (uri.clone(), cause.to_string()));
        }
        let Some((tone, text)) = text(&event) else { continue };
        say(tone, &text);
        if let Event::AttemptFailed { cause, .. } = &event
            && let Some(advice) = advice::about_attempt(cause)
            && advised.insert(advice)
        {
            say(Tone::Hint, &format!("  {}", advice.replace('\n', "\n  ")));
        }
    }
}

/// A line for an event. `connected URI` stands for a client that has fully
/// recovered on that server. That this program ends its client is nothing to tell.
pub(crate) fn text(event: &Event) -> Option<(Tone, String)> {
    Some(match event {
        Event::State(StateChange { cause: Some(Cause::ByUser), .. }) => return None,
        Event::State(change) => {
            let uri = change.uri.as_ref().map_or_else(String::new, |uri| format!(" {uri}"));
            let cause = change.cause.as_ref().map_or_else(String::new, |cause| format!(": {cause}"));
            match change.state {
                ConnectionState::Resubscribed => (Tone::Good, format!("connected{uri}")),
                ConnectionState::Disconnected => (Tone::Warning, format!("disconnected{uri}{cause}")),
                ConnectionState::Shutdown => (Tone::Warning, format!("closed{cause}")),
                _ => return None,
            }
        }
        Event::NameContested { .. } => (Tone::Bad, format!("{event} with --client-name")),
        Event::FailedWrite(_)
        | Event::SequenceAhead { .. }
        | Event::Dropped { .. }
        | Event::BookmarkStoreFailed(_)
        | Event::Panicked(_) => (Tone::Bad, event.to_string()),
        Event::AttemptFailed { .. } | Event::Missed(_) => (Tone::Warning, event.to_string()),
        _ => return None,
    })
}
