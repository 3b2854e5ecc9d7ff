use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use amps_core::{AckType, StartAt};
use amps_ha::bookmarks::store::Changes;
use amps_ha::bookmarks::{Bookmarks, DEFAULT_OVERLAP};
use amps_ha::client_core::{Request, StrayCounts};
use amps_ha::error::{Cause, CommandError, MoveError};
use amps_ha::event::ConnectionSummary;
use amps_ha::server_chooser::Server;
use amps_ha::subscriptions::{AckBatching, Item, QueueLimits, QueueReader, SubscriptionSpec};
use amps_ha::warning::ConfigWarning;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::builder::ClientBuilder;
use crate::error::ConnectError;
use crate::events::{Events, Strays};
use crate::inner::{Ending, Inner, TakenId};
use crate::publish::wait;
use crate::state::StateWatch;
use crate::stores::PublishStore;
use crate::subscribe::{Kept, Sow, Subscribe, Subscription};

/// A client: one name, one connection at a time, to one of a group of servers.
///
/// Cheap to clone; all clones are the same client. When the last clone and the
/// last stream are dropped, the connection is dropped too, and what a sled
/// or hybrid publish store holds stays there; [`close`](Self::close) ends it in good
/// order.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

/// How a [`Client::close`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// Published messages that no server has acknowledged. A sled or hybrid
    /// publish store holds them, and the next client on it delivers them; otherwise they may
    /// be lost.
    pub unacknowledged: u64,
    /// Whether the stores are closed. If not, their disk was slower than the
    /// deadline: they go on in the background, and their directories stay
    /// locked until they are done. Another close waits for that.
    pub stores_closed: bool,
}

impl Client {
    /// Begins to set up a client with this name.
    ///
    /// The name is part of every published message's identity: keep it the same
    /// across restarts of one publisher, and different from every other's.
    pub fn builder(name: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(name.into())
    }

    /// Begins to set up a client that recovers from nothing: no publish store,
    /// a lost connection stays lost until [`reconnect`](Self::reconnect), and
    /// streams end with their connection. Each part can be set otherwise.
    pub fn plain(name: impl Into<String>) -> ClientBuilder {
        Self::builder(name).publish_store(PublishStore::None).no_recovery().no_resubscribe()
    }

    /// The client's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Waits until the client is connected, logged on and fully recovered.
    ///
    /// # Errors
    /// [`ConnectError::GaveUp`]; by default a client never does.
    /// [`ConnectError::Disconnected`] when nothing connects it any more, since
    /// its disconnect handling was replaced.
    ///
    /// # Cancel safety
    /// Safe: connecting goes on in the background.
    pub async fn connected(&self) -> Result<(), ConnectError> {
        let mut state = self.inner.state.clone();
        let ended = |state: &ConnectionSummary| state.live || state.over.is_some() || state.down.is_some();
        let Ok(state) = state.wait_for(ended).await else {
            return Err(ConnectError::GaveUp { cause: Cause::ByUser, attempts: Vec::new() });
        };
        match (&state.over, &state.down) {
            _ if state.live => Ok(()),
            (None, Some(cause)) => Err(ConnectError::Disconnected { cause: cause.clone() }),
            (over, _) => {
                Err(ConnectError::GaveUp { cause: over.clone().unwrap_or(Cause::ByUser), attempts: state.attempts() })
            }
        }
    }

    pub(crate) async fn connected_within(&self, limit: Duration) -> Result<(), ConnectError> {
        match timeout(limit, self.connected()).await {
            Ok(result) => result,
            Err(_) => {
                let attempts = self.inner.state.borrow().attempts();
                Err(ConnectError::TimedOut { after: limit, attempts })
            }
        }
    }

    /// Whether the client is connected and fully recovered right now.
    pub fn is_connected(&self) -> bool {
        self.inner.state.borrow().live
    }

    /// The version of the server the client is logged on to.
    pub fn server_version(&self) -> Option<String> {
        self.inner.state.borrow().server_version.clone()
    }

