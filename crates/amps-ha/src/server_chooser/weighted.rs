use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Report, Server, ServerChooser};
use crate::error::Cause;

/// Chooses servers at random, each as often as its weight says: for spreading
/// many clients over a group.
///
/// The choice stays until a failure is reported for it. Servers that failed
/// since the last success are left out until all have failed, so that a dead
/// server of great weight does not hold the client up. A server of weight 0 is
/// chosen only when all others have failed.
#[derive(Debug)]
pub struct WeightedChooser {
    servers: Vec<Candidate>,
    current: Option<usize>,
    random: StdRng,
}

#[derive(Debug)]
struct Candidate {
    server: Server,
    weight: u32,
    failed: bool,
}

impl WeightedChooser {
    /// A chooser without servers. Equal seeds give equal choices; give each
    /// client one of its own.
    pub fn new(seed: u64) -> Self {
        Self { servers: Vec::new(), current: None, random: StdRng::seed_from_u64(seed) }
    }

    /// Adds a server.
    #[must_use]
    pub fn server(mut self, server: impl Into<Server>, weight: u32) -> Self {
        self.servers.push(Candidate { server: server.into(), weight, failed: false });
        self
    }

    fn choose(&mut self) -> Option<usize> {
        let left = || self.servers.iter().enumerate().filter(|(_, candidate)| !candidate.failed);
        let total: u64 = left().map(|(_, candidate)| u64::from(candidate.weight)).sum();
        if total == 0 {
            return left().map(|(index, _)| index).next();
        }
        let mut at = self.random.random_range(0..total);
        for (index, candidate) in left() {
            let weight = u64::from(candidate.weight);
            if at < weight {
                return Some(index);
            }
            at -= weight;
        }
        None
    }

    fn forget_failures(&mut self) {
        self.servers.iter_mut().for_each(|candidate| candidate.failed = false);
    }
}

impl ServerChooser for WeightedChooser {
    fn current(&mut self) -> Option<Server> {
        if self.current.is_none() {
            self.current = self.choose();
        }
        self.servers.get(self.current?).map(|candidate| candidate.server.clone())
    }

    fn report_failure(&mut self, report: &Report, _: &Cause) {
        let Some(index) = self.servers.iter().position(|candidate| *candidate.server.uri() == report.uri) else {
            return;
        };
        self.servers[index].failed = true;
        if self.current == Some(index) {
            self.current = None;
        }
        if self.servers.iter().all(|candidate| candidate.failed) {
            self.forget_failures();
            // Not the same at once, if there is another.
            self.servers[index].failed = self.servers.len() > 1;
        }
    }

    fn report_success(&mut self, report: &Report) {
        self.forget_failures();
        let place = self.servers.iter().position(|candidate| *candidate.server.uri() == report.uri);
        self.current = place.or(self.current);
    }

    fn error(&self) -> String {
        "no server was given: add one with `server`".to_owned()
    }
}
