//! Sockets, time and tasks around an engine. Nothing here decides anything.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use amps_core::{Connector, SocketConnector, Transport, Uri};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;

use super::listener::{Incoming, Listener};
use super::preamble;
use crate::engine::{ConnId, Engine, PeerId};

/// Bytes read from a connection at once.
const READ_BYTES: usize = 256 << 10;

/// The longest wait for a dialed peer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// The engine and those who wait for it.
pub(super) struct Shared {
    state: Mutex<State>,
    /// The root task looks again: a deadline, a dial.
    root: Notify,
    /// A turn is over.
    turned: Notify,
}

struct State {
    /// Taken when the server ended, so that its journal is closed.
    engine: Option<Engine>,
    wakers: HashMap<ConnId, Arc<Wakers>>,
}

/// How a connection's task is told to look again.
#[derive(Debug, Default)]
struct Wakers {
    write: Notify,
    read: Notify,
    abort: Notify,
}

impl Shared {
    pub(super) fn new(engine: Engine) -> Self {
        let state = State { engine: Some(engine), wakers: HashMap::new() };
        Self { state: Mutex::new(state), root: Notify::new(), turned: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One turn of the engine; `None` once the server ended. Wakes the tasks
    /// of the connections the turn was about.
    pub(super) fn turn<R>(&self, f: impl FnOnce(&mut Engine, Instant) -> R) -> Option<R> {
        let mut guard = self.lock();
        let State { engine, wakers } = &mut *guard;
        let engine = engine.as_mut()?;
        let (now, deadline) = (Instant::now(), engine.poll_timeout());
        let result = f(engine, now);
        // Under load this lock is hard to get for the root task: whoever has it
        // also does what is due.
        if engine.poll_timeout().is_some_and(|at| at <= now) {
            engine.handle_timeout(now);
        }
        for id in engine.take_dirty() {
            let Some(wakers) = wakers.get(&id) else { continue };
            wakers.write.notify_one();
            if engine.wants_read(id) {
                wakers.read.notify_one();
            }
            if engine.is_aborted(id) {
                wakers.abort.notify_one();
            }
        }
        if deadline != engine.poll_timeout() {
            self.root.notify_one();
        }
        drop(guard);
        self.turned.notify_waiters();
        Some(result)
    }

    pub(super) fn end(&self) {
        self.lock().engine = None;
    }

    pub(super) async fn wait_for<R>(&self, mut check: impl FnMut(&Engine) -> Option<R>) -> R {
        loop {
            let turned = self.turned.notified();
            tokio::pin!(turned);
            // Registered before looking, so that no turn is missed.
            turned.as_mut().enable();
            let found = self.lock().engine.as_ref().and_then(&mut check);
            if let Some(found) = found {
                return found;
            }
            turned.await;
        }
    }

    fn register(&self, id: ConnId) -> Arc<Wakers> {
        Arc::clone(self.lock().wakers.entry(id).or_default())
    }

    fn closed(&self, id: ConnId) {
        self.lock().wakers.remove(&id);
        self.turn(|engine, now| engine.closed(now, id));
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("engine", &self.lock().engine).finish_non_exhaustive()
    }
}

/// The root task: accepts, dials, keeps the time, and owns every other task.
pub(super) async fn run(shared: Arc<Shared>, listeners: Vec<Listener>, mut stopped: oneshot::Receiver<()>) {
    let mut tasks = JoinSet::new();
    let (accepted, mut incoming) = mpsc::channel(1);
    for listener in listeners {
        tasks.spawn(accept(listener, accepted.clone()));
    }
    loop {
        while let Some((peer, uri)) = shared.turn(|engine, now| engine.poll_dial(now)).flatten() {
            tasks.spawn(dial(Arc::clone(&shared), peer, uri));
        }
        let deadline = shared.turn(|engine, _| engine.poll_timeout()).flatten();
        tokio::select! {
            _ = &mut stopped => break,
            Some(stream) = incoming.recv() => {
                if let Some(id) = shared.turn(|engine, now| engine.accept(now)) {
                    tasks.spawn(accepted_on(Arc::clone(&shared), id, stream));
                }
            }
            () = sleep_until(deadline) => {
                shared.turn(|engine, now| engine.handle_timeout(now));
            }
            () = shared.root.notified() => {}
            Some(_) = tasks.join_next() => {}
        }
    }
    tasks.shutdown().await;
}

async fn accept(listener: Listener, accepted: mpsc::Sender<Incoming>) {
    loop {
        match listener.accept().await {
            Ok(stream) => {
                if accepted.send(stream).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of descriptors, most likely: wait for some to close.
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// A connection that came in, once the engine wants to read from it.
async fn accepted_on(shared: Arc<Shared>, id: ConnId, stream: Incoming) {
    let wakers = shared.register(id);
    let open = async {
        wants_read(&shared, id, &wakers).await;
        preamble::pass(stream.open().await?).await
    };
    let closes = async {
        while !shared.turn(|engine, _| engine.should_close(id)).unwrap_or(true) {
            wakers.write.notified().await;
        }
    };
    let opened = tokio::select! {
        opened = open => opened,
        () = wakers.abort.notified() => Err(io::ErrorKind::ConnectionAborted.into()),
        () = closes => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    match opened {
        Ok(stream) => serve(shared, id, stream).await,
        Err(error) => {
            tracing::debug!(connection = id.number(), %error, "a connection ended before its first frame");
            shared.closed(id);
        }
    }
}

async fn wants_read(shared: &Shared, id: ConnId, wakers: &Wakers) {
    while !shared.turn(|engine, _| engine.wants_read(id)).unwrap_or(false) {
        wakers.read.notified().await;
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn dial(shared: Arc<Shared>, peer: PeerId, uri: String) {
    let connected = match uri.parse::<Uri>() {
        Ok(uri) => tokio::time::timeout(DIAL_TIMEOUT, SocketConnector::default().connect(&uri)).await,
        Err(error) => Ok(Err(io::Error::new(io::ErrorKind::InvalidInput, error))),
    };
    match connected {
        Ok(Ok(stream)) => {
            if let Some(id) = shared.turn(|engine, now| engine.dialed(now, peer)) {
                serve(shared, id, stream).await;
            }
        }
        _ => {
            tracing::debug!(peer = peer.index(), "cannot dial a peer");
            shared.turn(|engine, now| engine.dial_failed(now, peer));
        }
    }
}

/// One connection. Reading and writing do not wait for each other.
async fn serve(shared: Arc<Shared>, id: ConnId, stream: Box<dyn Transport>) {
    let wakers = shared.register(id);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let read = async {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        loop {
            wants_read(&shared, id, &wakers).await;
            buffer.clear();
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => shared.turn(|engine, now| engine.receive(now, id, &buffer)),
            };
            // A read can hold a thousand messages, and tokio only counts reads:
            // let the writing side, and everybody else, have their turn.
            tokio::task::yield_now().await;
        }
    };
    let write = async {
        loop {
            while let Some(bytes) = shared.turn(|engine, _| engine.poll_transmit(id)).flatten() {
                if writer.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            if writer.flush().await.is_err() {
                return;
            }
            if shared.turn(|engine, _| engine.should_close(id)).unwrap_or(true) {
                let _ = writer.shutdown().await;
                return;
            }
            wakers.write.notified().await;
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
        () = wakers.abort.notified() => {}
    }
    shared.closed(id);
}
