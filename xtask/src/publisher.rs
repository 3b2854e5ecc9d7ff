//! One publisher: its processes, its store, and its ledgers.
//!
//! A publisher that was killed has three kinds of lines behind it: promised ones
//! (in a ledger), stored ones that nobody was told of, and lines that never
//! reached the store. Sending the second kind again would be a duplicate made by
//! the application, under new sequences. So a killed publisher first runs with
//! an empty input, which delivers what its store holds; then the servers' logs
//! say which line came last, and it goes on behind that line, or behind the last
//! promised one if that is later (it is then missing, and stays so for the
//! verdict to find).

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use rustix::process::Signal;

use crate::Failure;
use crate::input::Input;
use crate::ledger::Ledger;
use crate::process::Process;
use crate::setup::Setup;

/// Lines given to one process at most.
const AT_ONCE: usize = 50_000;

/// How the system words what a full disk is here (errno(3), `EFBIG`).
const FULL: &str = "File too large";

/// One publisher and the process it has now, if any.
#[derive(Debug)]
pub(crate) struct Publisher {
    index: usize,
    lives: usize,
    /// What is given to `--store`, with DIR for its directory.
    store: &'static str,
    /// What else is said to the program.
    options: &'static [&'static str],
    /// Where it publishes, if not where the others do.
    topic: Option<&'static str>,
    /// It publishes so many times slower than the others.
    slower: u32,
    /// One for each publishing life.
    runs: Vec<Run>,
    stopping: bool,
    /// Its files take no more writes.
    disk_is_full: bool,
    /// The process met, or may have met, a full disk: it may end for that.
    met_full_disk: bool,
    state: State,
}

/// The lines (counted from 0) one life was given.
#[derive(Debug)]
struct Run {
    first: usize,
    end: usize,
    ledger: Ledger,
    /// The process said with exit code 0 that all of them are persisted.
    completed: bool,
}

#[derive(Debug)]
enum State {
    Dead,
    Publishing(Process),
    /// Delivering what the store holds.
    Draining(Process),
    /// The store is empty; waits to be told where to go on.
    Drained,
    Done,
}

impl Publisher {
    pub(crate) fn new(index: usize) -> Self {
        Self {
            index,
            lives: 0,
            store: "sled:DIR",
            options: &[],
            topic: None,
            slower: 1,
            runs: Vec::new(),
            stopping: false,
            disk_is_full: false,
            met_full_disk: false,
            state: State::Dead,
        }
    }

    /// Keeps what it publishes in another store than a sled one.
    pub(crate) fn store(mut self, store: &'static str, options: &'static [&'static str]) -> Self {
        (self.store, self.options) = (store, options);
        self
    }

    /// Publishes to another topic, and so many times slower.
    pub(crate) fn to(mut self, topic: &'static str, slower: u32) -> Self {
        (self.topic, self.slower) = (Some(topic), slower);
        self
    }

    /// The client name.
    pub(crate) fn name(&self) -> String {
        format!("publisher-{}", self.index + 1)
    }

    /// Publishes the input from this line (counted from 0) on.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn publish(&mut self, setup: &Setup, input: &Input, first: usize) -> Result<(), Failure> {
        let all = input.lines(self.index);
        if self.stopping || first >= all.len() {
            self.state = State::Done;
            return Ok(());
        }
        let end = all.len().min(first + AT_ONCE);
        let mut text = all[first..end].join("\n");
        text.push('\n');
        let ledger = setup.path(format!("{}.{}.ledger", self.name(), self.lives + 1));
        self.runs.push(Run { first, end, ledger: Ledger::new(ledger.clone()), completed: false });
        self.state = State::Publishing(self.start(setup, &text, Some(ledger))?);
        Ok(())
    }

