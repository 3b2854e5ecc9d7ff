use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use amps_core::{AckTypes, Bookmark, CommandOptions, Message, StartAt};
use amps_ha::bookmarks::store::{Changes, ResumePoint};
use amps_ha::client_core::Request;
use amps_ha::error::CommandError;
use amps_ha::subscriptions::{
    ACK_TIMEOUT, AckBatching, Item, OnFull, OnUnknownBookmark, QueueLimits, QueueReader, QueueStats, SubscriptionKind,
    SubscriptionQueue, SubscriptionSpec,
};
use futures_core::Stream;

use crate::inner::{Inner, TakenId};
use crate::listed::Listed;

/// What a subscription's stream yields.
pub type SubscriptionEvent = Item;

/// A subscription to be entered.
///
/// ```
/// use amps_client::{StartAt, Subscribe};
/// let orders = Subscribe::to("orders").filter("/symbol = 'ACME'");
/// let audit = Subscribe::to("orders").bookmark(StartAt::Epoch).id("audit");
/// ```
#[derive(Debug, Clone)]
pub struct Subscribe {
    pub(crate) spec: SubscriptionSpec,
    pub(crate) id: Option<String>,
    pub(crate) limits: Option<QueueLimits>,
    pub(crate) done_on_next: bool,
    pub(crate) resume: Option<ResumePoint>,
    ack_batch: usize,
    ack_timeout: Option<Duration>,
}

impl Subscribe {
    fn of(kind: SubscriptionKind, topic: impl Into<String>) -> Self {
        let spec = SubscriptionSpec::new(kind, topic);
        let (id, resume, ack_timeout) = (None, None, None);
        Self { spec, id, limits: None, done_on_next: false, resume, ack_batch: 1, ack_timeout }
    }

    /// Messages published to `topic`, a name or a regular expression.
    pub fn to(topic: impl Into<String>) -> Self {
        Self::of(SubscriptionKind::Subscribe, topic)
    }

    /// Of messages published to a SOW topic, the fields that changed. What is
    /// published while the client is not connected is missed, and no later delta
    /// makes that good; [`sow_and_deltas_of`](Self::sow_and_deltas_of) does.
    pub fn deltas_of(topic: impl Into<String>) -> Self {
        Self::of(SubscriptionKind::DeltaSubscribe, topic)
    }

    /// The current records of a SOW topic, then what changes.
    pub fn sow_and(topic: impl Into<String>) -> Self {
        Self::of(SubscriptionKind::SowAndSubscribe, topic)
    }

    /// The current records of a SOW topic, then the fields that change. After a
    /// reconnect the records come again. [`DeltaRecords`](crate::DeltaRecords)
    /// makes whole records of it.
    pub fn sow_and_deltas_of(topic: impl Into<String>) -> Self {
        Self::of(SubscriptionKind::SowAndDeltaSubscribe, topic)
    }

    /// Asking for the next item says that the one before is done with: a message
    /// of a bookmark subscription is then discarded, and one of a queue
    /// acknowledged. The last one is not, unless something was asked for behind
    /// it.
    #[must_use]
    pub fn done_on_next(mut self) -> Self {
        self.done_on_next = true;
        self
    }

    /// For queues: how many messages the server may lease to this subscription
    /// at once, 1 unless asked for more. Two or more keep the consumer busy
    /// while acknowledgements travel (AMPS developer guides, "Backlog and Smart
    /// Pipelining"). The server may [grant](Subscription::backlog) less.
    #[must_use]
    pub fn max_backlog(mut self, messages: u64) -> Self {
        self.spec.options = self.spec.options.max_backlog(messages);
        self
    }

    /// For queues: sends the acknowledgements of so many messages together, at
    /// most 10,000 and never more than the backlog the server grants; with 1,
    /// the default, each at once. A third of the backlog is a good choice. A
    /// batch that is not full is sent a second after its first message, or as
    /// [`ack_timeout`](Self::ack_timeout) says.
    #[must_use]
    pub fn ack_batch(mut self, messages: usize) -> Self {
        self.ack_batch = messages;
        self
    }

