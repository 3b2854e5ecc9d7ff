//! Acknowledging the messages of queues (AMPS User Guide, "Message Queues").

use std::sync::Arc;

use amps_core::{Bookmark, Message};
use amps_ha::client_core::{Deleted, Request};
use amps_ha::error::CommandError;
use amps_ha::subscriptions::{ACK_BATCH_MAX, AckBatch, AckOption, Added};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::handle::SubscriptionHandle;
use crate::subscribe::Subscription;

/// Acknowledging messages of queues, from whichever task has them; see
/// [`Subscription::ack`].
impl SubscriptionHandle {
    /// As [`Subscription::ack`].
    pub fn ack(&self, message: &Message) -> bool {
        let added = self.queue.with_acks(|acks| acks.add(message, None));
        self.tell(added)
    }

    /// As [`Subscription::ack_with`].
    pub fn ack_with(&self, message: &Message, option: AckOption) -> bool {
        let added = self.queue.with_acks(|acks| acks.add(message, Some(option)));
        self.tell(added)
    }

    /// As [`Subscription::ack_all`].
    pub fn ack_all<'m>(&self, messages: impl IntoIterator<Item = &'m Message>) -> usize {
        let (taken, added) = self.queue.with_acks(|acks| acks.add_all(messages));
        self.tell(added);
        taken
    }

    /// As [`Subscription::is_leased`].
    pub fn is_leased(&self, message: &Message) -> bool {
        self.queue.with_acks(|acks| acks.is_leased(message))
    }

    /// As [`Subscription::backlog`].
    pub fn backlog(&self) -> Option<u64> {
        self.queue.with_acks(|acks| acks.backlog())
    }

    /// As [`Subscription::flush_acks`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn flush_acks(&self) -> Result<(), CommandError> {
        let queue = Some(Arc::clone(&self.queue));
        self.ask("flush_acks", |reply| Request::FlushAcks { queue, reply: reply.into() }).await
    }

    fn tell(&self, added: Added) -> bool {
        if added == Added::Tell {
            self.inbox.push(Request::Acks(Arc::clone(&self.queue)));
        }
        added.is_taken()
    }
}

impl Subscription {
    /// Says that a message of a queue is done with: it leaves the queue and
    /// makes room in the [backlog](Self::backlog). Returns at once; the
    /// acknowledgement is sent with others as
    /// [`ack_batch`](crate::Subscribe::ack_batch) says.
    ///
    /// Leases end with their connection. What is not sent by then is dropped,
    /// and a message from before is not acknowledged on the next connection: the
    /// server delivers it again, to whoever comes first. What is sent may still
    /// be lost with the connection; [`flush_acks`](Self::flush_acks) waits
    /// until the server has it.
    ///
    /// `false`: nothing will be sent, since the message is none of a queue, or
    /// from a connection that is gone; what was done for it may be done again.
    ///
    /// ```no_run
    /// # async fn example(client: amps_client::Client) -> Result<(), amps_client::Error> {
    /// # fn carry_out(_: &[u8]) -> bool { true }
    /// use amps_client::{AckOption, Subscribe};
    /// let mut work = client.subscribe(Subscribe::to("work").max_backlog(10).ack_batch(5)).await?;
    /// while let Some(message) = work.next_message().await? {
    ///     match carry_out(message.data()) {
    ///         true => work.ack(&message),
    ///         false => work.ack_with(&message, AckOption::Cancel),
    ///     };
    /// }
    /// # Ok(()) }
    /// ```
    pub fn ack(&self, message: &Message) -> bool {
        self.handle().ack(message)
    }

    /// Gives a message back to its queue, has it expire, or has its lease last
    /// longer; sent at once and by itself, and not answered
    /// ([`Client::ack_with`] waits for the answer). Without effect on the server when the queue delivers at most
    /// once. Answers as [`ack`](Self::ack).
    pub fn ack_with(&self, message: &Message, option: AckOption) -> bool {
        self.handle().ack_with(message, option)
    }

