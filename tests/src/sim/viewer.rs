//! A subscriber that keeps the records of a SOW topic.

use std::collections::BTreeMap;

use amps_core::{CommandOptions, Message, command};
use amps_ha::subscriptions::{AckBatching, QueueLimits, SubscriptionKind, SubscriptionSpec};
use amps_ha::user_code::UserError;
use amps_ha::view::{Change, Step, View};
use rand::RngExt;

use super::check::{Logs, Violation};
use super::part::{Part, Turn};
use super::plan::Conflation;
use super::publisher::{RECORDS, key_of};
use crate::{Entered, Kill, Pair};

/// A view, across its lives.
pub(super) struct Viewer {
    client: usize,
    entered: Option<Entered>,
    view: View<String, String>,
    /// The records by what the view says of its changes.
    followed: BTreeMap<String, String>,
    conflation: Conflation,
}

impl Viewer {
    pub(super) fn new(client: usize, conflation: Conflation) -> Self {
        Self { client, entered: None, view: View::new(), followed: BTreeMap::new(), conflation }
    }

    fn records(&self) -> BTreeMap<String, String> {
        self.view.records().iter().map(|(key, body)| (key.clone(), body.to_string())).collect()
    }

    /// Does what a change says; `false` when it says what cannot be.
    fn follow(&mut self, change: Change<String, String>) -> bool {
        match change {
            Change::Inserted { key, new } => self.followed.insert(key, new.to_string()).is_none(),
            Change::Updated { key, old, new } => {
                old != new && self.followed.insert(key, new.to_string()).as_ref() == Some(&*old)
            }
            Change::Removed { key, old, .. } => self.followed.remove(&key).as_ref() == Some(&*old),
            _ => false,
        }
    }
}

fn read(message: &Message) -> Result<(String, String), UserError> {
    let body = String::from_utf8_lossy(message.data()).into_owned();
    Ok((key_of(&body).to_owned(), body))
}

impl Part for Viewer {
    fn client(&self) -> usize {
        self.client
    }

    fn start(&mut self, pair: &mut Pair) {
        let mut spec = SubscriptionSpec::new(SubscriptionKind::SowAndSubscribe, RECORDS);
        spec.options = match self.conflation {
            Conflation::Server(time) => CommandOptions::from("oof").conflation(command::Conflation::Interval(time)),
            _ => "oof".into(),
        };
        spec.conflates = self.conflation == Conflation::Client;
        self.entered = Some(pair.enter_with(self.client, spec, QueueLimits::default(), AckBatching::default(), None));
    }

    fn dies(&mut self, _: Kill) {
        self.entered = None;
        self.view = View::new();
        self.followed.clear();
    }

    /// Brings the view up to what waits.
    fn turn(&mut self, turn: &mut Turn<'_>) {
        let Some(entered) = &mut self.entered else { return };
        // Only what waits can give way to something newer.
        if self.conflation == Conflation::Client && !turn.random.random_bool(0.05) {
            return;
        }
        entered.take(turn.most);
        let (items, error) = (std::mem::take(&mut entered.items), entered.error.take());
        for item in &items {
            let Some(step) = Step::of(item, read) else { continue };
            let mut changes = Vec::new();
            self.view.apply(step, &mut changes);
            for change in changes {
                let told = format!("{change:?}");
                if !self.follow(change) {
                    turn.broken("changes make the view", format!("{told} of {item:?}"));
                }
            }
        }
        if !items.is_empty() && self.followed != self.records() {
            turn.broken("changes make the view", format!("{:?}, which is {:?}", self.followed, self.records()));
        }
        if let Some(error) = error {
            turn.broken("streams stay open", format!("viewer: {error}"));
        }
    }

    /// Whether the view is that of a server.
    fn is_settled(&mut self, _: &mut Pair, logs: &Logs) -> bool {
        self.view.is_level() && logs.has_view(&self.records())
    }

    fn check(&self, logs: &Logs) -> Vec<Violation> {
        let (level, records) = (self.view.is_level(), self.records());
        let what = || format!("the view is that of no server (level: {level}): {records:?}");
        let converged = level && logs.has_view(&records);
        (!converged).then(|| Violation::new("the view converges", what())).into_iter().collect()
    }
}