    /// For queues: how long a batch of acknowledgements waits to be full. Zero
    /// is for ever.
    #[must_use]
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = Some(timeout);
        self
    }

    pub(crate) fn ack_batching(&self) -> AckBatching {
        let timeout = self.ack_timeout.unwrap_or(ACK_TIMEOUT);
        AckBatching { size: self.ack_batch, timeout: Some(timeout).filter(|timeout| !timeout.is_zero()) }
    }

    /// Only messages that match this filter.
    #[must_use]
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        self.spec.filter = Some(filter.into());
        self
    }

    /// Makes it a bookmark subscription that starts here the first time, and
    /// resumes without a gap ever after. With a [`BookmarkRange`] it gets what
    /// lies in it, across any reconnects, and then the stream ends.
    ///
    /// ```
    /// use amps_client::{BookmarkRange, StartAt, Subscribe};
    /// let [nine, ten] = ["20260301T090000Z", "20260301T100000Z"].map(|time| StartAt::Timestamp(time.to_owned()));
    /// Subscribe::to("orders").bookmark(BookmarkRange::new(nine, ten).exclude_end());
    /// ```
    ///
    /// [`BookmarkRange`]: crate::BookmarkRange
    #[must_use]
    pub fn bookmark(mut self, start: impl Into<StartAt>) -> Self {
        self.spec.start = Some(start.into());
        self
    }

    /// A bookmark subscription that goes on where the application says, which keeps
    /// that itself: see [`Subscription::exactly_once`]. The client's bookmark store
    /// has no part in it. With an empty point it starts where
    /// [`bookmark`](Self::bookmark) says.
    #[must_use]
    pub fn resume(mut self, point: ResumePoint) -> Self {
        self.resume = Some(point);
        self
    }

    /// A bookmark subscription that gets nothing until it is
    /// [resumed](crate::SubscriptionHandle::resume).
    #[must_use]
    pub fn paused(mut self) -> Self {
        self.spec.paused = true;
        self
    }

    /// The name under which the bookmark store keeps this subscription, unique
    /// among a client's open bookmark subscriptions; give one that is stable
    /// across restarts. Default: topic and filter, and the range if it has one.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// What to do at a server that knows none of the bookmarks; replays its
    /// whole log by default.
    #[must_use]
    pub fn on_unknown_bookmark(mut self, policy: OnUnknownBookmark) -> Self {
        self.spec.on_unknown_bookmark = policy;
        self
    }

    /// Command options: typed, or as text (AMPS Command Reference, "subscribe").
    /// Not `replace`, `pause` and `resume`, which have methods of their own.
    ///
    /// ```
    /// use amps_client::{CommandOptions, Subscribe};
    /// Subscribe::sow_and("prices").options(CommandOptions::new().oof().timestamp());
    /// Subscribe::to("prices").options("conflation=250ms,conflation_key=[/symbol]");
    /// ```
    #[must_use]
    pub fn options(mut self, options: impl Into<CommandOptions>) -> Self {
        self.spec.options = options.into();
        self
    }

    /// Gives these acknowledgements as items, in their place between the
    /// messages: `completed` behind the last message of a replay or the records
    /// of a query, `stats` with its counts. Those the client itself asks for
    /// stay with it.
    #[must_use]
    pub fn acks(mut self, acks: impl Into<AckTypes>) -> Self {
        self.spec.acks = acks.into();
        self
    }

    /// At most so many records, or messages of a replay, behind which the
    /// stream ends.
    #[must_use]
    pub fn top_n(mut self, count: u64) -> Self {
        self.spec.top_n = Some(count);
        self
    }

    /// The order of the records, such as `/price DESC, /id`.
    #[must_use]
    pub fn order_by(mut self, order: impl Into<String>) -> Self {
        self.spec.order_by = Some(order.into());
        self
    }

    /// Records in one frame, 1 to 10,000; 10 by default.
    #[must_use]
    pub fn batch_size(mut self, records: u64) -> Self {
        self.spec.batch_size = Some(records);
        self
    }

    /// Bounds the queue: messages and bytes. Default: those of
    /// [the client](crate::ClientBuilder::default_queue).
    /// What happens at either bound says [`on_full`](Self::on_full).
    #[must_use]
    pub fn queue(mut self, messages: usize, bytes: usize) -> Self {
        self.limits = Some(QueueLimits { messages: messages.max(1), bytes });
        self
    }

    /// What becomes of messages for which the [queue](Self::queue) has no room. By
    /// default the client stops reading from the server until the stream is read:
    /// nothing is lost, and the connection's other streams wait too.
    ///
    /// ```
    /// use amps_client::{OnFull, Subscribe};
    /// // A screen that shows the newest quotes, and how many it did not show.
    /// Subscribe::to("quotes").queue(100, 1 << 20).on_full(OnFull::DropOldest);
    /// ```
    #[must_use]
    pub fn on_full(mut self, policy: OnFull) -> Self {
        self.spec.on_full = policy;
        self
    }

    /// Only the newest of what is not read yet: a message takes the place of an
    /// unread one with the same SOW key, and the application never sees that one
    /// (AMPS developer guides, "Client Side Conflation"). An out-of-focus message
    /// takes the place of its record's update in the same way. What is replaced
    /// does not count against the bound of the queue;
    /// [`stats`](Subscription::stats) says how many were.
    ///
    /// Messages without a SOW key, and those of queues, are delivered as ever, and
    /// nothing is replaced across another event such as the beginning of the
    /// records. Refused for deltas, of which each says something else, and for
    /// bookmark subscriptions, which deliver every message.
    #[must_use]
    pub fn conflate(mut self) -> Self {
        self.spec.conflates = true;
        self
    }

    pub(crate) fn key(&self) -> String {
        let range = match &self.spec.start {
            Some(StartAt::Range(range)) => format!("#{range}"),
            _ => String::new(),
        };
        self.id.clone().unwrap_or_else(|| usual_key(&self.spec) + &range)
    }
}

