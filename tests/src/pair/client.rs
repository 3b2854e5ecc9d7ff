//! One client of a [`Pair`](super::Pair): a [`ClientCore`], run the way the
//! driver and the pump run it, one step at a time.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use amps_core::connection::{Protocol, Transmit};
use amps_ha::client_core::{ClientCore, Dial, Outlets, Request};
use amps_ha::error::Cause;
use amps_ha::event::{ConnectionSummary, Event};
use amps_ha::kv::MemoryKv;
use amps_ha::publish_log::{Job, SegmentStore, SharedLog};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::{Notify, broadcast, watch};

use super::network::{Found, Pipe, Weather};
use super::setup::{Attempt, ClientSetup};

/// How many events a client of a pair keeps between two steps.
const EVENTS: usize = 4096;

/// A client across its lives.
pub(crate) struct Client {
    pub(crate) setup: ClientSetup,
    pub(crate) kv: MemoryKv,
    pub(crate) lives: u64,
    pub(crate) running: Option<Running>,
    pub(crate) events: Vec<(Instant, Event)>,
    /// Every body accepted, in order, over all lives.
    pub(crate) published: Vec<String>,
    /// Those of them that were promised.
    pub(crate) promised: Vec<String>,
    /// Its store's thread does nothing.
    pub(crate) store_held: bool,
    /// The whole process does nothing.
    pub(crate) paused: bool,
    /// Attempts to open a transport.
    pub(crate) attempts: Vec<(Instant, usize)>,
}

/// What dies with the process.
pub(crate) struct Running {
    pub(crate) core: ClientCore,
    pub(crate) log: Arc<SharedLog>,
    pub(crate) wake: Arc<Notify>,
    pub(crate) inbox: VecDeque<Request>,
    pub(crate) summary: watch::Receiver<ConnectionSummary>,
    pub(crate) stalled: watch::Receiver<Option<Arc<str>>>,
    pub(crate) link: Link,
    pub(crate) unpromised: VecDeque<(u64, String)>,
    store: Option<SegmentStore>,
    job: Option<Job>,
    events: broadcast::Receiver<Event>,
}

/// Where the driver is.
pub(crate) enum Link {
    Idle,
    Dialing(Attempt),
    Up { pipe: usize, out: Transmit, top: Option<Top> },
}

/// What the pump found out at the top of its loop.
#[derive(Clone, Copy)]
pub(crate) struct Top {
    wants_read: bool,
    deadline: Option<Instant>,
}

/// What the driver wants of the network.
pub(crate) enum Wish {
    Dial(amps_core::Uri),
    HangUp(usize),
}

impl Client {
    pub(crate) fn new(setup: ClientSetup) -> Self {
        Self {
            setup,
            kv: MemoryKv::new(),
            lives: 0,
            running: None,
            events: Vec::new(),
            published: Vec::new(),
            promised: Vec::new(),
            store_held: false,
            paused: false,
            attempts: Vec::new(),
        }
    }

    pub(crate) fn start(&mut self, now: Instant, seed: u64) {
        self.lives += 1;
        let wake = Arc::new(Notify::new());
        let (log, store) = self.setup.log(&self.kv, self.lives);
        let log = Arc::new(SharedLog::new(log, Arc::clone(&wake)));
        let events = broadcast::Sender::new(EVENTS);
        let (stalled, stalled_seen) = watch::channel(None);
        let (summary, summary_seen) = watch::channel(ConnectionSummary::default());
        let outlets = Outlets { events: events.clone(), summary, stalled };
        let session = self.setup.session(seed);
        let mut core = ClientCore::new(self.setup.core.clone(), session, Arc::clone(&log), outlets);
        let events = events.subscribe();
        core.start(now);
        self.running = Some(Running {
            core,
            log,
            wake,
            inbox: VecDeque::new(),
            summary: summary_seen,
            stalled: stalled_seen,
            link: Link::Idle,
            unpromised: VecDeque::new(),
            store,
            job: None,
            events,
        });
    }
}

impl Running {
    /// Notes what the client told, and what it promised.
    pub(crate) fn listen(&mut self, now: Instant, events: &mut Vec<(Instant, Event)>, promised: &mut Vec<String>) {
        while let Ok(event) = self.events.try_recv() {
            events.push((now, event));
        }
        let durable = self.log.peek(|log| log.cursors().durable);
        while self.unpromised.front().is_some_and(|(ordinal, _)| *ordinal < durable) {
            promised.extend(self.unpromised.pop_front().map(|(_, body)| body));
        }
    }

    /// The store's thread goes on by half a job; whether there was one.
    pub(crate) fn work(&mut self) -> bool {
        let Some(store) = &mut self.store else { return false };
        match self.job.take() {
            None => {
                self.job = self.log.with(|log| log.next_job());
                self.job.is_some()
            }
            Some(job) => {
                let result = store.run(&job);
                let more = self.log.with(|log| {
                    log.job_done(result);
                    log.has_more(u64::MAX) || log.has_failed_write()
                });
                if more {
                    self.wake.notify_one();
                }
                true
            }
        }
    }

