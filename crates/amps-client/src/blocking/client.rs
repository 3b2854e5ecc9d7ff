use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amps_core::Command;
use amps_ha::client_core::Deleted;
use amps_ha::server_chooser::Server;

use super::runtime::{Runtime, check};
use super::streams::{Events, StateWatch, Strays};
use super::subscription::{Subscription, SubscriptionHandle};
use crate::any_error::Error;
use crate::builder::ClientBuilder;
use crate::client::Closed;
use crate::error::PublishError;
use crate::execute;
use crate::health::Health;
use crate::publish;
use crate::subscribe::{Sow, Subscribe};
use crate::write::{SowDelete, Write};

/// A client whose calls return when they are done; see the [module](super).
///
/// Cheap to clone; all clones are the same client. Dropping the last clone and
/// the last stream ends it as it ends the [async one](crate::Client): what a sled
/// or hybrid store has not taken yet is written first, and nothing else is waited
/// for. [`close`](Self::close) ends it in good order.
#[derive(Clone)]
pub struct Client {
    client: crate::Client,
    runtime: Arc<Runtime>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.fmt(f)
    }
}

impl Client {
    /// As [`amps_client::Client::builder`](crate::Client::builder); give it to
    /// [`connect`](Self::connect) or [`start`](Self::start).
    pub fn builder(name: impl Into<String>) -> ClientBuilder {
        crate::Client::builder(name)
    }

    /// As [`amps_client::Client::plain`](crate::Client::plain).
    pub fn plain(name: impl Into<String>) -> ClientBuilder {
        crate::Client::plain(name)
    }

    /// Starts the client and waits until it is connected, logged on and fully
    /// recovered.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::WouldDeadlock`]. The client is ended again.
    pub fn connect(builder: ClientBuilder) -> Result<Self, Error> {
        let limit = builder.connect_within;
        let this = Self::start(builder)?;
        match limit {
            Some(limit) => this.runtime.wait(this.client.connected_within(limit))?,
            None => this.connected()?,
        }
        Ok(this)
    }

    /// Starts the client without waiting: it connects in the background, and what
    /// is published meanwhile goes to the store.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::WouldDeadlock`].
    pub fn start(builder: ClientBuilder) -> Result<Self, Error> {
        check()?;
        let runtime = Runtime::start(&builder.name)?;
        let client = runtime.wait(async { builder.start() })?;
        Ok(Self { client, runtime })
    }

    /// The client itself, for what does not wait: settings, counters, health.
    pub fn as_async(&self) -> &crate::Client {
        &self.client
    }

    /// The client's name.
    pub fn name(&self) -> &str {
        self.client.name()
    }

    /// Whether the client is connected and fully recovered right now.
    pub fn is_connected(&self) -> bool {
        self.client.is_connected()
    }

    /// Whether the client does its work, and why not; see
    /// [`health`](crate::Client::health).
    pub fn health(&self) -> Health {
        self.client.health()
    }

    /// Waits until the client is connected, logged on and fully recovered.
    ///
    /// # Errors
    /// [`Error::Connect`], as [there](crate::Client::connected);
    /// [`Error::WouldDeadlock`].
    pub fn connected(&self) -> Result<(), Error> {
        self.runtime.wait(self.client.connected())
    }

    /// As [`reconnect`](crate::Client::reconnect).
    ///
    /// # Errors
    /// [`Error::Connect`], as there; [`Error::WouldDeadlock`].
    pub fn reconnect(&self) -> Result<(), Error> {
        self.runtime.wait(self.client.reconnect())
    }

    /// As [`move_to`](crate::Client::move_to).
    ///
    /// # Errors
    /// [`Error::Move`], as there; [`Error::WouldDeadlock`].
    pub fn move_to(&self, server: impl Into<Server>) -> Result<(), Error> {
        self.runtime.wait(self.client.move_to(server))
    }

    /// Publishes a message. Returns once the publish store's durability level is
    /// reached; from then on the message is promised. See
    /// [`publish`](crate::Client::publish).
    ///
    /// # Errors
    /// [`Error::Publish`], as there; [`Error::WouldDeadlock`]: nothing was
    /// published.
    pub fn publish(&self, topic: &str, body: impl AsRef<[u8]>) -> Result<(), Error> {
        self.runtime.wait(self.client.publish(topic, body))
    }

    /// As [`delta_publish`](crate::Client::delta_publish).
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    pub fn delta_publish(&self, topic: &str, body: impl AsRef<[u8]>) -> Result<(), Error> {
        self.runtime.wait(self.client.delta_publish(topic, body))
    }

