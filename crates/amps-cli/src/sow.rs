//! `amps sow`: the records of a SOW topic.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use clap::Args;

use crate::args::Servers;
use crate::connect;
use crate::exit::{End, Failure};
use crate::format::{Format, Shown};

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
    /// What is printed of a record, one a line.
    #[arg(long, value_enum, default_value = "body")]
    format: Format,
    /// How long to try to connect, in seconds.
    #[arg(long, value_name = "SECS", default_value_t = 30)]
    timeout: u64,
}

impl Sow {
    /// Prints the records.
    ///
    /// # Errors
    /// When no server is reached in time, refuses the query, or is lost before
    /// its end.
    pub(crate) async fn run(self) -> Result<End, Failure> {
        let client = connect::builder(&self.servers, None, "sow")
            .publish_store(amps_client::PublishStore::None)
            .connect_within(Duration::from_secs(self.timeout))
            .connect()
            .await
            .map_err(|error| Failure::new("cannot connect", error))?;
        let failed = |error| Failure::new(format!("cannot query {}", self.topic), error);
        let mut query = amps_client::Sow::of(&self.topic);
        if let Some(filter) = &self.filter {
            query = query.filter(filter);
        }
        let mut records = client.sow(query).await.map_err(failed)?;
        let mut out = BufWriter::new(io::stdout().lock());
        let printed = |error| Failure::new("cannot write to standard output", error);
        while let Some(record) = records.next_message().await.map_err(failed)? {
            self.format.write(&mut out, Shown::from(&record)).map_err(printed)?;
        }
        out.flush().map_err(printed)?;
        client.close(Duration::from_secs(1)).await;
        Ok(End::Done)
    }
}
