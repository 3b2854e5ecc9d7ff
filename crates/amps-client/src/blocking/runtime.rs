use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::consume_budget;

use crate::any_error::Error;
use crate::error::OpenError;

/// More than tokio lets a task do before it has to yield.
const BUDGET: usize = 256;

/// The thread that does the work of one client. It ends when the last of a
/// client's parts is dropped, and is waited for by nobody.
#[derive(Debug)]
pub(super) struct Runtime {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl Runtime {
    pub(super) fn start(client: &str) -> Result<Arc<Self>, Error> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(OpenError::Thread)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let work = move || {
            // Nothing is ever sent; it ends when the other side is dropped.
            let _ = runtime.block_on(stopped);
        };
        let name = format!("amps-{client}").replace('\0', " ");
        thread::Builder::new().name(name).spawn(work).map_err(OpenError::Thread)?;
        Ok(Arc::new(Self { handle, _stop: stop }))
    }

    /// Waits for what a call of the async client answers.
    pub(super) fn wait<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, Error>
    where
        E: Into<Error>,
    {
        self.wait_for(call)?.map_err(Into::into)
    }

    /// Waits for a future whose result is none of an error.
    pub(super) fn wait_for<T>(&self, future: impl Future<Output = T>) -> Result<T, Error> {
        Ok(self.wait_until(None, future)?.expect("without a time limit it ends with the future"))
    }

    /// The same, for so long at most.
    pub(super) fn wait_within<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Result<T, Error> {
        // A time that cannot be named is for ever.
        self.wait_until(Instant::now().checked_add(limit), future)?.ok_or(Error::NothingYet { after: limit })
    }

    /// `None` when the time is over, whatever the client's thread is at.
    pub(super) fn wait_until<T>(
        &self,
        until: Option<Instant>,
        future: impl Future<Output = T>,
    ) -> Result<Option<T>, Error> {
        check()?;
        let _entered = self.handle.enter();
        Ok(block_on(until, future))
    }
}

/// Whether this thread may wait.
pub(super) fn check() -> Result<(), Error> {
    if in_async_code() { Err(Error::WouldDeadlock) } else { Ok(()) }
}

/// Whether this is within the poll of a future of tokio, and not in a place for
/// blocking code, nor merely where a runtime is at hand. Async code has a budget
/// after which it has to yield, and only that: it is used up here, so that
/// whatever follows in this poll yields once.
fn in_async_code() -> bool {
    let budget_ends = || {
        let one = pin!(consume_budget());
        one.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    };
    Handle::try_current().is_ok() && (0..BUDGET).any(|_| budget_ends())
}

/// Polls a future on this thread until it is ready, or the time is over.
fn block_on<T>(until: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let signal = Taken::signal();
    let waker = Waker::from(Arc::clone(&signal.0));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(result) => return Some(result),
            Poll::Pending if signal.0.wait(until) => {}
            Poll::Pending => return None,
        }
    }
}

/// What wakes a thread that waits.
#[derive(Debug, Default)]
struct Signal {
    woken: Mutex<bool>,
    wake: Condvar,
}

impl Signal {
    /// `false` when the time is over.
    fn wait(&self, until: Option<Instant>) -> bool {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        while !std::mem::take(&mut *woken) {
            woken = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.wake.wait(woken).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return false,
                Some(left) => self.wake.wait_timeout(woken, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        true
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_one();
    }
}

thread_local! {
    /// Used again by the next call, so that a message costs no allocation.
    static SIGNAL: Cell<Option<Arc<Signal>>> = const { Cell::new(None) };
}

/// A thread's signal while a call uses it. A call within a call, as from a message
/// handler, has one of its own.
struct Taken(Arc<Signal>);

impl Taken {
    fn signal() -> Self {
        Self(SIGNAL.take().unwrap_or_default())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        SIGNAL.set(Some(Arc::clone(&self.0)));
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, block_in_place, spawn_blocking};

    use super::*;

    fn multi_thread() -> tokio::runtime::Runtime {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    #[test]
    fn async_code_is_told_from_where_blocking_is_allowed() {
        assert!(!in_async_code(), "a thread of its own");
        let single = Builder::new_current_thread().build().unwrap();
        let multi = multi_thread();
        for (what, is) in [
            ("the future of a single-threaded runtime", single.block_on(async { in_async_code() })),
            ("a task of it", single.block_on(async { tokio::spawn(async { in_async_code() }).await.unwrap() })),
            ("the future of a runtime of threads", multi.block_on(async { in_async_code() })),
            ("a task of it", multi.block_on(async { tokio::spawn(async { in_async_code() }).await.unwrap() })),
            (
                "a task of a set",
                LocalSet::new()
                    .block_on(&multi, async { tokio::task::spawn_local(async { in_async_code() }).await.unwrap() }),
            ),
            ("the second look", single.block_on(async { in_async_code() && in_async_code() })),
        ] {
            assert!(is, "{what} is async code");
        }
        for (what, is) in [
            ("spawn_blocking", multi.block_on(async { spawn_blocking(in_async_code).await.unwrap() })),
            ("spawn_blocking of one thread", single.block_on(async { spawn_blocking(in_async_code).await.unwrap() })),
            ("block_in_place", multi.block_on(async { block_in_place(in_async_code) })),
            (
                "block_in_place in a task",
                multi.block_on(async { tokio::spawn(async { block_in_place(in_async_code) }).await.unwrap() }),
            ),
            ("a thread with a runtime at hand", {
                let _entered = multi.enter();
                in_async_code()
            }),
        ] {
            assert!(!is, "{what} is no async code");
        }
    }

    #[test]
    fn a_call_waits_until_it_is_woken_or_its_time_is_over() {
        let (send, receive) = oneshot::channel();
        let sender = thread::spawn(move || send.send(7).unwrap());
        assert_eq!(block_on(None, receive), Some(Ok(7)));
        sender.join().unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(block_on::<()>(Some(soon), std::future::pending()), None);
        assert!(Instant::now() >= soon);
        let within = block_on(None, async { block_on(None, async { 8 }) });
        assert_eq!(within, Some(Some(8)), "a call within a call");
    }
}
