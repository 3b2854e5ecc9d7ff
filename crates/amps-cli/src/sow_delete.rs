//! `amps sow_delete`: records of a SOW topic are deleted.

use std::fmt;
use std::time::{Duration, Instant};

use amps_client::{Client, Deleted, PublishError, PublishStore, SowDelete as Records};
use clap::{ArgGroup, Args};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use crate::advice;
use crate::connect;
use crate::exit::{End, Failure};
use crate::follow::seconds;
use crate::input::{self, Delimiter, Source};
use crate::say::{self, Tone};
use crate::servers::Servers;
use crate::signals::Signals;
use crate::summary::{self, Summary};

/// Deletions under way at once.
const AHEAD: usize = 64;
/// How often persisted acknowledgements are asked for: the answer waits for them
/// when a server does not count.
const CONFLATION: Duration = Duration::from_millis(50);
/// The filter that every record matches (AMPS Command Reference, "SOW Delete").
pub(crate) const ALL: &str = "1=1";
/// What ending may take.
const CLOSE: Duration = Duration::from_secs(2);

/// Options of `amps sow_delete`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("records").args(["filter", "keys", "data", "file", "all"]).required(true))]
pub(crate) struct SowDelete {
    #[command(flatten)]
    servers: Servers,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// Deletes the records that match.
    #[arg(long)]
    filter: Option<String>,
    /// Deletes the records with these keys, as the form json shows them.
    #[arg(long, value_name = "KEY,...", value_delimiter = ',')]
    keys: Vec<String>,
    /// Deletes the record that a publish of this message would replace.
    #[arg(long, value_name = "MESSAGE")]
    data: Option<String>,
    /// The same for each message in these files, as `amps publish` reads them; `-`
    /// is standard input.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    file: Vec<Source>,
    /// Deletes all records of the topic.
    #[arg(long)]
    all: bool,
    /// What stands between the messages of a file; see `amps publish`.
    #[arg(long, value_name = "BYTE", default_value = "10")]
    delimiter: Delimiter,
    /// How long to try to connect, in seconds.
    #[arg(long, value_name = "SECS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
    /// The last line of standard output.
    #[arg(long, value_enum, value_name = "FORM", default_value = "json", help_heading = "Output")]
    summary: Summary,
}

/// How many records that were.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Records that were deleted.
    pub(crate) deleted: u64,
    /// Deletions that were carried out.
    requests: u64,
    /// Deletions that nobody could count, since the connection was lost meanwhile.
    pub(crate) uncounted: u64,
    pub(crate) seconds: f64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} deleted", summary::counted(self.deleted, "record"))?;
        if self.uncounted > 0 {
            write!(f, ", and what {} deleted, which nobody counted", summary::counted(self.uncounted, "request"))?;
        }
        write!(f, ", {} s", self.seconds)
    }
}

impl Counts {
    /// What one deletion came to.
    pub(crate) fn of(deleted: Option<Deleted>) -> Self {
        let (deleted, uncounted) = deleted.map_or((0, 1), |deleted| (deleted.records, 0));
        Self { deleted, requests: 1, uncounted, seconds: 0.0 }
    }

    fn and(mut self, other: &Self) -> Self {
        self.deleted += other.deleted;
        self.requests += other.requests;
        self.uncounted += other.uncounted;
        self
    }
}

/// Carries deletions out, and says how many records there were, as `shown`.
///
/// # Errors
/// When no server is reached in time, or `delete` fails.
pub(crate) async fn carry_out<S: Serialize + fmt::Display>(
    servers: &Servers,
    within: Duration,
    summary: Summary,
    delete: impl AsyncFnOnce(&Client) -> Result<Counts, Failure>,
    shown: impl FnOnce(Counts) -> S,
) -> Result<End, Failure> {
    let began = Instant::now();
    let mut signals = Signals::listen().map_err(|error| Failure::new("cannot listen for signals", error))?;
    // Stored, so that a deletion survives a failover.
    let client = connect::builder(servers, None, "sow-delete")?
        .publish_store(PublishStore::Memory)
        .ack_conflation(CONFLATION)
        .connect_within(within)
        .connect()
        .await
        .map_err(connect::not_connected)?;
    // That it is connected is nothing to tell of something so short.
    let say = |tone, text: &str| {
        if tone != Tone::Good {
            say::line(tone, text)
        }
    };
    tokio::spawn(connect::tell(client.events(), say));
    let ended = tokio::select! {
        counts = delete(&client) => counts.map(|counts| (counts, End::Done)),
        signal = signals.next() => Ok((Counts::default(), End::Signal(signal))),
    };
    client.close(CLOSE).await;
    let (mut counts, end) = ended?;
    counts.seconds = summary::seconds(began);
    if end == End::Done {
        summary.print(&shown(counts))?;
    }
    Ok(end)
}

/// Deletes what a filter matches.
///
/// # Errors
/// When the server refuses, or the client cannot go on.
pub(crate) async fn by_filter(client: &Client, topic: &str, filter: &str) -> Result<Counts, Failure> {
    let deleted = client.sow_delete_counted(Records::by_filter(topic, filter)).await;
    Ok(Counts::of(deleted.map_err(|error| failed(topic, Some(filter), error))?))
}

fn failed(topic: &str, filter: Option<&str>, error: PublishError) -> Failure {
    let hint = match &error {
        PublishError::Refused(reason) => advice::about_reason(reason, filter),
        _ => None,
    };
    Failure::new(format!("cannot delete from {topic}"), error).hint(hint)
}

impl SowDelete {
    /// Deletes the records, and says how many there were.
    ///
    /// # Errors
    /// When no server is reached in time, the server refuses, or the input fails.
    pub(crate) async fn run(self) -> Result<End, Failure> {
        let delete = async |client: &Client| self.delete(client).await;
        carry_out(&self.servers, self.timeout, self.summary, delete, |counts| counts).await
    }

    async fn delete(&self, client: &Client) -> Result<Counts, Failure> {
        let topic = self.topic.as_str();
        let deletion = match (&self.filter, &self.data) {
            (Some(filter), _) => return by_filter(client, topic, filter).await,
            (None, Some(data)) => Records::by_data(topic, data),
            (None, None) if self.all => return by_filter(client, topic, ALL).await,
            (None, None) if !self.keys.is_empty() => Records::by_keys(topic, &self.keys),
            (None, None) => return self.delete_what_is_in_the_input(client).await,
        };
        let deleted = client.sow_delete_counted(deletion).await;
        Ok(Counts::of(deleted.map_err(|error| failed(topic, None, error))?))
    }

    async fn delete_what_is_in_the_input(&self, client: &Client) -> Result<Counts, Failure> {
        let unreadable = |error| Failure::new("cannot read the input", error);
        let input = input::read(&self.file, self.delimiter).map_err(unreadable)?;
        let records = stream::unfold(input, async |mut input| Some((input.next().await?, input)));
        let deleted = records.map(async |record| {
            let body = record.map_err(unreadable)?.body;
            let deleted = client.sow_delete_counted(Records::by_data(&self.topic, &body)).await;
            Ok(Counts::of(deleted.map_err(|error| failed(&self.topic, None, error))?))
        });
        deleted.buffered(AHEAD).try_fold(Counts::default(), async |all, one| Ok(all.and(&one))).await
    }
}
