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

mod changes;
mod commands;
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

use bytes::{Bytes, BytesMut};
use tokio::sync::{broadcast, watch};
use tracing::Span;

use amps_core::connection::{Heartbeat, HeartbeatDue, PendingAcks, Protocol, READ_LEN, TARGET_LEN, Transmit};
use amps_core::frame::PREFIX_LEN;
use amps_core::{Command, CommandKind, Field, Message, MessageDecoder, Messages, Uri, planted};

use crate::authenticator::{Authenticator, Question};
use crate::error::Cause;
use crate::event::{ConnectionState, ConnectionSummary, Event};
use crate::measure::Measures;
use crate::publish_log::{OnPublishGap, SharedLog};
use crate::session::{Action, Session};
use crate::subscriptions::{Entered, Table};
use logon::{Logon, OfClient};
use undelivered::Undelivered;

pub use changes::Flow;
pub use commands::Request;
pub use deletions::{Counted, Deleted, Deletions};
pub use queue_acks::AckReply;
pub use strays::{StrayCounts, Strays};

/// How many messages wait outside their full queues, at most, while recovery
/// goes on.
const UNDELIVERED_MAX: usize = 10_000;

/// How often bookmark subscriptions are told that the socket was empty.
const DRAINED_EVERY: Duration = Duration::from_millis(500);

/// Settings of a client that the core needs.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// The client name. Publishers keep it across restarts; it is part of
    /// every message's identity.
    pub name: String,
    /// Interval of heartbeats and how long silence is tolerated; `None` turns
    /// them off.
    pub heartbeat: Option<(Duration, Duration)>,
    /// How long a command waits for its answer: 10 s.
    pub command_timeout: Duration,
    /// Asks the server to conflate persisted acknowledgements over this time
    /// instead of its own default of 1 s.
    pub ack_conflation: Option<Duration>,
    /// Text that goes with each logon, for the server's log.
    pub logon_correlation: Option<String>,
    /// What to do at a server that lacks acknowledged messages.
    pub on_publish_gap: OnPublishGap,
    /// How long a server may take to open the transport, for a probe.
    pub connect_timeout: Duration,
    /// The longest frame accepted, in bytes.
    pub frame_limit: usize,
    /// How long a full queue may hold the reader back before commands that
    /// wait for an answer fail instead of hanging: 1 s.
    pub deadlock_after: Duration,
    /// Whether subscriptions outlive their connection. If not, their streams
    /// end with it.
    pub resubscribe: bool,
    /// Whether a subscription or query whose answer is awaited when the
    /// connection is lost is entered again on the next; if not, or if
    /// subscriptions do not outlive their connection, it is answered with
    /// [`CommandError::Disconnected`](crate::error::CommandError::Disconnected).
    pub retry: bool,
}

/// Where a core tells what happens.
#[derive(Debug, Clone)]
pub struct Outlets {
    /// Everything, in order.
    pub events: broadcast::Sender<Event>,
    /// Where things stand.
    pub summary: watch::Sender<ConnectionSummary>,
    /// Topic of the subscription whose full queue holds the reader back for
    /// longer than `deadlock_after`.
    pub stalled: watch::Sender<Option<Arc<str>>>,
}

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

/// Commands on their way out.
#[derive(Debug, Default)]
struct Outbox {
    /// Logon and heartbeats: before anything else.
    urgent: VecDeque<Bytes>,
    /// Everything else, each after the publishes that were there when it was
    /// issued.
    ordered: VecDeque<(u64, Bytes)>,
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

    /// Appends a command behind the publishes so far.
    fn send_after(&mut self, after: u64, command: &Command) {
        self.outbox.ordered.push_back((after, encode(command)));
    }

    fn send(&mut self, command: &Command) {
        let after = self.log.peek(|log| log.end());
        self.send_after(after, command);
    }
}

