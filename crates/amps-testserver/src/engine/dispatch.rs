//! From bytes received to the command that handles them.

use std::time::Instant;

use amps_core::message::MessageKind;
use amps_core::{AckType, AckTypes, Field, Message};

use super::ack::AckFrame;
use super::connection::{Close, Connection, Role};
use super::options::has_options;
use super::{ConnId, Engine, replicate};
use crate::stats::ReceivedCommand;

impl Engine {
    /// Bytes arrived on a connection. Whole frames are processed, and what
    /// they add to the log is committed to the journal once, before this
    /// returns. Bytes for a closed connection are ignored.
    pub fn receive(&mut self, now: Instant, id: ConnId, bytes: &[u8]) {
        self.advance(now);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.close.is_some() {
            return;
        }
        let allowed = self.faults.received_before_cut(connection.who(id), connection.bytes_received, bytes.len());
        connection.bytes_received += allowed.unwrap_or(bytes.len()) as u64;
        connection.received_at = now;
        connection.decoder.extend(&bytes[..allowed.unwrap_or(bytes.len())]);
        self.expire_records();
        self.process(id);
        if allowed.is_some() {
            self.close(id, Close::Abort, "cut by a fault after bytes received");
        }
        self.end_turn();
    }

    /// Processes the whole frames a connection's buffer holds.
    pub(super) fn process(&mut self, id: ConnId) {
        while let Some(connection) = self.connections.get_mut(&id) {
            if connection.close.is_some() || connection.stops_reading(&self.faults, id) {
                break;
            }
            let frame = match connection.decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    let first = matches!(connection.role, Role::New);
                    self.stats.violation(id, format!("{}{error}", if first { "first frame: " } else { "" }));
                    self.close(id, Close::Abort, "malformed frame");
                    break;
                }
            };
            match Message::decode(frame) {
                Ok(message) => self.command(id, &message),
                Err(error) => {
                    self.stats.violation(id, error.to_string());
                    self.close(id, Close::Abort, "malformed command");
                }
            }
        }
        self.acknowledge_replica(id);
    }

    fn command(&mut self, id: ConnId, message: &Message) {
        let kind = message.kind();
        let acks = AckTypes::from_wire(message.raw(Field::AckType).unwrap_or_default());
        match self.connections.get(&id).map(|connection| &connection.role) {
            Some(Role::New) => match kind {
                MessageKind::Logon => {}
                MessageKind::Other if message.raw(Field::Command) == Some(replicate::REPLICATE) => {
                    return self.replicate(id, message);
                }
                _ => {
                    self.stats.record(ReceivedCommand::new(id, message));
                    let what = format!("the first command is {kind:?}, not a logon");
                    return self.break_off(id, message, acks, "not logged on", what);
                }
            },
            Some(Role::Client(_)) => {}
            Some(Role::Source(_) | Role::Destination(_)) => return self.replication_frame(id, message),
            None => return,
        }
        self.stats.record(ReceivedCommand::new(id, message));
        if self.faults.ignores(kind) {
            return;
        }
        if let Some(reason) = self.faults.refusal(kind) {
            return self.refuse(id, message, acks, &reason);
        }
        if acks.contains(AckType::Received) {
            self.ack(id, AckType::Received, message, AckFrame::default());
        }
        // Those of the others are checked where they are read.
        let takes_none = matches!(kind, MessageKind::Unsubscribe | MessageKind::Flush | MessageKind::Other);
        if takes_none && is_command(message) && has_options(message) {
            return self.refuse(id, message, acks, "invalid options");
        }
        let opaque = self.connections.get(&id).is_some_and(Connection::is_opaque);
        if acks.contains(AckType::Stats) && opaque && kind != MessageKind::Logon {
            return self.refuse(id, message, acks, "no stats for this message type");
        }
        match kind {
            MessageKind::Logon => self.logon(id, message, acks),
            MessageKind::Publish | MessageKind::DeltaPublish | MessageKind::SowDelete => {
                self.publish(id, message, acks);
            }
            MessageKind::Subscribe | MessageKind::DeltaSubscribe => self.subscribe(id, message, acks),
            MessageKind::Unsubscribe => self.unsubscribe(id, message, acks),
            MessageKind::Flush => self.flush(id, message, acks),
            MessageKind::Heartbeat => self.heartbeat(id, message, acks),
            MessageKind::Sow | MessageKind::SowAndSubscribe | MessageKind::SowAndDeltaSubscribe => {
                self.query(id, message, acks);
            }
            MessageKind::Other if is_command(message) => {
                if acks.contains(AckType::Processed) {
                    self.ack(id, AckType::Processed, message, AckFrame::default());
                }
            }
            _ => {
                let what = format!("unknown command '{}'", message.raw(Field::Command).unwrap_or_default());
                self.break_off(id, message, acks, "unknown command", what);
            }
        }
    }
}

/// Whether there is such a command: of those without a kind, the timers of older
/// servers, which do nothing here.
fn is_command(message: &Message) -> bool {
    message.kind() != MessageKind::Other || matches!(message.raw(Field::Command), Some("start_timer" | "stop_timer"))
}