impl From<&str> for Subscribe {
    fn from(topic: &str) -> Self {
        Self::to(topic)
    }
}

impl From<String> for Subscribe {
    fn from(topic: String) -> Self {
        Self::to(topic)
    }
}

/// A query for the current records of a SOW topic.
#[derive(Debug, Clone)]
pub struct Sow {
    pub(crate) spec: SubscriptionSpec,
}

impl Sow {
    /// The records of `topic`, a name or a regular expression.
    pub fn of(topic: impl Into<String>) -> Self {
        Self { spec: SubscriptionSpec::new(SubscriptionKind::Sow, topic) }
    }

    /// Only records that match this filter.
    #[must_use]
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        self.spec.filter = Some(filter.into());
        self
    }

    /// Only the records with these keys, as [`Message::sow_key`] has them.
    #[must_use]
    pub fn keys<T: AsRef<str>>(mut self, keys: impl IntoIterator<Item = T>) -> Self {
        let keys: Vec<_> = keys.into_iter().map(|key| key.as_ref().to_owned()).collect();
        self.spec.sow_keys = Some(keys.join(","));
        self
    }

    /// The state of then, of a topic with a history.
    #[must_use]
    pub fn at(mut self, then: impl Into<StartAt>) -> Self {
        self.spec.start = Some(then.into());
        self
    }

    /// At most so many records.
    #[must_use]
    pub fn top_n(mut self, records: u64) -> Self {
        self.spec.top_n = Some(records);
        self
    }

    /// The order of the records, such as `/price DESC, /id`. Without one there
    /// is none.
    #[must_use]
    pub fn order_by(mut self, order: impl Into<String>) -> Self {
        self.spec.order_by = Some(order.into());
        self
    }

    /// Records in one frame, 1 to 10,000; 10 by default. 1 for records of a
    /// megabyte, up to 100 for small ones (AMPS User Guide, "Batching Query
    /// Results").
    #[must_use]
    pub fn batch_size(mut self, records: u64) -> Self {
        self.spec.batch_size = Some(records);
        self
    }

    /// Command options: typed, or as text (AMPS Command Reference, "sow").
    #[must_use]
    pub fn options(mut self, options: impl Into<CommandOptions>) -> Self {
        self.spec.options = options.into();
        self
    }

    /// Gives these acknowledgements as items: `stats` comes behind the records,
    /// with their counts.
    #[must_use]
    pub fn acks(mut self, acks: impl Into<AckTypes>) -> Self {
        self.spec.acks = acks.into();
        self
    }

    pub(crate) fn key(&self) -> String {
        usual_key(&self.spec)
    }
}

/// What stands for a subscription or query without an id of its own.
fn usual_key(spec: &SubscriptionSpec) -> String {
    format!("{}#{}", spec.topic, spec.filter.as_deref().unwrap_or_default())
}

impl From<&str> for Sow {
    fn from(topic: &str) -> Self {
        Self::of(topic)
    }
}

impl From<String> for Sow {
    fn from(topic: String) -> Self {
        Self::of(topic)
    }
}

