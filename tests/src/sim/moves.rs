//! Planned moves to another server, and what came of them.

use std::time::Instant;

use amps_ha::client_core::Request;
use amps_ha::error::MoveError;
use amps_ha::server_chooser::Server;
use tokio::sync::oneshot;

use super::check::Violation;
use crate::Pair;
use crate::pair::uri;

/// Moves without an answer yet.
#[derive(Default)]
pub(super) struct Moves {
    pending: Vec<Move>,
}

struct Move {
    client: usize,
    server: usize,
    asked: Instant,
    answer: oneshot::Receiver<Result<(), MoveError>>,
}

impl Moves {
    /// Asks a client to move.
    pub(super) fn ask(&mut self, pair: &mut Pair, client: usize, server: usize) {
        let (reply, answer) = oneshot::channel();
        pair.request(client, Request::Move { server: Server::new(uri(server)), reply });
        self.pending.push(Move { client, server, asked: pair.now, answer });
    }

    /// A client's process ends.
    pub(super) fn dies(&mut self, client: usize) {
        self.pending.retain(|pending| pending.client != client);
    }

    /// Reads the answers. Who is told that a client has moved finds that it was
    /// there.
    pub(super) fn listen(&mut self, pair: &Pair) -> Vec<Violation> {
        let mut violations = Vec::new();
        self.pending.retain_mut(|Move { client, server, asked, answer }| {
            // It may have been there, or on its way, when it was asked.
            let tried = pair.attempts(*client).iter().rev();
            let before = tried.clone().skip_while(|(at, _)| at >= asked).take(1);
            let went = || tried.clone().take_while(|(at, _)| at >= asked).chain(before).any(|(_, to)| to == server);
            match answer.try_recv() {
                Ok(Ok(())) if !went() => {
                    let what = format!("c{client} says it has moved to s{server}, and was never there");
                    violations.push(Violation::new("every move ends", what));
                }
                Err(oneshot::error::TryRecvError::Empty) => return true,
                Err(oneshot::error::TryRecvError::Closed) => {
                    let what = format!("c{client} has forgotten a move to s{server}");
                    violations.push(Violation::new("every move ends", what));
                }
                Ok(_) => {}
            }
            false
        });
        violations
    }

    /// Whether there is one without an answer: a connection that takes nothing may
    /// be left late.
    pub(super) fn are_open(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When everything has settled, every move has an answer.
    pub(super) fn check(&self) -> Option<Violation> {
        let Move { client, server, .. } = self.pending.first()?;
        Some(Violation::new("every move ends", format!("c{client} was to move to s{server}, and nothing came of it")))
    }
}
