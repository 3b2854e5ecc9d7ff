//! What a probe prints, and the clocks behind it.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Wall clock, and processor time of this process (user and system).
#[derive(Debug)]
pub(crate) struct Clocks {
    wall: Instant,
    cpu: Duration,
}

impl Clocks {
    /// Starts both.
    pub(crate) fn start() -> Self {
        Self { wall: Instant::now(), cpu: cpu() }
    }

    /// What they show for this load.
    pub(crate) fn stop(&self, messages: u64, bytes: u64) -> Summary {
        Summary::new(messages, bytes, self.wall.elapsed(), cpu().saturating_sub(self.cpu))
    }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The figures every probe prints.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    messages: u64,
    /// Of bodies.
    bytes: u64,
    seconds: f64,
    msgs_per_s: f64,
    cpu_ns_per_msg: f64,
    /// The most memory this process ever had resident, in 10^6 bytes; `null` where the system does not tell.
    max_rss_mb: Option<f64>,
}

impl Summary {
    fn new(messages: u64, bytes: u64, wall: Duration, cpu: Duration) -> Self {
        let seconds = wall.as_secs_f64();
        let per_message = |total: f64| total / messages.max(1) as f64;
        Self {
            messages,
            bytes,
            seconds: round(seconds, 6),
            msgs_per_s: (messages as f64 / seconds.max(1e-9)).round(),
            cpu_ns_per_msg: round(per_message(cpu.as_nanos() as f64), 1),
            max_rss_mb: std::fs::read_to_string("/proc/self/status").ok().and_then(|status| max_rss_mb(&status)),
        }
    }
}

/// A number with so many digits after the point.
pub(crate) fn round(number: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (number * scale).round() / scale
}

/// The line `VmHWM` of Linux's `/proc/PID/status`, which counts in 1,024 bytes.
fn max_rss_mb(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(round(kib * 1_024.0 / 1e6, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_counted_per_message_and_per_second() {
        let summary = Summary::new(1_000, 128_000, Duration::from_millis(500), Duration::from_micros(250));
        assert_eq!((summary.messages, summary.bytes, summary.seconds), (1_000, 128_000, 0.5));
        assert_eq!((summary.msgs_per_s, summary.cpu_ns_per_msg), (2_000.0, 250.0));
    }

    #[test]
    fn processor_time_rises_with_work() {
        let clocks = Clocks::start();
        while clocks.stop(1, 0).cpu_ns_per_msg < 1_000_000.0 {
            std::hint::spin_loop();
        }
        assert!(clocks.wall.elapsed() > Duration::ZERO);
    }

    #[test]
    fn the_peak_of_memory_is_found() {
        assert_eq!(max_rss_mb("Name:\tamps\nVmHWM:\t    2000 kB\nVmRSS:\t 1 kB\n"), Some(2.0));
        assert_eq!(max_rss_mb("Name:\tamps\n"), None);
    }
}
