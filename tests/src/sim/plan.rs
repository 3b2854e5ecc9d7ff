//! What a seed stands for.

use std::time::Duration;

use super::Profile;
use super::fault::Fault;
use super::publisher::Mix;
use crate::Store;

/// How long everything runs without faults at first, so that every subscription
/// has seen every publisher for longer than the resume overlap.
pub(super) const CALM: Duration = Duration::from_secs(12);

/// Everything about a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where it comes from; also the seed of the network and of the traffic.
    pub seed: u64,
    /// What kinds of faults it has.
    pub profile: Profile,
    /// Who takes part.
    pub world: World,
    /// What goes wrong, in order of time.
    pub faults: Vec<Event>,
}

/// Who takes part, and how the network is.
#[derive(Debug, Clone)]
pub struct World {
    /// Servers, each linked to all others.
    pub servers: usize,
    /// Publishers, by their stores. They are the first clients.
    pub publishers: Vec<Store>,
    /// Subscribers with bookmarks and a bookmark store on a disk.
    pub subscribers: usize,
    /// Subscribers that keep the records of a SOW topic.
    pub viewers: usize,
    /// Clients that query that topic again and again.
    pub askers: usize,
    /// Subscribers that replace their filter again and again.
    pub choosers: usize,
    /// Consumers of a queue.
    pub workers: usize,
    /// Clients that pause and resume subscriptions again and again.
    pub pausers: usize,
    /// Clients that ask for ranges of the log again and again.
    pub rangers: usize,
    /// Subscribers to deltas.
    pub delta_viewers: usize,
    /// How viewers are spared updates.
    pub conflation: Conflation,
    /// Whether each subscriber has another subscription before that one, which
    /// servers may refuse.
    pub guests: bool,
    /// What is written beside plain messages.
    pub mix: Mix,
    /// Messages of each publisher.
    pub messages: usize,
    /// For how long they publish.
    pub traffic: Duration,
    /// How long bytes travel, one way.
    pub latency: Duration,
    /// How much longer than others a connection's bytes may travel.
    pub jitter: Duration,
    /// Bytes and messages that a publisher's store holds at most.
    pub bound: (usize, u64),
    /// Bytes that fit between a writer and its reader.
    pub room: usize,
    /// Bytes a publisher with a disk keeps in memory.
    pub resident: usize,
    /// Messages that wait in a subscriber's queue at most.
    pub queue: usize,
}

impl World {
    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.publishers.len() + self.readers()
    }

    fn readers(&self) -> usize {
        let looking = self.viewers + self.delta_viewers + self.askers + self.rangers;
        self.subscribers + looking + self.choosers + self.pausers + self.workers
    }

    /// The store of a client, if it publishes.
    pub fn store(&self, client: usize) -> Option<Store> {
        self.publishers.get(client).copied()
    }
}

/// How updates of a record that follow each other closely become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflation {
    /// They do not.
    None,
    /// At the server, within this time.
    Server(Duration),
    /// In the client, while they wait.
    Client,
}

/// One fault and its time, from the beginning.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

impl Plan {
    /// The plan of a seed. Each kind of fault is on or off as a whole, so that
    /// some plans have much of one kind and nothing of others.
    pub fn of(profile: Profile, seed: u64) -> Self {
        match profile {
            Profile::First => super::first::plan(seed),
            _ => super::profile::plan(profile, seed),
        }
    }
}
