//! `heartbeat` and `flush` (AMPS Command Reference, "heartbeat", "flush").

use std::time::Instant;

use amps_core::header::FrameWriter;
use amps_core::{AckType, AckTypes, Field, Message};

use super::ack::AckFrame;
use super::connection::{Close, Role, Waiting};
use super::{ConnId, Engine};
use crate::interval::parse_interval;

impl Engine {
    /// `start,<seconds>` starts or changes heartbeats; `beat` answers one, and
    /// having arrived it has done its work.
    pub(super) fn heartbeat(&mut self, id: ConnId, message: &Message, acks: AckTypes) {
        let options = message.text(Field::Options).unwrap_or_default();
        let mut words = options.split(',').map(str::trim);
        let interval = match (words.next(), words.next(), words.next()) {
            (Some("beat"), None, None) => None,
            (Some("start"), Some(interval), None) => match parse_interval(interval) {
                Some(interval) => Some(interval),
                None => return self.refuse(id, message, acks, "invalid options"),
            },
            _ => return self.refuse(id, message, acks, "invalid options"),
        };
        if let Some(interval) = interval {
            let now = self.now();
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.sent_at = now;
                if let Some(client) = connection.client_mut() {
                    client.heartbeat = Some(interval);
                }
            }
            self.arm(now + interval);
        }
        if acks.contains(AckType::Processed) {
            self.ack(id, AckType::Processed, message, AckFrame::default());
        }
    }

    /// Called when time passed: beats on a connection that was idle for an
    /// interval, and gives it up after two intervals of the client's silence
    /// (AMPS developer guides, "Heartbeat"). Replication links likewise.
    pub(super) fn heartbeat_due(&mut self, id: ConnId, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (idle, silence) = match &connection.role {
            Role::New => return,
            Role::Client(client) => match client.heartbeat {
                Some(interval) => (interval, 2 * interval),
                None => return,
            },
            Role::Source(_) | Role::Destination(_) => (self.config.link_timeout / 4, self.config.link_timeout),
        };
        if connection.close.is_some() {
            return;
        }
        if connection.half_open(&self.faults, id) {
            (connection.sent_at, connection.received_at) = (now, now);
        } else if connection.stops_reading(&self.faults, id) {
            // The silence is this side's own.
            connection.received_at = now;
        } else if now >= connection.received_at + silence {
            return self.close(id, Close::Abort, "heartbeat");
        }
        if now >= connection.sent_at + idle {
            // Nothing piles up for a peer that does not take what waits.
            connection.sent_at = now;
            if connection.outbox.is_empty() && !connection.half_open(&self.faults, id) {
                let options = Some("beat").filter(|_| self.config.readings.options_in_heartbeats);
                FrameWriter::new(connection.outbox.tail(), "heartbeat").maybe(Field::Options, options).finish(&[]);
                self.mark(id);
            }
        }
    }

    /// Everything before a flush is processed when it is its turn; persisted
    /// waits until sync peers hold the log as it is now.
    pub(super) fn flush(&mut self, id: ConnId, message: &Message, acks: AckTypes) {
        for kind in [AckType::Processed, AckType::Completed] {
            if acks.contains(kind) {
                self.ack(id, kind, message, AckFrame::default());
            }
        }
        if acks.contains(AckType::Persisted) {
            let command_id = message.text(Field::CommandId).unwrap_or_default().into_owned();
            let position = self.log.len();
            self.want_single(id, Waiting { position, command_id, sequence: None, flush: true });
        }
    }
}
