//! `amps testserver`: a server that speaks the protocol, for tests and demos.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use amps_testserver::{Link, PeerConfig, QueueConfig, TestServer, TestServerBuilder};
use clap::Args;

use crate::control;
use crate::exit::{End, Failure};
use crate::signals::Signals;
use crate::slow_disk::SlowDisk;

/// How often a server is asked whether it still serves.
const WATCH: Duration = Duration::from_millis(500);

/// What one consumer of a queue may have at once; it says itself what it wants.
const BACKLOG: u64 = 100;

/// Options of `amps testserver`.
#[derive(Debug, Args)]
pub(crate) struct Testserver {
    /// Where to listen, such as 127.0.0.1:9007; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", required_unless_present = "config")]
    listen: Option<SocketAddr>,
    /// A TOML file with the configuration; what is given here as well counts
    /// before it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The name of this instance, unique in its group; what --config says, or the
    /// address, unless given.
    #[arg(long, value_name = "N")]
    name: Option<String>,
    /// Where the transaction log is kept; without it, in memory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Instances this one replicates to. `?sync=false` at the end of a URI makes
    /// that link asynchronous: persisted acknowledgements do not wait for it.
    #[arg(long = "peer", value_name = "URI", num_args = 1..)]
    peers: Vec<PeerConfig>,
    /// Makes all links synchronous, or none, whatever their URIs say.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    sync: Option<bool>,
    /// Topics kept in the transaction log; without it, all.
    #[arg(long, value_name = "REGEX")]
    topic_log: Vec<String>,
    /// Topics whose last message per key is kept.
    #[arg(long, value_name = "TOPIC:/key", num_args = 1.., value_parser = sow)]
    sow: Vec<(String, String)>,
    /// How often persisted acknowledgements are sent, such as 50ms or 1s.
    #[arg(long, value_name = "INTERVAL", value_parser = interval)]
    ack_conflation: Option<Duration>,
    /// A slow disk, for tests: each write to the transaction log first waits for as
    /// many milliseconds as this file says then; not at all while there is none.
    #[arg(long, value_name = "FILE")]
    slow_disk: Option<SlowDisk>,
    /// Topics that are queues; `TOPIC=UNDERLYING` makes it of another topic.
    #[arg(long, value_name = "TOPIC", num_args = 1..)]
    queue: Vec<String>,
    /// Takes commands from standard input, one a line, and answers each with a
    /// line: `downgrade PEER` and `upgrade PEER`, with a URI as given to --peer or
    /// an instance's name, make its link asynchronous and synchronous again.
    #[arg(long)]
    control: bool,
    /// Drops each connection after that many messages published on it.
    #[arg(long, value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    cut_every: Option<u64>,
}

impl Testserver {
    /// Serves until a signal comes. Prints one line once it listens.
    ///
    /// # Errors
    /// When the server cannot start, or has to stop since its log fails.
    pub(crate) async fn run(self) -> Result<End, Failure> {
        let mut signals = Signals::listen().map_err(|error| Failure::new("cannot listen for signals", error))?;
        let mut builder = match &self.config {
            Some(path) => {
                TestServerBuilder::from_file(path).map_err(|error| Failure::new("bad configuration", error))?
            }
            None => TestServer::builder(),
        };
        let mut what = "cannot start the server".to_owned();
        if let Some(listen) = self.listen {
            builder = builder.listen(listen.to_string());
            if self.config.is_none() {
                builder = builder.name(listen.to_string());
            }
            what = format!("cannot start a server on {listen}");
        }
        let mut orders = match self.control {
            true => control::listen().map_err(|error| Failure::new("cannot read standard input", error))?,
            false => control::nothing(),
        };
        let server = self.start(builder).await.map_err(|error| Failure::new(what, error))?;
        let name = server.config().name;
        let said = writeln!(io::stdout(), "listening on {} (name {name})", server.uri());
        said.map_err(|error| Failure::new("cannot write to standard output", error))?;
        loop {
            tokio::select! {
                _ = signals.next() => break,
                Some(line) = orders.recv() => {
                    let answered = writeln!(io::stdout(), "{}", control::obey(&line, &server));
                    answered.map_err(|error| Failure::new("cannot write to standard output", error))?;
                }
                () = tokio::time::sleep(WATCH) => if let Some(failure) = server.failure() {
                    return Err(Failure::new("the server stopped", failure));
                },
            }
        }
        server.stop().await;
        Ok(End::Done)
    }

    async fn start(self, mut builder: TestServerBuilder) -> io::Result<TestServer> {
        if let Some(name) = self.name {
            builder = builder.name(name);
        }
        if let Some(dir) = self.data {
            builder = builder.data_dir(dir);
        }
        for peer in self.peers {
            let link = match self.sync {
                None => peer.link,
                Some(true) => Link::Sync,
                Some(false) => Link::Async,
            };
            builder = builder.peer(peer.uri, link);
        }
        for pattern in self.topic_log {
            builder = builder.topic_log(pattern);
        }
        for queue in &self.queue {
            let (topic, underlying) = queue.split_once('=').unwrap_or((queue, queue));
            let queue = QueueConfig::new(topic).underlying(underlying);
            builder = builder.queue(queue.max_per_subscription_backlog(BACKLOG));
        }
        if let Some(disk) = self.slow_disk {
            builder = builder.slow_disk(move || disk.delay());
        }
        for (topic, key) in self.sow {
            builder = builder.sow(topic, key);
        }
        if let Some(period) = self.ack_conflation {
            builder = builder.ack_conflation(period);
        }
        let server = builder.start().await?;
        server.faults(|faults| faults.cut_every_messages(self.cut_every));
        Ok(server)
    }
}

/// `topic:/key`. A topic may hold a colon, a key may not.
fn sow(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once(':') {
        Some((topic, key)) if !topic.is_empty() && key.len() > 1 && key.starts_with('/') => {
            Ok((topic.to_owned(), key.to_owned()))
        }
        _ => Err(format!("{text:?} is not of the form TOPIC:/key")),
    }
}

/// `50ms`, `2s` or a number of seconds.
fn interval(text: &str) -> Result<Duration, String> {
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 0.001),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if (0.0..=86_400.0).contains(&(number * unit)) => Ok(Duration::from_secs_f64(number * unit)),
        _ => Err(format!("{text:?} is no interval up to a day; write 50ms or 1s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sow_topic_has_a_key() {
        assert_eq!(sow("weather:/station"), Ok(("weather".into(), "/station".into())));
        assert_eq!(sow("a:b:/c"), Ok(("a:b".into(), "/c".into())));
        for bad in ["weather", "weather:", "weather:station", ":/k", "weather:/"] {
            assert!(sow(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn intervals_have_units() {
        assert_eq!(interval("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(interval("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(interval("2"), Ok(Duration::from_secs(2)));
        for bad in ["", "ms", "-1s", "1e9", "NaN"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
