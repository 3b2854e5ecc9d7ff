//! What a test can do to a running instance.

use std::time::Instant;

use super::connection::{Close, Connection};
use super::{ConnId, Engine};
use crate::faults::{Access, Faults, Reader, Right};
use crate::filter::Filter;
use crate::topic::TopicPattern;

impl Engine {
    /// Changes the faults; see [`Faults`]. What they hold back goes on when
    /// they are cleared.
    pub fn with_faults<R>(&mut self, now: Instant, change: impl FnOnce(&mut Faults) -> R) -> R {
        self.advance(now);
        let result = change(&mut self.faults);
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            self.process(id);
            self.mark(id);
        }
        self.end_turn();
        self.arm_all();
        result
    }

    /// Cuts every connection of a client; whether there was one.
    pub fn kick(&mut self, now: Instant, client_name: &str) -> bool {
        self.advance(now);
        let id = self.names.get(client_name).copied();
        if let Some(id) = id {
            self.close(id, Close::Abort, "kicked");
        }
        id.is_some()
    }

    /// Cuts the replication links with another instance and keeps them down,
    /// in both directions, until called again with `false`.
    ///
    /// The instance is named by its name, or by its connection string in
    /// [`Config::peers`](crate::Config::peers); links it dials itself are known
    /// by its name only.
    pub fn partition(&mut self, now: Instant, peer: &str, on: bool) {
        self.advance(now);
        if on {
            self.faults.blocked.insert(peer.to_owned());
            self.cut_links(peer);
        } else {
            self.faults.blocked.remove(peer);
        }
    }

    /// Cuts one connection.
    pub fn cut(&mut self, now: Instant, id: ConnId) {
        self.advance(now);
        self.close(id, Close::Abort, "cut");
    }

    /// Sends raw bytes to a client, behind what already waits for it; whether
    /// it is connected.
    pub fn inject(&mut self, now: Instant, client_name: &str, bytes: &[u8]) -> bool {
        self.advance(now);
        let Some(id) = self.names.get(client_name).copied() else { return false };
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        connection.outbox.tail().extend_from_slice(bytes);
        self.mark(id);
        true
    }

    /// Bytes that wait to be sent to the client of that name, since it does not read
    /// them; `None` when it is not there.
    pub fn unsent(&self, client_name: &str) -> Option<usize> {
        let id = self.names.get(client_name)?;
        self.connections.get(id).map(|connection| connection.outbox.buffered())
    }

    /// Whether the user of a connection may do that.
    pub(super) fn may(&self, id: ConnId, access: Access, topic: &str) -> bool {
        self.faults.entitled(self.user(id), access, topic)
    }

    /// What messages of a topic have to match for the user of a connection.
    pub(super) fn content(&self, id: ConnId, access: Access, topic: &str) -> Option<Filter> {
        self.faults.content(|| self.user(id), access, topic)
    }

    /// What the user of a connection may do with the messages of a topic that a
    /// pattern named.
    pub(super) fn right(&self, id: ConnId, access: Access, topic: &str, pattern: &TopicPattern) -> Right {
        let whose = self.connections.get(&id).map_or(Reader { user: "", message_type: "" }, Connection::reader);
        self.faults.right(whose, access, topic, pattern, &self.about)
    }

    /// Whether a connection is of a topic's message type.
    pub(super) fn sees(&self, id: ConnId, topic: &str) -> bool {
        self.connections.get(&id).is_some_and(|connection| self.about.sees(connection.reader().message_type, topic))
    }

    fn user(&self, id: ConnId) -> &str {
        self.connections.get(&id).map_or("", Connection::user)
    }
}
