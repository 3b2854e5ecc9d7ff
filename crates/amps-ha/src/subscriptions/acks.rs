//! Acknowledgements of a queue's messages, from the application to the
//! connection (AMPS developer guides, "Acknowledging Messages").

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use amps_core::{Bookmark, Command, Field, Message, planted};

/// How long a batch waits unless something else was said.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(1);

/// The largest batch: as many bookmarks make a header of some 400 KiB.
pub const ACK_BATCH_MAX: usize = 10_000;

/// So many acknowledgements wait for the connection at most. A server never
/// leases as many; only acknowledging the same message again and again gets
/// here.
const WAITING_MAX: usize = 100_000;

/// What becomes of a message other than being done (AMPS Command Reference,
/// "sow_delete").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckOption {
    /// It goes back to the queue, as if its lease had ended.
    Cancel,
    /// It is removed, and treated as one that was too old.
    Expire,
    /// Its lease lasts so much longer from now on, rounded up to whole
    /// milliseconds. Only the pages of the JavaScript client name this option
    /// (`lease_extension`); a server that does not know it refuses it.
    Extend(Duration),
}

impl fmt::Display for AckOption {
    /// As the option on the wire.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancel => f.write_str("cancel"),
            Self::Expire => f.write_str("expire"),
            Self::Extend(time) if time.subsec_nanos() == 0 => write!(f, "lease_extension={}s", time.as_secs()),
            Self::Extend(time) => write!(f, "lease_extension={}ms", time.as_nanos().div_ceil(1_000_000)),
        }
    }
}

impl FromStr for AckOption {
    type Err = &'static str;

    /// Reads the option as it stands on the wire. The error is the rule.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "the options of an acknowledgement are cancel, expire and lease_extension=TIME, such as 60s";
        match text.trim() {
            "cancel" => Ok(Self::Cancel),
            "expire" => Ok(Self::Expire),
            other => {
                let time = other.strip_prefix("lease_extension=").ok_or(RULE)?;
                let (number, unit): (_, fn(u64) -> Duration) = match (time.strip_suffix("ms"), time.strip_suffix('s')) {
                    (Some(number), _) => (number, Duration::from_millis),
                    (None, Some(number)) => (number, Duration::from_secs),
                    (None, None) => (time, Duration::from_secs),
                };
                number.parse().map(unit).map(Self::Extend).map_err(|_| RULE)
            }
        }
    }
}

/// How many acknowledgements are sent together, and how long they wait for each
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckBatching {
    /// Messages in one acknowledgement. With 0 or 1 each is sent at once.
    pub size: usize,
    /// A batch that is not full is sent so long after its first message.
    /// `None`: it waits until it is full.
    pub timeout: Option<Duration>,
}

impl Default for AckBatching {
    /// Each at once.
    fn default() -> Self {
        Self { size: 1, timeout: Some(ACK_TIMEOUT) }
    }
}

/// What became of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The message is not leased to this subscription, or not any more.
    Refused,
    /// It will be sent.
    Taken,
    /// It will be sent, and the connection has to be told that there is
    /// something to look at.
    Tell,
}

impl Added {
    /// Whether it will be sent.
    pub fn is_taken(self) -> bool {
        self != Self::Refused
    }
}

/// Messages of one queue that are acknowledged together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckBatch {
    /// The queue.
    pub topic: String,
    /// The messages.
    pub bookmarks: Vec<Bookmark>,
    /// What is to become of them, if they are not done.
    pub option: Option<AckOption>,
}

impl AckBatch {
    /// The command: it carries no sequence, is kept in no store, and dies with
    /// its connection, as the leases do.
    pub fn command(&self) -> Command {
        let option = self.option.map(|option| option.to_string());
        let bookmarks = self.bookmarks.iter().copied();
        Command::sow_delete(&self.topic).bookmarks(bookmarks).maybe(Field::Options, option)
    }
}

/// The acknowledgements of one subscription that wait. A state machine without
/// I/O: the application adds, the connection takes.
///
/// ```
/// use amps_ha::subscriptions::{AckBatching, QueueAcks};
/// let mut acks = QueueAcks::new(AckBatching { size: 10, timeout: None });
/// acks.entered(1);
/// acks.granted(Some(5));
/// assert_eq!(acks.batch_size(), 5); // a larger one would never be full
/// ```
#[derive(Debug, Default)]
pub struct QueueAcks {
    batching: AckBatching,
    /// The connection whose leases hold.
    connection: Option<u64>,
    /// The backlog the server granted there.
    granted: Option<u64>,
    /// Not full yet, one batch a topic.
    open: Vec<AckBatch>,
    /// Since when, once the connection looked.
    since: Option<Instant>,
    ready: VecDeque<AckBatch>,
    /// Bookmarks in all of them.
    waiting: usize,
    /// The connection was told, and has not looked yet.
    told: bool,
    /// Something was acknowledged since the last [`confirm`](QueueAcks::confirm).
    unconfirmed: bool,
    /// A connection ended with something unconfirmed.
    interrupted: bool,
}

impl QueueAcks {
    /// None, on no connection.
    pub fn new(batching: AckBatching) -> Self {
        Self { batching, ..Self::default() }
    }

