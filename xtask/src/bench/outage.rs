//! The measurement of an outage: a client fills its store while no server is
//! there, ends, and another one sends what is in it.

use std::path::Path;
use std::time::Duration;

use super::figures::Figures;
use super::part::monotonic;
use super::probe::{Outage, Probe, SIZE};
use super::runner::{Runner, store};
use crate::Failure;
use crate::ports;
use crate::process::Process;

impl Runner {
    /// Figures of the client that filled the store; memory is the most that
    /// either client had resident.
    pub(super) fn outage(&self, outage: Outage, dir: &Path) -> Result<Figures, Failure> {
        let probe = Probe::Outage(outage);
        let count = probe.count(&self.extent);
        let port = ports::free(1)?[0];
        let mut command = self.amps("outage", port, &[("--count", count), ("--size", SIZE)]);
        let sled = format!("sled:{}", store(dir).display());
        command.args(["--store", if outage == Outage::Memory { "memory" } else { &sled }]);
        if outage != Outage::SledClosed {
            command.arg("--stay");
        }
        let out = dir.join("outage.out");
        let mut client = Process::start(command, probe.name(), &out, &dir.join("outage.err"))?;
        let line = self.line(probe.name(), &mut client, &out)?;
        let filled: Figures = serde_json::from_str(&line)
            .map_err(|error| Failure::new(format!("{} printed no figures: {error}", probe.name())))?;
        if outage == Outage::SledClosed {
            let status = self.wait(probe.name(), || client.ended())?;
            if !status.success() {
                return Err(client.unexpected(status));
            }
        }
        client.kill();
        if outage == Outage::Memory {
            return Ok(filled);
        }
        let (replayed, first_byte) = self.replay(probe, &sled, dir)?;
        if replayed.messages != count {
            return Err(Failure::new(format!("{} of {count} messages were in the store", replayed.messages)));
        }
        Ok(Figures {
            max_rss_mb: filled.max_rss_mb.zip(replayed.max_rss_mb).map(|(filled, replayed)| filled.max(replayed)),
            first_byte_s: Some(first_byte.as_secs_f64()),
            ..filled
        })
    }

    /// Sends what is in the store. Also: how long it took from the start of the
    /// process until the first message was at the server.
    fn replay(&self, probe: Probe, sled: &str, dir: &Path) -> Result<(Figures, Duration), Failure> {
        let (mut peer, port) = self.peer(&["--note-first".to_owned()], dir)?;
        let mut command = self.amps("replay", port, &[("--size", SIZE)]);
        command.args(["--store", sled]);
        let started = monotonic();
        let figures = self.client(command, probe.name(), &mut peer, dir)?;
        let line = self.line("the peer", &mut peer, &dir.join("peer.out"))?;
        let first = line.parse().map(Duration::from_nanos);
        let first = first.map_err(|_| Failure::new("the peer has seen no message"))?;
        Ok((figures, first.saturating_sub(started)))
    }
}