    /// The number that stands for this client's name in bookmarks, by which it knows
    /// its own messages ([`Bookmark::publisher`](crate::Bookmark::publisher)): a
    /// server computes it and tells it in its answer to the logon. `None` before the
    /// first, and when no server told it.
    pub fn name_hash(&self) -> Option<u64> {
        self.inner.state.borrow().name_hash
    }

    /// The latest connection state, to be watched.
    pub fn state(&self) -> StateWatch {
        StateWatch { summary: self.inner.state.clone(), seen: 0 }
    }

    /// What the settings of this client may lead to; see
    /// [`ClientBuilder::check`].
    pub fn warnings(&self) -> &[ConfigWarning] {
        &self.inner.warnings
    }

    /// Goes on at another server without loss, for maintenance of the present
    /// one: everything published so far is sent and acknowledged, running
    /// queries end, then the client leaves for `server`. What is published
    /// meanwhile waits in the store, or without one is refused as
    /// disconnected. Bookmark subscriptions have no gap; plain ones miss what
    /// is published between the two connections. Returns when the client has
    /// recovered there.
    ///
    /// What is not drained within 10 s goes on as after a loss. Without a live
    /// connection there is nothing to drain.
    ///
    /// # Errors
    /// [`MoveError`]; the client then goes on as its server chooser says.
    ///
    /// # Cancel safety
    /// A dropped call leaves the move going on.
    pub async fn move_to(&self, server: impl Into<Server>) -> Result<(), MoveError> {
        let (reply, answer) = oneshot::channel();
        let server = server.into();
        let to = server.uri().to_string();
        self.inner.inbox.push(Request::Move { server, reply });
        self.inner.waits.on("move", &to, answer).await.unwrap_or(Err(MoveError::Closed))
    }

    /// Connects a client again that stays disconnected because its disconnect
    /// handling was replaced, and waits until it has recovered. Servers and
    /// waits are those of chooser and reconnect strategy. While somebody connects
    /// it already, this waits for the same.
    ///
    /// # Errors
    /// [`ConnectError::AlreadyConnected`]; [`ConnectError::GaveUp`].
    ///
    /// # Cancel safety
    /// Safe: connecting goes on in the background.
    pub async fn reconnect(&self) -> Result<(), ConnectError> {
        let (reply, connects) = oneshot::channel();
        self.inner.inbox.push(Request::Reconnect { reply });
        match connects.await {
            Ok(false) => Err(ConnectError::AlreadyConnected),
            // Over, if nobody answered.
            Ok(true) | Err(_) => self.connected().await,
        }
    }

    /// How often the client recovered from the loss of a connection.
    pub fn reconnects(&self) -> u64 {
        self.inner.state.borrow().reconnects
    }

    /// Enters a subscription. Returns once a server confirmed it.
    ///
    /// # Errors
    /// [`CommandError`]: refused, timed out (10 s by default, also while
    /// disconnected), a bookmark subscription with this id is open already, its
    /// start is none, or the client is closed.
    ///
    /// # Cancel safety
    /// A dropped call leaves no subscription behind.
    pub async fn subscribe(&self, subscribe: impl Into<Subscribe>) -> Result<Subscription, CommandError> {
        let subscribe = subscribe.into();
        subscribe.spec.start.as_ref().map_or(Ok(()), StartAt::check)?;
        let key = subscribe.key();
        let id = subscribe.spec.start.as_ref().map(|_| TakenId::take(&self.inner, &key)).transpose()?;
        let (bookmarks, changes) = self.bookmarks(&subscribe, &key).await?;
        let kept = Kept { key: key.into(), changes, _id: id };
        let batching = subscribe.ack_batching();
        let limits = subscribe.limits.unwrap_or(self.inner.queue);
        let mut subscription = self.enter(subscribe.spec, kept, (limits, batching), bookmarks).await?;
        subscription.done_on_next = subscribe.done_on_next;
        Ok(subscription)
    }

