//! One child process that cannot outlive this one.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::Failure;

/// A running child. Dropping it kills it, so neither an error nor a panic leaves
/// one behind. It has a process group of its own: Ctrl-C reaches this program
/// only, which then ends its children in order.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    what: String,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command`, writing its output into files.
    ///
    /// # Errors
    /// When a file cannot be made or the program cannot be started.
    pub(crate) fn start(mut command: Command, what: &str, stdout: &Path, stderr: &Path) -> Result<Self, Failure> {
        command.stdin(Stdio::null());
        Self::spawn(command, what, stdout, stderr)
    }

    /// The same for one that takes orders.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub(crate) fn start_to_order(
        mut command: Command,
        what: &str,
        stdout: &Path,
        stderr: &Path,
    ) -> Result<Self, Failure> {
        command.stdin(Stdio::piped());
        Self::spawn(command, what, stdout, stderr)
    }

    fn spawn(mut command: Command, what: &str, stdout: &Path, stderr: &Path) -> Result<Self, Failure> {
        let file = |path: &Path| {
            File::create(path).map_err(|error| Failure::new(format!("cannot create {}: {error}", path.display())))
        };
        command.stdout(file(stdout)?).stderr(file(stderr)?).process_group(0);
        let mut child = command.spawn().map_err(|error| Failure::new(format!("cannot start {what}: {error}")))?;
        let orders = child.stdin.take();
        Ok(Self { child, orders, what: what.to_owned(), stderr: stderr.to_owned() })
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal. A process that is gone already is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// Gives an order, a line on its standard input. A process that is gone already
    /// is no error.
    pub(crate) fn order(&mut self, order: &str) {
        if let Some(orders) = &mut self.orders {
            let _ = orders.write_all(format!("{order}\n").as_bytes());
        }
    }

    /// From now on the process writes no file behind so many bytes, as on a full
    /// disk, or does again (setrlimit(2), `RLIMIT_FSIZE`). One that is gone already
    /// is no error.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None });
    }

    /// How the process ended, or `None` while it runs.
    ///
    /// # Errors
    /// When the system does not say.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        self.child.try_wait().map_err(|error| Failure::new(format!("cannot watch {}: {error}", self.what)))
    }

    /// The failure to report when this process ended and should not have.
    pub(crate) fn unexpected(&self, status: ExitStatus) -> Failure {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        let tail = lines[lines.len().saturating_sub(5)..].join("\n  ");
        Failure::new(format!("{} ended with {status}; its last words:\n  {tail}", self.what))
    }

    /// What it wrote to its standard error by now.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    fn end(&mut self) {
        // Both fail only when the process is gone and waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(program: &str, args: &[&str], dir: &Path) -> Process {
        let mut command = Command::new(program);
        command.args(args);
        Process::start(command, program, &dir.join("out"), &dir.join("err")).unwrap()
    }

    #[test]
    fn dropping_a_process_kills_it_even_when_it_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let process = start("sleep", &["1000"], dir.path());
        let pid = Pid::from_raw(i32::try_from(process.child.id()).unwrap()).unwrap();
        process.signal(Signal::STOP);
        drop(process);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[test]
    fn output_goes_to_the_files_and_the_failure_quotes_stderr() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = start("sh", &["-c", "echo hello; echo because >&2; exit 3"], dir.path());
        let status = process.child.wait().unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("out")).unwrap(), "hello\n");
        let failure = process.unexpected(status).to_string();
        assert!(failure.contains("because") && failure.contains('3'), "{failure}");
        assert!(process.ended().unwrap().is_some());
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let command = Command::new("no-such-program");
        let failure = Process::start(command, "the server", &dir.path().join("o"), &dir.path().join("e")).unwrap_err();
        assert!(failure.to_string().contains("the server"));
    }
}