    /// As [`sow_delete`](crate::Client::sow_delete).
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    pub fn sow_delete(&self, delete: SowDelete<'_>) -> Result<(), Error> {
        self.runtime.wait(self.client.sow_delete(delete))
    }

    /// As [`sow_delete_counted`](crate::Client::sow_delete_counted).
    ///
    /// # Errors
    /// [`Error::Publish`], as there; [`Error::WouldDeadlock`]: nothing was
    /// published.
    pub fn sow_delete_counted(&self, delete: SowDelete<'_>) -> Result<Option<Deleted>, Error> {
        self.runtime.wait(self.client.sow_delete_counted(delete))
    }

    /// As [`write`](crate::Client::write).
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    pub fn write<'a>(&self, write: impl Into<Write<'a>>) -> Result<(), Error> {
        self.runtime.wait(self.client.write(write))
    }

    /// Publishes a message without waiting for anything; see
    /// [`enqueue`](crate::Client::enqueue). It may be called anywhere.
    ///
    /// # Errors
    /// [`Error::Publish`]; nothing was published.
    pub fn enqueue(&self, topic: &str, body: impl AsRef<[u8]>) -> Result<Receipt, Error> {
        Ok(self.receipt(self.client.enqueue(topic, body)?))
    }

    /// As [`enqueue_write`](crate::Client::enqueue_write). It may be called
    /// anywhere.
    ///
    /// # Errors
    /// [`Error::Publish`]; nothing was published.
    pub fn enqueue_write<'a>(&self, write: impl Into<Write<'a>>) -> Result<Receipt, Error> {
        Ok(self.receipt(self.client.enqueue_write(write)?))
    }

    /// Publishes a message, and waits for room while the publish store is full: a
    /// pipeline with back-pressure. See [`enqueue_wait`](crate::Client::enqueue_wait).
    ///
    /// # Errors
    /// [`Error::Publish`], [`Error::WouldDeadlock`]; nothing was published.
    pub fn enqueue_wait(&self, topic: &str, body: impl AsRef<[u8]>) -> Result<Receipt, Error> {
        Ok(self.receipt(self.runtime.wait(self.client.enqueue_wait(topic, body))?))
    }

    /// As [`enqueue_write_wait`](crate::Client::enqueue_write_wait).
    ///
    /// # Errors
    /// [`Error::Publish`], [`Error::WouldDeadlock`]; nothing was published.
    pub fn enqueue_write_wait<'a>(&self, write: impl Into<Write<'a>>) -> Result<Receipt, Error> {
        Ok(self.receipt(self.runtime.wait(self.client.enqueue_write_wait(write))?))
    }

    /// Waits until everything published so far is settled, across reconnects; see
    /// [`flush`](crate::Client::flush).
    ///
    /// # Errors
    /// [`Error::Publish`], as there; [`Error::WouldDeadlock`].
    pub fn flush(&self) -> Result<(), Error> {
        self.runtime.wait(self.client.flush())
    }

    /// Published messages no server has acknowledged yet.
    pub fn unacknowledged(&self) -> u64 {
        self.client.unacknowledged()
    }

    /// Enters a subscription. Returns once a server confirmed it; see
    /// [`subscribe`](crate::Client::subscribe).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn subscribe(&self, subscribe: impl Into<Subscribe>) -> Result<Subscription, Error> {
        Ok(self.stream(self.runtime.wait(self.client.subscribe(subscribe))?))
    }

    /// Queries the current records of a SOW topic; see [`sow`](crate::Client::sow).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn sow(&self, query: impl Into<Sow>) -> Result<Subscription, Error> {
        Ok(self.stream(self.runtime.wait(self.client.sow(query))?))
    }

    /// How many records a query would answer with, without fetching them.
    ///
    /// # Errors
    /// [`Error::Command`], as [there](crate::Client::count);
    /// [`Error::WouldDeadlock`].
    pub fn count(&self, query: impl Into<Sow>) -> Result<u64, Error> {
        self.runtime.wait(self.client.count(query))
    }

    /// Does what a command says that was put together field by field; see
    /// [`execute`](crate::Client::execute).
    ///
    /// # Errors
    /// As there, and [`Error::WouldDeadlock`].
    pub fn execute(&self, command: Command) -> Result<Executed, Error> {
        Ok(match self.runtime.wait(self.client.execute(command))? {
            execute::Executed::Stream(stream) => Executed::Stream(self.stream(stream)),
            execute::Executed::Written(receipt) => Executed::Written(self.receipt(receipt)),
            execute::Executed::Flushed => Executed::Flushed,
            execute::Executed::Acknowledged(deleted) => Executed::Acknowledged(deleted),
        })
    }

    /// As [`pause`](crate::Client::pause).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn pause<'a>(&self, handles: impl IntoIterator<Item = &'a SubscriptionHandle>) -> Result<(), Error> {
        self.runtime.wait(self.client.pause(handles.into_iter().map(SubscriptionHandle::as_async)))
    }

    /// As [`resume`](crate::Client::resume).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn resume<'a>(&self, handles: impl IntoIterator<Item = &'a SubscriptionHandle>) -> Result<(), Error> {
        self.runtime.wait(self.client.resume(handles.into_iter().map(SubscriptionHandle::as_async)))
    }

    /// As [`flush_acks`](crate::Client::flush_acks).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn flush_acks(&self) -> Result<(), Error> {
        self.runtime.wait(self.client.flush_acks())
    }

    /// As [`purge_bookmarks`](crate::Client::purge_bookmarks).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn purge_bookmarks(&self, id: &str) -> Result<(), Error> {
        self.runtime.wait(self.client.purge_bookmarks(id))
    }

    /// What happens from now on, in order; see [`events`](crate::Client::events).
    pub fn events(&self) -> Events {
        Events::new(self.client.events(), &self.runtime)
    }

    /// The latest connection state, to be watched; see
    /// [`state`](crate::Client::state).
    pub fn state(&self) -> StateWatch {
        StateWatch::new(self.client.state(), &self.runtime)
    }

    /// As [`unexpected_messages`](crate::Client::unexpected_messages).
    pub fn unexpected_messages(&self) -> Strays {
        Strays::new(self.client.unexpected_messages(), &self.runtime)
    }

    /// As [`duplicates`](crate::Client::duplicates).
    pub fn duplicates(&self) -> Strays {
        Strays::new(self.client.duplicates(), &self.runtime)
    }

    /// Ends the client; see [`close`](crate::Client::close). Returns within
    /// `deadline`, also when code of the application keeps the client's thread.
    ///
    /// # Errors
    /// [`Error::WouldDeadlock`]; nothing was done.
    pub fn close(&self, deadline: Duration) -> Result<Closed, Error> {
        let until = Instant::now().checked_add(deadline);
        let closed = self.runtime.wait_until(until, self.client.close(deadline))?;
        Ok(closed.unwrap_or_else(|| self.client.end_now()))
    }

    pub(super) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    fn receipt(&self, receipt: publish::Receipt) -> Receipt {
        Receipt { receipt, runtime: Arc::clone(&self.runtime) }
    }

    fn stream(&self, stream: crate::Subscription) -> Subscription {
        Subscription::new(stream, &self.runtime)
    }
}

