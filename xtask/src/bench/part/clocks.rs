//! Wall clock and processor time of this process.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::Figures;

/// Both, running.
#[derive(Debug)]
pub(super) struct Clocks {
    wall: Instant,
    cpu: Duration,
}

impl Clocks {
    pub(super) fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu() }
    }

    /// What they show for so many messages of this size.
    pub(super) fn stop(&self, messages: u64, size: usize) -> Figures {
        let (wall, cpu) = (self.wall.elapsed().as_secs_f64(), cpu().saturating_sub(self.cpu));
        Figures {
            messages,
            bytes: messages * size as u64,
            seconds: wall,
            msgs_per_s: messages as f64 / wall.max(1e-9),
            cpu_ns_per_msg: cpu.as_nanos() as f64 / messages.max(1) as f64,
            max_rss_mb: std::fs::read_to_string("/proc/self/status").ok().and_then(|status| max_rss_mb(&status)),
            ..Figures::default()
        }
    }
}

/// User and system.
fn cpu() -> Duration {
    duration(clock_gettime(ClockId::ProcessCPUTime))
}

/// A time that all processes of a machine share.
pub(in crate::bench) fn monotonic() -> Duration {
    duration(clock_gettime(ClockId::Monotonic))
}

fn duration(time: rustix::time::Timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The line `VmHWM` of Linux's `/proc/PID/status`, in 10^6 bytes.
fn max_rss_mb(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib * 1_024.0 / 1e5).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_of_memory_is_found() {
        assert_eq!(max_rss_mb("Name:\txtask\nVmHWM:\t    2000 kB\nVmRSS:\t 1 kB\n"), Some(2.0));
        assert_eq!(max_rss_mb("Name:\txtask\n"), None);
    }
}
