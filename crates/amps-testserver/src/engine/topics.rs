//! Topics that were published to, with what is known about each.

use std::collections::HashMap;
use std::sync::Arc;

use super::ConnId;
use super::interest::Interest;
use super::wants::Wants;

/// What is fixed about a topic by the configuration.
pub(super) struct Kind {
    pub(super) logged: bool,
    pub(super) sow: Option<usize>,
}

/// One topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) logged: bool,
    /// Its place among the SOW topics.
    pub(super) sow: Option<usize>,
    /// Plain subscriptions that match it, as of `routed_at`.
    pub(super) routes: Arc<[Route]>,
    pub(super) routed_at: u64,
}

/// One connection that gets a topic's messages live.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) connection: ConnId,
    /// Subscriptions that get every message.
    pub(super) all: Recipients,
    /// Those of them that are told about deleted records.
    pub(super) told: Recipients,
    /// Subscriptions that look at what is in it, or want a part of it.
    pub(super) some: Vec<Interest>,
    /// Subscriptions that conflate.
    pub(super) conflated: Vec<Interest>,
    /// Ids of subscriptions to a view of the topic's records.
    pub(super) views: Vec<String>,
}

impl Route {
    pub(super) fn new(connection: ConnId) -> Self {
        let (all, told) = (Recipients::default(), Recipients::default());
        Self { connection, all, told, some: Vec::new(), conflated: Vec::new(), views: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.sids.is_empty() && self.some.is_empty() && self.conflated.is_empty() && self.views.is_empty()
    }
}

/// Subscriptions of one connection that get the same message, and what they
/// want together.
#[derive(Debug, Clone, Default)]
pub(super) struct Recipients {
    /// Their ids, comma separated.
    pub(super) sids: String,
    pub(super) wants: Wants,
}

impl Recipients {
    pub(super) fn add(&mut self, id: &str, wants: &Wants) {
        if self.sids.is_empty() {
            self.wants = wants.clone();
        } else {
            self.sids.push(',');
            self.wants.join(wants);
        }
        self.sids.push_str(id);
    }
}

/// The table of topics.
#[derive(Debug, Default)]
pub(super) struct Topics {
    list: Vec<Topic>,
    by_name: HashMap<Arc<str>, u32>,
    generation: u64,
}

impl Topics {
    pub(super) fn intern(&mut self, name: &str, kind: impl FnOnce(&str) -> Kind) -> u32 {
        if let Some(ix) = self.by_name.get(name) {
            return *ix;
        }
        let Kind { logged, sow } = kind(name);
        let name: Arc<str> = name.into();
        let ix = self.list.len() as u32;
        // Never routed yet: older than every generation.
        self.list.push(Topic { name: Arc::clone(&name), logged, sow, routes: Arc::new([]), routed_at: 0 });
        self.generation = self.generation.max(1);
        self.by_name.insert(name, ix);
        ix
    }

    pub(super) fn get(&self, ix: u32) -> &Topic {
        &self.list[ix as usize]
    }

    /// Routes found before are no longer right.
    pub(super) fn subscriptions_changed(&mut self) {
        self.generation += 1;
    }

    /// A number that changes with the subscriptions.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The routes of a topic, if they are still right.
    pub(super) fn routes(&self, ix: u32) -> Option<Arc<[Route]>> {
        let topic = self.get(ix);
        (topic.routed_at == self.generation).then(|| Arc::clone(&topic.routes))
    }

    pub(super) fn set_routes(&mut self, ix: u32, routes: Vec<Route>) -> Arc<[Route]> {
        let generation = self.generation;
        let topic = &mut self.list[ix as usize];
        topic.routes = routes.into();
        topic.routed_at = generation;
        Arc::clone(&topic.routes)
    }
}
