//! `amps publish`: one message a line, pipelined.
//!
//! A line is appended to the publish store, and its receipt goes to a task that
//! writes the line's number to the ledger once it is durable. Nothing waits for
//! a single line. At the end everything is waited for together.

mod promises;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use amps_client::{Client, Durability, Event, Events, MemoryPart, PublishError, PublishStore, Reason};
use amps_ha::kv::{SledKv, SledOptions};
use clap::Args;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::args::Servers;
use crate::connect;
use crate::exit::{End, Failure};
use crate::ledger::Ledger;
use crate::lines::{self, Line, Source};
use crate::pace::Pace;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::slow_disk::SlowDisk;
use crate::store::{Level, Store};
use promises::Promised;

/// Receipts on their way to the ledger.
const AHEAD: usize = 65_536;
/// What each step of ending may take, once it is to end.
const CLOSE: Duration = Duration::from_secs(2);
/// How often the progress bar is drawn.
const DRAW: Duration = Duration::from_millis(200);

/// Options of `amps publish`.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    #[command(flatten)]
    servers: Servers,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// The messages, one a line; `-` is standard input.
    #[arg(long, value_name = "F", default_value = "-")]
    file: Source,
    /// The client name, the same each time for a sled store.
    #[arg(long, value_name = "N")]
    client_name: Option<String>,
    /// Where messages wait for their acknowledgement: `none`, `memory`,
    /// `hybrid:DIR` or `sled:DIR`. With `none` no message is acknowledged as persisted: the
    /// command succeeds if the server has processed all of them, and what a lost
    /// connection takes along counts as failed.
    #[arg(long, value_name = "STORE", default_value = "memory")]
    store: Store,
    /// What a durable line survives; with a sled store a power loss by default.
    #[arg(long, value_enum)]
    durability: Option<Level>,
    /// At most that many messages a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// A slow disk under a sled store, for tests: each sync first waits for as many
    /// milliseconds as this file says then; not at all while there is none.
    #[arg(long, value_name = "FILE")]
    slow_disk: Option<SlowDisk>,
    /// Appends the number of each line, counted from 1, once it is durable.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

/// The last line of standard output.
#[derive(Debug, Serialize)]
struct Summary {
    /// Lines taken in.
    published: u64,
    /// Of these, lines acknowledged as persisted.
    persisted: u64,
    /// Messages a server refused, or that were lost without a store.
    failed: u64,
    reconnects: u64,
    seconds: f64,
}

/// Counted while it runs.
#[derive(Debug, Default)]
struct Counts {
    published: AtomicU64,
    failed: AtomicU64,
}

impl Publish {
    /// Publishes everything, and waits until all of it, and all the store held
    /// before, is acknowledged.
    ///
    /// # Errors
    /// When the settings are wrong, or the input, the store or the ledger fails.
    pub(crate) async fn run(self) -> Result<End, Failure> {
        let mut signals = Signals::listen().map_err(|error| Failure::new("cannot listen for signals", error))?;
        let began = Instant::now();
        let lines = lines::read(&self.file).map_err(|error| Failure::new("cannot read the input", error))?;
        let client = self.client()?;
        let ledger = self.ledger.as_deref().map(Ledger::open).transpose();
        let ledger = ledger.map_err(|error| Failure::new("cannot open the ledger", error))?;

        let counts = Arc::new(Counts::default());
        let progress = Progress::new();
        let teller = tokio::spawn(tell(client.events(), Arc::clone(&counts), progress.clone()));
        let (receipts, promised) = mpsc::channel(AHEAD);
        let mut promises = tokio::spawn(promises::keep(promised, ledger));

        let all = async {
            self.intake(&client, lines, receipts, &counts).await?;
            client.flush().await.map_err(|error| Failure::new("not everything was acknowledged", error))
        };
        let mut end = tokio::select! {
            done = all => done.map(|()| End::Done),
            signal = signals.next() => Ok(End::Signal(signal)),
            () = draw(&client, &counts, &progress) => Ok(End::Incomplete),
        };
        // What was taken in becomes durable, and promised, also after a signal.
        match timeout(CLOSE, &mut promises).await {
            Ok(Ok(Err(failure))) => end = Err(failure),
            Ok(_) => {}
            Err(_) => promises.abort(),
        }
        let reconnects = client.reconnects();
        let left = client.close(if end.is_ok() { CLOSE } else { Duration::ZERO }).await.unacknowledged;
        drop(client);
        // The events end with the client.
        let _ = timeout(CLOSE, teller).await;
        progress.end();

        let (published, failed) = (counts.published.load(Ordering::Relaxed), counts.failed.load(Ordering::Relaxed));
        let settled = if self.store == Store::None { 0 } else { published.saturating_sub(left) };
        let persisted = settled.saturating_sub(failed);
        let seconds = (began.elapsed().as_secs_f64() * 1_000.0).round() / 1_000.0;
        let summary = Summary { published, persisted, failed, reconnects, seconds };
        println!("{}", serde_json::to_string(&summary).unwrap_or_default());
        match end? {
            End::Done if failed > 0 || left > 0 => Ok(End::Incomplete),
            end => Ok(end),
        }
    }

