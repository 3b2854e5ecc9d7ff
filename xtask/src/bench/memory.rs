//! `cargo xtask bench --memory`: clients at full speed for minutes, and the
//! memory they have resident.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::probe::SIZE;
use super::runner::{Runner, store};
use crate::Failure;
use crate::process::Process;

/// Growth is counted from this minute on.
const SETTLED: u64 = 2;
/// How much more is still flat, in per cent.
const TOLERANCE: f64 = 5.0;
/// More than any client gets through.
const ENDLESS: u64 = 4_000_000_000;

/// A client under load, with a peer of its own.
struct Client {
    name: &'static str,
    process: Process,
    peer: Process,
    dir: PathBuf,
    /// Bytes resident each minute, in 10^6.
    resident: Vec<f64>,
}

/// The loads: one client each, all at the same time.
const LOADS: [(&str, &str, &[&str]); 3] = [
    ("publish, memory", "publish", &["--store", "memory"]),
    ("publish, sled", "publish", &["--store", "STORE"]),
    ("subscribe, sled", "subscribe", &["--bookmark-store", "STORE"]),
];

/// Prints what each client has resident, minute by minute, and whether that
/// stays the same.
///
/// # Errors
/// When a process cannot be started, or ends.
pub(super) fn run(runner: &Runner, minutes: u64) -> Result<ExitCode, Failure> {
    let mut dirs = Vec::new();
    let mut clients = Vec::new();
    for load in LOADS {
        let dir = runner.dir()?;
        clients.push(Client::start(runner, load, &dir)?);
        dirs.push(dir);
    }
    let names: String = clients.iter().map(|client| format!("{:>18}{:>10}", client.name, "on disk")).collect();
    println!("minute{names}   (MB)");
    let began = Instant::now();
    for minute in 1..=minutes {
        let due = began + Duration::from_secs(60) * minute as u32;
        while Instant::now() < due {
            runner.pause()?;
            for client in &mut clients {
                client.check()?;
            }
        }
        let mut line = format!("{minute:>6}");
        for client in &mut clients {
            line += &client.note()?;
        }
        println!("{line}");
    }
    let mut flat = true;
    for client in clients {
        flat &= client.judge(runner)?;
    }
    drop(dirs);
    Ok(if flat { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Client {
    fn start(
        runner: &Runner,
        (name, verb, options): (&'static str, &str, &[&str]),
        dir: &TempDir,
    ) -> Result<Self, Failure> {
        let dir = dir.path().to_owned();
        let peer = ["--header", "long", "--note-total", "--send", if verb == "subscribe" { "4000000000" } else { "0" }];
        let (peer, port) = runner.peer(&peer.map(str::to_owned), &dir)?;
        let mut command = runner.amps(verb, port, &[("--count", ENDLESS), ("--size", SIZE)]);
        let sled = format!("sled:{}", store(&dir).display());
        command.args(options.iter().map(|option| if *option == "STORE" { &sled } else { *option }));
        let process = Process::start(command, name, &dir.join("client.out"), &dir.join("client.err"))?;
        Ok(Self { name, process, peer, dir, resident: Vec::new() })
    }

    fn check(&mut self) -> Result<(), Failure> {
        match self.process.ended()? {
            Some(status) => Err(self.process.unexpected(status)),
            None => Ok(()),
        }
    }

    /// Its part of a minute's line.
    fn note(&mut self) -> Result<String, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let resident = resident_mb(&status);
        let resident = resident.ok_or_else(|| Failure::new("this system does not say how much memory is resident"))?;
        self.resident.push(resident);
        Ok(format!("{resident:>18.1}{:>10.1}", disk_mb(&store(&self.dir))))
    }

    /// Stops it, and says how it went.
    fn judge(mut self, runner: &Runner) -> Result<bool, Failure> {
        self.process.kill();
        runner.wait("the peer", || self.peer.ended())?;
        let said = std::fs::read_to_string(self.dir.join("peer.out")).unwrap_or_default();
        let messages = said.lines().last().and_then(|total| total.parse::<u64>().ok()).unwrap_or(0);
        let growth = growth(&self.resident);
        let flat = growth <= TOLERANCE && messages > 0;
        let verdict = if flat { "flat" } else { "NOT FLAT" };
        println!("{}: {messages} messages; {growth:+.1} % since minute {SETTLED}: {verdict}", self.name);
        Ok(flat)
    }
}

/// From the minute at which it should have settled to the last, in per cent.
fn growth(resident: &[f64]) -> f64 {
    match (resident.get(SETTLED as usize - 1), resident.last()) {
        (Some(settled), Some(last)) => (last / settled - 1.0) * 100.0,
        _ => f64::INFINITY,
    }
}

/// The line `VmRSS` of Linux's `/proc/PID/status`, in 10^6 bytes.
fn resident_mb(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024.0 / 1e6)
}

/// The files of a directory, in 10^6 bytes.
fn disk_mb(dir: &Path) -> f64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0.0 };
    let lengths = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_mb(&entry.path()),
        Ok(metadata) => metadata.len() as f64 / 1e6,
        Err(_) => 0.0,
    });
    lengths.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_counted_from_the_second_minute() {
        assert!((growth(&[10.0, 100.0, 120.0, 104.0]) - 4.0).abs() < 1e-9);
        assert!(growth(&[10.0, 100.0, 106.0]) > TOLERANCE);
        assert!(growth(&[10.0]) > TOLERANCE, "nothing is known");
    }

    #[test]
    fn resident_memory_is_found() {
        assert_eq!(resident_mb("VmHWM:\t 9 kB\nVmRSS:\t    2000 kB\n"), Some(2.048));
        assert_eq!(resident_mb(""), None);
    }
}
