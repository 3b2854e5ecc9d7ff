//! One subscriber: its processes, its bookmark store, and what they wrote.

use std::collections::HashSet;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::Failure;
use crate::input::{Input, Line};
use crate::output::Output;
use crate::process::Process;
use crate::setup::Setup;
use crate::verdict::{Life, Seen, Subscriber as History};

/// How many of the last deliveries of a killed `amps subscribe` may not have
/// been discarded: it writes this many lines at most before it discards them.
const UNDISCARDED: usize = 64;

/// One subscriber and the process it has now, if any.
#[derive(Debug)]
pub(crate) struct Subscriber {
    index: usize,
    /// Its number among all clients.
    client: usize,
    process: Option<Process>,
    /// What each life wrote; the last one may still be writing.
    lives: Vec<Written>,
    /// Every line delivered in any life.
    seen: HashSet<Line>,
}

/// What one life wrote.
#[derive(Debug)]
struct Written {
    output: Output,
    /// How many of the deliveries are in `seen`.
    counted: usize,
    killed: bool,
}

impl Subscriber {
    pub(crate) fn new(index: usize, client: usize) -> Self {
        Self { index, client, process: None, lives: Vec::new(), seen: HashSet::new() }
    }

    /// The client name.
    pub(crate) fn name(&self) -> String {
        format!("subscriber-{}", self.index + 1)
    }

    /// Starts it on its bookmark store, if it is dead: from the first message if
    /// the store is new, else behind what it discarded.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn start(&mut self, setup: &Setup) -> Result<(), Failure> {
        if self.process.is_some() {
            return Ok(());
        }
        let name = self.name();
        let life = self.lives.len() + 1;
        let mut command = setup.command("subscribe");
        let topic = setup.every_topic();
        command.args(["--server", &setup.uris(self.client), "--topic", &topic, "--client-name", &name]);
        command.args(["--bookmark", "recent", "--format", "json", "--heartbeat", &setup.heartbeat.to_string()]);
        command.arg("--bookmark-store").arg(setup.path(format!("{name}.store")));
        setup.may_be_slow(&mut command, &name);
        let out = setup.path(format!("{name}.{life}.out"));
        self.process = Some(Process::start(command, &name, &out, &setup.path(format!("{name}.{life}.err")))?);
        self.lives.push(Written { output: Output::new(out), counted: 0, killed: false });
        Ok(())
    }

    /// Takes in what it wrote by now.
    ///
    /// # Errors
    /// When it ended by itself, and is dead now, or wrote something that cannot be read.
    pub(crate) fn poll(&mut self, input: &Input) -> Result<(), Failure> {
        if let Some(process) = &mut self.process
            && let Some(status) = process.ended()?
        {
            let failure = process.unexpected(status);
            self.kill(input)?;
            return Err(failure);
        }
        self.take_in(input)
    }

    /// `kill -9`. Says whether there was a process to kill.
    ///
    /// # Errors
    /// When what it wrote cannot be read.
    pub(crate) fn kill(&mut self, input: &Input) -> Result<bool, Failure> {
        let Some(process) = self.process.take() else { return Ok(false) };
        process.kill();
        if let Some(life) = self.lives.last_mut() {
            life.killed = true;
        }
        self.take_in(input)?;
        Ok(true)
    }

    /// Stops the process in its tracks, or lets it go on.
    pub(crate) fn pause(&self, pause: bool) {
        if let Some(process) = &self.process {
            process.signal(if pause { Signal::STOP } else { Signal::CONT });
        }
    }

    /// Asks the process to end. [`Subscriber::ended`] says when it has.
    pub(crate) fn stop(&self) {
        if let Some(process) = &self.process {
            process.signal(Signal::TERM);
        }
    }

    /// Whether no process is left; takes in its last words.
    ///
    /// # Errors
    /// When it failed, or what it wrote cannot be read.
    pub(crate) fn ended(&mut self, input: &Input) -> Result<bool, Failure> {
        let Some(process) = &mut self.process else { return Ok(true) };
        let Some(status) = process.ended()? else { return Ok(false) };
        let failure = (!status.success()).then(|| process.unexpected(status));
        self.process = None;
        self.take_in(input)?;
        failure.map_or(Ok(true), Err)
    }

    /// How many different lines it got.
    pub(crate) fn distinct(&self) -> usize {
        self.seen.len()
    }

    /// How many deliveries there were, over all lives.
    pub(crate) fn deliveries(&self) -> usize {
        self.lives.iter().map(|life| life.output.deliveries.len()).sum()
    }

    /// The delivery times of each life, in milliseconds of the Unix clock.
    pub(crate) fn times_ms(&self) -> Vec<Vec<u64>> {
        let times = |life: &Written| life.output.deliveries.iter().map(|delivery| delivery.at_ms).collect();
        self.lives.iter().map(times).collect()
    }

    /// All that the verdict needs to know.
    pub(crate) fn history(&self) -> History {
        let life = |life: &Written| Life {
            deliveries: life.output.deliveries.clone(),
            undiscarded: if life.killed { UNDISCARDED } else { 0 },
        };
        History { name: self.name(), lives: self.lives.iter().map(life).collect() }
    }

    /// The standard error files of all its processes.
    pub(crate) fn event_files(&self, setup: &Setup) -> Vec<PathBuf> {
        (1..=self.lives.len()).map(|life| setup.path(format!("{}.{life}.err", self.name()))).collect()
    }

    fn take_in(&mut self, input: &Input) -> Result<(), Failure> {
        let Some(life) = self.lives.last_mut() else { return Ok(()) };
        life.output.poll(input)?;
        self.seen.extend(life.output.deliveries[life.counted..].iter().filter_map(|delivery| match delivery.seen {
            Seen::Line(line) => Some(line),
            Seen::Unknown(_) => None,
        }));
        life.counted = life.output.deliveries.len();
        Ok(())
    }
}
