//! One measurement: a peer process, and a client process that prints its
//! figures.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use tempfile::TempDir;

use super::figures::Figures;
use super::part::{Header, Parser};
use crate::Failure;
use crate::interrupt::Interrupt;
use crate::process::Process;

/// The bytes of a body.
pub(super) const SIZE: u64 = 128;
/// Messages a second when latency is measured.
const RATE: u64 = 10_000;
/// How often it is looked whether a process has ended.
const TICK: Duration = Duration::from_millis(5);
/// A measurement that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(180);

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) rounds: u64,
    /// Messages published without a disk.
    pub(super) publish: u64,
    /// Messages published through a disk.
    pub(super) durable: u64,
    pub(super) receive: u64,
    pub(super) latency: u64,
    pub(super) parse: u64,
}

impl Extent {
    pub(super) const QUICK: Self =
        Self { rounds: 3, publish: 300_000, durable: 50_000, receive: 500_000, latency: 10_000, parse: 1_000_000 };
    pub(super) const FULL: Self =
        Self { rounds: 5, publish: 2_000_000, durable: 500_000, receive: 3_000_000, latency: 50_000, parse: 5_000_000 };
}

/// What is measured, ours or a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Probe {
    /// `amps bench publish` with this store.
    Publish(Store),
    /// The loop that publishes, with or without sequences.
    RawPublish { sequenced: bool },
    /// The log file written by hand.
    LogFile,
    /// `amps bench subscribe`.
    Subscribe(Header),
    /// The loop that receives.
    RawReceive(Header),
    /// `amps bench latency`.
    Latency,
    /// The blocking round trip.
    RoundTrip,
    /// Headers; the peer stays idle.
    Parse(Parser),
}

/// A store of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Store {
    None,
    Memory,
    ProcessCrash,
    PowerLoss,
}

impl Probe {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Publish(Store::None) => "client publish, no store",
            Self::Publish(Store::Memory) => "client publish, memory",
            Self::Publish(Store::ProcessCrash) => "client publish, sled, ProcessCrash",
            Self::Publish(Store::PowerLoss) => "client publish, sled, PowerLoss",
            Self::RawPublish { sequenced: false } => "raw publish",
            Self::RawPublish { sequenced: true } => "raw publish with sequences",
            Self::LogFile => "raw log file",
            Self::Subscribe(Header::Short) => "client subscribe, short header",
            Self::Subscribe(Header::Long) => "client subscribe, long header",
            Self::RawReceive(Header::Short) => "raw receive, short header",
            Self::RawReceive(Header::Long) => "raw receive, long header",
            Self::Latency => "client latency",
            Self::RoundTrip => "raw round trip",
            Self::Parse(Parser::Ours) => "client header",
            Self::Parse(Parser::Serde) => "serde_json into borrowed fields",
        }
    }

    fn count(self, extent: &Extent) -> u64 {
        match self {
            Self::Publish(Store::None | Store::Memory) | Self::RawPublish { .. } => extent.publish,
            Self::Publish(Store::ProcessCrash | Store::PowerLoss) | Self::LogFile => extent.durable,
            Self::Subscribe(_) | Self::RawReceive(_) => extent.receive,
            Self::Latency | Self::RoundTrip => extent.latency,
            Self::Parse(_) => extent.parse,
        }
    }
}

impl Serialize for Probe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The programs and the place of a run.
#[derive(Debug)]
pub(super) struct Bench {
    amps: PathBuf,
    xtask: PathBuf,
    pub(super) extent: Extent,
    interrupt: Interrupt,
    /// Beside the programs: a temporary directory may be in memory, and a sync
    /// there means nothing.
    disk: TempDir,
}

impl Bench {
    pub(super) fn new(amps: PathBuf, xtask: PathBuf, extent: Extent, interrupt: Interrupt) -> Result<Self, Failure> {
        let beside = amps.parent().unwrap_or_else(|| Path::new("."));
        let disk = TempDir::new_in(beside)
            .map_err(|error| Failure::new(format!("cannot make a directory in {}: {error}", beside.display())))?;
        Ok(Self { amps, xtask, extent, interrupt, disk })
    }

