//! One server process and its lives.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Failure;
use crate::process::Process;
use crate::setup::Setup;

/// A server that does not listen by then does not start at all.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// One server: a name, a port and a data directory, and now and then a process.
#[derive(Debug)]
pub(crate) struct Server {
    index: usize,
    lives: usize,
    /// A SOW topic with its key.
    sow: Option<String>,
    state: State,
}

#[derive(Debug)]
enum State {
    Dead,
    Starting { process: Process, since: Instant },
    Listening(Process),
    Paused(Process),
}

impl Server {
    pub(crate) fn new(index: usize) -> Self {
        Self { index, lives: 0, sow: None, state: State::Dead }
    }

    /// Keeps the last message of each key: `TOPIC:/key`.
    pub(crate) fn sow(mut self, sow: String) -> Self {
        self.sow = Some(sow);
        self
    }

    /// A, B, C...
    pub(crate) fn name(&self) -> String {
        char::from_u32('A' as u32 + self.index as u32).map_or_else(|| format!("S{}", self.index), String::from)
    }

    /// Where its journal is.
    pub(crate) fn data(&self, setup: &Setup) -> std::path::PathBuf {
        setup.path(format!("server-{}", self.name()))
    }

    /// Starts it on its data and its port, if it is dead. Says whether it was.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn start(&mut self, setup: &Setup) -> Result<bool, Failure> {
        if !matches!(self.state, State::Dead) {
            return Ok(false);
        }
        self.lives += 1;
        let name = self.name();
        let mut command = setup.command("testserver");
        command.args(["--listen", &format!("127.0.0.1:{}", setup.ports[self.index])]);
        command.args(["--name", &name, "--topic-log", ".*", "--ack-conflation", "50ms"]);
        command.arg("--data").arg(self.data(setup));
        command.args(self.sow.iter().flat_map(|sow| ["--sow", sow]));
        for peer in setup.peers(self.index) {
            command.args(["--peer", &peer]);
        }
        let stderr = setup.path(format!("server-{name}.{}.err", self.lives));
        let process = Process::start(command, &format!("server {name}"), &self.stdout(setup), &stderr)?;
        self.state = State::Starting { process, since: Instant::now() };
        Ok(true)
    }

    /// Notes that it listens, and that it still runs.
    ///
    /// # Errors
    /// When it ended by itself or did not come up in time.
    pub(crate) fn poll(&mut self, setup: &Setup) -> Result<(), Failure> {
        let stdout = self.stdout(setup);
        let (State::Starting { process, .. } | State::Listening(process) | State::Paused(process)) = &mut self.state
        else {
            return Ok(());
        };
        if let Some(status) = process.ended()? {
            return Err(process.unexpected(status));
        }
        self.state = match std::mem::replace(&mut self.state, State::Dead) {
            State::Starting { process, since } => {
                // The one line it prints is there once it listens.
                if std::fs::read(&stdout).is_ok_and(|said| said.contains(&b'\n')) {
                    State::Listening(process)
                } else if since.elapsed() > START_TIMEOUT {
                    return Err(Failure::new(format!("server {} does not listen in time", self.name())));
                } else {
                    State::Starting { process, since }
                }
            }
            other => other,
        };
        Ok(())
    }

    /// `kill -9`. Says whether there was a process to kill.
    pub(crate) fn kill(&mut self) -> bool {
        match std::mem::replace(&mut self.state, State::Dead) {
            State::Dead => false,
            State::Starting { process, .. } | State::Listening(process) | State::Paused(process) => {
                process.kill();
                true
            }
        }
    }

    /// Stops the process in its tracks; its connections stay open.
    pub(crate) fn pause(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Dead) {
            State::Listening(process) => {
                process.signal(Signal::STOP);
                State::Paused(process)
            }
            other => other,
        };
    }

    /// Lets a paused process go on.
    pub(crate) fn resume(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Dead) {
            State::Paused(process) => {
                process.signal(Signal::CONT);
                State::Listening(process)
            }
            other => other,
        };
    }

    /// Whether it accepts connections, as far as one can see.
    pub(crate) fn listens(&self) -> bool {
        matches!(self.state, State::Listening(_))
    }

    fn stdout(&self, setup: &Setup) -> std::path::PathBuf {
        setup.path(format!("server-{}.{}.out", self.name(), self.lives))
    }
}
