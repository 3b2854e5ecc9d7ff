//! One measurement: a peer process, and a client process that prints its
//! figures.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::figures::Figures;
use super::part::{Header, Parser};
use super::placement::Core;
use super::probe::{BATCH, Bookmarks, DELAY_US, Extent, Probe, RATE, SIZE, Store, TASKS};
use crate::Failure;
use crate::interrupt::Interrupt;
use crate::process::Process;

/// How often it is looked whether a process has ended.
const TICK: Duration = Duration::from_millis(5);
/// A measurement that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(180);

/// The programs and the place of a run.
#[derive(Debug)]
pub(super) struct Runner {
    amps: PathBuf,
    xtask: PathBuf,
    pub(super) extent: Extent,
    interrupt: Interrupt,
    /// Beside the programs: a temporary directory may be in memory, and a sync
    /// there means nothing.
    disk: TempDir,
}

impl Runner {
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
        let dir = self.dir()?;
        let dir = dir.path();
        if let Probe::Outage(outage) = probe {
            return self.outage(outage, dir);
        }
        let count = probe.count(&self.extent);
        // Which cores a message wakes up is most of its latency.
        let [client, server] = match probe {
            Probe::Latency | Probe::RoundTrip => [Core::First, Core::Second],
            _ => [Core::Any; 2],
        };
        let (mut peer, port) = server.hold(|| self.peer(&peer_options(probe, count), dir))?;
        let command = self.command(probe, count, port, dir);
        let mut figures = client.hold(|| self.client(command, probe.name(), &mut peer, dir))?;
        if probe == Probe::Tasks {
            figures.per_sync = Some(count as f64 / syncs(&store(dir))? as f64);
        }
        Ok(figures)
    }

    /// A place for the files of a measurement.
    pub(super) fn dir(&self) -> Result<TempDir, Failure> {
        TempDir::new_in(self.disk.path())
            .map_err(|error| Failure::new(format!("cannot make a directory for a measurement: {error}")))
    }

    /// Starts the peer and waits for its port.
    pub(super) fn peer(&self, options: &[String], dir: &Path) -> Result<(Process, u16), Failure> {
        let mut command = self.part("peer", &[("--size", SIZE)]);
        command.args(options);
        let out = dir.join("peer.out");
        let mut peer = Process::start(command, "the peer", &out, &dir.join("peer.err"))?;
        let port = self.line("the peer", &mut peer, &out)?;
        let port = port.parse().map_err(|_| Failure::new(format!("the peer printed {port:?} instead of a port")))?;
        Ok((peer, port))
    }

    /// Runs a client to its end, and reads its figures.
    pub(super) fn client(
        &self,
        command: Command,
        name: &str,
        peer: &mut Process,
        dir: &Path,
    ) -> Result<Figures, Failure> {
        let (out, err) = (dir.join("client.out"), dir.join("client.err"));
        let mut client = Process::start(command, name, &out, &err)?;
        let status = self.wait(name, || client.ended())?;
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

    fn command(&self, probe: Probe, count: u64, port: u16, dir: &Path) -> Command {
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
        let mut command = match probe {
            Probe::Publish(_) | Probe::Tasks => self.amps("publish", port, &load),
            Probe::Subscribe(_) | Probe::Bookmarks(_) => self.amps("subscribe", port, &load),
            Probe::Latency => self.amps("latency", port, &load),
            Probe::Sow => self.amps("sow", port, &[("--batch", BATCH)]),
            Probe::Resubscribe => self.amps("resubscribe", port, &[("--subscriptions", count)]),
            Probe::Outage(_) => self.amps("outage", port, &load),
            Probe::RawPublish { .. } => raw("publish"),
            Probe::LogFile => raw("log-file"),
            Probe::RawReceive(_) | Probe::RawSow => raw("receive"),
            Probe::RoundTrip | Probe::LateRoundTrip => raw("round-trip"),
            Probe::Parse(Parser::Ours) => headers("ours"),
            Probe::Parse(Parser::Serde) => headers("serde"),
        };
        let sled = format!("sled:{}", store(dir).display());
        match probe {
            Probe::Publish(Store::None) => command.args(["--store", "none"]),
            Probe::Publish(Store::Memory) => command.args(["--store", "memory"]),
            Probe::Publish(Store::ProcessCrash) => command.args(["--durability", "process-crash", "--store", &sled]),
            Probe::Publish(Store::PowerLoss) => command.args(["--durability", "power-loss", "--store", &sled]),
            Probe::Tasks => command.args(["--tasks", &TASKS.to_string(), "--store", &sled]),
            Probe::Bookmarks(Bookmarks::Memory) => command.args(["--bookmark-store", "memory"]),
            Probe::Bookmarks(Bookmarks::Sled) => command.args(["--bookmark-store", &sled]),
            Probe::RawPublish { sequenced: true } => command.arg("--sequenced"),
            Probe::RawSow => command.args(["--batch", &BATCH.to_string()]),
            Probe::LogFile => command.arg("--file").arg(dir.join("log")),
            Probe::Latency | Probe::RoundTrip => command.args(["--rate", &RATE.to_string()]),
            // One at a time.
            Probe::LateRoundTrip => command.args(["--rate", &(250_000 / DELAY_US).to_string()]),
            _ => &mut command,
        };
        command
    }

    /// A probe of the `amps` command.
    pub(super) fn amps(&self, name: &str, port: u16, options: &[(&str, u64)]) -> Command {
        let mut command = with(Command::new(&self.amps), &["bench", name], options);
        command.args(["--server", &format!("tcp://127.0.0.1:{port}/amps/json"), "--heartbeat", "0"]);
        command
    }

    fn part(&self, name: &str, options: &[(&str, u64)]) -> Command {
        with(Command::new(&self.xtask), &["bench-part", name], options)
    }

    /// The last whole line a process has printed, once there is one.
    pub(super) fn line(&self, what: &str, process: &mut Process, out: &Path) -> Result<String, Failure> {
        self.wait(what, || {
            let said = std::fs::read_to_string(out).unwrap_or_default();
            match said.rsplit_once('\n') {
                Some((lines, _)) => Ok(lines.lines().last().map(str::to_owned)),
                None => match process.ended()? {
                    Some(status) => Err(process.unexpected(status)),
                    None => Ok(None),
                },
            }
        })
    }

    /// Asks again and again until there is an answer.
    pub(super) fn wait<T>(
        &self,
        what: &str,
        mut answer: impl FnMut() -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let since = Instant::now();
        loop {
            if let Some(answer) = answer()? {
                return Ok(answer);
            }
            if since.elapsed() > LIMIT {
                return Err(Failure::new(format!("{what} does not come to an end")));
            }
            self.pause()?;
        }
    }

    /// Waits for a moment.
    ///
    /// # Errors
    /// Once the run is interrupted.
    pub(super) fn pause(&self) -> Result<(), Failure> {
        thread::sleep(TICK);
        self.interrupt.check()
    }
}

