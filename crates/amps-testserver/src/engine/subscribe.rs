//! `subscribe` and `unsubscribe` (AMPS Command Reference).

use std::borrow::Cow;
use std::collections::HashMap;

use amps_core::message::MessageKind;
use amps_core::{AckType, AckTypes, CommandOptions, Field, Message, StartAt};

use super::ack::AckFrame;
use super::client_status;
use super::conflation::Conflation;
use super::connection::Connection;
use super::delta::Deltas;
use super::interest::Terms;
use super::options::Options;
use super::pace::Pace;
use super::queue::Backlog;
use super::range::{Start, Until};
use super::view::View;
use super::wants::Wants;
use super::{ConnId, Engine};
use crate::faults::{Access, Right};
use crate::filter::Filter;
use crate::log::{Entry, Log};
use crate::topic::TopicPattern;

/// The longest subscription id in bytes, and the subscriptions of one
/// connection: together a message's `sids` always fit its frame.
const SUBSCRIPTION_ID_MAX: usize = 256;
const SUBSCRIPTIONS_MAX: usize = 2_000;

/// Why a delta subscription from a bookmark is refused.
pub(super) const DELTAS_FROM_BOOKMARK: &str = "a delta subscription takes no bookmark";

/// One subscription of a connection.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) command_id: String,
    /// The topic as it was named, and the filter as it was written.
    pub(super) topic: String,
    pub(super) asked: Option<String>,
    pub(super) pattern: TopicPattern,
    /// What messages have to match.
    pub(super) filter: Option<Filter>,
    /// Told about records that stop to match.
    pub(super) oof: bool,
    /// Of updates of records it gets only what changed.
    pub(super) deltas: Option<Deltas>,
    /// Began with a query of the SOW that sent every record that matches.
    pub(super) queried: bool,
    /// What of its messages.
    pub(super) wants: Wants,
    /// Its part in the queues it matches; `None` when there are none.
    pub(super) backlog: Option<Backlog>,
    /// Persisted acks were asked for.
    pub(super) wants_persisted: bool,
    /// Set for a bookmark subscription.
    pub(super) replay: Option<Replay>,
    /// What it conflates.
    pub(super) conflation: Option<Conflation>,
    /// Set for one to a page of records, or to aggregates.
    pub(super) view: Option<View>,
    /// Per topic number: whether the pattern matches, once known.
    known_topics: Vec<Option<bool>>,
    /// Per topic number: what its user may read of it, where that is not all.
    entitled: HashMap<u32, Filter>,
}

/// A bookmark subscription's place in the log. Replay and live delivery are
/// the same thing, following the log, so there is no gap between them.
#[derive(Debug)]
pub(super) struct Replay {
    /// The next position.
    pub(super) cursor: usize,
    /// The log's end when the subscription was entered: reached, it is
    /// completed. Unless there is an end of its own.
    pub(super) target: usize,
    /// Messages processed before that are not for it, in microseconds since the
    /// beginning of 1970.
    pub(super) from: u64,
    pub(super) until: Option<Until>,
    pub(super) completed: bool,
    pub(super) wants_completed: bool,
    /// Only messages all sync peers hold.
    pub(super) fully_durable: bool,
    /// Stays where it is.
    pub(super) paused: bool,
    /// Entered with `live`, which cannot be paused.
    pub(super) live: bool,
    /// How fast it goes until it has caught up, and when its next message is
    /// due if it is too fast, in microseconds since the beginning of 1970.
    pub(super) pace: Option<Pace>,
    pub(super) waits_until: Option<u64>,
    /// Messages still to send, when bounded.
    pub(super) remaining: Option<u64>,
    /// Positions before this are acknowledged as persisted.
    pub(super) acknowledged: usize,
}

impl Replay {
    /// Whether this message has to wait, which it then does.
    pub(super) fn is_too_early(&mut self, entry: &Entry, now: u64) -> bool {
        self.waits_until = None;
        let Some(pace) = self.pace.as_mut().filter(|_| !self.completed) else { return false };
        let due = pace.due(entry.processed);
        if due > now {
            self.waits_until = Some(due);
            return true;
        }
        pace.sent(entry.processed, entry.body.len(), now);
        false
    }

    /// The position it may not go to, when the log ends at `end` and sync peers
    /// hold it before `replicated`.
    pub(super) fn limit(&self, log: &Log, end: usize, replicated: usize, now: u64) -> usize {
        let end = if self.fully_durable { replicated.min(end) } else { end };
        self.until.as_ref().map_or(end, |until| until.limit(log, now).0.min(end))
    }

