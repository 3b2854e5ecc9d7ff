//! What a bookmark subscription has received and discarded, and where it
//! resumes.
//!
//! [`Bookmarks`] is the state of one subscription: no clock, no disk, no
//! sockets. A [`store`] keeps it across restarts.
//!
//! Servers of a group hold the same messages, each publisher's in the order of
//! its sequences, but interleave publishers differently (AMPS User Guide,
//! "Message Ordering"). So a single last bookmark is a position in one server's
//! log only. This is what is known, and how it decides where to resume:
//!
//! * **The same server again, in the same process**: behind the last message
//!   that came from it. That is exact, costs no replay, and does not depend on
//!   discards: what was received and not discarded is still with the
//!   application. Per-publisher floors would be no safer here and may be wrong:
//!   after a failover they name messages that this server delivers later.
//! * **Another server**: behind messages received at least the *overlap* before
//!   the previous server was last known to have nothing more for us, one per
//!   publisher. A publisher not seen yet may already lie before newer ones in
//!   the other server's log. As long as replication lags less than half the
//!   overlap (there and back), nothing is missed; what comes twice is filtered.
//!   With nothing that old, the subscription starts where it started at first.
//! * **After a restart**: the list of floors, per publisher the newest message
//!   such that everything received up to it is discarded, each lowered to the
//!   position the overlap demanded, if one was saved. In the first `overlap` of
//!   a new subscription's life none is: then a restart *and* a change of server
//!   together may miss the first messages of a publisher not seen before.
//!
//! A list starts at the earliest of its bookmarks in the server's own log. One
//! publisher that fell silent long ago makes the replay after a failover or a
//! restart long; everything in it is filtered. No message is given up for speed.
//!
//! A server's name must mean one server. Behind an address that may lead to
//! several, pass a name that is different for every connection.

#[cfg(any(test, feature = "oracles"))]
#[doc(hidden)]
pub mod oracle;
mod pending;
mod publisher;
pub mod store;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use amps_core::{Bookmark, StartAt, planted};

use publisher::Publisher;
use store::ResumePoint;

/// The default resume overlap.
pub const DEFAULT_OVERLAP: Duration = Duration::from_secs(10);

/// Where a log begins: the place of a server whose log is empty, which says `0`.
pub const LOG_START: Bookmark = Bookmark { publisher: 0, sequence: 0 };

/// Whether a message is to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// Deliver it.
    New,
    /// It was delivered in this life or discarded in an earlier one: drop it.
    Duplicate,
}

/// What is kept of one publisher.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublisherState {
    /// The newest sequence up to which everything received is discarded.
    /// `None`: the publisher was seen, and nothing of it is discarded.
    pub floor: Option<u64>,
    /// A sequence from which resuming on any server misses nothing.
    pub anchor: Option<u64>,
    /// What is discarded above the floor: ranges, both ends included, ascending.
    pub ahead: Vec<(u64, u64)>,
}

/// What is kept of one subscription, or what changed of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BookmarkState {
    /// Where a subscription that started at NOW started; [`LOG_START`] in an
    /// empty log.
    pub base: Option<Bookmark>,
    /// Publishers by their hash. The order matters to a store: a publisher's
    /// first entry, without a floor, must be written before the floors of others.
    pub publishers: Vec<(u64, PublisherState)>,
}

impl BookmarkState {
    /// Whether nothing is known, or nothing changed.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.publishers.is_empty()
    }
}

/// The bookmarks of one subscription.
///
/// Memory is bounded by what is received and not discarded: in-order discards
/// leave a few numbers per publisher.
#[derive(Debug)]
pub struct Bookmarks {
    start: StartAt,
    overlap: Duration,
    publishers: BTreeMap<u64, Publisher>,
    base: Option<Bookmark>,
    /// The first message received in this life.
    first: Option<Bookmark>,
    connection: Option<Connection>,
    /// Publishers of which something changed, each once.
    changed: Vec<u64>,
    base_changed: bool,
    undiscarded: usize,
    duplicates: u64,
}

/// The connection the subscription was last entered on.
#[derive(Debug)]
struct Connection {
    server: String,
    started_at: StartAt,
    /// The last message from this server: a position in its log.
    here: Option<Bookmark>,
    /// When this server last had nothing more for us.
    drained: Option<Instant>,
    completed: bool,
}

impl Bookmarks {
    /// A subscription nothing is known of, which is to start at `start`.
    /// `overlap` is explained at the [module](self).
    pub fn new(start: StartAt, overlap: Duration) -> Self {
        Self {
            start,
            overlap,
            publishers: BTreeMap::new(),
            base: None,
            first: None,
            connection: None,
            changed: Vec::new(),
            base_changed: false,
            undiscarded: 0,
            duplicates: 0,
        }
    }

    /// A subscription of an earlier life, as a store kept it. What is known
    /// comes before `start`; to start afresh, purge the store.
    pub fn recovered(start: StartAt, overlap: Duration, state: &BookmarkState) -> Self {
        let publishers = state.publishers.iter().map(|(hash, state)| (*hash, Publisher::recovered(state))).collect();
        Self { base: state.base, publishers, ..Self::new(start, overlap) }
    }

