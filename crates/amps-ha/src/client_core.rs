//! A whole client without I/O: session, publish log, subscriptions and the
//! state of the current connection.
//!
//! The driver moves bytes and tells the time; everything that decides is here.
//! The same code runs in tests against a server engine in memory, with virtual
//! time.
//!
//! The way of a message out: [`SharedLog::append`] -> [`Protocol::transmit`]
//! -> socket. The way of a message in: socket -> [`Protocol::receive`] ->
//! `dispatch` -> [`SubscriptionQueue`](crate::subscriptions::SubscriptionQueue).
//!
//! [`Protocol::transmit`]: amps_core::connection::Protocol::transmit
//! [`Protocol::receive`]: amps_core::connection::Protocol::receive

mod changes;
mod commands;
mod config;
mod connection;
mod deletions;
mod logon;
mod measures;
mod moves;
mod queue_acks;
mod receive;
mod recovery;
mod reentry;
mod strays;
mod undelivered;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, watch};
use tracing::Span;

use amps_core::connection::{Heartbeat, PendingAcks, Transmit};
use amps_core::{MessageDecoder, Messages, Uri};

use crate::authenticator::{Authenticator, Question};
use crate::error::Cause;
use crate::event::{ConnectionState, ConnectionSummary, Event};
use crate::measure::Measures;
use crate::publish_log::SharedLog;
use crate::session::{Action, Session};
use crate::subscriptions::Table;
use connection::Outbox;
use logon::{Logon, OfClient};
use undelivered::Undelivered;

pub use changes::Flow;
pub use commands::Request;
pub use config::{CoreConfig, Outlets};
pub use deletions::{Counted, Deleted, Deletions};
pub use queue_acks::AckReply;
pub use strays::{StrayCounts, Strays};

/// How many messages wait outside their full queues, at most, while recovery
/// goes on.
const UNDELIVERED_MAX: usize = 10_000;

/// What waits for an acknowledgement.
#[derive(Debug)]
enum Waiter {
    LogOn(Logon),
    Heartbeat,
    Drain,
    Flush(commands::Reply),
    Acknowledge(queue_acks::Acknowledging),
    Flow(changes::Flowing),
    Unsubscribe,
}

impl Waiter {
    /// Whether somebody outside waits.
    fn is_awaited(&self) -> bool {
        match self {
            Self::Flush(_) | Self::Acknowledge(_) => true,
            Self::Flow(flowing) => flowing.is_awaited(),
            _ => false,
        }
    }

    /// The command, for errors.
    fn command(&self) -> &'static str {
        match self {
            Self::Flow(flowing) => flowing.command(),
            Self::Acknowledge(_) => "sow_delete",
            _ => "flush",
        }
    }
}

/// The state machine. See the [module](self).
#[derive(Debug)]
pub struct ClientCore {
    config: CoreConfig,
    session: Session,
    log: Arc<SharedLog>,
    events: broadcast::Sender<Event>,
    summary: watch::Sender<ConnectionSummary>,
    /// Topic of the subscription whose full queue holds the reader back.
    stalled: watch::Sender<Option<Arc<str>>>,
    subscriptions: Table,
    requests: VecDeque<(Instant, Request)>,
    next_id: u64,
    outbox: Outbox,
    decoder: MessageDecoder,
    /// Decoded, and how many of them are dealt with.
    received: Option<(Messages, usize)>,
    buffered: usize,
    heartbeat: Option<Heartbeat>,
    pending: PendingAcks<Waiter>,
    undelivered: Undelivered,
    stalled_since: Option<Instant>,
    drained_at: Option<Instant>,
    replay_end: u64,
    server_version: Option<String>,
    last_server: Option<Uri>,
    dial: VecDeque<Dial>,
    side_tasks: VecDeque<SideTask>,
    authenticator: OfClient,
    /// Of the server there is a connection to.
    authenticating: OfClient,
    /// The logon that waits for the authenticator.
    unanswered: Option<(u64, Logon)>,
    moving: Option<moves::Moving>,
    strays: Strays,
    deletions: Deletions,
    failed_resubscribe: recovery::Decider,
    reentry: reentry::Reentry,
    /// The log has refused messages that are not told yet.
    untold: bool,
    /// Subscriptions may have come to the end of their ranges.
    over: bool,
    /// The number of the connection, for what ends with it.
    connection: u64,
    /// Messages of queues were acknowledged on this connection.
    acknowledged_messages: bool,
    /// Nothing behind this is sent any more before the connection is left.
    drain_end: u64,
    span: Span,
    measures: Measures,
    probes: measures::Probes,
}

/// What the driver has to do beside the connection. Give it up when that ends.
#[derive(Debug)]
pub enum SideTask {
    /// Ask the authenticator; hand over the answer as [`Request::Answer`].
    Authenticate(Question),
    /// Open a transport to this server and drop it; tell with
    /// [`Request::Probed`] if that worked within the connect timeout.
    Probe(Uri, Duration),
}

/// What the driver has to do about the transport.
#[derive(Debug)]
pub enum Dial {
    /// Open one to this server; answer with [`ClientCore::dialed`] or
    /// [`ClientCore::dial_failed`].
    Open(Uri),
    /// Drop it, or the attempt.
    HangUp,
}