/// What the peer does in a measurement.
fn peer_options(probe: Probe, count: u64) -> Vec<String> {
    let header = match probe {
        Probe::Subscribe(Header::Short) | Probe::RawReceive(Header::Short) => "short",
        _ => "long",
    };
    let options = match probe {
        Probe::Subscribe(_) | Probe::Bookmarks(_) | Probe::RawReceive(_) | Probe::Sow | Probe::RawSow => {
            format!("--header {header} --send {count}")
        }
        Probe::Resubscribe => format!("--delay-us {DELAY_US} --hang-up-after {count}"),
        Probe::LateRoundTrip => format!("--delay-us {DELAY_US}"),
        Probe::Outage(_) => "--note-first".to_owned(),
        _ => String::new(),
    };
    options.split_whitespace().map(str::to_owned).collect()
}

/// Where a store of the client is made.
pub(super) fn store(dir: &Path) -> PathBuf {
    dir.join("store")
}

/// How often a sled store was synced to the disk, as its file `SYNCED` says: a
/// big-endian number and a checksum.
fn syncs(store: &Path) -> Result<u64, Failure> {
    let path = store.join("SYNCED");
    let bytes = std::fs::read(&path).unwrap_or_default();
    match bytes.first_chunk() {
        Some(count) => Ok(u64::from_be_bytes(*count).max(1)),
        None => Err(Failure::new(format!("{} does not say how often the store was synced", path.display()))),
    }
}

fn with(mut command: Command, words: &[&str], options: &[(&str, u64)]) -> Command {
    command.args(words);
    for (option, value) in options {
        command.args([*option, &value.to_string()]);
    }
    command
}