    fn client(&self) -> Result<Client, Failure> {
        let refused = |why| Err(Failure::new("these options do not go together", why));
        let (store, stable) = match (&self.store, &self.slow_disk) {
            // A store belongs to one client name.
            (Store::Sled(dir), Some(disk)) => (slow(dir, disk)?, Some("amps-publish")),
            (_, Some(_)) => return refused("--slow-disk needs a sled store"),
            (Store::None, None) if self.ledger.is_some() => return refused("--ledger needs a store"),
            (Store::None, None) => (PublishStore::None, None),
            (Store::Memory, None) => (PublishStore::Memory, None),
            (Store::Sled(dir), None) => (PublishStore::sled(dir), Some("amps-publish")),
            (Store::Hybrid(dir), None) => (PublishStore::hybrid(dir, MemoryPart::default()), Some("amps-publish")),
        };
        let level = match (&self.store, self.durability) {
            (Store::Sled(_), None | Some(Level::PowerLoss)) => Durability::PowerLoss,
            (Store::Sled(_), Some(Level::ProcessCrash)) => Durability::ProcessCrash,
            (Store::None | Store::Memory | Store::Hybrid(_), Some(Level::ProcessCrash | Level::PowerLoss)) => {
                return refused("only a sled store survives this program");
            }
            _ => Durability::Memory,
        };
        let client = connect::builder(&self.servers, self.client_name.as_deref().or(stable), "publish")
            .publish_store(store)
            .durability(level)
            .start();
        client.map_err(|error| Failure::new("cannot start the client", error))
    }

    async fn intake(
        &self,
        client: &Client,
        mut lines: mpsc::Receiver<std::io::Result<Line>>,
        receipts: mpsc::Sender<Promised>,
        counts: &Counts,
    ) -> Result<(), Failure> {
        let mut pace = Pace::new(self.rate);
        while let Some(line) = lines.recv().await {
            let Line { number, body } = line.map_err(|error| Failure::new("cannot read the input", error))?;
            pace.wait().await;
            let Ok(permit) = receipts.reserve().await else {
                return Err(Failure::new("lines can no longer be promised", "the store or the ledger failed"));
            };
            let receipt = loop {
                let waited = match client.enqueue_wait(&self.topic, &body).await {
                    Ok(receipt) => break receipt,
                    Err(PublishError::Disconnected { .. }) => {
                        client.connected().await.map_err(|_| PublishError::Closed)
                    }
                    Err(error) => Err(error),
                };
                waited.map_err(|error| Failure::new(format!("cannot publish line {number}"), error))?;
                tokio::task::yield_now().await;
            };
            counts.published.fetch_add(1, Ordering::Relaxed);
            permit.send(Promised { number, receipt });
        }
        Ok(())
    }
}

/// A sled store on a slow disk.
fn slow(dir: &Path, disk: &SlowDisk) -> Result<PublishStore, Failure> {
    let kv = SledKv::open(dir, &SledOptions::default());
    let kv = kv.map_err(|error| Failure::new("cannot start the client", error))?;
    Ok(PublishStore::custom(dir.display().to_string(), disk.clone().under(kv)))
}

/// Says what happens, and counts what fails.
async fn tell(mut events: Events, counts: Arc<Counts>, progress: Progress) {
    while let Some(event) = events.next().await {
        let failed = match &event {
            // The server had it already.
            Event::FailedWrite(failed) if failed.reason == Reason::Duplicate => continue,
            Event::FailedWrite(_) => 1,
            Event::Dropped { messages } => *messages,
            // What they said is not known: not a success.
            Event::Missed(events) => *events,
            _ => 0,
        };
        counts.failed.fetch_add(failed, Ordering::Relaxed);
        if let Some(text) = connect::text(&event) {
            progress.say(&text);
        }
    }
}

/// Draws the progress for ever.
async fn draw(client: &Client, counts: &Counts, progress: &Progress) {
    let mut tick = tokio::time::interval(DRAW);
    loop {
        tick.tick().await;
        let published = counts.published.load(Ordering::Relaxed);
        progress.show(published.saturating_sub(client.unacknowledged()), published);
    }
}