    /// When it next wants to be asked.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.link {
            Link::Idle => self.core.deadline(),
            Link::Dialing(attempt) => [self.core.deadline(), attempt.ends].into_iter().flatten().min(),
            Link::Up { top, .. } => top.and_then(|top| top.deadline),
        }
    }

    fn take_requests(&mut self, now: Instant) {
        while let Some(request) = self.inbox.pop_front() {
            self.core.request(now, request);
        }
    }

    fn woken(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(self.wake.notified()).poll(&mut context).is_ready()
    }

    /// One step without a connection; `None` when there is nothing to do.
    pub(crate) fn idle(&mut self, now: Instant) -> Option<Option<Wish>> {
        self.take_requests(now);
        if self.core.is_closed() {
            return None;
        }
        match self.core.poll_dial() {
            Some(Dial::Open(uri)) => Some(Some(Wish::Dial(uri))),
            Some(Dial::HangUp) => Some(None),
            None if self.woken() || self.core.deadline().is_some_and(|at| at <= now) => {
                let _ = self.core.timeout(now);
                Some(None)
            }
            None => None,
        }
    }

    /// One step of an attempt without an outcome yet; whether there was
    /// something to do.
    pub(crate) fn dialing(&mut self, now: Instant) -> bool {
        if !self.woken() && self.core.deadline().is_none_or(|at| at > now) {
            return false;
        }
        self.take_requests(now);
        let _ = self.core.timeout(now);
        if let Some(Dial::HangUp) = self.core.poll_dial() {
            self.link = Link::Idle;
        }
        true
    }

    /// What the driver does when time has passed or it was woken.
    fn timeout(&mut self, now: Instant) -> Result<(), Cause> {
        self.take_requests(now);
        self.core.timeout(now)?;
        self.follow()
    }

    /// What the driver does after each call to the core. Nothing is asked
    /// beside the connection here.
    fn follow(&mut self) -> Result<(), Cause> {
        assert!(self.core.poll_side_task().is_none(), "a pair has neither authenticators nor preferred servers");
        match self.core.poll_dial() {
            Some(Dial::HangUp) => Err(Cause::Closed),
            _ => Ok(()),
        }
    }

    /// One turn of the pump; `None` when it sleeps.
    pub(crate) fn pump(
        &mut self,
        now: Instant,
        pipe: &mut Pipe,
        weather: Weather,
        split: bool,
        random: &mut StdRng,
    ) -> Option<Option<Wish>> {
        let Link::Up { pipe: number, out, top } = &mut self.link else { return None };
        let number = *number;
        if top.is_none() {
            if out.is_empty() {
                self.core.transmit(now, out);
            }
            *top = Some(Top { wants_read: self.core.wants_read(), deadline: self.core.deadline() });
        }
        let Top { wants_read, deadline } = (*top)?;
        let mut result = None;
        let first = random.random_range(0..3usize);
        for kind in (0..3).map(|offset| (first + offset) % 3) {
            result = match kind {
                0 if wants_read => self.read(now, pipe, split, random).map(|read| read.and_then(|()| self.follow())),
                1 => self.write(now, pipe, weather, split, random),
                2 if self.woken() || deadline.is_some_and(|at| at <= now) => {
                    Some(self.timeout(now).and_then(|()| self.core.receive(now)).and_then(|()| self.follow()))
                }
                _ => None,
            };
            if result.is_some() {
                break;
            }
        }
        let mut result = result?;
        if result.is_ok() && deadline.is_some_and(|at| at <= now) {
            result = self.timeout(now);
        }
        let Link::Up { out, top, .. } = &mut self.link else { return None };
        *top = None;
        match result {
            Ok(()) => Some(None),
            Err(cause) => {
                self.core.lost(now, cause, out);
                self.link = Link::Idle;
                Some(Some(Wish::HangUp(number)))
            }
        }
    }

    fn read(&mut self, now: Instant, pipe: &mut Pipe, split: bool, random: &mut StdRng) -> Option<Result<(), Cause>> {
        let limit = if split { random.random_range(1..=3000) } else { 64 * 1024 };
        Some(match pipe.read(now, 0, limit) {
            Found::Nothing => return None,
            Found::Closed => Err(Cause::Closed),
            Found::Broken => Err(broken()),
            Found::Bytes(bytes) => {
                self.core.receive_buffer().extend_from_slice(&bytes);
                let received = self.core.receive(now);
                if bytes.len() < limit {
                    self.core.drained(now);
                }
                received
            }
        })
    }

    fn write(
        &mut self,
        now: Instant,
        pipe: &mut Pipe,
        weather: Weather,
        split: bool,
        random: &mut StdRng,
    ) -> Option<Result<(), Cause>> {
        let Link::Up { out, .. } = &mut self.link else { return None };
        let room = pipe.room(0, weather).min(out.unwritten().len());
        if out.is_empty() || room == 0 {
            return None;
        }
        if pipe.broken || !pipe.open[1] {
            return Some(Err(broken()));
        }
        let count = if split { random.random_range(1..=room) } else { room };
        pipe.write(now, 0, &out.unwritten()[..count], weather);
        out.advance(count);
        self.core.written(now, out);
        Some(Ok(()))
    }
}

pub(crate) fn broken() -> Cause {
    Cause::Io(Arc::new(io::Error::from(io::ErrorKind::ConnectionReset)))
}
