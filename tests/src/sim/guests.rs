//! Subscriptions that a server may refuse, before one that it does not.

use amps_ha::error::CommandError;
use rand::RngExt;

use super::check::Logs;
use super::part::{Part, Turn};
use crate::{Entered, Kill, Pair};

/// The topic that may be refused.
pub(super) const GUESTS: &str = "guests";

/// Two plain subscriptions, entered before the others of their client. One that
/// is refused is entered anew now and then, and so is one whose entering could
/// not be answered, since a queue of its client is full.
pub(super) struct Guests {
    client: usize,
    entered: Vec<Entered>,
}

impl Guests {
    pub(super) fn new(client: usize) -> Self {
        Self { client, entered: Vec::new() }
    }
}

impl Part for Guests {
    fn client(&self) -> usize {
        self.client
    }

    fn start(&mut self, pair: &mut Pair) {
        self.entered = (0..2).map(|_| pair.subscribe(self.client, GUESTS)).collect();
    }

    fn dies(&mut self, _: Kill) {
        self.entered.clear();
    }

    fn turn(&mut self, turn: &mut Turn<'_>) {
        for entered in &mut self.entered {
            entered.take(turn.most);
            // That is an answer to the call; a stream that is open never ends so.
            let behind = matches!(entered.answer(), Some(Err(CommandError::WouldDeadlock { .. })));
            match &entered.error {
                Some(CommandError::WouldDeadlock { .. }) if behind => {
                    *entered = turn.pair.subscribe(self.client, GUESTS);
                }
                Some(CommandError::Refused { .. }) if turn.random.random_bool(0.05) => {
                    *entered = turn.pair.subscribe(self.client, GUESTS);
                }
                None | Some(CommandError::Refused { .. }) => {}
                Some(error) => {
                    let what = format!("c{}: {error}", self.client);
                    turn.violations.push(super::Violation::new("streams stay open", what));
                }
            }
        }
    }

    fn is_settled(&mut self, _: &mut Pair, _: &Logs) -> bool {
        self.entered.iter_mut().all(|entered| matches!(entered.answer(), Some(Ok(()))))
    }
}
