//! `sow_delete` on a queue: acknowledging messages, giving them back, expiring
//! them (AMPS Command Reference, "sow_delete"), and making their leases longer
//! (the pages of AMPS's JavaScript client).

use std::time::Duration;

use amps_core::{Bookmark, BookmarkList, Field, Message};

use super::super::interest::Terms;
use super::super::publish::Outcome;
use super::super::sow_delete::Deleted;
use super::super::{ConnId, Engine};
use super::state::End;
use crate::faults::Access;
use crate::filter::{Filter, Subject};
use crate::interval::parse_interval;
use crate::queue_config::{Delivery, Leasing};

/// What is to become of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Done,
    Cancel,
    Expire,
    /// The lease lasts so long from now on.
    Extend(Duration),
}

impl Verdict {
    fn read(options: &str) -> Option<Self> {
        match options.trim() {
            "" | "none" => Some(Self::Done),
            "cancel" => Some(Self::Cancel),
            "expire" => Some(Self::Expire),
            other => other.strip_prefix("lease_extension=").and_then(parse_interval).map(Self::Extend),
        }
    }
}

impl Engine {
    /// Acknowledges messages of a queue; `None` when the topic is none.
    pub(in crate::engine) fn acknowledge(
        &mut self,
        id: ConnId,
        message: &Message,
        topic: &str,
        deleted: &mut Deleted,
    ) -> Option<Outcome> {
        let ix = self.queues.named(topic)?;
        Some(match self.acknowledge_in(ix, id, message, deleted) {
            Ok(()) => Outcome::Unlogged,
            Err(reason) => Outcome::Failed(reason.into()),
        })
    }

    fn acknowledge_in(
        &mut self,
        ix: usize,
        id: ConnId,
        message: &Message,
        deleted: &mut Deleted,
    ) -> Result<(), &'static str> {
        let topic = self.queues.list[ix].config.topic.clone();
        // Who may read a queue may acknowledge.
        if !self.may(id, Access::Read, &topic) {
            return Err("not entitled");
        }
        let verdict = Verdict::read(&message.text(Field::Options).unwrap_or_default()).ok_or("invalid options")?;
        deleted.compared = self.queues.list[ix].len() as u64;
        for position in self.acknowledged(ix, id, message, &topic)? {
            deleted.deleted += u64::from(self.settle_message(ix, position, id, verdict));
        }
        self.stats.acknowledged += deleted.deleted;
        Ok(())
    }

    /// The positions that an acknowledgement names, by exactly one of its ways.
    fn acknowledged(&self, ix: usize, id: ConnId, message: &Message, topic: &str) -> Result<Vec<usize>, &'static str> {
        let given = |field| message.text(field).filter(|text| !text.is_empty());
        if given(Field::SowKeys).is_some() || !message.data().is_empty() {
            return Err("a sow_delete on a queue needs one of bookmark and filter");
        }
        match (given(Field::Bookmark), given(Field::Filter)) {
            (Some(bookmarks), None) => {
                let list: BookmarkList = bookmarks.parse().map_err(|_| "invalid bookmark")?;
                let find = |bookmark: &Bookmark| self.log.find(*bookmark);
                Ok(list.as_slice().iter().filter_map(find).collect())
            }
            (None, Some(filter)) => {
                let own = Filter::read(&filter, self.config.readings).map_err(|_| "bad filter")?;
                let entitled = self.content(id, Access::Read, topic);
                let terms = Terms { own: Some(&own), entitled: entitled.as_ref() };
                let subject = |position: usize| Subject::entry(&self.about, topic, self.log.entry(position), &self.log);
                let accepts = |position: &usize| terms.accept(&subject(*position));
                Ok(self.queues.list[ix].positions().into_iter().filter(accepts).collect())
            }
            _ => Err("a sow_delete on a queue needs one of bookmark and filter"),
        }
    }

    /// Whether it had an effect. What nobody has leased can be done or expired,
    /// not given back.
    fn settle_message(&mut self, ix: usize, position: usize, id: ConnId, verdict: Verdict) -> bool {
        let now = self.now();
        let queue = &mut self.queues.list[ix];
        let holder = queue.holder(position).map(|holder| holder.cloned());
        let own = holder.iter().flatten().any(|holder| holder.connection == id);
        // Another instance may have said meanwhile that it left the queue.
        let elsewhere = holder.is_none() && !self.config.peers.is_empty();
        self.stats.unleased += u64::from(!own && !elsewhere);
        let Some(holder) = holder else { return false };
        if queue.config.leasing == Leasing::Strict && !own {
            return false;
        }
        let once = queue.config.delivery == Delivery::AtMostOnce;
        match (verdict, holder) {
            (Verdict::Done | Verdict::Expire, _) if !(once && verdict == Verdict::Expire) => {
                self.dequeue(ix, position);
                true
            }
            (Verdict::Extend(time), Some(_)) if own && !once => {
                queue.extend(position, now + time);
                true
            }
            (Verdict::Cancel, Some(holder)) if !once => {
                let keeps = queue.end_lease(position, End::Cancelled, now);
                self.free(&holder);
                if !keeps {
                    self.dequeue(ix, position);
                }
                true
            }
            _ => false,
        }
    }
}
