use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{Client, Receipt};
use super::subscription::Subscription;
use crate::any_error::Error;
use crate::codec::{Codec, Json};
use crate::error::PublishError;
use crate::subscribe::{Sow, Subscribe};
use crate::typed::{TypedEvent, TypedMessage};

/// A [`Client`] that takes and gives values, by a codec; see
/// [`TypedClient`](crate::TypedClient).
#[derive(Debug, Clone)]
pub struct TypedClient<C = Json> {
    client: Client,
    codec: C,
}

impl Client {
    /// As [`typed`](crate::Client::typed).
    pub fn typed<C: Codec>(&self, codec: C) -> TypedClient<C> {
        TypedClient { client: self.clone(), codec }
    }

    /// As [`json`](crate::Client::json).
    pub fn json(&self) -> TypedClient<Json> {
        self.typed(Json)
    }

    /// As [`publish_json`](crate::Client::publish_json).
    ///
    /// # Errors
    /// As for [`publish`](Self::publish), also when JSON cannot say the value.
    pub fn publish_json<T: Serialize + ?Sized>(&self, topic: &str, value: &T) -> Result<(), Error> {
        self.json().publish(topic, value)
    }

    /// As [`subscribe_json`](crate::Client::subscribe_json).
    ///
    /// ```no_run
    /// # use amps_client::{Error, blocking::Client};
    /// #[derive(serde::Deserialize)]
    /// struct Order {
    ///     id: u64,
    /// }
    ///
    /// fn follow(client: &Client) -> Result<(), Error> {
    ///     for order in client.subscribe_json::<Order>("orders")?.messages() {
    ///         match order?.value {
    ///             Ok(Order { id }) => println!("{id}"),
    ///             Err(poison) => eprintln!("{poison}"),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As for [`subscribe`](Self::subscribe).
    pub fn subscribe_json<T: DeserializeOwned>(
        &self,
        subscribe: impl Into<Subscribe>,
    ) -> Result<TypedSubscription<T>, Error> {
        self.json().subscribe(subscribe)
    }
}

impl<C: Codec> TypedClient<C> {
    /// Publishes a value; see [`publish`](crate::TypedClient::publish).
    ///
    /// # Errors
    /// [`Error::Publish`], as there; [`Error::WouldDeadlock`]: nothing was
    /// published.
    pub fn publish<T: Serialize + ?Sized>(&self, topic: &str, value: &T) -> Result<(), Error> {
        self.client.publish(topic, self.encode(value)?)
    }

    /// As [`delta_publish`](crate::TypedClient::delta_publish).
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    pub fn delta_publish<T: Serialize + ?Sized>(&self, topic: &str, value: &T) -> Result<(), Error> {
        self.client.delta_publish(topic, self.encode(value)?)
    }

    /// As [`enqueue`](crate::TypedClient::enqueue). It may be called anywhere.
    ///
    /// # Errors
    /// [`Error::Publish`]; nothing was published.
    pub fn enqueue<T: Serialize + ?Sized>(&self, topic: &str, value: &T) -> Result<Receipt, Error> {
        self.client.enqueue(topic, self.encode(value)?)
    }

    /// As [`enqueue_wait`](crate::TypedClient::enqueue_wait).
    ///
    /// # Errors
    /// [`Error::Publish`], [`Error::WouldDeadlock`]; nothing was published.
    pub fn enqueue_wait<T: Serialize + ?Sized>(&self, topic: &str, value: &T) -> Result<Receipt, Error> {
        self.client.enqueue_wait(topic, self.encode(value)?)
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, PublishError> {
        Ok(self.codec.encode(value)?)
    }

    /// The client, for everything that has no value in it.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl<C: Codec + Clone> TypedClient<C> {
    /// As [`subscribe`](crate::TypedClient::subscribe).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn subscribe<T: DeserializeOwned>(
        &self,
        subscribe: impl Into<Subscribe>,
    ) -> Result<TypedSubscription<T, C>, Error> {
        Ok(self.client.subscribe(subscribe)?.typed(self.codec.clone()))
    }

    /// As [`sow`](crate::TypedClient::sow).
    ///
    /// # Errors
    /// [`Error::Command`], as there; [`Error::WouldDeadlock`].
    pub fn sow<T: DeserializeOwned>(&self, query: impl Into<Sow>) -> Result<TypedSubscription<T, C>, Error> {
        Ok(self.client.sow(query)?.typed(self.codec.clone()))
    }
}

/// A [`Subscription`] whose messages become values; see
/// [`TypedSubscription`](crate::TypedSubscription). What a `&Subscription` can do,
/// this can.
pub struct TypedSubscription<T, C = Json> {
    stream: Subscription,
    codec: C,
    value: PhantomData<fn() -> T>,
}

impl Subscription {
    /// As [`typed`](crate::Subscription::typed).
    pub fn typed<T: DeserializeOwned, C: Codec>(self, codec: C) -> TypedSubscription<T, C> {
        TypedSubscription { stream: self, codec, value: PhantomData }
    }
}

impl<T: DeserializeOwned, C: Codec> TypedSubscription<T, C> {
    /// The next message, passing over other events; `None` at the end.
    ///
    /// # Errors
    /// As for [`Subscription::next_message`].
    pub fn next_message(&mut self) -> Result<Option<TypedMessage<T>>, Error> {
        for event in self {
            if let TypedEvent::Message(message) = event? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// The next event, waiting for so long at most; `None` at the end.
    ///
    /// # Errors
    /// As for [`Subscription::next_within`].
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<TypedEvent<T>>, Error> {
        Ok(self.stream.next_within(limit)?.map(|event| TypedEvent::read(&self.codec, event)))
    }

    /// The messages, passing over other events, for a `for` loop.
    pub fn messages(&mut self) -> impl Iterator<Item = Result<TypedMessage<T>, Error>> {
        std::iter::from_fn(|| self.next_message().transpose())
    }
}

impl<T, C> TypedSubscription<T, C> {
    /// The stream without types; nothing of it is lost.
    pub fn into_inner(self) -> Subscription {
        self.stream
    }
}

/// What needs the stream for itself, such as reading it, is not there.
impl<T, C> Deref for TypedSubscription<T, C> {
    type Target = Subscription;

    fn deref(&self) -> &Subscription {
        &self.stream
    }
}

impl<T: DeserializeOwned, C: Codec> Iterator for TypedSubscription<T, C> {
    type Item = Result<TypedEvent<T>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.stream.next()?.map(|event| TypedEvent::read(&self.codec, event)))
    }
}

impl<T, C: fmt::Debug> fmt::Debug for TypedSubscription<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedSubscription").field("stream", &self.stream).field("codec", &self.codec).finish()
    }
}
