//! A server that the others leave behind, and how it comes back.
//!
//! It loses its network, and the others are told not to wait for it (AMPS User
//! Guide, "Automatically Downgrading a Destination"): they acknowledge as
//! persisted what it has not got. Clients must not use it until it has; so no
//! client reaches it from before the others are told until all of this is true:
//! it has what any server had when it was level for the first time, each of the
//! others waits for it again, and it has what any server had then.

use super::Run;
use crate::Failure;
use crate::network::From;

/// A server that the others do not wait for.
#[derive(Debug)]
pub(super) struct CutOff {
    server: usize,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Nobody reaches it.
    Away,
    /// The servers do, and it gets what it lacks, up to here.
    Catching(Vec<usize>),
    /// They are told to wait for it again.
    Upgrading,
    /// They do, and it gets what was promised until then.
    Level(Vec<usize>),
}

impl CutOff {
    pub(super) fn server(&self) -> usize {
        self.server
    }
}

impl Run<'_> {
    /// Cuts a server off, unless another one is not back yet. Says whether it did.
    pub(super) fn cut_off(&mut self, server: usize) -> bool {
        let Some(network) = self.network.as_ref().filter(|_| self.cut_off.is_none()) else { return false };
        network.unplug(server, From::Clients, true);
        network.unplug(server, From::Peers, true);
        self.cut_off = Some(CutOff { server, stage: Stage::Away });
        true
    }

    /// Gives the server that is cut off its way to the other servers back.
    pub(super) fn take_back(&mut self) {
        let Some(network) = &self.network else { return };
        let goal = self.logs.highest();
        if let Some(CutOff { server, stage: stage @ Stage::Away }) = &mut self.cut_off {
            network.unplug(*server, From::Peers, false);
            *stage = Stage::Catching(goal);
        }
    }

    /// Takes the next step if it is time.
    ///
    /// # Errors
    /// When a journal cannot be read.
    pub(super) fn poll_cut_off(&mut self) -> Result<(), Failure> {
        let Some(server) = self.cut_off.as_ref().map(CutOff::server) else { return Ok(()) };
        self.read_logs()?;
        let (Some(cut_off), Some(network)) = (&mut self.cut_off, &self.network) else { return Ok(()) };
        let has = |goal: &[usize]| self.logs.height(server).iter().zip(goal).all(|(has, goal)| has >= goal);
        let others = (0..self.servers.len()).filter(|&other| other != server);
        match &cut_off.stage {
            Stage::Away => others.for_each(|other| self.servers[other].downgrade(&self.setup.peer(other, server))),
            Stage::Catching(goal) if has(goal) => {
                others.for_each(|other| self.servers[other].upgrade(&self.setup.peer(other, server)));
                cut_off.stage = Stage::Upgrading;
            }
            Stage::Upgrading => {
                let waits = |other: usize| self.servers[other].waits_for(&self.setup.peer(other, server));
                if others.into_iter().all(waits) {
                    cut_off.stage = Stage::Level(self.logs.highest());
                }
            }
            Stage::Level(goal) if has(goal) => {
                network.unplug(server, From::Clients, false);
                self.cut_off = None;
                let lane = self.server(server);
                self.end(&lane, CUT_OFF);
            }
            Stage::Catching(_) | Stage::Level(_) => {}
        }
        Ok(())
    }
}

/// What the page and the progress call it.
pub(super) const CUT_OFF: &str = "cut off";
