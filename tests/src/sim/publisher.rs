//! A publisher, and the ledger of what it was told.

use std::collections::BTreeSet;

use amps_ha::publish_log::Durability;
use rand::RngExt;
use rand::rngs::StdRng;

use super::check::Violation;
use crate::{Kill, Pair, Store};

/// The SOW topic; the other topic keeps no state.
pub(super) const RECORDS: &str = "records";
pub(super) const PLAIN: &str = "plain";
/// Keys of each publisher in the SOW topic.
const KEYS: usize = 5;

/// What must become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was accepted; whether a crash leaves it is open until it is promised.
    Accepted,
    /// It was promised: it survives what its store survives.
    Promised,
    /// The servers have it.
    Settled,
    /// It may be anywhere or nowhere, for its process died too early.
    Open,
}

/// A publisher across its lives.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) client: usize,
    pub(super) name: String,
    store: Store,
    bodies: Vec<String>,
    fates: Vec<Fate>,
    /// Of this life: ordinals in the log, and which messages they are.
    mine: Vec<(u64, usize)>,
}

impl Publisher {
    pub(super) fn new(client: usize, store: Store) -> Self {
        let name = format!("publisher{client}");
        Self { client, name, store, bodies: Vec::new(), fates: Vec::new(), mine: Vec::new() }
    }

    /// How many messages were accepted so far.
    pub(super) fn accepted(&self) -> usize {
        self.bodies.len()
    }

    /// Publishes one more message; a full store is no reason to fail.
    pub(super) fn publish(&mut self, pair: &mut Pair, random: &mut StdRng) {
        let number = self.bodies.len();
        let (topic, key) = (if random.random_bool(0.5) { RECORDS } else { PLAIN }, random.random_range(0..KEYS));
        let filler = "x".repeat(random.random_range(0..300));
        let body = format!(r#"{{"id":"{}-{key}","n":{number},"t":"{topic}","x":"{filler}"}}"#, self.client);
        if let Ok(ordinal) = pair.publish_to(self.client, topic, body.clone()) {
            self.mine.push((ordinal, number));
            self.bodies.push(body);
            self.fates.push(Fate::Accepted);
        }
    }

    /// Notes what is promised by now.
    pub(super) fn listen(&mut self, pair: &Pair) {
        let cursors = pair.cursors(self.client);
        let keeps = matches!(self.store, Store::Disk(_));
        for (ordinal, number) in &self.mine {
            if *ordinal < cursors.settled {
                self.fates[*number] = Fate::Settled;
            } else if keeps && *ordinal < cursors.durable {
                self.fates[*number] = Fate::Promised;
            }
        }
        self.mine.retain(|(ordinal, _)| *ordinal >= cursors.settled);
    }

    /// The process is about to die.
    pub(super) fn dies(&mut self, pair: &Pair, how: Kill) {
        self.listen(pair);
        let survives =
            matches!((self.store, how), (Store::Disk(Durability::PowerLoss), _) | (Store::Disk(_), Kill::Process));
        self.mine.clear();
        for fate in &mut self.fates {
            match fate {
                Fate::Accepted => *fate = Fate::Open,
                Fate::Promised if !survives => *fate = Fate::Open,
                _ => {}
            }
        }
    }

    /// What a server has, when everything has settled.
    pub(super) fn check(&self, server: usize, logged: &[String]) -> Option<Violation> {
        let have: BTreeSet<&String> = logged.iter().collect();
        if have.len() < logged.len() {
            let what = format!("s{server} has a message of {} twice", self.name);
            return Some(Violation::new("exactly once", what));
        }
        let mut missing = self.bodies.iter().zip(&self.fates).filter(|(body, fate)| {
            // Nothing died since: what was accepted is as good as promised.
            **fate != Fate::Open && !have.contains(body)
        });
        if let Some((body, _)) = missing.next() {
            let what = format!("s{server} lacks {} messages of {}, such as {body}", 1 + missing.count(), self.name);
            return Some(Violation::new("no loss", what));
        }
        let in_order: Vec<&String> = self.bodies.iter().filter(|body| have.contains(body)).collect();
        if in_order.len() < logged.len() {
            return Some(Violation::new(
                "nothing invented",
                format!("s{server} has what {} never published", self.name),
            ));
        }
        let differs = in_order.iter().zip(logged).find(|(a, b)| **a != *b);
        differs.map(|(due, found)| {
            Violation::new("order", format!("s{server} has {found} of {} where {due} is due", self.name))
        })
    }

    /// Messages that may be on one server and not on the other: their publisher
    /// died before they were promised.
    pub(super) fn open(&self) -> impl Iterator<Item = &String> {
        self.bodies.iter().zip(&self.fates).filter(|(_, fate)| **fate == Fate::Open).map(|(body, _)| body)
    }
}

/// The key in a body.
pub(super) fn key_of(body: &str) -> &str {
    body.split('"').nth(3).unwrap_or_default()
}

/// Publisher and number in a body.
pub(super) fn origin_of(body: &str) -> (&str, u64) {
    let publisher = key_of(body).split('-').next().unwrap_or_default();
    let number = body.split(r#""n":"#).nth(1).and_then(|rest| rest.split(',').next());
    (publisher, number.and_then(|number| number.parse().ok()).unwrap_or(u64::MAX))
}
