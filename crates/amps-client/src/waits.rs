//! Calls of the application that wait: for reports, and as spans.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time;
use tracing::{Instrument, debug_span};

/// The calls of one client that wait now. Cheap to clone; keeps nothing alive.
#[derive(Debug, Clone)]
pub(crate) struct Waits {
    client: Arc<str>,
    calls: Arc<Mutex<Calls>>,
}

#[derive(Debug, Default)]
struct Calls {
    next: u64,
    /// In order, and its memory is used again: a publisher that waits for room
    /// does so often.
    waiting: Vec<(u64, Call)>,
}

#[derive(Debug)]
struct Call {
    name: &'static str,
    topic: String,
    since: Instant,
}

impl Waits {
    pub(crate) fn new(client: &str) -> Self {
        Self { client: client.into(), calls: Arc::default() }
    }

    /// Awaits the answer of a call; while it does, that is on the list.
    pub(crate) async fn on<T>(&self, call: &'static str, topic: &str, answer: impl Future<Output = T>) -> T {
        let _waiting = self.begin(call, topic);
        let span = debug_span!("amps.command", client = &*self.client, command = call, topic);
        answer.instrument(span).await
    }

    fn begin(&self, name: &'static str, topic: &str) -> Waiting {
        let mut calls = self.lock();
        let number = calls.next;
        calls.next += 1;
        calls.waiting.push((number, Call { name, topic: topic.to_owned(), since: now() }));
        Waiting { calls: self.clone(), number }
    }

    /// What waits, in order: name, topic, and for how long.
    pub(crate) fn list(&self) -> Vec<(&'static str, String, Duration)> {
        let now = now();
        let age = |since: Instant| now.saturating_duration_since(since);
        self.lock().waiting.iter().map(|(_, call)| (call.name, call.topic.clone(), age(call.since))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call, for as long as this lives: however its future ends.
struct Waiting {
    calls: Waits,
    number: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut calls = self.calls.lock();
        if let Ok(place) = calls.waiting.binary_search_by_key(&self.number, |(number, _)| *number) {
            calls.waiting.remove(place);
        }
    }
}

fn now() -> Instant {
    time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_is_on_the_list_for_as_long_as_it_waits() {
        let waits = Waits::new("me");
        let (late, never) = (time::sleep(Duration::from_secs(2)), pending::<()>());
        let mut never = Box::pin(waits.on("flush", "", never));
        let both = async { tokio::join!(waits.on("subscribe", "orders", late), &mut never) };
        let cut = time::timeout(Duration::from_secs(1), both).await;
        assert!(cut.is_err());
        assert_eq!(waits.list(), [("flush", String::new(), Duration::from_secs(1))], "a dropped call waits no more");
        drop(never);
        assert_eq!(waits.list(), []);
        assert_eq!(waits.on("sow", "t", async { 7 }).await, 7);
    }
}
