//! `publish`, `delta_publish` and `sow_delete`: the sequence rule, the log, and
//! live delivery.

use std::borrow::Cow;
use std::sync::Arc;

use amps_core::frame::MAX_FRAME_LEN;
use amps_core::message::MessageKind;
use amps_core::{AckType, AckTypes, Bookmark, Field, Message, planted};

use super::ack::AckFrame;
use super::connection::{Close, Connection, Waiting};
use super::options::{has_options, is_no_number};
use super::sow_delete::Deleted;
use super::{ConnId, Engine};
use crate::faults::Access;
use crate::filter::Subject;
use crate::identity::unsequenced_publisher_id;
use crate::journal::{JournalMessage, Record};
use crate::log::{Entry, PublisherIx};

/// The longest topic in bytes.
const TOPIC_MAX: usize = 64 << 10;

/// Room a frame keeps for the header of the message it delivers.
const HEADER_MAX: usize = 1 << 20;

/// What became of a write.
pub(super) enum Outcome {
    Logged,
    /// On a topic that is not logged.
    Unlogged,
    /// At or below the highest sequence seen: dropped.
    Duplicate,
    Failed(Cow<'static, str>),
}

impl Engine {
    pub(super) fn publish(&mut self, id: ConnId, message: &Message, acks: AckTypes) {
        let Some(topic) = message.topic().filter(|topic| !topic.is_empty()) else {
            return self.malformed(id, message, acks, format!("{:?} without a topic", message.kind()));
        };
        let sequence = message.sequence().filter(|sequence| *sequence > 0);
        if sequence.is_none() && message.raw(Field::Sequence).is_some() {
            let what = format!("{:?} with a sequence that is no positive number", message.kind());
            return self.malformed(id, message, acks, what);
        }
        self.stats.publishes += 1;
        let mut deleted = Deleted::default();
        let outcome = self.store(id, message, &topic, sequence, &mut deleted);
        let failure = if let Outcome::Failed(reason) = &outcome { Some(reason.as_ref()) } else { None };
        let query = message.text(Field::QueryId).filter(|_| message.kind() == MessageKind::SowDelete);
        let query_id = query.as_deref();
        let frame = match failure {
            Some(reason) => AckFrame { sequence, query_id, ..AckFrame::failure(reason) },
            None => AckFrame { sequence, query_id, ..AckFrame::default() },
        };
        if acks.contains(AckType::Processed) {
            self.ack(id, AckType::Processed, message, frame);
        }
        if acks.contains(AckType::Completed) && failure.is_none() {
            self.ack(id, AckType::Completed, message, frame);
        }
        // A failure is told once.
        let told = failure.is_some() && (acks.contains(AckType::Processed) || acks.contains(AckType::Persisted));
        if acks.contains(AckType::Stats) && message.kind() == MessageKind::SowDelete && !told {
            let deleted = Some(deleted).filter(|_| failure.is_none());
            self.ack(id, AckType::Stats, message, AckFrame { deleted, ..frame });
        }
        if message.kind() == MessageKind::SowDelete && failure.is_none() {
            self.tell_status(id, "sow_delete", message);
        }
        let told = failure.is_some() && acks.contains(AckType::Processed) && self.config.readings.failure_told_once;
        if acks.contains(AckType::Persisted) && !told {
            self.publish_persisted(id, message, sequence, &outcome);
        }
        self.cut_by_publishes(id);
    }

    /// Sees to the persisted ack: conflated when there is a transaction log
    /// and the publisher counts its messages, a single one otherwise.
    fn publish_persisted(&mut self, id: ConnId, message: &Message, sequence: Option<u64>, outcome: &Outcome) {
        let conflated = sequence.filter(|_| !self.config.topic_log.is_empty());
        let failed = match outcome {
            Outcome::Failed(reason) => Some(reason.as_ref()),
            Outcome::Duplicate if self.config.readings.duplicates_fail => Some("duplicate"),
            _ => None,
        };
        match (conflated, failed, outcome) {
            (Some(sequence), Some(reason), _) => self.fail_persisted(id, sequence, reason),
            (Some(sequence), None, Outcome::Duplicate) if self.config.readings.duplicates_succeed => {
                self.want_persisted(id, sequence);
                self.repeat_persisted(id, message, sequence);
            }
            (Some(sequence), None, _) => self.want_persisted(id, sequence),
            (None, Some(reason), _) => {
                self.ack(id, AckType::Persisted, message, AckFrame { sequence, ..AckFrame::failure(reason) });
            }
            (None, None, outcome) => {
                let position = if matches!(outcome, Outcome::Logged) { self.log.len() } else { 0 };
                let command_id = message.text(Field::CommandId).unwrap_or_default().into_owned();
                self.want_single(id, Waiting { position, command_id, sequence, flush: false });
            }
        }
    }

