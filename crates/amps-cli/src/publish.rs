//! `amps publish` and `amps delta_publish`: files and standard input, pipelined.
//!
//! A message is appended to the publish store, and its receipt goes to a task that
//! writes the message's number to the ledger once it is durable. Nothing waits for
//! a single message. At the end everything is waited for together.

mod promises;
mod stuck;

use std::fmt;
use std::io::{self, IsTerminal};
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

use crate::connect;
use crate::exit::{End, Failure};
use crate::follow::seconds;
use crate::input::{self, Delimiter, Input, Record, Source};
use crate::ledger::Ledger;
use crate::pace::{Pace, Rate};
use crate::progress::Progress;
use crate::say::{self, Tone};
use crate::servers::Servers;
use crate::signals::Signals;
use crate::slow_disk::SlowDisk;
use crate::store::{Level, Store};
use crate::summary::{self, Summary};
use promises::Promised;
use stuck::{STUCK, Stuck};

/// Receipts on their way to the ledger.
const AHEAD: usize = 65_536;
/// What each step of ending may take, once it is to end.
const CLOSE: Duration = Duration::from_secs(2);
/// How often the progress bar is drawn.
const DRAW: Duration = Duration::from_millis(200);

/// Options of `amps publish` and `amps delta_publish`.
#[derive(Debug, Args)]
pub(crate) struct Publish {
    #[command(flatten)]
    servers: Servers,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// Files with messages, one a line; of a zip archive (NAME.zip) each file is a
    /// message. `-` is standard input.
    #[arg(long, value_name = "FILE", num_args = 1.., default_value = "-")]
    file: Vec<Source>,
    /// The messages themselves, instead of files.
    #[arg(long, value_name = "TEXT", num_args = 1.., conflicts_with_all = ["file", "delimiter"])]
    data: Vec<String>,
    /// What stands between messages: a byte's decimal value, a character, an escape
    /// such as \t or \x1e, or `none`: each file is one message.
    #[arg(long, value_name = "BYTE", default_value = "10")]
    delimiter: Delimiter,
    /// At most that many messages a second; 0.25 is one in four seconds.
    #[arg(long, value_name = "N")]
    rate: Option<Rate>,
    /// The messages say what changed: the server merges each into the record with
    /// the same key.
    #[arg(long)]
    delta: bool,
    /// How long the records live, in seconds, in a topic with expiration.
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    expiration: Option<Duration>,
    /// A text that subscribers get with each message, of the characters of base64.
    #[arg(long, value_name = "TEXT")]
    correlation_id: Option<String>,
    /// The key of the records, of a topic whose keys come with the messages.
    #[arg(long, value_name = "KEY")]
    sow_key: Option<String>,
    /// The client name, the same each time for a sled store.
    #[arg(long, value_name = "NAME")]
    client_name: Option<String>,
    /// Where messages wait for their acknowledgement: `none`, `memory`,
    /// `hybrid:DIR` or `sled:DIR`. With `none` no message is acknowledged as persisted: the
    /// command succeeds if the server has processed all of them, and what a lost
    /// connection takes along counts as failed.
    #[arg(long, value_name = "STORE", default_value = "memory", help_heading = "Store")]
    store: Store,
    /// How often, in seconds, the server is asked to say what it has persisted; this
    /// command waits for it at its end. A server that is not asked says it once a second.
    #[arg(long, value_name = "SECS", default_value = "0.05", value_parser = seconds, help_heading = "Store")]
    ack_conflation: Duration,
    /// What a durable message survives; with a sled store a power loss by default.
    #[arg(long, value_enum, help_heading = "Store")]
    durability: Option<Level>,
    /// A slow disk under a sled store, for tests: each sync first waits for as many
    /// milliseconds as this file says then; not at all while there is none.
    #[arg(long, value_name = "FILE", help_heading = "Store")]
    slow_disk: Option<SlowDisk>,
    /// Appends the number of each message, counted from 1, once it is durable.
    #[arg(long, value_name = "FILE", help_heading = "Store")]
    ledger: Option<PathBuf>,
    /// The last line of standard output.
    #[arg(long, value_enum, value_name = "FORM", default_value = "json", help_heading = "Output")]
    summary: Summary,
}

/// The last line of standard output.
#[derive(Debug, Serialize)]
struct Totals {
    /// Messages taken in.
    published: u64,
    /// Of these, messages acknowledged as persisted.
    persisted: u64,
    /// Messages a server refused, or that were lost without a store.
    failed: u64,
    reconnects: u64,
    seconds: f64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { published, persisted, failed, reconnects, seconds } = self;
        write!(f, "{published} published, {persisted} persisted, ")?;
        if *failed > 0 {
            write!(f, "{failed} failed, ")?;
        }
        write!(f, "{}, {seconds} s", summary::counted(*reconnects, "reconnect"))
    }
}

/// Counted while it runs.
#[derive(Debug, Default)]
struct Counts {
    published: AtomicU64,
    failed: AtomicU64,
    /// Of the input that were read.
    bytes: AtomicU64,
}