    /// Whether it has come to an end of its own.
    pub(super) fn is_over(&self, log: &Log, now: u64) -> bool {
        let past = |until: &Until| {
            let (limit, is_final) = until.limit(log, now);
            is_final && self.cursor >= limit
        };
        self.remaining == Some(0) || !self.paused && self.until.as_ref().is_some_and(past)
    }

    /// When its next message is due, if it waits for that.
    pub(super) fn waits_until(&self) -> Option<u64> {
        self.waits_until.filter(|_| !self.completed)
    }
}

impl Subscription {
    /// Whether it gets messages of a topic, by its number. `right` says what its
    /// user may read of one that matches the pattern.
    pub(super) fn matches(&mut self, topic: u32, name: &str, right: impl FnOnce(&str, &TopicPattern) -> Right) -> bool {
        let ix = topic as usize;
        if self.known_topics.len() <= ix {
            self.known_topics.resize(ix + 1, None);
        }
        *self.known_topics[ix].get_or_insert_with(|| {
            if !self.pattern.matches(name) {
                return false;
            }
            let right = right(name, &self.pattern);
            let reads = right != Right::None;
            self.entitled.extend(right.filter().map(|filter| (topic, filter)));
            reads
        })
    }

    /// What messages of a topic that matches have to match.
    pub(super) fn terms(&self, topic: u32) -> Terms<'_> {
        Terms { own: self.filter.as_ref(), entitled: self.entitled.get(&topic) }
    }

    /// Whether it is told about persisted positions.
    pub(super) fn watches_persisted(&self) -> bool {
        let always = self.wants.about.readings.positions_during_replay;
        self.wants_persisted && self.replay.as_ref().is_some_and(|replay| always || replay.completed)
    }
}

/// The bookmark a command starts from, if it has one.
pub(super) fn bookmark(message: &Message) -> Option<Cow<'_, str>> {
    message.text(Field::Bookmark).filter(|bookmark| !bookmark.is_empty())
}

/// Whether a bookmark says that nothing is to be replayed.
pub(super) fn is_now(bookmark: &str) -> bool {
    matches!(bookmark.parse(), Ok(StartAt::Now))
}

impl Engine {
    pub(super) fn subscribe(&mut self, id: ConnId, message: &Message, acks: AckTypes) {
        let Some((options, mut pattern)) = self.checked(id, message, acks) else { return };
        let starts = bookmark(message).is_some();
        if let (true, TopicPattern::Literal(name)) = (starts, &pattern)
            && let Some(underlying) = self.queues.underlying(name)
        {
            // From a bookmark a queue is the topic it is made of.
            pattern = TopicPattern::Literal(underlying.to_owned());
        }
        if options.pause != options.resume && !starts && !options.replace {
            return self.flow(id, message, acks, &options);
        }
        let replay = match self.start_of_replay(id, message, &pattern, &options) {
            Ok(start) => start,
            Err(reason) => return self.refuse(id, message, acks, reason),
        };
        if replay.is_some() && message.kind() == MessageKind::DeltaSubscribe {
            return self.refuse(id, message, acks, DELTAS_FROM_BOOKMARK);
        }
        let bounded = options.top_n.is_some() && replay.is_none();
        // What has an end is not live.
        let ends = replay.as_ref().is_some_and(|start| start.until.is_some());
        let contradicts = options.contradict(replay.is_some()) || ends && options.live;
        let misplaced = self.is_misplaced(&pattern, &options, replay.is_some());
        if contradicts || bounded || misplaced || !self.can_conflate(&pattern, &options) {
            return self.refuse(id, message, acks, "invalid options");
        }
        if let Err(reason) = self.enter(id, message, acks, options, pattern, replay) {
            return self.refuse(id, message, acks, reason);
        }
        if acks.contains(AckType::Stats) && message.kind() == MessageKind::DeltaSubscribe {
            // It has nothing to count; but the documents have the ack.
            let own = message.text(Field::SubscriptionId).filter(|id| !id.is_empty());
            let sub_id = own.or_else(|| message.text(Field::CommandId));
            self.ack(
                id,
                AckType::Stats,
                message,
                AckFrame { subscription_id: sub_id.as_deref(), ..AckFrame::default() },
            );
        }
    }

