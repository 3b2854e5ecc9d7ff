use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use amps_core::Message;
use amps_core::message::MessageKind;
use amps_ha::error::CommandError;
use futures_core::Stream;
use serde::de::DeserializeOwned;

use crate::codec::{Codec, CodecError, Json};
use crate::subscribe::{Subscription, SubscriptionEvent};

/// A [`Subscription`] whose messages become values of `T`.
///
/// A body that is none ("poison") is a [`TypedMessage`] like others, whose value
/// is an error: the stream goes on, the message is there as it came, and it is
/// discarded or acknowledged like any other. All that is no message comes as it
/// does without types.
///
/// What a `&Subscription` can do, this can: `discard`, `ack`, `handle`, `stats`
/// and others take a `&TypedMessage` where they want a `&Message`. A
/// [`Stream`], too.
pub struct TypedSubscription<T, C = Json> {
    subscription: Subscription,
    codec: C,
    value: PhantomData<fn() -> T>,
}

/// What a [`TypedSubscription`] yields.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TypedEvent<T> {
    /// A message.
    Message(TypedMessage<T>),
    /// A record that is no longer among those asked for, with the option `oof`.
    /// The value is what the record was, or, when it no longer matches, what it
    /// became (AMPS Command Reference, "oof"); [`Message::reason`] says which.
    OutOfFocus(TypedMessage<T>),
    /// Anything else, as it came: a snapshot's beginning and end,
    /// acknowledgements, a reconnect, a gap.
    Other(SubscriptionEvent),
}

impl<T: DeserializeOwned> TypedEvent<T> {
    pub(crate) fn read(codec: &impl Codec, event: SubscriptionEvent) -> Self {
        let typed = |message: Message| TypedMessage { value: codec.decode(message.data()), message };
        match event {
            SubscriptionEvent::Message(message) if message.kind() == MessageKind::Oof => {
                Self::OutOfFocus(typed(message))
            }
            SubscriptionEvent::Message(message) => Self::Message(typed(message)),
            other => Self::Other(other),
        }
    }
}

/// A message, and the value of its body. It is a [`Message`] to everything that
/// wants one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TypedMessage<T> {
    /// The message as it came.
    pub message: Message,
    /// The value, or why the body is none.
    pub value: Result<T, CodecError>,
}

impl<T> Deref for TypedMessage<T> {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl Subscription {
    /// This stream with values in the codec's format instead of bodies. What
    /// was read before stays as it was.
    ///
    /// ```
    /// use amps_client::codec::Json;
    /// use amps_client::{CommandError, Subscription, TypedEvent};
    /// use serde::Deserialize;
    ///
    /// #[derive(Debug, Deserialize)]
    /// struct Price {
    ///     symbol: String,
    ///     bid: f64,
    /// }
    ///
    /// async fn follow(prices: Subscription) -> Result<(), CommandError> {
    ///     let mut prices = prices.typed::<Price, _>(Json);
    ///     while let Some(event) = prices.next().await {
    ///         match event? {
    ///             TypedEvent::Message(price) => println!("{:?}", price.value),
    ///             TypedEvent::OutOfFocus(price) => println!("gone: {:?}", price.sow_key()),
    ///             TypedEvent::Other(event) => println!("{event:?}"),
    ///             _ => {}
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn typed<T: DeserializeOwned, C: Codec>(self, codec: C) -> TypedSubscription<T, C> {
        TypedSubscription { subscription: self, codec, value: PhantomData }
    }
}

impl<T: DeserializeOwned, C: Codec> TypedSubscription<T, C> {
    /// The next event.
    ///
    /// # Errors
    /// [`CommandError`] says why the subscription ended. A body that is no value
    /// is none of these; see [`TypedMessage::value`].
    ///
    /// # Cancel safety
    /// Safe: no event is lost.
    pub async fn next(&mut self) -> Option<Result<TypedEvent<T>, CommandError>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The next message, passing over other events, among them records out of
    /// focus: with the option `oof` use [`next`](Self::next). `None` at the end.
    ///
    /// # Errors
    /// [`CommandError`] says why the subscription ended.
    ///
    /// # Cancel safety
    /// Safe: no message is lost.
    pub async fn next_message(&mut self) -> Result<Option<TypedMessage<T>>, CommandError> {
        while let Some(event) = self.next().await {
            if let TypedEvent::Message(message) = event? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

impl<T, C> TypedSubscription<T, C> {
    /// The stream without types; nothing of it is lost.
    pub fn into_inner(self) -> Subscription {
        self.subscription
    }
}

/// What needs the stream for itself, such as reading it, is not there.
impl<T, C> Deref for TypedSubscription<T, C> {
    type Target = Subscription;

    fn deref(&self) -> &Subscription {
        &self.subscription
    }
}

/// Neither the codec nor a value is ever pinned.
impl<T, C> Unpin for TypedSubscription<T, C> {}

impl<T: DeserializeOwned, C: Codec> Stream for TypedSubscription<T, C> {
    type Item = Result<TypedEvent<T>, CommandError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let event = ready!(Pin::new(&mut self.subscription).poll_next(context));
        Poll::Ready(event.map(|event| Ok(TypedEvent::read(&self.codec, event?))))
    }
}

impl<T, C: fmt::Debug> fmt::Debug for TypedSubscription<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedSubscription")
            .field("subscription", &self.subscription)
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}
