//! Who wants a message, by what is in it.

use super::conflation::Change;
use super::content::Stored;
use super::delta::{Deltas, Update};
use super::topics::{Recipients, Route};
use super::wants::Wants;
use crate::filter::{Filter, Subject};
use crate::sow::SowRecord;

/// What a message has to match to reach a subscription.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'f> {
    /// The subscription's own filter.
    pub(super) own: Option<&'f Filter>,
    /// The filter of what its user may read.
    pub(super) entitled: Option<&'f Filter>,
}

/// How a message meets these terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Focus {
    /// It is delivered.
    In,
    /// It does not match the subscription's own filter.
    Out,
    /// The user may not read it.
    Hidden,
}

impl Terms<'_> {
    /// Whether every message meets them.
    pub(super) fn is_empty(self) -> bool {
        self.own.is_none() && self.entitled.is_none()
    }

    /// Whether a message meets them.
    pub(super) fn accept(self, message: &Subject<'_>) -> bool {
        self.focus(message) == Focus::In
    }

    fn focus(self, message: &Subject<'_>) -> Focus {
        let accepts = |filter: Option<&Filter>| filter.is_none_or(|filter| filter.accepts(message));
        match accepts(self.entitled) {
            false => Focus::Hidden,
            true if accepts(self.own) => Focus::In,
            true => Focus::Out,
        }
    }
}

/// A subscription that looks at what is in a topic's messages, or wants a part
/// of them.
#[derive(Debug)]
pub(super) struct Interest {
    pub(super) id: String,
    pub(super) own: Option<Filter>,
    pub(super) entitled: Option<Filter>,
    pub(super) oof: bool,
    /// It wants no more than what changed.
    pub(super) deltas: Option<Deltas>,
    pub(super) wants: Wants,
}

impl Interest {
    /// What of a message, or of its going, a subscription that conflates is
    /// told, with what it had before. `None`: nothing.
    pub(super) fn change<'b>(
        &self,
        message: &Subject<'_>,
        before: Option<(&Subject<'_>, &'b SowRecord)>,
        content: impl FnOnce() -> Stored,
    ) -> Option<(Option<&'b SowRecord>, Change)> {
        let had = before.filter(|(record, _)| !self.oof || self.terms().accept(record)).map(|(_, record)| record);
        match self.terms().focus(message) {
            Focus::In => Some((had, Change::Is(content()))),
            Focus::Out if self.oof => Some((had, Change::Gone("match"))),
            Focus::Hidden if self.oof => Some((had, Change::Gone("entitlement"))),
            Focus::Out | Focus::Hidden => None,
        }
    }

    /// Whether it is told that a record is gone.
    pub(super) fn had(&self, record: &Subject<'_>) -> bool {
        self.oof && self.terms().accept(record)
    }

    fn terms(&self) -> Terms<'_> {
        Terms { own: self.own.as_ref(), entitled: self.entitled.as_ref() }
    }
}

/// What a message means for a connection.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Subscriptions it is delivered to.
    pub(super) delivered: Recipients,
    /// One of them wants all of it.
    pub(super) whole: bool,
    /// One of them wants the fields of the key.
    pub(super) send_keys: bool,
    /// Subscriptions its record left because it matches no more.
    pub(super) unmatched: Recipients,
    /// Subscriptions its record left because their user may not read it any more.
    pub(super) hidden: Recipients,
}

/// The record a message took the place of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before<'b> {
    pub(super) record: &'b Subject<'b>,
    pub(super) update: &'b Update<'b>,
}

impl Reach {
    /// A record that is new, and one that comes into focus where focus is
    /// followed, is sent as a whole also to those who want deltas.
    fn deliver(&mut self, interest: &Interest, before: Option<Before<'_>>) {
        let had = before.filter(|before| !interest.oof || interest.terms().accept(before.record));
        match (interest.deltas, had) {
            (Some(Deltas { no_empties: true, .. }), Some(before))
                if before.update.is_empty(interest.wants.select.as_deref()) =>
            {
                return;
            }
            (Some(deltas), Some(_)) => self.send_keys |= deltas.send_keys,
            _ => self.whole = true,
        }
        self.delivered.add(&interest.id, &interest.wants);
    }
}

impl Route {
    /// Who gets a message, and who is told that it took the place of one they
    /// had (AMPS User Guide, "Out-of-Focus Messages").
    pub(super) fn reach(&self, message: &Subject<'_>, before: Option<Before<'_>>) -> Reach {
        let whole = !self.all.sids.is_empty();
        let mut reach = Reach { delivered: self.all.clone(), whole, ..Reach::default() };
        for interest in &self.some {
            let terms = interest.terms();
            let left = || interest.oof && before.is_some_and(|before| terms.accept(before.record));
            match terms.focus(message) {
                Focus::In => reach.deliver(interest, before),
                Focus::Out if left() => reach.unmatched.add(&interest.id, &interest.wants),
                Focus::Hidden if left() => reach.hidden.add(&interest.id, &interest.wants),
                Focus::Out | Focus::Hidden => {}
            }
        }
        reach
    }

    /// Who is told that a record they had was deleted.
    pub(super) fn lose(&self, record: &Subject<'_>) -> Recipients {
        let mut told = self.told.clone();
        for interest in self.some.iter().filter(|interest| interest.had(record)) {
            told.add(&interest.id, &interest.wants);
        }
        told
    }
}
