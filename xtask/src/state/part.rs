//! The processes of the stories. Each writes what it knows into a ledger, a line
//! at a time, so that a kill leaves everything that was written.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use amps_client::{Client, CommandError, DeltaRecords, PublishStore, Subscribe, Subscription, SubscriptionEvent};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::Failure;

/// How long handling one order takes.
const WORK: Duration = Duration::from_millis(1);
/// Acknowledgements are confirmed after so many orders.
const CONFIRMED: usize = 10;

/// One process.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Part {
    /// Keeps the records of a topic current.
    View(View),
    /// Works through a queue.
    Worker(Worker),
}

/// What all of them need.
#[derive(Debug, clap::Args)]
pub(crate) struct View {
    #[command(flatten)]
    common: Common,
    #[arg(long)]
    filter: Option<String>,
}

/// See [`Part::Worker`].
#[derive(Debug, clap::Args)]
pub(crate) struct Worker {
    #[command(flatten)]
    common: Common,
    /// Ends when nothing came for so many seconds.
    #[arg(long)]
    idle: Option<u64>,
}

#[derive(Debug, clap::Args)]
struct Common {
    #[arg(long)]
    name: String,
    #[arg(long, value_delimiter = ',')]
    server: Vec<String>,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    ledger: PathBuf,
}

/// Runs it until it is killed, or has nothing left to do.
///
/// # Errors
/// When it cannot go on.
pub(crate) fn run(part: &Part) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("cannot start the runtime: {error}")))?;
    let ended = runtime.block_on(async {
        match part {
            Part::View(view) => view.run().await,
            Part::Worker(worker) => worker.run().await,
        }
    });
    ended.map_err(|error| Failure::new(error.to_string()))
}

type Ended = Result<(), Box<dyn std::error::Error>>;

impl Common {
    async fn subscribe(&self, subscribe: Subscribe) -> Result<(Client, Subscription), Box<dyn std::error::Error>> {
        let client = Client::builder(&self.name)
            .servers(&self.server)
            .publish_store(PublishStore::None)
            .heartbeat(Duration::from_secs(1), Duration::from_secs(2))
            .start()?;
        loop {
            client.connected().await?;
            match client.subscribe(subscribe.clone()).await {
                Ok(subscription) => return Ok((client, subscription)),
                // The server is gone before it answered.
                Err(CommandError::TimedOut { .. } | CommandError::Disconnected) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl View {
    async fn run(&self) -> Ended {
        let mut subscribe = Subscribe::sow_and_deltas_of(&self.common.topic).options("oof");
        if let Some(filter) = &self.filter {
            subscribe = subscribe.filter(filter);
        }
        let (_client, mut events) = self.common.subscribe(subscribe).await?;
        let mut ledger = Ledger::new(&self.common.ledger)?;
        let mut records = DeltaRecords::new();
        while let Some(event) = events.next().await {
            let event = event?;
            let key = records.apply(&event)?;
            match (&event, key) {
                (SubscriptionEvent::SnapshotBegin, _) => ledger.write(&json!({"snapshot": true}).to_string())?,
                (_, Some(key)) => ledger.write(&json!({"key": key, "record": records.get(&key)}).to_string())?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Worker {
    async fn run(&self) -> Ended {
        let subscribe = Subscribe::to(&self.common.topic).max_backlog(20).ack_batch(5);
        let (_client, mut orders) = self.common.subscribe(subscribe).await?;
        let mut ledger = Ledger::new(&self.common.ledger)?;
        let mut unconfirmed = Vec::new();
        loop {
            let order = match self.idle.map(Duration::from_secs) {
                None => orders.next_message().await,
                Some(idle) => match timeout(idle, orders.next_message()).await {
                    Ok(order) => order,
                    Err(_) => break,
                },
            };
            let Some(order) = order? else { break };
            let body = String::from_utf8_lossy(order.data()).into_owned();
            ledger.write(&format!("got {body}"))?;
            sleep(WORK).await;
            // Only what is processed is acknowledged.
            ledger.write(&format!("done {body}"))?;
            if orders.ack(&order) {
                unconfirmed.push(body);
            }
            if unconfirmed.len() == CONFIRMED {
                confirm(&orders, &mut unconfirmed, &mut ledger).await?;
            }
        }
        confirm(&orders, &mut unconfirmed, &mut ledger).await
    }
}

/// Notes what the server is known to have taken. If a connection is lost, it may
/// have taken less.
async fn confirm(orders: &Subscription, unconfirmed: &mut Vec<String>, ledger: &mut Ledger) -> Ended {
    if orders.flush_acks().await.is_ok() {
        for body in unconfirmed.iter() {
            ledger.write(&format!("acked {body}"))?;
        }
    }
    unconfirmed.clear();
    Ok(())
}

struct Ledger(File);

impl Ledger {
    fn new(path: &Path) -> std::io::Result<Self> {
        File::create(path).map(Self)
    }

    fn write(&mut self, line: &str) -> std::io::Result<()> {
        self.0.write_all(format!("{line}\n").as_bytes())
    }
}
