//! The task that runs a [`ClientCore`]: it opens transports, moves bytes and
//! tells the time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use amps_core::connection::{Lost, Protocol, Transmit, pump};
use amps_core::{Connector, Transport, Uri};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tracing::Instrument;

use crate::client_core::{ClientCore, Dial, Request, SideTask};
use crate::error::{Cause, CommandError};
use crate::event::ConnectionSummary;
use crate::publish_log::SharedLog;

/// How an application's side reaches the task.
#[derive(Debug)]
pub struct Inbox {
    /// `None` once nobody takes them any more.
    requests: Mutex<Option<VecDeque<Request>>>,
    wake: Arc<Notify>,
    closing: watch::Sender<bool>,
}

impl Inbox {
    /// An inbox whose task waits on `wake`.
    pub fn new(wake: Arc<Notify>) -> Self {
        Self { requests: Mutex::new(Some(VecDeque::new())), wake, closing: watch::Sender::new(false) }
    }

    /// Hands over a request. When the task has ended it is answered at once.
    pub fn push(&self, request: Request) {
        match &mut *self.lock() {
            Some(requests) => requests.push_back(request),
            None => return request.refuse(CommandError::Closed),
        }
        self.wake.notify_one();
    }

    /// Makes the task end. What waits is told.
    pub fn close(&self) {
        self.closing.send_replace(true);
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Request>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> VecDeque<Request> {
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The task is over: answers what waits, and whatever still comes.
    fn end(&self) {
        let requests = self.lock().take();
        for request in requests.into_iter().flatten() {
            request.refuse(CommandError::Closed);
        }
    }

    fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }
}

/// The core, with the application's requests taken in whenever it is woken.
struct Driven {
    core: ClientCore,
    inbox: Arc<Inbox>,
    connector: Arc<dyn Connector>,
    /// Given up with the connection they were begun for.
    side_tasks: JoinSet<()>,
}

impl Driven {
    fn take_requests(&mut self, now: Instant) {
        for request in self.inbox.take() {
            self.core.request(now, request);
        }
    }

    /// Does what the core wants besides sending. An error when it has given
    /// the connection up by itself.
    fn follow(&mut self) -> Result<(), Cause> {
        while let Some(task) = self.core.poll_side_task() {
            while self.side_tasks.try_join_next().is_some() {}
            self.side_tasks.spawn(side_task(task, Arc::clone(&self.connector), Arc::clone(&self.inbox)));
        }
        match self.core.poll_dial() {
            Some(Dial::HangUp) => Err(Cause::Closed),
            _ => Ok(()),
        }
    }
}

async fn side_task(task: SideTask, connector: Arc<dyn Connector>, inbox: Arc<Inbox>) {
    match task {
        SideTask::Authenticate(question) => inbox.push(Request::Answer(question.ask().await)),
        SideTask::Probe(uri, limit) => {
            if let Ok(Ok(transport)) = tokio::time::timeout(limit, connector.connect(&uri)).await {
                drop(transport);
                inbox.push(Request::Probed(uri));
            }
        }
    }
}

impl Protocol for Driven {
    type Stop = Cause;

    fn wants_read(&self) -> bool {
        self.core.wants_read()
    }
    fn receive_buffer(&mut self) -> &mut bytes::BytesMut {
        self.core.receive_buffer()
    }
    fn receive(&mut self, now: Instant) -> Result<(), Cause> {
        self.core.receive(now)?;
        self.follow()
    }
    fn drained(&mut self, now: Instant) {
        self.core.drained(now);
    }
    fn transmit(&mut self, now: Instant, out: &mut Transmit) {
        self.core.transmit(now, out);
    }
    fn written(&mut self, now: Instant, out: &Transmit) {
        self.core.written(now, out);
    }
    fn deadline(&self) -> Option<Instant> {
        self.core.deadline()
    }
    fn timeout(&mut self, now: Instant) -> Result<(), Cause> {
        if self.inbox.is_closing() {
            return Err(Cause::ByUser);
        }
        self.take_requests(now);
        self.core.timeout(now)?;
        self.follow()
    }
}

/// Tells whoever waits that it is over, however the task ends: a panic, or a
/// runtime that shuts down, must not leave a client that looks alive.
struct EndOnDrop {
    inbox: Arc<Inbox>,
    log: Arc<SharedLog>,
    summary: watch::Sender<ConnectionSummary>,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.inbox.end();
        self.log.with(|log| log.close());
        self.summary.send_modify(|summary| {
            summary.live = false;
            summary.over.get_or_insert_with(|| Cause::GaveUp("the client's task ended".to_owned()));
        });
    }
}