    /// The subscription is about to be entered on a server: where it is to start.
    pub fn connect(&mut self, server: &str) -> StartAt {
        if let Some(connection) = &mut self.connection
            && (connection.server == server || planted::is("resume-as-on-same-server"))
        {
            connection.completed = false;
            if let Some(here) = connection.here {
                connection.started_at = here.into();
            }
            return connection.started_at.clone();
        }
        let reentered = self.connection.is_some();
        let drained = self.connection.take().and_then(|connection| connection.drained);
        for publisher in self.publishers.values_mut() {
            publisher.promote(drained, self.overlap);
        }
        let started_at = self.start_elsewhere(reentered);
        self.connection = Some(Connection {
            server: server.to_owned(),
            started_at: started_at.clone(),
            here: None,
            drained: None,
            completed: false,
        });
        started_at
    }

    /// Where the subscription is to go on if it is replaced now. `None` while
    /// nobody knows: it started at NOW, and neither a message nor `completed`
    /// has come since. At NOW again, what was published in between would be lost.
    pub fn place(&self) -> Option<StartAt> {
        let connection = self.connection.as_ref()?;
        let known = connection.started_at != StartAt::Now || connection.here.is_some() || connection.completed;
        known.then(|| connection.here.map_or_else(|| connection.started_at.clone(), StartAt::from))
    }

    /// The server replaced the subscription with one that started at `start`:
    /// messages since then may come once more, and `completed` comes again.
    pub fn replaced(&mut self, start: StartAt) {
        if let Some(connection) = &mut self.connection {
            connection.completed = false;
            connection.started_at = start;
        }
    }

    /// The subscription was entered somewhere else than [`Bookmarks::connect`]
    /// said, because the server did not know those bookmarks.
    pub fn started_instead(&mut self, start: StartAt) {
        if let Some(connection) = &mut self.connection {
            connection.here = None;
            connection.started_at = start;
        }
    }

    /// A message came. `now` is the time of its receipt.
    ///
    /// `New` must be kept for the application: it does not come again in this
    /// life, whether or not it is discarded.
    pub fn receive(&mut self, now: Instant, bookmark: Bookmark) -> Receipt {
        self.first.get_or_insert(bookmark);
        let drained = self.drained_at();
        if let Some(connection) = &mut self.connection {
            connection.here = Some(bookmark);
        }
        let publisher = self.publishers.entry(bookmark.publisher).or_default();
        publisher.mark(now, bookmark.sequence, drained, self.overlap);
        let floor = publisher.floor();
        let receipt = publisher.receive(bookmark.sequence);
        if (!publisher.is_saved() || publisher.floor() != floor) && publisher.set_changed() {
            self.changed.push(bookmark.publisher);
        }
        match receipt {
            Receipt::New => self.undiscarded += 1,
            Receipt::Duplicate => self.duplicates += 1,
        }
        receipt
    }

    /// The server had nothing more for us at `now`: the last read of the socket
    /// found it empty. Call it then, about once a second is enough. Without it
    /// the overlap reaches back to the start of the subscription: a reader that
    /// is behind does not know how far.
    ///
    /// Ignored until `completed` came on this connection: a server that pauses
    /// within a replay has more for us.
    pub fn drained(&mut self, now: Instant) {
        if let Some(connection) = self.connection.as_mut().filter(|connection| connection.completed) {
            connection.drained = connection.drained.max(Some(now));
        }
    }

    /// The application is done with a message; any order is allowed. `false` if
    /// it was not waiting for that: never received, or discarded before.
    ///
    /// It survives a restart once a store has what [`Bookmarks::take_changes`]
    /// answers after this.
    pub fn discard(&mut self, bookmark: Bookmark) -> bool {
        let Some(publisher) = self.publishers.get_mut(&bookmark.publisher) else { return false };
        let discarded = publisher.discard(bookmark.sequence);
        if discarded {
            self.undiscarded -= 1;
            if publisher.set_changed() {
                self.changed.push(bookmark.publisher);
            }
        }
        discarded
    }

    /// The `completed` acknowledgment of the current connection came, with its
    /// bookmark if it had one; [`LOG_START`] if the log was empty.
    pub fn completed(&mut self, now: Instant, bookmark: Option<Bookmark>) {
        let Some(connection) = &mut self.connection else { return };
        connection.completed = true;
        let Some(bookmark) = bookmark.filter(|bookmark| is_a_message(bookmark) || *bookmark == LOG_START) else {
            return;
        };
        let started_now = connection.started_at == StartAt::Now;
        if started_now && self.base.is_none() {
            self.base = Some(bookmark);
            self.base_changed = true;
        }
        if bookmark == LOG_START {
            if started_now {
                connection.started_at = StartAt::Epoch;
            }
            return;
        }
        connection.here.get_or_insert(bookmark);
        if started_now {
            // What lies before was never asked for.
            self.publishers.entry(bookmark.publisher).or_default().skip_through(bookmark.sequence);
        }
        self.raise(now, bookmark);
    }

