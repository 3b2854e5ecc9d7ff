//! `sow`, `sow_and_subscribe` and `sow_and_delta_subscribe` (AMPS Command
//! Reference).

use std::collections::VecDeque;

use amps_core::header::FrameWriter;
use amps_core::message::MessageKind;
use amps_core::{AckType, AckTypes, Field, Message};

use super::ack::AckFrame;
use super::content::{Stored, write_out_of_focus};
use super::interest::Terms;
use super::options::Options;
use super::outbox::Query;
use super::range::Start;
use super::subscribe::{DELTAS_FROM_BOOKMARK, Subscription, bookmark};
use super::topics::Recipients;
use super::wants::Wants;
use super::{ConnId, Engine};
use crate::faults::{Access, Right};
use crate::filter::{Filter, Order, Subject};
use crate::sow::{SowRecord, SowTopic};
use crate::topic::TopicPattern;

/// The largest batch a client may ask for.
const BATCH_SIZE_MAX: u64 = 10_000;

/// What a query found.
#[derive(Debug, Default)]
struct Found {
    /// Records in the topics it named.
    compared: u64,
    /// Records that match.
    matched: u64,
    /// Those of them that are sent, with their topics.
    records: VecDeque<(String, SowRecord)>,
    /// Records that matched the replaced subscription and do not match any more.
    left: Vec<(String, SowRecord)>,
}

impl Engine {
    pub(super) fn query(&mut self, id: ConnId, message: &Message, acks: AckTypes) {
        let Some((options, pattern)) = self.checked(id, message, acks) else { return };
        if options.pause != options.resume && bookmark(message).is_none() && !options.replace {
            return self.flow(id, message, acks, &options);
        }
        let batch_size = message.number(Field::BatchSize).unwrap_or(1);
        if !(1..=BATCH_SIZE_MAX).contains(&batch_size) {
            return self.refuse(id, message, acks, "invalid options");
        }
        let order = message.text(Field::OrderBy).filter(|order| !order.is_empty());
        let Ok(order) = order.as_deref().map(str::parse::<Order>).transpose() else {
            return self.refuse(id, message, acks, "invalid orderby");
        };
        let subscribes = message.kind() != MessageKind::Sow;
        let has_bookmark = bookmark(message).is_some();
        let mut options = options;
        let view = match options.view_of(&pattern, order.as_ref(), subscribes, has_bookmark, &self.about) {
            Ok(view) => view,
            Err(reason) => return self.refuse(id, message, acks, reason),
        };
        let earlier_view = self.replaced(id, message).filter(|_| options.replace).and_then(|s| s.view.clone());
        if !self.may_replace_view(id, message, &options, view.as_ref()) || !self.can_conflate(&pattern, &options) {
            return self.refuse(id, message, acks, "invalid options");
        }
        let queue = self.queues.matched(&pattern);
        let records = queue || self.sow.iter().any(|sow| pattern.matches(&sow.topic));
        if !records && (!subscribes || view.is_some()) {
            return self.refuse(id, message, acks, "invalid topic");
        }
        if subscribes && !queue && self.is_misplaced(&pattern, &options, has_bookmark) {
            return self.refuse(id, message, acks, "invalid options");
        }
        if subscribes && queue {
            return self.refuse(id, message, acks, "a queue is queried or subscribed to, not both");
        }
        let then = match self.then(message, &pattern) {
            Ok(then) => then,
            Err(reason) => return self.refuse(id, message, acks, reason),
        };
        let keys = message.text(Field::SowKeys);
        let earlier = self.requeried(id, message, &options).filter(|_| view.is_none());
        let state = self.state_at(then);
        let mut found = self.search(id, &state, &pattern, options.filter.as_ref(), keys.as_deref(), earlier);
        if queue {
            let (waiting, browsed) = self.browse_queues(id, &pattern, options.filter.as_ref());
            found.compared += waiting;
            found.matched += browsed.len() as u64;
            found.records.extend(browsed);
        }
        let Found { compared, matched, mut records, mut left } = found;
        if let Some(projection) = &options.projection {
            records = projection.of_records(&self.about, records);
        }
        if let Some(order) = &order {
            self.sort(&mut records, order);
        }
        let skipped = options.skip_n.map_or(0, |skip_n| records.len().min(skip_n as usize));
        records.drain(..skipped);
        records.truncate(options.top_n.map_or(usize::MAX, |top_n| top_n as usize));
        if let Some(mut view) = view {
            view.shown = records.iter().map(|(_, record)| (record.key, Stored::from(record))).collect();
            if let Some(earlier) = earlier_view {
                left.extend(self.left_view(id, &options, &view, &earlier));
                records.retain(|(_, record)| !earlier.shown.contains_key(&record.key));
            }
            options.view = Some(view);
        }
        let returned = records.len();

        let own = message.text(Field::QueryId).filter(|id| !id.is_empty());
        let query_id = own.or_else(|| message.text(Field::CommandId)).unwrap_or_default().into_owned();
        if subscribes {
            // The query's bound is not one of the subscription behind it.
            let queried = keys.is_none() && options.top_n.is_none();
            let options = Options { top_n: None, queried: queried && options.view.is_none(), ..options };
            let (oof, wants) = (options.oof, options.wants(&self.about));
            let start = then.map(|then| Start::at(then.position));
            if start.is_some() && message.kind() == MessageKind::SowAndDeltaSubscribe {
                return self.refuse(id, message, acks, DELTAS_FROM_BOOKMARK);
            }
            if options.contradict(start.is_some()) {
                return self.refuse(id, message, acks, "invalid options");
            }
            if let Err(reason) = self.enter(id, message, acks, options, pattern, start) {
                return self.refuse(id, message, acks, reason);
            }
            if oof && then.is_none() {
                self.tell_left(id, message, &wants, &left);
            }
            self.send_records(id, &query_id, records, batch_size as usize, wants);
        } else {
            if acks.contains(AckType::Processed) {
                let frame = AckFrame { query_id: Some(&query_id), ..AckFrame::default() };
                self.ack(id, AckType::Processed, message, frame);
            }
            self.send_records(id, &query_id, records, batch_size as usize, options.wants(&self.about));
        }
        let counts = (compared, matched, returned as u64);
        self.finish_query(id, message, acks, &query_id, counts);
    }

