use std::fmt;
use std::future::{Future, pending};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use amps_core::Message;
use amps_ha::subscriptions::{AckOption, QueueStats, Replacement};
use tokio::task::{JoinError, spawn_blocking};

use super::runtime::Runtime;
use crate::any_error::Error;
use crate::exactly_once::Batch;
use crate::handling::MessageGuard;
use crate::process::Processed;
use crate::subscribe::SubscriptionEvent;

/// The messages of a subscription, or the records of a query; see
/// [`Subscription`](crate::Subscription).
///
/// An iterator over its events that waits for each, and stays open across
/// reconnects. It ends when the client is closed; an error is its last item but
/// one, unless it is [`Error::WouldDeadlock`], which changes nothing. Dropping it
/// unsubscribes.
pub struct Subscription {
    stream: crate::Subscription,
    runtime: Arc<Runtime>,
}

impl Subscription {
    pub(super) fn new(stream: crate::Subscription, runtime: &Arc<Runtime>) -> Self {
        Self { stream, runtime: Arc::clone(runtime) }
    }

    /// The stream itself, for what does not wait.
    pub fn as_async(&self) -> &crate::Subscription {
        &self.stream
    }

    /// The next message, passing over other events; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Command`] says why the subscription ended;
    /// [`Error::WouldDeadlock`].
    pub fn next_message(&mut self) -> Result<Option<Message>, Error> {
        self.runtime.wait(self.stream.next_message())
    }

    /// The same, for so long at most.
    ///
    /// # Errors
    /// [`Error::NothingYet`] when the time is over: the stream goes on, and no
    /// message is lost. Otherwise as for [`next_message`](Self::next_message).
    pub fn next_message_within(&mut self, limit: Duration) -> Result<Option<Message>, Error> {
        Ok(self.runtime.wait_within(limit, self.stream.next_message())??)
    }

    /// The next event, waiting for so long at most; `None` at the end.
    ///
    /// # Errors
    /// [`Error::NothingYet`] when the time is over: the stream goes on, and no
    /// event is lost. [`Error::Command`] says why the subscription ended;
    /// [`Error::WouldDeadlock`].
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<SubscriptionEvent>, Error> {
        Ok(self.runtime.wait_within(limit, self.stream.next())?.transpose()?)
    }

    /// The messages, passing over other events, for a `for` loop.
    ///
    /// ```no_run
    /// # use amps_client::{Error, blocking::Subscription};
    /// fn show(mut orders: Subscription) -> Result<(), Error> {
    ///     for order in orders.messages() {
    ///         println!("{:?}", order?);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn messages(&mut self) -> Messages<'_> {
        Messages(self)
    }

    /// The next message, to be discarded or acknowledged by
    /// [`done`](MessageGuard::done); see
    /// [`next_guarded`](crate::Subscription::next_guarded).
    ///
    /// # Errors
    /// As for [`next_message`](Self::next_message).
    pub fn next_guarded(&mut self) -> Result<Option<MessageGuard<'_>>, Error> {
        self.runtime.wait(self.stream.next_guarded())
    }

    /// Calls `handler` with one message after another, on this thread, until the
    /// subscription ends; see [`for_each`](crate::Subscription::for_each). The
    /// handler may call the client.
    ///
    /// # Errors
    /// As for [`next_message`](Self::next_message).
    pub fn for_each_message<E>(&mut self, handler: impl FnMut(&Message) -> Result<(), E>) -> Result<(), Error>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.runtime.wait(self.stream.for_each(handler))
    }

    /// Works through a queue: calls `handler` with each message, up to
    /// `concurrency` of them beside each other on threads of their own, until the
    /// subscription ends; see [`process`](crate::Subscription::process). The
    /// handler may call the client.
    ///
    /// # Errors
    /// As for [`next_message`](Self::next_message).
    pub fn process<E>(
        &mut self,
        concurrency: usize,
        handler: impl Fn(Message) -> Result<(), E> + Send + Sync + 'static,
    ) -> Result<Processed, Error>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        self.process_until(pending(), concurrency, handler)
    }

    /// The same until `stop` is ready, such as a channel of tokio that another
    /// thread sends into; see [`process_until`](crate::Subscription::process_until).
    ///
    /// # Errors
    /// As for [`next_message`](Self::next_message).
    pub fn process_until<E>(
        &mut self,
        stop: impl Future<Output = ()>,
        concurrency: usize,
        handler: impl Fn(Message) -> Result<(), E> + Send + Sync + 'static,
    ) -> Result<Processed, Error>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let on_a_thread = |message| {
            let handler = Arc::clone(&handler);
            let work = spawn_blocking(move || handler(message));
            async move {
                match work.await.map_err(JoinError::try_into_panic) {
                    Ok(outcome) => outcome,
                    // The handler's, and told as such.
                    Err(Ok(panic)) => resume_unwind(panic),
                    // The client's thread ends, and this with it.
                    Err(Err(_)) => pending().await,
                }
            }
        };
        self.runtime.wait(self.stream.process_until(stop, concurrency, on_a_thread))
    }

    /// Says that a message of a bookmark subscription is done with; returns at
    /// once. See [`discard`](crate::Subscription::discard).
    pub fn discard(&self, message: &Message) {
        self.stream.discard(message);
    }

    /// Waits until everything discarded so far survives a new process; see
    /// [`discarded`](crate::Subscription::discarded).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn discarded(&self) -> Result<(), Error> {
        self.runtime.wait(self.stream.discarded())
    }

    /// Says that a message of a queue is done with; see
    /// [`ack`](crate::Subscription::ack).
    pub fn ack(&self, message: &Message) -> bool {
        self.stream.ack(message)
    }

    /// As [`ack_with`](crate::Subscription::ack_with).
    pub fn ack_with(&self, message: &Message, option: AckOption) -> bool {
        self.stream.ack_with(message, option)
    }

    /// As [`ack_all`](crate::Subscription::ack_all).
    pub fn ack_all<'m>(&self, messages: impl IntoIterator<Item = &'m Message>) -> usize {
        self.stream.ack_all(messages)
    }

    /// As [`flush_acks`](crate::Subscription::flush_acks).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn flush_acks(&self) -> Result<(), Error> {
        self.runtime.wait(self.stream.flush_acks())
    }

    /// Goes on with batches, for exactly-once processing with a database of the
    /// application's own; see [`exactly_once`](crate::Subscription::exactly_once).
    ///
    /// # Errors
    /// [`Error::Command`] when this is no bookmark subscription.
    pub fn exactly_once(self) -> Result<ExactlyOnce, Error> {
        Ok(ExactlyOnce { batches: self.stream.exactly_once()?, runtime: self.runtime })
    }

    /// What changes this subscription from elsewhere; see
    /// [`handle`](crate::Subscription::handle).
    pub fn handle(&self) -> SubscriptionHandle {
        SubscriptionHandle { handle: self.stream.handle(), runtime: Arc::clone(&self.runtime) }
    }

    /// Counters.
    pub fn stats(&self) -> QueueStats {
        self.stream.stats()
    }

    /// Events waiting to be read.
    pub fn depth(&self) -> usize {
        self.stream.depth()
    }
}