impl ClientCore {
    /// A client that does nothing until [`start`](Self::start).
    pub fn new(config: CoreConfig, session: Session, log: Arc<SharedLog>, outlets: Outlets) -> Self {
        let Outlets { events, summary, stalled } = outlets;
        let decoder = MessageDecoder::new(config.frame_limit).connection(1);
        Self {
            config,
            session,
            log,
            events,
            summary,
            stalled,
            subscriptions: Table::default(),
            requests: VecDeque::new(),
            next_id: 1,
            outbox: Outbox::default(),
            decoder,
            received: None,
            buffered: 0,
            heartbeat: None,
            pending: PendingAcks::default(),
            undelivered: Undelivered::default(),
            stalled_since: None,
            drained_at: None,
            replay_end: 0,
            server_version: None,
            last_server: None,
            dial: VecDeque::new(),
            side_tasks: VecDeque::new(),
            authenticator: OfClient::default(),
            authenticating: OfClient::default(),
            unanswered: None,
            moving: None,
            strays: Strays::default(),
            deletions: Deletions::default(),
            failed_resubscribe: recovery::Decider::default(),
            reentry: reentry::Reentry::default(),
            untold: false,
            over: false,
            connection: 1,
            acknowledged_messages: false,
            drain_end: u64::MAX,
            span: Span::none(),
            measures: Measures::default(),
            probes: measures::Probes::default(),
        }
    }

    /// Authenticates in this way at servers without an authenticator of their
    /// own.
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = OfClient(Some(authenticator));
        self
    }

    /// Begins to connect.
    pub fn start(&mut self, now: Instant) {
        self.summary.send_modify(|summary| summary.since = Some(now));
        self.session.start(now);
        self.act(now);
    }

    /// What to do about the transport. Ask after every other call until there
    /// is nothing.
    #[must_use]
    pub fn poll_dial(&mut self) -> Option<Dial> {
        self.dial.pop_front()
    }

    /// What to do beside the connection. Ask after every other call.
    #[must_use]
    pub fn poll_side_task(&mut self) -> Option<SideTask> {
        self.side_tasks.pop_front()
    }

    /// The transport is up.
    pub fn dialed(&mut self, now: Instant) {
        self.session.dialed(now);
        self.act(now);
    }

    /// The transport cannot be opened.
    pub fn dial_failed(&mut self, now: Instant, cause: Cause) {
        self.session.failed(now, cause);
        self.act(now);
    }

    /// The connection is lost; `out` is what was not written. Nothing of it,
    /// nor of what was received in part, reaches the next connection.
    pub fn lost(&mut self, now: Instant, cause: Cause, out: &Transmit) {
        self.measure_loss(now, &cause);
        self.forget_connection(out);
        self.session.lost(now, cause);
        self.act(now);
    }

    /// Ends the client. Waiters are told; nothing is sent any more.
    pub fn close(&mut self, now: Instant, out: &Transmit) {
        self.forget_connection(out);
        self.session.close(now);
        self.act(now);
    }

    /// Whether the client is closed or gave up for good.
    pub fn is_closed(&self) -> bool {
        self.session.is_closed()
    }

    /// Whether recovery is complete.
    pub fn is_live(&self) -> bool {
        self.session.is_live()
    }

    /// The publish log.
    pub fn log(&self) -> Arc<SharedLog> {
        Arc::clone(&self.log)
    }

    /// Where this tells how things stand.
    pub fn summary(&self) -> watch::Sender<ConnectionSummary> {
        self.summary.clone()
    }

    /// Whether a full queue keeps the reader from reading. Not during recovery,
    /// whose answers have to be read; then what is received waits, up to a bound.
    fn held_back(&self) -> bool {
        let recovering = !self.session.is_live();
        self.undelivered.len() > if recovering { UNDELIVERED_MAX } else { 0 }
    }

    fn id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    fn act(&mut self, now: Instant) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Dial(uri) => self.dial.push_back(Dial::Open(uri)),
                Action::HangUp => self.dial.push_back(Dial::HangUp),
                Action::LogOn(server) => self.log_on(now, &server),
                Action::StartHeartbeat => self.start_heartbeat(now),
                Action::Replay => self.session_replayed(now),
                Action::Resubscribe => self.resubscribe(now),
                Action::Drain => self.drain(now),
                Action::Probe(uri) => self.side_tasks.push_back(SideTask::Probe(uri, self.config.connect_timeout)),
                Action::StayDown(cause) => self.stay_down(cause),
                Action::Notify(event) => self.notify(event),
            }
        }
        self.tell_phase();
        if self.session.is_closed() {
            self.fail_everything();
        }
    }

    fn notify(&mut self, event: Event) {
        if self.untold && matches!(&event, Event::State(change) if change.state == ConnectionState::Shutdown) {
            self.log.with(|log| log.give_up_failed_writes());
            self.tell_failed_writes();
        }
        self.note_move(&event);
        self.summary.send_modify(|summary| summary.note(&event));
        // Without a listener nobody wants to know; tracing has it all.
        let _ = self.events.send(event);
    }
}
