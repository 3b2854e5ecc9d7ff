//! `cargo xtask demo --state`: records kept current through the deaths of their
//! servers, and a queue drained while a worker dies; real processes and
//! `kill -9`, and a verdict from what they wrote.

mod part;
mod queue;
mod report;
mod views;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::interrupt::Interrupt;
use crate::process::Process;
use crate::{Failure, binary};

pub(crate) use part::{Part, run};

/// Real readings, one JSON object a line.
const DATA: &str = "crates/amps-client/examples/data/hourly-temperature.ndjson";
/// How often processes and files are looked at.
const TICK: Duration = Duration::from_millis(20);

/// Runs both stories. Says whether every promise was kept; if not, the files
/// are kept and named.
///
/// # Errors
/// When it cannot be carried out.
pub(crate) fn demo() -> Result<bool, Failure> {
    let path = binary::workspace().join(DATA);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
    let dir = tempfile::Builder::new()
        .prefix("amps-state-")
        .tempdir()
        .map_err(|error| Failure::new(format!("cannot make a temporary directory: {error}")))?;
    let outcome = both(&text, dir.path(), binary::amps()?);
    if !matches!(outcome, Ok(true)) {
        eprintln!("the demo failed; its files are in {}", dir.keep().display());
    }
    outcome
}

fn both(text: &str, dir: &Path, amps: PathBuf) -> Result<bool, Failure> {
    let started = Instant::now();
    let mut watch = Watch { interrupt: Interrupt::listen()?, started };
    let views = views::story(text, dir, amps, &mut watch)?;
    let queue = queue::story(text, dir, &mut watch)?;
    print!("{}", report::render(&views, &queue, started.elapsed()));
    Ok(views.is_good() && queue.is_good())
}

/// What waits, and says what happens.
struct Watch {
    interrupt: Interrupt,
    started: Instant,
}

impl Watch {
    /// Asks `done` every tick until it says yes. `false` when `limit` is over.
    fn until(&mut self, limit: Duration, mut done: impl FnMut() -> Result<bool, Failure>) -> Result<bool, Failure> {
        let end = Instant::now() + limit;
        loop {
            self.interrupt.check()?;
            if done()? {
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
            thread::sleep(TICK);
        }
    }

    fn say(&self, what: &str) {
        eprintln!("{:6.2}s {what}", self.started.elapsed().as_secs_f64());
    }
}

/// Starts this program as one of the processes of a story.
///
/// # Errors
/// When it cannot be started.
fn start(name: &str, dir: &Path, arguments: &[&str]) -> Result<Process, Failure> {
    start_as(command(arguments)?, name, dir)
}

/// The command that is one of the processes of a story.
///
/// # Errors
/// When nobody knows where this program is.
pub(crate) fn command(arguments: &[&str]) -> Result<Command, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::new(format!("where is this program? {error}")))?;
    let mut command = Command::new(program);
    command.arg("state-part").args(arguments);
    Ok(command)
}

/// Starts a command under a name.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start_as(command: Command, name: &str, dir: &Path) -> Result<Process, Failure> {
    Process::start(command, name, &dir.join(format!("{name}.out")), &dir.join(format!("{name}.err")))
}

/// The whole lines of a file that is still written; none while it is not there.
fn lines(path: &Path) -> Result<Vec<String>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?,
    };
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    Ok(text[..whole].lines().map(str::to_owned).collect())
}