/// Runs a client until it is closed or gives up.
///
/// # Cancel safety
/// Dropped, it ends the client as if its process were killed: whoever waits is
/// told that it is closed, and what the publish store holds stays there.
pub async fn run(core: ClientCore, connector: Arc<dyn Connector>, inbox: Arc<Inbox>) {
    let span = core.span();
    drive(core, connector, inbox).instrument(span).await;
}

async fn drive(core: ClientCore, connector: Arc<dyn Connector>, inbox: Arc<Inbox>) {
    let _end = EndOnDrop { inbox: Arc::clone(&inbox), log: core.log(), summary: core.summary() };
    let mut driven = Driven { core, inbox, connector, side_tasks: JoinSet::new() };
    let wake = Arc::clone(&driven.inbox.wake);
    driven.core.start(now());
    while !driven.core.is_closed() {
        if driven.inbox.is_closing() {
            driven.core.close(now(), &Transmit::default());
            break;
        }
        driven.take_requests(now());
        match driven.core.poll_dial() {
            Some(Dial::Open(uri)) => {
                let span = driven.core.connection_span();
                attempt(&mut driven, &uri, &wake).instrument(span).await;
            }
            Some(Dial::HangUp) => {}
            None => idle(&mut driven, &wake).await,
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Waits for the next deadline, or to be woken.
async fn idle(driven: &mut Driven, wake: &Notify) {
    let deadline = driven.core.deadline();
    tokio::select! {
        () = wake.notified() => {}
        () = until(deadline) => {}
    }
    // Without a connection there is none to give up.
    let _ = driven.core.timeout(now());
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// An attempt, and the connection it leads to.
async fn attempt(driven: &mut Driven, uri: &Uri, wake: &Notify) {
    if let Some(transport) = dial(driven, uri, wake).await {
        connected(driven, transport, wake).await;
    }
}

/// Opens a transport, unless the session gives the attempt up before.
async fn dial(driven: &mut Driven, uri: &Uri, wake: &Notify) -> Option<Box<dyn Transport>> {
    let connector = Arc::clone(&driven.connector);
    let mut connecting = connector.connect(uri);
    loop {
        let deadline = driven.core.deadline();
        tokio::select! {
            result = &mut connecting => match result {
                Ok(transport) => {
                    driven.core.dialed(now());
                    return Some(transport);
                }
                Err(error) => {
                    driven.core.dial_failed(now(), Cause::Connect(error.into()));
                    return None;
                }
            },
            () = wake.notified() => {}
            () = until(deadline) => {}
        }
        if driven.inbox.is_closing() {
            return None;
        }
        driven.take_requests(now());
        let _ = driven.core.timeout(now());
        if let Some(Dial::HangUp) = driven.core.poll_dial() {
            return None;
        }
    }
}

/// Moves bytes until the connection is over.
async fn connected(driven: &mut Driven, transport: Box<dyn Transport>, wake: &Notify) {
    let mut out = Transmit::default();
    let lost = match driven.follow() {
        Ok(()) => pump(transport, driven, &mut out, wake, now).await,
        Err(cause) => Lost::Stopped(cause),
    };
    driven.side_tasks.abort_all();
    if driven.inbox.is_closing() {
        return driven.core.close(now(), &out);
    }
    let cause = match lost {
        Lost::Stopped(cause) => cause,
        Lost::Closed => Cause::Closed,
        Lost::Io(error) => Cause::Io(error.into()),
    };
    driven.core.lost(now(), cause, &out);
}
