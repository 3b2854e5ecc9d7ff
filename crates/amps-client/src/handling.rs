use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use amps_core::Message;
use amps_ha::error::CommandError;
use amps_ha::event::{Event, HandlerFailed};
use amps_ha::user_code::{UserError, contain};

use crate::subscribe::Subscription;

/// A message that is discarded, or, of a queue, acknowledged, when
/// [`done`](Self::done) says so. Dropped without that, as by `?` or a panic, it
/// is not: in a new process it comes again, and a queue gets it back at once.
/// See [`Subscription::next_guarded`].
#[must_use = "the message is dealt with only by `done`"]
pub struct MessageGuard<'a> {
    subscription: &'a Subscription,
    message: Message,
    done: bool,
}

impl MessageGuard<'_> {
    /// The message is done with; see [`Subscription::discard`] and
    /// [`Subscription::ack`].
    pub fn done(mut self) {
        self.done = true;
        self.subscription.done(&self.message);
    }
}

impl Drop for MessageGuard<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.subscription.not_done(&self.message);
        }
    }
}

impl Deref for MessageGuard<'_> {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl fmt::Debug for MessageGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MessageGuard").field(&self.message).finish()
    }
}

impl Subscription {
    /// The next message, passing over other events, to be discarded or
    /// acknowledged with [`MessageGuard::done`] when it is dealt with; `None` at
    /// the end.
    ///
    /// ```
    /// # use amps_client::{Client, Subscription, Error};
    /// # fn book(order: &[u8]) -> Result<(), Error> { Ok(()) }
    /// async fn book_all(mut orders: Subscription) -> Result<(), Error> {
    ///     while let Some(order) = orders.next_guarded().await? {
    ///         book(order.data())?;
    ///         order.done();
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`CommandError`] says why the subscription ended.
    ///
    /// # Cancel safety
    /// Safe: no message is lost.
    pub async fn next_guarded(&mut self) -> Result<Option<MessageGuard<'_>>, CommandError> {
        let message = self.next_message().await?;
        Ok(message.map(|message| MessageGuard { subscription: self, message, done: false }))
    }

    /// Calls `handler` with one message after another, until the subscription
    /// ends. What it answers with `Ok` is discarded, or acknowledged when it is
    /// from a queue. An error or a panic is told as [`Event::HandlerFailed`] and
    /// logged, the message is not discarded, a queue gets it back, and the next
    /// one follows.
    ///
    /// The handler runs in the task that awaits this: while it blocks, the
    /// queue fills, and nothing else waits.
    ///
    /// # Errors
    /// [`CommandError`] says why the subscription ended.
    ///
    /// # Cancel safety
    /// Safe: no message is lost.
    pub async fn for_each<E>(&mut self, mut handler: impl FnMut(&Message) -> Result<(), E>) -> Result<(), CommandError>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        while let Some(message) = self.next_message().await? {
            let error = match contain("message handler", || handler(&message)) {
                Ok(Ok(())) => {
                    self.done(&message);
                    continue;
                }
                Ok(Err(error)) => UserError::new(error),
                Err(panicked) => UserError::new(panicked),
            };
            self.not_done(&message);
            self.tell_failed(Some(failed(&message, error)));
        }
        Ok(())
    }

    pub(crate) fn tell_failed(&self, failed: Option<HandlerFailed>) {
        if let Some(failed) = failed {
            let _ = self.client.events.send(Event::HandlerFailed(Arc::new(failed)));
        }
    }
}

/// What is told of a handler that failed.
pub(crate) fn failed(message: &Message, error: UserError) -> HandlerFailed {
    tracing::error!(%error, topic = ?message.topic(), "a message handler failed");
    HandlerFailed::new(message.detached(), error)
}
