//! A publisher, and the ledger of what it was told.

use std::collections::BTreeSet;

use amps_core::header::FrameWriter;
use amps_ha::publish_log::Durability;
use rand::RngExt;
use rand::rngs::StdRng;

use super::check::Violation;
use super::worker::WORK;
use crate::{Kill, Pair, Store};

/// The SOW topic; the other topic keeps no state.
pub(super) const RECORDS: &str = "records";
pub(super) const PLAIN: &str = "plain";
/// Another SOW topic, in which only parts of records are published.
pub(super) const DELTAS: &str = "deltas";
/// The fields they change, one at a time.
const FIELDS: usize = 3;
/// Keys of each publisher in the SOW topic.
pub(super) const KEYS: usize = 5;
/// The first of them that are deleted now and then.
const DELETED: usize = 3;
/// A topic that every server refuses.
const FORBIDDEN: &str = "/AMPS/forbidden";

/// What is written beside plain messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mix {
    /// Deletions of records.
    pub deletions: bool,
    /// Messages that every server refuses.
    pub refused: bool,
    /// Messages for a queue.
    pub work: bool,
    /// Parts of records.
    pub deltas: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Deletion,
    Refused,
    Work,
    Delta,
}

impl Mix {
    /// What comes next; without anything to mix in nothing is drawn.
    fn choose(self, random: &mut StdRng) -> Kind {
        if !(self.deletions || self.refused || self.work || self.deltas) {
            return Kind::Message;
        }
        match random.random_range(0..20) {
            0..2 if self.deletions => Kind::Deletion,
            2 if self.refused => Kind::Refused,
            3..9 if self.work => Kind::Work,
            9..13 if self.deltas => Kind::Delta,
            _ => Kind::Message,
        }
    }
}

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
    /// Every server refuses it.
    Refused,
}

/// A message of the present life.
#[derive(Debug)]
struct Sent {
    /// Its place in the log.
    ordinal: u64,
    number: usize,
    /// How many connections there had been when it was published.
    connections: usize,
}

/// A publisher across its lives.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) client: usize,
    pub(super) name: String,
    store: Store,
    mix: Mix,
    bodies: Vec<String>,
    fates: Vec<Fate>,
    /// Of this life.
    mine: Vec<Sent>,
    /// The numbers of those that one connection saw published and acknowledged:
    /// one server was given them, and then all had them. What an answer to a
    /// logon settles may be on some only.
    everywhere: BTreeSet<usize>,
    /// Of the keys that are never deleted, those the servers have.
    lasting: BTreeSet<String>,
}

impl Publisher {
    pub(super) fn new(client: usize, store: Store, mix: Mix) -> Self {
        let name = format!("publisher{client}");
        Self {
            client,
            name,
            store,
            mix,
            bodies: Vec::new(),
            fates: Vec::new(),
            mine: Vec::new(),
            everywhere: BTreeSet::new(),
            lasting: BTreeSet::new(),
        }
    }

    /// How many messages were accepted so far.
    pub(super) fn accepted(&self) -> usize {
        self.bodies.len()
    }