    /// What is known of a subscription's bookmarks, and where to tell what changes.
    async fn bookmarks(
        &self,
        subscribe: &Subscribe,
        key: &str,
    ) -> Result<(Option<Bookmarks>, Option<Changes>), CommandError> {
        let Some(start) = subscribe.spec.start.as_ref().map(|start| start.begin().clone()) else {
            let rule = "only a bookmark subscription has a place to go on from";
            return match &subscribe.resume {
                Some(_) => Err(CommandError::Invalid {
                    command: subscribe.spec.command_name(),
                    topic: subscribe.spec.topic.clone(),
                    rule,
                }),
                None => Ok((None, None)),
            };
        };
        if let Some(point) = &subscribe.resume {
            return Ok((Some(Bookmarks::recovered(start, DEFAULT_OVERLAP, &point.state())), None));
        }
        let Some(store) = self.inner.bookmark_store() else {
            if start == StartAt::MostRecent {
                self.inner.warn(ConfigWarning::BookmarksForgotten { topic: subscribe.spec.topic.clone() });
            }
            return Ok((Some(Bookmarks::new(start, DEFAULT_OVERLAP)), None));
        };
        let known = store.recover(key).await?;
        Ok((Some(Bookmarks::recovered(start, DEFAULT_OVERLAP, &known)), Some(store.changes())))
    }

    /// Queries the current records of a SOW topic. The stream yields
    /// [`SnapshotBegin`](crate::SubscriptionEvent::SnapshotBegin), the records,
    /// [`SnapshotEnd`](crate::SubscriptionEvent::SnapshotEnd) and ends. Cut
    /// short by a disconnect it ends with an error, never as if complete.
    ///
    /// # Errors
    /// [`CommandError`], as for [`subscribe`](Self::subscribe).
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn sow(&self, query: impl Into<Sow>) -> Result<Subscription, CommandError> {
        let query = query.into();
        let kept = Kept { key: query.key().into(), ..Kept::default() };
        self.enter(query.spec, kept, (self.inner.queue, AckBatching::default()), None).await
    }

    /// How many records a query would answer with, without fetching them.
    ///
    /// # Errors
    /// [`CommandError`], as for [`subscribe`](Self::subscribe).
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn count(&self, query: impl Into<Sow>) -> Result<u64, CommandError> {
        let mut answer = self.sow(query.into().top_n(0).acks(AckType::Stats)).await?;
        while let Some(item) = answer.next().await {
            if let Item::Ack(stats) = item? {
                return Ok(stats.matches().unwrap_or_default());
            }
        }
        Err(CommandError::Disconnected)
    }

    async fn enter(
        &self,
        spec: SubscriptionSpec,
        kept: Kept,
        (limits, batching): (QueueLimits, AckBatching),
        bookmarks: Option<Bookmarks>,
    ) -> Result<Subscription, CommandError> {
        let queue = spec.queue(limits, bookmarks, Arc::clone(&self.inner.wake)).ack_batching(batching);
        let queue = Arc::new(queue.duplicates_to(self.inner.strays.duplicates.clone()));
        // Made before the wait, so that a dropped call ends it again.
        let listed = self.inner.listing.add(Arc::clone(&kept.key), Arc::clone(&queue));
        let reader = QueueReader::new(Arc::clone(&queue));
        let subscription = Subscription::new(reader, Arc::clone(&self.inner), kept, listed);
        let (reply, answer) = oneshot::channel();
        let (command, topic) = (spec.command_name(), spec.topic.clone());
        self.inner.inbox.push(Request::Enter { spec, queue, reply });
        self.inner.waits.on(command, &topic, answer).await.unwrap_or(Err(CommandError::Closed))?;
        Ok(subscription)
    }

    /// Messages that reach no stream from now on: those nobody asked for, and
    /// failures that belong to no published message (AMPS developer guides,
    /// "Unexpected Messages"). What was on its way for a subscription or
    /// command that has ended is only [counted](Self::stray_counts).
    pub fn unexpected_messages(&self) -> Strays {
        Strays::new(self.inner.strays.unexpected.subscribe())
    }

