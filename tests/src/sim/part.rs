//! What a reader in a run is.

use rand::rngs::StdRng;

use super::check::{Logs, Violation};
use super::publisher::Publisher;
use crate::{Kill, Pair};

/// The application of one client that reads, across its lives.
pub(super) trait Part {
    /// Its client.
    fn client(&self) -> usize;

    /// Begins a life.
    fn start(&mut self, pair: &mut Pair);

    /// The process is about to die.
    fn dies(&mut self, how: Kill);

    /// Does some of what it does.
    fn turn(&mut self, turn: &mut Turn<'_>);

    /// Whether it has everything.
    fn is_settled(&mut self, pair: &mut Pair, logs: &Logs) -> bool;

    /// What is wrong in the end.
    fn check(&self, _logs: &Logs) -> Vec<Violation> {
        Vec::new()
    }

    /// How many messages it was given, over all lives.
    fn given(&self) -> u64 {
        0
    }
}

/// What a part has in its turn.
pub(super) struct Turn<'a> {
    pub(super) pair: &'a mut Pair,
    pub(super) random: &'a mut StdRng,
    pub(super) publishers: &'a [Publisher],
    /// How many items it may take.
    pub(super) most: usize,
    /// Everything is healed: what is left is to be done soon.
    pub(super) healed: bool,
    /// Nothing went or goes wrong in this run.
    pub(super) faultless: bool,
    /// A server has lost its disk.
    pub(super) emptied: bool,
    pub(super) violations: Vec<Violation>,
}

impl Turn<'_> {
    pub(super) fn broken(&mut self, rule: &'static str, what: impl Into<String>) {
        self.violations.push(Violation::new(rule, what));
    }
}