    /// Measures once.
    ///
    /// # Errors
    /// When a process fails, hangs or is interrupted.
    pub(super) fn measure(&self, probe: Probe) -> Result<Figures, Failure> {
        let dir = TempDir::new_in(self.disk.path())
            .map_err(|error| Failure::new(format!("cannot make a directory for a measurement: {error}")))?;
        let count = probe.count(&self.extent);
        let (mut peer, port) = self.peer(probe, count, dir.path())?;
        let (out, err) = (dir.path().join("client.out"), dir.path().join("client.err"));
        let mut client = Process::start(self.client(probe, count, port, dir.path()), probe.name(), &out, &err)?;
        let status = self.wait(probe.name(), || client.ended())?;
        let said = std::fs::read_to_string(&out).unwrap_or_default();
        let figures = said.lines().last().and_then(|line| serde_json::from_str(line).ok());
        match figures {
            Some(figures) if status.success() => Ok(figures),
            _ => Err(match peer.ended()? {
                Some(ended) if !ended.success() => peer.unexpected(ended),
                _ => client.unexpected(status),
            }),
        }
    }

    /// Starts the peer and waits for its port.
    fn peer(&self, probe: Probe, count: u64, dir: &Path) -> Result<(Process, u16), Failure> {
        let mut command = self.part("peer", &[("--size", SIZE)]);
        if let Probe::Subscribe(header) | Probe::RawReceive(header) = probe {
            let header = if header == Header::Short { "short" } else { "long" };
            command.args(["--send", &count.to_string(), "--header", header]);
        }
        let out = dir.join("peer.out");
        let mut peer = Process::start(command, "the peer", &out, &dir.join("peer.err"))?;
        let port = self.wait("the peer", || match peer.ended()? {
            Some(status) => Err(peer.unexpected(status)),
            None => {
                let said = std::fs::read_to_string(&out).unwrap_or_default();
                Ok(said.strip_suffix('\n').and_then(|port| port.parse().ok()))
            }
        })?;
        Ok((peer, port))
    }

    fn client(&self, probe: Probe, count: u64, port: u16, dir: &Path) -> Command {
        let load = [("--count", count), ("--size", SIZE)];
        let headers = |parser| {
            let mut command = self.part("headers", &load[..1]);
            command.args(["--parser", parser]);
            command
        };
        let raw = |name: &str| {
            let mut command = self.part(name, &load);
            command.args(["--to", &format!("127.0.0.1:{port}")]);
            command
        };
        let ours = |name: &str| {
            let mut command = with(Command::new(&self.amps), &["bench", name], &load);
            command.args(["--server", &format!("tcp://127.0.0.1:{port}/amps/json"), "--heartbeat", "0"]);
            command
        };
        let mut command = match probe {
            Probe::Publish(_) => ours("publish"),
            Probe::Subscribe(_) => ours("subscribe"),
            Probe::Latency => ours("latency"),
            Probe::RawPublish { .. } => raw("publish"),
            Probe::LogFile => raw("log-file"),
            Probe::RawReceive(_) => raw("receive"),
            Probe::RoundTrip => raw("round-trip"),
            Probe::Parse(Parser::Ours) => headers("ours"),
            Probe::Parse(Parser::Serde) => headers("serde"),
        };
        let sled = || format!("sled:{}", dir.join("store").display());
        match probe {
            Probe::Publish(Store::None) => command.args(["--store", "none"]),
            Probe::Publish(Store::Memory) => command.args(["--store", "memory"]),
            Probe::Publish(Store::ProcessCrash) => command.args(["--durability", "process-crash", "--store", &sled()]),
            Probe::Publish(Store::PowerLoss) => command.args(["--durability", "power-loss", "--store", &sled()]),
            Probe::RawPublish { sequenced: true } => command.arg("--sequenced"),
            Probe::LogFile => command.arg("--file").arg(dir.join("log")),
            Probe::Latency | Probe::RoundTrip => command.args(["--rate", &RATE.to_string()]),
            Probe::RawPublish { sequenced: false } | Probe::Subscribe(_) | Probe::RawReceive(_) | Probe::Parse(_) => {
                &mut command
            }
        };
        command
    }

    fn part(&self, name: &str, options: &[(&str, u64)]) -> Command {
        with(Command::new(&self.xtask), &["bench-part", name], options)
    }

    /// Asks again and again until there is an answer.
    fn wait<T>(&self, what: &str, mut answer: impl FnMut() -> Result<Option<T>, Failure>) -> Result<T, Failure> {
        let since = Instant::now();
        loop {
            if let Some(answer) = answer()? {
                return Ok(answer);
            }
            self.interrupt.check()?;
            if since.elapsed() > LIMIT {
                return Err(Failure::new(format!("{what} does not come to an end")));
            }
            thread::sleep(TICK);
        }
    }
}

fn with(mut command: Command, words: &[&str], options: &[(&str, u64)]) -> Command {
    command.args(words);
    for (option, value) in options {
        command.args([*option, &value.to_string()]);
    }
    command
}
