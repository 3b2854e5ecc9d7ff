//! The limit of latency: a message to the peer and back, with blocking calls.
//!
//! A message's time runs from the moment it was due, as the client's does; but
//! not while the message before it was still under way: what is wanted is a round
//! trip, not a queue.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use amps_core::frame::frame_len;
use bytes::BytesMut;
use clap::Args;

use super::clocks::Clocks;
use super::frames::{self, WRITE_LEN};
use super::publish::connect;
use super::{Figures, Load, failed};
use crate::Failure;

/// Options of the loop.
#[derive(Debug, Args)]
pub(crate) struct RoundTrip {
    #[command(flatten)]
    pub(super) load: Load,
    /// Messages a second.
    #[arg(long)]
    pub(super) rate: u32,
}

impl RoundTrip {
    pub(super) fn run(&self) -> Result<Figures, Failure> {
        let mut stream = connect(&self.load)?;
        let mut wire = BytesMut::new();
        frames::subscribe(&mut wire);
        let mut buffer = vec![0; WRITE_LEN];
        exchange(&mut stream, &wire, &mut buffer)?;
        wire.clear();
        frames::publish(&mut wire, None, &frames::body(self.load.size));
        #[cfg(target_os = "linux")]
        {
            // Linux lets a thread sleep 50 microseconds longer than asked, unless
            // told otherwise. Where it is not allowed the figures only get worse.
            let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        }

        let clocks = Clocks::start();
        let interval = Duration::from_secs(1) / self.rate.max(1);
        let mut due = Instant::now();
        let mut times = Vec::new();
        for _ in 0..self.load.count {
            let now = Instant::now();
            if due > now {
                std::thread::sleep(due - now);
            }
            let start = due.max(now);
            exchange(&mut stream, &wire, &mut buffer)?;
            times.push(start.elapsed());
            due += interval;
        }
        let figures = clocks.stop(self.load.count, self.load.size);
        times.sort_unstable();
        Ok(Figures { p50_us: quantile(&times, 0.5), p99_us: quantile(&times, 0.99), ..figures })
    }
}

/// Writes, and waits for one whole frame.
fn exchange(stream: &mut TcpStream, wire: &[u8], buffer: &mut [u8]) -> Result<(), Failure> {
    stream.write_all(wire).map_err(|error| failed("write to the peer", error))?;
    let mut held = 0;
    while frame_len(&buffer[..held]).is_none_or(|len| held < len) {
        match stream.read(&mut buffer[held..]) {
            Ok(0) => return Err(failed("read from the peer", "it ended early")),
            Ok(read) => held += read,
            Err(error) => return Err(failed("read from the peer", error)),
        }
    }
    Ok(())
}

/// In microseconds, of sorted times.
fn quantile(times: &[Duration], quantile: f64) -> Option<f64> {
    let rank = (times.len() as f64 * quantile).ceil() as usize;
    let time = times.get(rank.saturating_sub(1))?;
    Some(time.as_nanos() as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_by_rank() {
        let times: Vec<_> = (1..=100).map(Duration::from_micros).collect();
        assert_eq!(quantile(&times, 0.5), Some(50.0));
        assert_eq!(quantile(&times, 0.99), Some(99.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