    /// Says that several messages of queues are done with, in one
    /// acknowledgement for each queue, with what waits already, at once. Answers
    /// for how many of them it will be sent; see [`ack`](Self::ack).
    pub fn ack_all<'m>(&self, messages: impl IntoIterator<Item = &'m Message>) -> usize {
        self.handle().ack_all(messages)
    }

    /// Whether a message is one of a queue, and from the connection there is.
    /// Its lease may have run out all the same, when the time it
    /// [names](Message::lease_period) is over.
    pub fn is_leased(&self, message: &Message) -> bool {
        self.handle().is_leased(message)
    }

    /// How many messages of queues the server leases to this subscription at
    /// once: what it granted of [`max_backlog`](crate::Subscribe::max_backlog).
    /// `None` when there are no queues in it, and while there is no connection.
    pub fn backlog(&self) -> Option<u64> {
        self.handle().backlog()
    }

    /// Sends the acknowledgements that wait, and waits until the server has
    /// processed them: the messages do not come again.
    ///
    /// # Errors
    /// [`CommandError::Disconnected`]: there is no connection, or one ended since
    /// the last flush, and what was acknowledged since then may come again. [`CommandError::TimedOut`], and [`CommandError::WouldDeadlock`] in
    /// the task that reads the stream when its queue is full.
    ///
    /// # Cancel safety
    /// A dropped call has sent them all the same.
    pub async fn flush_acks(&self) -> Result<(), CommandError> {
        self.handle().flush_acks().await
    }

    /// The message is dealt with.
    pub(crate) fn done(&self, message: &Message) {
        match self.reader.queue().has_bookmarks() {
            true => self.discard(message),
            false => drop(self.ack(message)),
        }
    }

    /// The message could not be dealt with: a queue gets it back.
    pub(crate) fn not_done(&self, message: &Message) {
        if !self.reader.queue().has_bookmarks() {
            self.ack_with(message, AckOption::Cancel);
        }
    }
}

impl Client {
    /// Acknowledges messages of a queue by their bookmarks, whoever received them,
    /// and waits for the answer: how many of them the server acknowledged, `None`
    /// where it does not count (AMPS developer guides, "Manual Acknowledgement").
    /// Sent at once on the connection there is; kept in no store, and never sent
    /// again.
    ///
    /// Whether a message that is leased to somebody else is acknowledged too is the
    /// queue's configuration (AMPS User Guide, "Message Queues": leasing).
    /// [`Subscription::ack`] knows which connection a message came on, and is sent
    /// together with others.
    ///
    /// ```no_run
    /// # async fn example(client: amps_client::Client) -> Result<(), amps_client::Error> {
    /// use amps_client::BookmarkList;
    /// let done: BookmarkList = "77|3|,77|5|".parse()?;
    /// client.ack("work", done.as_slice()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`CommandError::Disconnected`]: not sent, or the connection was lost before
    /// the answer, and the messages may come again. [`CommandError::Refused`],
    /// [`CommandError::TimedOut`], [`CommandError::WouldDeadlock`];
    /// [`CommandError::Invalid`] for no bookmarks, or more than 10,000.
    ///
    /// # Cancel safety
    /// A dropped call may have acknowledged them, or not.
    pub async fn ack<'b>(
        &self,
        topic: &str,
        bookmarks: impl IntoIterator<Item = &'b Bookmark>,
    ) -> Result<Option<Deleted>, CommandError> {
        self.acknowledge(topic, bookmarks, None).await
    }

    /// As [`ack`](Self::ack), to give messages back, have them expire, or have
    /// their leases last longer.
    ///
    /// # Errors
    /// As for [`ack`](Self::ack).
    ///
    /// # Cancel safety
    /// As for [`ack`](Self::ack).
    pub async fn ack_with<'b>(
        &self,
        topic: &str,
        bookmarks: impl IntoIterator<Item = &'b Bookmark>,
        option: AckOption,
    ) -> Result<Option<Deleted>, CommandError> {
        self.acknowledge(topic, bookmarks, Some(option)).await
    }

    pub(crate) async fn acknowledge<'b>(
        &self,
        topic: &str,
        bookmarks: impl IntoIterator<Item = &'b Bookmark>,
        option: Option<AckOption>,
    ) -> Result<Option<Deleted>, CommandError> {
        let batch = AckBatch { topic: topic.to_owned(), bookmarks: bookmarks.into_iter().copied().collect(), option };
        let rule = match batch.bookmarks.len() {
            _ if topic.is_empty() => Some("a topic is missing"),
            1..=ACK_BATCH_MAX => None,
            _ => Some("an acknowledgement names 1 to 10,000 messages"),
        };
        if let Some(rule) = rule {
            return Err(CommandError::Invalid { command: "sow_delete", topic: batch.topic, rule });
        }
        let (reply, answer) = oneshot::channel();
        self.inner.inbox.push(Request::Acknowledge { batch, reply });
        self.inner.waits.on("ack", topic, answer).await.unwrap_or(Err(CommandError::Closed))
    }

    /// Sends the acknowledgements that wait in all subscriptions to queues, and
    /// waits until the server has processed them; see
    /// [`Subscription::flush_acks`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn flush_acks(&self) -> Result<(), CommandError> {
        let (reply, answer) = oneshot::channel();
        self.inner.inbox.push(Request::FlushAcks { queue: None, reply: reply.into() });
        self.inner.waits.on("flush_acks", "", answer).await.unwrap_or(Err(CommandError::Closed))
    }
}
