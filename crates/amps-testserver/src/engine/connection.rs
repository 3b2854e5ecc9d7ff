//! The state of one connection.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use amps_core::FrameDecoder;

use super::ConnId;
use super::outbox::Outbox;
use super::replicate::{Destination, Source};
use super::subscribe::Subscription;
use crate::config::Config;
use crate::faults::{Faults, Reader, Who};
use crate::log::PublisherIx;
use crate::message_type::MessageType;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Close {
    /// After what waits is sent.
    Flush,
    /// At once.
    Abort,
}

/// What a connection is for.
#[derive(Debug)]
pub(super) enum Role {
    /// Nothing received yet.
    New,
    /// A client that logged on.
    Client(Client),
    /// Incoming replication: the other end sends its log.
    Source(Source),
    /// Outgoing replication: this end sends its log.
    Destination(Destination),
}

impl Role {
    fn reader(&self) -> Reader<'_> {
        match self {
            Self::Client(Client { user, message_type, .. }) => Reader { user, message_type },
            _ => Reader { user: "", message_type: "" },
        }
    }
}

/// A client that logged on.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) user: String,
    /// As it named it; empty: any.
    pub(super) message_type: String,
    pub(super) publisher: PublisherIx,
    /// The publisher of what it sends without a sequence.
    pub(super) unsequenced: Option<PublisherIx>,
    /// The period of conflated acks.
    pub(super) conflation: Duration,
    /// The highest sequence a persisted ack was asked for, and the highest
    /// that was acknowledged.
    pub(super) wanted: u64,
    pub(super) acknowledged: u64,
    /// When conflated acks are next sent.
    pub(super) acks_due: Option<Instant>,
    /// When persisted acks of bookmark subscriptions are next sent.
    pub(super) positions_due: Option<Instant>,
    /// Single persisted acks that wait for the log to be replicated, in
    /// order. Bounded by the log and by what the client has in flight.
    pub(super) waiting: VecDeque<Waiting>,
    /// The heartbeat interval and the last beat sent.
    pub(super) heartbeat: Option<Duration>,
}

/// A persisted ack that is due once sync peers hold the log before `position`.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) position: usize,
    pub(super) command_id: String,
    pub(super) sequence: Option<u64>,
    /// For a flush: conflated acks go first.
    pub(super) flush: bool,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) role: Role,
    pub(super) decoder: FrameDecoder,
    pub(super) outbox: Outbox,
    pub(super) close: Option<Close>,
    /// Why it is closed, if this side does.
    pub(super) reason: Option<String>,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) received_at: Instant,
    pub(super) sent_at: Instant,
    pub(super) bytes_received: u64,
    pub(super) bytes_sent: u64,
    pub(super) publishes: u64,
    /// How often it was asked to log on again.
    pub(super) challenged: usize,
    /// Open, but neither read nor written.
    pub(super) silent: bool,
    pub(super) dirty: bool,
}

impl Connection {
    pub(super) fn new(role: Role, now: Instant, frame_limit: usize) -> Self {
        Self {
            role,
            decoder: FrameDecoder::new(frame_limit),
            outbox: Outbox::default(),
            close: None,
            reason: None,
            subscriptions: Vec::new(),
            received_at: now,
            sent_at: now,
            bytes_received: 0,
            bytes_sent: 0,
            publishes: 0,
            challenged: 0,
            silent: false,
            dirty: false,
        }
    }

    pub(super) fn client(&self) -> Option<&Client> {
        if let Role::Client(client) = &self.role { Some(client) } else { None }
    }

    pub(super) fn client_mut(&mut self) -> Option<&mut Client> {
        if let Role::Client(client) = &mut self.role { Some(client) } else { None }
    }

    /// Who logged on; empty before that.
    pub(super) fn user(&self) -> &str {
        self.reader().user
    }

    /// Whether it is of a type of which there are no statistics and no messages of
    /// the server's own (AMPS User Guide, "Message Types": `binary`, composite ones).
    pub(super) fn is_opaque(&self) -> bool {
        let message_type = self.reader().message_type;
        message_type == "binary" || !message_type.is_empty() && !MessageType::is_built_in(message_type)
    }

    /// Who reads.
    pub(super) fn reader(&self) -> Reader<'_> {
        self.role.reader()
    }

    /// Who reads, and by which subscriptions.
    pub(super) fn readers(&mut self) -> (Reader<'_>, &mut Vec<Subscription>) {
        (self.role.reader(), &mut self.subscriptions)
    }

    /// What faults know it by.
    pub(super) fn who(&self, id: ConnId) -> Who<'_> {
        let (client, peer) = match &self.role {
            Role::New => (None, None),
            Role::Client(client) => (Some(client.name.as_str()), None),
            Role::Source(source) => (None, Some(source.name())),
            Role::Destination(destination) => (None, Some(destination.name())),
        };
        Who { number: id.number(), client, peer }
    }

    /// Whether a fault keeps it from being read.
    pub(super) fn stops_reading(&self, faults: &Faults, id: ConnId) -> bool {
        self.silent || faults.stops_reading(self.who(id))
    }

    /// Whether a fault keeps it from being read and written.
    pub(super) fn half_open(&self, faults: &Faults, id: ConnId) -> bool {
        self.silent || faults.is_half_open(self.who(id))
    }

    /// Whether more log can mean more to send.
    pub(super) fn follows_log(&self) -> bool {
        match &self.role {
            Role::Destination(_) => true,
            Role::Client(_) => self.subscriptions.iter().any(|s| s.replay.is_some()),
            Role::New | Role::Source(_) => false,
        }
    }

    /// Nothing more may be sent behind the bytes of a cut.
    pub(super) fn close_after_cut(&mut self) {
        self.outbox = Outbox::default();
        self.subscriptions.clear();
        self.close = Some(Close::Abort);
    }

    /// When something is next due on this connection.
    pub(super) fn deadline(&self, config: &Config) -> Option<Instant> {
        if self.close.is_some() {
            return None;
        }
        let (beat, own) = match &self.role {
            Role::New => return None,
            Role::Client(client) => {
                let beat = client.heartbeat.map(|interval| (interval, 2 * interval));
                (beat, client.acks_due.into_iter().chain(client.positions_due).min())
            }
            Role::Source(_) | Role::Destination(_) => (Some((config.link_timeout / 4, config.link_timeout)), None),
        };
        let beat = beat.map(|(idle, silence)| (self.sent_at + idle).min(self.received_at + silence));
        beat.into_iter().chain(own).min()
    }
}