    /// The subscription a query with the option `replace` is entered again for:
    /// what that one had is not sent twice (AMPS User Guide, "Replacing
    /// Subscriptions").
    fn requeried(&self, id: ConnId, message: &Message, options: &Options) -> Option<&Subscription> {
        let again = options.replace && message.kind() != MessageKind::Sow;
        self.replaced(id, message).filter(|subscription| again && subscription.queried)
    }

    /// The records that match, without those an earlier subscription had.
    fn search(
        &self,
        id: ConnId,
        state: &[SowTopic],
        pattern: &TopicPattern,
        own: Option<&Filter>,
        keys: Option<&str>,
        earlier: Option<&Subscription>,
    ) -> Found {
        let mut found = Found::default();
        for sow in state {
            let keys = keys.map(|keys| keys.split(',').filter_map(|key| sow.key_named(key.trim())).collect::<Vec<_>>());
            let keys = keys.as_deref();
            let (searched, had) = (pattern.matches(&sow.topic), earlier.filter(|old| old.pattern.matches(&sow.topic)));
            if !searched && had.is_none() {
                continue;
            }
            // What was had was checked by the pattern it was had by.
            let by = if searched { pattern } else { earlier.map_or(pattern, |old| &old.pattern) };
            let right = self.right(id, Access::Read, &sow.topic, by);
            if right == Right::None {
                continue;
            }
            let content = right.filter();
            let entitled = content.as_ref();
            found.compared += if searched { sow.len() as u64 } else { 0 };
            // What was had may lie outside of the keys that are asked for now.
            for record in sow.select(keys.filter(|_| had.is_none())) {
                let subject = Subject::record(&self.about, &sow.topic, &record);
                let wanted = searched && (had.is_none() || keys.is_none_or(|keys| keys.contains(&record.key)));
                let matches = wanted && Terms { own, entitled }.accept(&subject);
                let matched = had.is_some_and(|old| Terms { own: old.filter.as_ref(), entitled }.accept(&subject));
                found.matched += u64::from(matches);
                match (matches, matched) {
                    (true, false) => found.records.push_back((sow.topic.clone(), record)),
                    (false, true) => found.left.push((sow.topic.clone(), record)),
                    _ => {}
                }
            }
        }
        found
    }

    /// Tells a replaced subscription about the records it had and has no more.
    fn tell_left(&mut self, id: ConnId, message: &Message, wants: &Wants, left: &[(String, SowRecord)]) {
        let mut to = Recipients::default();
        to.add(&message.text(Field::SubscriptionId).unwrap_or_default(), wants);
        let now = self.processed_now();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for (topic, record) in left {
            write_out_of_focus(connection.outbox.tail(), topic, &to, "match", record.into(), now);
        }
        self.mark(id);
        self.limit_outbox(id);
    }

    /// The group markers stand around the records even when there are none.
    fn send_records(
        &mut self,
        id: ConnId,
        query_id: &str,
        records: VecDeque<(String, SowRecord)>,
        batch_size: usize,
        wants: Wants,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        FrameWriter::new(connection.outbox.tail(), "group_begin").text(Field::QueryId, query_id).finish(&[]);
        connection.outbox.query(Query { id: query_id.to_owned(), records, batch_size, wants });
        FrameWriter::new(connection.outbox.tail(), "group_end").text(Field::QueryId, query_id).finish(&[]);
        self.mark(id);
    }

    fn finish_query(&mut self, id: ConnId, message: &Message, acks: AckTypes, query_id: &str, counts: (u64, u64, u64)) {
        let own = message.text(Field::SubscriptionId).filter(|id| !id.is_empty());
        let subscribes = message.kind() != MessageKind::Sow;
        let sub_id = own.or_else(|| message.text(Field::CommandId)).filter(|_| subscribes);
        let frame = AckFrame { query_id: Some(query_id), subscription_id: sub_id.as_deref(), ..AckFrame::default() };
        let stats = AckFrame { counts: Some(counts), ..frame };
        let first = self.config.readings.stats_before_completed;
        if acks.contains(AckType::Stats) && first {
            self.ack(id, AckType::Stats, message, stats);
        }
        // A bookmark subscription completes when its replay has.
        let replays = message.kind() != MessageKind::Sow && bookmark(message).is_some();
        if acks.contains(AckType::Completed) && !replays {
            self.ack(id, AckType::Completed, message, frame);
        }
        if acks.contains(AckType::Stats) && !first {
            self.ack(id, AckType::Stats, message, stats);
        }
        if message.kind() == MessageKind::Sow {
            self.tell_status(id, "sow", message);
        }
    }
}
