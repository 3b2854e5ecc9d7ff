//! What an instance counted and recorded, for tests to look at.

use std::collections::{BTreeMap, VecDeque};

use amps_core::message::MessageKind;
use amps_core::{Field, Message};

use crate::engine::ConnId;

/// Violations and disconnects kept, each.
const NOTES_MAX: usize = 1_000;

/// Counters since the engine was made, and bounded lists of the latest events.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open now, links to peers included.
    pub connections: usize,
    /// Successful logons.
    pub logons: u64,
    /// Publishes, delta publishes and deletions received, duplicates included.
    pub publishes: u64,
    /// Messages and deletions in the transaction log.
    pub logged: usize,
    /// Log positions before this are held by every synchronous peer.
    pub replicated: usize,
    /// Of them those dropped by the sequence rule, by client name.
    pub duplicates: BTreeMap<String, u64>,
    /// Messages from peers that were already here.
    pub replica_duplicates: u64,
    /// Outgoing replication links that stand.
    pub linked_peers: usize,
    /// Messages of queues that were acknowledged, given back or expired by
    /// consumers.
    pub acknowledged: u64,
    /// Of those that consumers named, the ones their connection did not have
    /// leased; with peers, those of them that are in the queue.
    pub unleased: u64,
    /// All commands received, counted.
    pub received: u64,
    /// The latest commands received; [`Config::history_limit`](crate::Config::history_limit) of them.
    pub commands: VecDeque<ReceivedCommand>,
    /// Broken protocol rules with the connection's number; the latest 1,000.
    pub violations: VecDeque<(u64, String)>,
    /// Connections this side closed, with the reason; the latest 1,000.
    pub disconnects: VecDeque<(u64, String)>,
    history_limit: usize,
}

/// A command as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedCommand {
    /// The number of its connection.
    pub connection: u64,
    /// What it is.
    pub kind: MessageKind,
    /// The publisher's sequence.
    pub sequence: Option<u64>,
    /// The topic.
    pub topic: Option<String>,
    /// The command id; not recorded for publishes.
    pub command_id: Option<String>,
    /// The subscription id.
    pub subscription_id: Option<String>,
    /// The content filter.
    pub filter: Option<String>,
    /// The bookmark.
    pub bookmark: Option<String>,
    /// The options.
    pub options: Option<String>,
    /// The client name.
    pub client_name: Option<String>,
    /// The acknowledgements asked for.
    pub acks: Option<String>,
}

impl ReceivedCommand {
    pub(crate) fn new(id: ConnId, message: &Message) -> Self {
        let kind = message.kind();
        let text = |field| {
            let wanted = kind != MessageKind::Publish;
            if wanted { message.text(field).map(|text| text.into_owned()) } else { None }
        };
        Self {
            connection: id.number(),
            kind,
            sequence: message.sequence(),
            topic: message.topic().map(|topic| topic.into_owned()),
            command_id: text(Field::CommandId),
            subscription_id: text(Field::SubscriptionId),
            filter: text(Field::Filter),
            bookmark: text(Field::Bookmark),
            options: text(Field::Options),
            client_name: text(Field::ClientName),
            acks: text(Field::AckType),
        }
    }
}

impl Stats {
    pub(crate) fn new(history_limit: usize) -> Self {
        Self { history_limit, ..Self::default() }
    }

    /// All duplicates dropped.
    pub fn duplicates_dropped(&self) -> u64 {
        self.duplicates.values().sum()
    }

    pub(crate) fn record(&mut self, command: ReceivedCommand) {
        self.received += 1;
        push_bounded(&mut self.commands, command, self.history_limit);
    }

    pub(crate) fn duplicate(&mut self, client_name: &str) {
        match self.duplicates.get_mut(client_name) {
            Some(count) => *count += 1,
            None => {
                self.duplicates.insert(client_name.to_owned(), 1);
            }
        }
    }

    pub(crate) fn violation(&mut self, id: ConnId, what: String) {
        tracing::warn!(connection = id.number(), what, "protocol violation");
        push_bounded(&mut self.violations, (id.number(), what), NOTES_MAX);
    }

    pub(crate) fn disconnect(&mut self, id: ConnId, reason: &str) {
        push_bounded(&mut self.disconnects, (id.number(), reason.to_owned()), NOTES_MAX);
    }
}

fn push_bounded<T>(list: &mut VecDeque<T>, item: T, limit: usize) {
    if limit == 0 {
        return;
    }
    if list.len() == limit {
        list.pop_front();
    }
    list.push_back(item);
}
