//! What keeps a view current.

use std::sync::Arc;

use amps_ha::error::CommandError;
use amps_ha::event::ConnectionSummary;

use super::bodies::Reader;
use super::shared::Shared;
use super::state::ViewState;
use crate::client::Client;
use crate::subscribe::{Subscribe, Subscription, SubscriptionEvent};

/// Enters the subscription, however long that takes, and puts in what comes.
pub(super) async fn run<K, V>(shared: Arc<Shared<K, V>>, client: Client, wish: Subscribe, reader: Reader<K, V>)
where
    K: Ord + Clone,
    V: PartialEq,
{
    let ended = End(Arc::clone(&shared));
    let error = match enter(&client, wish).await {
        // The stream alone keeps the client from here on.
        Ok(stream) => {
            drop(client);
            follow(&shared, stream, reader).await
        }
        Err(error) => Some(error),
    };
    shared.set(ViewState::Ended(error));
    drop(ended);
}

/// A view ends also when its task is cut off.
struct End<K: Ord + Clone, V: PartialEq>(Arc<Shared<K, V>>);

impl<K: Ord + Clone, V: PartialEq> Drop for End<K, V> {
    fn drop(&mut self) {
        self.0.set(ViewState::Ended(None));
    }
}

async fn enter(client: &Client, wish: Subscribe) -> Result<Subscription, CommandError> {
    loop {
        match client.subscribe(wish.clone()).await {
            // Each takes a while, or the loss of a connection.
            Err(CommandError::TimedOut { .. } | CommandError::Disconnected | CommandError::WouldDeadlock { .. }) => {}
            entered => return entered,
        }
    }
}

/// Puts in what comes, until the stream ends. Answers its error.
async fn follow<K, V>(shared: &Shared<K, V>, mut stream: Subscription, mut reader: Reader<K, V>) -> Option<CommandError>
where
    K: Ord + Clone,
    V: PartialEq,
{
    let mut connection = stream.client.state.clone();
    // The losses that the stream has told of, or came before it.
    let mut told = connection.borrow_and_update().losses;
    let mut watched = true;
    let mut changes = Vec::new();
    loop {
        tokio::select! {
            biased;
            changed = connection.changed(), if watched => watched = changed.is_ok(),
            item = stream.next() => match item {
                Some(Ok(item)) => {
                    if matches!(item, SubscriptionEvent::Reconnected { .. }) {
                        told = connection.borrow().losses;
                    }
                    if let Some(step) = reader.step(&item) {
                        shared.apply(step, &mut changes);
                    }
                }
                Some(Err(error)) => return Some(error),
                None => return None,
            },
        }
        shared.stand(&connection.borrow_and_update(), told);
        // A flood of records lets others run, too.
        tokio::task::coop::consume_budget().await;
    }
}

impl<K: Ord + Clone, V: PartialEq> Shared<K, V> {
    /// Says how the view stands on this connection, of whose losses the stream
    /// has told so many.
    fn stand(&self, connection: &ConnectionSummary, told: u64) {
        let level = self.inside().view.is_level();
        if level && connection.live && connection.losses == told {
            self.set(ViewState::Current);
        } else if self.state().is_current() {
            self.set(ViewState::Recovering);
        }
    }
}
