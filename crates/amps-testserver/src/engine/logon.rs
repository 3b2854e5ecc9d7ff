//! `logon`: who is there (AMPS Command Reference, "logon").

use std::collections::VecDeque;

use amps_core::{AckType, AckTypes, Field, Message};

use super::ack::AckFrame;
use super::client_status::Event;
use super::connection::{Client, Close, Role};
use super::{ConnId, Engine};
use crate::faults::Access;
use crate::interval::parse_interval;
use crate::message_type::MessageType;

/// The longest client name in bytes.
const NAME_MAX: usize = 4 << 10;

impl Engine {
    pub(super) fn logon(&mut self, id: ConnId, message: &Message, acks: AckTypes) {
        if self.connections.get(&id).is_some_and(|connection| connection.client().is_some()) {
            return self.refuse(id, message, acks, "duplicate logon attempt");
        }
        if self.faults.logon_silence {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.silent = true;
            }
            return;
        }
        if let Some(reason) = self.faults.logon_refusal.clone() {
            return self.refuse_logon(id, message, acks, &reason);
        }
        if message.text(Field::MessageType).is_some_and(|name| !self.has_message_type(&name)) {
            return self.refuse_logon(id, message, acks, "message type not found");
        }
        let user = message.text(Field::UserId).unwrap_or_default().into_owned();
        if self.challenge(id, message) {
            return;
        }
        if !self.faults.takes_credentials(&user, &message.text(Field::Password).unwrap_or_default()) {
            return self.refuse_logon(id, message, acks, "auth failure");
        }
        if !self.faults.entitled(&user, Access::Logon, "") {
            return self.refuse_logon(id, message, acks, "not entitled");
        }
        let mut conflation = self.config.ack_conflation;
        for option in message.text(Field::Options).unwrap_or_default().split(',') {
            let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
            match (name.trim(), value.map(str::trim)) {
                ("" | "none", None) => {}
                // Nothing is written in any other way here.
                ("pretty", None | Some("true" | "false")) => {}
                ("ack_conflation", Some(interval)) if parse_interval(interval).is_some() => {
                    conflation = parse_interval(interval).unwrap_or(conflation);
                }
                _ => return self.refuse_logon(id, message, acks, "invalid options"),
            }
        }
        let named = message.text(Field::ClientName).filter(|name| !name.is_empty());
        let name = named.map_or_else(|| self.connection_name(id), std::borrow::Cow::into_owned);
        if name.len() > NAME_MAX {
            return self.refuse_logon(id, message, acks, "invalid client name");
        }
        if !self.claim_name(&name, &user) {
            return self.refuse_logon(id, message, acks, "name in use");
        }
        let publisher = self.publisher_for(&name);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.role = Role::Client(Client {
            name: name.clone(),
            user,
            message_type: message.text(Field::MessageType).unwrap_or_default().into_owned(),
            publisher,
            unsequenced: None,
            conflation,
            wanted: 0,
            acknowledged: 0,
            acks_due: None,
            positions_due: None,
            waiting: VecDeque::new(),
            heartbeat: None,
        });
        self.names.insert(name.clone(), id);
        self.stats.logons += 1;
        if acks.contains(AckType::Processed) {
            // Never more than is safe: the client forgets everything up to here.
            let replicated = self.replicated();
            let sequence = self.log.persisted(publisher, replicated);
            self.promise(replicated);
            let bookmark = format!("{}|{sequence}|", self.log.publisher(publisher).id);
            let version = self.config.version.clone();
            let frame = AckFrame {
                sequence: Some(sequence),
                bookmark: Some(bookmark.as_str()).filter(|_| !self.config.readings.no_bookmark_in_logon),
                client_name: Some(&name),
                reason: Some("authentication disabled"),
                version: Some(&version),
                ..AckFrame::default()
            };
            self.ack(id, AckType::Processed, message, frame);
        }
        self.tell_status(id, "logon", message);
    }

    /// Whether connections may be of this message type. A composite one has a name
    /// of the configuration's choice, which is not told here.
    fn has_message_type(&self, name: &str) -> bool {
        let composite = |(_, of): &(String, MessageType)| {
            matches!(of, MessageType::CompositeLocal(_) | MessageType::CompositeGlobal(_))
        };
        name.is_empty() || MessageType::is_built_in(name) || self.config.message_types.iter().any(composite)
    }

    /// Asks to log on again, as often as the test wants. Whether it did.
    fn challenge(&mut self, id: ConnId, message: &Message) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        let Some((user, password)) = self.faults.challenges.get(connection.challenged).cloned() else { return false };
        connection.challenged += 1;
        self.ack(id, AckType::Processed, message, AckFrame { retry: Some((&user, &password)), ..AckFrame::default() });
        true
    }

    fn refuse_logon(&mut self, id: ConnId, message: &Message, acks: AckTypes, reason: &str) {
        if !self.config.readings.silent_refusal_of_logon {
            self.refuse(id, message, acks, reason);
        }
        let name = message.text(Field::ClientName).unwrap_or_default();
        self.tell_status_of(id, &name, "logon", Event::why(reason));
        self.close(id, Close::Flush, reason);
    }

    /// Makes a name free for a new connection: the same user's old connection
    /// is dropped, another user's stays and the new one is refused. Without a
    /// transaction log names are not enforced (AMPS User Guide, "Client Names").
    fn claim_name(&mut self, name: &str, user: &str) -> bool {
        let Some(holder) = self.names.get(name).copied() else { return true };
        if self.config.topic_log.is_empty() {
            return true;
        }
        let same_user = self.connections.get(&holder).and_then(|c| c.client()).is_none_or(|c| c.user == user);
        if same_user {
            self.close(holder, Close::Abort, "name in use");
        }
        same_user
    }
}
