use amps_ha::error::CommandError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::codec::{Codec, Json};
use crate::error::PublishError;
use crate::publish::Receipt;
use crate::subscribe::{Sow, Subscribe};
use crate::typed::TypedSubscription;

/// A [`Client`] that takes and gives values, by a codec: the methods are those
/// of the client, with the same promises. It is the same client; the raw one is
/// there beside it.
///
/// ```
/// use amps_client::{Client, PublishError};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Order {
///     id: u64,
///     qty: u32,
/// }
///
/// # async fn example(client: Client) -> Result<(), PublishError> {
/// let orders = client.json();
/// let mut last = None;
/// for id in 0..1_000 {
///     last = Some(orders.enqueue_wait("orders", &Order { id, qty: 10 }).await?);
/// }
/// if let Some(receipt) = last {
///     receipt.persisted().await?; // and so are all before it
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct TypedClient<C = Json> {
    client: Client,
    codec: C,
}

impl Client {
    /// This client with values in the codec's format instead of bodies. The
    /// message type in the servers' connection strings has to be the
    /// [codec's](Codec::message_type), or servers cannot filter.
    pub fn typed<C: Codec>(&self, codec: C) -> TypedClient<C> {
        TypedClient { client: self.clone(), codec }
    }

    /// This client with values in JSON instead of bodies.
    pub fn json(&self) -> TypedClient<Json> {
        self.typed(Json)
    }

    /// Publishes a value as JSON; in everything else as
    /// [`publish`](Self::publish). [`json`](Self::json) has the other ways to
    /// publish.
    ///
    /// ```
    /// # async fn example(client: amps_client::Client) -> Result<(), amps_client::PublishError> {
    /// use serde_json::json;
    /// client.publish_json("orders", &json!({"id": 1, "symbol": "ACME"})).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`PublishError`], as for [`publish`](Self::publish); and
    /// [`PublishError::Body`], when JSON cannot say the value.
    ///
    /// # Cancel safety
    /// As for [`publish`](Self::publish).
    pub async fn publish_json<T: Serialize + ?Sized>(&self, topic: &str, value: &T) -> Result<(), PublishError> {
        self.publish(topic, Json.encode(value)?).await
    }

    /// Enters a subscription whose messages are JSON and become values; in
    /// everything else as [`subscribe`](Self::subscribe).
    ///
    /// ```
    /// use amps_client::{Client, Error, StartAt, Subscribe};
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Order {
    ///     id: u64,
    ///     symbol: String,
    /// }
    ///
    /// # async fn example(client: Client) -> Result<(), Error> {
    /// let subscribe = Subscribe::to("orders").bookmark(StartAt::MostRecent);
    /// let mut orders = client.subscribe_json::<Order>(subscribe).await?;
    /// while let Some(order) = orders.next_message().await? {
    ///     match &order.value {
    ///         Ok(Order { id, symbol }) => println!("{id}: {symbol}"),
    ///         Err(poison) => eprintln!("{poison}: {:?}", order.data()),
    ///     }
    ///     orders.discard(&order);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`CommandError`], as for [`subscribe`](Self::subscribe).
    ///
    /// # Cancel safety
    /// A dropped call leaves no subscription behind.
    pub async fn subscribe_json<T: DeserializeOwned>(
        &self,
        subscribe: impl Into<Subscribe>,
    ) -> Result<TypedSubscription<T>, CommandError> {
        self.json().subscribe(subscribe).await
    }
}

impl<C: Codec> TypedClient<C> {
    /// Publishes a value; see [`Client::publish`].
    ///
    /// # Errors
    /// [`PublishError`], as there; and [`PublishError::Body`], when the format
    /// cannot say the value.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn publish<T: Serialize + ?Sized>(&self, topic: &str, value: &T) -> Result<(), PublishError> {
        self.client.publish(topic, self.codec.encode(value)?).await
    }

    /// Publishes the fields of a value as a part of a record; see
    /// [`Client::delta_publish`]. What is not to be changed must not be in the
    /// body: with serde, an `Option` field that is skipped when it is `None`.
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    ///
    /// # Cancel safety
    /// As for [`publish`](Self::publish).
    pub async fn delta_publish<T: Serialize + ?Sized>(&self, topic: &str, value: &T) -> Result<(), PublishError> {
        self.client.delta_publish(topic, self.codec.encode(value)?).await
    }

    /// Publishes a value without waiting for anything; see [`Client::enqueue`].
    ///
    /// # Errors
    /// As for [`publish`](Self::publish); nothing was published.
    pub fn enqueue<T: Serialize + ?Sized>(&self, topic: &str, value: &T) -> Result<Receipt, PublishError> {
        self.client.enqueue(topic, self.codec.encode(value)?)
    }

    /// Publishes a value, waiting for nothing but room; see
    /// [`Client::enqueue_wait`].
    ///
    /// # Errors
    /// As for [`publish`](Self::publish); nothing was published.
    ///
    /// # Cancel safety
    /// A dropped call has published nothing.
    pub async fn enqueue_wait<T: Serialize + ?Sized>(&self, topic: &str, value: &T) -> Result<Receipt, PublishError> {
        self.client.enqueue_wait(topic, self.codec.encode(value)?).await
    }

    /// The client, for everything that has no value in it.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl<C: Codec + Clone> TypedClient<C> {
    /// Enters a subscription whose messages become values; see
    /// [`Client::subscribe`].
    ///
    /// # Errors
    /// [`CommandError`], as there.
    ///
    /// # Cancel safety
    /// A dropped call leaves no subscription behind.
    pub async fn subscribe<T: DeserializeOwned>(
        &self,
        subscribe: impl Into<Subscribe>,
    ) -> Result<TypedSubscription<T, C>, CommandError> {
        Ok(self.client.subscribe(subscribe).await?.typed(self.codec.clone()))
    }

    /// Queries the current records of a SOW topic as values; see
    /// [`Client::sow`].
    ///
    /// # Errors
    /// [`CommandError`], as there.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn sow<T: DeserializeOwned>(
        &self,
        query: impl Into<Sow>,
    ) -> Result<TypedSubscription<T, C>, CommandError> {
        Ok(self.client.sow(query).await?.typed(self.codec.clone()))
    }
}
