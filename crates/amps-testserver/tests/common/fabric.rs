//! Meshed instances with one queue, and consumers at them, joined by pipes.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use amps_core::{AckType, Bookmark, Command, Field, FrameDecoder, Message};
use amps_testserver::{Config, ConnId, Engine, Link, MemoryJournal, QueueConfig, QueueDepth, publisher_id};
use bytes::BytesMut;

use super::{logon, publish, subscribe};

const NAMES: [&str; 3] = ["A", "B", "C"];

/// One instance and its journal.
struct Node {
    engine: Option<Engine>,
    journal: MemoryJournal,
    life: u64,
    /// What its publisher sent last.
    published: u64,
}

/// A consumer's connection.
pub(crate) struct Consumer {
    pub(crate) node: usize,
    id: ConnId,
    decoder: FrameDecoder,
    /// What it has and did not acknowledge.
    pub(crate) held: Vec<Bookmark>,
}

pub(crate) struct Fabric {
    nodes: Vec<Node>,
    pub(crate) now: Instant,
    /// Each with the connections at its two ends.
    links: Vec<[(usize, ConnId); 2]>,
    cut: BTreeSet<(usize, usize)>,
    queue: QueueConfig,
}

impl Fabric {
    pub(crate) fn new(nodes: usize, queue: QueueConfig) -> Self {
        let node = |_| Node { engine: None, journal: MemoryJournal::new(), life: 0, published: 0 };
        let nodes: Vec<_> = (0..nodes).map(node).collect();
        let mut fabric = Self { nodes, now: Instant::now(), links: Vec::new(), cut: BTreeSet::new(), queue };
        for node in 0..fabric.nodes.len() {
            fabric.start(node);
        }
        fabric.settle();
        fabric
    }

    pub(crate) fn engine(&mut self, node: usize) -> &mut Engine {
        self.nodes[node].engine.as_mut().expect("a running instance")
    }

    pub(crate) fn is_up(&self, node: usize) -> bool {
        self.nodes[node].engine.is_some()
    }