    /// The subscription is entered on the connection with this number.
    pub fn entered(&mut self, connection: u64) {
        self.lost();
        self.connection = Some(connection);
    }

    /// The server confirmed it, with the backlog it grants when there are queues
    /// in it.
    pub fn granted(&mut self, backlog: Option<u64>) {
        self.granted = backlog;
        // What waits may be a full batch now.
        self.close_full();
    }

    /// The connection or the subscription is over, and with it the leases: what
    /// was not sent is dropped, since the server delivers it again. Answers how
    /// many that were.
    pub fn lost(&mut self) -> usize {
        let dropped = self.waiting;
        let interrupted = self.interrupted || self.unconfirmed;
        *self = Self { interrupted, ..Self::new(self.batching) };
        dropped
    }

    /// The backlog the server granted; `None` without queues, or without a
    /// connection.
    pub fn backlog(&self) -> Option<u64> {
        self.granted
    }

    /// How many messages make a batch: no more than the server leases at once.
    pub fn batch_size(&self) -> usize {
        let granted = self.granted.map_or(usize::MAX, |granted| usize::try_from(granted).unwrap_or(usize::MAX));
        self.batching.size.min(granted).clamp(1, ACK_BATCH_MAX)
    }

    /// Whether a message is one of a queue, from the connection there is. Its
    /// lease may have run out all the same.
    pub fn is_leased(&self, message: &Message) -> bool {
        let queued = self.granted.is_some() || message.raw(Field::LeasePeriod).is_some();
        let ours = self.connection == Some(message.connection()) || planted::is("queue-ack-on-wrong-connection");
        queued && ours && message.bookmark().is_some()
    }

    /// The application is done with a message, or something else is to become
    /// of it. With an option it is sent by itself, at once.
    pub fn add(&mut self, message: &Message, option: Option<AckOption>) -> Added {
        let Some(bookmark) = message.bookmark().filter(|_| self.takes(message)) else { return Added::Refused };
        let topic = message.topic().unwrap_or_default();
        self.waiting += 1;
        if option.is_some() {
            self.ready.push_back(AckBatch { topic: topic.into_owned(), bookmarks: vec![bookmark], option });
        } else {
            self.open(&topic, bookmark);
            self.close_full();
        }
        self.tell()
    }

    /// The application is done with several messages: one batch a topic, with
    /// what waits already, at once. Answers how many of them will be sent.
    pub fn add_all<'m>(&mut self, messages: impl IntoIterator<Item = &'m Message>) -> (usize, Added) {
        let mut taken = 0;
        for message in messages {
            if let Some(bookmark) = message.bookmark().filter(|_| self.takes(message)) {
                self.waiting += 1;
                taken += 1;
                self.open(&message.topic().unwrap_or_default(), bookmark);
                if self.opened() >= ACK_BATCH_MAX {
                    self.flush();
                }
            }
        }
        self.flush();
        (taken, if taken > 0 { self.tell() } else { Added::Refused })
    }

    /// Does not wait for batches to be full.
    pub fn flush(&mut self) {
        self.since = None;
        self.ready.extend(self.open.drain(..));
    }

    /// The connection looks. Batches that waited long enough are ready.
    pub fn look(&mut self, now: Instant) {
        self.told = false;
        if self.open.is_empty() {
            return;
        }
        let since = *self.since.get_or_insert(now);
        if self.batching.timeout.is_some_and(|timeout| since + timeout <= now) {
            self.flush();
        }
    }

    /// The next batch that is ready.
    pub fn take(&mut self) -> Option<AckBatch> {
        let batch = self.ready.pop_front()?;
        self.waiting -= batch.bookmarks.len();
        Some(batch)
    }

    /// When to look again.
    pub fn deadline(&self) -> Option<Instant> {
        self.since.zip(self.batching.timeout).map(|(since, timeout)| since + timeout)
    }

    /// The server is asked whether it has everything. `false`: it cannot have,
    /// since a connection ended in between.
    pub fn confirm(&mut self) -> bool {
        self.unconfirmed = false;
        !std::mem::take(&mut self.interrupted)
    }

    fn takes(&self, message: &Message) -> bool {
        self.waiting < WAITING_MAX && self.is_leased(message)
    }

    fn open(&mut self, topic: &str, bookmark: Bookmark) {
        match self.open.iter_mut().find(|batch| batch.topic == topic) {
            Some(batch) => batch.bookmarks.push(bookmark),
            None => self.open.push(AckBatch { topic: topic.to_owned(), bookmarks: vec![bookmark], option: None }),
        }
    }

    fn opened(&self) -> usize {
        self.open.iter().map(|batch| batch.bookmarks.len()).sum()
    }

    /// The backlog is one for all topics, so what is full are all batches
    /// together.
    fn close_full(&mut self) {
        if self.opened() >= self.batch_size() {
            self.flush();
        }
    }

    fn tell(&mut self) -> Added {
        self.unconfirmed = true;
        let timed = !self.open.is_empty() && self.since.is_none() && self.batching.timeout.is_some();
        if self.told || !timed && self.ready.is_empty() {
            return Added::Taken;
        }
        self.told = true;
        Added::Tell
    }
}
