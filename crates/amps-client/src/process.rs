//! A worker: handlers that run beside each other over the messages of a queue.

use std::error::Error;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;

use amps_core::Message;
use amps_ha::error::CommandError;
use amps_ha::event::HandlerFailed;
use amps_ha::subscriptions::{AckOption, Item};
use amps_ha::user_code::{UserError, contain, contain_future};
use tokio::task::JoinSet;

use crate::handle::SubscriptionHandle;
use crate::handling::failed;
use crate::subscribe::Subscription;

/// What a [worker](Subscription::process) did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Processed {
    /// Messages whose handler succeeded, and that were acknowledged.
    pub done: u64,
    /// Messages whose handler failed or panicked, and that were given back.
    pub failed: u64,
    /// Messages whose handler ended after their connection had: they come again,
    /// here or elsewhere.
    pub lost: u64,
}

/// What a handler is called in reports.
const WHAT: &str = "message handler";

/// How a handler ended.
type Outcome = Result<(), UserError>;

impl Subscription {
    /// Works through a queue: calls `handler` with each message and runs up to
    /// `concurrency` of the futures it answers beside each other, never more
    /// than the [backlog](Self::backlog) the server grants. What ends with `Ok`
    /// is acknowledged; what ends with an error or a panic is given back to the
    /// queue, and told as [`Event::HandlerFailed`](crate::Event::HandlerFailed). Ends with the subscription.
    ///
    /// A connection may be lost while handlers run. They go on, but what they
    /// did is not acknowledged: the server delivers the message again. So a
    /// handler has to bear that a message is handled more than once. A message
    /// that has not reached a handler by then is passed over when it comes
    /// again.
    ///
    /// What was read before is done with, where
    /// [`done_on_next`](crate::Subscribe::done_on_next) was asked for.
    ///
    /// To have as many handlers running, ask for a
    /// [`max_backlog`](crate::Subscribe::max_backlog) above `concurrency`.
    ///
    /// ```no_run
    /// # async fn example(client: amps_client::Client) -> Result<(), amps_client::Error> {
    /// # async fn carry_out(_: &[u8]) -> Result<(), std::io::Error> { Ok(()) }
    /// use amps_client::Subscribe;
    /// let mut work = client.subscribe(Subscribe::to("work").max_backlog(20)).await?;
    /// let stop = async { tokio::time::sleep(std::time::Duration::from_secs(60)).await };
    /// let processed = work.process_until(stop, 10, |message| async move { carry_out(message.data()).await }).await?;
    /// println!("{} done, {} given back", processed.done, processed.failed);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`CommandError`] says why the subscription ended.
    ///
    /// # Cancel safety
    /// A dropped call stops the handlers at their next `await` and gives their
    /// messages back to the queue. [`process_until`](Self::process_until) lets
    /// them finish.
    pub async fn process<H, F, E>(&mut self, concurrency: usize, handler: H) -> Result<Processed, CommandError>
    where
        H: FnMut(Message) -> F,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        self.process_until(pending(), concurrency, handler).await
    }

    /// As [`process`](Self::process), until `stop` is ready: then no more
    /// messages are taken, the handlers that run are waited for, and their
    /// acknowledgements are flushed. What waits in the stream stays leased until
    /// the subscription is dropped.
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    ///
    /// # Cancel safety
    /// As for [`process`](Self::process).
    pub async fn process_until<H, F, E>(
        &mut self,
        stop: impl Future<Output = ()>,
        concurrency: usize,
        mut handler: H,
    ) -> Result<Processed, CommandError>
    where
        H: FnMut(Message) -> F,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        self.current_is_done();
        let mut stop = pin!(stop);
        let mut workers = Workers::new(self.handle());
        let ended = loop {
            let granted = self.backlog().map_or(usize::MAX, |granted| usize::try_from(granted).unwrap_or(usize::MAX));
            let has_room = workers.running.len() < concurrency.min(granted).max(1);
            tokio::select! {
                biased;
                () = &mut stop => break Ok(()),
                failed = workers.next_done() => self.tell_failed(failed),
                message = self.next_undealt(), if has_room => match message {
                    Ok(Some(message)) => {
                        // Its lease is gone and it comes again: not twice for nothing.
                        let stale = message.lease_period().is_some() && !self.is_leased(&message);
                        if !stale {
                            let failed = workers.begin(message, &mut handler);
                            self.tell_failed(failed);
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                },
            }
        };
        while !workers.running.is_empty() {
            let failed = workers.next_done().await;
            self.tell_failed(failed);
        }
        // Of what is not confirmed, the server delivers again what it did not get.
        let _ = self.flush_acks().await;
        ended.map(|()| workers.processed)
    }

    /// The next message, of which nothing is said by asking for another.
    async fn next_undealt(&mut self) -> Result<Option<Message>, CommandError> {
        while let Some(item) = poll_fn(|context| self.reader.poll_next(context)).await {
            if let Item::Message(message) = item? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

/// Handlers that run.
struct Workers {
    handle: SubscriptionHandle,
    running: JoinSet<(Taken, Outcome)>,
    processed: Processed,
}

impl Workers {
    fn new(handle: SubscriptionHandle) -> Self {
        Self { handle, running: JoinSet::new(), processed: Processed::default() }
    }

    /// Calls the handler. Answers what to tell when that panics.
    fn begin<F, E>(&mut self, message: Message, handler: &mut impl FnMut(Message) -> F) -> Option<HandlerFailed>
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let taken = Taken { handle: self.handle.clone(), message: message.clone(), settled: false };
        match contain(WHAT, || handler(message)) {
            Ok(work) => {
                self.running.spawn(async move {
                    let ended = contain_future(WHAT, || work).await;
                    (taken, ended.map_err(UserError::new).and_then(|outcome| outcome.map_err(UserError::new)))
                });
                None
            }
            Err(panicked) => self.settle(taken, Err(UserError::new(panicked))),
        }
    }

    /// Waits for the next handler that ends; for ever when none runs.
    async fn next_done(&mut self) -> Option<HandlerFailed> {
        match self.running.join_next().await {
            Some(Ok((taken, outcome))) => self.settle(taken, outcome),
            // The runtime ends; what was taken is given back.
            Some(Err(_)) => None,
            None => pending().await,
        }
    }

    fn settle(&mut self, mut taken: Taken, outcome: Outcome) -> Option<HandlerFailed> {
        taken.settled = true;
        let (sent, count) = match &outcome {
            Ok(()) => (self.handle.ack(&taken.message), &mut self.processed.done),
            Err(_) => (self.handle.ack_with(&taken.message, AckOption::Cancel), &mut self.processed.failed),
        };
        *(if sent { count } else { &mut self.processed.lost }) += 1;
        outcome.err().map(|error| failed(&taken.message, error))
    }
}

/// A message that a handler has. Dropped with the handler, it is given back.
struct Taken {
    handle: SubscriptionHandle,
    message: Message,
    settled: bool,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.settled {
            self.handle.ack_with(&self.message, AckOption::Cancel);
        }
    }
}
