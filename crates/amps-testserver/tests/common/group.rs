//! Three meshed instances and publishers that keep the client's rules, joined
//! by pipes that deliver as many bytes as they are told to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use amps_core::{AckType, FrameDecoder, Message, Status};
use amps_testserver::{Config, ConnId, Engine, Journal, Link, MemoryJournal, PeerId, publisher_id};
use bytes::BytesMut;

use super::{logon, publish};

pub(crate) const NODES: usize = 3;
const NAMES: [&str; NODES] = ["A", "B", "C"];

pub(crate) struct Node {
    pub(crate) engine: Option<Engine>,
    pub(crate) journal: MemoryJournal,
    life: u64,
}

/// A publisher with a store. It follows the documented client: discard up to
/// the logon's sequence, replay the rest in order, then go on; and it stays
/// away from a server that lacks what an earlier one acknowledged.
pub(crate) struct Publisher {
    pub(crate) name: String,
    pub(crate) last: u64,
    pub(crate) acknowledged: u64,
    store: VecDeque<u64>,
    sent: u64,
    pipe: Option<usize>,
    pub(crate) node: usize,
    live: bool,
    decoder: FrameDecoder,
    pub(crate) refused_gaps: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Node { node: usize, life: u64, id: ConnId },
    Publisher(usize),
}

#[derive(Debug)]
struct Pipe {
    ends: [End; 2],
    /// Bytes on their way to each end.
    bytes: [VecDeque<u8>; 2],
    /// Ends that have not closed.
    open: [bool; 2],
    /// Nothing passes any more, which an end notices when it is carried to.
    dead: bool,
}

pub(crate) struct Group {
    pub(crate) nodes: Vec<Node>,
    pub(crate) publishers: Vec<Publisher>,
    pub(crate) now: Instant,
    pipes: BTreeMap<usize, Pipe>,
    last_pipe: usize,
    cut: BTreeSet<(usize, usize)>,
    link: Link,
}

impl Group {
    pub(crate) fn new(publishers: usize, link: Link) -> Self {
        let node = || Node { engine: None, journal: MemoryJournal::new(), life: 0 };
        let publisher = |ix| Publisher {
            name: format!("p{ix}"),
            last: 0,
            acknowledged: 0,
            store: VecDeque::new(),
            sent: 0,
            pipe: None,
            node: 0,
            live: false,
            decoder: FrameDecoder::new(1 << 20),
            refused_gaps: 0,
        };
        let mut group = Self {
            nodes: (0..NODES).map(|_| node()).collect(),
            publishers: (0..publishers).map(publisher).collect(),
            now: Instant::now(),
            pipes: BTreeMap::new(),
            last_pipe: 0,
            cut: BTreeSet::new(),
            link,
        };
        for node in 0..NODES {
            group.start(node);
        }
        group
    }

    pub(crate) fn engine(&mut self, node: usize) -> &mut Engine {
        self.nodes[node].engine.as_mut().expect("a running node")
    }

    /// Starts a node on its journal, if it is down.
    pub(crate) fn start(&mut self, node: usize) {
        if self.nodes[node].engine.is_some() {
            return;
        }
        self.nodes[node].life += 1;
        let mut config =
            Config::new(NAMES[node]).ack_conflation(Duration::from_millis(10)).incarnation(self.nodes[node].life);
        for peer in (0..NODES).filter(|peer| *peer != node) {
            config = config.peer(NAMES[peer], self.link);
        }
        let journal = self.nodes[node].journal.clone();
        self.nodes[node].engine = Some(Engine::new(config, Box::new(journal)).unwrap());
    }

    /// Ends a node at once. Bytes it has sent are still on their way.
    pub(crate) fn crash(&mut self, node: usize) {
        if self.nodes[node].engine.take().is_none() {
            return;
        }
        for pipe in self.pipes.values_mut() {
            for end in 0..2 {
                if matches!(pipe.ends[end], End::Node { node: n, .. } if n == node) {
                    pipe.open[end] = false;
                }
            }
        }
    }

    /// Ends a node and its journal with it.
    pub(crate) fn crash_and_forget(&mut self, node: usize) {
        self.crash(node);
        self.nodes[node].journal = MemoryJournal::new();
    }

