//! One server process and its lives.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Failure;
use crate::process::Process;
use crate::setup::Setup;
use crate::tail::Tail;

/// A server that does not listen by then does not start at all.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// One server: a name, a port and a data directory, and now and then a process.
#[derive(Debug)]
pub(crate) struct Server {
    index: usize,
    lives: usize,
    /// A SOW topic with its key.
    sow: Option<String>,
    /// A queue, as `amps testserver` is told of it.
    queue: Option<String>,
    /// What its process says.
    said: Tail,
    /// Peers it was told not to wait for, by URI; until it says that it waits again.
    downgraded: HashSet<String>,
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
        let said = Tail::new(PathBuf::new());
        Self { index, lives: 0, sow: None, queue: None, said, downgraded: HashSet::new(), state: State::Dead }
    }

    /// Keeps the last message of each key: `TOPIC:/key`.
    pub(crate) fn sow(mut self, sow: String) -> Self {
        self.sow = Some(sow);
        self
    }

    /// Has a queue: `TOPIC=UNDERLYING`.
    pub(crate) fn queue(mut self, queue: String) -> Self {
        self.queue = Some(queue);
        self
    }

    /// A, B, C...
    pub(crate) fn name(&self) -> String {
        char::from_u32('A' as u32 + self.index as u32).map_or_else(|| format!("S{}", self.index), String::from)
    }

    /// Where its journal is.
    pub(crate) fn data(&self, setup: &Setup) -> PathBuf {
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
        setup.may_be_slow(&mut command, &self.process());
        command.args(["--listen", &format!("127.0.0.1:{}", setup.ports[self.index])]);
        command.args(["--name", &name, "--topic-log", ".*", "--ack-conflation", "50ms", "--control"]);
        command.arg("--data").arg(self.data(setup));
        command.args(self.sow.iter().flat_map(|sow| ["--sow", sow]));
        command.args(self.queue.iter().flat_map(|queue| ["--queue", queue]));
        for peer in setup.peers(self.index) {
            command.args(["--peer", &peer]);
        }
        // It says there when it is sent what breaks the protocol.
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "amps_testserver=warn");
        }
        let stderr = setup.path(format!("server-{name}.{}.err", self.lives));
        let process = Process::start_to_order(command, &format!("server {name}"), &self.stdout(setup), &stderr)?;
        self.said = Tail::new(self.stdout(setup));
        self.downgraded.clear();
        self.state = State::Starting { process, since: Instant::now() };
        Ok(true)
    }

    /// Notes what it says, and that it still runs.
    ///
    /// # Errors
    /// When it ended by itself, and is dead now, or did not come up in time.
    pub(crate) fn poll(&mut self) -> Result<(), Failure> {
        let (State::Starting { process, .. } | State::Listening(process) | State::Paused(process)) = &mut self.state
        else {
            return Ok(());
        };
        if let Some(status) = process.ended()? {
            let failure = process.unexpected(status);
            self.kill();
            return Err(failure);
        }
        let (mut listens, downgraded) = (false, &mut self.downgraded);
        self.said.poll(|line| {
            let line = String::from_utf8_lossy(line);
            listens |= line.starts_with("listening");
            if let Some(peer) = line.trim_end().strip_prefix("upgraded ") {
                downgraded.remove(peer);
            }
            Ok::<_, String>(())
        })?;
        self.state = match std::mem::replace(&mut self.state, State::Dead) {
            State::Starting { process, .. } if listens => State::Listening(process),
            State::Starting { since, .. } if since.elapsed() > START_TIMEOUT => {
                return Err(Failure::new(format!("server {} does not listen in time", self.name())));
            }
            other => other,
        };
        Ok(())
    }

    /// Tells it not to wait for a peer any more, if it is not told yet.
    pub(crate) fn downgrade(&mut self, peer: &str) {
        if let State::Listening(process) = &mut self.state
            && self.downgraded.insert(peer.to_owned())
        {
            process.order(&format!("downgrade {peer}"));
        }
    }

    /// Tells it to wait for a peer again.
    pub(crate) fn upgrade(&mut self, peer: &str) {
        if let State::Listening(process) | State::Paused(process) = &mut self.state
            && self.downgraded.contains(peer)
        {
            process.order(&format!("upgrade {peer}"));
        }
    }

    /// Whether it acknowledges nothing that this peer has not got. A dead one does
    /// not, and waits for all peers when it starts again.
    pub(crate) fn waits_for(&self, peer: &str) -> bool {
        !self.downgraded.contains(peer)
    }

    /// `kill -9`. Says whether there was a process to kill.
    pub(crate) fn kill(&mut self) -> bool {
        self.downgraded.clear();
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

    /// What its process is called.
    pub(crate) fn process(&self) -> String {
        format!("server-{}", self.name())
    }

    fn stdout(&self, setup: &Setup) -> PathBuf {
        setup.path(format!("server-{}.{}.out", self.name(), self.lives))
    }
}