    /// Starts an instance on its journal, if it is down.
    pub(crate) fn start(&mut self, node: usize) {
        if self.is_up(node) {
            return;
        }
        self.nodes[node].life += 1;
        let mut config = Config::new(NAMES[node]).queue(self.queue.clone()).incarnation(self.nodes[node].life << 32);
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            config = config.peer(NAMES[peer], Link::Sync);
        }
        let journal = self.nodes[node].journal.clone();
        self.nodes[node].engine = Some(Engine::new(config, Box::new(journal)).unwrap());
    }

    /// Ends an instance at once.
    pub(crate) fn crash(&mut self, node: usize) {
        if self.nodes[node].engine.take().is_some() {
            self.end_links(|ends| ends.contains(&node));
        }
    }

    /// Ends an instance at once, and its disk is lost.
    pub(crate) fn lose(&mut self, node: usize) {
        self.crash(node);
        self.nodes[node].journal = MemoryJournal::new();
    }

    /// Cuts the links between two instances, or lets them come back.
    pub(crate) fn partition(&mut self, a: usize, b: usize, on: bool) {
        if !on {
            self.cut.remove(&(a.min(b), a.max(b)));
            return;
        }
        self.cut.insert((a.min(b), a.max(b)));
        self.end_links(|ends| ends.contains(&a) && ends.contains(&b));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        for node in 0..self.nodes.len() {
            self.start(node);
        }
    }

    fn end_links(&mut self, which: impl Fn(&[usize; 2]) -> bool) {
        let (ended, kept) = self.links.drain(..).partition(|[a, b]| which(&[a.0, b.0]));
        self.links = kept;
        self.close_ends(ended);
    }

    fn close_ends(&mut self, ended: Vec<[(usize, ConnId); 2]>) {
        for (node, id) in ended.into_iter().flatten() {
            if let Some(engine) = &mut self.nodes[node].engine {
                engine.closed(self.now, id);
            }
        }
    }

    /// Lets time pass and dials what wants to be dialed.
    pub(crate) fn tick(&mut self, passed: Duration) {
        self.now += passed;
        let now = self.now;
        for node in 0..self.nodes.len() {
            let Some(engine) = &mut self.nodes[node].engine else { continue };
            engine.handle_timeout(now);
            while let Some((peer, uri)) = self.engine(node).poll_dial(now) {
                let other = NAMES.iter().position(|name| *name == uri).unwrap();
                if self.cut.contains(&(node.min(other), node.max(other))) || !self.is_up(other) {
                    self.engine(node).dial_failed(now, peer);
                    continue;
                }
                let dialed = self.engine(node).dialed(now, peer);
                let accepted = self.engine(other).accept(now);
                self.links.push([(node, dialed), (other, accepted)]);
            }
        }
        self.end_closed();
    }

    /// Carries what waits on one link, one way; whether that was anything.
    pub(crate) fn carry(&mut self, choice: usize) -> bool {
        if self.links.is_empty() {
            return false;
        }
        let link = self.links[choice / 2 % self.links.len()];
        let (from, to) = if choice.is_multiple_of(2) { (link[0], link[1]) } else { (link[1], link[0]) };
        let now = self.now;
        let Some(bytes) = self.engine(from.0).poll_transmit(from.1) else { return false };
        self.engine(to.0).receive(now, to.1, &bytes);
        assert!(self.engine(to.0).stats().violations.is_empty(), "{:?}", self.engine(to.0).stats().violations);
        self.end_closed();
        true
    }

    /// Ends the links one end gave up.
    fn end_closed(&mut self) {
        let nodes = &self.nodes;
        let closes = |(node, id): &(usize, ConnId)| nodes[*node].engine.as_ref().is_none_or(|e| e.should_close(*id));
        let (ended, kept) = self.links.drain(..).partition(|ends: &[(usize, ConnId); 2]| ends.iter().any(closes));
        self.links = kept;
        self.close_ends(ended);
    }

    /// Lets everything run until nothing moves.
    pub(crate) fn settle(&mut self) {
        let mut idle = 0;
        while idle < 3 {
            self.tick(Duration::from_millis(100));
            let moved = (0..2 * self.links.len()).fold(false, |moved, choice| self.carry(choice) | moved);
            idle = if moved { 0 } else { idle + 1 };
        }
    }

    /// Publishes so many messages to the queue at an instance, as its publisher
    /// `p0`, `p1` or `p2`.
    pub(crate) fn publish(&mut self, node: usize, count: u64) {
        let before = self.nodes[node].published;
        self.nodes[node].published += count;
        self.send(node, node, before + 1..=before + count);
    }

    /// An instance's publisher sends again, to another, what it sent so far.
    pub(crate) fn repeat(&mut self, publisher: usize, at: usize) {
        self.send(publisher, at, 1..=self.nodes[publisher].published);
    }

    fn send(&mut self, publisher: usize, at: usize, sequences: RangeInclusive<u64>) {
        let now = self.now;
        let id = self.engine(at).accept(now);
        let mut bytes = BytesMut::new();
        logon(&format!("p{publisher}")).encode(&mut bytes);
        for sequence in sequences {
            publish("work", sequence).encode(&mut bytes);
        }
        self.engine(at).receive(now, id, &bytes);
        self.engine(at).closed(now, id);
    }

    /// Everything that was published.
    pub(crate) fn published(&self) -> BTreeSet<Bookmark> {
        let all = self.nodes.iter().enumerate();
        all.flat_map(|(node, n)| (1..=n.published).map(move |sequence| message(node, sequence))).collect()
    }

    /// A consumer with that backlog.
    pub(crate) fn consumer(&mut self, node: usize, backlog: u64) -> Consumer {
        let now = self.now;
        let id = self.engine(node).accept(now);
        let mut bytes = BytesMut::new();
        logon(&format!("c{node}-{}", id.number())).encode(&mut bytes);
        let options = format!("max_backlog={backlog}");
        subscribe("c", "work", AckType::Processed).text(Field::Options, options).encode(&mut bytes);
        self.engine(node).receive(now, id, &bytes);
        Consumer { node, id, decoder: FrameDecoder::new(1 << 20), held: Vec::new() }
    }

    /// What has come for a consumer since the last time.
    pub(crate) fn received(&mut self, consumer: &mut Consumer) -> Vec<Bookmark> {
        while let Some(bytes) = self.engine(consumer.node).poll_transmit(consumer.id) {
            consumer.decoder.extend(&bytes);
        }
        let mut found = Vec::new();
        while let Some(frame) = consumer.decoder.next_frame().unwrap() {
            let message = Message::decode(frame).unwrap();
            if message.raw(Field::Command) == Some("p") {
                found.push(message.bookmark().expect("a bookmark"));
            }
        }
        consumer.held.extend(&found);
        found
    }

    /// Acknowledges, or gives back with the option `cancel`.
    pub(crate) fn acknowledge(&mut self, consumer: &mut Consumer, which: &[Bookmark], options: &str) {
        consumer.held.retain(|held| !which.contains(held));
        let mut bytes = BytesMut::new();
        let command = Command::sow_delete("work").bookmarks(which.iter().copied());
        command.text(Field::Options, options).encode(&mut bytes);
        let now = self.now;
        self.engine(consumer.node).receive(now, consumer.id, &bytes);
    }

    pub(crate) fn leave(&mut self, consumer: Consumer) {
        let now = self.now;
        if let Some(engine) = &mut self.nodes[consumer.node].engine {
            engine.closed(now, consumer.id);
        }
    }

    /// Messages available, elsewhere and leased at an instance.
    pub(crate) fn depth(&mut self, node: usize) -> (usize, usize, usize) {
        let QueueDepth { available, elsewhere, leased, .. } = self.engine(node).queue("work").expect("a queue");
        (available, elsewhere, leased)
    }
}

/// The bookmark of a message published at an instance.
pub(crate) fn message(node: usize, sequence: u64) -> Bookmark {
    Bookmark { publisher: publisher_id(&format!("p{node}")), sequence }
}
