//! What a scenario can see.

use std::time::{Duration, Instant};

use amps_core::message::MessageKind;
use amps_ha::client_core::ClientCore;
use amps_ha::event::{ConnectionState, Event};
use amps_ha::publish_log::{Cursors, SharedLog};
use amps_testserver::{LoggedMessage, ReceivedCommand};

use super::Pair;
use super::client::Link;
use super::network::End;
use super::server::Server;

/// The options of a command, in order.
pub fn options(command: &ReceivedCommand) -> Vec<&str> {
    command.options.as_deref().unwrap_or_default().split(',').collect()
}

impl Pair {
    /// What a server got as `subscribe`, in order.
    pub fn subscribes(&mut self, server: usize) -> Vec<ReceivedCommand> {
        let commands = self.server(server).stats().commands.iter();
        commands.filter(|command| command.kind == MessageKind::Subscribe).cloned().collect()
    }

    /// Those of the newest connection with any.
    pub fn newest_subscribes(&mut self, server: usize) -> Vec<ReceivedCommand> {
        let mut all = self.subscribes(server);
        let last = all.last().map(|command| command.connection);
        all.retain(|command| Some(command.connection) == last);
        all
    }

    /// A client's core.
    pub fn core(&self, client: usize) -> &ClientCore {
        &self.running(client).core
    }

    /// A client's publish log.
    pub fn log_of(&self, client: usize) -> &SharedLog {
        &self.running(client).log
    }

    /// How far a client's publish log is.
    pub fn cursors(&self, client: usize) -> Cursors {
        self.running(client).log.peek(|log| log.cursors())
    }

    /// Whether a client is connected and fully recovered, as it says itself.
    pub fn is_live(&self, client: usize) -> bool {
        self.running(client).summary.borrow().live
    }

    /// Whether it says so of a connection to any server but this one.
    pub fn is_live_elsewhere(&self, client: usize, server: usize) -> bool {
        self.is_live(client) && self.server_at(client).is_some_and(|at| at != server)
    }

    /// The server a client tried last, or is at.
    pub fn server_at(&self, client: usize) -> Option<usize> {
        self.attempts(client).last().map(|(_, server)| *server)
    }

    /// Whether a client's connection works, as the network knows it: nothing is
    /// swallowed, neither end has closed it, and the server is alive.
    pub fn is_connected(&self, client: usize) -> bool {
        let Some(Link::Up { pipe, .. }) = self.clients[client].running.as_ref().map(|running| &running.link) else {
            return false;
        };
        let Some(pipe) = self.pipes.get(pipe) else { return false };
        let End::Server { server, life, .. } = pipe.ends[1] else { return false };
        let Server { engine, life: current, .. } = &self.servers[server];
        !pipe.broken
            && pipe.open == [true, true]
            && pipe.swallows == [false, false]
            && engine.is_some()
            && *current == life
    }

    /// Topic of the subscription that holds a client's reader back.
    pub fn stalled(&self, client: usize) -> Option<String> {
        self.running(client).stalled.borrow().as_deref().map(str::to_owned)
    }

    /// Whether everything a client published is settled.
    pub fn settled(&self, client: usize) -> bool {
        let cursors = self.cursors(client);
        cursors.settled == cursors.end
    }

    /// Everything a client told so far, with the time.
    pub fn events(&self, client: usize) -> &[(Instant, Event)] {
        &self.clients[client].events
    }

    /// The same as a reader of a log would like it, with the time from the
    /// beginning.
    pub fn told(&self, client: usize) -> impl Iterator<Item = (Duration, String)> + '_ {
        self.events(client).iter().map(|(at, event)| {
            let text = match event {
                Event::State(change) => {
                    let uri = change.uri.as_ref().map_or("", |uri| uri.host());
                    let cause = change.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
                    format!("{:?} {uri}{cause}", change.state)
                }
                Event::AttemptFailed { uri, attempt, cause } => format!("attempt {attempt} at {}: {cause}", uri.host()),
                other => format!("{other:?}"),
            };
            (*at - self.started, text)
        })
    }

    /// How many lives a client has begun.
    pub fn lives(&self, client: usize) -> u64 {
        self.clients[client].lives
    }

    /// The connection states a client told so far.
    pub fn states(&self, client: usize) -> Vec<ConnectionState> {
        let states = self.events(client).iter().filter_map(|(_, event)| match event {
            Event::State(change) => Some(change.state),
            _ => None,
        });
        states.collect()
    }

    /// A client's attempts to connect: when and where.
    pub fn attempts(&self, client: usize) -> &[(Instant, usize)] {
        &self.clients[client].attempts
    }

    /// Every body a client accepted, in order.
    pub fn published(&self, client: usize) -> &[String] {
        &self.clients[client].published
    }

    /// Every body a client promised, in order.
    pub fn promised(&self, client: usize) -> &[String] {
        &self.clients[client].promised
    }

    /// A server's log.
    pub fn log(&mut self, server: usize) -> Vec<LoggedMessage> {
        self.server(server).log()
    }

    /// The bodies one client's name has in a server's log.
    pub fn logged(&mut self, server: usize, client: usize) -> Vec<String> {
        let name = self.clients[client].setup.core.name.clone();
        let log = self.log(server);
        let own = log.iter().filter(|message| message.client_name == name);
        own.map(|message| String::from_utf8_lossy(&message.body).into_owned()).collect()
    }

    /// What a failure should say: the seed first.
    pub fn describe(&self) -> String {
        let clients = self.clients.iter().map(|client| {
            let cursors = client.running.as_ref().map(|running| running.log.peek(|log| log.cursors()));
            let live = client.running.as_ref().map(|running| running.summary.borrow().live);
            let last: Vec<_> = client.events.iter().rev().take(4).collect();
            format!("{}: live {live:?}, {cursors:?}, last events {last:?}", client.setup.core.name)
        });
        format!("seed {}, at {:?}\n{}", self.seed, self.elapsed(), clients.collect::<Vec<_>>().join("\n"))
    }
}