    /// Starts a dead publisher again: first it delivers what its store holds.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn restart(&mut self, setup: &Setup) -> Result<(), Failure> {
        if matches!(self.state, State::Dead) {
            self.state = State::Draining(self.start(setup, "", None)?);
        }
        Ok(())
    }

    /// Notes what its process has done by now.
    ///
    /// # Errors
    /// When it ended otherwise than with success, and is dead now, or its ledger cannot be read.
    pub(crate) fn poll(&mut self, setup: &Setup) -> Result<(), Failure> {
        let ended = self.poll_process(setup);
        self.poll_ledger()?;
        ended
    }

    fn poll_ledger(&mut self) -> Result<(), Failure> {
        self.runs.last_mut().map_or(Ok(()), |run| run.ledger.poll())
    }

    fn poll_process(&mut self, setup: &Setup) -> Result<(), Failure> {
        let (State::Publishing(process) | State::Draining(process)) = &mut self.state else { return Ok(()) };
        let Some(status) = process.ended()? else { return Ok(()) };
        let asked_to_stop = self.stopping && matches!(self.state, State::Publishing(_));
        self.state = match std::mem::replace(&mut self.state, State::Dead) {
            // What it could not deliver before it stopped is in its store.
            State::Publishing(_) if asked_to_stop && is_clean_stop(status) => {
                State::Draining(self.start(setup, "", None)?)
            }
            State::Publishing(_) if status.success() => {
                if let Some(run) = self.runs.last_mut() {
                    run.completed = true;
                }
                State::Drained
            }
            State::Draining(_) if status.success() => State::Drained,
            State::Publishing(process) | State::Draining(process)
                if self.met_full_disk && process.said().contains(FULL) =>
            {
                if !self.disk_is_full {
                    self.restart(setup)?;
                }
                return Ok(());
            }
            State::Publishing(process) | State::Draining(process) => return Err(process.unexpected(status)),
            other => other,
        };
        Ok(())
    }

    /// `kill -9`. Says whether there was a process to kill.
    pub(crate) fn kill(&mut self) -> bool {
        match std::mem::replace(&mut self.state, State::Dead) {
            State::Publishing(process) | State::Draining(process) => {
                process.kill();
                true
            }
            other => {
                self.state = other;
                false
            }
        }
    }

    /// Stops the process in its tracks, or lets it go on.
    pub(crate) fn pause(&self, pause: bool) {
        if let State::Publishing(process) | State::Draining(process) = &self.state {
            process.signal(if pause { Signal::STOP } else { Signal::CONT });
        }
    }

    /// From now on none of its files takes a write behind the middle of its store.
    pub(crate) fn fill_disk(&mut self, setup: &Setup) {
        if let State::Publishing(process) | State::Draining(process) = &self.state {
            self.disk_is_full = true;
            self.met_full_disk = true;
            process.limit_files(Some(longest_file(&self.store_dir(setup)) / 2));
        }
    }

    /// There is room again; if it ended for that it starts again.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn free_disk(&mut self, setup: &Setup) -> Result<(), Failure> {
        self.disk_is_full = false;
        if let State::Publishing(process) | State::Draining(process) = &self.state {
            process.limit_files(None);
        }
        self.restart(setup)
    }

    /// Publishes nothing new from now on: asks the process to stop, and delivers
    /// what is stored.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        if let State::Publishing(process) = &self.state {
            process.signal(Signal::TERM);
        }
    }

    /// Whether its store is empty and it waits for [`publish`](Self::publish).
    pub(crate) fn is_drained(&self) -> bool {
        matches!(self.state, State::Drained)
    }

    /// Whether all it took in is acknowledged as persisted.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// How many lines it was promised, over all its lives: by a ledger, or by a
    /// process that took the input to its end and succeeded.
    pub(crate) fn promised(&self) -> usize {
        let last = |run: &Run| match (run.completed, run.ledger.last()) {
            (true, _) => run.end,
            (false, 0) => 0,
            (false, last) => run.first + last,
        };
        self.runs.iter().map(last).max().unwrap_or(0)
    }

    fn store_dir(&self, setup: &Setup) -> PathBuf {
        setup.path(format!("{}.store", self.name()))
    }

    /// The standard error files of all its processes.
    pub(crate) fn event_files(&self, setup: &Setup) -> Vec<PathBuf> {
        (1..=self.lives).map(|life| setup.path(format!("{}.{life}.err", self.name()))).collect()
    }

    fn start(&mut self, setup: &Setup, text: &str, ledger: Option<PathBuf>) -> Result<Process, Failure> {
        self.lives += 1;
        self.met_full_disk = false;
        let (name, life) = (self.name(), self.lives);
        // The one before is done with; the first life has none before it.
        let _ = std::fs::remove_file(setup.path(format!("{name}.{}.in", life - 1)));
        let file = setup.write(&format!("{name}.{life}.in"), text)?;
        let mut command = setup.command_on_a_disk("publish");
        let topic = self.topic.unwrap_or(setup.topic);
        command.args(["--server", &setup.uris(self.index), "--topic", topic, "--client-name", &name]);
        setup.may_be_slow(&mut command, &name);
        command.arg("--file").arg(file);
        command.arg("--store").arg(self.store.replace("DIR", &self.store_dir(setup).display().to_string()));
        // As a client that asks for nothing: a second's messages wait, which is more
        // to lose.
        command.args(["--ack-conflation", "1"]);
        command.args(self.options);
        let rate = (setup.rate / self.slower).max(1).to_string();
        command.args(["--rate", &rate, "--heartbeat", &setup.heartbeat.to_string()]);
        if let Some(ledger) = ledger {
            command.arg("--ledger").arg(ledger);
        }
        let (out, err) = (setup.path(format!("{name}.{life}.out")), setup.path(format!("{name}.{life}.err")));
        Process::start(command, &name, &out, &err)
    }
}

/// The length of the longest file in a directory; 0 if there is none.
fn longest_file(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).max().unwrap_or(0)
}

/// Asked to stop, `amps publish` ends with 0 if everything was delivered, else as
/// a shell reports the signal. The signal may also come before it is listened for.
fn is_clean_stop(status: ExitStatus) -> bool {
    let signal = Signal::TERM.as_raw();
    status.success() || status.code() == Some(128 + signal) || status.signal() == Some(signal)
}