    /// Publishes one more message; a full store is no reason to fail.
    pub(super) fn publish(&mut self, pair: &mut Pair, random: &mut StdRng) {
        let number = self.bodies.len();
        let kind = self.mix.choose(random);
        let (half, key) = (random.random_bool(0.5), random.random_range(0..KEYS));
        let topic = match kind {
            Kind::Deletion => RECORDS,
            Kind::Refused => FORBIDDEN,
            Kind::Work => WORK,
            Kind::Delta => DELTAS,
            Kind::Message => [PLAIN, RECORDS][usize::from(half)],
        };
        let key = if kind == Kind::Deletion { DELETED + key % (KEYS - DELETED) } else { key };
        let filler = "x".repeat(random.random_range(0..300));
        // A server that merges writes the fields in this order again.
        let field = match kind {
            Kind::Delta => format!(r#""u{}":{number},"#, number % FIELDS),
            _ => String::new(),
        };
        let body = format!(r#"{{"id":"{}-{key}","n":{number},"t":"{topic}",{field}"x":"{filler}"}}"#, self.client);
        let written = match kind {
            Kind::Deletion => pair.write(self.client, body.clone(), 100 + topic.len() + body.len(), |sequence, out| {
                FrameWriter::sow_delete(out, topic, sequence).finish(body.as_bytes());
            }),
            Kind::Delta => pair.write(self.client, body.clone(), 100 + topic.len() + body.len(), |sequence, out| {
                FrameWriter::delta_publish(out, topic, sequence).finish(body.as_bytes());
            }),
            _ => pair.publish_to(self.client, topic, body.clone()),
        };
        if let Ok(ordinal) = written {
            self.mine.push(Sent { ordinal, number, connections: pair.attempts(self.client).len() });
            self.bodies.push(body);
            self.fates.push(if kind == Kind::Refused { Fate::Refused } else { Fate::Accepted });
        }
    }

    /// Notes what is promised by now.
    pub(super) fn listen(&mut self, pair: &Pair) {
        let cursors = pair.cursors(self.client);
        let keeps = matches!(self.store, Store::Disk(_));
        let now = pair.attempts(self.client).len();
        for Sent { ordinal, number, connections } in &self.mine {
            if self.fates[*number] == Fate::Refused {
                continue;
            } else if *ordinal < cursors.settled {
                self.fates[*number] = Fate::Settled;
                if *connections != now {
                    continue;
                }
                self.everywhere.insert(*number);
                let (body, lasts) = (&self.bodies[*number], format!(r#""t":"{RECORDS}""#));
                let key = key_of(body);
                if body.contains(&lasts) && !(DELETED..KEYS).any(|deleted| key.ends_with(&format!("-{deleted}"))) {
                    self.lasting.insert(key.to_owned());
                }
            } else if keeps && *ordinal < cursors.durable {
                self.fates[*number] = Fate::Promised;
            }
        }
        self.mine.retain(|sent| sent.ordinal >= cursors.settled);
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
            !matches!(fate, Fate::Open | Fate::Refused) && !have.contains(body)
        });
        if let Some((body, _)) = missing.next() {
            let what = format!("s{server} lacks {} messages of {}, such as {body}", 1 + missing.count(), self.name);
            return Some(Violation::new("no loss", what));
        }
        let due =
            self.bodies.iter().zip(&self.fates).filter(|(body, fate)| **fate != Fate::Refused && have.contains(body));
        let in_order: Vec<&String> = due.map(|(body, _)| body).collect();
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

    /// Keys that every server has, and that are never deleted.
    pub(super) fn lasting_keys(&self) -> impl Iterator<Item = &String> {
        self.lasting.iter()
    }

    /// The message with this number.
    pub(super) fn body(&self, number: u64) -> Option<&String> {
        self.bodies.get(usize::try_from(number).ok()?)
    }

    /// Messages of the plain topic that all servers have.
    pub(super) fn settled_plain(&self) -> impl Iterator<Item = &String> {
        let plain = format!(r#""t":"{PLAIN}""#);
        self.everywhere.iter().map(|number| &self.bodies[*number]).filter(move |body| body.contains(&plain))
    }

    /// Its store holds more than it may, as far as this life filled it.
    pub(super) fn over(&self, (bytes, messages): (usize, u64)) -> Option<Violation> {
        let held: usize = self.mine.iter().map(|sent| self.bodies[sent.number].len()).sum();
        let count = self.mine.len() as u64;
        let what = || format!("{} holds {held} bytes in {count} messages, of {bytes} and {messages}", self.name);
        (held > bytes || count > messages).then(|| Violation::new("bounded stores", what()))
    }

    /// Whether that is a message of this one's that one server was given, no
    /// other.
    pub(super) fn went_to_one(&self, body: &str) -> bool {
        let (publisher, number) = origin_of(body);
        publisher.parse() == Ok(self.client)
            && usize::try_from(number).is_ok_and(|number| self.everywhere.contains(&number))
    }

    /// How many of its messages the servers have acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.fates.iter().filter(|fate| **fate == Fate::Settled).count() as u64
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
