//! The limit of latency: messages to the peer and back, with blocking calls.
//!
//! One thread sleeps until a message is due and writes it; another waits in a
//! read. As the client's, a message's time runs from the moment it was due, so
//! that a stall counts for every message it held up (corrected for coordinated
//! omission).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use clap::Args;
use hdrhistogram::Histogram;

use super::clocks::Clocks;
use super::frames::{self, WRITE_LEN};
use super::publish::{connect, join};
use super::receive::walk;
use super::{Figures, Load, failed};
use crate::Failure;

/// Later than this counts as this late.
const MAX: Duration = Duration::from_secs(600);

/// Options of the loop.
#[derive(Debug, Args)]
pub(crate) struct RoundTrip {
    #[command(flatten)]
    pub(super) load: Load,
    /// Messages a second.
    #[arg(long)]
    pub(super) rate: u32,
}

/// When each message is due.
#[derive(Debug, Clone, Copy)]
struct Plan {
    start: Instant,
    interval: Duration,
    count: u32,
}

impl Plan {
    fn due(&self, number: u32) -> Instant {
        self.start + self.interval * number
    }
}

impl RoundTrip {
    pub(super) fn run(&self) -> Result<Figures, Failure> {
        let count = u32::try_from(self.load.count).map_err(|error| failed("count so many messages", error))?;
        let mut reader = connect(&self.load)?;
        let mut wire = BytesMut::new();
        frames::subscribe(&mut wire);
        reader.write_all(&wire).map_err(|error| failed("write to the peer", error))?;
        let mut buffer = vec![0; WRITE_LEN];
        let mut held = 0;
        read_frames(&mut reader, &mut buffer, &mut held)?;
        wire.clear();
        frames::publish(&mut wire, None, &frames::body(self.load.size));
        let mut writer = reader.try_clone().map_err(|error| failed("share the connection", error))?;
        let mut times =
            Histogram::new_with_max(MAX.as_nanos() as u64, 3).map_err(|error| failed("keep the times", error))?;

        let clocks = Clocks::start();
        let plan = Plan { start: Instant::now(), interval: Duration::from_secs(1) / self.rate.max(1), count };
        let sender = std::thread::spawn(move || send(&mut writer, &wire, plan));
        let mut got = 0;
        while got < count {
            let came = read_frames(&mut reader, &mut buffer, &mut held)?;
            let now = Instant::now();
            for number in got..count.min(got + came) {
                times.saturating_record(now.saturating_duration_since(plan.due(number)).as_nanos() as u64);
            }
            got += came;
        }
        join(sender)?;
        Ok(clocks.stop(self.load.count, self.load.size).with_times(&times))
    }
}

fn send(writer: &mut TcpStream, wire: &[u8], plan: Plan) -> Result<(), Failure> {
    #[cfg(target_os = "linux")]
    {
        // Linux lets a thread sleep 50 microseconds longer than asked, unless
        // told otherwise. Where it is not allowed the figures only get worse.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    }
    for number in 0..plan.count {
        let (now, due) = (Instant::now(), plan.due(number));
        if due > now {
            std::thread::sleep(due - now);
        }
        writer.write_all(wire).map_err(|error| failed("write to the peer", error))?;
    }
    Ok(())
}

/// Waits for at least one whole frame, and takes all that came.
fn read_frames(reader: &mut TcpStream, buffer: &mut [u8], held: &mut usize) -> Result<u32, Failure> {
    loop {
        match reader.read(&mut buffer[*held..]) {
            Ok(0) => return Err(failed("read from the peer", "it ended early")),
            Ok(read) => *held += read,
            Err(error) => return Err(failed("read from the peer", error)),
        }
        let (frames, walked) = walk(&buffer[..*held]);
        buffer.copy_within(walked..*held, 0);
        *held -= walked;
        if frames > 0 {
            return Ok(frames as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_the_rate_whatever_happens() {
        let plan = Plan { start: Instant::now(), interval: Duration::from_secs(1) / 10_000, count: 10 };
        assert_eq!(plan.due(10_000) - plan.start, Duration::from_secs(1));
    }
}