/// Whether a frame came from the publish log; all others are commands, the
/// acknowledgement of a queue's messages too.
fn is_of_the_log(frame: &[u8]) -> bool {
    use amps_core::message::MessageKind::{DeltaPublish, Publish, SowDelete};
    Message::decode(Bytes::copy_from_slice(&frame[PREFIX_LEN..])).is_ok_and(|message| match message.kind() {
        Publish | DeltaPublish => true,
        SowDelete => message.raw(Field::Bookmark).is_none(),
        _ => false,
    })
}

fn encode(command: &Command) -> Bytes {
    let mut out = BytesMut::new();
    command.encode(&mut out);
    out.freeze()
}

impl Protocol for ClientCore {
    type Stop = Cause;

    fn wants_read(&self) -> bool {
        !self.held_back() && !self.session.is_closed()
    }

    fn receive_buffer(&mut self) -> &mut BytesMut {
        self.decoder.buffer_mut(READ_LEN)
    }

    fn receive(&mut self, now: Instant) -> Result<(), Cause> {
        if self.decoder.buffered() > self.buffered
            && let Some(heartbeat) = &mut self.heartbeat
        {
            heartbeat.received(now);
        }
        let result = self.take_messages(now);
        self.buffered = self.decoder.buffered();
        self.act(now);
        self.check_drained(now);
        result
    }

    /// Bookmark subscriptions are told that they are level with this server,
    /// unless something waits for a full queue.
    fn drained(&mut self, now: Instant) {
        let told = self.drained_at.is_some_and(|last| now < last + DRAINED_EVERY);
        let left = self.received.as_ref().is_some_and(|(messages, next)| *next < messages.len());
        let behind = left || !self.undelivered.is_empty();
        if told || behind {
            return;
        }
        self.drained_at = Some(now);
        // Those not entered on this connection yet know nothing of its server,
        // and this says nothing of the one before.
        for route in self.subscriptions.iter_mut().filter(|route| route.entered == Entered::Yes) {
            route.queue.with_bookmarks(|bookmarks| bookmarks.drained(now));
        }
    }

