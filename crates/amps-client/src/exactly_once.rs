//! Messages whose effects are in a database of the application: exactly once.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};

use amps_core::Message;
use amps_ha::bookmarks::store::ResumePoint;
use amps_ha::error::CommandError;

use crate::subscribe::{Subscription, SubscriptionEvent};

/// Gives the messages of a bookmark subscription in batches, each with the point
/// where a new process resumes behind it. The effects of a batch and that point
/// are stored in one transaction, and so each message has its effect exactly once,
/// wherever a process dies. See [`Subscription::exactly_once`].
pub struct ExactlyOnce {
    stream: Subscription,
    /// Those of the batch that is not done with.
    messages: Vec<Message>,
    events: Vec<SubscriptionEvent>,
    /// Came behind that batch.
    behind: Option<Behind>,
}

enum Behind {
    Event(SubscriptionEvent),
    End(Result<(), CommandError>),
}

impl Subscription {
    /// Goes on with batches, for exactly-once processing with a database of the
    /// application's own. Give the stored point to
    /// [`resume`](crate::Subscribe::resume) in each new process.
    ///
    /// ```no_run
    /// # use amps_client::{Client, Message, ResumePoint, StartAt, Subscribe};
    /// # struct Database; struct Transaction<'a>(&'a Database);
    /// # type Failure = Box<dyn std::error::Error>;
    /// # impl Database { fn resume_point(&self) -> Result<String, Failure> { Ok(String::new()) }
    /// #   fn begin(&self) -> Result<Transaction<'_>, Failure> { Ok(Transaction(self)) } }
    /// # impl Transaction<'_> { fn book(&self, _: &Message) -> Result<(), Failure> { Ok(()) }
    /// #   fn set_resume_point(&self, _: &str) -> Result<(), Failure> { Ok(()) }
    /// #   fn commit(self) -> Result<(), Failure> { Ok(()) } }
    /// async fn book_all(client: &Client, database: &Database) -> Result<(), Failure> {
    ///     let point: ResumePoint = database.resume_point()?.parse()?;
    ///     let orders = Subscribe::to("orders").bookmark(StartAt::Epoch).resume(point);
    ///     let mut orders = client.subscribe(orders).await?.exactly_once()?;
    ///     while let Some(batch) = orders.next_batch(100).await? {
    ///         let transaction = database.begin()?;
    ///         for order in batch.messages() {
    ///             transaction.book(order)?;
    ///         }
    ///         transaction.set_resume_point(&batch.resume_point().to_string())?;
    ///         transaction.commit()?;
    ///         batch.done();
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// Nothing else discards messages of this subscription from now on: what was
    /// read before is not done with, and comes again in a new process.
    ///
    /// # Errors
    /// [`CommandError::Invalid`] when this is no bookmark subscription.
    pub fn exactly_once(mut self) -> Result<ExactlyOnce, CommandError> {
        if !self.reader.queue().has_bookmarks() {
            let (command, topic) = ("subscribe", self.reader.queue().about().topic);
            let rule = "only a bookmark subscription has a place to go on from";
            return Err(CommandError::Invalid { command, topic, rule });
        }
        self.done_on_next = false;
        Ok(ExactlyOnce { stream: self, messages: Vec::new(), events: Vec::new(), behind: None })
    }
}

impl ExactlyOnce {
    /// The next messages: up to `most`, at least one, of those that are there, in
    /// order. A batch that was not [`done`](Batch::done) comes again, as it was: its
    /// transaction failed. `None` behind the last.
    ///
    /// Events between messages end a batch, and are in the next one, which may have
    /// no messages.
    ///
    /// # Errors
    /// [`CommandError`] says why the subscription ended, behind its last batch.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost.
    pub async fn next_batch(&mut self, most: usize) -> Result<Option<Batch<'_>>, CommandError> {
        if self.messages.is_empty() && self.events.is_empty() {
            poll_fn(|context| self.poll_fill(context, most.max(1))).await;
        }
        if !self.messages.is_empty() || !self.events.is_empty() {
            return Ok(Some(Batch { of: self }));
        }
        match &self.behind {
            Some(Behind::End(Err(error))) => {
                let error = error.clone();
                self.behind = Some(Behind::End(Ok(())));
                Err(error)
            }
            _ => Ok(None),
        }
    }

    /// The subscription, for its counters and its [handle](Subscription::handle).
    pub fn subscription(&self) -> &Subscription {
        &self.stream
    }

    /// Takes what is there, and waits only while that is nothing.
    fn poll_fill(&mut self, context: &mut Context<'_>, most: usize) -> Poll<()> {
        match self.behind.take() {
            Some(Behind::Event(event)) => self.events.push(event),
            end @ Some(Behind::End(_)) => {
                self.behind = end;
                return Poll::Ready(());
            }
            None => {}
        }
        while self.messages.len() < most {
            match self.stream.poll_event(context) {
                Poll::Ready(Some(Ok(SubscriptionEvent::Message(message)))) => self.messages.push(message),
                Poll::Ready(Some(Ok(event))) if self.messages.is_empty() => self.events.push(event),
                Poll::Ready(Some(Ok(event))) => {
                    self.behind = Some(Behind::Event(event));
                    break;
                }
                Poll::Ready(end) => {
                    self.behind = Some(Behind::End(end.map_or(Ok(()), |error| error.map(drop))));
                    break;
                }
                Poll::Pending if self.messages.is_empty() && self.events.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for ExactlyOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, messages, .. } = self;
        f.debug_struct("ExactlyOnce").field("stream", stream).field("batch", &messages.len()).finish_non_exhaustive()
    }
}

/// Messages whose effects are to be stored, together with the point where a new
/// process resumes behind them. Dropped without [`done`](Self::done), it comes
/// again.
#[must_use = "it comes again until it is done with"]
pub struct Batch<'a> {
    of: &'a mut ExactlyOnce,
}

impl Batch<'_> {
    /// The messages, in order. None when only events came.
    pub fn messages(&self) -> &[Message] {
        &self.of.messages
    }

    /// What came before them that is no message. A
    /// [`Gap`](SubscriptionEvent::Gap) among them says that messages may be
    /// missing.
    pub fn events(&self) -> &[SubscriptionEvent] {
        &self.of.events
    }

    /// Where a new process resumes when the effects of these messages are stored,
    /// and of all before: to be stored in the same transaction, as text.
    ///
    /// It grows with the number of publishers that were ever seen, by some forty
    /// bytes for each.
    pub fn resume_point(&self) -> ResumePoint {
        let done = self.of.messages.iter().filter_map(Message::bookmark);
        let point = self.of.stream.reader.queue().with_bookmarks(|bookmarks| bookmarks.resume_point(done));
        point.unwrap_or_default()
    }

    /// The transaction is committed: the next batch follows.
    pub fn done(self) {
        let ExactlyOnce { stream, messages, events, .. } = self.of;
        events.clear();
        messages.drain(..).for_each(|message| stream.discard(&message));
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("messages", &self.of.messages.len()).field("events", &self.of.events).finish()
    }
}
