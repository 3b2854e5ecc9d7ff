use std::sync::Arc;
use std::time::Instant;

use amps_core::connection::Router;
use amps_core::{AckTypes, StartAt};
use tokio::sync::oneshot;

use super::{OnFull, Replacement, SubscriptionKind, SubscriptionQueue, SubscriptionSpec};
use crate::error::CommandError;

/// How far entering a subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entered {
    /// Waits for a connection.
    No,
    /// The command is on its way; no answer yet.
    Asked,
    /// The server confirmed it.
    Yes,
}

/// Who waits for a confirmation, and until when.
pub(crate) type Waiting = (oneshot::Sender<Result<(), CommandError>>, Instant);

/// One subscription or query.
#[derive(Debug)]
pub struct Route {
    /// Its id on the wire: subscription id, query id and command id.
    pub id: u64,
    /// What was asked for.
    pub spec: SubscriptionSpec,
    /// Where its messages go.
    pub queue: Arc<SubscriptionQueue>,
    /// How far it is.
    pub entered: Entered,
    /// Who waits for the first confirmation, and until when.
    pub(crate) waiter: Option<Waiting>,
    /// The server says that nothing more comes on this connection, or, of a query,
    /// at all.
    pub(crate) is_over: bool,
    /// Order of creation.
    pub serial: u64,
    /// Acknowledgements a query has not got yet.
    pub(crate) owed: AckTypes,
    /// It was active on an earlier connection.
    pub was_active: bool,
    /// It was resumed together with those that have the same number here.
    pub(crate) together: Option<u64>,
    /// When acknowledgements of a queue's messages have to be looked at.
    pub(crate) acks_due: Option<Instant>,
    /// What it is being replaced with, on this connection.
    pub(crate) replacing: Option<Replacing>,
    /// Which markers around records are shown.
    pub(crate) markers: Markers,
}

/// The markers around records say that all of them follow: those of a
/// replacement, which are only what is new, are not shown.
#[derive(Debug, Default)]
pub(crate) struct Markers {
    /// Replacements whose records are still to come, on this connection.
    replaced: u32,
    /// Their records come now.
    within: bool,
    /// Records have begun and not ended.
    open: bool,
}

impl Markers {
    /// A replacement was answered.
    pub(crate) fn replaced(&mut self) {
        self.replaced += 1;
    }

    /// Whether to show that records begin.
    pub(crate) fn begin(&mut self) -> bool {
        self.open = true;
        self.within = self.replaced > 0;
        self.replaced = self.replaced.saturating_sub(1);
        !self.within
    }

    /// Whether to show that they end.
    pub(crate) fn end(&mut self) -> bool {
        self.open = false;
        !std::mem::take(&mut self.within)
    }

    /// Whether records have begun and not ended.
    pub(crate) fn are_open(&self) -> bool {
        self.open
    }
}

/// A replacement the server has not answered yet.
#[derive(Debug)]
pub struct Replacing {
    pub(crate) with: Replacement,
    /// Where it starts, for one with bookmarks.
    pub(crate) start: Option<StartAt>,
    /// Whoever waits for it, and until when.
    pub(crate) waiter: Option<Waiting>,
}

impl Route {
    /// How far it is now.
    pub(crate) fn set_entered(&mut self, entered: Entered) {
        self.entered = entered;
        self.show();
    }

    /// The server follows another wish.
    pub(crate) fn set_spec(&mut self, spec: SubscriptionSpec) {
        self.spec = spec;
        self.show();
    }

    /// The server has stopped its messages, or lets them go on.
    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.spec.paused = paused;
        self.show();
    }

    /// Lets whoever looks at the queue know what it is for.
    fn show(&self) {
        self.queue.show(&self.spec, self.entered);
    }

    /// Its full queue has ended it.
    pub(crate) fn is_overrun(&self) -> bool {
        self.spec.on_full == OnFull::End && self.queue.has_ended()
    }

    /// What is still to be answered on this connection.
    pub(crate) fn is_open(&self) -> bool {
        self.entered == Entered::Asked || self.replacing.is_some()
    }

    /// Answers whoever waits for a replacement. The server may follow it all
    /// the same; then its answer still counts.
    pub(crate) fn answer_replacement(&mut self, error: CommandError) {
        if let Some((reply, _)) = self.replacing.as_mut().and_then(|replacing| replacing.waiter.take()) {
            let _ = reply.send(Err(error));
        }
    }

    /// Whether whoever waits for a replacement has waited long enough.
    pub(crate) fn replacement_is_late(&self, now: Instant) -> bool {
        let waiter = self.replacing.as_ref().and_then(|replacing| replacing.waiter.as_ref());
        waiter.is_some_and(|(_, deadline)| *deadline <= now)
    }

    /// Until when somebody waits for an answer, or acknowledgements wait.
    fn deadline(&self) -> Option<Instant> {
        let replacing = self.replacing.as_ref().and_then(|replacing| replacing.waiter.as_ref());
        self.waiter.iter().chain(replacing).map(|(_, deadline)| *deadline).chain(self.acks_due).min()
    }

    /// Answers whoever waits for the confirmation. `false` when nobody does.
    pub(crate) fn answer(&mut self, result: Result<(), CommandError>) -> bool {
        self.waiter.take().is_some_and(|(waiter, _)| waiter.send(result).is_ok())
    }
}

/// All subscriptions and queries of a client.
#[derive(Debug, Default)]
pub struct Table {
    routes: Router<Route>,
    serial: u64,
}

impl Table {
    /// Adds one. Answers its id.
    pub(crate) fn insert(
        &mut self,
        spec: SubscriptionSpec,
        queue: Arc<SubscriptionQueue>,
        waiter: Option<Waiting>,
    ) -> u64 {
        let serial = self.serial;
        self.serial += 1;
        let entered = Entered::No;
        let (owed, was_active, together, acks_due, replacing) = (AckTypes::NONE, false, None, None, None);
        queue.show(&spec, entered);
        self.routes.insert(|id| Route {
            id,
            spec,
            queue,
            entered,
            is_over: false,
            waiter,
            serial,
            owed,
            was_active,
            together,
            acks_due,
            replacing,
            markers: Markers::default(),
        })
    }

    /// The one an id names.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Route> {
        self.routes.get_mut(id)
    }

    /// The one with this queue.
    pub(crate) fn by_queue(&mut self, queue: &Arc<SubscriptionQueue>) -> Option<&mut Route> {
        self.routes.iter_mut().find(|route| Arc::ptr_eq(&route.queue, queue))
    }

    /// The one a wire id names.
    pub fn by_wire_id(&mut self, id: &str) -> Option<&mut Route> {
        self.routes.by_wire_id(id)
    }

    /// Whether a wire id names a subscription or query of this life, ended or
    /// not.
    pub fn was_issued(&self, id: &str) -> bool {
        id.parse().is_ok_and(|id| self.routes.was_issued(id))
    }

    /// Takes one out.
    pub fn remove(&mut self, id: u64) -> Option<Route> {
        self.routes.remove(id)
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Route> {
        self.routes.iter_mut()
    }

    /// Ids of the subscriptions, without queries, in order of creation.
    pub fn ids_in_order(&self) -> Vec<u64> {
        let subscriptions = self.routes.iter().filter(|route| route.spec.kind != SubscriptionKind::Sow);
        let mut ids: Vec<_> = subscriptions.map(|route| (route.serial, route.id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// The earliest moment somebody stops waiting for a confirmation, or
    /// acknowledgements do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.routes.iter().filter_map(Route::deadline).min()
    }
}