    /// Cuts the links between two nodes, or lets them come back.
    pub(crate) fn partition(&mut self, a: usize, b: usize, on: bool) {
        let pair = (a.min(b), a.max(b));
        if !on {
            self.cut.remove(&pair);
            return;
        }
        self.cut.insert(pair);
        for pipe in self.pipes.values_mut() {
            if let [End::Node { node: x, .. }, End::Node { node: y, .. }] = pipe.ends
                && (x.min(y), x.max(y)) == pair
            {
                pipe.dead = true;
                pipe.bytes = [VecDeque::new(), VecDeque::new()];
            }
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        for node in 0..NODES {
            self.start(node);
        }
    }

    /// Points a publisher at a node, dropping its connection.
    pub(crate) fn point(&mut self, publisher: usize, node: usize) {
        self.drop_publisher(publisher);
        self.publishers[publisher].node = node;
    }

    fn drop_publisher(&mut self, publisher: usize) {
        if let Some(pipe) = self.publishers[publisher].pipe.take()
            && let Some(pipe) = self.pipes.get_mut(&pipe)
        {
            pipe.open[0] = false;
        }
        self.publishers[publisher].live = false;
    }

    pub(crate) fn publish(&mut self, publisher: usize, count: u64) {
        let publisher = &mut self.publishers[publisher];
        for _ in 0..count {
            publisher.last += 1;
            publisher.store.push_back(publisher.last);
        }
    }

    /// Whether nothing is stored any more at any publisher.
    pub(crate) fn settled(&self) -> bool {
        self.publishers.iter().all(|publisher| publisher.store.is_empty())
    }

    /// Dials what wants to be dialed, connects publishers, does what is due.
    pub(crate) fn tick(&mut self, passed: Duration) {
        self.now += passed;
        for node in 0..NODES {
            let now = self.now;
            let Some(engine) = &mut self.nodes[node].engine else { continue };
            engine.handle_timeout(now);
            while let Some((peer, uri)) = self.nodes[node].engine.as_mut().and_then(|e| e.poll_dial(now)) {
                let other = NAMES.iter().position(|name| *name == uri).unwrap();
                self.dial(node, peer, other);
            }
        }
        for publisher in 0..self.publishers.len() {
            self.connect_publisher(publisher);
        }
    }

    fn dial(&mut self, node: usize, peer: PeerId, other: usize) {
        let now = self.now;
        let blocked = self.cut.contains(&(node.min(other), node.max(other)));
        if blocked || self.nodes[other].engine.is_none() {
            self.engine(node).dial_failed(now, peer);
            return;
        }
        let id = self.engine(node).dialed(now, peer);
        let dialed = End::Node { node, life: self.nodes[node].life, id };
        let id = self.engine(other).accept(now);
        self.pipe(dialed, End::Node { node: other, life: self.nodes[other].life, id });
    }

    fn pipe(&mut self, a: End, b: End) -> usize {
        self.last_pipe += 1;
        let bytes = [VecDeque::new(), VecDeque::new()];
        self.pipes.insert(self.last_pipe, Pipe { ends: [a, b], bytes, open: [true, true], dead: false });
        self.last_pipe
    }

    fn connect_publisher(&mut self, ix: usize) {
        let node = self.publishers[ix].node;
        if self.publishers[ix].pipe.is_some() || self.nodes[node].engine.is_none() {
            return;
        }
        let now = self.now;
        let id = self.engine(node).accept(now);
        let pipe = self.pipe(End::Publisher(ix), End::Node { node, life: self.nodes[node].life, id });
        let mut bytes = BytesMut::new();
        logon(&self.publishers[ix].name).encode(&mut bytes);
        self.pipes.get_mut(&pipe).unwrap().bytes[1].extend(&bytes);
        let publisher = &mut self.publishers[ix];
        publisher.pipe = Some(pipe);
        publisher.live = false;
        publisher.decoder = FrameDecoder::new(1 << 20);
    }

    /// Moves up to `limit` bytes toward one end of one pipe, chosen by number;
    /// whether anything moved.
    pub(crate) fn carry(&mut self, choice: usize, limit: usize) -> bool {
        if self.pipes.is_empty() {
            return false;
        }
        let at = (choice / 2) % self.pipes.len();
        let pipe = *self.pipes.keys().nth(at).unwrap();
        self.carry_on(pipe, choice % 2, limit)
    }

    fn carry_on(&mut self, number: usize, to: usize, limit: usize) -> bool {
        let from = 1 - to;
        if self.pipes.get(&number).is_some_and(|pipe| pipe.dead) {
            return self.notice(number, to);
        }
        self.fill(number, from);
        let Some(pipe) = self.pipes.get_mut(&number) else { return false };
        let count = limit.min(pipe.bytes[to].len());
        let bytes: Vec<u8> = pipe.bytes[to].drain(..count).collect();
        let (target, drained) = (pipe.ends[to], pipe.bytes[to].is_empty());
        let (target_open, source_open) = (pipe.open[to], pipe.open[from]);
        if target_open && !bytes.is_empty() {
            self.deliver(target, &bytes);
        }
        if !source_open && drained {
            if target_open {
                self.end(target);
            }
            if let Some(pipe) = self.pipes.get_mut(&number) {
                pipe.open[to] = false;
            }
        }
        self.close_ends(number);
        if let Some(pipe) = self.pipes.get(&number)
            && pipe.open == [false, false]
        {
            self.pipes.remove(&number);
        }
        count > 0
    }

    /// An end of a dead pipe notices.
    fn notice(&mut self, number: usize, to: usize) -> bool {
        let Some(pipe) = self.pipes.get_mut(&number) else { return false };
        let (target, was_open) = (pipe.ends[to], std::mem::take(&mut pipe.open[to]));
        if pipe.open == [false, false] {
            self.pipes.remove(&number);
        }
        if was_open {
            self.end(target);
        }
        was_open
    }

    /// Takes what the source has to send.
    fn fill(&mut self, number: usize, from: usize) {
        let Some(pipe) = self.pipes.get(&number) else { return };
        if !pipe.open[from] || !pipe.bytes[1 - from].is_empty() {
            return;
        }
        let bytes = match pipe.ends[from] {
            End::Node { node, life, id } if self.nodes[node].life == life => {
                let Some(engine) = &mut self.nodes[node].engine else { return };
                engine.poll_transmit(id).map(|bytes| bytes.to_vec()).unwrap_or_default()
            }
            End::Node { .. } => return,
            End::Publisher(ix) => self.publishers[ix].outgoing(),
        };
        self.pipes.get_mut(&number).unwrap().bytes[1 - from].extend(bytes);
    }

    fn deliver(&mut self, target: End, bytes: &[u8]) {
        let now = self.now;
        match target {
            End::Node { node, life, id } if self.nodes[node].life == life => {
                if let Some(engine) = &mut self.nodes[node].engine {
                    engine.receive(now, id, bytes);
                }
            }
            End::Node { .. } => {}
            End::Publisher(ix) => {
                self.publishers[ix].decoder.extend(bytes);
                while let Some(frame) = self.publishers[ix].decoder.next_frame().unwrap() {
                    self.acknowledged(ix, &Message::decode(frame).unwrap());
                }
            }
        }
    }

    fn acknowledged(&mut self, ix: usize, message: &Message) {
        let node = self.publishers[ix].node;
        let sequence = message.sequence().unwrap_or(0);
        assert_eq!(message.status(), Status::Success, "{message:?}");
        if message.ack_type() == Some(AckType::Processed) && sequence < self.publishers[ix].acknowledged {
            self.publishers[ix].refused_gaps += 1;
            self.drop_publisher(ix);
            return;
        }
        if self.nodes[node].engine.is_some() {
            self.check_promise(ix, node, sequence);
        }
        let publisher = &mut self.publishers[ix];
        publisher.acknowledged = publisher.acknowledged.max(sequence);
        publisher.store.retain(|stored| *stored > sequence);
        if message.ack_type() == Some(AckType::Processed) {
            publisher.live = true;
            publisher.sent = sequence;
        }
    }

    /// A promise holds: the node has everything up to the sequence in its
    /// journal, and what it took from the publisher itself its peers have too.
    fn check_promise(&mut self, ix: usize, node: usize, sequence: u64) {
        let id = publisher_id(&self.publishers[ix].name);
        let own = journaled(&self.nodes[node].journal, id);
        let through = own.iter().filter(|(s, _)| *s <= sequence);
        assert_eq!(through.clone().count() as u64, sequence, "promised and not in the journal");
        if self.link == Link::Sync {
            for other in 0..NODES {
                let other: BTreeSet<u64> =
                    journaled(&self.nodes[other].journal, id).into_iter().map(|(s, _)| s).collect();
                for (sequence, direct) in through.clone() {
                    assert!(!direct || other.contains(sequence), "promised {sequence} and a sync peer lacks it");
                }
            }
        }
    }

    fn end(&mut self, target: End) {
        let now = self.now;
        match target {
            End::Node { node, life, id } if self.nodes[node].life == life => {
                if let Some(engine) = &mut self.nodes[node].engine {
                    engine.closed(now, id);
                }
            }
            End::Node { .. } => {}
            End::Publisher(ix) => {
                self.publishers[ix].pipe = None;
                self.publishers[ix].live = false;
            }
        }
    }

    /// Ends that want to close do.
    fn close_ends(&mut self, number: usize) {
        for end in 0..2 {
            let Some(pipe) = self.pipes.get_mut(&number) else { return };
            if let End::Node { node, life, id } = pipe.ends[end]
                && pipe.open[end]
                && self.nodes[node].life == life
                && let Some(engine) = &mut self.nodes[node].engine
                && engine.should_close(id)
            {
                pipe.open[end] = false;
                engine.closed(self.now, id);
            }
        }
    }

    /// Lets everything run until nothing moves for a while.
    pub(crate) fn drive(&mut self) {
        let mut idle = 0;
        for _ in 0..100_000 {
            self.tick(Duration::from_millis(20));
            let numbers: Vec<_> = self.pipes.keys().copied().collect();
            let mut moved = false;
            for number in numbers {
                moved |= self.carry_on(number, 0, usize::MAX);
                moved |= self.carry_on(number, 1, usize::MAX);
            }
            idle = if moved { 0 } else { idle + 1 };
            if idle > 20 {
                return;
            }
        }
        panic!("never at rest");
    }

    /// Every log holds every publisher's messages once and in order.
    pub(crate) fn assert_complete(&mut self) {
        for (node, name) in NAMES.iter().enumerate() {
            let log = self.engine(node).log();
            for publisher in &self.publishers {
                let found: Vec<_> =
                    log.iter().filter(|m| m.client_name == publisher.name).map(|m| m.sequence).collect();
                let expected: Vec<_> = (1..=publisher.last).collect();
                assert_eq!(found, expected, "{} on {name}", publisher.name);
            }
        }
    }

    /// Every log holds each publisher's messages without a hole so far.
    pub(crate) fn assert_no_hole(&mut self) {
        for node in &self.nodes {
            for publisher in &self.publishers {
                let found: Vec<_> =
                    journaled(&node.journal, publisher_id(&publisher.name)).into_iter().map(|(s, _)| s).collect();
                let expected: Vec<_> = (1..=found.len() as u64).collect();
                assert_eq!(found, expected, "{}", publisher.name);
            }
        }
    }
}

impl Publisher {
    fn outgoing(&mut self) -> Vec<u8> {
        let mut out = BytesMut::new();
        if self.live {
            for sequence in self.store.iter().filter(|sequence| **sequence > self.sent) {
                publish("t", *sequence).encode(&mut out);
            }
            self.sent = self.store.back().copied().unwrap_or(self.sent).max(self.sent);
        }
        out.to_vec()
    }
}

fn journaled(journal: &MemoryJournal, publisher: u64) -> Vec<(u64, bool)> {
    let mut found = Vec::new();
    journal
        .clone()
        .load(&mut |record| {
            if let amps_testserver::journal::Record::Message(message) = record
                && message.publisher == publisher
            {
                found.push((message.sequence, message.direct));
            }
        })
        .unwrap();
    found
}
