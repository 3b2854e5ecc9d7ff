use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use amps_core::Message;
use amps_ha::error::CommandError;
use amps_ha::event::{Event, HandlerFailed};
use amps_ha::user_code::{UserError, contain};

use crate::subscribe::Subscription;

/// A message that is discarded when [`done`](Self::done) says so. Dropped
/// without that, as by `?` or a panic, it is not: in a new process it comes
/// again. See [`Subscription::next_guarded`].
#[must_use = "the message is discarded only by `done`"]
pub struct MessageGuard<'a> {
    subscription: &'a Subscription,
    message: Message,
}

impl MessageGuard<'_> {
    /// The message is done with; see [`Subscription::discard`].
    pub fn done(self) {
        self.subscription.discard(&self.message);
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
    /// The next message, passing over other events, to be discarded with
    /// [`MessageGuard::done`] when it is dealt with; `None` at the end.
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
        Ok(message.map(|message| MessageGuard { subscription: self, message }))
    }

    /// Calls `handler` with one message after another, until the subscription
    /// ends. What it answers with `Ok` is discarded. An error or a panic is
    /// told as [`Event::HandlerFailed`] and logged, the message is not
    /// discarded, and the next one follows.
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
                    self.discard(&message);
                    continue;
                }
                Ok(Err(error)) => UserError::new(error),
                Err(panicked) => UserError::new(panicked),
            };
            tracing::error!(%error, topic = ?message.topic(), "a message handler failed");
            let failed = HandlerFailed::new(message.detached(), error);
            let _ = self.client.events.send(Event::HandlerFailed(Arc::new(failed)));
        }
        Ok(())
    }
}
