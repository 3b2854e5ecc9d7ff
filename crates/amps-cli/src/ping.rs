//! `amps ping`: does a server answer?

use std::fmt;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::advice;
use crate::connect;
use crate::exit::{End, Failure};
use crate::follow::seconds;
use crate::servers::Servers;
use crate::summary::Summary;

/// What ending may take.
const CLOSE: Duration = Duration::from_secs(1);

/// Options of `amps ping`.
#[derive(Debug, Args)]
pub(crate) struct Ping {
    #[command(flatten)]
    servers: Servers,
    /// How long to try, in seconds.
    #[arg(long, value_name = "SECS", default_value = "5", value_parser = seconds)]
    timeout: Duration,
    /// The line on standard output.
    #[arg(long, value_enum, value_name = "FORM", default_value = "text", help_heading = "Output")]
    summary: Summary,
}

/// Who answered.
#[derive(Debug, Serialize)]
struct Answer {
    server: String,
    /// Of the server, if it tells.
    version: Option<String>,
    /// From the first attempt until the logon was answered.
    milliseconds: f64,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered in {:.1} ms", self.server, self.milliseconds)?;
        self.version.iter().try_for_each(|version| write!(f, ", version {version}"))
    }
}

impl Ping {
    /// Connects and logs on, and says so.
    ///
    /// # Errors
    /// When no server answers in time.
    pub(crate) async fn run(self) -> Result<End, Failure> {
        let builder = connect::builder(&self.servers, None, "ping")?.publish_store(amps_client::PublishStore::None);
        let began = Instant::now();
        let connected = builder.connect_within(self.timeout).connect().await;
        let client = connected.map_err(|error| {
            let hint = advice::about_connect(&error);
            Failure::new(format!("{} does not answer", self.servers.shown()), error).hint(hint)
        })?;
        let milliseconds = (began.elapsed().as_secs_f64() * 1e6).round() / 1e3;
        let uri = client.state().latest().and_then(|change| change.uri);
        let server = uri.map_or_else(|| self.servers.shown(), |uri| uri.to_string());
        self.summary.print(&Answer { server, version: client.server_version(), milliseconds })?;
        client.close(CLOSE).await;
        Ok(End::Done)
    }
}
