use std::fmt;
use std::sync::Arc;

use amps_ha::client_core::{Flow, Request};
use amps_ha::driver::Inbox;
use amps_ha::error::CommandError;
use amps_ha::subscriptions::{Replacement, SubscriptionQueue};
use tokio::sync::oneshot;

use crate::client::Client;
use crate::subscribe::Subscription;
use crate::waits::Waits;

/// Changes a subscription while somebody else reads its stream. Cheap to
/// clone; it keeps neither the subscription nor the client alive.
///
/// ```
/// # use amps_client::{CommandError, Replacement, Subscription};
/// # async fn example(orders: Subscription) -> Result<(), CommandError> {
/// let handle = orders.handle();
/// // The stream goes to a task of its own.
/// handle.replace(Replacement::new().filter("/qty > 1000")).await?;
/// # Ok(()) }
/// ```
///
/// Each call waits for the server's answer, which comes behind the messages
/// before it: do not wait in the task that reads the stream, or, if its queue
/// fills up, the call fails with [`CommandError::WouldDeadlock`]. While the
/// client is disconnected it waits for the next connection, up to the command
/// timeout. What the server confirmed holds on every later connection.
///
/// After [`CommandError::TimedOut`] or [`CommandError::WouldDeadlock`] the
/// server may still follow; then that holds. Calling again is harmless.
#[derive(Clone)]
pub struct SubscriptionHandle {
    pub(crate) queue: Arc<SubscriptionQueue>,
    pub(crate) inbox: Arc<Inbox>,
    waits: Waits,
}

impl Subscription {
    /// What changes this subscription from elsewhere.
    pub fn handle(&self) -> SubscriptionHandle {
        SubscriptionHandle {
            queue: Arc::clone(self.reader.queue()),
            inbox: Arc::clone(&self.client.inbox),
            waits: self.client.waits.clone(),
        }
    }
}

impl SubscriptionHandle {
    /// Replaces topic, filter or options (AMPS User Guide, "Replacing
    /// Subscriptions"). The stream stays; what both the old and the new one
    /// ask for has no gap and comes once. Of what was published before, a
    /// bookmark subscription gets nothing that only the new one asks for. Its
    /// [id](crate::Subscribe::id) stays too, also one made of the old filter.
    ///
    /// Of one that began with a query, records that only the new one asks for
    /// come like updates: there is no
    /// [`SnapshotBegin`](crate::SubscriptionEvent::SnapshotBegin), which says that
    /// all of them follow.
    ///
    /// # Errors
    /// [`CommandError::Refused`]: the subscription goes on as it was.
    /// [`CommandError::Invalid`] for a query,
    /// [`CommandError::SubscriptionEnded`], and those named
    /// [above](Self).
    ///
    /// # Cancel safety
    /// A dropped call may have replaced it, or not.
    pub async fn replace(&self, with: Replacement) -> Result<(), CommandError> {
        let queue = Arc::clone(&self.queue);
        self.ask("replace", |reply| Request::Replace { queue, with, reply }).await
    }

    /// Stops a bookmark subscription's messages where they are (AMPS User
    /// Guide, "Pausing and Resuming"). A few that are on their way still come.
    /// It stays paused on later connections.
    ///
    /// # Errors
    /// [`CommandError::Refused`], [`CommandError::Invalid`] without
    /// bookmarks, [`CommandError::SubscriptionEnded`], and those named
    /// [above](Self).
    ///
    /// # Cancel safety
    /// A dropped call may have paused it, or not.
    pub async fn pause(&self) -> Result<(), CommandError> {
        self.flow(Flow::Pause, [self]).await
    }

    /// Goes on where a bookmark subscription was paused, without a gap.
    ///
    /// # Errors
    /// As for [`pause`](Self::pause).
    ///
    /// # Cancel safety
    /// A dropped call may have resumed it, or not.
    pub async fn resume(&self) -> Result<(), CommandError> {
        self.flow(Flow::Resume, [self]).await
    }

    async fn flow<'a>(&self, flow: Flow, handles: impl IntoIterator<Item = &'a Self>) -> Result<(), CommandError> {
        let queues = handles.into_iter().map(|handle| Arc::clone(&handle.queue)).collect();
        self.ask(flow.as_str(), |reply| Request::Flow { flow, queues, reply }).await
    }

    pub(crate) async fn ask(
        &self,
        command: &'static str,
        request: impl FnOnce(oneshot::Sender<Result<(), CommandError>>) -> Request,
    ) -> Result<(), CommandError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.push(request(reply));
        let topic = self.queue.about().topic;
        self.waits.on(command, &topic, answer).await.unwrap_or(Err(CommandError::Closed))
    }
}

impl Client {
    /// Pauses several bookmark subscriptions of this client with one command;
    /// see [`SubscriptionHandle::pause`].
    ///
    /// # Errors
    /// As for one; either all are paused or none is.
    ///
    /// # Cancel safety
    /// A dropped call may have paused them, or not.
    pub async fn pause<'a>(
        &self,
        handles: impl IntoIterator<Item = &'a SubscriptionHandle>,
    ) -> Result<(), CommandError> {
        flow_all(Flow::Pause, handles).await
    }

    /// Resumes several bookmark subscriptions of this client with one command.
    /// Those that began at the same place share one replay of the server's log,
    /// also when they are entered again on another connection.
    ///
    /// # Errors
    /// As for one; either all are resumed or none is.
    ///
    /// # Cancel safety
    /// A dropped call may have resumed them, or not.
    pub async fn resume<'a>(
        &self,
        handles: impl IntoIterator<Item = &'a SubscriptionHandle>,
    ) -> Result<(), CommandError> {
        flow_all(Flow::Resume, handles).await
    }
}

async fn flow_all<'a>(
    flow: Flow,
    handles: impl IntoIterator<Item = &'a SubscriptionHandle>,
) -> Result<(), CommandError> {
    let handles: Vec<_> = handles.into_iter().collect();
    match handles.first() {
        Some(first) => first.flow(flow, handles.iter().copied()).await,
        None => Ok(()),
    }
}

impl fmt::Debug for SubscriptionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionHandle").finish_non_exhaustive()
    }
}
