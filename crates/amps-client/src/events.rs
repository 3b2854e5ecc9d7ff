//! What happens to a client and what reaches no stream, for those who listen.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use amps_core::Message;
use amps_ha::event::Event;
use futures_core::Stream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError::Lagged;

/// What happens to a client, in order. A listener that falls more than 1,024
/// events behind is told how many it missed.
///
/// A [`Stream`] as well.
#[derive(Debug)]
pub struct Events(BroadcastStream<Event>);

impl Events {
    pub(crate) fn new(events: broadcast::Receiver<Event>) -> Self {
        Self(BroadcastStream::new(events))
    }

    /// The next event; `None` behind the last.
    ///
    /// # Cancel safety
    /// Safe: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let next = Pin::new(&mut self.0).poll_next(context);
        next.map(|next| next.map(|event| event.unwrap_or_else(|Lagged(missed)| Event::Missed(missed))))
    }
}

/// Messages that reach no stream, in order. A listener that falls more than
/// 1,024 messages behind is told how many it missed.
///
/// A [`Stream`] as well.
#[derive(Debug)]
pub struct Strays(BroadcastStream<Message>);

/// One thing a listener to [`Strays`] gets.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Stray {
    /// A message, copied out of the read it came in.
    Message(Message),
    /// This listener was too slow and missed so many messages.
    Missed(u64),
}

impl Strays {
    pub(crate) fn new(messages: broadcast::Receiver<Message>) -> Self {
        Self(BroadcastStream::new(messages))
    }

    /// The next message; `None` behind the last.
    ///
    /// # Cancel safety
    /// Safe: no message is lost.
    pub async fn next(&mut self) -> Option<Stray> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Strays {
    type Item = Stray;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Stray>> {
        let next = Pin::new(&mut self.0).poll_next(context);
        let stray = |next: Result<_, _>| next.map_or_else(|Lagged(missed)| Stray::Missed(missed), Stray::Message);
        next.map(|next| next.map(stray))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a waiter that is dropped would have got, the next one gets; and one
    /// that lags is told.
    #[tokio::test]
    async fn nothing_is_lost_with_a_dropped_waiter() {
        let (sender, receiver) = broadcast::channel(2);
        let mut events = Events::new(receiver);
        {
            let mut waiter = std::pin::pin!(events.next());
            let waits = poll_fn(|context| Poll::Ready(waiter.as_mut().poll(context).is_pending())).await;
            assert!(waits);
            sender.send(Event::Dropped { messages: 1 }).unwrap();
        }
        assert!(matches!(events.next().await, Some(Event::Dropped { messages: 1 })));
        for messages in 2..=5 {
            sender.send(Event::Dropped { messages }).unwrap();
        }
        drop(sender);
        assert!(matches!(events.next().await, Some(Event::Missed(2))));
        for expected in [4, 5] {
            assert!(matches!(events.next().await, Some(Event::Dropped { messages }) if messages == expected));
        }
        assert!(events.next().await.is_none());
    }
}
