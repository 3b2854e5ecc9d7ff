//! `amps ping`: does a server answer?

use std::time::{Duration, Instant};

use clap::Args;

use crate::args::Servers;
use crate::connect;
use crate::exit::{End, Failure};

/// Options of `amps ping`.
#[derive(Debug, Args)]
pub(crate) struct Ping {
    #[command(flatten)]
    servers: Servers,
    /// How long to try, in seconds.
    #[arg(long, value_name = "SECS", default_value_t = 5)]
    timeout: u64,
}

impl Ping {
    /// Connects and logs on, and says so.
    ///
    /// # Errors
    /// When no server answers in time.
    pub(crate) async fn run(self) -> Result<End, Failure> {
        let uris = self.servers.shown();
        let began = Instant::now();
        let builder = connect::builder(&self.servers, None, "ping").publish_store(amps_client::PublishStore::None);
        let client = builder
            .connect_within(Duration::from_secs(self.timeout))
            .connect()
            .await
            .map_err(|error| Failure::new(format!("{uris} does not answer"), error))?;
        println!("{uris} answered in {:.1} ms", began.elapsed().as_secs_f64() * 1_000.0);
        client.close(Duration::from_secs(1)).await;
        Ok(End::Done)
    }
}