    fn transmit(&mut self, now: Instant, out: &mut Transmit) {
        while let Some(frame) = self.outbox.urgent.pop_front() {
            out.buffer_mut().extend_from_slice(&frame);
        }
        if self.session.may_publish() && self.fill(now, out) {
            self.session.replayed(now);
            self.act(now);
            // What that enqueued waits for nothing else.
            self.fill(now, out);
        }
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.writing(now, !out.is_empty());
        }
    }

    fn written(&mut self, now: Instant, out: &Transmit) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.sent(now);
            heartbeat.writing(now, !out.is_empty());
            if planted::is("black-hole-taken-as-alive") {
                heartbeat.received(now);
            }
        }
        if out.is_empty() {
            self.log.with(|log| log.written());
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let requests = self.requests.iter().map(|(deadline, _)| *deadline).min();
        let stalled = self.stalled_since.map(|since| since + self.config.deadlock_after);
        let told = self.stalled.borrow().is_some();
        [
            self.session.deadline(),
            self.heartbeat.as_ref().map(Heartbeat::deadline),
            self.pending.deadline(),
            self.subscriptions.deadline(),
            requests,
            stalled.filter(|_| !told),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn timeout(&mut self, now: Instant) -> Result<(), Cause> {
        self.tell_failed_writes();
        self.session.timeout(now);
        self.act(now);
        self.acks_due(now);
        self.expire(now);
        self.act(now);
        self.check_drained(now);
        match self.heartbeat.as_ref().map(|heartbeat| heartbeat.due(now)) {
            Some(HeartbeatDue::Silent) if planted::is("heartbeat-not-acted-on") => {
                self.heartbeat.iter_mut().for_each(|heartbeat| heartbeat.received(now));
            }
            Some(HeartbeatDue::Silent) => return Err(Cause::HeartbeatTimeout(self.heartbeat_timeout())),
            Some(HeartbeatDue::Stuck) => return Err(Cause::WriteTimeout(self.heartbeat_timeout())),
            Some(HeartbeatDue::Beat) => {
                let beat = Command::new(CommandKind::Heartbeat).text(Field::Options, "beat");
                if self.outbox.urgent.is_empty() {
                    self.outbox.urgent.push_back(encode(&beat));
                }
                if let Some(heartbeat) = &mut self.heartbeat {
                    heartbeat.sent(now);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl ClientCore {
    fn heartbeat_timeout(&self) -> Duration {
        self.config.heartbeat.map_or(Duration::ZERO, |(_, timeout)| timeout)
    }

    /// Moves publishes and commands into `out`, in their order. Answers whether
    /// everything that was to be replayed is there.
    fn fill(&mut self, now: Instant, out: &mut Transmit) -> bool {
        let Outbox { ordered, .. } = &mut self.outbox;
        let (replay_end, drain_end) = (self.replay_end, self.drain_end);
        let (replayed, sent) = self.log.take(|log| {
            loop {
                let until = ordered.front().map_or(u64::MAX, |(after, _)| *after).min(drain_end);
                if out.is_empty()
                    && let Some(segment) = log.share(until)
                {
                    out.share(segment);
                } else {
                    log.fill(out.buffer_mut(), TARGET_LEN, until);
                }
                // A store that failed will never make the rest durable, nor
                // read it back; everything else goes on.
                let stuck = out.len() < TARGET_LEN && log.cursors().failed.is_some();
                match ordered.front() {
                    Some((after, frame)) if out.len() < TARGET_LEN && (stuck || log.sent() >= *after) => {
                        out.buffer_mut().extend_from_slice(frame);
                        ordered.pop_front();
                    }
                    _ => return ((stuck || log.sent() >= replay_end, log.sent()), out.is_empty()),
                }
            }
        });
        self.probes.sent(now, sent);
        replayed
    }

    /// Everything that belonged to the connection.
    fn forget_connection(&mut self, out: &Transmit) {
        let unwritten = out.unwritten_frames().filter(|frame| is_of_the_log(frame)).count() as u64;
        let dropped = self.log.with(|log| log.disconnected(unwritten));
        if dropped > 0 {
            tracing::warn!(messages = dropped, "messages published without a store were lost with the connection");
            self.notify(Event::Dropped { messages: dropped });
        }
        self.outbox = Outbox::default();
        if planted::is("partial-frame-continued") {
            self.outbox.urgent.push_back(Bytes::copy_from_slice(out.unwritten()));
        }
        self.connection += 1;
        self.acknowledged_messages = false;
        if !planted::is("partial-read-continued") {
            self.decoder = MessageDecoder::new(self.config.frame_limit).connection(self.connection);
        }
        self.received = None;
        self.buffered = 0;
        self.heartbeat = None;
        self.probes = measures::Probes::default();
        self.side_tasks.clear();
        self.unanswered = None;
        self.drain_end = u64::MAX;
        self.leave_changes();
        self.leave_subscriptions();
        self.deletions.lost();
    }
}

#[cfg(test)]
mod tests {
    use amps_core::Bookmark;
    use amps_core::header::FrameWriter;

    use super::*;

    /// What was not written with a lost connection is counted as lost, but for
    /// acknowledgements of queues: their messages come again.
    #[test]
    fn acknowledging_a_queues_message_is_no_write() {
        let done = Command::sow_delete("work").bookmarks([Bookmark { publisher: 1, sequence: 2 }]);
        assert!(!is_of_the_log(&encode(&done)));
        assert!(!is_of_the_log(&encode(&Command::new(CommandKind::Subscribe).topic("t"))));
        let mut wire = BytesMut::new();
        FrameWriter::sow_delete(&mut wire, "t", None).text(Field::Filter, "1=1").finish(&[]);
        assert!(is_of_the_log(&wire));
    }
}