/// The messages of a subscription, or the records of a query.
///
/// A [`Stream`] that stays open across reconnects and says in band when one
/// happened. It ends when the client is closed; an error is its last item but
/// one. Dropping it unsubscribes.
pub struct Subscription {
    pub(crate) reader: QueueReader,
    pub(crate) client: Arc<Inner>,
    pub(crate) kept: Kept,
    /// A message is done with when the next item is asked for.
    pub(crate) done_on_next: bool,
    /// That message.
    current: Option<Message>,
    _listed: Listed,
}

/// How a bookmark store keeps a subscription.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) key: Arc<str>,
    pub(crate) changes: Option<Changes>,
    /// Given back when the stream is dropped.
    pub(crate) _id: Option<TakenId>,
}

impl Subscription {
    pub(crate) fn new(reader: QueueReader, client: Arc<Inner>, kept: Kept, listed: Listed) -> Self {
        Self { reader, client, kept, done_on_next: false, current: None, _listed: listed }
    }

    pub(crate) fn poll_event(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<SubscriptionEvent, CommandError>>> {
        self.current_is_done();
        let event = self.reader.poll_next(context);
        if let (true, Poll::Ready(Some(Ok(Item::Message(message))))) = (self.done_on_next, &event) {
            self.current = Some(message.clone());
        }
        event
    }

    pub(crate) fn current_is_done(&mut self) {
        if let Some(message) = self.current.take() {
            self.done(&message);
        }
    }

    /// The next event.
    ///
    /// # Errors
    /// [`CommandError`] says why the subscription ended.
    ///
    /// # Cancel safety
    /// Safe: no event is lost.
    pub async fn next(&mut self) -> Option<Result<SubscriptionEvent, CommandError>> {
        std::future::poll_fn(|context| self.poll_event(context)).await
    }

    /// The next message, passing over other events, also over those that say that
    /// messages may be missing; `None` at the end.
    ///
    /// # Errors
    /// [`CommandError`] says why the subscription ended.
    ///
    /// # Cancel safety
    /// Safe: no message is lost.
    pub async fn next_message(&mut self) -> Result<Option<Message>, CommandError> {
        self.current_is_done();
        if let Some(message) = self.reader.next_message() {
            if self.done_on_next {
                self.current = Some(message.clone());
            }
            return Ok(Some(message));
        }
        while let Some(event) = self.next().await {
            if let Item::Message(message) = event? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Says that a message of a bookmark subscription is done with. The
    /// subscription resumes behind the messages up to which everything is
    /// discarded; with a bookmark store also in a new process.
    ///
    /// Any order is allowed. Returns at once. A sled bookmark store has it on the
    /// disk some ten milliseconds later; were the process killed before, it would
    /// come again. [`discarded`](Self::discarded) waits for the disk. Without a
    /// bookmark subscription this does nothing.
    pub fn discard(&self, message: &Message) {
        if let Some(bookmark) = message.bookmark() {
            self.discard_at(bookmark);
        }
    }

    fn discard_at(&self, bookmark: Bookmark) {
        let queue = self.reader.queue();
        queue.discard(bookmark, || {
            if let Some(changes) = &self.kept.changes {
                let source: Arc<SubscriptionQueue> = Arc::clone(queue);
                changes.announce(&self.kept.key, source);
            }
        });
    }

    /// Waits until everything discarded so far survives `kill -9` of this
    /// process: none of it comes again. With recovery points: until the adapter
    /// has taken them, for as long as it fails; what was discarded out of order
    /// may come again all the same. In memory there is nothing to wait for.
    ///
    /// # Errors
    /// [`CommandError::BookmarkStore`]: what was discarded may come again in a
    /// new process.
    ///
    /// # Cancel safety
    /// Safe: the discards are written all the same.
    pub async fn discarded(&self) -> Result<(), CommandError> {
        match &self.kept.changes {
            Some(changes) => Ok(changes.so_far().durable().await?),
            None => Ok(()),
        }
    }

    /// Messages and duplicates so far.
    pub fn stats(&self) -> QueueStats {
        self.reader.queue().stats()
    }

    /// Events waiting to be read.
    pub fn depth(&self) -> usize {
        self.reader.depth()
    }
}

impl Stream for Subscription {
    type Item = Result<SubscriptionEvent, CommandError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.reader.queue().abandon();
        self.client.inbox.push(Request::Leave(Arc::clone(self.reader.queue())));
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("id", &self.kept.key).field("depth", &self.depth()).finish_non_exhaustive()
    }
}