    /// A `persisted` acknowledgment of this subscription came: every server has
    /// the log up to there (AMPS User Guide, "Bookmark Subscriptions and
    /// Persisted Acknowledgments"). It raises the floor of its own publisher
    /// only, never to or past a message received and not discarded, and is
    /// ignored until `completed` came on this connection.
    pub fn persisted(&mut self, now: Instant, bookmark: Bookmark) {
        if self.connection.as_ref().is_some_and(|connection| connection.completed) && is_a_message(&bookmark) {
            self.raise(now, bookmark);
        }
    }

    /// What changed since the last call, for a store. Take it when the store is
    /// ready to write: changes in between are conflated.
    pub fn take_changes(&mut self) -> BookmarkState {
        let drained = self.drained_at();
        let mut changes = BookmarkState::default();
        if std::mem::take(&mut self.base_changed) {
            changes.base = self.base;
        }
        let mut states = Vec::with_capacity(self.changed.len());
        self.changed.sort_unstable();
        for hash in self.changed.drain(..) {
            let Some(publisher) = self.publishers.get_mut(&hash) else { continue };
            let state = publisher.state(drained, self.overlap);
            if !publisher.set_saved() {
                // Were a crash to keep another's floor and not this publisher,
                // a restart could resume behind its undiscarded messages.
                changes.publishers.push((hash, PublisherState::default()));
                if state == PublisherState::default() {
                    continue;
                }
            }
            states.push((hash, state));
        }
        changes.publishers.append(&mut states);
        changes
    }

    /// Where a new process is to resume once these messages are done with too. They
    /// need not be discarded yet, and nothing is changed by asking: store it in the
    /// transaction that their effects are in, and discard them when that is
    /// committed.
    ///
    /// What is discarded out of order is not in it. Costs a look at every publisher.
    pub fn resume_point(&mut self, done: impl IntoIterator<Item = Bookmark>) -> ResumePoint {
        let drained = self.drained_at();
        let mut sequences: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for bookmark in done {
            sequences.entry(bookmark.publisher).or_default().push(bookmark.sequence);
        }
        sequences.values_mut().for_each(|sequences| sequences.sort_unstable());
        let point = |(hash, publisher): (&u64, &mut Publisher)| {
            let done = sequences.get(hash).map_or(&[][..], Vec::as_slice);
            (*hash, publisher.point(done, drained, self.overlap))
        };
        ResumePoint::new(self.base, self.publishers.iter_mut().map(point).collect())
    }

    /// How many messages were received and not discarded.
    pub fn undiscarded(&self) -> usize {
        self.undiscarded
    }

    /// Since when the oldest message that is not discarded is there, at the
    /// earliest.
    pub fn undiscarded_since(&mut self) -> Option<Instant> {
        self.publishers.values_mut().filter_map(Publisher::undiscarded_since).min()
    }

    /// How many messages were dropped as duplicates.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    fn drained_at(&self) -> Option<Instant> {
        self.connection.as_ref().and_then(|connection| connection.drained)
    }

    fn raise(&mut self, now: Instant, bookmark: Bookmark) {
        let drained = self.drained_at();
        let publisher = self.publishers.entry(bookmark.publisher).or_default();
        publisher.mark(now, bookmark.sequence, drained, self.overlap);
        if publisher.persisted(bookmark.sequence) && publisher.set_changed() {
            self.changed.push(bookmark.publisher);
        }
    }

    fn start_elsewhere(&self, reentered: bool) -> StartAt {
        let known: Vec<_> = self
            .publishers
            .iter()
            .filter_map(|(hash, publisher)| Some(Bookmark { publisher: *hash, sequence: publisher.resume_from()? }))
            .collect();
        let known = (!known.is_empty()).then(|| StartAt::Bookmarks(known.into_iter().collect()));
        // Floors alone do for a restart, which is mostly on the same server and
        // must make progress however often it happens.
        let anchored = !reentered || self.publishers.values().any(Publisher::is_anchored);
        let placed = !self.publishers.values().any(Publisher::is_unplaced);
        match (&self.start, known) {
            (_, Some(known)) if placed && anchored => known,
            (StartAt::Now, known) => {
                let base = self.base.map(start_at).or(known);
                base.or_else(|| self.first.map(StartAt::from)).unwrap_or(StartAt::Now)
            }
            (StartAt::MostRecent, _) => StartAt::Epoch,
            (start, _) => start.clone(),
        }
    }
}

/// What starts a subscription where another one did at NOW.
fn start_at(base: Bookmark) -> StartAt {
    if base == LOG_START { StartAt::Epoch } else { base.into() }
}

/// Special bookmarks such as `0|1|` name no message.
fn is_a_message(bookmark: &Bookmark) -> bool {
    bookmark.publisher != 0
}

#[cfg(test)]
mod tests;