    fn store(
        &mut self,
        id: ConnId,
        message: &Message,
        topic: &str,
        sequence: Option<u64>,
        deleted: &mut Deleted,
    ) -> Outcome {
        let Some(client) = self.connections.get(&id).and_then(Connection::client) else {
            return Outcome::Failed("not logged on".into());
        };
        let own = client.publisher;
        if let Some(sequence) = sequence
            && sequence <= self.log.publisher(own).seen()
            && !planted::is("server-keeps-duplicates")
        {
            let name = self.log.publisher(own).name.clone();
            self.stats.duplicate(&name);
            return Outcome::Duplicate;
        }
        let publishes = message.kind() != MessageKind::SowDelete;
        if publishes && (has_options(message) || is_no_number(message, Field::Expiration)) {
            return Outcome::Failed("invalid options".into());
        }
        if topic == "/AMPS/devnull" {
            self.log.publisher_mut(own).note_unlogged(sequence.unwrap_or(0));
            return Outcome::Unlogged;
        }
        // The server's own topics.
        if topic.len() > TOPIC_MAX || topic.starts_with("/AMPS/") {
            return Outcome::Failed("invalid topic".into());
        }
        if publishes && !self.sees(id, topic) {
            return Outcome::Failed("the topic is of another message type".into());
        }
        let body = message.data_bytes();
        if body.len() > MAX_FRAME_LEN - HEADER_MAX {
            return Outcome::Failed("message too large".into());
        }
        if message.kind() == MessageKind::SowDelete
            && let Some(outcome) = self.acknowledge(id, message, topic, deleted)
        {
            self.log.publisher_mut(own).note_unlogged(sequence.unwrap_or(0));
            return outcome;
        }
        // What a deletion names may be a pattern: that is checked there.
        if publishes && !self.may(id, Access::Write, topic) {
            return Outcome::Failed("not entitled".into());
        }
        if let Some(reason) = self.faults.rejects(topic, sequence, &body) {
            return Outcome::Failed(reason.into());
        }
        if message.kind() == MessageKind::SowDelete {
            return self.sow_delete(id, message, topic, sequence, deleted);
        }
        let (name, target) = (topic, self.queues.underlying(topic).unwrap_or(topic).to_owned());
        let topic = self.topic(&target);
        let (logged, sow) = (self.topics.get(topic).logged, self.topics.get(topic).sow);
        let given_key = self.given_key(topic, message);
        let sow_key = self.sow_key(topic, given_key.as_deref(), &body);
        if sow.is_some() && sow_key.is_none() {
            return Outcome::Failed("bad sow key".into());
        }
        let mut body = body;
        let mut correlation_id = message.text(Field::CorrelationId).map(|id| id.as_ref().into());
        if message.kind() == MessageKind::DeltaPublish
            && !planted::is("delta-taken-as-whole")
            && let (Some(sow), Some(key)) = (sow, sow_key)
            && let Some((whole, its_id)) = self.sow[sow].merged(key, &body)
        {
            body = whole;
            correlation_id = correlation_id.or(its_id);
        }
        let content = self.content(id, Access::Write, name);
        let client_name = &self.log.publisher(own).name;
        if content.is_some_and(|filter| !filter.accepts(&Subject::new(&self.about, name, &body).by(client_name))) {
            return Outcome::Failed("not entitled".into());
        }
        if logged && self.log.bytes() + body.len() > self.config.log_limit {
            return Outcome::Failed("transaction log full".into());
        }
        let entry = Entry {
            publisher: own,
            topic,
            sequence: sequence.unwrap_or(0),
            direct: true,
            origin: None,
            processed: self.processed_now(),
            sow_key,
            given_key,
            expiration: message.number(Field::Expiration).filter(|_| sow.is_some()),
            deletes: None,
            correlation_id,
            body,
        };
        self.take(id, entry, logged)
    }

