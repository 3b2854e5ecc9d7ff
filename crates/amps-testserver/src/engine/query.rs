//! `sow` and `sow_and_subscribe` (AMPS Command Reference).

use std::collections::VecDeque;

use amps_core::header::FrameWriter;
use amps_core::message::MessageKind;
use amps_core::{AckType, AckTypes, Field, Message};

use super::ack::AckFrame;
use super::outbox::Query;
use super::{ConnId, Engine};

/// The largest batch a client may ask for.
const BATCH_SIZE_MAX: u64 = 10_000;

impl Engine {
    pub(super) fn query(&mut self, id: ConnId, message: &Message, acks: AckTypes) {
        if message.kind() == MessageKind::SowAndDeltaSubscribe {
            return self.refuse(id, message, acks, "sow_and_delta_subscribe is not supported by this server");
        }
        let Some((options, pattern)) = self.checked(id, message, acks) else { return };
        let batch_size = message.number(Field::BatchSize).unwrap_or(1);
        if !(1..=BATCH_SIZE_MAX).contains(&batch_size) {
            return self.refuse(id, message, acks, "invalid options");
        }
        if message.raw(Field::OrderBy).is_some_and(|order| !order.is_empty()) {
            return self.refuse(id, message, acks, "invalid orderby");
        }
        let searched: Vec<_> = self.sow.iter().filter(|sow| pattern.matches(&sow.topic)).collect();
        let subscribes = message.kind() == MessageKind::SowAndSubscribe;
        if searched.is_empty() && !subscribes {
            return self.refuse(id, message, acks, "invalid topic");
        }
        let keys: Option<Vec<u64>> = message
            .text(Field::SowKeys)
            .map(|keys| keys.split(',').filter_map(|key| key.trim().parse().ok()).collect());
        let compared: usize = searched.iter().map(|sow| sow.len()).sum();
        let mut records = VecDeque::new();
        for sow in searched {
            records.extend(sow.select(keys.as_deref()).into_iter().map(|record| (sow.topic.clone(), record)));
        }
        let matched = records.len();
        records.truncate(options.top_n.map_or(usize::MAX, |top_n| top_n as usize));
        let returned = records.len();

        let own = message.text(Field::QueryId).filter(|id| !id.is_empty());
        let query_id = own.or_else(|| message.text(Field::CommandId)).unwrap_or_default().into_owned();
        if subscribes {
            // The query's bound is not one of the subscription behind it.
            let options = super::subscribe::Options { top_n: None, ..options };
            // Without a history of the SOW only its present state can be had.
            let start = match message.raw(Field::Bookmark).unwrap_or_default() {
                "" => None,
                "0|1|" | "0|1" => Some(self.log.len()),
                _ => return self.refuse(id, message, acks, "invalid bookmark"),
            };
            if options.contradict(start.is_some()) {
                return self.refuse(id, message, acks, "invalid options");
            }
            if let Err(reason) = self.enter(id, message, acks, &options, pattern, start) {
                return self.refuse(id, message, acks, reason);
            }
            self.send_records(id, &query_id, records, batch_size as usize, !options.no_sowkey);
        } else {
            if acks.contains(AckType::Processed) {
                let frame = AckFrame { query_id: Some(&query_id), ..AckFrame::default() };
                self.ack(id, AckType::Processed, message, frame);
            }
            self.send_records(id, &query_id, records, batch_size as usize, !options.no_sowkey);
        }
        let counts = (compared as u64, matched as u64, returned as u64);
        self.finish_query(id, message, acks, &query_id, counts);
    }

    /// The group markers stand around the records even when there are none.
    fn send_records(
        &mut self,
        id: ConnId,
        query_id: &str,
        records: VecDeque<(String, crate::sow::SowRecord)>,
        batch_size: usize,
        send_key: bool,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        FrameWriter::new(connection.outbox.tail(), "group_begin").text(Field::QueryId, query_id).finish(&[]);
        connection.outbox.query(Query { id: query_id.to_owned(), records, batch_size, send_key });
        FrameWriter::new(connection.outbox.tail(), "group_end").text(Field::QueryId, query_id).finish(&[]);
        self.mark(id);
    }

    fn finish_query(&mut self, id: ConnId, message: &Message, acks: AckTypes, query_id: &str, counts: (u64, u64, u64)) {
        let frame = AckFrame { query_id: Some(query_id), ..AckFrame::default() };
        // A bookmark subscription completes when its replay has.
        let replays = message.kind() == MessageKind::SowAndSubscribe && message.raw(Field::Bookmark).is_some();
        if acks.contains(AckType::Completed) && !replays {
            self.ack(id, AckType::Completed, message, frame);
        }
        if acks.contains(AckType::Stats) {
            self.ack(id, AckType::Stats, message, AckFrame { counts: Some(counts), ..frame });
        }
    }
}