/// A published message on its way; see [`Receipt`](crate::Receipt).
#[derive(Debug, Clone)]
pub struct Receipt {
    receipt: publish::Receipt,
    runtime: Arc<Runtime>,
}

impl Receipt {
    /// Waits until the message survives what the store's durability level names;
    /// see [`durable`](crate::Receipt::durable).
    ///
    /// # Errors
    /// [`Error::Publish`], as there; [`Error::WouldDeadlock`].
    pub fn durable(&self) -> Result<(), Error> {
        self.runtime.wait(self.receipt.durable())
    }

    /// Waits until the server group has acknowledged the message as persisted; see
    /// [`persisted`](crate::Receipt::persisted).
    ///
    /// # Errors
    /// [`Error::Publish`], as there; [`Error::WouldDeadlock`].
    pub fn persisted(&self) -> Result<(), Error> {
        self.runtime.wait(self.receipt.persisted())
    }

    /// The same, for so long at most.
    ///
    /// # Errors
    /// [`Error::NothingYet`] when the time is over: ask again any time. Otherwise
    /// as for [`persisted`](Self::persisted).
    pub fn persisted_within(&self, limit: Duration) -> Result<(), Error> {
        let persisted: Result<(), PublishError> = self.runtime.wait_within(limit, self.receipt.persisted())?;
        Ok(persisted?)
    }

    /// The place of this message among all that were published by this client in
    /// this process, from 0.
    pub fn ordinal(&self) -> u64 {
        self.receipt.ordinal()
    }
}

/// What became of a [`Command`] that was [executed](Client::execute).
#[derive(Debug)]
#[non_exhaustive]
pub enum Executed {
    /// A subscription or query.
    Stream(Subscription),
    /// A message or deletion, durable in the publish store.
    Written(Receipt),
    /// A flush: everything published before is settled.
    Flushed,
    /// An acknowledgement of a queue's messages, and how many the server
    /// acknowledged, if it counts.
    Acknowledged(Option<Deleted>),
}

impl Executed {
    /// The stream, if there is one.
    pub fn stream(self) -> Option<Subscription> {
        match self {
            Self::Stream(stream) => Some(stream),
            _ => None,
        }
    }
}
