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
            ..Figures::default()
        }
    }
}

/// User and system.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
