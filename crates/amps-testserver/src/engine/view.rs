//! Subscriptions to a view of a SOW topic that is made anew with every change: a
//! page of its records in order, or aggregates of them (AMPS User Guide,
//! "Managing Result Sets" and "Aggregated Subscriptions").
//!
//! What is in the view and was not, or is there with another body, is published;
//! what was in it and is not any more is out of focus.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use amps_core::{Bookmark, Message};

use super::content::{Content, Stored, write_message, write_out_of_focus};
use super::delta::Update;
use super::interest::Terms;
use super::options::Options;
use super::topics::Recipients;
use super::{ConnId, Engine};
use crate::faults::Access;
use crate::filter::{Filter, Order, Projection, Subject, Surroundings};
use crate::identity::fnv1a;
use crate::sow::SowRecord;
use crate::topic::TopicPattern;

/// The view of a subscription.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) topic: String,
    pub(super) projection: Option<Arc<Projection>>,
    pub(super) order: Option<Arc<Order>>,
    /// The records that are left out in front, and how many there are behind
    /// them at most; `None` without a page.
    pub(super) page: Option<(usize, usize)>,
    /// What the subscriber has, by key.
    pub(super) shown: BTreeMap<u64, Stored>,
}

/// What changed about the records of a topic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changed {
    pub(super) key: Option<u64>,
    /// Why the record is gone, if it is.
    pub(super) gone: Option<&'static str>,
    pub(super) bookmark: Option<Bookmark>,
    /// In microseconds since the beginning of 1970.
    pub(super) processed: u64,
}

impl Projection {
    /// The aggregates of these records, as records.
    pub(super) fn of_records(
        &self,
        about: &Arc<Surroundings>,
        mut records: VecDeque<(String, SowRecord)>,
    ) -> VecDeque<(String, SowRecord)> {
        let Some(topic) = records.front().map(|(topic, _)| topic.clone()) else { return records };
        let processed = records.iter().map(|(_, record)| record.processed).max().unwrap_or_default();
        records.make_contiguous().sort_by_key(|(_, record)| record.number);
        let messages = records.iter().map(|(topic, record)| Subject::record(about, topic, record));
        let groups = self.groups(messages, about.message_type(&topic)).into_iter().map(|(key, body)| {
            let (key, body, client) = (fnv1a(&key), body.into(), "".into());
            let (given_key, correlation_id, number, expires) = (None, None, 0, None);
            (topic.clone(), SowRecord { key, given_key, client, correlation_id, processed, number, expires, body })
        });
        groups.collect()
    }
}

impl Options {
    /// The view a query or a subscription with these is to; `None` when it is to
    /// the records as they are, or does not follow them.
    ///
    /// # Errors
    /// There is no such view.
    pub(super) fn view_of(
        &self,
        pattern: &TopicPattern,
        order: Option<&Order>,
        subscribes: bool,
        has_bookmark: bool,
        about: &Surroundings,
    ) -> Result<Option<View>, &'static str> {
        let aggregates = self.projection.is_some();
        if self.skip_n.is_none() && !aggregates {
            return Ok(None);
        }
        let TopicPattern::Literal(topic) = pattern else { return Err("invalid options") };
        if self.projection.as_ref().is_some_and(|projection| !projection.fits(about.message_type(topic))) {
            return Err("the topic's message type has no such aggregates");
        }
        // A page needs its length, and one that is not followed an order.
        let no_page = self.skip_n.is_some() && (self.top_n.is_none() || !subscribes && order.is_none());
        let selects = aggregates && (self.select.is_some() || subscribes && has_bookmark);
        if no_page || selects || subscribes && (has_bookmark || self.conflation.is_some()) {
            return Err("invalid options");
        }
        let page = self.skip_n.map(|skip_n| (skip_n as usize, self.top_n.unwrap_or(u64::MAX) as usize));
        let (projection, order) = (self.projection.clone(), order.cloned().map(Arc::new));
        let view = View { topic: topic.clone(), projection, order, page, shown: BTreeMap::new() };
        Ok(Some(view).filter(|_| subscribes))
    }
}

impl Engine {
    /// A subscription to a page repeats that when it is replaced, and stays with
    /// its topic; of one to aggregates nothing but the page changes (AMPS User
    /// Guide, "Replacing Subscriptions").
    pub(super) fn may_replace_view(
        &self,
        id: ConnId,
        message: &Message,
        options: &Options,
        view: Option<&View>,
    ) -> bool {
        let Some(replaced) = self.replaced(id, message).filter(|_| options.replace) else { return true };
        match (&replaced.view, view) {
            (None, None) => true,
            (Some(old), Some(new)) if old.projection.is_some() || new.projection.is_some() => {
                old.topic == new.topic && old.projection == new.projection && replaced.filter == options.filter
            }
            (Some(old), Some(new)) => old.topic == new.topic && old.page.is_some() == new.page.is_some(),
            _ => false,
        }
    }

    /// Records of a view that was replaced which are not in the new one.
    pub(super) fn left_view(
        &self,
        id: ConnId,
        options: &Options,
        view: &View,
        earlier: &View,
    ) -> Vec<(String, SowRecord)> {
        let all = View { projection: view.projection.clone(), order: None, ..earlier.clone() };
        let all = self.viewed(id, &all, options.filter.as_ref());
        let sow = self.sow.iter().find(|sow| sow.topic == view.topic);
        let gone = earlier.shown.keys().filter(|key| !view.shown.contains_key(key));
        gone.filter_map(|key| {
            let row = all.iter().find(|(_, record)| record.key == *key).cloned();
            row.or_else(|| {
                let record = sow.filter(|_| view.projection.is_none())?.select(Some(&[*key])).pop()?;
                Some((view.topic.clone(), record))
            })
        })
        .collect()
    }