    /// Whether an option is for other topics: records go out of focus, and only
    /// queues have backlogs.
    pub(super) fn is_misplaced(&self, pattern: &TopicPattern, options: &Options, has_bookmark: bool) -> bool {
        let TopicPattern::Literal(name) = pattern else { return false };
        let no_records = self.sow.iter().all(|sow| sow.topic != *name);
        let no_queue = has_bookmark || !self.queues.is_queue(name);
        options.oof && no_records || options.max_backlog.is_some() && no_queue
    }

    /// Whether it is known which messages are of one record: the topic has a
    /// SOW, or there is a key of its own. Who asks for records that go out of focus
    /// has that of the topic.
    pub(super) fn can_conflate(&self, pattern: &TopicPattern, options: &Options) -> bool {
        let Some(conflation) = &options.conflation else { return true };
        let sow = match pattern {
            TopicPattern::Literal(name) => self.sow.iter().find(|sow| sow.topic == *name),
            _ => return !options.oof || !options.conflation_key,
        };
        match options.conflation_key {
            true => !options.oof || sow.is_some_and(|sow| conflation.is_by(&sow.key)),
            false => sow.is_some(),
        }
    }

    /// What every command with a topic pattern checks first. Answers the
    /// client itself when something is wrong.
    pub(super) fn checked(&mut self, id: ConnId, message: &Message, acks: AckTypes) -> Option<(Options, TopicPattern)> {
        let Some(topic) = message.topic().filter(|topic| !topic.is_empty()) else {
            self.malformed(id, message, acks, format!("{:?} without a topic", message.kind()));
            return None;
        };
        match self.checked_options(id, message, &topic) {
            Ok(checked) => Some(checked),
            Err(reason) => {
                self.refuse(id, message, acks, reason);
                None
            }
        }
    }

