//! `amps bench resubscribe`: how long subscriptions take to be entered again.

use amps_client::{ConnectionState, Event, Events, PublishStore, Subscribe};
use clap::Args;
use futures_util::future::try_join_all;

use super::summary::{Clocks, Summary};
use super::{Target, connect, print};
use crate::exit::Failure;

/// Options of `amps bench resubscribe`.
#[derive(Debug, Args)]
pub(crate) struct Resubscribe {
    #[command(flatten)]
    target: Target,
    /// The number of subscriptions; each counts as a message in the figures.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    subscriptions: u32,
}

impl Resubscribe {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let builder = self.target.builder(None)?.publish_store(PublishStore::None);
        let (client, events) = connect(builder).await?;
        // On a worker of its own: it notes the time.
        let recovery = tokio::spawn(recovery(events, self.subscriptions));
        let topic = &self.target.topic;
        let entered =
            (0..self.subscriptions).map(|number| client.subscribe(Subscribe::to(format!("{topic}-{number}"))));
        let streams = try_join_all(entered).await;
        let _streams = streams.map_err(|error| Failure::new(format!("cannot subscribe to {topic}"), error))?;

        print(&recovery.await.map_err(|error| Failure::new("the measurement broke off", error))??)
    }
}

/// Waits for the loss of the connection and the recovery from it; measures from
/// the logon on.
async fn recovery(mut events: Events, subscriptions: u32) -> Result<Summary, Failure> {
    let mut logged_on = None;
    while let Some(event) = events.next().await {
        let Event::State(change) = event else { continue };
        match (change.state, &logged_on) {
            (ConnectionState::LoggedOn, _) => logged_on = Some(Clocks::start()),
            (ConnectionState::Resubscribed, Some(clocks)) => return Ok(clocks.stop(u64::from(subscriptions), 0)),
            _ => {}
        }
    }
    Err(Failure::new("the measurement broke off", "the client is closed"))
}
