use amps_core::Message;
use amps_ha::event::Event;
use tokio::sync::broadcast;

/// What happens to a client, in order. A listener that falls more than 1,024
/// events behind is told how many it missed.
#[derive(Debug)]
pub struct Events(pub(crate) broadcast::Receiver<Event>);

impl Events {
    /// The next event; `None` behind the last.
    ///
    /// # Cancel safety
    /// Safe: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Event::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Messages that reach no stream, in order. A listener that falls more than
/// 1,024 messages behind is told how many it missed.
#[derive(Debug)]
pub struct Strays(pub(crate) broadcast::Receiver<Message>);

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
    /// The next message; `None` behind the last.
    ///
    /// # Cancel safety
    /// Safe: no message is lost.
    pub async fn next(&mut self) -> Option<Stray> {
        match self.0.recv().await {
            Ok(message) => Some(Stray::Message(message)),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Stray::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
