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
use std::path::PathBuf;
use std::process::ExitStatus;

use rustix::process::Signal;

use crate::Failure;
use crate::input::Input;
use crate::ledger;
use crate::process::Process;
use crate::setup::Setup;

/// One publisher and the process it has now, if any.
#[derive(Debug)]
pub(crate) struct Publisher {
    index: usize,
    lives: usize,
    /// Where each publishing life began in the input, and its ledger.
    runs: Vec<(usize, PathBuf)>,
    stopping: bool,
    /// A process said with exit code 0 that the rest of the input is persisted.
    completed: bool,
    state: State,
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
        Self { index, lives: 0, runs: Vec::new(), stopping: false, completed: false, state: State::Dead }
    }

    /// The client name.
    pub(crate) fn name(&self) -> String {
        format!("publisher-{}", self.index + 1)
    }

    /// Publishes the input from this line (counted from 0) to its end.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn publish(&mut self, setup: &Setup, input: &Input, first: usize) -> Result<(), Failure> {
        let lines = &input.lines(self.index)[first..];
        if self.stopping || lines.is_empty() {
            self.state = State::Done;
            return Ok(());
        }
        let mut text = lines.join("\n");
        text.push('\n');
        let ledger = setup.path(format!("{}.{}.ledger", self.name(), self.lives + 1));
        self.runs.push((first, ledger.clone()));
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
    /// When it ended otherwise than with success.
    pub(crate) fn poll(&mut self, setup: &Setup) -> Result<(), Failure> {
        let (State::Publishing(process) | State::Draining(process)) = &mut self.state else { return Ok(()) };
        let Some(status) = process.ended()? else { return Ok(()) };
        let asked_to_stop = self.stopping && matches!(self.state, State::Publishing(_));
        self.state = match std::mem::replace(&mut self.state, State::Dead) {
            // What it could not deliver before it stopped is in its store.
            State::Publishing(_) if asked_to_stop && is_clean_stop(status) => {
                State::Draining(self.start(setup, "", None)?)
            }
            State::Publishing(_) if status.success() => {
                self.completed = true;
                State::Done
            }
            State::Draining(_) if status.success() => State::Drained,
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

    /// The lines (counted from 0) it was promised, over all its lives: by a
    /// ledger, or by a process that took the input to its end and succeeded.
    ///
    /// # Errors
    /// When a ledger cannot be read.
    pub(crate) fn promised(&self, input: &Input) -> Result<Vec<usize>, Failure> {
        let mut promised = Vec::new();
        for (first, ledger) in &self.runs {
            promised.extend(ledger::read(ledger)?.into_iter().map(|number| first + number - 1));
        }
        if self.completed {
            promised.extend(input.lines(self.index).len().checked_sub(1));
        }
        Ok(promised)
    }

    /// The standard error files of all its processes.
    pub(crate) fn event_files(&self, setup: &Setup) -> Vec<PathBuf> {
        (1..=self.lives).map(|life| setup.path(format!("{}.{life}.err", self.name()))).collect()
    }

    fn start(&mut self, setup: &Setup, text: &str, ledger: Option<PathBuf>) -> Result<Process, Failure> {
        self.lives += 1;
        let (name, life) = (self.name(), self.lives);
        let file = setup.write(&format!("{name}.{life}.in"), text)?;
        let mut command = setup.command("publish");
        command.args(["--server", &setup.uris(self.index), "--topic", setup.topic, "--client-name", &name]);
        command.arg("--file").arg(file);
        command.arg("--store").arg(format!("sled:{}", setup.path(format!("{name}.store")).display()));
        command.args(["--rate", &setup.rate.to_string(), "--heartbeat", &setup.heartbeat.to_string()]);
        if let Some(ledger) = ledger {
            command.arg("--ledger").arg(ledger);
        }
        let (out, err) = (setup.path(format!("{name}.{life}.out")), setup.path(format!("{name}.{life}.err")));
        Process::start(command, &name, &out, &err)
    }
}

/// Asked to stop, `amps publish` ends with 0 if everything was delivered, else as
/// a shell reports the signal. The signal may also come before it is listened for.
fn is_clean_stop(status: ExitStatus) -> bool {
    let signal = Signal::TERM.as_raw();
    status.success() || status.code() == Some(128 + signal) || status.signal() == Some(signal)
}
