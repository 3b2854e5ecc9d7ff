use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use amps_ha::client_core::Request;
use amps_ha::error::Cause;
use amps_ha::event::ConnectionSummary;
use amps_ha::user_code::{UserError, contain_future};
use tokio::sync::watch;

use crate::client::Client;
use crate::inner::Inner;

/// The future of a [`DisconnectHandler`].
pub type Handling<'a> = Pin<Box<dyn Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// What to do when a connection is lost, instead of recovering (AMPS developer
/// guides, "Replacing Disconnect Handling").
///
/// For unusual needs only, such as a publisher of prices that should rather
/// stop than send late ones. To be told of a loss, listen to
/// [`Client::events`]. Any
/// `Fn(Client, Cause) -> impl Future<Output = Result<(), E>>` is a handler.
pub trait DisconnectHandler: Send + Sync + 'static {
    /// The connection is lost, for this cause. Runs in a task of its own, one
    /// call at a time: it may call [`Client::reconnect`], [`Client::close`] or
    /// anything else, and take its time. An error is the cause of the errors
    /// that calls get while the client is not connected.
    fn disconnected(&self, client: Client, cause: Cause) -> Handling<'_>;
}

impl<H, F, E> DisconnectHandler for H
where
    H: Fn(Client, Cause) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn disconnected(&self, client: Client, cause: Cause) -> Handling<'_> {
        let handling = self(client, cause);
        Box::pin(async move { handling.await.map_err(Into::into) })
    }
}

/// Calls the handler for each loss, for as long as there is a client.
pub(crate) async fn handle(
    client: Weak<Inner>,
    mut state: watch::Receiver<ConnectionSummary>,
    handler: Arc<dyn DisconnectHandler>,
) {
    let mut handled = 0;
    loop {
        let lost =
            state.wait_for(|state| state.over.is_some() || (state.downs > handled && state.down.is_some())).await;
        let Ok((cause, number)) = lost.map(|state| (state.down.clone(), state.downs)) else { return };
        let (Some(cause), Some(inner)) = (cause, client.upgrade()) else { return };
        handled = number;
        let inbox = Arc::clone(&inner.inbox);
        let call = contain_future("disconnect handler", || handler.disconnected(Client { inner }, cause));
        match call.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => inbox.push(Request::Blame(Cause::DisconnectHandler(UserError::new(error)))),
            Err(panicked) => inbox.push(Request::Blame(Cause::Panicked(panicked))),
        }
    }
}