impl Publish {
    /// Publishes everything, and waits until all of it, and all the store held
    /// before, is acknowledged.
    ///
    /// # Errors
    /// When the settings are wrong, or the input, the store or the ledger fails.
    pub(crate) async fn run(mut self, delta: bool) -> Result<End, Failure> {
        self.delta |= delta;
        if !self.data.is_empty() {
            self.file = self.data.drain(..).map(Source::Text).collect();
        }
        let mut signals = Signals::listen().map_err(|error| Failure::new("cannot listen for signals", error))?;
        let began = Instant::now();
        let unreadable = |error| Failure::new("cannot read the input", error);
        let input = input::read(&self.file, self.delimiter).map_err(unreadable)?;
        let client = self.client()?;
        let (tells, counts_of) = (client.events(), client.events());
        if self.file.contains(&Source::Stdin) && io::stdin().is_terminal() {
            say::line(Tone::Hint, "type messages, one a line; Ctrl-D ends");
        }
        let ledger = self.ledger.as_deref().map(Ledger::open).transpose();
        let ledger = ledger.map_err(|error| Failure::new("cannot open the ledger", error))?;

        let counts = Arc::new(Counts::default());
        let progress = Progress::publishing(input.bytes);
        let counter = tokio::spawn(count(counts_of, Arc::clone(&counts)));
        let teller = progress.clone();
        let teller = tokio::spawn(connect::tell(tells, move |tone, text| teller.say(tone, text)));
        let (receipts, promised) = mpsc::channel(AHEAD);
        let mut promises = tokio::spawn(promises::keep(promised, ledger));

        let all = async {
            self.intake(&client, input, receipts, &counts).await?;
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
        let _ = timeout(CLOSE, async { tokio::join!(counter, teller) }).await;
        progress.end();

        let (published, failed) = (counts.published.load(Ordering::Relaxed), counts.failed.load(Ordering::Relaxed));
        let settled = if self.store == Store::None { 0 } else { published.saturating_sub(left) };
        let persisted = settled.saturating_sub(failed);
        let seconds = summary::seconds(began);
        self.summary.print(&Totals { published, persisted, failed, reconnects, seconds })?;
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
        let name = self.client_name.as_deref().or(stable);
        let builder = connect::builder(&self.servers, name, "publish")?;
        let builder = builder.publish_store(store).durability(level).ack_conflation(self.ack_conflation);
        builder.start().map_err(connect::not_started)
    }

    fn message<'a>(&'a self, body: &'a [u8]) -> amps_client::Publish<'a> {
        use amps_client::Publish;
        let mut message = match self.delta {
            false => Publish::new(&self.topic, body),
            true => Publish::delta(&self.topic, body),
        };
        if let Some(lifetime) = self.expiration {
            message = message.expiration(lifetime);
        }
        if let Some(id) = &self.correlation_id {
            message = message.correlation_id(id);
        }
        if let Some(key) = &self.sow_key {
            message = message.sow_key(key);
        }
        message
    }

    async fn intake(
        &self,
        client: &Client,
        mut input: Input,
        receipts: mpsc::Sender<Promised>,
        counts: &Counts,
    ) -> Result<(), Failure> {
        let mut pace = Pace::new(self.rate);
        while let Some(record) = input.next().await {
            let Record { number, body, input_bytes } =
                record.map_err(|error| Failure::new("cannot read the input", error))?;
            pace.wait().await;
            let Ok(permit) = receipts.reserve().await else {
                return Err(Failure::new("messages can no longer be promised", "the store or the ledger failed"));
            };
            let receipt = loop {
                let waited = match client.enqueue_write_wait(self.message(&body)).await {
                    Ok(receipt) => break receipt,
                    Err(PublishError::Disconnected { .. }) => {
                        client.connected().await.map_err(|_| PublishError::Closed)
                    }
                    Err(error) => Err(error),
                };
                waited.map_err(|error| Failure::new(format!("cannot publish message {number}"), error))?;
                tokio::task::yield_now().await;
            };
            counts.published.fetch_add(1, Ordering::Relaxed);
            counts.bytes.store(input_bytes, Ordering::Relaxed);
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

/// Counts what fails.
async fn count(mut events: Events, counts: Arc<Counts>) {
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
    }
}

/// Draws the progress for ever, and says once what may be wrong when nothing is
/// acknowledged any more.
async fn draw(client: &Client, counts: &Counts, progress: &Progress) {
    let mut tick = tokio::time::interval(DRAW);
    let mut stuck = Stuck::default();
    loop {
        tick.tick().await;
        let waiting = client.unacknowledged();
        if stuck.is_it(client.is_connected().then_some(waiting), Instant::now()) {
            let text = format!(
                "{} not acknowledged for {} s: a server acknowledges what its synchronous peers have as well; is one \
                 of them down?",
                summary::counted(waiting, "message"),
                STUCK.as_secs()
            );
            progress.say(Tone::Hint, &text);
        }
        let published = counts.published.load(Ordering::Relaxed);
        let persisted = published.saturating_sub(client.unacknowledged());
        progress.show(published, persisted, counts.bytes.load(Ordering::Relaxed));
    }
}