    fn checked_options(
        &self,
        id: ConnId,
        message: &Message,
        topic: &str,
    ) -> Result<(Options, TopicPattern), &'static str> {
        let mut options = Options::parse(message).ok_or("invalid options")?;
        let mut pattern = TopicPattern::parse(topic, options.literal).ok_or("bad regex topic")?;
        // Of a pattern each topic is checked when it has something to send.
        let entitled = matches!(pattern, TopicPattern::Regex(_)) || self.may(id, Access::Read, topic);
        // A subscription may move to a topic its user may not read; it gets
        // nothing then (AMPS User Guide, "Replacing Subscriptions").
        let moves = options.replace && self.replaced(id, message).is_some();
        if !entitled && !moves {
            return Err("not entitled");
        }
        if !entitled {
            pattern = TopicPattern::Nothing;
        }
        if let Some(text) = message.text(Field::Filter).filter(|text| !text.is_empty()) {
            options.filter = match Filter::read(&text, self.config.readings) {
                Ok(filter) => Some(filter),
                Err(error) => {
                    tracing::debug!(connection = id.number(), %error, "refused");
                    return Err("bad filter");
                }
            };
        }
        if let TopicPattern::Literal(name) = &pattern {
            // Of the server's own topics there is this one (AMPS User Guide, "Event
            // Topics"), not for every message type.
            let opaque = self.connections.get(&id).is_some_and(Connection::is_opaque);
            let own = name.starts_with("/AMPS/") && (name != client_status::TOPIC || opaque);
            if own || !self.sees(id, name) {
                return Err("invalid topic");
            }
        }
        // Such a subscription is told when a record stops to match, which time
        // alone cannot do (AMPS User Guide, "AMPS Functions").
        let follows = options.oof || options.skip_n.is_some() || options.projection.is_some();
        if follows && options.filter.as_ref().is_some_and(|filter| !filter.is_deterministic()) {
            return Err("bad filter");
        }
        Ok((options, pattern))
    }

    /// The subscription a command with the option `replace` is for.
    pub(super) fn replaced(&self, id: ConnId, message: &Message) -> Option<&Subscription> {
        let sub_id = message.text(Field::SubscriptionId)?;
        self.connections.get(&id)?.subscriptions.iter().find(|subscription| subscription.id == sub_id)
    }

    /// Enters a subscription and answers its processed ack.
    pub(super) fn enter(
        &mut self,
        id: ConnId,
        message: &Message,
        acks: AckTypes,
        options: Options,
        pattern: TopicPattern,
        start: Option<Start>,
    ) -> Result<(), &'static str> {
        let command_id = message.text(Field::CommandId).unwrap_or_default().into_owned();
        let own = message.text(Field::SubscriptionId).map(|id| id.into_owned()).filter(|id| !id.is_empty());
        let sub_id = own.unwrap_or_else(|| command_id.clone());
        if sub_id.is_empty() || sub_id.contains(',') || sub_id.len() > SUBSCRIPTION_ID_MAX {
            return Err("invalid sub id");
        }
        let target = self.log.len();
        let granted = self.queues.granted(&pattern, options.max_backlog).filter(|_| start.is_none());
        if granted.is_some() && options.conflation.is_some() {
            // Each message of a queue is for somebody.
            return Err("invalid options");
        }
        let replaces = options.replace || self.config.readings.reused_id_replaces;
        if replaces {
            self.release_all(id, &sub_id);
        }
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let replaced = connection.subscriptions.iter().find(|subscription| subscription.id == sub_id);
        // The leases of one that is replaced stay.
        let (leased, served) = replaced.and_then(|s| s.backlog).map_or((0, 0), |old| (old.leased, old.served));
        if replaces {
            connection.subscriptions.retain(|subscription| subscription.id != sub_id);
        } else if connection.subscriptions.iter().any(|subscription| subscription.id == sub_id) {
            return Err("subid in use");
        }
        if connection.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err("too many subscriptions");
        }
        let (deltas, wants) = (options.deltas(message.kind()), options.wants(&self.about));
        connection.subscriptions.push(Subscription {
            id: sub_id.clone(),
            command_id,
            topic: message.topic().unwrap_or_default().into_owned(),
            asked: message.text(Field::Filter).map(|filter| filter.into_owned()),
            pattern,
            filter: options.filter,
            oof: options.oof,
            deltas,
            queried: options.queried,
            wants: Wants { bookmark: options.bookmark || start.is_some(), ..wants },
            backlog: granted.map(|most| Backlog { most, leased, served }),
            wants_persisted: acks.contains(AckType::Persisted),
            replay: start.map(|Start { cursor, from, until }| Replay {
                cursor,
                target,
                from,
                until,
                completed: false,
                wants_completed: acks.contains(AckType::Completed),
                fully_durable: options.fully_durable,
                paused: options.pause,
                live: options.live,
                pace: options.pace,
                waits_until: None,
                remaining: options.top_n,
                acknowledged: 0,
            }),
            conflation: options.conflation,
            view: options.view,
            known_topics: Vec::new(),
            entitled: HashMap::new(),
        });
        self.topics.subscriptions_changed();
        if acks.contains(AckType::Processed) {
            let query = message.text(Field::QueryId);
            let query_id = query.as_deref();
            let given = message.text(Field::Options).filter(|_| self.config.readings.all_options_in_ack);
            let given = CommandOptions::from(given.unwrap_or_default().as_ref());
            let granted = granted.map(|most| given.max_backlog(most).to_string());
            let options = granted.as_deref();
            let subscription_id = Some(sub_id.as_str()).filter(|_| !self.config.readings.no_sub_id_in_processed);
            let frame = AckFrame { subscription_id, query_id, options, ..AckFrame::default() };
            self.ack(id, AckType::Processed, message, frame);
        }
        self.mark(id);
        self.tell_status(id, message.raw(Field::Command).unwrap_or_default(), message);
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, id: ConnId, message: &Message, acks: AckTypes) {
        let subscriptions = message.text(Field::SubscriptionId);
        let queries = message.text(Field::QueryId);
        let names_nothing = subscriptions.is_none() && queries.is_none();
        if names_nothing && !self.config.readings.unsubscribe_ends_all {
            return self.refuse(id, message, acks, "invalid sub id");
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let named = |sub_id: &str| sub_id == "all" || connection.subscriptions.iter().any(|own| own.id == sub_id);
        let mut ids = subscriptions.iter().flat_map(|ids| ids.split(',')).map(str::trim);
        if self.config.readings.unknown_unsubscribe_fails && !ids.all(named) {
            return self.refuse(id, message, acks, "invalid sub id");
        }
        let ids: Vec<_> = subscriptions.iter().flat_map(|ids| ids.split(',')).map(str::trim).collect();
        let ends = |own: &Subscription| names_nothing || ids.contains(&"all") || ids.contains(&own.id.as_str());
        let ended: Vec<_> = connection.subscriptions.extract_if(.., |own| ends(own)).collect();
        for query_id in queries.iter().flat_map(|ids| ids.split(',')).map(str::trim) {
            connection.outbox.cancel_query(query_id);
        }
        self.topics.subscriptions_changed();
        if acks.contains(AckType::Processed) {
            self.ack(id, AckType::Processed, message, AckFrame::default());
        }
        ended.iter().for_each(|subscription| self.tell_status(id, "unsubscribe", subscription));
    }
}