    /// The key a message brings with it, on a topic where it counts.
    pub(super) fn given_key(&self, topic: u32, message: &Message) -> Option<Arc<str>> {
        let sow = self.topics.get(topic).sow?;
        let given = self.sow[sow].config.key.is_none();
        message.text(Field::SowKey).filter(|_| given).map(|key| key.as_ref().into())
    }

    pub(super) fn topic_of_sow(&mut self, sow: usize) -> u32 {
        let name = self.sow[sow].topic.clone();
        self.topic(&name)
    }

    /// Takes what a client of this instance wrote; numbered by the client, or
    /// not (0).
    pub(super) fn take(&mut self, id: ConnId, mut entry: Entry, logged: bool) -> Outcome {
        if !logged {
            self.log.publisher_mut(entry.publisher).note_unlogged(entry.sequence);
            self.apply(&entry, None);
            return Outcome::Unlogged;
        }
        if entry.sequence == 0 {
            (entry.publisher, entry.sequence) = self.assign_sequence(id, entry.publisher);
        }
        self.append(entry);
        Outcome::Logged
    }

    /// A logged message without a sequence belongs to another publisher, and
    /// this instance numbers it (AMPS User Guide, "Message Sequence Numbers").
    fn assign_sequence(&mut self, id: ConnId, own: PublisherIx) -> (PublisherIx, u64) {
        let client = self.connections.get(&id).and_then(Connection::client);
        let publisher = client.and_then(|client| client.unsequenced).unwrap_or_else(|| {
            let name = self.log.publisher(own).name.clone();
            self.log.intern(unsequenced_publisher_id(&name, &self.config.name), &name)
        });
        if let Some(client) = self.connections.get_mut(&id).and_then(Connection::client_mut) {
            client.unsequenced = Some(publisher);
        }
        let highest = self.log.publisher(publisher).highest();
        (publisher, highest.max(self.config.incarnation) + 1)
    }

    /// Appends to the log, the journal and the SOW, and delivers to plain
    /// subscriptions. Bookmark subscriptions and peers follow the log by
    /// themselves.
    pub(super) fn append(&mut self, entry: Entry) {
        let publisher = self.log.publisher(entry.publisher);
        self.journal.append(&Record::Message(JournalMessage {
            publisher: publisher.id,
            sequence: entry.sequence,
            client_name: publisher.name.to_string(),
            topic: self.topics.get(entry.topic).name.to_string(),
            correlation_id: entry.correlation_id.as_deref().map(str::to_owned),
            direct: entry.direct,
            origin: entry.origin.as_deref().map(str::to_owned),
            processed: Some(entry.processed),
            sow_key: entry.given_key.as_deref().map(str::to_owned),
            expiration: entry.expiration,
            deletes: entry.deletes.as_deref().map(<[u64]>::to_vec),
            body: entry.body.clone(),
        }));
        let bookmark = Bookmark { publisher: publisher.id, sequence: entry.sequence };
        self.uncommitted = true;
        self.apply(&entry, Some(bookmark));
        let position = self.log.push(entry);
        self.enqueue(position);
    }

    /// Changes the SOW, and delivers what was published, or what was deleted, to
    /// plain subscriptions.
    fn apply(&mut self, entry: &Entry, bookmark: Option<Bookmark>) {
        let Some(keys) = &entry.deletes else {
            let before = self.keep(entry);
            return self.deliver_live(entry, bookmark, before.as_ref());
        };
        for (sow, record) in self.delete(keys) {
            let topic = self.topic_of_sow(sow);
            self.deliver_deleted(topic, &record, "deleted");
        }
    }

    fn cut_by_publishes(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.publishes += 1;
        if self.faults.cut_every.is_some_and(|every| connection.publishes.is_multiple_of(every)) {
            self.close(id, Close::Abort, "cut by a fault after messages");
        }
    }
}