    /// Messages of bookmark subscriptions from now on that were delivered or
    /// discarded before, and so reach no stream.
    pub fn duplicates(&self) -> Strays {
        Strays::new(self.inner.strays.duplicates.subscribe())
    }

    /// How many messages reached no stream so far, duplicates aside.
    pub fn stray_counts(&self) -> StrayCounts {
        self.inner.strays.counts()
    }

    /// Forgets what the bookmark store keeps of the bookmark subscription with
    /// this [id](Subscribe::id), durably: the next one starts where it says.
    ///
    /// # Errors
    /// [`CommandError::IdInUse`] while it is open;
    /// [`CommandError::BookmarkStore`].
    ///
    /// # Cancel safety
    /// A dropped call may have forgotten it, as a whole, or not.
    pub async fn purge_bookmarks(&self, id: &str) -> Result<(), CommandError> {
        let _closed = TakenId::take(&self.inner, id)?;
        match self.inner.bookmark_store() {
            Some(store) => Ok(store.purge(id).await?),
            None => Ok(()),
        }
    }

    /// What happens from now on, in order.
    pub fn events(&self) -> Events {
        Events::new(self.inner.events.subscribe())
    }

    /// Ends the client: sends the acknowledgements of queues' messages that wait,
    /// waits until everything published is settled, then
    /// disconnects and closes the stores. Returns within `deadline`, of which up
    /// to half a second is kept for the stores; a slower disk goes on by itself
    /// in the background. Later calls, and calls on other clones, wait for the
    /// same and report.
    ///
    /// # Cancel safety
    /// A dropped call leaves the client open, unless it was already
    /// disconnecting; then it ends on its own.
    pub async fn close(&self, deadline: Duration) -> Closed {
        let until = tokio::time::Instant::now() + deadline;
        let settled = async {
            // Not live, there is none to be sent.
            let _ = self.flush_acks().await;
            self.settled().await;
        };
        let limit = until - STORES_CLOSE.min(deadline / 4);
        let settled = self.inner.waits.on("close", "", tokio::time::timeout_at(limit, settled)).await;
        tracing::debug!(settled = settled.is_ok(), "closing");
        self.inner.inbox.close();
        let ending = self.inner.ending.lock().unwrap_or_else(PoisonError::into_inner).take();
        let closed = &self.inner.stores_closed;
        if let Some(Ending { driver, store }) = ending {
            let bookmarks = self.inner.bookmarks.lock().unwrap_or_else(PoisonError::into_inner).take();
            let closed = closed.clone();
            tokio::spawn(async move {
                let _ = driver.await;
                let stores = tokio::task::spawn_blocking(move || {
                    if let Some(store) = store {
                        store.close();
                    }
                    // Writes what was discarded, and ends its thread.
                    drop(bookmarks);
                });
                let _ = stores.await;
                closed.send_replace(true);
            });
        }
        let mut closed = closed.subscribe();
        let stores_closed = tokio::time::timeout_at(until, closed.wait_for(|closed| *closed)).await.is_ok();
        Closed { unacknowledged: self.unacknowledged(), stores_closed }
    }

    /// Ends the client without waiting for anything, and says how things stand.
    pub(crate) fn end_now(&self) -> Closed {
        self.inner.inbox.close();
        Closed { unacknowledged: self.unacknowledged(), stores_closed: *self.inner.stores_closed.borrow() }
    }

    async fn settled(&self) {
        let (end, sequenced) = self.inner.log.peek(|log| (log.end(), log.is_sequenced()));
        if sequenced || self.is_connected() {
            let _ = wait(&self.inner.log, |cursors| cursors.settled >= end).await;
        }
    }
}

/// What a close keeps of its deadline for the stores.
const STORES_CLOSE: Duration = Duration::from_millis(500);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.inner.name)
            .field("connected", &self.is_connected())
            .field("unacknowledged", &self.unacknowledged())
            .finish_non_exhaustive()
    }
}
