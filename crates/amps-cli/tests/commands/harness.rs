//! Processes, and what they leave.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use amps_testserver::journal;

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The command.
pub(crate) fn amps(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amps"));
    forget_settings(&mut command);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Keeps whoever's settings are on this machine away from a command.
pub(crate) fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AMPS_")) {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent").env_remove("HOME");
}

/// A process that does not outlive the test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// The exit code of a process whose output goes to files.
    pub(crate) fn code(mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }

    /// The exit code and what it wrote to standard output.
    pub(crate) fn output(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        std::io::Read::read_to_string(self.0.stdout.as_mut().unwrap(), &mut text).unwrap();
        (self.0.wait().unwrap().code(), text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server and waits for its one line.
pub(crate) fn server(listen: &str, more: &[&str]) -> (Running, String) {
    let mut command = amps(&["testserver", "--listen", listen, "--ack-conflation", "20ms"]);
    command.args(more).stderr(Stdio::inherit());
    let mut running = Running::start(command);
    let mut line = String::new();
    BufReader::new(running.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let uri = line.split_whitespace().find(|word| word.starts_with("tcp://")).unwrap_or_else(|| panic!("{line:?}"));
    (running, uri.to_owned())
}

/// A port nobody listens on, outside the range of outgoing connections, and that
/// no other test of this process was given.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id() % 7_000).unwrap();
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed)).find(is_free).unwrap()
}

/// Several of them.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    std::array::from_fn(|_| free_port())
}

pub(crate) fn run(args: &[&str]) -> Output {
    amps(args).output().unwrap()
}

pub(crate) fn run_with_input(args: &[&str], input: &str) -> Output {
    let mut child = amps(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn last_json(text: &str) -> serde_json::Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

pub(crate) fn readings(count: usize) -> Vec<String> {
    (0..count).map(|n| format!(r#"{{"station":"S{}","n":{n}}}"#, n % 5)).collect()
}

pub(crate) fn bodies(data: &Path) -> Vec<String> {
    let text = |message: journal::LoggedMessage| String::from_utf8(message.body.to_vec()).unwrap();
    journal::read(data).unwrap().into_iter().map(text).collect()
}

pub(crate) fn ledger(path: &Path) -> Vec<usize> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| line.parse().unwrap()).collect()
}

pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < end, "not in time: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The lines of standard output of a run that has to succeed.
pub(crate) fn lines(args: &[&str]) -> Vec<String> {
    let output = run(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    stdout(&output).lines().map(str::to_owned).collect()
}

/// Publishes lines, all of which have to be persisted.
pub(crate) fn publish(uri: &str, topic: &str, lines: &[&str]) {
    let output = run_with_input(&["publish", "--server", uri, "--topic", topic], &lines.join("\n"));
    assert!(output.status.success(), "{output:?}");
}