impl Iterator for Subscription {
    type Item = Result<SubscriptionEvent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.runtime.wait_for(self.stream.next()) {
            Ok(event) => event.map(|event| event.map_err(Into::into)),
            Err(error) => Some(Err(error)),
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

/// The messages of a subscription; see [`Subscription::messages`].
#[derive(Debug)]
pub struct Messages<'a>(&'a mut Subscription);

impl Iterator for Messages<'_> {
    type Item = Result<Message, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_message().transpose()
    }
}

/// The messages of a bookmark subscription in batches, for effects that happen
/// exactly once; see [`ExactlyOnce`](crate::ExactlyOnce).
#[derive(Debug)]
pub struct ExactlyOnce {
    batches: crate::ExactlyOnce,
    runtime: Arc<Runtime>,
}

impl ExactlyOnce {
    /// The next messages, up to `most` of those that are there, waiting for one at
    /// least; see [`next_batch`](crate::ExactlyOnce::next_batch).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn next_batch(&mut self, most: usize) -> Result<Option<Batch<'_>>, Error> {
        self.runtime.wait(self.batches.next_batch(most))
    }
}

/// Changes a subscription while somebody else reads it; see
/// [`SubscriptionHandle`](crate::SubscriptionHandle). It keeps neither the
/// subscription nor the client's connection alive, only the client's thread.
#[derive(Debug, Clone)]
pub struct SubscriptionHandle {
    handle: crate::SubscriptionHandle,
    runtime: Arc<Runtime>,
}

impl SubscriptionHandle {
    /// The handle itself, for what does not wait, such as
    /// [`ack`](crate::SubscriptionHandle::ack).
    pub fn as_async(&self) -> &crate::SubscriptionHandle {
        &self.handle
    }

    /// As [`replace`](crate::SubscriptionHandle::replace).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn replace(&self, with: Replacement) -> Result<(), Error> {
        self.runtime.wait(self.handle.replace(with))
    }

    /// As [`pause`](crate::SubscriptionHandle::pause).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn pause(&self) -> Result<(), Error> {
        self.runtime.wait(self.handle.pause())
    }

    /// As [`resume`](crate::SubscriptionHandle::resume).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn resume(&self) -> Result<(), Error> {
        self.runtime.wait(self.handle.resume())
    }

    /// As [`flush_acks`](crate::SubscriptionHandle::flush_acks).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn flush_acks(&self) -> Result<(), Error> {
        self.runtime.wait(self.handle.flush_acks())
    }
}