    /// Puts records in order. Without one they come by their keys.
    pub(super) fn sort(&self, records: &mut VecDeque<(String, SowRecord)>, order: &Order) {
        let place = |(topic, record): &(String, SowRecord)| order.place(&Subject::record(&self.about, topic, record));
        let mut placed: Vec<_> = records.drain(..).map(|record| (place(&record), record)).collect();
        placed.sort_by(|(left, _), (right, _)| left.compare(right));
        records.extend(placed.into_iter().map(|(_, record)| record));
    }

    /// All records that could be in a view, in order.
    fn viewed(&self, id: ConnId, view: &View, own: Option<&Filter>) -> VecDeque<(String, SowRecord)> {
        let content = self.content(id, Access::Read, &view.topic);
        let terms = Terms { own, entitled: content.as_ref() };
        let sow = self.sow.iter().find(|sow| sow.topic == view.topic);
        let records = sow.map(|sow| sow.select(None)).unwrap_or_default().into_iter();
        let accepted = records.filter(|record| terms.accept(&Subject::record(&self.about, &view.topic, record)));
        let mut records: VecDeque<_> = accepted.map(|record| (view.topic.clone(), record)).collect();
        if let Some(projection) = &view.projection {
            records = projection.of_records(&self.about, records);
        }
        if let Some(order) = &view.order {
            self.sort(&mut records, order);
        }
        records
    }

    /// The records of a topic changed: tells a subscription with a view of them.
    pub(super) fn update_view(&mut self, id: ConnId, sub_id: &str, changed: Changed) {
        let subscriptions = self.connections.get(&id).map(|connection| &connection.subscriptions);
        let Some(subscription) = subscriptions.and_then(|list| list.iter().find(|s| s.id == sub_id)) else { return };
        let (Some(view), oof) = (subscription.view.as_ref(), subscription.oof) else { return };
        let (deltas, is_plain) = (subscription.deltas, view.projection.is_none());
        let mut to = Recipients::default();
        to.add(sub_id, &subscription.wants);
        let all = self.viewed(id, view, subscription.filter.as_ref());
        let (skip, top) = view.page.unwrap_or((0, usize::MAX));
        let now: BTreeMap<u64, (usize, Stored)> = all
            .iter()
            .skip(skip)
            .take(top)
            .enumerate()
            .map(|(at, (_, record))| (record.key, (at, Stored::from(record))))
            .collect();
        let sow = self.sow.iter().find(|sow| sow.topic == view.topic);
        let key_paths: Arc<str> = match &view.projection {
            Some(projection) => projection.key_paths().into(),
            None => sow.map_or_else(|| "".into(), |sow| Arc::clone(&sow.key)),
        };
        let topic = view.topic.clone();
        let before = view.shown.clone();
        let about = Arc::clone(&self.about);
        let message_type = about.message_type(&topic);

        let mut out = bytes::BytesMut::new();
        for (key, had) in before.iter().filter(|(key, _)| oof && !now.contains_key(key)) {
            let gone = changed.gone.filter(|_| is_plain && changed.key == Some(*key));
            let (reason, told) = match gone {
                Some(reason) => (reason, had.clone()),
                None => self.left(id, &topic, *key, is_plain, &all, had),
            };
            write_out_of_focus(&mut out, &topic, &to, reason, Content::from(&told), changed.processed);
        }
        let mut fresh: Vec<_> = now.iter().collect();
        fresh.sort_by_key(|(_, (at, _))| *at);
        for (key, (_, stored)) in fresh {
            let had = before.get(key);
            let is_update = match had {
                None => true,
                Some(_) if is_plain => changed.key == Some(*key),
                Some(had) => had.body != stored.body,
            };
            if !is_update {
                continue;
            }
            let mut content = stored.clone();
            if let (Some(deltas), Some(had)) = (deltas, had) {
                let update = Update::new(Arc::clone(&key_paths), message_type, &had.body, &stored.body);
                if deltas.no_empties && update.is_empty(to.wants.select.as_deref()) {
                    continue;
                }
                content.body = update.body(deltas.send_keys);
            }
            write_message(&mut out, &topic, &to, Content::from(&content), changed.bookmark, changed.processed);
        }
        let shown = now.into_iter().map(|(key, (_, stored))| (key, stored)).collect();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Some(view) = connection.subscriptions.iter_mut().find(|s| s.id == sub_id).and_then(|s| s.view.as_mut()) {
            view.shown = shown;
        }
        if !out.is_empty() {
            connection.outbox.tail().extend_from_slice(&out);
            self.mark(id);
            self.limit_outbox(id);
        }
    }

    /// Why a record is not in the view any more that was not deleted, and what is
    /// told of it: what it is now, but to a user who may not see that what it was.
    fn left(
        &self,
        id: ConnId,
        topic: &str,
        key: u64,
        is_plain: bool,
        all: &VecDeque<(String, SowRecord)>,
        had: &Stored,
    ) -> (&'static str, Stored) {
        if let Some((_, record)) = all.iter().find(|(_, record)| record.key == key) {
            return ("match", record.into());
        }
        let sow = self.sow.iter().find(|sow| sow.topic == topic).filter(|_| is_plain);
        // A group has nothing left in it.
        let Some(record) = sow.and_then(|sow| sow.select(Some(&[key])).pop()) else { return ("deleted", had.clone()) };
        let entitled = self.content(id, Access::Read, topic);
        match entitled.is_none_or(|filter| filter.accepts(&Subject::record(&self.about, topic, &record))) {
            true => ("match", (&record).into()),
            false => ("entitlement", had.clone()),
        }
    }
}
