//! The parts of one live connection.
//!
//! [`Transmit`] is the outgoing side: frames are gathered and written in large
//! pieces. [`Heartbeat`] says when to beat and when the peer counts as dead.
//! [`PendingAcks`] remembers who waits for an answer, and until when, [`Router`]
//! whose a message is. These four read no clock and touch no socket. [`pump`] is the thin driver that
//! moves bytes between a [`Transport`](crate::Transport) and a [`Protocol`].

mod heartbeat;
mod pending;
mod pump;
mod router;
mod transmit;

pub use heartbeat::{Heartbeat, HeartbeatDue};
pub use pending::{PendingAcks, command_id, command_number};
pub use pump::{Lost, Protocol, READ_LEN, pump};
pub use router::Router;
pub use transmit::{TARGET_LEN, Transmit};
