//! Entering all subscriptions again on a new connection.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use amps_core::{BookmarkList, StartAt, planted};

use super::ClientCore;
use crate::subscriptions::{Entered, SubscriptionKind};

/// How many subscriptions are entered before the first of them is answered.
const PIPELINE: usize = 256;

/// How far entering all subscriptions again is.
#[derive(Debug, Default)]
pub(super) struct Reentry {
    /// Those to be entered, in order of creation.
    pub(super) waiting: VecDeque<u64>,
    /// Those that were resumed together, and where they start together.
    together: BTreeMap<u64, Option<StartAt>>,
    /// Groups that are to be resumed when everything is entered.
    paused: Vec<u64>,
    /// Groups whose resumption is not answered yet.
    pub(super) resuming: usize,
}

impl Reentry {
    /// Whether this group is entered paused, to be resumed together.
    pub(super) fn is_paused(&self, group: u64) -> bool {
        self.together.contains_key(&group)
    }

    /// Where this group starts together, if it does.
    pub(super) fn start(&self, group: u64) -> Option<StartAt> {
        self.together.get(&group).cloned().flatten()
    }
}

impl ClientCore {
    /// Enters every subscription again, in order of creation.
    pub(super) fn resubscribe(&mut self, now: Instant) {
        let together = self.groups();
        self.reentry = Reentry {
            waiting: self.subscriptions.ids_in_order().into(),
            paused: together.keys().copied().collect(),
            together,
            resuming: 0,
        };
        self.settle_resubscribe(now);
        self.last_server = self.session.uri().cloned();
    }

    /// Enters a new subscription behind those that are entered again.
    pub(super) fn enter_last(&mut self, now: Instant, id: u64) {
        if self.session.is_resubscribing() {
            self.reentry.waiting.push_back(id);
            self.settle_resubscribe(now);
        }
    }

    /// Goes on entering subscriptions, so many at a time. Recovery is complete
    /// when all are confirmed, and groups are resumed.
    pub(super) fn settle_resubscribe(&mut self, now: Instant) {
        if !self.session.is_resubscribing() {
            return;
        }
        let mut asked = self.subscriptions.iter_mut().filter(|route| route.entered == Entered::Asked).count();
        let pipeline = if planted::is("resubscribe-stops-at-failure") { 1 } else { PIPELINE };
        while asked < pipeline
            && let Some(id) = self.reentry.waiting.pop_front()
        {
            asked += usize::from(self.enter(id, None));
        }
        if asked > 0 {
            return;
        }
        for group in std::mem::take(&mut self.reentry.paused) {
            let members = self.subscriptions.iter_mut().filter(|route| route.together == Some(group));
            let queues: Vec<_> = members.map(|route| Arc::clone(&route.queue)).collect();
            if !queues.is_empty() {
                self.reentry.resuming += 1;
                self.resume_together(queues);
            }
        }
        if self.reentry.resuming == 0 {
            self.reentry = Reentry::default();
            self.session.resubscribed(now);
            self.release_requests(now);
        }
    }

    /// Subscriptions that were resumed together, and the earliest place of any
    /// of them: from there one replay serves them all. Without a common origin
    /// each starts at its own place.
    fn groups(&mut self) -> BTreeMap<u64, Option<StartAt>> {
        let Some(uri) = self.session.uri().map(ToString::to_string) else { return BTreeMap::new() };
        let mut members: BTreeMap<u64, Vec<(StartAt, StartAt)>> = BTreeMap::new();
        for route in self.subscriptions.iter_mut().filter(|route| route.spec.kind != SubscriptionKind::Sow) {
            let Some((group, origin)) = route.together.zip(route.spec.start.clone()) else { continue };
            let start =
                route.queue.with_bookmarks(|bookmarks| bookmarks.connect(&uri)).unwrap_or_else(|| origin.clone());
            members.entry(group).or_default().push((origin, start));
        }
        members.retain(|_, members| members.len() > 1);
        members.into_iter().map(|(group, members)| (group, earliest(members))).collect()
    }
}

/// The earliest of several starts, each with where its subscription began.
fn earliest(members: Vec<(StartAt, StartAt)>) -> Option<StartAt> {
    let (origin, _) = members.first()?.clone();
    if origin == StartAt::Now || members.iter().any(|(other, _)| *other != origin) {
        return None;
    }
    let mut least = BTreeMap::new();
    for (_, start) in members {
        // Anything but a list is where all of them began.
        let StartAt::Bookmarks(list) = start else { return Some(start) };
        for bookmark in list.as_slice() {
            let sequence = least.entry(bookmark.publisher).or_insert(bookmark.sequence);
            *sequence = bookmark.sequence.min(*sequence);
        }
    }
    let list: BookmarkList =
        least.into_iter().map(|(publisher, sequence)| amps_core::Bookmark { publisher, sequence }).collect();
    Some(StartAt::Bookmarks(list))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> StartAt {
        text.parse().unwrap()
    }

    #[test]
    fn a_group_starts_at_the_earliest_place_of_each_publisher() {
        for (members, start) in [
            ([("0", "1|5|,2|7|"), ("0", "2|6|,3|1|")], Some("1|5|,2|6|,3|1|")),
            ([("0", "1|5|"), ("0", "0")], Some("0")),
            ([("1|4|", "1|5|"), ("1|4|", "1|4|")], Some("1|4|")),
            // Messages before its own beginning are not for it.
            ([("0", "1|5|"), ("1|4|", "1|6|")], None),
            ([("0|1|", "1|5|"), ("0|1|", "1|6|")], None),
        ] {
            let members = members.map(|(origin, start)| (at(origin), at(start)));
            assert_eq!(earliest(members.to_vec()), start.map(at), "{members:?}");
        }
    }
}
