//! `amps sow`: the records of a SOW topic.

use std::time::Duration;

use amps_client::{Client, CommandError, StartAt, Subscription};
use clap::Args;

use crate::connect;
use crate::exit::{End, Failure};
use crate::follow::seconds;
use crate::output::{Out, Output, Readers};
use crate::servers::Servers;
use crate::signals::Signals;

/// Records that are written together.
const BATCH: usize = 256;
/// What ending may take.
const CLOSE: Duration = Duration::from_secs(1);

/// Options of `amps sow`.
#[derive(Debug, Args)]
pub(crate) struct Sow {
    #[command(flatten)]
    servers: Servers,
    /// The topic, or a regular expression for topics.
    #[arg(long)]
    topic: String,
    /// Only records that match.
    #[arg(long)]
    filter: Option<String>,
    /// Only the records with these keys, as the form json shows them.
    #[arg(long, value_name = "KEY,...", value_delimiter = ',')]
    keys: Vec<String>,
    /// At most that many records.
    #[arg(long, alias = "topn", value_name = "N")]
    top_n: Option<u64>,
    /// The order of the records, such as '/price DESC, /id'.
    #[arg(long, alias = "orderby", value_name = "ORDER")]
    order_by: Option<String>,
    /// Records in one frame.
    #[arg(long, alias = "batchsize", value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch_size: Option<u64>,
    /// The records of then, of a topic with a history: a bookmark, or a time such
    /// as 20261123T060000.
    #[arg(long, value_name = "WHEN")]
    at: Option<StartAt>,
    /// Further options as AMPS writes them, such as select=[-/,+/id].
    #[arg(long, alias = "opts", value_name = "OPTION,...")]
    options: Option<String>,
    /// How long to try to connect, in seconds.
    #[arg(long, value_name = "SECS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
    #[command(flatten)]
    output: Output,
}

impl Sow {
    /// Prints the records.
    ///
    /// # Errors
    /// When no server is reached in time, refuses the query, or is lost before
    /// its end.
    pub(crate) async fn run(self) -> Result<End, Failure> {
        let mut signals = Signals::listen().map_err(|error| Failure::new("cannot listen for signals", error))?;
        let reached = self.servers.reach()?;
        let mut out = self.output.open(&self.topic, false, false, &self.servers, &reached)?;
        let client = connect::reaching(&reached, self.servers.heartbeat, None, "sow")
            .publish_store(amps_client::PublishStore::None)
            .connect_within(self.timeout)
            .connect()
            .await
            .map_err(connect::not_connected)?;
        let ended = tokio::select! {
            ended = self.print(&client, &mut out) => ended.map(|()| End::Done),
            signal = signals.next() => Ok(End::Signal(signal)),
        };
        client.close(CLOSE).await;
        let told = out.end(client.reconnects(), !matches!(ended, Ok(End::Done))).await;
        ended.and_then(|end| told.map(|()| end))
    }

    async fn print(&self, client: &Client, out: &mut Out) -> Result<(), Failure> {
        loop {
            let failed = match self.query(client).await {
                Ok(records) => match self.all(records, out).await? {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            let again = matches!(failed, CommandError::Disconnected | CommandError::TimedOut { .. });
            if again && out.messages() == 0 {
                // Nothing was printed yet, so that the next server can answer it all.
                client.connected().await.map_err(connect::not_connected)?;
                continue;
            }
            let hint = again.then(|| "what was printed is not all: ask again".to_owned());
            let what = format!("cannot query {}", self.topic);
            return Err(connect::refused(what, failed, self.filter.as_deref()).hint(hint));
        }
    }

    async fn query(&self, client: &Client) -> Result<Subscription, CommandError> {
        let mut query = amps_client::Sow::of(&self.topic);
        if let Some(options) = &self.options {
            query = query.options(options.as_str());
        }
        if let Some(filter) = &self.filter {
            query = query.filter(filter);
        }
        if !self.keys.is_empty() {
            query = query.keys(&self.keys);
        }
        if let Some(records) = self.top_n {
            query = query.top_n(records);
        }
        if let Some(order) = &self.order_by {
            query = query.order_by(order);
        }
        if let Some(records) = self.batch_size {
            query = query.batch_size(records);
        }
        if let Some(then) = &self.at {
            query = query.at(then.clone());
        }
        client.sow(query).await
    }

    /// Prints the answer; the inner error says that it was cut.
    async fn all(&self, mut records: Subscription, out: &mut Out) -> Result<Result<(), CommandError>, Failure> {
        let mut batch = Vec::with_capacity(BATCH);
        let ended = loop {
            match records.next_message().await {
                Ok(Some(record)) => batch.push(record),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
            if batch.len() == BATCH {
                if out.write(&batch, false).await? == Readers::Gone {
                    return Ok(Ok(()));
                }
                batch.clear();
            }
        };
        // A part of the answer is nothing to print, if all of it can be had.
        if ended.is_ok() || out.messages() > 0 {
            out.write(&batch, false).await?;
        }
        Ok(ended)
    }
}
